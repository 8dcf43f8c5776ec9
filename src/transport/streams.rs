//! How a request becomes a stream: what it asks for, and the hand-over of its socket to a shard.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use tokio::sync::oneshot;

use super::beginning::{Beginning, INVALID_CURSOR, beginning};
use super::hand_over::HandOver;
use super::handshake::answer_handshake;
use super::{LONG_POLL, SSE, WS, WS_WITH_CURSORS, sse};
use crate::access::Places;
use crate::dispatch::{Attach, ControlEvent, Dispatcher, Format, Outlet, Start, TokenKey};
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
    /// How many connections there may be.
    pub places: Places,
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
        self.admit(request)?;
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
        let opening = self.check_ws(request)?;
        Ok(self.open_ws(opening, None))
    }

    /// Checks a request for a WebSocket; the errors are those of [`Streams::ws`].
    pub(super) fn check_ws(&self, request: &Request) -> Result<WsOpening, HttpError> {
        let headers = answer_handshake(&request.headers)?;
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
        let has_cursors = query.get("cursors") == Some("true");
        self.admit(request)?;
        Ok(WsOpening {
            headers,
            format: if has_cursors { WS_WITH_CURSORS } else { WS },
            subscriptions,
            beginning,
        })
    }

    /// Opens a WebSocket that was checked; `greeting` is told when it has begun.
    pub(super) fn open_ws(&self, opening: WsOpening, greeting: Option<ControlEvent>) -> Reply {
        let WsOpening {
            headers,
            format,
            subscriptions,
            beginning,
        } = opening;
        let mut stream = self.hand_over(format, subscriptions, beginning);
        stream.greeting = greeting;
        Reply::Stream(empty(StatusCode::SWITCHING_PROTOCOLS, headers), stream)
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

    /// Reads where a client begins.
    ///
    /// # Errors
    /// 400 for what is neither a cursor nor a start position.
    pub(super) fn beginning(
        &self,
        request: &Request,
        query: &Query,
    ) -> Result<Beginning, HttpError> {
        beginning(&request.headers, query).inspect_err(|error| self.count_malformed(error))
    }

    /// Counts a request that was refused for a cursor that is none.
    pub(super) fn count_malformed(&self, error: &HttpError) {
        if error.code() == INVALID_CURSOR {
            self.metrics.malformed_cursors.inc();
        }
    }

    /// Admits one more connection.
    ///
    /// # Errors
    /// 429 with the time to wait.
    pub fn admit(&self, request: &Request) -> Result<(), HttpError> {
        let admitted = self.places.admit(request.client_address(), Instant::now());
        admitted.map_err(HttpError::from)
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
            greeting: None,
        })
    }

    /// Gives a stream to a shard, lets it begin as soon as it is known where, and then greets it.
    pub(super) async fn attach(
        self,
        attach: Attach,
        beginning: Beginning,
        greeting: Option<ControlEvent>,
    ) {
        let dispatcher = &self.dispatcher;
        let wanted = attach.subscriptions.clone();
        let (start, asked) = match beginning {
            Beginning::Known(start) => (start, None),
            Beginning::Asked(at) => (Start::Later, Some(at)),
        };
        let attach = Attach { start, ..attach };
        if asked.is_none() && greeting.is_none() {
            return dispatcher.attach(attach).await;
        }
        let Ok(connection) = dispatcher.attach_known(attach).await else {
            return;
        };
        if let Some(at) = asked {
            match self.history.locate(at, wanted).await {
                Ok(places) => dispatcher.begin(connection, places).await,
                Err(Busy) => return dispatcher.overloaded(connection).await,
            }
        }
        if let Some(greeting) = greeting {
            dispatcher.tell(connection, greeting).await;
        }
    }

    /// Returns the cursor of a client that begins so.
    ///
    /// # Errors
    /// 503 when that is not found out within `limit`, or while nothing can be read yet.
    pub(super) async fn cursor_at(
        &self,
        beginning: Beginning,
        wanted: &Subscriptions,
        limit: Duration,
    ) -> Result<String, HttpError> {
        let start = match beginning {
            Beginning::Known(Start::After(cursor)) => return Ok(cursor.to_string()),
            Beginning::Known(start) => start,
            Beginning::Asked(at) => {
                let located = self.history.locate(at, wanted.clone());
                match tokio::time::timeout(limit, located).await {
                    Ok(Ok(places)) => Start::At(places),
                    Ok(Err(Busy)) | Err(_) => return Err(not_now()),
                }
            }
        };
        let (answer, polled) = oneshot::channel();
        let attach = Attach {
            outlet: Outlet::Poll(answer),
            format: LONG_POLL,
            subscriptions: Subscriptions::none(),
            start,
        };
        let known = self.dispatcher.attach_known(attach).await;
        let connection = known.map_err(|_| not_now())?;
        self.dispatcher.end_poll(connection).await;
        polled
            .await
            .map(|polled| polled.cursor)
            .map_err(|_| not_now())
    }
}

/// A WebSocket that may be opened.
#[derive(Debug)]
pub(super) struct WsOpening {
    /// The headers of the answer.
    headers: HeaderMap,
    pub(super) format: Format,
    pub(super) subscriptions: Subscriptions,
    pub(super) beginning: Beginning,
}

/// The answer to somebody who asks before it is known where the topics stand, or ever will be.
pub(super) fn not_now() -> HttpError {
    HttpError::unavailable(
        "not_ready",
        "The source topics are being read, or the server is going away.",
        Duration::from_secs(1),
    )
}

/// Returns the 400 for subscriptions that were refused.
pub(super) fn bad_subscriptions(error: &crate::subscription::SubscriptionError) -> HttpError {
    HttpError::bad_request(
        "invalid_subscriptions",
        format!("could not parse subscriptions: {error}"),
    )
}

/// Returns the head of a response.
fn empty(status: StatusCode, headers: HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
