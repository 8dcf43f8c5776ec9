//! Public keys and certificates in PEM (RFC 7468).
//!
//! Written here because the library's reader takes the first algorithm that it meets in a certificate,
//! which may be that of its signature, for the algorithm of the key.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::alg_id;
use rustls::pki_types::pem::{SectionKind, from_buf};
use rustls::server::ParsedCertificate;

use super::algorithm::KeyKind;
use super::key::PublicKey;

/// Why a text in PEM is no key that tokens can be verified with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// Broken PEM, or broken DER in it.
    #[error("cannot be read as PEM")]
    Unreadable,
    /// Neither a public key nor a certificate.
    #[error("has neither a public key nor a certificate")]
    NothingOfUse,
    /// A private key, which whoever verifies must not have.
    #[error("is a private key; to verify tokens, the public one is needed")]
    Private,
    /// More than one key or certificate.
    #[error("has more than one key or certificate")]
    Several,
    /// A key of a kind or size that is not supported.
    #[error("is not a key for RS, PS, ES256, ES384 or EdDSA (RSA needs 2048 to 8192 bits)")]
    Unsupported,
}

const PKCS1_BEGIN: &str = "-----BEGIN RSA PUBLIC KEY-----";
const PKCS1_END: &str = "-----END RSA PUBLIC KEY-----";

/// Returns whether a text is meant to be PEM.
pub(super) fn looks_like_pem(text: &str) -> bool {
    text.contains("-----BEGIN")
}

/// Reads one public key or certificate.
///
/// Line breaks may be written as `\n`, as in variables that can have but one line.
pub(super) fn read(text: &str) -> Result<PublicKey, PemError> {
    let text = text.replace("\\n", "\n");
    if text.contains("PRIVATE KEY-----") {
        return Err(PemError::Private);
    }
    // "RSA PUBLIC KEY" is a label that the reader does not know; what it holds is the key alone.
    let is_pkcs1 = text.contains(PKCS1_BEGIN);
    let text = text
        .replace(PKCS1_BEGIN, "-----BEGIN PUBLIC KEY-----")
        .replace(PKCS1_END, "-----END PUBLIC KEY-----");
    let mut reader = text.as_bytes();
    let mut found = None;
    while let Some((kind, der)) = from_buf(&mut reader).map_err(|_| PemError::Unreadable)? {
        let key = match kind {
            SectionKind::PublicKey if is_pkcs1 => rsa(&der)?,
            SectionKind::PublicKey => subject_public_key(&der)?,
            SectionKind::Certificate => certificate(der)?,
            _ => continue,
        };
        if found.replace(key).is_some() {
            return Err(PemError::Several);
        }
    }
    found.ok_or(PemError::NothingOfUse)
}

fn certificate(der: Vec<u8>) -> Result<PublicKey, PemError> {
    let der = CertificateDer::from(der);
    let certificate = ParsedCertificate::try_from(&der).map_err(|_| PemError::Unreadable)?;
    subject_public_key(&certificate.subject_public_key_info())
}

/// Reads a `SubjectPublicKeyInfo` (RFC 5280, 4.1): the algorithm, and the key as a bit string.
fn subject_public_key(der: &[u8]) -> Result<PublicKey, PemError> {
    let (info, _) = element(SEQUENCE, der)?;
    let (algorithm, rest) = element(SEQUENCE, info)?;
    let (bits, _) = element(BIT_STRING, rest)?;
    let key = bits.strip_prefix(&[0]).ok_or(PemError::Unreadable)?;
    let point = |kind| PublicKey::point(kind, key).ok_or(PemError::Unsupported);
    if algorithm == alg_id::RSA_ENCRYPTION.as_ref() {
        rsa(key)
    } else if algorithm == alg_id::ECDSA_P256.as_ref() {
        point(KeyKind::P256)
    } else if algorithm == alg_id::ECDSA_P384.as_ref() {
        point(KeyKind::P384)
    } else if algorithm == alg_id::ED25519.as_ref() {
        PublicKey::ed25519(key).ok_or(PemError::Unsupported)
    } else {
        Err(PemError::Unsupported)
    }
}

/// Reads an `RSAPublicKey` (RFC 8017, A.1.1): modulus and exponent.
fn rsa(der: &[u8]) -> Result<PublicKey, PemError> {
    let (numbers, _) = element(SEQUENCE, der)?;
    let (modulus, rest) = element(INTEGER, numbers)?;
    let (exponent, _) = element(INTEGER, rest)?;
    PublicKey::rsa(modulus, exponent).ok_or(PemError::Unsupported)
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// Splits one DER element with this tag off: its content, and what follows it.
fn element(tag: u8, der: &[u8]) -> Result<(&[u8], &[u8]), PemError> {
    let (&first, rest) = der.split_first().ok_or(PemError::Unreadable)?;
    let (&length, rest) = rest.split_first().ok_or(PemError::Unreadable)?;
    if first != tag {
        return Err(PemError::Unreadable);
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // The number of bytes that the length has; two are enough for 64 KiB.
        0x81 | 0x82 => {
            let (bytes, rest) = rest
                .split_at_checked(usize::from(length & 0x7f))
                .ok_or(PemError::Unreadable)?;
            let length = bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return Err(PemError::Unreadable),
    };
    rest.split_at_checked(length).ok_or(PemError::Unreadable)
}
