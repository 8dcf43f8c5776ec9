//! Routes to HTTP backends: answered by the backend, or later under a correlation id.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};

use super::answers::{Answers, CORRELATION_HEADER, Command, Sending, Sent};
use super::call::Call;
use super::query;
use super::route::UpstreamSpec;
use super::upstream::Forwarder;
use crate::http::{HttpError, Reply};
use crate::session::Stay;

/// The header and the parameter that tell a backend under which id it may answer later.
const RIG_CORRELATION: HeaderName = HeaderName::from_static(CORRELATION_HEADER);
const CORRELATION: &str = "correlation";

/// Sends commands to HTTP backends.
#[derive(Debug)]
pub(super) struct ToHttp {
    /// Reaches the backends.
    pub(super) forwarder: Forwarder,
    /// Waits for answers.
    pub(super) answers: Answers,
}

impl ToHttp {
    /// Sends a call to the backend of its route. Its answer goes on as it comes; but where the route says that answers
    /// come in another way, after a 202 they do.
    ///
    /// Where there is a `stay`, what lasts of the answer is broken off when that is over.
    ///
    /// The backend of such a route finds the id to answer under in `correlation` of the query and in the header
    /// `rig-correlation`.
    ///
    /// # Errors
    /// Those of [`Forwarder::send`] and [`Answers::run`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the request up; the backend may have acted on it.
    pub(super) async fn call(
        &self,
        mut call: Call,
        upstream: &Arc<UpstreamSpec>,
        stay: Option<Stay>,
    ) -> Result<Reply, HttpError> {
        if call.route.answer_from.comes_later() {
            let command = Command::new(&call);
            let send = |sending| self.send_command(call, upstream, stay, sending);
            return self.answers.run(command, send).await;
        }
        let body = call.request.take_body();
        let sent = self.forwarder.send(&call, upstream, &call.target, body);
        Ok(self.forwarder.reply(sent.await?, stay))
    }

    async fn send_command(
        &self,
        mut call: Call,
        upstream: &Arc<UpstreamSpec>,
        stay: Option<Stay>,
        sending: Sending,
    ) -> Result<Sent, HttpError> {
        let id = sending.correlation;
        let value = HeaderValue::try_from(&id).map_err(HttpError::internal)?;
        call.request.headers.insert(RIG_CORRELATION, value);
        let target = with_correlation(&call.target, &id);
        let body = call.request.take_body();
        let sent = self.forwarder.send(&call, upstream, &target, body);
        let begun = sent.await?;
        drop(call);
        if begun.status() != StatusCode::ACCEPTED {
            return Ok(Sent::Replied(self.forwarder.reply(begun, stay)));
        }
        self.forwarder.discard(begun).await;
        Ok(Sent::Waits)
    }
}

/// Adds the correlation id to the query of a target, in place of whatever the client gave for it; the rest of the
/// query stays as it came.
fn with_correlation(target: &str, id: &str) -> String {
    let (path, query) = query::split(target);
    let mut made = format!("{path}?");
    let rest = query::without(query.unwrap_or_default(), CORRELATION);
    for pair in rest.filter(|pair| !pair.is_empty()) {
        made.push_str(pair);
        made.push('&');
    }
    made.push_str(CORRELATION);
    made.push('=');
    made.push_str(id);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_correlation_id_replaces_one_of_the_clients() {
        for (target, expected) in [
            ("/a", "/a?correlation=id"),
            ("/a?", "/a?correlation=id"),
            ("/a?b=1&b=%202&c", "/a?b=1&b=%202&c&correlation=id"),
            ("/a?correlation=evil", "/a?correlation=id"),
            (
                "/a?correlation&x=correlation&c%6Frrelation=1",
                "/a?x=correlation&correlation=id",
            ),
        ] {
            assert_eq!(with_correlation(target, "id"), expected);
        }
    }
}
