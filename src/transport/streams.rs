//! How a request becomes a stream: what it asks for, and the hand-over of its socket to a shard.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Method, Response, StatusCode};

use super::admission::Admission;
use super::beginning::{Beginning, INVALID_CURSOR, beginning};
use super::hand_over::HandOver;
use super::{SSE, WS, WS_WITH_CURSORS, sse};
use crate::dispatch::{Attach, Dispatcher, Format, TokenKey};
use crate::http::{Body, Cors, HttpError, Query, Reply, Request};
use crate::replay::{Busy, History};
use crate::subscription::{Extractors, SubscriptionLimits, Subscriptions};
use crate::telemetry::{Metrics, Tasks};

/// What all transports need to open connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Streams {
    /// Who takes the connections.
    pub dispatcher: Dispatcher,
    /// Which fields can be constrained.
    pub extractors: Arc<Extractors>,
    /// How much a client may subscribe to.
    pub limits: SubscriptionLimits,
    /// Which pages may read the answers.
    pub cors: Cors,
    /// How many connections may be opened.
    pub admission: Arc<Admission>,
    /// Has the key of connection tokens, once it is known.
    pub token_key: Arc<OnceLock<TokenKey>>,
    /// Knows where clients begin that ask for a start position.
    pub history: Arc<History>,
    /// Where to count.
    pub metrics: Metrics,
    /// Runs the hand-overs.
    pub tasks: Tasks,
}

impl Streams {
    /// Opens a stream of server-sent events.
    ///
    /// # Errors
    /// 400 for bad parameters, 429 over the limit of connections.
    pub fn sse(&self, request: &Request) -> Result<Reply, HttpError> {
        let query = request.query()?;
        let subscriptions = self.subscriptions(&query)?;
        let beginning = self.beginning(request, &query)?;
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream; charset=utf-8"),
        );
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-transform"),
        );
        headers.insert(
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        );
        self.cors
            .apply_with_credentials(&request.headers, &mut headers);
        if request.method == Method::HEAD {
            return Ok(empty(StatusCode::OK, headers)
                .map(|()| Body::default())
                .into());
        }
        self.admit()?;
        let mut stream = self.hand_over(SSE, subscriptions, beginning);
        stream.first = format!("retry: {}\n\n", sse::RETRY_MS).into_bytes();
        Ok(Reply::Stream(empty(StatusCode::OK, headers), stream))
    }

    /// Opens a WebSocket.
    ///
    /// # Errors
    /// 426 without a WebSocket handshake of version 13, 403 for a page of a foreign origin, else as
    /// [`Streams::sse`].
    pub fn ws(&self, request: &Request) -> Result<Reply, HttpError> {
        let accept = accept_key(&request.headers)?;
        if !self.cors.admits(&request.headers) {
            return Err(HttpError::new(
                StatusCode::FORBIDDEN,
                "foreign_origin",
                "Pages of this origin may not open a WebSocket; see the setting CORS.",
            ));
        }
        let query = request.query()?;
        let subscriptions = self.subscriptions(&query)?;
        let beginning = self.beginning(request, &query)?;
        let format = if query.get("cursors") == Some("true") {
            WS_WITH_CURSORS
        } else {
            WS
        };
        self.admit()?;
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        if offers(&request.headers, &SEC_WEBSOCKET_PROTOCOL, CLOUD_EVENTS_JSON) {
            headers.insert(
                SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(CLOUD_EVENTS_JSON),
            );
        }
        let head = empty(StatusCode::SWITCHING_PROTOCOLS, headers);
        Ok(Reply::Stream(
            head,
            self.hand_over(format, subscriptions, beginning),
        ))
    }

    /// Reads the query parameter `subscriptions`; an empty one counts as none, as in RIG.
    ///
    /// # Errors
    /// 400 that says what is wrong with them.
    pub fn subscriptions(&self, query: &Query) -> Result<Subscriptions, HttpError> {
        match query.get("subscriptions").filter(|text| !text.is_empty()) {
            None => Ok(Subscriptions::none()),
            Some(text) => Subscriptions::parse(text.as_bytes(), &self.extractors, &self.limits)
                .map_err(|error| bad_subscriptions(&error)),
        }
    }

    /// Reads where a client begins, and counts the cursors that are none.
    ///
    /// # Errors
    /// 400 for what is neither a cursor nor a start position.
    pub(super) fn beginning(
        &self,
        request: &Request,
        query: &Query,
    ) -> Result<Beginning, HttpError> {
        beginning(&request.headers, query).inspect_err(|error| {
            if error.code() == INVALID_CURSOR {
                self.metrics.malformed_cursors.inc();
            }
        })
    }

    /// Admits one more connection.
    ///
    /// # Errors
    /// 429 with the time to wait.
    pub fn admit(&self) -> Result<(), HttpError> {
        self.admission.admit(Instant::now()).map_err(|wait| {
            HttpError::too_many_requests(
                "too_many_connections",
                "Reached maximum number of connections per minute.",
                wait,
            )
        })
    }

    fn hand_over(
        &self,
        format: Format,
        subscriptions: Subscriptions,
        beginning: Beginning,
    ) -> Box<HandOver> {
        Box::new(HandOver {
            streams: self.clone(),
            format,
            subscriptions,
            beginning,
            first: Vec::new(),
        })
    }

    /// Gives a stream to a shard, and lets it begin as soon as it is known where.
    pub(super) async fn attach(self, attach: Attach, beginning: Beginning) {
        let dispatcher = &self.dispatcher;
        let at = match beginning {
            Beginning::Known(start) => return dispatcher.attach(Attach { start, ..attach }).await,
            Beginning::Asked(at) => at,
        };
        let wanted = attach.subscriptions.clone();
        let Ok(connection) = dispatcher.attach_known(attach).await else {
            return;
        };
        match self.history.locate(at, wanted).await {
            Ok(places) => dispatcher.begin(connection, places).await,
            Err(Busy) => dispatcher.overloaded(connection).await,
        }
    }
}

/// Returns the 400 for subscriptions that were refused.
pub(super) fn bad_subscriptions(error: &crate::subscription::SubscriptionError) -> HttpError {
    HttpError::bad_request(
        "invalid_subscriptions",
        format!("could not parse subscriptions: {error}"),
    )
}

const CLOUD_EVENTS_JSON: &str = "cloudevents.json";

/// Checks the handshake (RFC 6455, 4.2.1) and returns its `Sec-WebSocket-Accept`.
fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, HttpError> {
    if !offers(headers, &UPGRADE, "websocket") || !offers(headers, &CONNECTION, "upgrade") {
        return Err(upgrade_required(
            "This endpoint speaks WebSocket: send an upgrade request.",
        ));
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(upgrade_required(
            "This endpoint speaks version 13 of WebSocket.",
        ));
    }
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .filter(|key| is_websocket_key(key.as_bytes()))
        .ok_or_else(|| {
            HttpError::bad_request(
                "invalid_handshake",
                "Sec-WebSocket-Key has to be 16 bytes in base64.",
            )
        })?;
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    HeaderValue::try_from(accept).map_err(HttpError::internal)
}

fn upgrade_required(public: &str) -> HttpError {
    HttpError::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", public)
        .with_header(UPGRADE, HeaderValue::from_static("websocket"))
        .with_header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
}

fn is_websocket_key(key: &[u8]) -> bool {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(key)
        .is_ok_and(|bytes| bytes.len() == 16)
}

/// Returns whether a header's comma-separated list has `token`, whatever its case.
fn offers(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|offered| offered.trim().eq_ignore_ascii_case(token))
}

/// Returns the head of a response.
fn empty(status: StatusCode, headers: HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
