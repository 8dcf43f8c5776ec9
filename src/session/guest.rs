//! Who a connection belongs to.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::subscription::{Extractors, Forced};

/// Who a connection belongs to and what that forces on it, as its tokens say.
#[derive(Clone, PartialEq, Eq)]
pub struct Guest {
    /// The names of its sessions, one for each token that names one.
    pub sessions: Box<[Arc<str>]>,
    /// The user, if a token names one.
    pub user: Option<Arc<str>>,
    /// When the first of its tokens expires, leeway included, in Unix milliseconds.
    pub expires_ms: i64,
    /// What its claims force on its subscriptions.
    pub forced: Forced,
    /// What a later check of its subscriptions needs; opaque here, and never written into a record.
    pub credentials: Option<Box<str>>,
}

/// Says how many sessions there are, and not which: names of users and sessions belong into no log.
impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("sessions", &self.sessions.len())
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

/// Why a guest that another instance has written cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a guest as an instance with the same extractors writes it")]
pub struct UnreadableGuest;

impl Guest {
    /// Writes a guest for another instance, or for a record that all instances read; without its
    /// credentials.
    #[must_use]
    pub fn to_json(&self, extractors: &Extractors) -> Value {
        json!({
            "sessions": self.sessions.iter().map(|session| &**session).collect::<Vec<&str>>(),
            "user": self.user.as_deref(),
            "expires_ms": self.expires_ms,
            "forced": self.forced.to_json(extractors),
        })
    }

    /// Reads what [`Guest::to_json`] has written.
    ///
    /// # Errors
    /// [`UnreadableGuest`]; never a guest with less forced on it than there was.
    pub fn parse(json: &Value, extractors: &Extractors) -> Result<Self, UnreadableGuest> {
        let text = |value: &Value| value.as_str().map(Arc::<str>::from).ok_or(UnreadableGuest);
        let optional = |member: &str| match json.get(member) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => text(value).map(Some),
        };
        let forced = json["forced"].as_str().ok_or(UnreadableGuest)?;
        let forced = Forced::parse(forced, extractors);
        let sessions = json["sessions"].as_array().ok_or(UnreadableGuest)?;
        Ok(Self {
            sessions: sessions.iter().map(text).collect::<Result<_, _>>()?,
            user: optional("user")?,
            expires_ms: json["expires_ms"].as_i64().ok_or(UnreadableGuest)?,
            // Nobody with a token is open; a record that says so was not written by us.
            forced: forced
                .ok()
                .filter(|forced| !forced.is_open())
                .ok_or(UnreadableGuest)?,
            credentials: None,
        })
    }

    /// Returns whether its tokens were verified; others are kept for a server that is asked, and say nothing
    /// here.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        !self.forced.is_open()
    }

    /// Returns whether `other` is the same somebody: the same user, or, where no token names one, a
    /// session of the same name, or no session either.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (&self.user, &other.user) {
            (Some(user), Some(other)) => user == other,
            (None, None) => {
                let is_shared = |session| other.sessions.contains(session);
                let is_nameless = self.sessions.is_empty() && other.sessions.is_empty();
                is_nameless || self.sessions.iter().any(is_shared)
            }
            _ => false,
        }
    }
}
