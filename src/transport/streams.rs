//! How a request becomes a stream: what it asks for, and the hand-over of its socket to a shard.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use tokio::sync::oneshot;

use super::beginning::{Beginning, INVALID_CURSOR, beginning};
use super::hand_over::HandOver;
use super::handshake::answer_handshake;
use super::{LONG_POLL, SSE, SseLimitAnswer, WS, WS_WITH_CURSORS, sse};
use crate::access::{Access, Place, Places, as_request};
use crate::dispatch::{
    Attach, Client, CloseReason, ConnectionId, ControlEvent, Dispatcher, Format, Gone, Outlet,
    Start, TokenKey,
};
use crate::http::{Body, Cors, HttpError, Query, Reply, Request};
use crate::replay::{Busy, History};
use crate::session::{Guest, Member, Registry};
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
    /// How server-sent events are refused that are over a limit.
    pub sse_limit_answer: SseLimitAnswer,
    /// Has the key of connection tokens, once it is known.
    pub token_key: Arc<OnceLock<TokenKey>>,
    /// Knows where clients begin that ask for a start position.
    pub history: Arc<History>,
    /// Where to count.
    pub metrics: Metrics,
    /// Runs the hand-overs.
    pub tasks: Tasks,
    /// Who may do what.
    pub access: Access,
    /// Who is connected.
    pub registry: Registry,
}

impl Streams {
    /// Opens a stream of server-sent events.
    ///
    /// # Errors
    /// 400 for bad parameters, 401 and 403 for what is not allowed, 429 over the limit of connections.
    ///
    /// # Cancel safety
    /// Dropping the future opens nothing.
    pub async fn sse(&self, request: &Request) -> Result<Reply, HttpError> {
        let query = request.query()?;
        let (subscriptions, guest) = self.allowed(request, &query).await?;
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
        let admitted = self.admit(request, guest)?;
        let mut stream = self.hand_over(SSE, subscriptions, beginning, admitted);
        stream.first = format!("retry: {}\n\n", sse::RETRY_MS).into_bytes();
        Ok(Reply::TakenOver(empty(StatusCode::OK, headers), stream))
    }

    /// Opens a WebSocket.
    ///
    /// # Errors
    /// 426 without a WebSocket handshake of version 13, 403 for a page of a foreign origin, else as
    /// [`Streams::sse`].
    ///
    /// # Cancel safety
    /// As [`Streams::sse`].
    pub async fn ws(&self, request: &Request) -> Result<Reply, HttpError> {
        let opening = self.check_ws(request).await?;
        Ok(self.open_ws(opening, None))
    }

    /// Checks a request for a WebSocket; the errors are those of [`Streams::ws`].
    pub(super) async fn check_ws(&self, request: &Request) -> Result<WsOpening, HttpError> {
        let headers = answer_handshake(&request.headers)?;
        if !self.cors.admits(&request.headers) {
            return Err(HttpError::new(
                StatusCode::FORBIDDEN,
                "foreign_origin",
                "Pages of this origin may not open a WebSocket; see the setting CORS.",
            ));
        }
        self.access.check_sub_protocols(&request.headers)?;
        let query = request.query()?;
        let (subscriptions, guest) = self.allowed(request, &query).await?;
        let beginning = self.beginning(request, &query)?;
        let has_cursors = query.get("cursors") == Some("true");
        let admitted = self.admit(request, guest)?;
        Ok(WsOpening {
            headers,
            format: if has_cursors { WS_WITH_CURSORS } else { WS },
            subscriptions,
            beginning,
            admitted,
        })
    }

    /// Opens a WebSocket that was checked; `greeting` is told when it has begun.
    pub(super) fn open_ws(&self, opening: WsOpening, greeting: Option<ControlEvent>) -> Reply {
        let WsOpening {
            headers,
            format,
            subscriptions,
            beginning,
            admitted,
        } = opening;
        let mut stream = self.hand_over(format, subscriptions, beginning, admitted);
        stream.greeting = greeting;
        Reply::TakenOver(empty(StatusCode::SWITCHING_PROTOCOLS, headers), stream)
    }

    /// Finds out who sends a request, and what of the query parameter `subscriptions` they may want; an
    /// empty one counts as none, as in RIG.
    ///
    /// # Errors
    /// 400 that says what is wrong with them, 401 and 403 for what is not allowed.
    pub(super) async fn allowed(
        &self,
        request: &Request,
        query: &Query,
    ) -> Result<(Subscriptions, Option<Arc<Guest>>), HttpError> {
        let visitor = self.access.identify(request, query).await?;
        let asked_for = query.get("subscriptions").filter(|text| !text.is_empty());
        let wanted = match asked_for.map(str::as_bytes) {
            None => Subscriptions::none(),
            Some(list) => {
                let wanted = Subscriptions::parse(list, &self.extractors, &self.limits)
                    .map_err(|error| bad_subscriptions(&error))?;
                let body = as_request(list);
                self.access
                    .check_subscriptions(&visitor, wanted, body)
                    .await?
            }
        };
        let guest = self.access.guest(&visitor);
        let narrowed = self.access.narrow(guest.as_deref(), &wanted)?;
        Ok((narrowed, guest))
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

    /// Gives one more connection a place.
    ///
    /// # Errors
    /// 429 or 503 over a limit, with the time to wait.
    fn admit(&self, request: &Request, guest: Option<Arc<Guest>>) -> Result<Admitted, HttpError> {
        let address = request.client_address();
        let sessions = guest.as_ref().map_or(&[][..], |guest| &guest.sessions);
        let place = self.places.take(address, sessions, Instant::now())?;
        let is_tls = request.is_tls();
        Ok(Admitted {
            place,
            guest,
            client: Client { address, is_tls },
        })
    }

    fn hand_over(
        &self,
        format: Format,
        subscriptions: Subscriptions,
        beginning: Beginning,
        admitted: Admitted,
    ) -> Box<HandOver> {
        Box::new(HandOver {
            streams: self.clone(),
            format,
            subscriptions,
            beginning,
            admitted,
            first: Vec::new(),
            greeting: None,
        })
    }

    /// Gives a connection to a shard, with the member that it is; ends it if its session was ended
    /// meanwhile.
    ///
    /// # Errors
    /// [`Gone`] while the shards end.
    pub(super) async fn seat(
        &self,
        mut attach: Attach,
        member: Option<(Member, Arc<Guest>)>,
    ) -> Result<ConnectionId, Gone> {
        let Some((member, guest)) = member else {
            return self.dispatcher.attach_known(attach).await;
        };
        attach.held = Some(match attach.held.take() {
            None => Box::new(member),
            Some(held) => Box::new((held, member)),
        });
        let connection = self.dispatcher.attach_known(attach).await?;
        self.end_if_refused(connection, &guest).await;
        Ok(connection)
    }

    /// Ends a connection whose session was ended while it came to belong to it.
    pub(super) async fn end_if_refused(&self, connection: ConnectionId, guest: &Guest) {
        if self.access.refuses(&guest.sessions) {
            let reason = CloseReason::SessionKilled;
            self.dispatcher.close(connection, reason).await;
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
            client: Client::NOBODY,
            outlet: Outlet::Poll(answer),
            format: LONG_POLL,
            subscriptions: Subscriptions::none(),
            start,
            held: None,
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
    pub(super) admitted: Admitted,
}

/// Who a stream belongs to, where they are, and its place among those that are allowed.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) place: Place,
    pub(super) guest: Option<Arc<Guest>>,
    pub(super) client: Client,
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
