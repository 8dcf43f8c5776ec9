//! From a call to a request for a backend, and from its answer to a reply.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, UPGRADE};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Empty};

use super::answer_body::{AnswerBody, Patience};
use super::config::limit;
use super::exchange::{Begun, Outbound, exchange};
use super::headers;
use super::lasting::Lasting;
use super::request_body::Outgoing;
use super::target;
use super::tunnel::{Counted, Tunnel};
use super::upstreams::Upstreams;
use crate::http::{HttpError, Reply, StreamBody};
use crate::proxy::call::Call;
use crate::proxy::route::{Protocol, Target, UpstreamSpec};
use crate::session::Stay;

/// Sends calls to their backends. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Forwarder {
    upstreams: Upstreams,
    lasting: Lasting,
}

impl Forwarder {
    pub(super) const fn new(upstreams: Upstreams, lasting: Lasting) -> Self {
        Self { upstreams, lasting }
    }

    /// Sends a call, with the target and the body given beside it, until its answer begins.
    ///
    /// # Errors
    /// 400 for a target that is none or could lead elsewhere, and for a body that breaks off; 502 when no address can
    /// be reached or an answer is malformed; 504 when no answer begins in time; 508 for a request that goes round in
    /// circles; 501 for a WebSocket to a backend that speaks only HTTP/2, 429 or 503 for one over the limits of
    /// connections.
    ///
    /// # Cancel safety
    /// Dropping the future gives the request up; the backend may have acted on it.
    pub(super) async fn send(
        &self,
        call: &Call,
        target: &str,
        body: StreamBody,
    ) -> Result<Begun, HttpError> {
        let Target::Http { upstream: spec, .. } = &call.route.target else {
            return Err(HttpError::internal("the target of the route is not http"));
        };
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
        let exchanged = Box::pin(exchange(&upstream, config, &outbound, &body, note));
        match exchanged.await {
            Ok(begun) => Ok(Begun { place, ..begun }),
            Err(error) => {
                self.upstreams.complain(&error);
                Err(error.into())
            }
        }
    }

    /// Makes the reply of an answer that has begun: the rest of it comes as the backend sends it, for as long as
    /// the stay lasts.
    pub(super) fn reply(&self, begun: Begun, stay: Option<Stay>) -> Reply {
        if begun.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(begun, stay);
        }
        Reply::Streamed(self.streamed(begun, stay))
    }

    pub(super) fn streamed(&self, begun: Begun, stay: Option<Stay>) -> Response<StreamBody> {
        let (mut head, body) = begun.response.into_parts();
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
        let is_endless = is_event_stream(&head.headers);
        let idle = limit(self.upstreams.config().proxy_idle_timeout);
        let patience = Patience {
            idle: idle.filter(|_| !is_endless),
            until: self.lasting.until(stay, is_endless),
        };
        let body = AnswerBody::new(body, begun.lease, begun.in_flight, patience);
        let mut answer = Response::new(body.boxed_unsync());
        *answer.status_mut() = head.status;
        *answer.headers_mut() = head.headers;
        answer
    }

    /// Makes a WebSocket of an answer that grants it.
    fn switch(&self, begun: Begun, stay: Option<Stay>) -> Reply {
        let Begun {
            mut response,
            in_flight,
            place,
            // Nobody else gets the connection.
            lease: _,
        } = begun;
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

/// Whether an answer may be silent for as long as it likes.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
}
