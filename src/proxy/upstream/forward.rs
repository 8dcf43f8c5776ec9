//! From a call to a request for a backend, and from its answer to a reply.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, UPGRADE};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Empty, Limited};

use super::answer_body::{AnswerBody, Patience};
use super::config::limit;
use super::exchange::{Answering, Outbound, exchange};
use super::headers;
use super::lasting::Lasting;
use super::request_body::Outgoing;
use super::target;
use super::tunnel::{Counted, Tunnel};
use super::upstreams::Upstreams;
use crate::access::Place;
use crate::event::is_event_stream;
use crate::http::{HttpError, Reply, StreamBody};
use crate::proxy::call::Call;
use crate::proxy::route::{Protocol, UpstreamSpec};
use crate::session::Stay;

/// How much of a body that nobody wants is read, so that its connection can be used again, and for how long.
const UNWANTED_BYTES: usize = 64 * 1024;
const UNWANTED_TIME: Duration = Duration::from_secs(1);

/// An answer of which the head is there.
pub(in crate::proxy) struct Begun {
    answering: Answering,
    /// Among the connections, for what asked for a tunnel.
    place: Option<Place>,
}

impl Begun {
    /// Returns the status.
    pub(in crate::proxy) fn status(&self) -> StatusCode {
        self.answering.response.status()
    }
}

/// Sends calls to their backends.
#[derive(Debug)]
pub(in crate::proxy) struct Forwarder {
    upstreams: Upstreams,
    lasting: Lasting,
}

impl Forwarder {
    /// Reaches backends by `upstreams`; tunnels and endless answers are counted, and end, as `lasting` says.
    pub(in crate::proxy) const fn new(upstreams: Upstreams, lasting: Lasting) -> Self {
        Self { upstreams, lasting }
    }

    /// Sends a call to a backend, with the target and the body given beside it, until its answer begins.
    ///
    /// # Errors
    /// 400 for a target that is none or could lead elsewhere, and for a body that breaks off; 502 when no address can
    /// be reached or an answer is malformed; 504 when no answer begins in time; 508 for a request that goes round in
    /// circles; 501 for a WebSocket to a backend that speaks only HTTP/2, 429 or 503 for one over the limits of
    /// connections.
    ///
    /// # Cancel safety
    /// Dropping the future gives the request up; the backend may have acted on it.
    pub(in crate::proxy) async fn send(
        &self,
        call: &Call,
        spec: &Arc<UpstreamSpec>,
        target: &str,
        body: StreamBody,
    ) -> Result<Begun, HttpError> {
        let outbound = outbound(call, spec, target)?;
        let place = if outbound.is_upgrade {
            Some(self.lasting.place(call)?)
        } else {
            None
        };
        let body = if outbound.is_upgrade {
            Empty::new().map_err(|never| match never {}).boxed_unsync()
        } else {
            body
        };
        let body = Outgoing::new(body, Arc::clone(&call.route));
        let upstream = self.upstreams.get(spec);
        let tries = &self.upstreams.metrics().proxy.upstream_tries;
        let note = |outcome| {
            let labels = [&*call.route.api, outcome];
            tries.with_label_values(&labels).inc();
        };
        let config = self.upstreams.config();
        let exchanged = Box::pin(exchange(&upstream, config, &outbound, body, note));
        match exchanged.await {
            Ok(answering) => Ok(Begun { answering, place }),
            Err(error) => {
                self.upstreams.complain(&error);
                Err(error.into())
            }
        }
    }

    /// Makes the reply of an answer that has begun: the rest of it comes as the backend sends it, for as long as
    /// the stay lasts.
    pub(in crate::proxy) fn reply(&self, begun: Begun, stay: Option<Stay>) -> Reply {
        if begun.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(begun, stay);
        }
        Reply::Streamed(self.streamed(begun.answering, stay))
    }

    /// Reads what comes with an answer that nobody wants, as far as that is soon done.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the rest of the answer off.
    pub(in crate::proxy) async fn discard(&self, begun: Begun) {
        let body = self.streamed(begun.answering, None).into_body();
        let reading = Limited::new(body, UNWANTED_BYTES).collect();
        if !matches!(
            tokio::time::timeout(UNWANTED_TIME, reading).await,
            Ok(Ok(_))
        ) {
            tracing::debug!("an answer that nobody wants was not read to its end");
        }
    }

    fn streamed(&self, answering: Answering, stay: Option<Stay>) -> Response<StreamBody> {
        let (mut head, body) = answering.response.into_parts();
        let upgrade = head.headers.get(UPGRADE).cloned();
        headers::clean_answer(&mut head.headers);
        headers::add_via(&mut head.headers, head.version);
        match (head.status, upgrade) {
            // RFC 9110, 8.6: a 204 has no length.
            (StatusCode::NO_CONTENT, _) => {
                head.headers.remove(CONTENT_LENGTH);
            }
            // RFC 9110, 15.5.22: the protocol that the backend wants.
            (StatusCode::UPGRADE_REQUIRED, Some(upgrade)) => {
                head.headers.insert(UPGRADE, upgrade);
            }
            _ => {}
        }
        let content_type = head.headers.get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let is_endless = content_type.is_some_and(is_event_stream);
        let idle = limit(self.upstreams.config().proxy_idle_timeout);
        let patience = Patience {
            idle: idle.filter(|_| !is_endless),
            until: self.lasting.until(stay, is_endless),
        };
        let held = (answering.lease, answering.in_flight, answering.body);
        let body = AnswerBody::new(body, held, patience);
        let mut answer = Response::new(body.boxed_unsync());
        *answer.status_mut() = head.status;
        *answer.headers_mut() = head.headers;
        answer
    }

    /// Makes a WebSocket of an answer that grants it.
    fn switch(&self, begun: Begun, stay: Option<Stay>) -> Reply {
        let Begun { answering, place } = begun;
        let Answering {
            mut response,
            in_flight,
            // Nobody else gets the connection, and a handshake has no body.
            lease: _,
            body: _,
        } = answering;
        let tunnel = Tunnel {
            backend: hyper::upgrade::on(&mut response),
            held: (
                in_flight,
                place,
                Counted::new(&self.upstreams.metrics().proxy.upstream_tunnels),
            ),
            idle: limit(self.upstreams.config().proxy_websocket_idle_timeout),
            until: self.lasting.until(stay, true),
            tasks: self.lasting.tasks().clone(),
        };
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *head.headers_mut() = std::mem::take(response.headers_mut());
        headers::clean_answer(head.headers_mut());
        headers::add_via(head.headers_mut(), response.version());
        headers::set_upgrade(head.headers_mut());
        Reply::TakenOver(head, Box::new(tunnel))
    }
}

/// Makes the request for the backend.
fn outbound(call: &Call, spec: &UpstreamSpec, target: &str) -> Result<Outbound, HttpError> {
    let request = &call.request;
    let path = target::join(&spec.base_path, target)?;
    if headers::goes_round(&request.headers) {
        let text = "The request has come through here too often.";
        return Err(HttpError::new(StatusCode::LOOP_DETECTED, "loop", text));
    }
    let is_upgrade = request.method == Method::GET
        && request.version != Version::HTTP_10
        && headers::asks_for_websocket(&request.headers);
    if is_upgrade && spec.protocol == Protocol::H2c {
        let text = "There is no WebSocket at this path.";
        let status = StatusCode::NOT_IMPLEMENTED;
        return Err(HttpError::new(status, "not_implemented", text));
    }
    let mut fields = request.headers.clone();
    let is_ours = |name: &HeaderName| call.route.decides_by(name);
    headers::clean_request(&mut fields, is_ours);
    headers::remove_lookalikes(&mut fields, is_ours);
    fields.remove(HOST);
    let declares_length = fields.remove(CONTENT_LENGTH).is_some();
    request.write_forwarded(&mut fields);
    headers::add_via(&mut fields, request.version);
    call.trace.write_to(&mut fields);
    headers::add(&mut fields, &call.route.add_headers);
    let host = fields.remove(HOST);
    Ok(Outbound {
        method: request.method.clone(),
        path,
        host: host.map(|host| authority(&host)).transpose()?,
        headers: fields,
        declares_length,
        is_upgrade,
    })
}

/// Reads a configured `Host`.
fn authority(host: &HeaderValue) -> Result<Authority, HttpError> {
    Authority::try_from(host.as_bytes()).map_err(HttpError::internal)
}
