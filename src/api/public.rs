//! The public port: what browsers and apps reach.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Response};

use super::events::Submissions;
use super::{OWN_PATHS, health, subscriptions, tickets};
use crate::http::{Body, Cors, Handler, HttpError, Params, Reply, Request, Routed, Router};
use crate::proxy::Proxy;
use crate::transport::{Acknowledgements, Changes, LongPolling, Streams};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Health,
    Sse,
    Ws,
    LongPolling,
    Subscriptions,
    Events,
    Tickets,
    Answer,
}

/// Answers the requests of the public port.
#[derive(Debug)]
pub struct PublicApi {
    router: Router<Endpoint>,
    /// Streams of server-sent events and WebSockets.
    streams: Streams,
    acknowledgements: Acknowledgements,
    long_polling: Arc<LongPolling>,
    changes: Changes,
    submissions: Arc<Submissions>,
    /// Answers all requests that are not for a path of our own.
    proxy: Arc<Proxy>,
}

impl PublicApi {
    /// Puts the endpoints together.
    #[must_use]
    pub fn new(
        streams: Streams,
        acknowledgements: Acknowledgements,
        long_polling: Arc<LongPolling>,
        changes: Changes,
        submissions: Arc<Submissions>,
        proxy: Arc<Proxy>,
    ) -> Self {
        let mut router = Router::new();
        router.add(Method::GET, "/_rig/health", Endpoint::Health);
        router.add(Method::GET, "/_rig/v1/connection/sse", Endpoint::Sse);
        router.add(Method::GET, "/_rig/v1/connection/ws", Endpoint::Ws);
        router.add(
            Method::GET,
            "/_rig/v1/connection/longpolling",
            Endpoint::LongPolling,
        );
        router.add(
            Method::PUT,
            "/_rig/v1/connection/{transport}/{token}/subscriptions",
            Endpoint::Subscriptions,
        );
        router.add(Method::POST, "/_rig/v1/events", Endpoint::Events);
        router.add(Method::POST, "/_rig/v1/tickets", Endpoint::Tickets);
        router.add(Method::GET, "/_rig/v1/responses/{id}", Endpoint::Answer);
        Self {
            router,
            streams,
            acknowledgements,
            long_polling,
            changes,
            submissions,
            proxy,
        }
    }

    fn cors(&self) -> &Cors {
        &self.streams.cors
    }

    async fn answer(&self, request: &mut Request) -> Result<Reply, HttpError> {
        let (endpoint, params) = match self.router.find(&request.method, request.path()) {
            Routed::Found(endpoint, params) => (endpoint, params),
            Routed::NotFound => return Err(HttpError::not_found()),
            Routed::MethodNotAllowed(allow) if request.method == Method::OPTIONS => {
                return Ok(self.preflight(request, allow).into());
            }
            Routed::MethodNotAllowed(allow) => return Err(HttpError::method_not_allowed(allow)),
        };
        self.serve(endpoint, &params, request).await
    }

    /// Tells a page what it may send.
    fn preflight(&self, request: &Request, allow: HeaderValue) -> Response<Body> {
        let cors = self.cors();
        match self.router.find(&Method::GET, request.path()) {
            // It takes `Prefer`, and tokens where routes have them.
            Routed::Found(Endpoint::Answer, _) => {
                cors.preflight_any_headers(&request.headers, allow)
            }
            _ => cors.preflight(&request.headers, allow),
        }
    }

    async fn serve(
        &self,
        endpoint: Endpoint,
        params: &Params,
        request: &mut Request,
    ) -> Result<Reply, HttpError> {
        let response = match endpoint {
            Endpoint::Sse => match self.streams.sse(request).await {
                Ok(stream) => return Ok(stream),
                Err(refused) => self.streams.sse_limit_answer.refuse(refused),
            },
            Endpoint::Ws if Acknowledgements::are_asked_for(&request.query()?) => {
                return self.acknowledgements.ws(request).await;
            }
            Endpoint::Ws => return self.streams.ws(request).await,
            Endpoint::Health => health::ok(),
            Endpoint::LongPolling => return self.long_polling.poll(request).await,
            Endpoint::Subscriptions => {
                let limit_bytes = self.streams.limits.max_bytes;
                subscriptions::put(&self.changes, request, params, limit_bytes).await?
            }
            Endpoint::Events => {
                self.submissions
                    .submit(request, Some(&self.streams.access))
                    .await?
            }
            Endpoint::Tickets => tickets::issue(&self.streams.access, request).await?,
            Endpoint::Answer => {
                let id = params.get("id").unwrap_or_default();
                return self.proxy.ask(request, id).await;
            }
        };
        Ok(self.readable(&request.headers, response).into())
    }

    /// Lets pages of allowed origins read a response.
    fn readable(&self, request: &HeaderMap, mut response: Response<Body>) -> Response<Body> {
        self.cors()
            .apply_with_credentials(request, response.headers_mut());
        response
    }
}

impl Handler for PublicApi {
    async fn handle(&self, mut request: Request) -> Reply {
        if !request.path().starts_with(OWN_PATHS) {
            return self.proxy.handle(request, None).await;
        }
        match self.answer(&mut request).await {
            Ok(reply) => reply,
            Err(error) => self
                .readable(&request.headers, error.into_response())
                .into(),
        }
    }
}
