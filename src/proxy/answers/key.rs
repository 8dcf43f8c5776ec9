//! `Idempotency-Key`: which commands are the same one.
//!
//! # Source
//! draft-ietf-httpapi-idempotency-key-header; RFC 8941, 3.3.3 (strings).

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName};
use uuid::Uuid;

use super::places::Party;
use crate::http::HttpError;
use crate::proxy::call::Call;

/// The longest key.
const MAX_KEY_CHARS: usize = 255;
/// The shortest key of somebody who is not known: nobody else is to guess it.
const MIN_KEY_CHARS_OF_UNKNOWN: usize = 16;

/// The key of a command, and what the command is. Both are hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdempotencyKey {
    /// Names the command: its route, who sent it, and the key; in base64url.
    pub(super) name: String,
    /// What it says, in base64url.
    pub(super) fingerprint: String,
    /// The id of its event, made from the name.
    pub(super) event_id: Uuid,
    /// To whom it belongs.
    pub(super) party: Party,
}

impl IdempotencyKey {
    /// Reads the key of a call of `party`, if it has one.
    pub(super) fn of(
        call: &Call,
        party: &Party,
        fingerprint: &[&[u8]],
    ) -> Result<Option<Self>, HttpError> {
        let Some(key) = read(&call.request.headers)? else {
            return Ok(None);
        };
        let scope = scope(party, &key)?;
        let route = [call.route.api.as_bytes(), call.route.endpoint.as_bytes()];
        let [api, endpoint] = route;
        let name = hash(&[b"command", api, endpoint, scope.as_bytes(), key.as_bytes()]);
        let event_id = hash(&[b"event", &name]);
        let (id, _) = event_id.split_first_chunk().unwrap_or((&[0; 16], &[]));
        Ok(Some(Self {
            name: encode(&name),
            fingerprint: encode(&hash(fingerprint)),
            event_id: uuid::Builder::from_custom_bytes(*id).into_uuid(),
            party: party.clone(),
        }))
    }

    /// Names an attempt to send the command.
    pub(super) fn attempt(&self, number: u32) -> String {
        format!("{}.{number}", self.name)
    }
}

/// Returns whose keys are told apart from those of others.
fn scope(party: &Party, key: &str) -> Result<String, HttpError> {
    match party {
        Party::User(user) => Ok(format!("user {user}")),
        Party::Session(session) => Ok(format!("session {session}")),
        Party::Address(_) if key.len() < MIN_KEY_CHARS_OF_UNKNOWN => Err(bad(&format!(
            "without a token, an Idempotency-Key has at least {MIN_KEY_CHARS_OF_UNKNOWN} characters, such as a UUID"
        ))),
        Party::Address(_) => Ok(String::new()),
    }
}

/// Reads the header: a string in quotes, or, as many clients send it, without them.
fn read(headers: &HeaderMap) -> Result<Option<String>, HttpError> {
    const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
    let mut values = headers.get_all(IDEMPOTENCY_KEY).into_iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(bad("there is more than one Idempotency-Key"));
    }
    let key = value.to_str().ok().and_then(|text| unquoted(text.trim()));
    let key = key.filter(|key| (1..=MAX_KEY_CHARS).contains(&key.len()));
    key.map(Some).ok_or_else(|| {
        bad("expected an Idempotency-Key of 1 to 255 visible characters, in quotes or without")
    })
}

/// Returns the text of a string in quotes (RFC 8941, 3.3.3; without parameters) or of a bare word.
fn unquoted(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('"') else {
        let is_word = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte));
        return is_word.then(|| text.to_owned());
    };
    let mut chars = rest.strip_suffix('"')?.chars();
    let mut unquoted = String::with_capacity(rest.len());
    while let Some(char) = chars.next() {
        match char {
            '\\' => unquoted.push(chars.next().filter(|char| matches!(char, '"' | '\\'))?),
            '"' => return None,
            _ => unquoted.push(char),
        }
    }
    Some(unquoted)
}

/// Hashes parts so that no two lists of parts are hashed alike.
fn hash(parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

/// Shortens a hash to 128 bits, as text.
fn encode(hash: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(hash.get(..16).unwrap_or(hash))
}

fn bad(what: &str) -> HttpError {
    HttpError::bad_request("bad_idempotency_key", format!("Bad request: {what}."))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn header(values: &[&str]) -> HeaderMap {
        let name = HeaderName::from_static("idempotency-key");
        let values = values.iter().map(|value| {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            (name.clone(), value)
        });
        values.collect()
    }

    #[test]
    fn keys_are_strings_with_or_without_quotes() {
        let long = "x".repeat(255);
        for (value, expected) in [
            ("\"8e03978e-40d5\"", "8e03978e-40d5"),
            (" 8e03978e-40d5 ", "8e03978e-40d5"),
            (r#""a \"b\" \\ c""#, r#"a "b" \ c"#),
            (&long, &long),
        ] {
            let key = read(&header(&[value])).unwrap();
            assert_eq!(key.as_deref(), Some(expected), "{value}");
        }
        assert_eq!(read(&header(&[])).unwrap(), None);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "x".repeat(256);
        for values in [
            &[""][..],
            &["\"\""],
            &["\""],
            &["\"a"],
            &["a\"b\""],
            &["\"a\"b\""],
            &["\"a\";x=1"],
            &[r#""a\b""#],
            &[r#""a\""#],
            &["a b"],
            &["a,b"],
            &["ä"],
            &[&long],
            &["a", "a"],
        ] {
            let error = read(&header(values)).unwrap_err();
            assert_eq!(
                (error.status().as_u16(), error.code()),
                (400, "bad_idempotency_key"),
                "{values:?}"
            );
        }
    }

    #[test]
    fn keys_of_different_callers_are_different() {
        let of = |party| scope(&party, "short").unwrap();
        let (user, session) = (Party::User("u".into()), Party::Session("u".into()));
        assert_ne!(of(user), of(session));
        let unknown = |address: [u8; 4]| Party::Address(address.into());
        let short = scope(&unknown([192, 0, 2, 1]), "fifteen letters");
        assert_eq!(short.unwrap_err().status(), 400);
        // Whoever is not known may come back from another network.
        let [here, there] = [1, 2].map(|last| unknown([192, 0, 2, last]));
        let of = |party| scope(party, "sixteen letters!").unwrap();
        assert_eq!(of(&here), of(&there));
    }

    #[test]
    fn parts_are_hashed_apart() {
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_ne!(hash(&[b"a"]), hash(&[b"a", b""]));
        assert_eq!(encode(&hash(&[])).len(), 22);
    }
}
