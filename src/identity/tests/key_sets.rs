//! Key sets: which keys of them are used, and for which tokens.

use super::super::header::Parts;
use super::super::key_set::{KeySet, KeySetError};
use super::*;

/// Returns the public half as a key of a set, with these members more.
fn jwk(pair: &Pair, more: &Value) -> Value {
    let raw = pair.key.public_key_raw();
    let half = raw.len() / 2;
    let mut jwk = match raw.len() {
        32 => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(raw) }),
        65 | 97 => json!({
            "kty": "EC",
            "crv": if raw.len() == 65 { "P-256" } else { "P-384" },
            "x": encode(&raw[1..=half]),
            "y": encode(&raw[half + 1..]),
        }),
        _ => {
            let made =
                jsonwebtoken::jwk::Jwk::from_encoding_key(&pair.signing, Algorithm::Rs256.jwa());
            let mut jwk = serde_json::to_value(made.unwrap()).unwrap();
            jwk.as_object_mut().unwrap().remove("alg");
            jwk
        }
    };
    for (name, value) in more.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk
}

fn parse(keys: &[Value], allowed: &[Algorithm]) -> Result<KeySet, KeySetError> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), allowed)
}

fn token(pair: &Pair, algorithm: Algorithm, kid: Option<&str>) -> String {
    let mut header = json!({ "alg": algorithm.name() });
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    pair.sign(algorithm, &header, &good())
}

fn verify(keys: &KeySet, token: &str) -> Result<(), TokenError> {
    keys.verify(&Parts::of(token).unwrap())
}

#[test]
fn the_kid_names_the_key() {
    let (a, b, c) = (Pair::p256(), Pair::p256(), Pair::ed25519());
    let keys = [
        jwk(&a, &json!({ "kid": "a" })),
        jwk(&b, &json!({ "kid": "b" })),
        jwk(&c, &json!({ "kid": "c" })),
        jwk(Pair::rsa(), &json!({ "kid": "d" })),
    ];
    let set = parse(&keys, &[]).unwrap();
    assert_eq!(set.len(), 4);
    for (pair, algorithm, kid) in [
        (&a, Algorithm::Es256, "a"),
        (&b, Algorithm::Es256, "b"),
        (&c, Algorithm::EdDsa, "c"),
        (Pair::rsa(), Algorithm::Rs256, "d"),
        (Pair::rsa(), Algorithm::Ps512, "d"),
    ] {
        assert_eq!(
            verify(&set, &token(pair, algorithm, Some(kid))),
            Ok(()),
            "{kid}"
        );
    }
    let cases = [
        (&a, Algorithm::Es256, "b", TokenError::Signature),
        (&a, Algorithm::Es256, "c", TokenError::Algorithm),
        (&a, Algorithm::Es256, "e", TokenError::UnknownKey),
        (&a, Algorithm::Es256, "A", TokenError::UnknownKey),
        (&a, Algorithm::Es256, "", TokenError::UnknownKey),
        (&a, Algorithm::Es256, "../a", TokenError::UnknownKey),
    ];
    for (pair, algorithm, kid, expected) in cases {
        assert_eq!(
            verify(&set, &token(pair, algorithm, Some(kid))),
            Err(expected),
            "{kid}"
        );
    }
}

#[test]
fn a_token_without_kid_is_taken_where_one_key_has_its_algorithm() {
    let (a, b, c) = (Pair::p256(), Pair::p256(), Pair::ed25519());
    let one = parse(&[jwk(&a, &json!({ "kid": "a" })), jwk(&c, &json!({}))], &[]).unwrap();
    assert_eq!(verify(&one, &token(&a, Algorithm::Es256, None)), Ok(()));
    assert_eq!(verify(&one, &token(&c, Algorithm::EdDsa, None)), Ok(()));
    let p384 = Pair::p384();
    let unknown = verify(&one, &token(&p384, Algorithm::Es384, None));
    assert_eq!(unknown, Err(TokenError::UnknownKey));
    let two = parse(&[jwk(&a, &json!({})), jwk(&b, &json!({}))], &[]).unwrap();
    let ambiguous = verify(&two, &token(&a, Algorithm::Es256, None));
    assert_eq!(ambiguous, Err(TokenError::UnknownKey));
}

#[test]
fn keys_of_one_name_are_alternatives() {
    let (a, b) = (Pair::p256(), Pair::p256());
    let same = json!({ "kid": "x" });
    let set = parse(
        &[jwk(&a, &same), jwk(&b, &same), jwk(Pair::rsa(), &same)],
        &[],
    )
    .unwrap();
    for pair in [&a, &b] {
        assert_eq!(
            verify(&set, &token(pair, Algorithm::Es256, Some("x"))),
            Ok(())
        );
    }
    let stranger = token(&Pair::p256(), Algorithm::Es256, Some("x"));
    assert_eq!(verify(&set, &stranger), Err(TokenError::Signature));
}

#[test]
fn a_public_key_of_the_set_is_no_secret() {
    let set = parse(&[jwk(Pair::rsa(), &json!({ "kid": "a" }))], &[]).unwrap();
    let pem = Pair::rsa().public_pem();
    let key = EncodingKey::from_secret(pem.as_bytes());
    let header = json!({ "alg": "HS256", "kid": "a" }).to_string();
    let token = sign(&key, Algorithm::Hs256, &header, &good().to_string());
    assert_eq!(verify(&set, &token), Err(TokenError::Algorithm));
}

#[test]
fn keys_that_are_not_for_verifying_are_ignored() {
    let pair = Pair::p256();
    let used = jwk(
        &Pair::p384(),
        &json!({ "kid": "used", "use": "sig", "key_ops": ["verify"] }),
    );
    for ignored in [
        jwk(&pair, &json!({ "use": "enc" })),
        jwk(&pair, &json!({ "use": 1 })),
        jwk(&pair, &json!({ "key_ops": ["sign"] })),
        jwk(&pair, &json!({ "key_ops": "verify" })),
        jwk(&pair, &json!({ "alg": "ES384" })),
        jwk(&pair, &json!({ "alg": "RSA-OAEP" })),
        jwk(&pair, &json!({ "alg": "none" })),
        jwk(&pair, &json!({ "alg": "HS256" })),
        jwk(&pair, &json!({ "alg": null })),
        jwk(&pair, &json!({ "crv": "P-521" })),
        jwk(&pair, &json!({ "crv": "secp256k1" })),
        jwk(&pair, &json!({ "crv": "P-384" })),
        jwk(&pair, &json!({ "kty": "AKP" })),
        jwk(&pair, &json!({ "kty": 1 })),
        jwk(&pair, &json!({ "x": "AAAA" })),
        jwk(&pair, &json!({ "x": encode([0_u8; 32]) })),
        jwk(&pair, &json!({ "y": "!" })),
        jwk(&pair, &json!({ "y": null })),
        json!({ "kty": "oct", "k": encode("secret"), "alg": "HS256" }),
        json!({ "kty": "RSA", "n": encode([0xff_u8; 128]), "e": "AQAB" }),
        json!({ "kty": "RSA", "n": encode([0xff_u8; 256]), "e": "AQ" }),
        json!({ "kty": "RSA", "n": encode([0xff_u8; 256]), "e": "AQAA" }),
        json!({ "kty": "RSA", "n": encode([0xff_u8; 2_000]), "e": "AQAB" }),
        json!({ "kty": "OKP", "crv": "X25519", "x": encode([9_u8; 32]) }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": encode([9_u8; 31]) }),
        json!({}),
        json!("key"),
        json!(null),
    ] {
        let set = parse(&[ignored.clone(), used.clone()], &[]).unwrap();
        assert_eq!(set.len(), 1, "{ignored}");
        assert!(matches!(parse(&[ignored], &[]), Err(KeySetError::NoKeys)));
    }
}

#[test]
fn a_key_is_used_for_the_algorithms_that_it_names_and_that_are_accepted() {
    let rsa = Pair::rsa();
    let ps256 = jwk(rsa, &json!({ "alg": "PS256" }));
    let set = parse(std::slice::from_ref(&ps256), &[]).unwrap();
    assert_eq!(verify(&set, &token(rsa, Algorithm::Ps256, None)), Ok(()));
    let refused = verify(&set, &token(rsa, Algorithm::Rs256, None));
    assert_eq!(refused, Err(TokenError::UnknownKey));
    let refused = parse(&[ps256], &[Algorithm::Rs256]);
    assert!(matches!(refused, Err(KeySetError::NoKeys)));
    let set = parse(&[jwk(rsa, &json!({ "kid": "a" }))], &[Algorithm::Rs512]).unwrap();
    assert_eq!(
        verify(&set, &token(rsa, Algorithm::Rs512, Some("a"))),
        Ok(())
    );
    let refused = verify(&set, &token(rsa, Algorithm::Rs256, Some("a")));
    assert_eq!(refused, Err(TokenError::Algorithm));
}

#[test]
fn what_is_no_key_set_is_refused() {
    for text in [
        "",
        "null",
        "[]",
        "{}",
        "<html>",
        r#"{"keys":{}}"#,
        r#"{"keys":"#,
        r#"{"keys":null}"#,
        r#"{"Keys":[]}"#,
        "\u{feff}{\"keys\":[]}",
    ] {
        let refused = KeySet::parse(text.as_bytes(), &[]);
        assert!(matches!(refused, Err(KeySetError::NotASet)), "{text}");
    }
    let nested = format!(
        r#"{{"keys":[{}{}]}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(matches!(
        KeySet::parse(nested.as_bytes(), &[]),
        Err(KeySetError::NotASet)
    ));
    assert!(matches!(
        KeySet::parse(b"\xff", &[]),
        Err(KeySetError::NotASet)
    ));
    assert!(matches!(parse(&[], &[]), Err(KeySetError::NoKeys)));
}
