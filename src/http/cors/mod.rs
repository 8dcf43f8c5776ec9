//! Which web pages may read the answers: the CORS protocol.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, LOCATION, ORIGIN, RETRY_AFTER, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::reply::Body;

/// The settings of CORS.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "HTTP")]
pub struct CorsConfig {
    /// Origins whose pages may use the public port: `*`, or a comma-separated list such as `https://app.example,http://localhost:8080`
    #[arg(long, value_name = "ORIGINS", default_value = "*", value_parser = parse_cors)]
    pub cors: Cors,
}

/// Which origins may read the answers. Never reflects an origin that is not configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    allowed: Allowed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    /// `*`: said to everybody, so caches need not vary.
    Any,
    /// These origins: the one that asks is named, and caches vary.
    Listed(Arc<[HeaderValue]>),
}

/// The headers of our own answers that pages may see besides those that every page may see.
static EXPOSED: [HeaderName; 3] = [
    LOCATION,
    HeaderName::from_static("preference-applied"),
    RETRY_AFTER,
];

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who asks, by the header `Origin`, which a page cannot set itself.
enum Asking<'a> {
    /// A program that is no browser, or a page that asks its own origin.
    Nobody,
    One(&'a HeaderValue),
    /// No browser names two.
    Several,
}

impl<'a> Asking<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Self::Nobody,
            (Some(origin), None) => Self::One(origin),
            (Some(_), Some(_)) => Self::Several,
        }
    }
}

/// Why a `CORS` setting is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    /// An element is not an origin.
    #[error(
        "expected * or origins such as https://app.example (scheme, host and port only), not {0:?}"
    )]
    NotAnOrigin(Box<str>),
    /// `*` stands beside origins.
    #[error("* allows every origin and cannot stand in a list")]
    StarInList,
    /// No origin at all.
    #[error("expected * or at least one origin")]
    Empty,
}

fn parse_cors(text: &str) -> Result<Cors, CorsError> {
    Cors::parse(text)
}

impl Cors {
    /// Allows every origin.
    #[must_use]
    pub const fn any() -> Self {
        Self {
            allowed: Allowed::Any,
        }
    }

    /// Parses `*` or a comma-separated list of origins.
    ///
    /// # Errors
    /// [`CorsError`] for an empty list, for `*` in a list, and for anything that is not `scheme://host[:port]`.
    pub fn parse(text: &str) -> Result<Self, CorsError> {
        let elements: Vec<&str> = text
            .split(',')
            .map(str::trim)
            .filter(|element| !element.is_empty())
            .collect();
        match elements.as_slice() {
            [] => Err(CorsError::Empty),
            ["*"] => Ok(Self::any()),
            several if several.contains(&"*") => Err(CorsError::StarInList),
            several => {
                let origins = several.iter().map(|origin| parse_origin(origin));
                Ok(Self {
                    allowed: Allowed::Listed(origins.collect::<Result<_, _>>()?),
                })
            }
        }
    }

    /// Returns whether origins are named: no `*`.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        matches!(self.allowed, Allowed::Listed(_))
    }

    /// Adds the headers that let the page that sent `request_headers` read the response, and see where it says when
    /// and where to come again (`Retry-After`, `Location`), and what it was done by (`Preference-Applied`).
    pub fn apply(&self, request_headers: &HeaderMap, response_headers: &mut HeaderMap) {
        let allowed = match &self.allowed {
            Allowed::Any => HeaderValue::from_static("*"),
            Allowed::Listed(_) => {
                response_headers.append(VARY, HeaderValue::from_static("Origin"));
                match self.listed(request_headers) {
                    Some(origin) => origin.clone(),
                    None => return,
                }
            }
        };
        response_headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        let exposed = EXPOSED
            .iter()
            .filter(|name| response_headers.contains_key(*name));
        let exposed: Vec<&str> = exposed.map(HeaderName::as_str).collect();
        if let Ok(names) = HeaderValue::try_from(exposed.join(", "))
            && !exposed.is_empty()
        {
            response_headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
    }

    /// Returns the origin of the list that asks, byte for byte: browsers write an origin in one way only.
    fn listed(&self, request_headers: &HeaderMap) -> Option<&HeaderValue> {
        match (&self.allowed, Asking::of(request_headers)) {
            (Allowed::Listed(origins), Asking::One(asking)) => {
                origins.iter().find(|origin| *origin == asking)
            }
            _ => None,
        }
    }

    /// Returns whether the page that sent `request_headers` may open a WebSocket, which browsers allow to every page
    /// and leave to the server (RFC 6455, 10.2). Without `Origin`, as from programs that are no browsers, it may.
    #[must_use]
    pub fn admits(&self, request_headers: &HeaderMap) -> bool {
        match Asking::of(request_headers) {
            Asking::Nobody => true,
            Asking::One(_) => !self.is_exact() || self.listed(request_headers).is_some(),
            Asking::Several => !self.is_exact(),
        }
    }

    /// Returns whether the cookies of a request may say who asks.
    ///
    /// Browsers add cookies to the requests of any page, so a cookie counts only where the page is known to be one
    /// of the list, or to be of our own origin, which sends no `Origin` with a `GET`. Of pages of other origins,
    /// browsers that leave `Origin` out say so in `Sec-Fetch-Site`. With `*`, no cookie counts.
    #[must_use]
    pub fn admits_credentials(&self, request_headers: &HeaderMap) -> bool {
        let is_own = |site: &HeaderValue| site == "same-origin" || site == "none";
        match Asking::of(request_headers) {
            _ if !self.is_exact() => false,
            Asking::Nobody => request_headers.get_all(SEC_FETCH_SITE).iter().all(is_own),
            Asking::One(_) => self.listed(request_headers).is_some(),
            Asking::Several => false,
        }
    }

    /// As [`Cors::apply`], and lets the page send cookies; not with `*`, which browsers refuse with credentials.
    pub fn apply_with_credentials(
        &self,
        request_headers: &HeaderMap,
        response_headers: &mut HeaderMap,
    ) {
        self.apply(request_headers, response_headers);
        let allowed = response_headers.get(ACCESS_CONTROL_ALLOW_ORIGIN);
        if allowed.is_some_and(|origin| origin != "*") {
            response_headers.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
    }

    /// Answers a preflight: 204 with the `methods` of the resource, for example from `Router::allowed`.
    #[must_use]
    pub fn preflight(&self, request_headers: &HeaderMap, methods: HeaderValue) -> Response<Body> {
        let mut response = Response::new(Body::new(Bytes::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.apply_with_credentials(request_headers, headers);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("content-type, authorization, last-event-id"),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        response
    }

    /// As [`Cors::preflight`], for a resource that takes whatever headers a page wants to send.
    #[must_use]
    pub fn preflight_any_headers(
        &self,
        request_headers: &HeaderMap,
        methods: HeaderValue,
    ) -> Response<Body> {
        let mut response = self.preflight(request_headers, methods);
        if let Some(asked) = asked_headers(request_headers) {
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
            headers.append(
                VARY,
                HeaderValue::from_static("access-control-request-headers"),
            );
        }
        response
    }
}

/// The names that a page asks to send; nothing where one of them is none.
fn asked_headers(request_headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = request_headers.get(ACCESS_CONTROL_REQUEST_HEADERS)?;
    let is_name = |name: &str| HeaderName::try_from(name.trim()).is_ok();
    asked
        .to_str()
        .ok()?
        .split(',')
        .all(is_name)
        .then(|| asked.clone())
}

/// Takes `scheme://host[:port]`, as browsers serialise an origin (RFC 6454, 6.2): no path, no slash at the end.
fn parse_origin(text: &str) -> Result<HeaderValue, CorsError> {
    let not_an_origin = || CorsError::NotAnOrigin(text.into());
    let (scheme, authority) = text.split_once("://").ok_or_else(not_an_origin)?;
    let scheme_is_valid = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c));
    let authority_is_valid = !authority.is_empty()
        && !authority.contains('@')
        && authority
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c))
        && authority.parse::<http::uri::Authority>().is_ok();
    if !scheme_is_valid || !authority_is_valid {
        return Err(not_an_origin());
    }
    // Browsers send hosts in lower case, and no port that is the scheme's own (WHATWG URL, "default port").
    let origin = text.to_ascii_lowercase();
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let origin = origin.strip_suffix(default_port).unwrap_or(&origin);
    HeaderValue::try_from(origin).map_err(|_| not_an_origin())
}

#[cfg(test)]
mod tests;
