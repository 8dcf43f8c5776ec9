//! One request to an upstream: the tries that it takes until an answer begins.
//!
//! # Invariants
//! - A request that a backend may have begun with is sent again only if its method is idempotent, its body was not
//!   read yet, and the budget of retries allows it; one that the backend says it has not begun with, whatever its
//!   method.
//! - Nothing is sent again once an answer has begun, or a backend has merely been silent.
//!
//! # Source
//! RFC 9110, 9.2.2 (idempotent methods); RFC 9112, 9.3.1 (retrying).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::addresses::{Address, InFlight};
use super::config::{UpstreamConfig, limit};
use super::connection::Lease;
use super::dial::DialError;
use super::error::UpstreamError;
use super::failure::failure;
use super::headers;
use super::request_body::{Outgoing, RequestBody, Waits};
use super::upstreams::Upstream;
use crate::proxy::route::{Protocol, UpstreamSpec};

/// How often a request is tried at most.
const MAX_TRIES: usize = 3;

/// A request as every try sends it.
pub(super) struct Outbound {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    /// The fields, but for those of the connection and of the length of the body.
    pub(super) headers: HeaderMap,
    /// Who the backend is to think it is; `None` is what its address says.
    pub(super) host: Option<Authority>,
    /// Whether the client said that there is a body, or none.
    pub(super) declares_length: bool,
    /// Whether it asks for a WebSocket.
    pub(super) is_upgrade: bool,
}

/// An answer of which the head is there, and what it comes over.
pub(super) struct Answering {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
    pub(super) in_flight: InFlight,
    /// Dropped, the rest of the request is given up.
    pub(super) body: Outgoing,
}

/// Sends a request until an answer begins, on as many addresses as it takes within bounds; `note` is told the
/// outcome of each try.
///
/// # Errors
/// That of the last try.
///
/// # Cancel safety
/// Dropping the future gives the request up; a backend may have acted on it.
pub(super) async fn exchange(
    upstream: &Upstream,
    config: &UpstreamConfig,
    outbound: &Outbound,
    body: Outgoing,
    note: impl Fn(&'static str) + Send + Sync,
) -> Result<Answering, UpstreamError> {
    let turn = upstream.turn().inspect_err(|error| note(error.outcome()))?;
    let begun = Instant::now();
    let mut tried: Vec<Arc<Address>> = Vec::new();
    let mut address = upstream.addresses.choose(&[], begun);
    for number in 1.. {
        let Some(current) = address.take() else {
            break;
        };
        // A connection that was kept may have been the reason.
        let is_fresh = tried.iter().any(|tried| Arc::ptr_eq(tried, &current));
        let tried_now = attempt(upstream, config, outbound, &body, (&current, is_fresh)).await;
        let error = match tried_now {
            Ok((response, lease, mut in_flight)) => {
                in_flight.keep(turn);
                note("answered");
                current.succeeded();
                upstream.retries.deposit();
                return Ok(Answering {
                    response,
                    lease,
                    in_flight,
                    body,
                });
            }
            Err(error) => error,
        };
        note(error.outcome());
        if error.blames_address() {
            current.failed(Instant::now());
        }
        tried.push(Arc::clone(&current));
        let is_over = limit(config.proxy_recv_timeout).is_some_and(|time| begun.elapsed() >= time);
        if number < MAX_TRIES && !is_over {
            address = next_address(upstream, outbound, &body, &error, &tried);
        }
        if address.is_none() {
            return Err(error);
        }
        tracing::debug!(%error, "a request is tried again");
    }
    // Definitions have one address at least.
    Err(UpstreamError::Unreachable {
        address: Box::default(),
        source: DialError::Name(std::io::ErrorKind::AddrNotAvailable.into()),
    })
}

/// Returns where the request is tried again, if it may be.
fn next_address(
    upstream: &Upstream,
    outbound: &Outbound,
    body: &Outgoing,
    error: &UpstreamError,
    tried: &[Arc<Address>],
) -> Option<Arc<Address>> {
    let now = Instant::now();
    let another = || upstream.addresses.choose(tried, now);
    let any = || another().or_else(|| tried.last().cloned());
    if !body.can_be_sent_again() {
        return None;
    }
    match error {
        // The same address would refuse again.
        UpstreamError::Unreachable { .. } | UpstreamError::NoSockets { .. } => another(),
        UpstreamError::NotSent { .. } => any(),
        // Nothing was done, but a backend in need gets no more of them.
        UpstreamError::Refused { .. } => upstream.retries.withdraw().then(any).flatten(),
        UpstreamError::Broken { was_kept, .. } => {
            let is_allowed = || *was_kept || upstream.retries.withdraw();
            let may = outbound.method.is_idempotent() && is_allowed();
            may.then(any).flatten()
        }
        UpstreamError::Silent { .. }
        | UpstreamError::Busy { .. }
        | UpstreamError::NotHttp { .. }
        | UpstreamError::BadAnswer { .. }
        | UpstreamError::Body(_) => None,
    }
}

async fn attempt(
    upstream: &Upstream,
    config: &UpstreamConfig,
    outbound: &Outbound,
    body: &Outgoing,
    (address, is_fresh): (&Arc<Address>, bool),
) -> Result<(Response<Incoming>, Lease, InFlight), UpstreamError> {
    let in_flight = InFlight::begin(address);
    let connections = &address.connections;
    let leased = if outbound.is_upgrade {
        connections.lease_for_upgrade().await
    } else {
        connections.lease(is_fresh).await
    };
    let mut lease = leased.map_err(|source| UpstreamError::no_lease(&address.name, source))?;
    let request = outbound.request(&upstream.spec, &address.name, lease.is_http2(), body);
    let sent = in_time(lease.send(request), body, config).await;
    let response = match sent {
        Ok(Ok(response)) => response,
        Ok(Err(mut error)) => {
            let was_sent = error.take_message().is_none();
            let name = &address.name;
            let error = failure(error.into_error(), (was_sent, lease.was_kept()), body, name);
            if matches!(error, UpstreamError::NotSent { .. }) {
                lease.retire();
            }
            return Err(error);
        }
        Err(timeout) => {
            return Err(UpstreamError::Silent {
                address: address.name.as_str().into(),
                timeout,
            });
        }
    };
    check(&response, outbound.is_upgrade).map_err(|problem| UpstreamError::BadAnswer {
        address: address.name.as_str().into(),
        problem,
    })?;
    Ok((response, lease, in_flight))
}

/// Checks what hyper does not: that everybody finds the same end of the answer (RFC 9112, 6.3).
fn check(response: &Response<Incoming>, may_switch: bool) -> Result<(), &'static str> {
    let headers = response.headers();
    let is_switch = response.status().as_u16() == 101;
    if is_switch && !(may_switch && headers::is_upgrade_to_websocket(headers)) {
        return Err("it switches protocols, which nobody asked for");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        _ => return Err("its transfer coding is not just chunked"),
    };
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    if is_chunked && lengths > 0 {
        return Err("it has both Content-Length and Transfer-Encoding");
    }
    if lengths > 1 {
        return Err("it has more than one Content-Length");
    }
    Ok(())
}

/// Waits for the head of an answer, or until the backend has been idle for too long: with all of the request, or in
/// the middle of its body.
///
/// # Errors
/// The time that it had.
async fn in_time<T>(
    sending: impl Future<Output = T>,
    body: &Outgoing,
    config: &UpstreamConfig,
) -> Result<T, Duration> {
    let mut sending = pin!(sending);
    let answering = limit(config.proxy_recv_timeout);
    let reading = limit(config.proxy_idle_timeout);
    let Some(shortest) = answering.into_iter().chain(reading).min() else {
        return Ok(sending.await);
    };
    let begun = Instant::now();
    let mut timer = pin!(tokio::time::sleep_until(begun + shortest));
    loop {
        tokio::select! {
            biased;
            sent = &mut sending => return Ok(sent),
            () = &mut timer => {}
        }
        let now = Instant::now();
        let (since, patience) = match body.waits(begun) {
            // That is not the backend's fault.
            Waits::Client => (now, None),
            Waits::Reading(since) => (since, reading),
            Waits::Answer(since) => (since, answering),
        };
        let end = patience.map(|patience| (since + patience, patience));
        if let Some((_, patience)) = end.filter(|(end, _)| *end <= now) {
            return Err(patience);
        }
        // What it waits for may change meanwhile.
        let look = now + shortest;
        timer
            .as_mut()
            .reset(end.map_or(look, |(end, _)| end.min(look)));
    }
}

impl Outbound {
    /// Makes the request for one try.
    fn request(
        &self,
        spec: &UpstreamSpec,
        address: &Authority,
        is_http2: bool,
        body: &Outgoing,
    ) -> Request<RequestBody> {
        let host = self.host.as_ref().unwrap_or(address);
        let is_tls = matches!(spec.protocol, Protocol::Https);
        let mut request = Request::new(body.for_try());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri(is_http2, is_tls, host, &self.path);
        *request.headers_mut() = self.headers.clone();
        let headers = request.headers_mut();
        self.frame(headers, is_http2, body);
        if is_http2 {
            *request.version_mut() = Version::HTTP_2;
            return request;
        }
        if let Ok(host) = HeaderValue::try_from(host.as_str()) {
            headers.insert(HOST, host);
        }
        if self.is_upgrade {
            headers::set_upgrade(headers);
        } else if headers.contains_key(TE) {
            // RFC 9110, 10.1.4: TE is named in Connection.
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
        request
    }

    /// Says how long the body is, from the body itself.
    fn frame(&self, headers: &mut HeaderMap, is_http2: bool, body: &Outgoing) {
        let has_content = [Method::POST, Method::PUT, Method::PATCH].contains(&self.method);
        match body.length() {
            Some(0) if !(has_content || self.declares_length) => {}
            Some(length) => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            None if is_http2 => {}
            None => {
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
    }
}

/// Makes the URI as its version of HTTP wants it: in origin form, or with `:scheme` and `:authority`.
pub(super) fn uri(is_http2: bool, is_tls: bool, authority: &Authority, path: &PathAndQuery) -> Uri {
    if !is_http2 {
        return Uri::from(path.clone());
    }
    let scheme = if is_tls { Scheme::HTTPS } else { Scheme::HTTP };
    Uri::builder()
        .scheme(scheme)
        .authority(authority.clone())
        .path_and_query(path.clone())
        .build()
        .expect("a scheme, an authority and a path make a uri")
}
