//! The internal port: what backends and operators reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, Response, StatusCode};

use super::apis::ApiAdmin;
use super::events::Submissions;
use super::foreign::{refuse_foreign_names, refuse_foreign_pages};
use super::health;
use super::internal_guard::InternalGuard;
use super::responses;
use super::sessions::SessionAdmin;
use crate::http::{Body, Handler, HttpError, Reply, Request, Routed, Router};
use crate::proxy::Answers;
use crate::telemetry::{Metrics, Readiness};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Page,
    Started,
    Live,
    Ready,
    Metrics,
    Messages,
    Refuse,
    Refused,
    IsRefused,
    Admit,
    Sessions,
    EndSession,
    SessionsOfUser,
    Apis,
    Api,
    CreateApi,
    ReplaceApi,
    RemoveApi,
    Responses,
}

/// What has a version in its path, and an alias with RIG's version before.
const VERSIONED: [(Method, &str, &str, Endpoint); 14] = [
    (
        Method::POST,
        "/v3/messages",
        "/v2/messages",
        Endpoint::Messages,
    ),
    (
        Method::POST,
        "/v3/session-blacklist",
        "/v2/session-blacklist",
        Endpoint::Refuse,
    ),
    (
        Method::GET,
        "/v3/session-blacklist",
        "/v2/session-blacklist",
        Endpoint::Refused,
    ),
    (
        Method::GET,
        "/v3/session-blacklist/{id}",
        "/v2/session-blacklist/{id}",
        Endpoint::IsRefused,
    ),
    (
        Method::DELETE,
        "/v3/session-blacklist/{id}",
        "/v2/session-blacklist/{id}",
        Endpoint::Admit,
    ),
    (
        Method::GET,
        "/v3/sessions",
        "/v2/sessions",
        Endpoint::Sessions,
    ),
    (
        Method::DELETE,
        "/v3/sessions/{id}",
        "/v2/sessions/{id}",
        Endpoint::EndSession,
    ),
    (
        Method::GET,
        "/v3/users/{user}/sessions",
        "/v2/users/{user}/sessions",
        Endpoint::SessionsOfUser,
    ),
    (Method::GET, "/v3/apis", "/v2/apis", Endpoint::Apis),
    (Method::POST, "/v3/apis", "/v2/apis", Endpoint::CreateApi),
    (Method::GET, "/v3/apis/{id}", "/v2/apis/{id}", Endpoint::Api),
    (
        Method::PUT,
        "/v3/apis/{id}",
        "/v2/apis/{id}",
        Endpoint::ReplaceApi,
    ),
    (
        Method::DELETE,
        "/v3/apis/{id}",
        "/v2/apis/{id}",
        Endpoint::RemoveApi,
    ),
    (
        Method::POST,
        "/v3/responses",
        "/v2/responses",
        Endpoint::Responses,
    ),
];

/// The page to try things out with.
const PAGE: &str = include_str!("page.html");

/// What the internal port answers with.
#[derive(Debug)]
pub struct InternalParts {
    /// Whom it lets in.
    pub guard: InternalGuard,
    /// Takes events.
    pub submissions: Arc<Submissions>,
    /// Knows who is there.
    pub sessions: SessionAdmin,
    /// Knows the definitions of APIs.
    pub apis: ApiAdmin,
    /// Takes answers to commands.
    pub answers: Answers,
    /// What the instance waits for.
    pub readiness: Readiness,
    /// Becomes true when the public port is open.
    pub is_started: Arc<AtomicBool>,
    /// What it counts.
    pub metrics: Metrics,
}

/// Answers the requests of the internal port.
#[derive(Debug)]
pub struct InternalApi {
    router: Router<Endpoint>,
    parts: InternalParts,
}

impl InternalApi {
    /// Puts the endpoints together.
    #[must_use]
    pub fn new(parts: InternalParts) -> Self {
        let mut router = Router::new();
        router.add(Method::GET, "/", Endpoint::Page);
        router.add(Method::GET, "/health", Endpoint::Started);
        router.add(Method::GET, "/startupz", Endpoint::Started);
        router.add(Method::GET, "/livez", Endpoint::Live);
        router.add(Method::GET, "/readyz", Endpoint::Ready);
        router.add(Method::GET, "/metrics", Endpoint::Metrics);
        for (method, path, old_path, endpoint) in VERSIONED {
            router.add(method.clone(), path, endpoint);
            router.add(method, old_path, endpoint);
        }
        Self { router, parts }
    }

    async fn answer(&self, request: &mut Request) -> Result<Response<Body>, HttpError> {
        let parts = &self.parts;
        parts.guard.check(request)?;
        let (endpoint, params) = match self.router.find(&request.method, request.path()) {
            Routed::Found(endpoint, params) => (endpoint, params),
            Routed::NotFound => return Err(HttpError::not_found()),
            Routed::MethodNotAllowed(allow) => return Err(HttpError::method_not_allowed(allow)),
        };
        refuse_foreign_pages(request)?;
        if parts.guard.is_open() && !InternalGuard::tells_anybody(request.path()) {
            refuse_foreign_names(request)?;
        }
        Ok(match endpoint {
            Endpoint::Page => {
                health::with_type(StatusCode::OK, PAGE.into(), "text/html; charset=utf-8")
            }
            Endpoint::Started => health::started(parts.is_started.load(Ordering::Acquire)),
            Endpoint::Live => health::ok(),
            Endpoint::Ready => health::ready(&parts.readiness),
            Endpoint::Metrics => health::with_type(
                StatusCode::OK,
                parts.metrics.render().into(),
                "text/plain; version=0.0.4; charset=utf-8",
            ),
            Endpoint::Messages => parts.submissions.submit(request, None).await?,
            Endpoint::Refuse => parts.sessions.refuse(request).await?,
            Endpoint::Refused => parts.sessions.refused(),
            Endpoint::IsRefused => parts.sessions.is_refused(&params)?,
            Endpoint::Admit => parts.sessions.admit(&params).await?,
            Endpoint::Sessions => parts.sessions.list(request).await?,
            Endpoint::EndSession => parts.sessions.end(request, &params).await?,
            Endpoint::SessionsOfUser => parts.sessions.of_user(request, &params).await?,
            Endpoint::Apis => parts.apis.list()?,
            Endpoint::Api => parts.apis.show(&params)?,
            Endpoint::CreateApi => parts.apis.create(request).await?,
            Endpoint::ReplaceApi => parts.apis.replace(request, &params).await?,
            Endpoint::RemoveApi => parts.apis.remove(&params).await?,
            Endpoint::Responses => responses::take(&parts.answers, request).await?,
        })
    }
}

impl Handler for InternalApi {
    async fn handle(&self, mut request: Request) -> Reply {
        match self.answer(&mut request).await {
            Ok(response) => response.into(),
            Err(error) => error.into(),
        }
    }
}
