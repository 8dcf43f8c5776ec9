//! The internal port: what backends and operators reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, Response, StatusCode};

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
    Responses,
}

/// What has a version in its path, and an alias with RIG's version before.
const VERSIONED: [(Method, &str, &str, Endpoint); 9] = [
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
    (
        Method::POST,
        "/v3/responses",
        "/v2/responses",
        Endpoint::Responses,
    ),
];

/// The page to try things out with.
const PAGE: &str = include_str!("page.html");

/// Answers the requests of the internal port.
#[derive(Debug)]
pub struct InternalApi {
    router: Router<Endpoint>,
    guard: InternalGuard,
    submissions: Arc<Submissions>,
    sessions: SessionAdmin,
    answers: Answers,
    readiness: Readiness,
    is_started: Arc<AtomicBool>,
    metrics: Metrics,
}

impl InternalApi {
    /// Puts the endpoints together behind `guard`; `is_started` becomes true when the public port is open.
    #[must_use]
    pub fn new(
        guard: InternalGuard,
        submissions: Arc<Submissions>,
        sessions: SessionAdmin,
        answers: Answers,
        readiness: Readiness,
        is_started: Arc<AtomicBool>,
        metrics: Metrics,
    ) -> Self {
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
        Self {
            router,
            guard,
            submissions,
            sessions,
            answers,
            readiness,
            is_started,
            metrics,
        }
    }

    async fn answer(&self, request: &mut Request) -> Result<Response<Body>, HttpError> {
        self.guard.check(request)?;
        let (endpoint, params) = match self.router.find(&request.method, request.path()) {
            Routed::Found(endpoint, params) => (endpoint, params),
            Routed::NotFound => return Err(HttpError::not_found()),
            Routed::MethodNotAllowed(allow) => return Err(HttpError::method_not_allowed(allow)),
        };
        refuse_foreign_pages(request)?;
        if self.guard.is_open() && !InternalGuard::tells_anybody(request.path()) {
            refuse_foreign_names(request)?;
        }
        Ok(match endpoint {
            Endpoint::Page => {
                health::with_type(StatusCode::OK, PAGE.into(), "text/html; charset=utf-8")
            }
            Endpoint::Started => health::started(self.is_started.load(Ordering::Acquire)),
            Endpoint::Live => health::ok(),
            Endpoint::Ready => health::ready(&self.readiness),
            Endpoint::Metrics => health::with_type(
                StatusCode::OK,
                self.metrics.render().into(),
                "text/plain; version=0.0.4; charset=utf-8",
            ),
            Endpoint::Messages => self.submissions.submit(request, None).await?,
            Endpoint::Refuse => self.sessions.refuse(request).await?,
            Endpoint::Refused => self.sessions.refused(),
            Endpoint::IsRefused => self.sessions.is_refused(&params)?,
            Endpoint::Admit => self.sessions.admit(&params).await?,
            Endpoint::Sessions => self.sessions.list(request).await?,
            Endpoint::EndSession => self.sessions.end(request, &params).await?,
            Endpoint::SessionsOfUser => self.sessions.of_user(request, &params).await?,
            Endpoint::Responses => responses::take(&self.answers, request).await?,
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
