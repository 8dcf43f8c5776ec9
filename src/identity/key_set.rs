//! Key sets (RFC 7517).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::TokenError;
use super::algorithm::{Algorithm, KeyKind};
use super::header::{Header, Parts};
use super::key::{PublicKey, VerifyingKey};
use crate::event::check_text;

/// How deep a set may be nested.
const MAX_DEPTH: usize = 16;
/// How many keys of a set are used.
const MAX_KEYS: usize = 256;

/// Why an answer is no key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeySetError {
    #[error("the key set is not a JSON object with a list `keys`")]
    NotASet,
    #[error("the key set has no key that can verify tokens with the accepted algorithms")]
    NoKeys,
}

/// A key of a set.
#[derive(Debug)]
struct NamedKey {
    id: Option<Box<str>>,
    key: VerifyingKey,
}

/// The keys of an issuer. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct KeySet(Arc<[NamedKey]>);

impl KeySet {
    /// Reads a set, and keeps of it the keys that can verify with one of the `allowed` algorithms, where
    /// there are any, else with any.
    ///
    /// Keys of other kinds and for other uses are ignored (RFC 7517, 5), and so are broken ones: the rest
    /// is of use.
    pub(super) fn parse(body: &[u8], allowed: &[Algorithm]) -> Result<Self, KeySetError> {
        let text = check_text(body, MAX_DEPTH).map_err(|_| KeySetError::NotASet)?;
        let set: Value = serde_json::from_str(text).map_err(|_| KeySetError::NotASet)?;
        let keys = set.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or(KeySetError::NotASet)?.iter();
        let usable = keys.filter_map(|key| named_key(key, allowed));
        let usable: Arc<[NamedKey]> = usable.take(MAX_KEYS).collect();
        if usable.is_empty() {
            return Err(KeySetError::NoKeys);
        }
        Ok(Self(usable))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether [`KeySet::verify`] can say more than that it does not know the key.
    pub(super) fn knows(&self, header: &Header) -> bool {
        self.candidates(header).next().is_some()
    }

    /// Checks the signature of a token with the key that it names.
    ///
    /// One that names none is taken where a single key of the set has its algorithm.
    pub(super) fn verify(&self, parts: &Parts<'_>) -> Result<(), TokenError> {
        let header = &parts.header;
        let mut candidates = self.candidates(header).peekable();
        if candidates.peek().is_none() {
            return Err(TokenError::UnknownKey);
        }
        let fitting: Vec<_> = candidates
            .filter(|candidate| candidate.key.takes(header.algorithm))
            .collect();
        match fitting.as_slice() {
            [] => Err(TokenError::Algorithm),
            [one] => one.key.verify(parts),
            // Which of them is meant nobody says.
            _ if header.key_id.is_none() => Err(TokenError::UnknownKey),
            // Keys of one name are alternatives (RFC 7517, 4.5).
            several => several
                .iter()
                .find_map(|candidate| candidate.key.verify(parts).ok())
                .ok_or(TokenError::Signature),
        }
    }

    /// Returns the keys that a header can mean: those with its name, or those with its algorithm.
    fn candidates<'a>(&'a self, header: &'a Header) -> impl Iterator<Item = &'a NamedKey> {
        self.0.iter().filter(|candidate| match &header.key_id {
            Some(id) => candidate.id.as_ref() == Some(id),
            None => candidate.key.takes(header.algorithm),
        })
    }
}

/// Reads one key; `None` for one that is not for verifying, not known, or broken.
fn named_key(json: &Value, allowed: &[Algorithm]) -> Option<NamedKey> {
    let text = |name: &str| json.get(name).and_then(Value::as_str);
    let is_for_signatures = json.get("use").is_none_or(|usage| usage == "sig")
        && json.get("key_ops").is_none_or(|operations| {
            operations
                .as_array()
                .is_some_and(|list| list.iter().any(|operation| operation == "verify"))
        });
    if !is_for_signatures {
        return None;
    }
    let number = |name| {
        URL_SAFE_NO_PAD
            .decode(text(name)?.trim_end_matches('='))
            .ok()
    };
    let point = |kind| {
        let point = [&[4], number("x")?.as_slice(), number("y")?.as_slice()].concat();
        PublicKey::point(kind, &point)
    };
    let key = match (text("kty")?, text("crv")) {
        ("RSA", _) => PublicKey::rsa(&number("n")?, &number("e")?),
        ("EC", Some("P-256")) => point(KeyKind::P256),
        ("EC", Some("P-384")) => point(KeyKind::P384),
        ("OKP", Some("Ed25519")) => PublicKey::ed25519(&number("x")?),
        // Among others `oct`: a secret that is published is none.
        _ => None,
    }?;
    let fitting = key.kind.algorithms();
    // A key that says for which algorithm it is, is for no other.
    let usual = match json.get("alg") {
        None => fitting.to_vec(),
        Some(name) => vec![Algorithm::named(name.as_str()?)?],
    };
    let accepted = |algorithm: &Algorithm| allowed.is_empty() || allowed.contains(algorithm);
    let algorithms: Vec<_> = usual.into_iter().filter(accepted).collect();
    Some(NamedKey {
        id: text("kid").map(Into::into),
        key: VerifyingKey::new(key, &[], &algorithms)?,
    })
}
