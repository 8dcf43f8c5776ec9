//! Routes that only somebody with a token may use.
//!
//! # Source
//! RFC 6750, sections 2.1 and 3; RIG's `auth` of an API definition.

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::call::Caller;
use super::query;
use super::route::TokenPlaces;
use crate::access::{Access, Visitor};
use crate::http::{HttpError, Request};

/// How many tokens of a request are looked at: each is verified.
const MAX_TOKENS: usize = 4;

impl From<&Visitor> for Caller {
    fn from(visitor: &Visitor) -> Self {
        Self {
            sessions: visitor.sessions(),
            user: visitor.user(),
        }
    }
}

/// Who sends a request for a secured route.
#[derive(Debug)]
pub(super) struct Identified {
    pub(super) caller: Caller,
    /// When the token expires, in Unix milliseconds; never where a connection says who sends the request, which ends
    /// with its token itself.
    pub(super) expires_ms: i64,
}

/// Finds out who sends a request for a secured route, and leaves of its tokens only the one that was verified: in
/// the header that the route has for it, wherever it stood. Of several tokens, one that is good is enough.
///
/// The parameter of the query is for [`without_token`]. `known` is who sends the request where that is known already:
/// the owner of the connection that it came on, for a request that has no token of its own; it goes on without one.
///
/// # Errors
/// 401 without a token that is good and not of a session that was ended; 503 while there are no keys.
pub(super) async fn identify(
    places: &TokenPlaces,
    request: &mut Request,
    known: Option<Caller>,
    access: &Access,
) -> Result<Identified, HttpError> {
    let tokens = tokens(places, request);
    let (identified, verified) = match known {
        Some(caller) if tokens.is_empty() => {
            let expires_ms = i64::MAX;
            (Identified { caller, expires_ms }, None)
        }
        None if tokens.is_empty() => return Err(token_needed(places)),
        _ => {
            let visitor = access.verify_any(tokens).await?;
            let identified = Identified {
                caller: Caller::from(&visitor),
                expires_ms: visitor.expires_ms().unwrap_or(i64::MAX),
            };
            (identified, visitor.token().map(str::to_owned))
        }
    };
    if let Some(name) = &places.header {
        leave_only(verified.as_deref(), name, &mut request.headers)?;
    }
    Ok(identified)
}

/// Finds out who sends a request that is for no route, by a token at one of these places; nobody known without one.
///
/// # Errors
/// As [`identify`], but for a request without a token.
pub(super) async fn identify_anywhere(
    places: &[TokenPlaces],
    request: &Request,
    access: &Access,
) -> Result<Caller, HttpError> {
    let mut found: Vec<String> = Vec::new();
    for token in places.iter().flat_map(|places| tokens(places, request)) {
        if !found.contains(&token) && found.len() < MAX_TOKENS {
            found.push(token);
        }
    }
    if found.is_empty() {
        return Ok(Caller::default());
    }
    Ok(Caller::from(&access.verify_any(found).await?))
}

/// 401 for a request without a token; it says where one has to stand, and names no error (RFC 6750, 3.1).
fn token_needed(places: &TokenPlaces) -> HttpError {
    let header = places
        .header
        .as_ref()
        .map(|name| match *name == AUTHORIZATION {
            true => "after Bearer in the header authorization".to_owned(),
            false => format!("in the header {name}"),
        });
    let query = places.query.as_ref();
    let query = query.map(|name| format!("in the parameter {name} of the query"));
    let places: Vec<String> = header.into_iter().chain(query).collect();
    let public = format!("A token is needed, {}.", places.join(" or "));
    HttpError::new(StatusCode::UNAUTHORIZED, "token_required", public)
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// Makes the header `name` have this token, as it was written if it stood there, and nothing else.
fn leave_only(
    verified: Option<&str>,
    name: &HeaderName,
    headers: &mut HeaderMap,
) -> Result<(), HttpError> {
    let Some(verified) = verified else {
        headers.remove(name);
        return Ok(());
    };
    let written = in_header(name, headers)
        .find_map(|(text, token)| (token == verified).then(|| text.to_owned()));
    let written = written.unwrap_or_else(|| match *name == AUTHORIZATION {
        true => format!("Bearer {verified}"),
        false => verified.to_owned(),
    });
    let mut value = HeaderValue::try_from(written).map_err(HttpError::internal)?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// Returns the tokens that stand where they may, those of the header first.
fn tokens(places: &TokenPlaces, request: &Request) -> Vec<String> {
    let mut tokens = Vec::new();
    if let Some(name) = &places.header {
        let shown = in_header(name, &request.headers);
        tokens.extend(shown.map(|(_, token)| token.to_owned()));
    }
    if let Some(name) = &places.query {
        let text = request.uri.query().unwrap_or_default();
        tokens.extend(query::values(text, name));
    }
    tokens.retain(|token| !token.is_empty());
    tokens.truncate(MAX_TOKENS);
    tokens
}

/// Returns the tokens of a header, each after how it is written there: those after `Bearer`, and, unless it is
/// `Authorization`, those alone.
fn in_header<'a>(
    name: &HeaderName,
    headers: &'a HeaderMap,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let may_be_alone = *name != AUTHORIZATION;
    let lines = headers.get_all(name).into_iter();
    let texts = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(',').map(str::trim));
    texts.filter_map(move |text| match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Some((text, token.trim()))
        }
        None if may_be_alone => Some((text, text)),
        _ => None,
    })
}

/// Returns the query without the parameter `name`, which has the token; everything else stays as it came. `None` for
/// one that had nothing else: an empty query stays one.
pub(super) fn without_token(query: &str, name: Option<&str>) -> Option<String> {
    let Some(name) = name else {
        return Some(query.to_owned());
    };
    let rest = query::without(query, name).collect::<Vec<_>>().join("&");
    (query.is_empty() || !rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn places(header: Option<&'static str>, query: Option<&str>) -> TokenPlaces {
        TokenPlaces {
            header: header.map(HeaderName::from_static),
            query: query.map(Into::into),
        }
    }

    fn found(places: &TokenPlaces, uri: &str, headers: &[(&str, &str)]) -> Vec<String> {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::new()).unwrap();
        tokens(places, &Request::new(request, ([127, 0, 0, 1], 1).into()))
    }

    #[test]
    fn tokens_are_found_where_they_may_stand_and_nowhere_else() {
        let authorization = places(Some("authorization"), None);
        let own = places(Some("x-token"), Some("token"));
        type Case<'a> = (
            &'a TokenPlaces,
            &'a str,
            &'a [(&'a str, &'a str)],
            &'a [&'a str],
        );
        let cases: [Case<'_>; 11] = [
            (&authorization, "/", &[], &[]),
            (
                &authorization,
                "/",
                &[("authorization", "Bearer a")],
                &["a"],
            ),
            (
                &authorization,
                "/",
                &[("authorization", "bearer  a , Bearer b")],
                &["a", "b"],
            ),
            (&authorization, "/", &[("authorization", "Basic a")], &[]),
            (&authorization, "/", &[("authorization", "a")], &[]),
            (&authorization, "/?token=a&jwt=b", &[("x-token", "c")], &[]),
            (&own, "/", &[("x-token", "a")], &["a"]),
            (&own, "/", &[("x-token", "Bearer a")], &["a"]),
            (&own, "/", &[("authorization", "Bearer a")], &[]),
            (&own, "/?x=1&token=a%2Bb&t%6Fken=c", &[], &["a+b", "c"]),
            (&own, "/?token=&token", &[("x-token", "")], &[]),
        ];
        for (places, uri, headers, expected) in cases {
            assert_eq!(found(places, uri, headers), expected, "{uri} {headers:?}");
        }
    }

    /// A backend that leaves the signature to the gateway takes the first one that it finds.
    #[test]
    fn of_the_header_only_the_token_that_was_verified_is_left() {
        const FORGED: &str = "Bearer forged";
        const OTHER: &str = "Basic YWRtaW46YWRtaW4=";
        type Case<'a> = (
            &'static str,
            &'a [&'static str],
            Option<&'a str>,
            &'a [&'a str],
        );
        let cases: [Case<'_>; 10] = [
            (
                "authorization",
                &[FORGED, "Bearer good"],
                Some("good"),
                &["Bearer good"],
            ),
            (
                "authorization",
                &["Bearer forged, bearer  good"],
                Some("good"),
                &["bearer  good"],
            ),
            (
                "authorization",
                &[OTHER, "Bearer good"],
                Some("good"),
                &["Bearer good"],
            ),
            (
                "authorization",
                &[FORGED, OTHER],
                Some("good"),
                &["Bearer good"],
            ),
            ("authorization", &[], Some("good"), &["Bearer good"]),
            ("authorization", &[OTHER], None, &[]),
            ("x-token", &["forged"], Some("good"), &["good"]),
            ("x-token", &["forged", "good"], Some("good"), &["good"]),
            ("x-token", &["Bearer good"], Some("good"), &["Bearer good"]),
            ("x-token", &["Bearer\u{e9}"], None, &[]),
        ];
        for (name, lines, verified, expected) in cases {
            let name = HeaderName::from_static(name);
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(&name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            leave_only(verified, &name, &mut headers).unwrap();
            let left: Vec<_> = headers.get_all(&name).iter().collect();
            assert_eq!(left, expected, "{lines:?}");
        }
    }

    #[test]
    fn who_has_no_token_is_told_where_it_has_to_stand() {
        for (header, query, expected) in [
            (
                Some("authorization"),
                None,
                "A token is needed, after Bearer in the header authorization.",
            ),
            (
                Some("x-token"),
                None,
                "A token is needed, in the header x-token.",
            ),
            (
                None,
                Some("t"),
                "A token is needed, in the parameter t of the query.",
            ),
            (
                Some("x-token"),
                Some("t"),
                "A token is needed, in the header x-token or in the parameter t of the query.",
            ),
        ] {
            assert_eq!(token_needed(&places(header, query)).public(), expected);
        }
    }

    #[test]
    fn only_some_tokens_are_looked_at() {
        let own = places(None, Some("t"));
        assert_eq!(
            found(&own, "/?t=1&t=2&t=3&t=4&t=5&t=6", &[]).len(),
            MAX_TOKENS
        );
    }

    #[test]
    fn the_rest_of_a_query_stays_as_it_came() {
        for (query, expected) in [
            ("", Some("")),
            ("a=1&a=2&b=%20+%2B", Some("a=1&a=2&b=%20+%2B")),
            ("a=1&token=x&a=2", Some("a=1&a=2")),
            ("tok%65n=x", None),
            ("token", None),
            ("token=x&&a", Some("&a")),
            ("tokens=x", Some("tokens=x")),
        ] {
            let rest = without_token(query, Some("token"));
            assert_eq!(rest.as_deref(), expected, "{query}");
        }
        assert_eq!(without_token("token=x", None).as_deref(), Some("token=x"));
    }
}
