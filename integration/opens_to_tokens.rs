//! The doors of an instance open to a token at each place where one may stand, and at no other.

use serde_json::json;

use crate::support::doors::{COOKIE, Caller, Door, PAGE, Shown, assert_shut};
use crate::support::gateway::{Gateway, Settings};
use crate::support::kafka::Kafka;
use crate::support::program::{on_free_ports, run};
use crate::support::tokens::{in_seconds, signed, token};

const NEEDED: &str = "token_required";

/// Clients of both versions of HTTP.
async fn callers(gateway: &Gateway) -> [Caller; 2] {
    let address = gateway.public();
    [
        Caller::new(address).await,
        Caller::over_http2(address).await,
    ]
}

pub async fn at_each_place_of_every_transport(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::guarded(kafka)).await;
    let alice = token("alice", "a1");
    let again = token("alice", "a2");
    let bad = format!("{alice}x");
    for caller in callers(&gateway).await {
        let version = caller.http2.as_ref().map_or(1, |_| 2);
        for door in Door::ALL {
            let what = |place: &str| format!("{place} at {door:?} over HTTP/{version}");
            let (nothing, needed) = (Shown::nothing(), what("nothing"));
            assert_shut(&caller.knock(door, &nothing).await, 401, NEEDED, &needed);
            let two = format!("Bearer {alice}, bearer {again}");
            let mut places = vec![
                ("a header", Shown::bearer(&alice)),
                ("two in a header", Shown::header("authorization", two)),
                (
                    "two headers",
                    Shown::bearer(&alice).and(Shown::bearer(&again)),
                ),
                (
                    "a scheme in lower case",
                    Shown::header("authorization", format!("bearer {alice}")),
                ),
                (
                    "a scheme in capitals",
                    Shown::header("authorization", format!("BEARER  {alice}")),
                ),
                ("the query", Shown::query("jwt", &alice)),
                ("a program's cookie", Shown::cookie(&alice)),
                (
                    "a page's cookie",
                    Shown::cookie(&alice).and_header("origin", PAGE),
                ),
            ];
            if door == Door::WebSocket {
                places.push(("a sub-protocol", Shown::sub_protocol(&alice)));
            }
            if door != Door::Ticket {
                let ticket = caller.ticket(&alice).await;
                places.push(("a ticket", Shown::query("ticket", &ticket)));
            }
            for (place, shown) in places {
                let answer = caller.knock(door, &shown).await;
                let is_open = door.is_opened_by(&answer);
                assert!(is_open, "{}: {answer:?}", what(place));
            }
            for (place, shown) in [
                ("a bad one in a header", Shown::bearer(&bad)),
                (
                    "a bad one beside a good one",
                    Shown::header("authorization", format!("Bearer {alice}, Bearer {bad}")),
                ),
                ("a scheme alone", Shown::header("authorization", "Bearer")),
                (
                    "five in a header",
                    Shown::header(
                        "authorization",
                        vec![format!("Bearer {alice}"); 5].join(","),
                    ),
                ),
                ("a bad one in the query", Shown::query("jwt", &bad)),
                ("a bad one in the cookie", Shown::cookie(&bad)),
                (
                    "a bad one before a good cookie",
                    Shown::bearer(&bad).and(Shown::cookie(&alice)),
                ),
            ] {
                let answer = caller.knock(door, &shown).await;
                assert_shut(&answer, 401, "invalid_token", &what(place));
            }
            for (place, shown) in [
                (
                    "another scheme",
                    Shown::header("authorization", "Basic YTpi"),
                ),
                ("an empty parameter", Shown::query("jwt", "")),
                ("an empty ticket", Shown::query("ticket", "")),
                ("an empty cookie", Shown::cookie("")),
                (
                    "another cookie",
                    Shown::header("cookie", format!("x{COOKIE}={alice}")),
                ),
                (
                    "a parameter of another name",
                    Shown::query("access_token", &alice),
                ),
            ] {
                let answer = caller.knock(door, &shown).await;
                assert_shut(&answer, 401, NEEDED, &what(place));
            }
        }
    }
    gateway.stop().await;
}

pub async fn but_not_at_two_places_at_once(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::guarded(kafka)).await;
    let alice = token("alice", "a1");
    for caller in callers(&gateway).await {
        let ticket = caller.ticket(&alice).await;
        let places = [
            Shown::bearer(&alice),
            Shown::query("jwt", &alice),
            Shown::query("ticket", &ticket),
            Shown::sub_protocol(&alice),
        ];
        for door in Door::ALL {
            for (number, one) in places.iter().enumerate() {
                for other in &places[number + 1..] {
                    let shown = one.clone().and(other.clone());
                    let what = format!("{shown:?} at {door:?}");
                    let answer = caller.knock(door, &shown).await;
                    assert_shut(&answer, 400, "invalid_request", &what);
                }
            }
        }
        let answer = caller.knock(Door::Sse, &places[2]).await;
        assert_eq!(answer.status, 200, "no refusal has used up the ticket");
    }
    gateway.stop().await;
}

pub async fn in_a_cookie_of_listed_pages_alone(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::guarded(kafka)).await;
    let alice = token("alice", "a1");
    let cookie = || Shown::cookie(&alice);
    let sent_by = |origin: &str| cookie().and_header("origin", origin);
    let on_site = |site: &str| cookie().and_header("sec-fetch-site", site);
    for caller in callers(&gateway).await {
        for door in Door::ALL {
            for (page, shown) in [
                ("a listed page", sent_by(PAGE)),
                (
                    "a listed page of another site",
                    sent_by(PAGE).and_header("sec-fetch-site", "cross-site"),
                ),
                ("a page of our own", on_site("same-origin")),
                ("somebody who types the address", on_site("none")),
                ("a program", cookie()),
            ] {
                let answer = caller.knock(door, &shown).await;
                assert!(door.is_opened_by(&answer), "{page} at {door:?}: {answer:?}");
            }
            for origin in [
                "https://evil.example",
                "null",
                "https://app.example.evil.example",
                "https://evil-app.example",
                "https://sub.app.example",
                "http://app.example",
                "https://app.example:8443",
                "https://app.example.",
                "https://APP.example",
                "https://app.example/",
                "",
            ] {
                let answer = caller.knock(door, &sent_by(origin)).await;
                let what = format!("a cookie from {origin:?} at {door:?}");
                match door {
                    Door::WebSocket => assert_shut(&answer, 403, "foreign_origin", &what),
                    _ => assert_shut(&answer, 401, NEEDED, &what),
                }
                let allowed = answer.header("access-control-allow-origin");
                assert_eq!(allowed, None, "{what}: nor may it read why");
            }
            for (page, shown) in [
                ("a foreign page that hides itself", on_site("cross-site")),
                ("a page of a sibling", on_site("same-site")),
                ("a made-up site", on_site("whatever")),
                (
                    "a page of two sites",
                    on_site("none").and_header("sec-fetch-site", "cross-site"),
                ),
            ] {
                let answer = caller.knock(door, &shown).await;
                assert_shut(&answer, 401, NEEDED, &format!("{page} at {door:?}"));
            }
            let two = sent_by(PAGE).and_header("origin", "https://evil.example");
            let answer = caller.knock(door, &two).await;
            assert!([400, 401, 403].contains(&answer.status), "{answer:?}");
        }
    }
    gateway.stop().await;
    let settings = on_free_ports(Settings::empty())
        .with("JWT_SECRET_KEY", "0123456789abcdef0123456789abcdef")
        .with("JWT_COOKIE", COOKIE)
        .with("CORS", "*");
    let output = run(&settings, &[], std::time::Duration::from_secs(10)).await;
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert!(
        line.contains("JWT_COOKIE") && line.contains("CORS"),
        "{line}"
    );
}

pub async fn among_sub_protocols_which_are_not_said_again(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::guarded(kafka)).await;
    let alice = token("alice", "a1");
    let bad = signed(&json!({ "sub": "alice", "exp": in_seconds(-10) }));
    let offer = |offered: String| Shown::header("sec-websocket-protocol", offered);
    for caller in callers(&gateway).await {
        for shown in [
            offer(format!("bearer.{alice}, cloudevents.json")),
            offer(format!("cloudevents.json,bearer.{alice}")),
            offer(format!("other, bearer.{alice}, cloudevents.json")),
            offer("cloudevents.json".to_owned()).and(offer(format!("bearer.{alice}"))),
        ] {
            let answer = caller.knock(Door::WebSocket, &shown).await;
            assert!(Door::WebSocket.is_opened_by(&answer), "{answer:?}");
            let chosen: Vec<&str> = answer.all("sec-websocket-protocol").collect();
            assert_eq!(chosen, ["cloudevents.json"], "{shown:?}");
            assert!(!format!("{answer:?}").contains(&alice));
        }
        let answers = [
            (
                offer(format!("bearer.{alice}")),
                400,
                "invalid_handshake",
                "a browser fails where none of its sub-protocols is chosen",
            ),
            (
                offer(format!("bearer.{bad}, cloudevents.json")),
                401,
                "invalid_token",
                "an expired one",
            ),
            (
                offer("bearer., cloudevents.json".to_owned()),
                401,
                NEEDED,
                "an empty one",
            ),
            (
                offer(format!("BEARER.{alice}, cloudevents.json")),
                401,
                NEEDED,
                "sub-protocols have one spelling",
            ),
        ];
        for (shown, status, code, what) in answers {
            let answer = caller.knock(Door::WebSocket, &shown).await;
            assert_shut(&answer, status, code, what);
            assert_eq!(answer.header("sec-websocket-protocol"), None, "{what}");
        }
    }
    gateway.stop().await;
}
