//! Who asks for subscriptions, as a check looks at it: somebody who sends a request, or the owner of a connection.

use http::header::HeaderValue;
use serde_json::Value;

use super::visitor::Visitor;
use crate::session::Guest;

/// What a check of subscriptions looks at.
pub(super) struct Asker<'a> {
    pub(super) claims: Vec<&'a Value>,
    pub(super) is_known: bool,
    pub(super) authorization: Option<HeaderValue>,
}

impl<'a> From<&'a Visitor> for Asker<'a> {
    fn from(visitor: &'a Visitor) -> Self {
        Self {
            claims: visitor.claims(),
            is_known: visitor.is_known(),
            authorization: visitor.authorization(),
        }
    }
}

impl<'a> Asker<'a> {
    /// The owner of a connection that has kept its claims, or nothing.
    pub(super) fn with_claims(kept: &'a [Value], is_known: bool) -> Self {
        Self {
            claims: kept.iter().collect(),
            is_known,
            authorization: None,
        }
    }

    /// The owner of a connection that has kept its tokens.
    pub(super) fn with_tokens(kept: &[Value], is_known: bool) -> Self {
        let tokens = kept
            .iter()
            .filter_map(|token| token.as_str().map(str::to_owned));
        Self {
            claims: Vec::new(),
            is_known,
            authorization: Visitor::new(Vec::new(), tokens.collect()).authorization(),
        }
    }
}

/// Returns what a guest keeps for later checks: claims, or tokens.
pub(super) fn kept_of(guest: Option<&Guest>) -> Vec<Value> {
    let kept = guest.and_then(|guest| guest.credentials.as_deref());
    kept.and_then(|kept| serde_json::from_str(kept).ok())
        .unwrap_or_default()
}
