//! Who sends a request.

use std::fmt;
use std::sync::Arc;

use http::header::HeaderValue;
use serde_json::Value;

use crate::identity::Claims;
use crate::session::Guest;
use crate::subscription::Forced;

/// Who sends a request, as far as it shows; anonymous by default.
#[derive(Clone, Default)]
pub struct Visitor {
    /// What the tokens claim that were verified.
    claims: Vec<Arc<Claims>>,
    /// The tokens, verified or, where there are no keys to verify them, as they came.
    tokens: Vec<String>,
}

/// Says how many tokens there are, and nothing of them.
impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor")
            .field("verified", &self.claims.len())
            .field("tokens", &self.tokens.len())
            .finish()
    }
}

impl Visitor {
    pub(super) const fn new(claims: Vec<Arc<Claims>>, tokens: Vec<String>) -> Self {
        Self { claims, tokens }
    }

    /// Returns whether at least one token was verified.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.claims.is_empty()
    }

    /// Returns the claims of each verified token.
    pub(super) fn claims(&self) -> Vec<&Value> {
        self.claims.iter().map(|claims| claims.json()).collect()
    }

    /// Returns the tokens as they came.
    pub(super) fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Returns the first of the tokens.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.tokens.first().map(String::as_str)
    }

    /// Returns the names of the sessions.
    #[must_use]
    pub fn sessions(&self) -> Box<[Arc<str>]> {
        let named = self.claims.iter().filter_map(|claims| claims.session());
        named.map(Arc::from).collect()
    }

    /// Returns the user, if a token names one.
    #[must_use]
    pub fn user(&self) -> Option<Arc<str>> {
        self.claims
            .iter()
            .find_map(|claims| claims.user())
            .map(Arc::from)
    }

    /// Returns when the first token expires, in Unix milliseconds; `None` where none was verified.
    #[must_use]
    pub fn expires_ms(&self) -> Option<i64> {
        self.claims.iter().map(|claims| claims.expires_ms()).min()
    }

    /// Returns the header that says all tokens, as RIG sends it to checks.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        if self.tokens.is_empty() {
            return None;
        }
        let bearers: Vec<String> = self
            .tokens
            .iter()
            .map(|token| format!("Bearer {token}"))
            .collect();
        let mut value = HeaderValue::try_from(bearers.join(", ")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Returns the guest that this visitor becomes with a connection; `None` for somebody unknown of whom no
    /// later check has to know anything.
    pub(super) fn guest(
        &self,
        forced: Forced,
        credentials: Option<Box<str>>,
    ) -> Option<Arc<Guest>> {
        let kept = credentials.filter(|_| !self.tokens.is_empty());
        // Tokens that nobody here can verify say nothing, but a server that is asked may understand them.
        let (expires_ms, forced) = match self.expires_ms() {
            Some(expires_ms) => (expires_ms, forced),
            None if kept.is_some() => (i64::MAX, Forced::open()),
            None => return None,
        };
        Some(Arc::new(Guest {
            sessions: self.sessions(),
            user: self.user(),
            expires_ms,
            forced,
            credentials: kept,
        }))
    }
}
