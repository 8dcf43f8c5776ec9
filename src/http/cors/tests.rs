use super::*;

const LISTED: &str = "https://a.example, http://localhost:8080";

/// Origins that look like `https://a.example` and are others.
const LOOKALIKES: [&str; 20] = [
    "https://evil.example",
    "https://a.example.evil.example",
    "https://evila.example",
    "https://evil.a.example",
    "https://a.example.",
    "https://a.example:444",
    "https://a.example:443",
    "https://a.example/",
    "https://a.example ",
    "http://a.example",
    "HTTPS://a.example",
    "https://A.example",
    "https://a.example@evil.example",
    "https://user@a.example",
    "https://a-example",
    "https://a.exampl",
    "a.example",
    "null",
    "*",
    "",
];

fn asks(headers: &[(HeaderName, &str)]) -> HeaderMap {
    let pairs = headers.iter().map(|(name, value)| {
        let value = HeaderValue::from_str(value).unwrap();
        (name.clone(), value)
    });
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name, value);
    }
    headers
}

fn from(origin: &str) -> HeaderMap {
    asks(&[(ORIGIN, origin)])
}

fn answer(cors: &str, request: &HeaderMap) -> HeaderMap {
    let mut response = HeaderMap::new();
    let cors = Cors::parse(cors).unwrap();
    cors.apply_with_credentials(request, &mut response);
    response
}

#[test]
fn a_star_is_told_to_everybody_and_takes_no_credentials() {
    for request in [HeaderMap::new(), from("https://evil.example"), from("null")] {
        let headers = answer("*", &request);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(headers.len(), 1, "{headers:?}");
    }
}

#[test]
fn an_origin_of_the_list_is_named_and_may_send_credentials() {
    for (cors, origin) in [
        ("https://a.example", "https://a.example"),
        ("https://A.example:443", "https://a.example"),
        (LISTED, "https://a.example"),
        (LISTED, "http://localhost:8080"),
    ] {
        let headers = answer(cors, &from(origin));
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], origin);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(headers[VARY], "Origin");
        let cors = Cors::parse(cors).unwrap();
        assert!(cors.admits(&from(origin)) && cors.admits_credentials(&from(origin)));
    }
}

#[test]
fn no_other_origin_is_named_however_it_looks() {
    for setting in ["https://a.example", LISTED] {
        let cors = Cors::parse(setting).unwrap();
        for origin in LOOKALIKES {
            let request = from(origin);
            let headers = answer(setting, &request);
            assert_eq!(headers[VARY], "Origin", "{origin:?}");
            assert_eq!(headers.len(), 1, "{origin:?}: {headers:?}");
            assert!(!cors.admits(&request), "{origin:?}");
            assert!(!cors.admits_credentials(&request), "{origin:?}");
        }
        let headers = answer(setting, &HeaderMap::new());
        assert_eq!(headers[VARY], "Origin");
        assert_eq!(headers.len(), 1);
    }
}

#[test]
fn who_names_two_origins_has_none() {
    let (good, evil) = ("https://a.example", "https://evil.example");
    let cors = Cors::parse(good).unwrap();
    for two in [[good, evil], [evil, good], [good, good]] {
        let request = asks(&two.map(|origin| (ORIGIN, origin)));
        assert_eq!(answer(good, &request).len(), 1);
        assert!(!cors.admits(&request));
        assert!(!cors.admits_credentials(&request));
    }
}

/// A browser adds cookies to the requests of any page.
#[test]
fn a_cookie_counts_only_from_a_page_of_the_list_or_of_our_own() {
    let site = |value| asks(&[(SEC_FETCH_SITE, value)]);
    let exact = Cors::parse(LISTED).unwrap();
    assert!(exact.is_exact() && !Cors::any().is_exact());
    for (request, admitted) in [
        (HeaderMap::new(), true),
        (site("same-origin"), true),
        (site("none"), true),
        (site("same-site"), false),
        (site("cross-site"), false),
        (site("Same-Origin"), false),
        (site(""), false),
        (
            asks(&[(SEC_FETCH_SITE, "none"), (SEC_FETCH_SITE, "cross-site")]),
            false,
        ),
        (
            asks(&[
                (ORIGIN, "https://a.example"),
                (SEC_FETCH_SITE, "cross-site"),
            ]),
            true,
        ),
        (
            asks(&[
                (ORIGIN, "https://evil.example"),
                (SEC_FETCH_SITE, "same-origin"),
            ]),
            false,
        ),
        (from("null"), false),
    ] {
        assert_eq!(exact.admits_credentials(&request), admitted, "{request:?}");
        assert!(!Cors::any().admits_credentials(&request), "{request:?}");
    }
}

#[test]
fn a_page_sees_when_to_come_again() {
    let mut response = HeaderMap::new();
    response.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    let cors = Cors::parse(LISTED).unwrap();
    cors.apply(&from("https://evil.example"), &mut response);
    assert!(!response.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS));
    cors.apply(&from("https://a.example"), &mut response);
    assert_eq!(response[ACCESS_CONTROL_EXPOSE_HEADERS], "retry-after");
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
fn without_an_origin_a_websocket_is_admitted_and_with_a_star_from_anywhere() {
    assert!(Cors::parse(LISTED).unwrap().admits(&HeaderMap::new()));
    for origin in ["https://evil.example", "null"] {
        assert!(Cors::any().admits(&from(origin)));
    }
}
