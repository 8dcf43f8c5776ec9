//! Which web pages may read the answers: the CORS protocol.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

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
    /// `*`, or the one origin: said to everybody, so caches need not vary.
    Fixed(HeaderValue),
    /// Several origins: the one that asks is named, and caches vary.
    Listed(Vec<HeaderValue>),
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
            allowed: Allowed::Fixed(HeaderValue::from_static("*")),
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
            [origin] => Ok(Self {
                allowed: Allowed::Fixed(parse_origin(origin)?),
            }),
            several if several.contains(&"*") => Err(CorsError::StarInList),
            several => {
                let origins = several.iter().map(|origin| parse_origin(origin));
                Ok(Self {
                    allowed: Allowed::Listed(origins.collect::<Result<_, _>>()?),
                })
            }
        }
    }

    /// Adds the headers that let the page that sent `request_headers` read the response.
    pub fn apply(&self, request_headers: &HeaderMap, response_headers: &mut HeaderMap) {
        match &self.allowed {
            Allowed::Fixed(value) => {
                response_headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, value.clone());
            }
            Allowed::Listed(origins) => {
                response_headers.append(VARY, HeaderValue::from_static("Origin"));
                let asking = request_headers.get(ORIGIN);
                if let Some(origin) = origins.iter().find(|origin| asking == Some(origin)) {
                    response_headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                }
            }
        }
    }

    /// Returns whether the page that sent `request_headers` may open a WebSocket, which browsers allow to every page
    /// and leave to the server (RFC 6455, 10.2). Without `Origin`, as from programs that are no browsers, it may.
    #[must_use]
    pub fn admits(&self, request_headers: &HeaderMap) -> bool {
        let Some(asking) = request_headers.get(ORIGIN) else {
            return true;
        };
        match &self.allowed {
            Allowed::Fixed(value) => value == "*" || value == asking,
            Allowed::Listed(origins) => origins.contains(asking),
        }
    }

    pub fn is_exact(&self) -> bool {
        !matches!(&self.allowed, Allowed::Fixed(value) if value == "*")
    }

    pub fn admits_credentials(&self, headers: &HeaderMap) -> bool {
        self.is_exact() && self.admits(headers)
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
    // Browsers send hosts in lower case.
    HeaderValue::try_from(text.to_ascii_lowercase()).map_err(|_| not_an_origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(cors: &str, origin: Option<&str>) -> HeaderMap {
        let mut request = HeaderMap::new();
        if let Some(origin) = origin {
            request.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        let mut response = HeaderMap::new();
        Cors::parse(cors)
            .unwrap()
            .apply_with_credentials(&request, &mut response);
        response
    }

    #[test]
    fn the_right_origin_is_allowed_and_no_other_is_named() {
        let listed = "https://a.example, http://localhost:8080";
        let cases = [
            ("*", None, Some("*"), false, false),
            ("*", Some("https://evil.example"), Some("*"), false, false),
            (
                "https://a.example",
                None,
                Some("https://a.example"),
                true,
                false,
            ),
            (
                "https://a.example",
                Some("https://evil.example"),
                Some("https://a.example"),
                true,
                false,
            ),
            (
                listed,
                Some("https://a.example"),
                Some("https://a.example"),
                true,
                true,
            ),
            (
                listed,
                Some("http://localhost:8080"),
                Some("http://localhost:8080"),
                true,
                true,
            ),
            (listed, Some("https://evil.example"), None, false, true),
            (listed, Some("https://a.example.evil"), None, false, true),
            (listed, Some("null"), None, false, true),
            (listed, Some(""), None, false, true),
            (listed, None, None, false, true),
        ];
        for (cors, origin, allowed, credentials, vary) in cases {
            let headers = answer(cors, origin);
            let got = headers
                .get(ACCESS_CONTROL_ALLOW_ORIGIN)
                .map(|value| value.to_str().unwrap());
            assert_eq!(got, allowed, "{cors} {origin:?}");
            assert_eq!(
                headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS),
                credentials,
                "{cors} {origin:?}"
            );
            assert_eq!(headers.contains_key(VARY), vary, "{cors} {origin:?}");
        }
    }

    #[test]
    fn what_is_not_an_origin_is_refused() {
        for text in [
            "",
            ",",
            "example.com",
            "https://",
            "https://a/",
            "https://a/path",
            "https://a b",
            "https://a\r\nx: y",
            "https://user@a",
            "*,https://a",
            "https://*.example",
            "null",
            "://a",
            "HTTPS//a",
            "https://a?b",
        ] {
            assert!(Cors::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_preflight_names_methods_and_headers() {
        let methods = HeaderValue::from_static("OPTIONS, PUT");
        let response = Cors::any().preflight(&HeaderMap::new(), methods);
        assert_eq!(response.status(), 204);
        let headers = response.headers();
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "OPTIONS, PUT");
        assert_eq!(
            headers[ACCESS_CONTROL_ALLOW_HEADERS],
            "content-type, authorization, last-event-id"
        );
        assert_eq!(headers[ACCESS_CONTROL_MAX_AGE], "600");
    }

    #[test]
    fn only_pages_of_allowed_origins_are_admitted_where_some_are_named() {
        let from = |origin: &'static str| {
            HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static(origin))])
        };
        for (setting, origin, admitted) in [
            ("*", "http://evil.example", true),
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://a.example.evil.example", false),
            ("https://a.example", "https://a.example:444", false),
            ("https://a.example", "null", false),
            (
                "https://a.example,https://b.example",
                "https://b.example",
                true,
            ),
            (
                "https://a.example,https://b.example",
                "https://c.example",
                false,
            ),
        ] {
            let cors = Cors::parse(setting).unwrap();
            assert_eq!(cors.admits(&from(origin)), admitted, "{setting} {origin}");
            assert!(cors.admits(&HeaderMap::new()));
        }
    }
}
