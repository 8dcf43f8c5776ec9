//! The key with which all instances sign connection tokens and correlation ids.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{StateError, StateLog};
use crate::settings::Secret;

/// The kind of the entry in the shared state.
const KIND: &str = "secret";
/// The key of the entry in the shared state.
const KEY: &str = "token-key";
/// Shorter cookies can be guessed.
const COOKIE_BYTES: usize = 16;

/// What instances share beyond Kafka.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub struct SharedConfig {
    /// Secret from which the key of tokens is derived, the same on all instances; default: a random key, kept in Kafka
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "SECRET"
    )]
    pub node_cookie: Secret,
}

/// A key of 256 bits. It is in no `Debug` output.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; 32]);

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(***)")
    }
}

impl ClusterKey {
    /// Returns the cluster's key: derived from the cookie, or agreed on in the shared state.
    ///
    /// Without a cookie it waits until the state is loaded; an unreadable entry is replaced.
    ///
    /// # Errors
    /// [`StateError`] when the key cannot be kept in the shared state; try again.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a key in the state, which is then the cluster's.
    pub async fn of_cluster(config: &SharedConfig, state: &StateLog) -> Result<Self, StateError> {
        let cookie = config.node_cookie.reveal();
        if !cookie.is_empty() {
            if cookie.len() < COOKIE_BYTES {
                tracing::warn!(
                    "NODE_COOKIE is shorter than {COOKIE_BYTES} bytes and may be guessed"
                );
            }
            return Ok(Self::from_cookie(cookie, state.topic()));
        }
        let proposal = STANDARD.encode(Self::random().0);
        let agreed = state.agree(KIND, KEY, proposal.as_bytes()).await?;
        if let Some(key) = Self::decode(&agreed) {
            return Ok(key);
        }
        tracing::error!("the token key in the shared state cannot be read and is replaced");
        state.remove(KIND, KEY).await?;
        let agreed = state.agree(KIND, KEY, proposal.as_bytes()).await?;
        Self::decode(&agreed).ok_or(StateError::NotSeen)
    }

    /// Derives the key from a cookie by HKDF with SHA-256 (RFC 5869), for the cluster with this state
    /// topic: a ticket is redeemed once in a cluster, so none may be good in two that share a cookie.
    ///
    /// # Panics
    /// Never: HKDF-SHA256 gives 32 bytes.
    #[must_use]
    pub fn from_cookie(cookie: &str, state_topic: &str) -> Self {
        let secret = Salt::new(HKDF_SHA256, b"sluicegate").extract(cookie.as_bytes());
        let mut key = [0; 32];
        secret
            .expand(&[b"token key 1 ", state_topic.as_bytes()], Length)
            .and_then(|bytes| bytes.fill(&mut key))
            .expect("32 bytes are within what HKDF-SHA256 gives");
        Self(key)
    }

    /// Returns the bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn random() -> Self {
        let mut key = [0; 32];
        SystemRandom::new()
            .fill(&mut key)
            .expect("the system's random numbers do not run out");
        Self(key)
    }

    fn decode(text: &[u8]) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

/// The length of the derived key.
#[derive(Debug, Clone, Copy)]
struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_gives_the_same_key_everywhere_and_another_one_another() {
        let key = ClusterKey::from_cookie("a cookie of some length", "a.state");
        let derived = |cookie| ClusterKey::from_cookie(cookie, "a.state");
        assert_eq!(key, derived("a cookie of some length"));
        assert_ne!(key, derived("a cookie of some other length"));
        let elsewhere = ClusterKey::from_cookie("a cookie of some length", "b.state");
        assert_ne!(key, elsewhere);
        assert_ne!(key.as_bytes(), &[0; 32]);
    }

    #[test]
    fn random_keys_differ_and_survive_being_kept() {
        let key = ClusterKey::random();
        assert_ne!(key, ClusterKey::random());
        assert_eq!(
            ClusterKey::decode(STANDARD.encode(key.as_bytes()).as_bytes()),
            Some(key)
        );
        for bad in [&b""[..], b"!", b"QUJD"] {
            assert_eq!(ClusterKey::decode(bad), None);
        }
    }

    #[test]
    fn a_key_is_not_in_debug_output() {
        assert_eq!(format!("{:?}", ClusterKey::random()), "ClusterKey(***)");
    }
}
