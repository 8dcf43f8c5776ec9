//! Calls of routes with HTTP targets: answered by the backend, or later under a correlation id.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Limited};

use super::exchange::Begun;
use super::forward::Forwarder;
use super::lasting::Lasting;
use super::target;
use super::upstreams::Upstreams;
use crate::http::{HttpError, Reply};
use crate::proxy::answers::{Answers, CORRELATION_HEADER, Command, Sending, Sent};
use crate::proxy::call::Call;
use crate::proxy::route::UpstreamSpec;
use crate::session::Stay;

/// Tells a backend under which id it may answer later.
const RIG_CORRELATION: HeaderName = HeaderName::from_static(CORRELATION_HEADER);
/// How much of a body that nobody wants is read, so that its connection can be used again, and for how long.
const UNWANTED_BYTES: usize = 64 * 1024;
const UNWANTED_TIME: Duration = Duration::from_secs(1);

/// Answers calls of routes whose target is an HTTP backend. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct HttpTarget {
    forwarder: Forwarder,
    answers: Answers,
}

impl HttpTarget {
    pub(in crate::proxy) const fn new(
        upstreams: Upstreams,
        answers: Answers,
        lasting: Lasting,
    ) -> Self {
        Self {
            forwarder: Forwarder::new(upstreams, lasting),
            answers,
        }
    }

    /// Sends a call to the backend of its route. Its answer goes on as it comes; but where the route says that answers come in
    /// another way, after a 202 they do.
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
    pub(in crate::proxy) async fn call(
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
        let target = target::with_correlation(&call.target, &id);
        let body = call.request.take_body();
        let sent = self.forwarder.send(&call, upstream, &target, body);
        let begun = sent.await?;
        drop(call);
        if begun.response.status() != StatusCode::ACCEPTED {
            return Ok(Sent::Replied(self.forwarder.reply(begun, stay)));
        }
        self.discard(begun).await;
        Ok(Sent::Waits)
    }

    /// Reads what comes with a 202, unseen, as far as that is soon done.
    async fn discard(&self, begun: Begun) {
        let body = self.forwarder.streamed(begun, None).into_body();
        let reading = Limited::new(body, UNWANTED_BYTES).collect();
        if !matches!(
            tokio::time::timeout(UNWANTED_TIME, reading).await,
            Ok(Ok(_))
        ) {
            tracing::debug!("the body of a 202 was not read to its end");
        }
    }
}
