//! The outside of a token: its three parts, and what its header may say.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::TokenError;
use super::algorithm::Algorithm;
use crate::event::{Members, check_text, string_value};

/// The largest token in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How deep a header may be nested: parameters that are not looked at may be objects and lists.
const MAX_HEADER_DEPTH: usize = 8;
/// The longest name of a key in bytes.
const MAX_KID_BYTES: usize = 512;

/// Parameters with which a token asks for another way of being verified, or brings its own key.
///
/// `crit`: nothing that it may name is understood here (RFC 7515, 4.1.11). `b64`: the payload would not
/// be encoded (RFC 7797). The others are keys, or where to get them: only the configuration says that.
const REFUSED: [&str; 6] = ["crit", "b64", "jku", "jwk", "x5u", "x5c"];

/// What a header says that matters.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<Box<str>>,
}

/// A token, taken apart.
pub(super) struct Parts<'a> {
    pub(super) header: Header,
    /// Header and payload as they were signed.
    pub(super) message: &'a str,
    pub(super) payload: &'a str,
    pub(super) signature: &'a str,
}

impl<'a> Parts<'a> {
    /// Takes a token apart (RFC 7515, 5.2).
    pub(super) fn of(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        let header = read(header)?;
        if signature.is_empty() {
            return Err(TokenError::Signature);
        }
        Ok(Self {
            header,
            message,
            payload,
            signature,
        })
    }

    /// Refuses the name of a key that looks like a path, a URL or a statement.
    ///
    /// With one key, the name chooses nothing. Whoever sends such a one looks for software that uses it
    /// as the name of a file or in a query.
    pub(super) fn refuse_suspicious_key_id(&self) -> Result<(), TokenError> {
        let is_suspicious = |id: &str| {
            id.starts_with('/')
                || id.contains("..")
                || id.contains("://")
                || id.contains(['\\', '\'', '"', '`', ' ', ';', '|'])
                || id.contains(char::is_control)
        };
        match &self.header.key_id {
            Some(id) if is_suspicious(id) => Err(TokenError::Header),
            _ => Ok(()),
        }
    }
}

/// Decodes one part. Padding, other alphabets and bits left over are refused, so that a token has but
/// one spelling.
pub(super) fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed)
}

fn read(encoded: &str) -> Result<Header, TokenError> {
    let json = decode(encoded)?;
    let text = check_text(&json, MAX_HEADER_DEPTH).map_err(|_| TokenError::Malformed)?;
    // Names have to be unique (RFC 7515, 4): otherwise two readers could see two algorithms.
    let members = Members::parse(text).map_err(|_| TokenError::Malformed)?;
    if REFUSED.iter().any(|name| members.get(name).is_some()) {
        return Err(TokenError::Header);
    }
    let algorithm = members
        .get("alg")
        .and_then(string_value)
        .and_then(|name| Algorithm::named(&name))
        .ok_or(TokenError::Algorithm)?;
    let key_id = match members.get("kid").map(string_value) {
        None => None,
        Some(Some(id)) if id.len() <= MAX_KID_BYTES => Some(Cow::into_owned(id).into_boxed_str()),
        Some(_) => return Err(TokenError::Header),
    };
    Ok(Header { algorithm, key_id })
}
