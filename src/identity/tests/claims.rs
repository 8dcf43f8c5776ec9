//! Times, parties, and where session and user stand.

use std::time::Duration;

use super::*;
use crate::event::JsonPointer;

async fn verify_claims(config: &IdentityConfig, claims: &Value) -> Result<Claims, TokenError> {
    verify(config, &sign_hs256(&hs256(), claims)).await
}

#[tokio::test]
async fn a_token_is_taken_until_it_expires() {
    let config = with_secret(SECRET);
    for exp in [
        json!(NOW + 1),
        json!(NOW as f64 + 0.5),
        json!(4e18),
        json!(i64::MAX),
    ] {
        let claims = json!({ "exp": exp });
        assert!(verify_claims(&config, &claims).await.is_ok(), "{claims}");
    }
    for exp in [
        json!(NOW),
        json!(NOW - 1),
        json!(0),
        json!(-1),
        json!(-1e300),
        json!(i64::MIN),
    ] {
        let claims = json!({ "exp": exp });
        assert_refused(
            verify_claims(&config, &claims).await,
            TokenError::Expired,
            &claims.to_string(),
        );
    }
}

#[tokio::test]
async fn a_token_that_does_not_say_when_it_expires_is_refused() {
    let config = with_secret(SECRET);
    for claims in [
        json!({}),
        json!({ "exp": null }),
        json!({ "exp": (NOW + 60).to_string() }),
        json!({ "exp": true }),
        json!({ "exp": [NOW + 60] }),
        json!({ "exp": { "$numberLong": NOW + 60 } }),
        json!({ "Exp": NOW + 60 }),
    ] {
        assert_refused(
            verify_claims(&config, &claims).await,
            TokenError::NoExpiry,
            &claims.to_string(),
        );
    }
}

#[tokio::test]
async fn numbers_that_json_does_not_have_are_refused() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    for number in [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "0x77359400",
        "1_800_000_060",
        "+1",
    ] {
        let claims = format!(r#"{{"exp":{number}}}"#);
        let token = sign(&key, Algorithm::Hs256, &hs256().to_string(), &claims);
        assert_refused(verify_hs256(&token).await, TokenError::Malformed, number);
    }
}

#[tokio::test]
async fn a_token_is_not_taken_before_its_time() {
    let config = with_secret(SECRET);
    for nbf in [json!(NOW + 1), json!("now"), json!(null), json!(1e300)] {
        let claims = json!({ "exp": NOW + 60, "nbf": nbf });
        assert_refused(
            verify_claims(&config, &claims).await,
            TokenError::NotYetValid,
            &claims.to_string(),
        );
    }
    let claims = json!({ "exp": NOW + 60, "nbf": NOW });
    assert!(verify_claims(&config, &claims).await.is_ok());
}

#[tokio::test]
async fn the_leeway_widens_both_ends_and_the_expiry_says_so() {
    let config = IdentityConfig {
        jwt_leeway: Duration::from_secs(30),
        ..with_secret(SECRET)
    };
    let claims = json!({ "exp": NOW - 29, "nbf": NOW + 30 });
    let verified = verify_claims(&config, &claims).await.unwrap();
    assert_eq!(verified.expires_ms(), NOW_MS + 1_000);
    let claims = json!({ "exp": NOW - 30 });
    assert_refused(
        verify_claims(&config, &claims).await,
        TokenError::Expired,
        "at the end",
    );
    let claims = json!({ "exp": NOW + 60, "nbf": NOW + 31 });
    assert_refused(
        verify_claims(&config, &claims).await,
        TokenError::NotYetValid,
        "too early",
    );
}

#[tokio::test]
async fn the_issuer_has_to_be_one_of_those_configured() {
    let config = IdentityConfig {
        jwt_issuer: vec!["https://a.example".into(), " b ".into(), "".into()],
        ..with_secret(SECRET)
    };
    for iss in ["https://a.example", "b"] {
        let claims = json!({ "exp": NOW + 60, "iss": iss });
        assert!(verify_claims(&config, &claims).await.is_ok(), "{claims}");
    }
    for iss in [
        json!("https://a.example/"),
        json!("https://A.example"),
        json!(""),
        json!(null),
        json!(["b"]),
        json!("b\u{0}"),
    ] {
        let claims = json!({ "exp": NOW + 60, "iss": iss });
        assert_refused(
            verify_claims(&config, &claims).await,
            TokenError::Issuer,
            &claims.to_string(),
        );
    }
    assert_refused(
        verify_claims(&config, &good()).await,
        TokenError::Issuer,
        "none",
    );
}

#[tokio::test]
async fn the_audience_has_to_have_one_of_those_configured() {
    let config = IdentityConfig {
        jwt_audience: vec!["web".into(), "app".into()],
        ..with_secret(SECRET)
    };
    for aud in [json!("web"), json!(["x", "app"]), json!(["app", 1])] {
        let claims = json!({ "exp": NOW + 60, "aud": aud });
        assert!(verify_claims(&config, &claims).await.is_ok(), "{claims}");
    }
    for aud in [
        json!("Web"),
        json!("web app"),
        json!([]),
        json!(["x"]),
        json!([["web"]]),
        json!({ "web": true }),
        json!(null),
    ] {
        let claims = json!({ "exp": NOW + 60, "aud": aud });
        assert_refused(
            verify_claims(&config, &claims).await,
            TokenError::Audience,
            &claims.to_string(),
        );
    }
    assert_refused(
        verify_claims(&config, &good()).await,
        TokenError::Audience,
        "none",
    );
}

#[tokio::test]
async fn without_settings_any_issuer_and_audience_is_taken() {
    let claims = json!({ "exp": NOW + 60, "iss": "x", "aud": ["y", "z"] });
    assert!(verify_claims(&with_secret(SECRET), &claims).await.is_ok());
}

#[tokio::test]
async fn session_and_user_stand_where_the_settings_say() {
    let config = IdentityConfig {
        jwt_session_field: JsonPointer::parse("/session/id").unwrap(),
        jwt_user_field: JsonPointer::parse("/https:~1~1example.com~1user").unwrap(),
        ..with_secret(SECRET)
    };
    let claims = json!({
        "exp": NOW + 60, "jti": "no", "sub": "no",
        "session": { "id": 17 }, "https://example.com/user": "alice",
    });
    let verified = verify_claims(&config, &claims).await.unwrap();
    assert_eq!(
        (verified.session(), verified.user()),
        (Some("17"), Some("alice"))
    );
}

#[tokio::test]
async fn what_is_no_name_is_no_session() {
    let config = IdentityConfig {
        jwt_session_field: JsonPointer::parse("/a/0").unwrap(),
        ..with_secret(SECRET)
    };
    for (a, expected) in [
        (json!({ "0": "s" }), Some("s")),
        (json!({ "0": 1.5 }), Some("1.5")),
        (json!({ "0": "" }), None),
        (json!({ "0": null }), None),
        (json!({ "0": true }), None),
        (json!({ "0": ["s"] }), None),
        (json!({ "0": {} }), None),
        (json!(["s"]), None),
        (json!("s"), None),
        (json!(null), None),
    ] {
        let claims = json!({ "exp": NOW + 60, "a": a });
        let verified = verify_claims(&config, &claims).await.unwrap();
        assert_eq!(verified.session(), expected, "{claims}");
    }
}

#[tokio::test]
async fn of_a_claim_that_is_given_twice_the_last_counts() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let claims = format!(r#"{{"exp":{},"exp":{}}}"#, NOW + 60, NOW - 60);
    let token = sign(&key, Algorithm::Hs256, &hs256().to_string(), &claims);
    // RFC 7519, 4: reject it, or take the last.
    assert_refused(verify_hs256(&token).await, TokenError::Expired, &claims);
}
