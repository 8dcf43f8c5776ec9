//! Finds what a path and a method stand for.

use std::borrow::Cow;

use http::{HeaderValue, Method};
use percent_encoding::percent_decode_str;

/// A table of paths and methods; `E` says what an entry stands for.
///
/// A pattern is a list of segments: `/_rig/v1/connection/{transport}/{token}/subscriptions`. `{name}` takes one
/// segment that is not empty. Static segments win over parameters, from left to right.
///
/// Paths are never normalised: `//`, `.`, `..` and percent-encoded spellings of static segments are segments
/// like any other, and match nothing that is not declared with them.
#[derive(Debug, Clone)]
pub struct Router<E> {
    routes: Vec<Route<E>>,
}

#[derive(Debug, Clone)]
struct Route<E> {
    pattern: Vec<Segment>,
    entries: Vec<(Method, E)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Static(&'static str),
    Parameter(&'static str),
}

/// What a path and a method lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routed<E> {
    /// The entry, and the parameters of the path.
    Found(E, Params),
    /// The path is known with other methods; the value is for `Allow`.
    MethodNotAllowed(HeaderValue),
    /// The path is not known, or a parameter is not UTF-8 after percent-decoding.
    NotFound,
}

/// The parameters of a path, percent-decoded once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(&'static str, String)>);

impl Params {
    /// Returns the value of the parameter `name`; may contain any character, also `/` and control characters.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }
}

impl<E: Copy> Router<E> {
    /// Makes an empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self { routes: Vec::new() }
    }

    /// Adds an entry; the last one wins when a method and a pattern are added twice.
    ///
    /// # Panics
    /// When `pattern` does not start with `/`: a mistake of the program, not of a client.
    pub fn add(&mut self, method: Method, pattern: &'static str, entry: E) {
        let pattern = parse_pattern(pattern);
        let route = match self
            .routes
            .iter_mut()
            .position(|route| route.pattern == pattern)
        {
            Some(at) => self.routes.get_mut(at),
            None => {
                let at = self.routes.partition_point(|route| route.pattern < pattern);
                self.routes.insert(
                    at,
                    Route {
                        pattern,
                        entries: Vec::new(),
                    },
                );
                self.routes.get_mut(at)
            }
        };
        let Some(route) = route else { return };
        route.entries.retain(|(known, _)| *known != method);
        route.entries.push((method, entry));
    }

    /// Looks up `path`, the path of the request target as it came, without the query.
    ///
    /// `HEAD` finds the entry of `GET` when it has none of its own. `OPTIONS` is found only where it was added:
    /// the caller answers CORS preflights with the help of [`Router::allowed`].
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Routed<E> {
        let Some(route) = self.route(path) else {
            return Routed::NotFound;
        };
        let entry = route.entry(method).or_else(|| {
            if *method == Method::HEAD {
                route.entry(&Method::GET)
            } else {
                None
            }
        });
        match (entry, route.params(path)) {
            (_, None) => Routed::NotFound,
            (Some(entry), Some(params)) => Routed::Found(entry, params),
            (None, Some(_)) => Routed::MethodNotAllowed(route.allow()),
        }
    }

    /// Returns the methods of `path` as a value for `Allow` and `Access-Control-Allow-Methods`.
    #[must_use]
    pub fn allowed(&self, path: &str) -> Option<HeaderValue> {
        self.route(path).map(Route::allow)
    }

    fn route(&self, path: &str) -> Option<&Route<E>> {
        // The routes are sorted with static segments first, so the first match is the most specific.
        self.routes.iter().find(|route| route.matches(path))
    }
}

impl<E: Copy> Default for Router<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Copy> Route<E> {
    fn matches(&self, path: &str) -> bool {
        let Some(segments) = path.strip_prefix('/') else {
            return false;
        };
        let mut segments = segments.split('/');
        let all_match = self
            .pattern
            .iter()
            .all(|expected| match (expected, segments.next()) {
                (_, None) => false,
                (Segment::Static(text), Some(segment)) => *text == segment,
                (Segment::Parameter(_), Some(segment)) => !segment.is_empty(),
            });
        all_match && segments.next().is_none()
    }

    fn params(&self, path: &str) -> Option<Params> {
        let segments = path.strip_prefix('/')?.split('/');
        let mut params = Vec::new();
        for (expected, segment) in self.pattern.iter().zip(segments) {
            if let Segment::Parameter(name) = expected {
                let value = percent_decode_str(segment).decode_utf8().ok()?;
                params.push((*name, Cow::into_owned(value)));
            }
        }
        Some(Params(params))
    }

    fn entry(&self, method: &Method) -> Option<E> {
        self.entries
            .iter()
            .find(|(known, _)| known == method)
            .map(|(_, entry)| *entry)
    }

    fn allow(&self) -> HeaderValue {
        let mut methods: Vec<&str> = self
            .entries
            .iter()
            .map(|(method, _)| method.as_str())
            .collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        methods.sort_unstable();
        methods.dedup();
        HeaderValue::try_from(methods.join(", "))
            .expect("a method is a token, and tokens and commas make a header value")
    }
}

fn parse_pattern(pattern: &'static str) -> Vec<Segment> {
    let segments = pattern
        .strip_prefix('/')
        .expect("a pattern starts with a slash");
    segments
        .split('/')
        .map(|segment| {
            match segment
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'))
            {
                Some(name) => Segment::Parameter(name),
                None => Segment::Static(segment),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router<u8> {
        let mut router = Router::new();
        router.add(Method::GET, "/", 0);
        router.add(Method::GET, "/c/{transport}", 1);
        router.add(Method::GET, "/c/sse", 2);
        router.add(Method::PUT, "/c/{transport}/{token}/subscriptions", 3);
        router.add(Method::POST, "/events", 4);
        router.add(Method::GET, "/events", 5);
        router.add(Method::OPTIONS, "/events", 6);
        router
    }

    fn found(method: &Method, path: &str) -> Option<u8> {
        match router().find(method, path) {
            Routed::Found(entry, _) => Some(entry),
            _ => None,
        }
    }

    #[test]
    fn static_segments_win_over_parameters_in_any_order_of_adding() {
        for (method, path, expected) in [
            (Method::GET, "/", Some(0)),
            (Method::GET, "/c/ws", Some(1)),
            (Method::GET, "/c/sse", Some(2)),
            (Method::HEAD, "/c/sse", Some(2)),
            (Method::PUT, "/c/sse/x/subscriptions", Some(3)),
            (Method::POST, "/events", Some(4)),
            (Method::GET, "/events", Some(5)),
            (Method::HEAD, "/events", Some(5)),
            (Method::OPTIONS, "/events", Some(6)),
            (Method::OPTIONS, "/c/sse", None),
        ] {
            assert_eq!(found(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn paths_are_not_normalised() {
        for path in [
            "",
            "*",
            "c/sse",
            "//",
            "//c/sse",
            "/c//sse",
            "/c/sse/",
            "/c/",
            "/c",
            "/./c/sse",
            "/c/../c/sse",
            "/%63/sse",
            "/c/%2e%2e/events",
            "/C/sse",
            "/events/",
            "/events?",
            "/c/sse//subscriptions",
        ] {
            assert_eq!(
                router().find(&Method::GET, path),
                Routed::NotFound,
                "{path}"
            );
        }
        // Dots are a parameter like any other text: they lead nowhere else.
        assert_eq!(found(&Method::GET, "/c/.."), Some(1));
        assert_eq!(found(&Method::GET, "/c/%2e%2e"), Some(1));
        assert_eq!(found(&Method::GET, "/c/..%2fevents"), Some(1));
        assert_eq!(found(&Method::GET, "/c/%73se"), Some(1));
    }

    #[test]
    fn parameters_are_decoded_once() {
        for (segment, expected) in [
            ("a", "a"),
            ("a%20b", "a b"),
            ("a+b", "a+b"),
            ("%252F", "%2F"),
            ("%2F", "/"),
            ("%zz", "%zz"),
            ("%C3%A4", "ä"),
        ] {
            let path = format!("/c/sse/{segment}/subscriptions");
            let Routed::Found(3, params) = router().find(&Method::PUT, &path) else {
                panic!("{path}")
            };
            assert_eq!(params.get("token"), Some(expected));
            assert_eq!(params.get("transport"), Some("sse"));
            assert_eq!(params.get("other"), None);
        }
    }

    #[test]
    fn parameters_that_are_not_utf_8_are_not_found() {
        for segment in ["%C0%A0", "%ff", "%ED%A0%80"] {
            let path = format!("/c/sse/{segment}/subscriptions");
            assert_eq!(router().find(&Method::PUT, &path), Routed::NotFound);
        }
    }

    #[test]
    fn other_methods_are_told_which_ones_there_are() {
        let allow = |method: Method, path: &str| match router().find(&method, path) {
            Routed::MethodNotAllowed(allow) => allow.to_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(allow(Method::DELETE, "/events"), "GET, HEAD, OPTIONS, POST");
        assert_eq!(allow(Method::GET, "/c/sse/t/subscriptions"), "OPTIONS, PUT");
        assert_eq!(
            allow(Method::from_bytes(b"FOO").unwrap(), "/c/sse"),
            "GET, HEAD, OPTIONS"
        );
        assert_eq!(
            router().allowed("/events").unwrap(),
            "GET, HEAD, OPTIONS, POST"
        );
        assert_eq!(router().allowed("/nothing"), None);
    }
}
