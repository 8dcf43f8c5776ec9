//! Which fields go on.

use super::*;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let parsed = lines.iter().map(|(name, value)| {
        let name: HeaderName = name.parse().unwrap();
        (name, HeaderValue::try_from(*value).unwrap())
    });
    let mut headers = HeaderMap::new();
    for (name, value) in parsed {
        headers.append(name, value);
    }
    headers
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn what_is_for_one_connection_ends_here() {
    let mut request = headers(&[
        ("connection", "close, X-One"),
        ("connection", "x-two,,te, not a name"),
        ("x-one", "1"),
        ("x-two", "2"),
        ("x-three", "3"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
        ("te", "gzip"),
        ("expect", "100-continue"),
        ("trailer", "x-sum"),
    ]);
    clean_request(&mut request, |_| false);
    assert_eq!(names(&request), ["trailer", "x-three"]);
}

#[test]
fn connection_cannot_take_away_what_the_backend_decides_by() {
    let kept = [
        "authorization",
        "content-length",
        "content-type",
        "cookie",
        "forwarded",
        "host",
        "origin",
        "sec-fetch-site",
        "traceparent",
        "via",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-real-ip",
    ];
    let mut request = HeaderMap::new();
    for name in kept {
        request.append(CONNECTION, HeaderValue::from_static(name));
        request.append(name, HeaderValue::from_static("1"));
    }
    clean_request(&mut request, |_| false);
    assert_eq!(names(&request), kept);
    let mut request = headers(&[
        ("connection", "x-token, x-else"),
        ("x-token", "1"),
        ("x-else", "1"),
    ]);
    clean_request(&mut request, |name| name == "x-token");
    assert_eq!(names(&request), ["x-token"]);
}

#[test]
fn names_that_look_like_others_do_not_go_on() {
    let mut request = headers(&[
        ("x_forwarded_for", "1"),
        ("x-forwarded_proto", "1"),
        ("content_length", "1"),
        ("proxy_authorization", "1"),
        ("x_user", "1"),
        ("x-user", "1"),
        ("x_other", "1"),
        ("_", "1"),
    ]);
    remove_lookalikes(&mut request, |name| name == "x-user");
    assert_eq!(names(&request), ["_", "x-user", "x_other"]);
}

#[test]
fn of_te_only_trailers_goes_on() {
    for (te, expected) in [
        ("trailers", Some("trailers")),
        ("gzip, Trailers", Some("trailers")),
        ("gzip", None),
        ("trailers;q=0.5", None),
    ] {
        let mut request = headers(&[("te", te), ("connection", "te")]);
        clean_request(&mut request, |_| false);
        let found = request.get(TE).map(|value| value.to_str().unwrap());
        assert_eq!(found, expected, "{te}");
    }
}

#[test]
fn answers_keep_their_order_and_lead_nobody_past_us() {
    let mut answer = headers(&[
        ("set-cookie", "a=1"),
        ("alt-svc", "h3=\":443\""),
        ("set-cookie", "b=2"),
        ("connection", "keep-alive, set-cookie"),
        ("keep-alive", "timeout=5"),
        ("date", "x"),
    ]);
    clean_answer(&mut answer);
    assert_eq!(names(&answer), ["date", "set-cookie"]);
    let cookies: Vec<_> = answer.get_all(SET_COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

#[test]
fn configured_fields_replace_what_came_but_frame_nothing() {
    let mut request = headers(&[("x-user", "mallory"), ("x-user", "eve")]);
    let added = [
        ("x-user", "alice"),
        ("host", "other.example"),
        ("connection", "close"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
    ]
    .map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    add(&mut request, &added);
    assert_eq!(names(&request), ["host", "x-user"]);
    assert_eq!(request.get_all("x-user").iter().count(), 1);
    assert_eq!(request["x-user"], "alice");
}

#[test]
fn a_request_that_comes_through_us_again_and_again_is_noticed() {
    let mut request = headers(&[("via", "1.1 other, 1.0 sluicegate.example, HTTP/1.1 x")]);
    for round in 0..MAX_ROUNDS {
        assert!(!goes_round(&request), "{round}");
        add_via(&mut request, Version::HTTP_2);
    }
    assert!(goes_round(&request));
    assert_eq!(request.get_all(VIA).iter().count(), 1 + MAX_ROUNDS);
}

#[test]
fn a_backend_that_says_when_it_closes_is_not_relied_on_for_longer() {
    for (value, seconds) in [
        ("timeout=5", Some(4)),
        ("max=100, Timeout = 60", Some(59)),
        ("timeout=0", Some(0)),
        ("timeout=x", None),
        ("max=100", None),
        ("timeout=99999999999", None),
    ] {
        let expected = seconds.map(Duration::from_secs);
        assert_eq!(
            keep_alive(&headers(&[("keep-alive", value)])),
            expected,
            "{value}"
        );
    }
}

#[test]
fn only_a_plain_request_for_a_websocket_is_one() {
    let cases: [(&[(&str, &str)], bool); 7] = [
        (&[("upgrade", "WebSocket"), ("connection", "Upgrade")], true),
        (
            &[
                ("upgrade", "websocket"),
                ("connection", "keep-alive, Upgrade"),
            ],
            true,
        ),
        (&[("upgrade", "websocket")], false),
        (&[("upgrade", "h2c"), ("connection", "upgrade")], false),
        (
            &[("upgrade", "websocket, h2c"), ("connection", "upgrade")],
            false,
        ),
        (
            &[
                ("upgrade", "websocket"),
                ("connection", "upgrade"),
                ("content-length", "0"),
            ],
            false,
        ),
        (
            &[
                ("upgrade", "websocket"),
                ("connection", "upgrade"),
                ("transfer-encoding", "chunked"),
            ],
            false,
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(asks_for_websocket(&headers(lines)), expected, "{lines:?}");
    }
}

#[test]
fn trailers_frame_nothing_and_name_nobody() {
    let trailers = headers(&[
        ("grpc-status", "0"),
        ("content-length", "5"),
        ("authorization", "x"),
        ("transfer-encoding", "chunked"),
        ("forwarded", "for=x"),
        ("x-forwarded-for", "x"),
        ("X_Real_IP", "x"),
        ("x-internal", "x"),
        ("x_internal", "x"),
    ]);
    let is_ours = |name: &HeaderName| name == "x-internal";
    let frame = without_dangerous_trailers(Frame::trailers(trailers), is_ours);
    assert_eq!(names(frame.trailers_ref().unwrap()), ["grpc-status"]);
}
