//! Tokens, good and bad.

mod attacks;
mod claims;
mod key_sets;
mod keys;
mod settings;
mod vectors;

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use rcgen::{KeyPair, SignatureAlgorithm};
use rustls::RootCertStore;
use serde_json::{Value, json};

use super::*;
use crate::fetch::Fetch;
use crate::settings::Secret;
use crate::telemetry::{Metrics, Tasks};

/// When the tests take place, in Unix seconds and milliseconds.
const NOW: i64 = 1_800_000_000;
const NOW_MS: i64 = NOW * 1_000;

/// A secret that is long enough for every hash.
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A pair of keys for one kind of algorithm.
struct Pair {
    key: KeyPair,
    signing: EncodingKey,
}

impl Pair {
    fn made(kind: &'static SignatureAlgorithm, read: fn(&[u8]) -> EncodingKey) -> Self {
        let key = KeyPair::generate_for(kind).unwrap();
        let signing = read(key.serialize_pem().as_bytes());
        Self { key, signing }
    }

    fn p256() -> Self {
        let read = |pem: &[u8]| EncodingKey::from_ec_pem(pem).unwrap();
        Self::made(&rcgen::PKCS_ECDSA_P256_SHA256, read)
    }

    fn p384() -> Self {
        let read = |pem: &[u8]| EncodingKey::from_ec_pem(pem).unwrap();
        Self::made(&rcgen::PKCS_ECDSA_P384_SHA384, read)
    }

    fn ed25519() -> Self {
        let read = |pem: &[u8]| EncodingKey::from_ed_pem(pem).unwrap();
        Self::made(&rcgen::PKCS_ED25519, read)
    }

    /// The same for all tests, as it takes long to make.
    fn rsa() -> &'static Self {
        static RSA: OnceLock<Pair> = OnceLock::new();
        let read = |pem: &[u8]| EncodingKey::from_rsa_pem(pem).unwrap();
        RSA.get_or_init(|| Self::made(&rcgen::PKCS_RSA_SHA256, read))
    }

    fn public_pem(&self) -> String {
        self.key.public_key_pem()
    }

    fn sign(&self, algorithm: Algorithm, header: &Value, claims: &Value) -> String {
        sign(
            &self.signing,
            algorithm,
            &header.to_string(),
            &claims.to_string(),
        )
    }
}

/// Signs these texts, whatever they are.
fn sign(key: &EncodingKey, algorithm: Algorithm, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm.jwa()).unwrap();
    format!("{message}.{signature}")
}

/// Signs with the secret of the tests and HS256.
fn sign_hs256(header: &Value, claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    sign(
        &key,
        Algorithm::Hs256,
        &header.to_string(),
        &claims.to_string(),
    )
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Claims that hold for another minute.
fn good() -> Value {
    json!({ "sub": "alice", "jti": "s1", "exp": NOW + 60 })
}

fn hs256() -> Value {
    json!({ "alg": "HS256", "typ": "JWT" })
}

fn with_secret(secret: &str) -> IdentityConfig {
    IdentityConfig {
        jwt_secret_key: Secret::new(secret),
        ..IdentityConfig::default()
    }
}

fn verifier(config: &IdentityConfig) -> Verifier {
    let fetch = Fetch::trusting(RootCertStore::empty());
    Verifier::new(config, &fetch, &Tasks::new(), &Metrics::new()).unwrap()
}

/// Verifies with these settings, at the time of the tests.
async fn verify(config: &IdentityConfig, token: &str) -> Result<Claims, TokenError> {
    verifier(config).verify_at(token, || NOW_MS).await
}

/// Verifies with the secret of the tests.
async fn verify_hs256(token: &str) -> Result<Claims, TokenError> {
    verify(&with_secret(SECRET), token).await
}

#[track_caller]
fn assert_refused(verified: Result<Claims, TokenError>, reason: TokenError, what: &str) {
    assert_eq!(verified.err(), Some(reason), "{what}");
}
