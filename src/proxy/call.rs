//! A request for which there is a route, and whose sender may use it.

use std::sync::Arc;

use super::route::Route;
use crate::http::Request;
use crate::telemetry::TraceContext;

/// A request on its way to the target of its route.
#[derive(Debug)]
pub(super) struct Call {
    /// The route.
    pub(super) route: Arc<Route>,
    /// The request: its head as it came, and the body, not read yet.
    pub(super) request: Request,
    /// The path and the query for the target: rewritten, but still percent-encoded as they came.
    pub(super) target: String,
    /// What the groups of the route's pattern matched, percent-decoded, the first group first, where the key of a record
    /// is taken from one; an empty text for those that took no part.
    pub(super) groups: Box<[Box<str>]>,
    /// Who sends it, as far as a token says so.
    pub(super) caller: Caller,
    /// The trace that it belongs to, for the target: a child of what came.
    pub(super) trace: TraceContext,
}

/// Who sends a request; nobody known by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The sessions of the tokens, at least one for whoever is known.
    pub sessions: Box<[Arc<str>]>,
    /// The user, if a token names one.
    pub user: Option<Arc<str>>,
}

impl Caller {
    /// Returns whether `other` may have what this one began: a session is the same, or the user. What nobody known
    /// began is for everybody who can name it.
    pub(super) fn admits(&self, other: &Self) -> bool {
        let is_known = !self.sessions.is_empty() || self.user.is_some();
        let same_user = self.user.is_some() && self.user == other.user;
        let mut sessions = self.sessions.iter();
        !is_known || same_user || sessions.any(|session| other.sessions.contains(session))
    }
}
