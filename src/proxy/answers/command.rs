//! A command as far as its answer is concerned, and what its target says of it.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::answer::Answer;
use super::key::IdempotencyKey;
use super::places::Party;
use crate::http::{HttpError, Reply};
use crate::proxy::call::{Call, Caller};
use crate::proxy::route::AnswerFrom;

/// What has to be known of a command to get its answer to whoever waits for it.
#[derive(Debug)]
pub(in crate::proxy) struct Command {
    pub(super) from: AnswerFrom,
    pub(super) caller: Caller,
    pub(super) party: Party,
    pub(super) prefers_async: bool,
    pub(super) key: Option<IdempotencyKey>,
}

impl Command {
    /// Takes from a call what is needed.
    pub(in crate::proxy) fn new(call: &Call) -> Self {
        Self {
            from: call.route.answer_from,
            caller: call.caller.clone(),
            party: Party::of(&call.caller, call.request.client_address()),
            prefers_async: prefers_async(&call.request.headers),
            key: None,
        }
    }

    /// Returns whether its answer is kept for whoever asks for it, or sends it again.
    pub(super) const fn is_kept(&self) -> bool {
        self.prefers_async || self.key.is_some()
    }

    /// Takes the `Idempotency-Key` of the call, if it has one: a command that comes again with the same key is the
    /// same command, and is refused if its `fingerprint` differs: method, path and body, say.
    ///
    /// # Errors
    /// 400 for a key that is none.
    pub(in crate::proxy) fn with_key(
        mut self,
        call: &Call,
        fingerprint: &[&[u8]],
    ) -> Result<Self, HttpError> {
        self.key = IdempotencyKey::of(call, &self.party, fingerprint)?;
        Ok(self)
    }
}

/// Under which names a command is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proxy) struct Sending {
    /// The id under which the answer comes back.
    pub(in crate::proxy) correlation: String,
    /// An id for the event that is made of the command: the same when it is sent again under its `Idempotency-Key`,
    /// so that consumers can leave out what they have.
    pub(in crate::proxy) event_id: String,
}

/// What a target made of a command.
#[derive(Debug)]
pub(in crate::proxy) enum Sent {
    /// It was taken; the answer will come under the correlation id.
    Waits,
    /// This is the answer; nothing is waited for.
    Done(Answer),
    /// As [`Sent::Done`], but the answer may be a stream. It is not kept for whoever sends the command again.
    Replied(Reply),
}

/// Returns whether the client prefers not to wait (RFC 7240, 4.1).
fn prefers_async(headers: &HeaderMap) -> bool {
    preferences(headers).any(|(name, _)| name.eq_ignore_ascii_case("respond-async"))
}

/// Returns how long the client would wait (RFC 7240, 4.3).
pub(in crate::proxy) fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let mut all = preferences(headers);
    let (_, value) = all.find(|(name, _)| name.eq_ignore_ascii_case("wait"))?;
    let seconds = value.trim_matches('"').parse().ok();
    seconds.map(Duration::from_secs)
}

/// Returns the preferences with their values, in the order in which they came (RFC 7240, 2).
fn preferences(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    const PREFER: HeaderName = HeaderName::from_static("prefer");
    let values = headers.get_all(PREFER).into_iter();
    let lists = values.filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(|preference| {
        let preference = preference.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        (name.trim(), value.trim())
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let prefer = HeaderName::from_static("prefer");
        let values = values.iter().map(|value| {
            let value = HeaderValue::from_str(value).unwrap();
            (prefer.clone(), value)
        });
        values.collect()
    }

    #[test]
    fn preferences_are_read_as_rfc_7240_has_them() {
        for (values, is_async, wait) in [
            (&[][..], false, None),
            (&["respond-async"], true, None),
            (&["Respond-Async, wait=10"], true, Some(10)),
            (&["handling=lenient", "wait = \"7\" ; x=y"], false, Some(7)),
            (&["wait=5, wait=9"], false, Some(5)),
            (&["wait=-1"], false, None),
            (&["respond-asynchronously"], false, None),
            (
                &["return=minimal; respond-async, , respond-async; a"],
                true,
                None,
            ),
        ] {
            let headers = headers(values);
            assert_eq!(prefers_async(&headers), is_async, "{values:?}");
            let wait = wait.map(Duration::from_secs);
            assert_eq!(preferred_wait(&headers), wait, "{values:?}");
        }
    }
}
