//! Connection tokens: opaque for clients, unforgeable, readable by every instance of the cluster.
//!
//! # Source
//! AES-256-GCM (NIST SP 800-38D) with a random nonce over a fixed layout; base64url without padding.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// One life of an instance: a random number made at each start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A connection of one incarnation of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// The shard that owns the connection.
    pub shard: u16,
    /// Its place there.
    pub slot: u32,
    /// How often the place was used before.
    pub generation: u32,
}

/// What a token names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Token {
    /// A stream that an instance holds.
    Connection(Incarnation, ConnectionId),
    /// A long-poll session, which no instance holds.
    LongPoll([u8; 16]),
    /// A session of a client that acknowledges what it got, which no instance holds.
    Acknowledged([u8; 16]),
}

/// The text is not a token of this cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a connection token of this cluster")]
pub struct InvalidToken;

/// Seals and opens tokens with the key of the cluster. Cheap to clone.
#[derive(Clone)]
pub struct TokenKey(Arc<RandomizedNonceKey>);

impl TokenKey {
    /// Uses the 32 secret bytes that all instances of the cluster share.
    ///
    /// # Panics
    /// Never: the length is the algorithm's.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, secret).expect("AES-256 has 32-byte keys");
        Self(Arc::new(key))
    }

    /// Writes a token.
    ///
    /// # Panics
    /// Never: 29 bytes can be sealed.
    #[must_use]
    pub fn seal(&self, token: Token) -> String {
        let mut sealed = layout(token);
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(AAD), &mut sealed)
            .expect("a few bytes can always be sealed");
        let mut bytes = nonce.as_ref().to_vec();
        bytes.append(&mut sealed);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Seals a text for a purpose, which is no secret and has to be said again to open it.
    ///
    /// # Panics
    /// Never: texts are shorter than AES-GCM allows.
    #[must_use]
    pub fn seal_text(&self, purpose: &'static str, text: &str) -> String {
        let mut sealed = text.as_bytes().to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut sealed)
            .expect("a text can always be sealed");
        let mut bytes = nonce.as_ref().to_vec();
        bytes.append(&mut sealed);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Opens a text.
    ///
    /// # Errors
    /// [`InvalidToken`] for what [`TokenKey::seal_text`] did not write with the same key and purpose.
    pub fn open_text(&self, purpose: &'static str, sealed: &str) -> Result<String, InvalidToken> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| InvalidToken)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>().ok_or(InvalidToken)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut sealed)
            .map_err(|_| InvalidToken)?;
        String::from_utf8(opened.to_vec()).map_err(|_| InvalidToken)
    }

    /// Reads a token.
    ///
    /// # Errors
    /// [`InvalidToken`] for every text that [`TokenKey::seal`] did not write with the same key.
    pub fn open(&self, text: &str) -> Result<Token, InvalidToken> {
        if text.len() > MAX_TOKEN_CHARS {
            return Err(InvalidToken);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidToken)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>().ok_or(InvalidToken)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(AAD), &mut sealed)
            .map_err(|_| InvalidToken)?;
        parse(opened).ok_or(InvalidToken)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(secret)")
    }
}

const AAD: &[u8] = b"sluicegate connection token 1";
const MAX_TOKEN_CHARS: usize = 128;
const CONNECTION: u8 = 1;
const LONG_POLL: u8 = 2;
const ACKNOWLEDGED: u8 = 3;

fn layout(token: Token) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    match token {
        Token::Connection(incarnation, id) => {
            bytes.push(CONNECTION);
            bytes.extend_from_slice(&incarnation.0.to_be_bytes());
            bytes.extend_from_slice(&id.shard.to_be_bytes());
            bytes.extend_from_slice(&id.slot.to_be_bytes());
            bytes.extend_from_slice(&id.generation.to_be_bytes());
        }
        Token::LongPoll(session) => {
            bytes.push(LONG_POLL);
            bytes.extend_from_slice(&session);
        }
        Token::Acknowledged(session) => {
            bytes.push(ACKNOWLEDGED);
            bytes.extend_from_slice(&session);
        }
    }
    bytes
}

fn parse(bytes: &[u8]) -> Option<Token> {
    let (kind, rest) = bytes.split_first()?;
    match *kind {
        CONNECTION => {
            let (incarnation, rest) = rest.split_first_chunk::<8>()?;
            let (shard, rest) = rest.split_first_chunk::<2>()?;
            let (slot, rest) = rest.split_first_chunk::<4>()?;
            let generation = rest.try_into().ok()?;
            let id = ConnectionId {
                shard: u16::from_be_bytes(*shard),
                slot: u32::from_be_bytes(*slot),
                generation: u32::from_be_bytes(generation),
            };
            Some(Token::Connection(
                Incarnation(u64::from_be_bytes(*incarnation)),
                id,
            ))
        }
        ACKNOWLEDGED => rest.try_into().ok().map(Token::Acknowledged),
        LONG_POLL => Some(Token::LongPoll(rest.try_into().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ConnectionId = ConnectionId {
        shard: 1,
        slot: 70_000,
        generation: 3,
    };

    #[test]
    fn opens_what_it_sealed_and_never_seals_the_same_twice() {
        let key = TokenKey::new(&[7; 32]);
        for token in [
            Token::Connection(Incarnation(u64::MAX), ID),
            Token::LongPoll([9; 16]),
        ] {
            let sealed = key.seal(token);
            assert_eq!(key.open(&sealed), Ok(token));
            assert_ne!(sealed, key.seal(token));
        }
    }

    #[test]
    fn refuses_every_altered_character() {
        let key = TokenKey::new(&[7; 32]);
        let sealed = key.seal(Token::Connection(Incarnation(1), ID));
        for at in 0..sealed.len() {
            let mut altered = sealed.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            // The last character may hold bits that no byte uses; then the text is not canonical.
            assert_eq!(
                key.open(std::str::from_utf8(&altered).unwrap()),
                Err(InvalidToken),
                "{at}"
            );
        }
    }

    #[test]
    fn refuses_foreign_keys_cut_tokens_and_junk() {
        let key = TokenKey::new(&[7; 32]);
        let sealed = key.seal(Token::LongPoll([0; 16]));
        assert_eq!(TokenKey::new(&[8; 32]).open(&sealed), Err(InvalidToken));
        let junk = "A".repeat(100_000);
        for text in ["", "x", "../..", sealed.get(1..).unwrap(), junk.as_str()] {
            assert_eq!(key.open(text), Err(InvalidToken));
        }
    }
}
