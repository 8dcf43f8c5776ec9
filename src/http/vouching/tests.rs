use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::*;
use crate::http::peer::Peer;
use crate::http::proxies::TrustedProxies;

/// What an upstream gets of these headers for a request of `peer`, where 10.0.0.0/8 and fd00::/8 are trusted.
fn written(peer: &str, is_tls: bool, lines: &[(&'static str, &str)]) -> Vec<String> {
    let mut head = http::Request::new(()).into_parts().0;
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        head.headers.append(HeaderName::from_static(name), value);
    }
    let proxies: TrustedProxies = "10.0.0.0/8,fd00::/8".parse().unwrap();
    let peer = Peer {
        is_tls,
        ..Peer::new((peer.parse::<IpAddr>().unwrap(), 1).into())
    };
    let request = Request::from_memory(head, Bytes::new(), (peer, &proxies));
    let mut out = request.headers.clone();
    request.write_forwarded(&mut out);
    let mut lines: Vec<_> = out
        .iter()
        .filter(|(name, _)| *name != HOST)
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines
}

/// The peer, what it sends, and what the upstream gets: `Forwarded`, `X-Forwarded-For`.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

fn check(cases: &[Case]) {
    for (peer, sent, forwarded, addresses) in cases {
        let lines = written(peer, false, sent);
        let expected = [
            format!("forwarded: {forwarded};proto=http;by=_sluicegate"),
            format!("x-forwarded-for: {addresses}"),
            "x-forwarded-proto: http".to_owned(),
        ];
        assert_eq!(lines, expected, "{peer} {sent:?}");
    }
}

const FORWARDED: &str = "forwarded";
const XFF: &str = "x-forwarded-for";

#[test]
fn of_a_stranger_only_its_address_counts() {
    let own = ("for=203.0.113.9", "203.0.113.9");
    let spoofed: &[&[(&'static str, &'static str)]] = &[
        &[],
        &[(XFF, "198.51.100.1")],
        &[(XFF, "10.0.0.1"), (XFF, "10.0.0.2")],
        &[(FORWARDED, "for=198.51.100.1;by=10.0.0.1")],
        &[("x-real-ip", "198.51.100.1")],
        &[("x-forwarded-proto", "https"), ("x-forwarded-port", "443")],
        &[("x-original-url", "/admin"), ("x-rewrite-url", "/admin")],
        &[
            ("x-http-method-override", "DELETE"),
            ("x_original_url", "/"),
        ],
        &[("x-envoy-original-path", "/admin"), ("x-host", "evil")],
        &[
            ("client-ip", "::1"),
            ("x-client-ip", "::1"),
            ("true-client-ip", "::1"),
        ],
        &[("cf-connecting-ip", "::1"), ("x-cluster-client-ip", "::1")],
        &[("x-original-forwarded-for", "::1"), ("x_real_ip", "::1")],
        &[
            ("front-end-https", "on"),
            ("x-proxyuser-ip", "::1"),
            ("client-cert", "::"),
        ],
        &[("x-forwarded-host", "evil"), ("x-forwarded-prefix", "/x")],
        &[("proxy", "http://evil:8080")],
        &[(FORWARDED, "for=\"un,closed")],
    ];
    for sent in spoofed {
        check(&[("203.0.113.9", sent, own.0, own.1)]);
        check(&[("::ffff:203.0.113.9", sent, own.0, own.1)]);
    }
    check(&[(
        "2001:db8::9",
        &[(XFF, "198.51.100.1")],
        "for=\"[2001:db8::9]\"",
        "2001:db8::9",
    )]);
}

#[test]
fn what_trusted_proxies_wrote_stays_and_what_is_left_of_the_client_goes() {
    check(&[
        ("10.0.0.1", &[], "for=10.0.0.1", "10.0.0.1"),
        (
            "10.0.0.1",
            &[(XFF, "198.51.100.1")],
            "for=198.51.100.1, for=10.0.0.1",
            "198.51.100.1, 10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[(XFF, "6.6.6.6, 198.51.100.1:80,10.0.0.2")],
            "for=198.51.100.1, for=10.0.0.2, for=10.0.0.1",
            "198.51.100.1:80, 10.0.0.2, 10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[(XFF, "6.6.6.6"), (XFF, "198.51.100.1"), (XFF, "10.0.0.2")],
            "for=198.51.100.1, for=10.0.0.2, for=10.0.0.1",
            "198.51.100.1, 10.0.0.2, 10.0.0.1",
        ),
        (
            "fd00::1",
            &[(XFF, "2001:db8::1")],
            "for=\"[2001:db8::1]\", for=\"[fd00::1]\"",
            "2001:db8::1, fd00::1",
        ),
        (
            "10.0.0.1",
            &[(
                FORWARDED,
                "for=6.6.6.6, for=\"[2001:db8::1]:80\";Host=\"a,b;c\";secret=x",
            )],
            "for=\"[2001:db8::1]:80\";Host=\"a,b;c\";secret=x, for=10.0.0.1",
            "2001:db8::1, 10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[(FORWARDED, "for=198.51.100.1;proto=https, for=10.0.0.2")],
            "for=198.51.100.1;proto=https, for=10.0.0.2, for=10.0.0.1",
            "198.51.100.1, 10.0.0.2, 10.0.0.1",
        ),
    ]);
}

#[test]
fn where_the_two_headers_differ_neither_is_passed_on() {
    check(&[
        (
            "10.0.0.1",
            &[(XFF, "198.51.100.1"), (FORWARDED, "for=6.6.6.6")],
            "for=10.0.0.1",
            "10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[
                (XFF, "198.51.100.1, 10.0.0.2"),
                (FORWARDED, "for=198.51.100.1;by=_a, for=10.0.0.2"),
            ],
            "for=198.51.100.1;by=_a, for=10.0.0.2, for=10.0.0.1",
            "198.51.100.1, 10.0.0.2, 10.0.0.1",
        ),
    ]);
}

#[test]
fn what_is_malformed_becomes_unknown() {
    check(&[
        (
            "10.0.0.1",
            &[(XFF, "198.51.100.1, _hidden")],
            "for=unknown, for=10.0.0.1",
            "_hidden, 10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[(XFF, "<script>")],
            "for=unknown, for=10.0.0.1",
            "unknown, 10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[(XFF, "198.51.100.1,")],
            "for=unknown, for=10.0.0.1",
            "unknown, 10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[(FORWARDED, "for=198.51.100.1;by=\"x")],
            "for=unknown, for=10.0.0.1",
            "unknown, 10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[(FORWARDED, "for=198.51.100.1;x=a b")],
            "for=198.51.100.1, for=10.0.0.1",
            "198.51.100.1, 10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[(FORWARDED, "for=_hidden;proto=https")],
            "for=_hidden;proto=https, for=10.0.0.1",
            "unknown, 10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[(FORWARDED, "proto=https")],
            "proto=https, for=10.0.0.1",
            "unknown, 10.0.0.1",
        ),
    ]);
}

#[test]
fn scheme_and_host_are_those_of_the_connection_or_of_a_trusted_proxy() {
    let claims = [
        ("host", "api.example:4001"),
        ("x-forwarded-proto", "wss"),
        ("x-forwarded-host", "evil, www.example"),
        ("x-forwarded-port", "443"),
        ("x-real-ip", "198.51.100.1"),
        ("x-original-url", "/"),
    ];
    assert_eq!(
        written("203.0.113.9", true, &claims),
        [
            "forwarded: for=203.0.113.9;proto=https;host=\"api.example:4001\";by=_sluicegate",
            "x-forwarded-for: 203.0.113.9",
            "x-forwarded-host: api.example:4001",
            "x-forwarded-proto: https",
        ]
    );
    assert_eq!(
        written("10.0.0.1", false, &claims),
        [
            "forwarded: for=10.0.0.1;proto=http;host=\"api.example:4001\";by=_sluicegate",
            "x-forwarded-for: 10.0.0.1",
            "x-forwarded-host: www.example",
            "x-forwarded-port: 443",
            "x-forwarded-proto: wss",
            "x-original-url: /",
            "x-real-ip: 198.51.100.1",
        ]
    );
    let nonsense = [
        ("host", "a"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-host", "a b"),
    ];
    assert_eq!(
        written("10.0.0.1", true, &nonsense),
        [
            "forwarded: for=10.0.0.1;proto=https;host=a;by=_sluicegate",
            "x-forwarded-for: 10.0.0.1",
            "x-forwarded-host: a",
            "x-forwarded-proto: https",
        ]
    );
}

#[test]
fn a_host_cannot_break_out_of_its_quotes() {
    let lines = written("203.0.113.9", false, &[("host", "a\";for=6.6.6.6\\")]);
    let expected = r#"for=203.0.113.9;proto=http;host="a\";for=6.6.6.6\\";by=_sluicegate"#;
    assert_eq!(lines[0], format!("forwarded: {expected}"));
}

#[test]
fn a_request_of_another_way_is_that_of_its_client() {
    let head = http::Request::new(()).into_parts().0;
    let client = "198.51.100.1".parse().unwrap();
    let peer = ([10, 0, 0, 1], 1).into();
    let request = Request::from_parts(head, Bytes::new(), client, peer, true);
    assert_eq!(request.client_address(), client);
    let mut out = HeaderMap::new();
    request.write_forwarded(&mut out);
    assert_eq!(out["x-forwarded-for"], "198.51.100.1, 10.0.0.1");
    let expected = "for=198.51.100.1, for=10.0.0.1;proto=https;by=_sluicegate";
    assert_eq!(out["forwarded"], expected);
}
