//! One test for each attack.

use super::*;

#[tokio::test]
async fn a_good_token_is_taken() {
    let claims = verify_hs256(&sign_hs256(&hs256(), &good())).await.unwrap();
    assert_eq!(claims.json(), &good());
    assert_eq!(
        (claims.session(), claims.user()),
        (Some("s1"), Some("alice"))
    );
    assert_eq!(claims.expires_ms(), NOW_MS + 60_000);
}

#[tokio::test]
async fn alg_none_is_refused_in_every_spelling_with_and_without_a_signature() {
    let payload = encode(good().to_string());
    for name in ["none", "None", "NONE", "nOnE", "none ", ""] {
        let header = encode(json!({ "alg": name }).to_string());
        for signature in ["", "AAAA"] {
            let token = format!("{header}.{payload}.{signature}");
            assert_refused(verify_hs256(&token).await, TokenError::Algorithm, name);
        }
    }
}

#[tokio::test]
async fn a_missing_or_wrongly_typed_alg_is_refused() {
    for header in [
        json!({}),
        json!({ "alg": null }),
        json!({ "alg": ["HS256"] }),
        json!({ "alg": 1 }),
        json!({ "alg": "hs256" }),
        json!({ "Alg": "HS256" }),
    ] {
        let token = sign_hs256(&header, &good());
        assert_refused(
            verify_hs256(&token).await,
            TokenError::Algorithm,
            &header.to_string(),
        );
    }
}

#[tokio::test]
async fn an_alg_that_is_given_twice_is_refused() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let header = r#"{"alg":"none","alg":"HS256"}"#;
    let token = sign(&key, Algorithm::Hs256, header, &good().to_string());
    assert_refused(verify_hs256(&token).await, TokenError::Malformed, header);
}

#[tokio::test]
async fn a_public_key_is_no_secret_in_any_of_its_forms() {
    let pair = Pair::rsa();
    let pem = pair.public_pem();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = rcgen::PublicKeyData::subject_public_key_info(&pair.key);
    let forms: [Vec<u8>; 7] = [
        pem.clone().into_bytes(),
        pem.trim().as_bytes().to_vec(),
        pem.replace('\r', "").replace('\n', "\r\n").into_bytes(),
        pem.replace("\r\n", "\n").into_bytes(),
        body.into_bytes(),
        der,
        pair.key.public_key_raw().to_vec(),
    ];
    let config = with_secret(&pem);
    for (number, form) in forms.iter().enumerate() {
        let key = EncodingKey::from_secret(form);
        for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
            let header = json!({ "alg": algorithm.name() }).to_string();
            let token = sign(&key, algorithm, &header, &good().to_string());
            let what = format!("form {number} {algorithm}");
            assert_refused(verify(&config, &token).await, TokenError::Algorithm, &what);
        }
    }
}

#[tokio::test]
async fn another_hash_with_the_right_secret_is_refused() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    for algorithm in [Algorithm::Hs384, Algorithm::Hs512] {
        let header = json!({ "alg": algorithm.name() }).to_string();
        let token = sign(&key, algorithm, &header, &good().to_string());
        assert_refused(
            verify_hs256(&token).await,
            TokenError::Algorithm,
            algorithm.name(),
        );
    }
}

#[tokio::test]
async fn another_algorithm_of_the_same_key_is_refused() {
    let pair = Pair::rsa();
    let config = with_secret(&pair.public_pem());
    for algorithm in [
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps512,
    ] {
        let token = pair.sign(algorithm, &json!({ "alg": algorithm.name() }), &good());
        assert_refused(
            verify(&config, &token).await,
            TokenError::Algorithm,
            algorithm.name(),
        );
    }
}

#[tokio::test]
async fn a_signature_of_another_algorithm_than_the_header_says_is_refused() {
    let pair = Pair::rsa();
    let config = IdentityConfig {
        jwt_alg: vec![Algorithm::Rs256, Algorithm::Ps256],
        ..with_secret(&pair.public_pem())
    };
    let token = pair.sign(Algorithm::Ps256, &json!({ "alg": "RS256" }), &good());
    assert_refused(
        verify(&config, &token).await,
        TokenError::Signature,
        "PS as RS",
    );
}

#[tokio::test]
async fn an_empty_signature_is_refused() {
    let token = sign_hs256(&hs256(), &good());
    let (message, _) = token.rsplit_once('.').unwrap();
    assert_refused(
        verify_hs256(&format!("{message}.")).await,
        TokenError::Signature,
        "empty",
    );
}

#[tokio::test]
async fn every_cut_or_changed_signature_is_refused() {
    let token = sign_hs256(&hs256(), &good());
    let (message, signature) = token.rsplit_once('.').unwrap();
    for length in 1..signature.len() {
        let cut = format!("{message}.{}", signature.get(..length).unwrap());
        assert_refused(verify_hs256(&cut).await, TokenError::Signature, &cut);
    }
    for at in 0..signature.len() {
        let mut changed = signature.as_bytes().to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = format!("{message}.{}", String::from_utf8(changed).unwrap());
        assert_refused(
            verify_hs256(&changed).await,
            TokenError::Signature,
            &changed,
        );
    }
    for more in ["=", "==", "A", " ", "\n", "%3D"] {
        let longer = format!("{token}{more}");
        assert_refused(verify_hs256(&longer).await, TokenError::Signature, more);
    }
}

#[tokio::test]
async fn a_signature_has_but_one_spelling() {
    // 32 bytes leave two bits of the last of 43 characters unused.
    let token = sign_hs256(&hs256(), &good());
    let (rest, last) = token.split_at(token.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut taken = 0;
    for char in alphabet.chars() {
        let verified = verify_hs256(&format!("{rest}{char}")).await;
        taken += usize::from(verified.is_ok());
        assert_eq!(verified.is_ok(), char.to_string() == last);
    }
    assert_eq!(taken, 1);
}

#[tokio::test]
async fn changed_claims_are_refused() {
    let token = sign_hs256(&hs256(), &good());
    let mut parts: Vec<&str> = token.split('.').collect();
    let other = encode(json!({ "sub": "admin", "exp": NOW + 60 }).to_string());
    parts[1] = &other;
    assert_refused(
        verify_hs256(&parts.join(".")).await,
        TokenError::Signature,
        "payload",
    );
}

#[tokio::test]
async fn another_key_is_refused() {
    let (ours, theirs) = (Pair::p256(), Pair::p256());
    let token = theirs.sign(Algorithm::Es256, &json!({ "alg": "ES256" }), &good());
    let verified = verify(&with_secret(&ours.public_pem()), &token).await;
    assert_refused(verified, TokenError::Signature, "foreign");
}

#[tokio::test]
async fn an_ecdsa_signature_of_zeros_is_refused() {
    let pair = Pair::p256();
    let message = format!(
        "{}.{}",
        encode(r#"{"alg":"ES256"}"#),
        encode(good().to_string())
    );
    for signature in [vec![0; 64], vec![0xff; 64], vec![0; 63], vec![0; 128]] {
        let token = format!("{message}.{}", encode(signature));
        let verified = verify(&with_secret(&pair.public_pem()), &token).await;
        assert_refused(verified, TokenError::Signature, "CVE-2022-21449");
    }
}

#[tokio::test]
async fn crit_and_b64_are_refused() {
    for header in [
        json!({ "alg": "HS256", "crit": ["exp"], "exp": NOW }),
        json!({ "alg": "HS256", "crit": [] }),
        json!({ "alg": "HS256", "crit": null }),
        json!({ "alg": "HS256", "b64": false, "crit": ["b64"] }),
        json!({ "alg": "HS256", "b64": false }),
        json!({ "alg": "HS256", "b64": true }),
    ] {
        let token = sign_hs256(&header, &good());
        assert_refused(
            verify_hs256(&token).await,
            TokenError::Header,
            &header.to_string(),
        );
    }
}

#[tokio::test]
async fn a_key_or_a_url_that_the_token_brings_is_refused() {
    let pair = Pair::p256();
    for (name, value) in [
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/chain")),
        ("x5c", json!(["MIIB"])),
        (
            "jwk",
            json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }),
        ),
        ("jwk", json!({ "kty": "oct", "k": "AA" })),
    ] {
        let mut header = json!({ "alg": "ES256" });
        header[name] = value;
        let token = pair.sign(Algorithm::Es256, &header, &good());
        let verified = verify(&with_secret(&pair.public_pem()), &token).await;
        assert_refused(verified, TokenError::Header, name);
    }
}

#[tokio::test]
async fn a_kid_that_looks_like_a_path_a_url_or_a_statement_is_refused() {
    for kid in [
        json!("../../../../dev/null"),
        json!("/dev/null"),
        json!("..\\..\\win.ini"),
        json!("C:\\keys"),
        json!("https://evil.example/key"),
        json!("file:///etc/passwd"),
        json!("x' UNION SELECT 'secret"),
        json!("x\"; DROP TABLE keys"),
        json!("key|/usr/bin/id"),
        json!("`id`"),
        json!("a\u{0}b"),
        json!("a\nb"),
        json!("a b"),
        json!(1),
        json!(null),
        json!(["a"]),
        json!("a".repeat(513)),
    ] {
        let header = json!({ "alg": "HS256", "kid": kid });
        let token = sign_hs256(&header, &good());
        assert_refused(
            verify_hs256(&token).await,
            TokenError::Header,
            &header.to_string(),
        );
    }
    for kid in [
        "",
        "2024-01",
        "key.1",
        "bilbo.baggins@hobbiton.example",
        "a/b+c=",
    ] {
        let token = sign_hs256(&json!({ "alg": "HS256", "kid": kid }), &good());
        assert!(verify_hs256(&token).await.is_ok(), "{kid}");
    }
}

#[tokio::test]
async fn what_has_not_three_parts_is_refused() {
    let token = sign_hs256(&hs256(), &good());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let encrypted = format!("{message}.{signature}.{signature}.{signature}");
    let dots = ".".repeat(50_000);
    for token in [
        "",
        ".",
        "..",
        "...",
        "a",
        "a.b",
        message,
        &encrypted,
        &dots,
        &format!(".{token}"),
        &format!("{token}."),
        &format!("{message}..{signature}"),
        &format!(" {token}"),
        &format!("Bearer {token}"),
    ] {
        let what: String = token.chars().take(80).collect();
        assert_refused(verify_hs256(token).await, TokenError::Malformed, &what);
    }
}

#[tokio::test]
async fn a_token_over_16_kib_is_refused_before_it_is_looked_at() {
    let large = json!({ "sub": "x".repeat(16_000), "exp": NOW + 60 });
    let token = sign_hs256(&hs256(), &large);
    assert!(token.len() > 16 * 1_024);
    assert_refused(verify_hs256(&token).await, TokenError::Malformed, "large");
    let small = json!({ "sub": "x".repeat(12_000), "exp": NOW + 60 });
    assert!(verify_hs256(&sign_hs256(&hs256(), &small)).await.is_ok());
}

#[tokio::test]
async fn deeply_nested_json_is_refused() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let header = format!(r#"{{"alg":"HS256","x":{}}}"#, nested(3_000));
    let token = sign(&key, Algorithm::Hs256, &header, &good().to_string());
    assert_refused(verify_hs256(&token).await, TokenError::Malformed, "header");
    let payload = format!(r#"{{"exp":{},"x":{}}}"#, NOW + 60, nested(3_000));
    let token = sign(&key, Algorithm::Hs256, &hs256().to_string(), &payload);
    assert_refused(verify_hs256(&token).await, TokenError::Malformed, "payload");
}

#[tokio::test]
async fn what_is_not_utf8_json_or_base64url_is_refused() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signed = |header: &str, payload: &str| {
        let message = format!("{header}.{payload}");
        let jwa = Algorithm::Hs256.jwa();
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, jwa).unwrap();
        format!("{message}.{signature}")
    };
    let (header, payload) = (encode(hs256().to_string()), encode(good().to_string()));
    assert!(verify_hs256(&signed(&header, &payload)).await.is_ok());
    let bad: [&[u8]; 8] = [
        b"{\"alg\":\"HS256\",\"x\":\"\xff\xfe\"}",
        b"{\"alg\":\"HS256\",\"x\":\"\\ud800\"}",
        b"{\"alg\":\"HS256\"",
        b"{\"alg\":\"HS256\"} {}",
        b"[\"HS256\"]",
        b"\"HS256\"",
        b"null",
        b"",
    ];
    for text in bad {
        let what = String::from_utf8_lossy(text);
        let token = signed(&encode(text), &payload);
        assert_refused(verify_hs256(&token).await, TokenError::Malformed, &what);
        let token = signed(&header, &encode(text));
        let refused = verify_hs256(&token).await.unwrap_err();
        assert_eq!(refused, TokenError::Malformed, "{what}");
    }
    for (header, payload) in [
        (format!("{header}="), payload.clone()),
        (header.clone(), format!("{payload}==")),
        (header.clone(), payload.replace('J', "+")),
        (format!("{header}\n"), payload.clone()),
        (String::from("é"), payload.clone()),
    ] {
        let token = signed(&header, &payload);
        assert_refused(verify_hs256(&token).await, TokenError::Malformed, &token);
    }
}

#[tokio::test]
async fn no_token_claim_or_secret_is_shown() {
    let verifier = verifier(&with_secret(SECRET));
    let claims = json!({ "sub": "hidden", "jti": "hidden", "hidden": "hidden", "exp": NOW + 60 });
    let token = sign_hs256(&hs256(), &claims);
    let claims = verifier.verify_at(&token, || NOW_MS).await.unwrap();
    let texts = format!("{verifier:?} {claims:?} {:?}", with_secret(SECRET));
    assert!(
        !texts.contains("hidden") && !texts.contains(SECRET),
        "{texts}"
    );
    for reason in TokenError::ALL {
        assert!(!reason.to_string().is_empty());
        assert_eq!(reason.is_temporary(), reason == TokenError::KeysUnavailable);
    }
}

#[tokio::test]
async fn refusals_are_counted_by_reason() {
    let metrics = Metrics::new();
    let fetch = Fetch::trusting(RootCertStore::empty());
    let verifier = Verifier::new(&with_secret(SECRET), &fetch, &Tasks::new(), &metrics).unwrap();
    assert!(verifier.verify_at("a", || NOW_MS).await.is_err());
    assert!(
        verifier
            .verify_at(&sign_hs256(&hs256(), &good()), || NOW_MS)
            .await
            .is_ok()
    );
    let text = String::from_utf8(metrics.render()).unwrap();
    assert!(text.contains("sluicegate_refused_tokens_total{reason=\"malformed\"} 1\n"));
    assert!(text.contains("sluicegate_refused_tokens_total{reason=\"expired\"} 0\n"));
}
