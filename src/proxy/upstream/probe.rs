//! Finds out whether addresses that failed are well again, where the definition names a path for that.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use http::header::{HOST, USER_AGENT};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, Request};
use tokio::time::Instant;

use super::addresses::Address;
use super::dial::DialError;
use super::exchange;
use super::request_body::RequestBody;
use super::upstreams::Upstream;
use crate::proxy::route::{Protocol, UpstreamSpec};

/// What backends read about who asks.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("sluicegate/", env!("CARGO_PKG_VERSION")));

/// Probes the addresses that are left alone, each at the end of its pause, until the upstream is dropped.
pub(super) fn run(
    upstream: &Arc<Upstream>,
    patience: Duration,
) -> impl Future<Output = ()> + Send + use<> {
    let bell = Arc::clone(&upstream.bell);
    let upstream = Arc::downgrade(upstream);
    async move {
        loop {
            let Some(next) = next_probe(&upstream) else {
                return;
            };
            match next {
                None => bell.notified().await,
                Some(at) => {
                    tokio::select! {
                        () = bell.notified() => continue,
                        () = tokio::time::sleep_until(at) => {}
                    }
                    Box::pin(probe_due(&upstream, patience)).await;
                }
            }
        }
    }
}

/// Returns when the next address is to be probed, if any is; `None` when the upstream is gone.
#[expect(clippy::option_option, reason = "gone, and nothing to do, differ")]
fn next_probe(upstream: &Weak<Upstream>) -> Option<Option<Instant>> {
    let upstream = upstream.upgrade()?;
    let now = Instant::now();
    let all = upstream.addresses.all().iter();
    Some(all.filter_map(|address| address.probe_at(now)).min())
}

async fn probe_due(upstream: &Weak<Upstream>, patience: Duration) {
    let Some((spec, due)) = due(upstream) else {
        return;
    };
    let now = Instant::now();
    let probes = due.iter().map(|address| {
        address.begin_probe(now, patience);
        probe(&spec, address, patience)
    });
    join_all(probes).await;
}

fn due(upstream: &Weak<Upstream>) -> Option<(Arc<UpstreamSpec>, Vec<Arc<Address>>)> {
    let upstream = upstream.upgrade()?;
    let now = Instant::now();
    let all = upstream.addresses.all().iter();
    let due = all.filter(|address| address.probe_at(now).is_some_and(|at| at <= now));
    Some((Arc::clone(&upstream.spec), due.cloned().collect()))
}

/// Asks one address, over a new connection, and notes the outcome: well with 2xx or 3xx.
async fn probe(spec: &UpstreamSpec, address: &Address, patience: Duration) {
    let asking = async {
        let mut lease = match address.connections.lease(true).await {
            Ok(lease) => lease,
            // Nothing was learnt; the next probe is after the patience for this one.
            Err(DialError::NoSockets(_)) => return None,
            Err(_) => return Some(false),
        };
        let answer = match request(spec, &address.name, lease.is_http2()) {
            Some(request) => lease.send(request).await.ok(),
            None => None,
        };
        let status = answer.map(|answer| answer.status());
        Some(status.is_some_and(|status| status.is_success() || status.is_redirection()))
    };
    match tokio::time::timeout(patience, Box::pin(asking)).await {
        Ok(None) => {}
        Ok(Some(true)) => address.succeeded(),
        Ok(Some(false)) | Err(_) => address.failed(Instant::now()),
    }
}

/// `None` for a path that is none; definitions are checked before.
fn request(
    spec: &UpstreamSpec,
    address: &Authority,
    is_http2: bool,
) -> Option<Request<RequestBody>> {
    let path: PathAndQuery = spec.health_path.as_deref()?.parse().ok()?;
    let is_tls = matches!(spec.protocol, Protocol::Https);
    let uri = exchange::uri(is_http2, is_tls, address, &path);
    let mut request = Request::builder().method(Method::GET).uri(uri);
    if !is_http2 {
        request = request.header(HOST, address.as_str());
    }
    request
        .header(USER_AGENT, AGENT)
        .body(RequestBody::none())
        .ok()
}
