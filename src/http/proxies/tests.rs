use http::{HeaderName, HeaderValue};

use super::*;

const FORWARDED: &str = "forwarded";
const XFF: &str = "x-forwarded-for";

/// The client of a request of `peer` with these headers, where 10.0.0.0/8, 192.0.2.7 and fd00::/8 are trusted.
fn client(peer: &str, lines: &[(&'static str, &str)]) -> String {
    let trusted: TrustedProxies = "10.0.0.0/8, 192.0.2.7,fd00::/8".parse().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    trusted.client(peer.parse().unwrap(), &headers).to_string()
}

/// The peer, the headers, the client.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

fn check(cases: &[Case]) {
    for (peer, headers, expected) in cases {
        assert_eq!(client(peer, headers), *expected, "{peer} {headers:?}");
    }
}

#[test]
fn a_stranger_is_itself_whatever_it_says() {
    check(&[
        ("203.0.113.9", &[], "203.0.113.9"),
        ("203.0.113.9", &[(XFF, "198.51.100.1")], "203.0.113.9"),
        ("203.0.113.9", &[(XFF, "10.0.0.1")], "203.0.113.9"),
        ("203.0.113.9", &[(FORWARDED, "for=10.0.0.1")], "203.0.113.9"),
        ("192.0.2.8", &[(XFF, "198.51.100.1")], "192.0.2.8"),
        ("2001:db8::9", &[(XFF, "198.51.100.1")], "2001:db8::9"),
        ("::ffff:203.0.113.9", &[(XFF, "1.1.1.1")], "203.0.113.9"),
    ]);
}

#[test]
fn a_trusted_proxy_names_its_client() {
    check(&[
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &[(XFF, "198.51.100.1")], "198.51.100.1"),
        ("192.0.2.7", &[(XFF, "198.51.100.1")], "198.51.100.1"),
        ("fd00::1", &[(XFF, "2001:db8::1")], "2001:db8::1"),
        ("::ffff:10.0.0.1", &[(XFF, "198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", &[(XFF, "::ffff:198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", &[(XFF, "198.51.100.1:8080")], "198.51.100.1"),
        ("10.0.0.1", &[(XFF, "[2001:db8::1]:8080")], "2001:db8::1"),
        ("10.0.0.1", &[(XFF, "[2001:db8::1]")], "2001:db8::1"),
        (
            "10.0.0.1",
            &[(FORWARDED, "for=198.51.100.1")],
            "198.51.100.1",
        ),
        (
            "10.0.0.1",
            &[(
                FORWARDED,
                "proto=https;FOR=\"[2001:db8:cafe::17]:4711\";by=10.0.0.1",
            )],
            "2001:db8:cafe::17",
        ),
    ]);
}

#[test]
fn what_a_client_made_up_left_of_its_own_address_is_not_read() {
    check(&[
        (
            "10.0.0.1",
            &[(XFF, "127.0.0.1, 10.9.9.9, 198.51.100.1")],
            "198.51.100.1",
        ),
        (
            "10.0.0.1",
            &[(XFF, "127.0.0.1, 198.51.100.1, 10.0.0.3, 10.0.0.2")],
            "198.51.100.1",
        ),
        (
            "10.0.0.1",
            &[(XFF, "127.0.0.1"), (XFF, "198.51.100.1")],
            "198.51.100.1",
        ),
        (
            "10.0.0.1",
            &[(XFF, "198.51.100.1"), (XFF, "10.0.0.2")],
            "198.51.100.1",
        ),
        (
            "10.0.0.1",
            &[(
                FORWARDED,
                "for=127.0.0.1, for=198.51.100.1;by=10.0.0.2, for=10.0.0.2",
            )],
            "198.51.100.1",
        ),
        // Where everybody is trusted, the first one is the client.
        ("10.0.0.1", &[(XFF, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
    ]);
}

#[test]
fn what_is_no_address_ends_the_walk_at_the_hop_before() {
    for element in [
        "unknown",
        "_hidden",
        "",
        "nonsense",
        "1.2.3",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:x",
        "1.2.3.4:70000",
        "[::1",
        "::1]",
        "[1.2.3.4]",
        "fe80::1%eth0",
        "1.2.3.4/8",
        "\u{e4}",
        "1.2.3.4 5.6.7.8",
    ] {
        for (line, expected) in [
            (element.to_owned(), "10.0.0.1"),
            (format!("198.51.100.1, {element}, 10.0.0.2"), "10.0.0.2"),
            (format!("{element}, 198.51.100.1"), "198.51.100.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[(XFF, &line)]), expected, "{line:?}");
        }
    }
    for element in [
        "for=unknown",
        "for=_hidden",
        "for=\"_hidden:_port\"",
        "",
        "for",
        "for=",
        "for=\"\"",
        "by=1.2.3.4",
        "for=1.2.3.4;for=5.6.7.8",
        "for = 1.2.3.4",
        ";",
        "=1.2.3.4",
        "for=1.2.3.4;proto",
    ] {
        let line = format!("for=198.51.100.1, {element}, for=10.0.0.2");
        let client = client("10.0.0.1", &[(FORWARDED, &line)]);
        assert_eq!(client, "10.0.0.2", "{line:?}");
    }
}

/// A client may leave a quoted string open, for the proxy to add to. Then nothing of the line is believed.
#[test]
fn an_open_quote_takes_the_line_with_it() {
    for line in [
        "for=127.0.0.1;x=\", for=198.51.100.1",
        "for=127.0.0.1;x=\", for=\"[2001:db8::1]:80\"",
        "for=\"127.0.0.1, for=198.51.100.1",
        "for=127.0.0.1;x=\"\\\", for=198.51.100.1",
        "for=\"127.0.0.1\"x, for=198.51.100.1",
    ] {
        assert_eq!(
            client("10.0.0.1", &[(FORWARDED, line)]),
            "10.0.0.1",
            "{line}"
        );
        let lines = [(FORWARDED, line), (FORWARDED, "for=10.0.0.2")];
        assert_eq!(client("10.0.0.1", &lines), "10.0.0.2", "{line}");
    }
    let quoted = "for=127.0.0.1;x=\"a, for=\\\"b\", for=198.51.100.1";
    assert_eq!(client("10.0.0.1", &[(FORWARDED, quoted)]), "198.51.100.1");
}

#[test]
fn two_headers_are_believed_as_far_as_they_agree() {
    check(&[
        (
            "10.0.0.1",
            &[
                (FORWARDED, "for=198.51.100.1, for=10.0.0.2"),
                (XFF, "198.51.100.1, 10.0.0.2"),
            ],
            "198.51.100.1",
        ),
        // One is the client's invention: each is as good.
        (
            "10.0.0.1",
            &[(FORWARDED, "for=127.0.0.1"), (XFF, "198.51.100.1")],
            "10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[
                (FORWARDED, "for=127.0.0.1, for=10.0.0.2"),
                (XFF, "198.51.100.1, 10.0.0.2"),
            ],
            "10.0.0.2",
        ),
        (
            "10.0.0.1",
            &[(FORWARDED, "for=10.0.0.2"), (XFF, "127.0.0.1, 10.0.0.2")],
            "10.0.0.2",
        ),
        (
            "10.0.0.1",
            &[(FORWARDED, "nonsense"), (XFF, "127.0.0.1")],
            "10.0.0.1",
        ),
    ]);
}

#[test]
fn nobody_is_trusted_by_default() {
    let mut headers = HeaderMap::new();
    headers.insert(XFF, HeaderValue::from_static("198.51.100.1"));
    for text in ["", " , "] {
        let nobody: TrustedProxies = text.parse().unwrap();
        assert_eq!(nobody, TrustedProxies::default());
        let peer = "127.0.0.1".parse().unwrap();
        assert_eq!(nobody.client(peer, &headers), peer);
    }
}

#[test]
fn networks_are_read_and_what_is_none_is_named() {
    for (text, inside, outside) in [
        ("10.1.2.3/8", "10.255.0.1", "11.0.0.1"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
        ("::1", "::1", "::2"),
        ("::ffff:10.0.0.0/104", "10.0.0.1", "11.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ("0.0.0.0/0", "203.0.113.1", "::1"),
    ] {
        let trusted: TrustedProxies = text.parse().unwrap();
        assert!(trusted.trusts(inside.parse().unwrap()), "{text}");
        assert!(!trusted.trusts(outside.parse().unwrap()), "{text}");
    }
    for text in [
        "nowhere",
        "10.0.0.0/33",
        "10.0.0",
        "10.0.0.0/8 10.0.0.1",
        "*",
        "::/129",
    ] {
        let error = format!("1.2.3.4,{text}").parse::<TrustedProxies>();
        assert_eq!(error, Err(NotANetwork(text.into())), "{text}");
    }
}

proptest::proptest! {
    /// Whatever a client writes, a proxy that adds its address behind it is the only one that is believed.
    #[test]
    fn nothing_that_a_client_writes_makes_it_somebody_else(
        written in "([a-z0-9]{1,3}|for=|by=|127\\.0\\.0\\.1|10\\.0\\.0\\.2|[;,=\"\\\\ \\[\\]:_]){0,12}",
        lines in proptest::bool::ANY,
    ) {
        for (name, added) in [
            (XFF, "198.51.100.1"),
            (XFF, "[2001:db8::1]:80"),
            (FORWARDED, "for=198.51.100.1"),
            (FORWARDED, "by=10.0.0.1;for=\"[2001:db8::1]:80\";proto=https"),
        ] {
            let joined = format!("{written}, {added}");
            let headers: &[(&'static str, &str)] = match lines {
                true => &[(name, &written), (name, added)],
                false => &[(name, &joined)],
            };
            let client = client("10.0.0.1", headers);
            proptest::prop_assert!(
                ["198.51.100.1", "2001:db8::1", "10.0.0.1"].contains(&client.as_str()),
                "{headers:?}: {client}"
            );
        }
    }
}
