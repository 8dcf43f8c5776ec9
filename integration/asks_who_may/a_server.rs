//! A server that is asked who may.

use std::net::SocketAddr;
use std::time::Duration;

use ::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Mode, checked, wanted, with_token};
use crate::support::clients::{Client, Over};
use crate::support::gateway::{Gateway, Settings, event, eventually, query};
use crate::support::http;
use crate::support::judge::{Judge, Verdict};
use crate::support::kafka::Kafka;
use crate::support::tokens::token;

/// Asserts that a server was asked as RIG asks.
fn assert_asked(judge: &Judge, what: &str, body: &str, authorization: Option<&str>) {
    let asked = judge.question();
    assert_eq!(asked.method, Method::POST, "{what}");
    assert_eq!(asked.path, "/may?they=1", "{what}");
    assert_eq!(asked.text(), body, "{what}");
    assert_eq!(
        asked.header("content-type"),
        Some("application/json"),
        "{what}"
    );
    assert_eq!(asked.header("authorization"), authorization, "{what}");
}

pub async fn as_rig_asks_it(kafka: &Kafka) {
    let judge = Judge::start().await;
    let settings = checked(kafka, judge.url(), "no_check").with("CHECK_CACHE_TTL", "0s");
    let one = Gateway::with(settings.clone()).await;
    let other = Gateway::with(settings).await;
    let alice = token("alice", "a1");
    let bearer = format!("Bearer {alice}");
    // As it came, byte for byte.
    let list = r#"[ {"event_type":"t", "oneOf":[]} ]"#;
    let body = format!("{{\"subscriptions\":{list}}}");
    for over in Over::ALL {
        let address = format!("subscriptions={}", http::encode(list));
        let what = format!("{over:?}");
        Client::open(over, one.public(), &address).await;
        assert_asked(&judge, &what, &body, None);
        Client::open(over, one.public(), &format!("{address}&jwt={alice}")).await;
        assert_asked(&judge, &what, &body, Some(&bearer));

        let mut client = Client::open(over, one.public(), &format!("jwt={alice}")).await;
        assert!(judge.asked().is_empty(), "{what}: nothing was asked for");
        for gateway in [&one, &other] {
            for (token, bearer) in [(None, None), (Some(&*alice), Some(&*bearer))] {
                let put = client.put(gateway.public(), &wanted(), token).await;
                assert_eq!(put.status, 204, "{what}: {}", put.text());
                let body = json!({ "subscriptions": wanted() }).to_string();
                assert_asked(&judge, &what, &body, bearer);
                client.announced().await;
            }
        }
        if over.name() == "ws" {
            client.say("rig.subscriptions_set", &wanted()).await;
            client.announced().await;
            let body = json!({ "subscriptions": wanted() }).to_string();
            assert_asked(&judge, &what, &body, Some(&bearer));
        }
    }
    one.stop().await;
    other.stop().await;
}

pub async fn whose_status_decides(kafka: &Kafka) {
    let (judge, lenient) = (Judge::start().await, Judge::start().await);
    let settings = checked(kafka, judge.url(), judge.url())
        .with("CHECK_CACHE_TTL", "0s")
        .with("CHECK_TIMEOUT", "300ms");
    let gateway = Gateway::with(settings).await;
    let public = gateway.public();
    let mut clients = Vec::new();
    for over in Over::ALL {
        clients.push(Client::open(over, public, "").await);
    }
    let slowly = Verdict::Slowly(Duration::from_secs(2));
    let to_another = |status| Verdict::Redirect(status, lenient.url().to_owned());
    for (verdict, allows) in [
        (Verdict::Status(200), true),
        (Verdict::Status(204), true),
        (Verdict::Status(299), true),
        (Verdict::Status(400), false),
        (Verdict::Status(401), false),
        (Verdict::Status(403), false),
        (Verdict::Status(404), false),
        (Verdict::Status(500), false),
        (Verdict::Status(503), false),
        (to_another(302), false),
        (to_another(307), false),
        (slowly, false),
    ] {
        judge.say(verdict.clone());
        let what = format!("{verdict:?}");
        Box::pin(assert_decided(public, &mut clients, allows, &what)).await;
        assert!(!judge.asked().is_empty(), "{verdict:?}");
    }
    assert!(lenient.asked().is_empty(), "a redirect was followed");
    // Nobody listens there any more.
    drop(judge);
    Box::pin(assert_decided(public, &mut clients, false, "no server")).await;
    gateway.stop().await;
}

/// Asserts that everything that asks is allowed, or nothing.
async fn assert_decided(public: SocketAddr, clients: &mut [Client], allows: bool, what: &str) {
    let query = query(&wanted());
    let opened = Over::ALL.map(|over| Client::try_open(over, public, &query, &[]));
    let opened = async {
        for (over, opened) in Over::ALL.into_iter().zip(join_all(opened).await) {
            let status = opened.map_or_else(|answer| answer.status, |_| 200);
            assert_eq!(status, if allows { 200 } else { 403 }, "{over:?} {what}");
        }
    };
    let changed = join_all(clients.iter_mut().map(|client| async move {
        let put = client.put(public, &wanted(), None).await;
        if allows {
            assert_eq!(put.status, 204, "{:?} {what}", client.over);
            client.announced().await;
        } else {
            put.problem(403);
            assert_eq!(put.json()["code"], "subscription_denied");
        }
        if client.over.name() == "ws" {
            client.say("rig.subscriptions_set", &wanted()).await;
            let told = client.event().await;
            let expected = if allows { "set" } else { "refused" };
            assert_eq!(
                told["type"],
                format!("rig.subscriptions_{expected}"),
                "{what}"
            );
        }
    }));
    let submitted = async {
        for mode in Mode::ALL {
            let answer = mode.submit(public, &[event("u", "1", json!(1))], "").await;
            if allows {
                assert_eq!(answer.status, 202, "{mode:?} {what}: {}", answer.text());
            } else {
                answer.problem(403);
                assert_eq!(answer.json()["code"], "submission_denied");
            }
        }
    };
    tokio::join!(opened, changed, submitted);
}

pub async fn once_for_questions_that_are_equal(kafka: &Kafka) {
    let judge = Judge::start().await;
    let settings = checked(kafka, judge.url(), "no_check").with("CHECK_CACHE_TTL", "2s");
    let gateway = Gateway::with(settings).await;
    let open = async |query: String| {
        let answer = Client::try_open(Over::Sse, gateway.public(), &query, &[]).await;
        answer.map_or_else(|answer| answer.status, |_| 200)
    };
    let alice = with_token(&wanted(), &token("alice", "a1"));
    let bob = with_token(&wanted(), &token("bob", "b1"));
    let twenty = async |query: &str| {
        let all = join_all((0..20).map(|_| open(query.to_owned()))).await;
        assert!(all.iter().all(|status| *status == all[0]), "{all:?}");
        all[0]
    };
    judge.say(Verdict::Slowly(Duration::from_millis(200)));
    assert_eq!(twenty(&alice).await, 200);
    assert_eq!(judge.asked().len(), 1, "for 20 at once");
    judge.say(Verdict::Status(403));
    assert_eq!(open(alice.clone()).await, 200, "the answer still counts");
    assert!(judge.asked().is_empty());
    // Another asker, and another list, are other questions.
    assert_eq!(twenty(&bob).await, 403);
    assert_eq!(judge.asked().len(), 1);
    let more = with_token(&json!([{ "eventType": "u" }]), &token("alice", "a1"));
    assert_eq!(open(more).await, 403);
    assert_eq!(judge.asked().len(), 1);
    assert_eq!(open(query(&wanted())).await, 403, "without a token");
    assert_eq!(judge.asked().len(), 1);
    eventually("the answer is forgotten", async || {
        open(alice.clone()).await == 403
    })
    .await;
    assert_eq!(judge.asked().len(), 1);
    // What is no answer is not kept.
    let carol = with_token(&wanted(), &token("carol", "c1"));
    for verdict in [Verdict::Status(500), Verdict::Status(302)] {
        judge.say(verdict);
        assert_eq!(open(carol.clone()).await, 403);
        assert_eq!(judge.asked().len(), 1);
    }
    judge.say(Verdict::Status(200));
    assert_eq!(open(carol.clone()).await, 200);
    gateway.stop().await;
}

pub async fn with_the_token_wherever_it_stood(kafka: &Kafka) {
    let judge = Judge::start().await;
    let settings = checked(kafka, judge.url(), judge.url())
        .with("CHECK_CACHE_TTL", "0s")
        .with("CORS", "https://app.example")
        .with("JWT_COOKIE", "session");
    let gateway = Gateway::with(settings).await;
    let alice = token("alice", "a1");
    let bearer = format!("Bearer {alice}");
    let authorization = ("authorization", bearer.as_str());
    let target = "/_rig/v1/tickets";
    let public = gateway.public();
    let cookie = format!("session={alice}");
    let page = [("origin", "https://app.example"), ("cookie", &*cookie)];
    let body = json!({ "subscriptions": wanted() }).to_string();
    for over in Over::ALL {
        let answer = http::request(public, "POST", target, &[authorization], b"").await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert!(judge.asked().is_empty(), "a ticket asks nobody");
        let ticket = answer.json()["ticket"].as_str().unwrap().to_owned();
        let plain = query(&wanted());
        let offered = format!("bearer.{alice}, cloudevents.json");
        let mut ways = vec![
            (
                "ticket",
                format!("{plain}&ticket={}", http::encode(&ticket)),
                vec![],
            ),
            ("query", format!("{plain}&jwt={alice}"), vec![]),
            ("header", plain.clone(), vec![authorization]),
            ("cookie", plain.clone(), page.to_vec()),
        ];
        if over.name() == "ws" {
            let offered = vec![("sec-websocket-protocol", offered.as_str())];
            ways.push(("sub-protocol", plain.clone(), offered));
        }
        for (place, query, headers) in ways {
            let what = format!("{over:?} {place}");
            let opened = Client::try_open(over, public, &query, &headers).await;
            let mut client = opened.unwrap_or_else(|answer| panic!("{what}: {answer:?}"));
            assert_asked(&judge, &what, &body, Some(&bearer));
            // The connection goes on with it.
            if over.name() == "ws" {
                client.say("rig.subscriptions_set", &wanted()).await;
                client.announced().await;
                assert_asked(&judge, &what, &body, Some(&bearer));
            }
        }
    }
    gateway.stop().await;
}

/// Without keys nobody here knows what a token says; a client keeps it for the server that does.
pub async fn with_tokens_that_only_it_understands(kafka: &Kafka) {
    let judge = Judge::start().await;
    let settings = Settings::new(kafka)
        .with("SUBSCRIPTION_CHECK", judge.url())
        .with("CHECK_CACHE_TTL", "0s");
    let one = Gateway::with(settings.clone()).await;
    let other = Gateway::with(settings).await;
    let opaque = "opaque-token-of-somebody";
    let bearer = format!("Bearer {opaque}");
    let body = json!({ "subscriptions": wanted() }).to_string();
    for over in Over::ALL {
        let what = format!("{over:?}");
        let mut client = Client::open(over, one.public(), &format!("jwt={opaque}")).await;
        if over.name() == "ws" {
            client.say("rig.subscriptions_set", &wanted()).await;
            client.announced().await;
            assert_asked(&judge, &what, &body, Some(&bearer));
        }
        for gateway in [&one, &other] {
            let put = client.put(gateway.public(), &wanted(), Some(opaque)).await;
            assert_eq!(put.status, 204, "{what}: {}", put.text());
            client.announced().await;
            assert_asked(&judge, &what, &body, Some(&bearer));
        }
        one.publish(&event("t", &what, json!(1))).await;
        assert_eq!(client.ids_up_to(&what).await, [what.as_str()], "{what}");
    }
    one.stop().await;
    other.stop().await;
}

pub async fn about_each_submission(kafka: &Kafka) {
    let judge = Judge::start().await;
    let gateway = Gateway::with(checked(kafka, "no_check", judge.url())).await;
    let mut client = Client::open(Over::Sse, gateway.public(), &query(&wanted())).await;
    let bearer = format!("Bearer {}", token("alice", "a1"));
    let events = [
        event("t", "1", json!({ "a": 1 })),
        event("t", "2", json!(2)),
    ];
    for (mode, content_type, body) in [
        (
            Mode::Structured,
            "application/cloudevents+json",
            events[0].to_string(),
        ),
        (
            Mode::Binary,
            "application/json",
            events[0]["data"].to_string(),
        ),
        (
            Mode::Batch,
            "application/cloudevents-batch+json",
            Value::from(&events[..]).to_string(),
        ),
    ] {
        judge.say(Verdict::Status(403));
        let denied = mode.submit(gateway.public(), &events, &bearer).await;
        denied.problem(403);
        judge.say(Verdict::Status(200));
        let taken = mode.submit(gateway.public(), &events, &bearer).await;
        assert_eq!(taken.status, 202, "{mode:?}: {}", taken.text());
        let asked = judge.asked();
        assert_eq!(asked.len(), 2, "{mode:?}: each is asked about");
        for asked in asked {
            assert_eq!(
                (&asked.method, &*asked.path),
                (&Method::POST, "/may?they=1")
            );
            assert_eq!(asked.text(), body, "{mode:?}");
            assert_eq!(asked.header("content-type"), Some(content_type));
            assert_eq!(asked.header("authorization"), Some(&*bearer));
            let is_binary = matches!(mode, Mode::Binary);
            assert_eq!(asked.header("ce-id"), is_binary.then_some("1"), "{mode:?}");
            assert_eq!(
                asked.header("ce-type"),
                is_binary.then_some("t"),
                "{mode:?}"
            );
        }
        let ids = client
            .ids_up_to(if matches!(mode, Mode::Batch) {
                "2"
            } else {
                "1"
            })
            .await;
        // In a batch the two may go to two partitions.
        assert!(
            ids.len() <= 2,
            "{mode:?}: what was denied is not written: {ids:?}"
        );
    }
    gateway.stop().await;
}
