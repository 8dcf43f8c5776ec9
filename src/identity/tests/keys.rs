//! Keys of every kind, in every form.

use rcgen::{CertificateParams, Issuer};

use super::*;

async fn goes_round(pair: &Pair, pem: &str, algorithm: Algorithm, configured: &[Algorithm]) {
    let config = IdentityConfig {
        jwt_alg: configured.to_vec(),
        ..with_secret(pem)
    };
    let token = pair.sign(algorithm, &json!({ "alg": algorithm.name() }), &good());
    let verified = verify(&config, &token).await;
    assert!(verified.is_ok(), "{algorithm}: {verified:?}");
}

#[tokio::test]
async fn every_algorithm_goes_round() {
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
    ] {
        let pair = Pair::rsa();
        goes_round(pair, &pair.public_pem(), algorithm, &[algorithm]).await;
    }
    for (pair, algorithm) in [
        (Pair::p256(), Algorithm::Es256),
        (Pair::p384(), Algorithm::Es384),
        (Pair::ed25519(), Algorithm::EdDsa),
    ] {
        goes_round(&pair, &pair.public_pem(), algorithm, &[algorithm]).await;
    }
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
        let config = IdentityConfig {
            jwt_alg: vec![algorithm],
            ..with_secret(SECRET)
        };
        let header = json!({ "alg": algorithm.name() }).to_string();
        let token = sign(&key, algorithm, &header, &good().to_string());
        assert!(verify(&config, &token).await.is_ok(), "{algorithm}");
    }
}

#[tokio::test]
async fn without_a_setting_a_key_has_the_usual_algorithm_of_its_kind() {
    let rsa = Pair::rsa();
    goes_round(rsa, &rsa.public_pem(), Algorithm::Rs256, &[]).await;
    for (pair, algorithm) in [
        (Pair::p256(), Algorithm::Es256),
        (Pair::p384(), Algorithm::Es384),
        (Pair::ed25519(), Algorithm::EdDsa),
    ] {
        goes_round(&pair, &pair.public_pem(), algorithm, &[]).await;
    }
}

#[tokio::test]
async fn ed25519_has_two_names() {
    let pair = Pair::ed25519();
    let token = pair.sign(Algorithm::EdDsa, &json!({ "alg": "Ed25519" }), &good());
    let verified = verify(&with_secret(&pair.public_pem()), &token).await;
    assert!(verified.is_ok(), "{verified:?}");
}

#[tokio::test]
async fn a_pem_may_have_any_line_ends_and_text_around_it() {
    let pair = Pair::p256();
    let pem = pair.public_pem();
    let unix = pem.replace("\r\n", "\n");
    for form in [
        unix.clone(),
        unix.replace('\n', "\r\n"),
        unix.replace('\n', "\\n"),
        format!("# the key\n\n{unix}\n\n"),
    ] {
        goes_round(&pair, &form, Algorithm::Es256, &[]).await;
    }
}

#[tokio::test]
async fn an_rsa_key_may_be_in_pkcs_1() {
    let pair = Pair::rsa();
    let body = base64::engine::general_purpose::STANDARD.encode(pair.key.public_key_raw());
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let pem = format!(
        "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n",
        lines.join("\n")
    );
    goes_round(pair, &pem, Algorithm::Rs256, &[]).await;
}

#[tokio::test]
async fn a_certificate_has_the_key_of_its_subject_whoever_signed_it() {
    let authority = Pair::ed25519();
    let root = CertificateParams::new(Vec::new()).unwrap();
    let issuer = Issuer::new(root, &authority.key);
    let (p256, p384) = (Pair::p256(), Pair::p384());
    for (pair, algorithm) in [
        (Pair::rsa(), Algorithm::Rs256),
        (&p256, Algorithm::Es256),
        (&p384, Algorithm::Es384),
    ] {
        let params = CertificateParams::new(vec!["id.example".to_owned()]).unwrap();
        let certificate = params.signed_by(&pair.key, &issuer).unwrap();
        goes_round(pair, &certificate.pem(), algorithm, &[]).await;
    }
}

#[tokio::test]
async fn the_short_secrets_of_rig_work() {
    let key = EncodingKey::from_secret(b"myJwtSecret");
    let token = sign(
        &key,
        Algorithm::Hs256,
        &hs256().to_string(),
        &good().to_string(),
    );
    assert!(verify(&with_secret("myJwtSecret"), &token).await.is_ok());
}

#[tokio::test]
async fn without_a_key_no_token_is_taken() {
    let verifier = verifier(&IdentityConfig::default());
    assert!(!verifier.is_configured());
    let token = sign_hs256(&hs256(), &good());
    let verified = verifier.verify_at(&token, || NOW_MS).await;
    assert_refused(verified, TokenError::NotConfigured, "no key");
}
