//! Every proxied request comes by here: its route, its sender, its target, its answer.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, Response};

use super::answers::{Answers, preferred_wait};
use super::apis::Apis;
use super::call::{Call, Caller};
use super::command_event::CommandConfig;
use super::ongoing::Ongoing;
use super::request_log::RequestLog;
use super::route::{Route, Target};
use super::routes::{Found, Matched};
use super::secured;
use super::to_http::ToHttp;
use super::to_kafka::ToKafka;
use super::to_nats::ToNats;
use super::upstream::{Forwarder, Lasting, UpstreamConfig, Upstreams};
use crate::access::{Access, Places, Rates, session_killed};
use crate::avro::{Registry, Serializer};
use crate::fetch::TrustError;
use crate::http::{Cors, HttpError, Reply, Request};
use crate::kafka::Producer;
use crate::nats::NatsClient;
use crate::session::{Stay, Stays};
use crate::telemetry::{Metrics, ProxyMetrics, Tasks, TraceContext};

/// The methods that metrics name for requests without a route.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// Sends requests where their routes say, and answers with what comes back.
#[derive(Debug)]
pub struct Proxy {
    apis: Apis,
    access: Access,
    stays: Stays,
    cors: Cors,
    http: ToHttp,
    kafka: ToKafka,
    nats: ToNats,
    answers: Answers,
    rates: Rates,
    log: RequestLog,
    metrics: ProxyMetrics,
}

/// What the proxy is made of.
#[derive(Debug)]
pub struct ProxyParts {
    /// The routes.
    pub apis: Apis,
    /// Waits for the answers to commands.
    pub answers: Answers,
    /// Verifies the tokens of secured routes.
    pub access: Access,
    /// Ends what lasts on secured routes with its session.
    pub stays: Stays,
    /// Counts the tunnels among the connections.
    pub places: Places,
    /// Which pages may read the answers.
    pub cors: Cors,
    /// How many requests a session may send.
    pub rates: Rates,
    /// How HTTP backends are reached.
    pub upstream: UpstreamConfig,
    /// How requests become events.
    pub command: CommandConfig,
    /// Writes to Kafka.
    pub producer: Producer,
    /// The connection to NATS, if there is one.
    pub nats: Option<NatsClient>,
    /// Has the schemas of data in Avro, if there is a registry.
    pub registry: Option<Registry>,
    /// How the data of routes with a schema is written.
    pub serializer: Serializer,
    /// Keeps a log of the requests.
    pub log: RequestLog,
    /// Counts.
    pub metrics: Metrics,
    /// Has the tasks of the process.
    pub tasks: Tasks,
    /// Has what clients still use, and ends first: the tunnels.
    pub public_tasks: Tasks,
    /// Over how long clients are sent away at the end.
    pub grace: Duration,
}

impl Proxy {
    /// Puts the proxy together.
    ///
    /// # Errors
    /// [`TrustError`] when the certificate authorities for HTTP backends cannot be read.
    pub fn new(parts: ProxyParts) -> Result<Self, TrustError> {
        let metrics = parts.metrics;
        let upstreams = Upstreams::new(parts.upstream, &parts.tasks, &metrics)?;
        let lasting = Lasting::new(parts.places, parts.public_tasks, parts.grace);
        let (answers, command) = (parts.answers.clone(), parts.command.clone());
        let nats = ToNats::new(parts.nats, answers, command, parts.tasks);
        let kafka = ToKafka {
            producer: parts.producer,
            answers: parts.answers.clone(),
            registry: parts.registry,
            serializer: parts.serializer,
            config: parts.command,
            metrics: metrics.clone(),
        };
        Ok(Self {
            http: ToHttp {
                forwarder: Forwarder::new(upstreams, lasting),
                answers: parts.answers.clone(),
            },
            kafka,
            nats,
            apis: parts.apis,
            access: parts.access,
            stays: parts.stays,
            cors: parts.cors,
            answers: parts.answers,
            rates: parts.rates,
            log: parts.log,
            metrics: metrics.proxy,
        })
    }

    /// Returns the routes.
    #[must_use]
    pub const fn apis(&self) -> &Apis {
        &self.apis
    }

    /// Returns what waits for the answers to commands.
    #[must_use]
    pub const fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Answers a request; `known` is who sends it, where it came on a connection that belongs to somebody.
    ///
    /// # Cancel safety
    /// Dropping the future gives the request up: what an HTTP backend has not answered is cancelled there, and
    /// what went to Kafka or NATS stays there.
    pub async fn handle(&self, request: Request, known: Option<Caller>) -> Reply {
        // Nobody would take the answer, and many may wait for long.
        request.cancel_when_client_leaves();
        let page = Page::of(&self.cors, &request.headers);
        match self.answer(request, known, &page).await {
            Ok(reply) => page.may_read_reply(reply),
            Err(error) => page.may_read(error.into_response()).into(),
        }
    }

    /// Answers a client that asks for the answer to a command that it did not wait for. Its token may stand where it
    /// does for our own paths, or where some secured route has it.
    ///
    /// # Errors
    /// 401 for a token that is of no use; 404 for an id that is none or another one's, 410 for an answer that is not
    /// kept any more, and 503 when the instance that has it cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future, or the reply, ends the wait; the answer is kept.
    pub async fn ask(&self, request: &Request, id: &str) -> Result<Reply, HttpError> {
        request.cancel_when_client_leaves();
        let visitor = self.access.identify(request, &request.query()?).await?;
        let caller = if visitor.is_known() {
            Caller::from(&visitor)
        } else {
            let routes = self.apis.routes();
            secured::identify_anywhere(routes.token_places(), request, &self.access).await?
        };
        let wait = preferred_wait(&request.headers);
        let address = request.client_address();
        let reply = self.answers.ask(id, &caller, address, wait).await?;
        Ok(Page::of(&self.cors, &request.headers).may_read_reply(reply))
    }

    async fn answer(
        &self,
        request: Request,
        known: Option<Caller>,
        page: &Page,
    ) -> Result<Reply, HttpError> {
        let found = match self.route(&request)? {
            Way::Route(found) => found,
            Way::Preflight(reply) => return Ok(reply),
        };
        let (metrics, log) = (self.metrics.clone(), self.log.clone());
        let mut ongoing = Ongoing::begin(Arc::clone(&found.route), &request, metrics, log);
        let answers_pages = answers_pages(&found.route);
        match self.call(found, request, known, &mut ongoing).await {
            Ok(Reply::Later(response)) => Ok(Reply::Later(Box::pin(async move {
                let response = response.await;
                ongoing.answered(response.status());
                response
            }))),
            Ok(reply) => {
                ongoing.answered(reply.status().unwrap_or_default());
                Ok(match reply {
                    Reply::Streamed(response) if answers_pages => {
                        Reply::Streamed(page.may_read_unless_it_says(response))
                    }
                    reply => reply,
                })
            }
            Err(error) => {
                ongoing.failed(&error);
                Err(error)
            }
        }
    }

    /// Finds the route of a request; or the answer, where no target is needed for it.
    fn route(&self, request: &Request) -> Result<Way, HttpError> {
        let routes = self.apis.routes();
        let path = request.path();
        let refusal = match routes.find(&request.method, path) {
            // Before, one that was deleted or secured since would still be as it was.
            Found::Route(_) if !self.apis.is_loaded() => return Err(HttpError::state_not_read()),
            Found::Route(found) => return Ok(Way::Route(found)),
            Found::Ambiguous(why) => HttpError::bad_request("ambiguous_path", why.to_string()),
            Found::MethodNotAllowed(allow) if request.method == Method::OPTIONS => {
                let asked = asked_method(&request.headers);
                let found = asked.map(|method| routes.find(&method, path));
                if let Some(Found::Route(found)) = found
                    && answers_pages(&found.route)
                {
                    let preflight = self.cors.preflight_any_headers(&request.headers, allow);
                    return Ok(Way::Preflight(preflight.into()));
                }
                HttpError::method_not_allowed(allow)
            }
            Found::MethodNotAllowed(allow) => HttpError::method_not_allowed(allow),
            Found::NotFound if !self.apis.is_loaded() => HttpError::state_not_read(),
            Found::NotFound => HttpError::not_found(),
        };
        self.count_unrouted(&request.method);
        Err(refusal)
    }

    async fn call(
        &self,
        found: Matched,
        mut request: Request,
        known: Option<Caller>,
        ongoing: &mut Ongoing,
    ) -> Result<Reply, HttpError> {
        let Matched {
            route,
            target: path,
            groups,
        } = found;
        let (caller, expires_ms) = match route.secured() {
            Some(places) => {
                let identified =
                    secured::identify(places, &mut request, known, &self.access).await?;
                (identified.caller, Some(identified.expires_ms))
            }
            None => (known.unwrap_or_default(), None),
        };
        ongoing.belongs_to(&caller);
        self.rates
            .admit(&caller.sessions, request.client_address(), 1)?;
        let query = request.uri.query();
        let target =
            match query.and_then(|query| secured::without_token(query, route.kept_parameter())) {
                Some(query) => format!("{path}?{query}"),
                None => path,
            };
        let call = Call {
            trace: TraceContext::child_of(&request.headers),
            route: Arc::clone(&route),
            request,
            target,
            groups,
            caller,
        };
        match &route.target {
            Target::Http(upstream) => {
                let stay = self.stay(&call.caller, expires_ms)?;
                self.http.call(call, upstream, stay).await
            }
            // Nothing is written for a page that asks what it may.
            _ if call.request.method == Method::OPTIONS => Ok(self.preflight(&call.request)),
            Target::Kafka(target) => self.kafka.call(call, target).await,
            Target::Nats(subject) => self.nats.call(call, subject).await,
        }
    }

    /// Begins the time for which an answer of a secured route may go on; `None` for one of another route.
    fn stay(&self, caller: &Caller, expires_ms: Option<i64>) -> Result<Option<Stay>, HttpError> {
        let Some(expires_ms) = expires_ms else {
            return Ok(None);
        };
        let stay = self.stays.begin(&caller.sessions, expires_ms);
        // It may have been ended before there was something to end.
        if self.access.refuses(&caller.sessions) {
            return Err(session_killed());
        }
        Ok(Some(stay))
    }

    /// Answers a page that asks what it may, at a path with a route for that.
    fn preflight(&self, request: &Request) -> Reply {
        let methods = self.apis.routes().allowed(request.path());
        let methods = methods.unwrap_or_else(|| HeaderValue::from_static("OPTIONS"));
        let preflight = self.cors.preflight_any_headers(&request.headers, methods);
        preflight.into()
    }

    /// Counts a request without a route.
    fn count_unrouted(&self, method: &Method) {
        let method = METHODS.iter().find(|known| *known == method);
        let method = method.map_or("other", Method::as_str);
        self.metrics
            .requests
            .with_label_values(&["", "", method, "N/A", "N/A", "N/A", "not_found"])
            .inc();
    }
}

/// What is done with a request.
enum Way {
    /// It goes to the target of a route.
    Route(Matched),
    /// A page asks what it may, at a path without a route for that, and is told.
    Preflight(Reply),
}

/// The page that sends a request, if it is one.
struct Page {
    cors: Cors,
    origin: HeaderMap,
}

impl Page {
    fn of(cors: &Cors, request: &HeaderMap) -> Self {
        let origins = request.get_all(ORIGIN).iter();
        Self {
            cors: cors.clone(),
            origin: origins.map(|origin| (ORIGIN, origin.clone())).collect(),
        }
    }

    /// Lets the page read a reply of ours; which pages may read what a backend answers, it says itself.
    fn may_read_reply(self, reply: Reply) -> Reply {
        match reply {
            Reply::Response(response) => self.may_read(response).into(),
            Reply::Later(response) => {
                Reply::Later(Box::pin(async move { self.may_read(response.await) }))
            }
            reply => reply,
        }
    }

    /// Lets the page read what a backend answers that leaves it to us, which pages may.
    fn may_read_unless_it_says<B>(&self, response: Response<B>) -> Response<B> {
        match response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            true => response,
            false => self.may_read(response),
        }
    }

    /// Lets the page read a response, if it is one of an allowed origin.
    fn may_read<B>(&self, mut response: Response<B>) -> Response<B> {
        self.cors
            .apply_with_credentials(&self.origin, response.headers_mut());
        response
    }
}

/// Returns whether we answer the pages ourselves that ask before they send a request for this route: where a
/// backend answers, it has to.
fn answers_pages(route: &Route) -> bool {
    route.answer_from.comes_later() || !matches!(route.target, Target::Http(_))
}

/// Returns the method that a page wants to use.
fn asked_method(headers: &HeaderMap) -> Option<Method> {
    let asked = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(asked.as_bytes()).ok()
}
