//! A key with the algorithms for which it is used.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey, VerificationAlgorithm,
};
use jsonwebtoken::DecodingKey;

use super::TokenError;
use super::algorithm::{Algorithm, KeyKind};
use super::header::Parts;

/// The smallest RSA key in bytes of its modulus (RFC 7518, 3.3).
const MIN_MODULUS_BYTES: usize = 256;
/// The largest, as the library has it.
const MAX_MODULUS_BYTES: usize = 1_024;

/// A key that can verify.
#[derive(Clone)]
pub(super) struct PublicKey {
    pub(super) kind: KeyKind,
    key: DecodingKey,
}

impl PublicKey {
    /// Uses the bytes of a secret.
    pub(super) fn secret(secret: &[u8]) -> Self {
        Self {
            kind: KeyKind::Secret,
            key: DecodingKey::from_secret(secret),
        }
    }

    /// Uses modulus and exponent; `None` where they are no key of a size that is safe and supported.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let modulus = without_zeros(modulus);
        let exponent = without_zeros(exponent);
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        let is_key = (MIN_MODULUS_BYTES..=MAX_MODULUS_BYTES).contains(&modulus.len())
            && is_odd(modulus)
            && is_odd(exponent)
            && exponent != [1]
            && exponent.len() <= 8;
        is_key.then(|| Self {
            kind: KeyKind::Rsa,
            key: DecodingKey::from_rsa_raw_components(modulus, exponent),
        })
    }

    /// Uses an uncompressed point (SEC 1, 2.3.3); `None` where it is not on the curve.
    pub(super) fn point(kind: KeyKind, point: &[u8]) -> Option<Self> {
        let (length, curve): (_, &'static dyn VerificationAlgorithm) = match kind {
            KeyKind::P256 => (65, &ECDSA_P256_SHA256_FIXED),
            KeyKind::P384 => (97, &ECDSA_P384_SHA384_FIXED),
            KeyKind::Secret | KeyKind::Rsa | KeyKind::Ed25519 => return None,
        };
        let is_on_curve = point.len() == length
            && point.first() == Some(&4)
            && ParsedPublicKey::new(curve, point).is_ok();
        is_on_curve.then(|| Self {
            kind,
            key: DecodingKey::from_ec_der(point),
        })
    }

    /// Uses the 32 bytes of an Ed25519 key; `None` where there are more or fewer.
    pub(super) fn ed25519(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == 32).then(|| Self {
            kind: KeyKind::Ed25519,
            key: DecodingKey::from_ed_der(bytes),
        })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind.describe())
    }
}

/// A key with the algorithms for which it is used, all of which fit it.
#[derive(Debug, Clone)]
pub(super) struct VerifyingKey {
    key: PublicKey,
    algorithms: Vec<Algorithm>,
}

impl VerifyingKey {
    /// Limits a key to `allowed`, or where that is empty, to `usual`.
    ///
    /// Algorithms that do not fit the key are left out; `None` where none is left.
    pub(super) fn new(key: PublicKey, allowed: &[Algorithm], usual: &[Algorithm]) -> Option<Self> {
        let wanted = if allowed.is_empty() { usual } else { allowed };
        let fitting = wanted
            .iter()
            .filter(|algorithm| key.kind.algorithms().contains(algorithm));
        let algorithms: Vec<Algorithm> = fitting.copied().collect();
        (!algorithms.is_empty()).then_some(Self { key, algorithms })
    }

    pub(super) fn takes(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Checks the signature of a token.
    pub(super) fn verify(&self, parts: &Parts<'_>) -> Result<(), TokenError> {
        let algorithm = parts.header.algorithm;
        if !self.takes(algorithm) {
            return Err(TokenError::Algorithm);
        }
        let verified = jsonwebtoken::crypto::verify(
            parts.signature,
            parts.message.as_bytes(),
            &self.key.key,
            algorithm.jwa(),
        );
        match verified {
            Ok(true) => Ok(()),
            // An error is a signature that is not base64url; the key is known to fit.
            Ok(false) | Err(_) => Err(TokenError::Signature),
        }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let start = number.iter().take_while(|byte| **byte == 0).count();
    number.get(start..).unwrap_or_default()
}
