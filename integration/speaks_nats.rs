//! Events of NATS subjects: one instance writes each to Kafka, and the clients of all instances get it.

use async_nats::{Client, ConnectOptions, HeaderMap};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::certificates::Certificate;
use crate::support::gateway::{Gateway, Settings, event, eventually, keyed, query, unique, within};
use crate::support::http::PATIENCE;
use crate::support::kafka::Kafka;
use crate::support::longpoll::LongPoll;
use crate::support::nats::{NatsServer, ask, ask_with};
use crate::support::records::OwnKafka;
use crate::support::ws::Ws;

/// How many events are sent one after the other, each after the reply to the one before.
const ASKED: usize = 40;
/// How many events are sent at once.
const BURST: usize = 2000;

fn accepted() -> Option<Value> {
    Some(json!({ "status": "accepted" }))
}

fn wanted() -> Value {
    json!([{ "eventType": "t" }])
}

fn on(server: &NatsServer, kafka: &Kafka) -> Settings {
    server
        .on(Settings::new(kafka))
        .with("NATS_SOURCE_TOPICS", "orders.>,rig")
}

/// Waits until an instance takes what is published.
async fn takes(client: &Client) {
    let probe = event("probe", "p", json!(0)).to_string();
    eventually("messages are taken", async || {
        ask(client, "rig", probe.clone()).await == accepted()
    })
    .await;
}

async fn publish(client: &Client, subject: &str, event: &Value) {
    let payload = Bytes::from(event.to_string());
    let published = client.publish(subject.to_owned(), payload).await;
    published.expect("the client takes it");
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

pub async fn of_which_events_reach_clients_of_all_instances_once_and_in_order(kafka: &Kafka) {
    let server = NatsServer::start().await;
    let settings = on(&server, kafka);
    let one = Gateway::with(settings.clone()).await;
    let other = Gateway::with(settings).await;
    let mut sse = one.subscribe(wanted()).await;
    let mut ws = Ws::open(other.public(), &query(&wanted()), None).await;
    ws.subscribed().await;
    let mut poll = LongPoll::new(query(&wanted()));
    poll.poll(other.public()).await;
    let client = server.client().await;
    takes(&client).await;
    let expected = numbers(ASKED);
    for id in &expected {
        let event = keyed("k", id, json!(id)).to_string();
        assert_eq!(ask(&client, "orders.eu.new", event).await, accepted());
    }
    assert_eq!(sse.ids(expected.len()).await, expected);
    for id in &expected {
        assert_eq!(ws.event().await["id"], *id);
    }
    assert_eq!(poll.ids(other.public(), expected.len()).await, expected);
    let name = "sluicegate_nats_messages_total";
    let written = [&one, &other].map(|gateway| gateway.metric(name, "\"written\""));
    let written = futures_util::future::join_all(written).await;
    let total = written.iter().sum::<f64>();
    assert_eq!(total, ASKED as f64 + 1.0, "{written:?}");
    // Each of two members of a queue group gets its share.
    assert!(written.iter().all(|count| *count > 0.0), "{written:?}");
    one.stop().await;
    other.stop().await;
}

pub async fn and_shares_a_burst_among_the_instances(kafka: &Kafka) {
    let server = NatsServer::start().await;
    let settings = on(&server, kafka);
    let one = Gateway::with(settings.clone()).await;
    let mut stream = one.subscribe(wanted()).await;
    let client = server.client().await;
    takes(&client).await;
    let expected = numbers(BURST);
    for id in &expected {
        publish(&client, "orders.eu", &keyed("k", id, json!(0))).await;
    }
    assert_eq!(
        stream.ids(BURST).await,
        expected,
        "one instance keeps the order"
    );
    let other = Gateway::with(settings).await;
    let name = "sluicegate_nats_up";
    eventually("both are connected", async || {
        other.metric(name, "").await >= 1.0
    })
    .await;
    for id in &expected {
        publish(&client, "orders.eu", &keyed("k", id, json!(1))).await;
    }
    let mut ids = stream.ids(BURST).await;
    ids.sort_by_key(|id| id.parse::<usize>().unwrap());
    assert_eq!(ids, expected, "each once");
    one.stop().await;
    other.stop().await;
}

pub async fn and_tells_who_asks_what_became_of_each_message(kafka: &Kafka) {
    let server = NatsServer::start().await;
    let settings = on(&server, kafka).with("MAX_EVENT_BYTES", "4KiB");
    let gateway = Gateway::with(settings).await;
    let mut stream = gateway.subscribe(wanted()).await;
    let client = server.client().await;
    takes(&client).await;
    let reserved = event("rig.session_killed", "1", json!(0)).to_string();
    let large = event("t", "large", json!("x".repeat(5000))).to_string();
    for (payload, code) in [
        ("hello".to_owned(), "not_json"),
        (String::new(), "null_value"),
        ("{}".to_owned(), "not_a_cloudevent"),
        (
            r#"{"specversion":"9","type":"t","id":"1","source":"/"}"#.to_owned(),
            "unknown_version",
        ),
        (reserved, "reserved_type"),
        (large, "too_large"),
    ] {
        let answer = ask(&client, "orders.eu", payload).await.expect(code);
        assert_eq!(
            (&answer["status"], &answer["code"]),
            (&json!("error"), &json!(code))
        );
        let name = "sluicegate_nats_skipped_messages_total";
        assert!(gateway.metric(name, code).await >= 1.0, "{code}");
    }
    let mut headers = HeaderMap::new();
    headers.insert("Content-Type", "application/cloudevents-batch+json");
    let answer = ask_with(&client, "orders.eu", headers, "[]").await.unwrap();
    assert_eq!(answer["code"], "unsupported_format");
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-type", "t"),
        ("ce-id", "binary"),
        ("ce-source", "/a%20b"),
        ("ce-datacontenttype", "application/json"),
    ] {
        headers.insert(name, value);
    }
    assert_eq!(ask_with(&client, "rig", headers, "[1]").await, accepted());
    let got = stream.next().await;
    assert_eq!(
        (&got["id"], &got["source"], &got["data"]),
        (&json!("binary"), &json!("/a b"), &json!([1]))
    );
    gateway.stop().await;
}

pub async fn as_soon_as_it_is_there(kafka: &Kafka) {
    let mut server = NatsServer::stopped("");
    let gateway = Gateway::with(on(&server, kafka)).await;
    let mut stream = gateway.subscribe(wanted()).await;
    gateway.publish(&event("t", "without", json!(0))).await;
    assert_eq!(stream.ids(1).await, ["without"]);
    assert_eq!(gateway.metric("sluicegate_nats_up", "").await, 0.0);
    for id in ["first", "second"] {
        server.run().await;
        let client = server.client().await;
        takes(&client).await;
        let event = event("t", id, json!(0)).to_string();
        assert_eq!(ask(&client, "orders.eu", event).await, accepted());
        assert_eq!(stream.ids(1).await, [id]);
        eventually("it is seen", async || {
            gateway.metric("sluicegate_nats_up", "").await == 1.0
        })
        .await;
        server.kill();
        eventually("it is missed", async || {
            gateway.metric("sluicegate_nats_up", "").await == 0.0
        })
        .await;
    }
    gateway.stop().await;
}

pub async fn and_holds_its_messages_while_kafka_is_away(kafka: &Kafka) {
    let own = kafka.own_stopped().await;
    own.start().await;
    let server = NatsServer::start().await;
    let settings = on(&server, kafka)
        .with("KAFKA_BROKERS", own.brokers())
        .with("NATS_SOURCE_BUFFER_BYTES", "64KiB");
    let gateway = Gateway::with(settings).await;
    let mut stream = gateway.subscribe(wanted()).await;
    let client = server.client().await;
    takes(&client).await;
    own.kill().await;
    let held = numbers(20);
    for id in &held {
        publish(&client, "orders.eu", &keyed("k", id, json!(0))).await;
    }
    lost_over_the_bound(&gateway, &client).await;
    own.start().await;
    assert_eq!(stream.ids(held.len()).await, held);
    within(PATIENCE * 2, "events are taken again", async || {
        let event = keyed("k", "after", json!(0)).to_string();
        ask(&client, "orders.eu", event).await == accepted()
    })
    .await;
    gateway.stop().await;
    end(own).await;
}

/// Publishes until no more is held; says so to who asks.
async fn lost_over_the_bound(gateway: &Gateway, client: &Client) {
    let filler = keyed("k", "filler", json!("x".repeat(40_000))).to_string();
    let answer = ask(client, "orders.eu", filler)
        .await
        .expect("an answer at once");
    assert_eq!(answer["code"], "kafka_unavailable");
    let lost = gateway.metric("sluicegate_nats_messages_total", "\"lost\"");
    assert_eq!(lost.await, 1.0);
}

async fn end(own: OwnKafka) {
    own.kill().await;
}

pub async fn and_loses_nothing_that_was_taken_when_it_stops(kafka: &Kafka) {
    let server = NatsServer::start().await;
    let settings = on(&server, kafka);
    let gateway = Gateway::with(settings.clone()).await;
    let client = server.client().await;
    takes(&client).await;
    let asking = tokio::spawn(async move {
        let mut taken = Vec::new();
        for number in 0.. {
            let id = format!("e{number}");
            let event = keyed("k", &id, json!(0)).to_string();
            match ask(&client, "orders.eu", event).await {
                Some(answer) if answer["status"] == "accepted" => taken.push(id),
                _ if taken.len() > 10 => break,
                _ => {}
            }
        }
        taken
    });
    eventually("events are taken", async || {
        let name = "sluicegate_nats_messages_total";
        gateway.metric(name, "\"written\"").await > 20.0
    })
    .await;
    gateway.stop().await;
    let taken = asking.await.unwrap();
    let records = kafka.records(settings.topic()).await;
    for id in taken {
        let quoted = format!("\"{id}\"");
        let count = records
            .iter()
            .filter(|(_, value)| String::from_utf8_lossy(value).contains(&quoted))
            .count();
        assert_eq!(count, 1, "{id}");
    }
}

pub async fn over_tls_with_a_password(kafka: &Kafka) {
    let certificate = Certificate::new();
    let (chain, key) = (certificate.chain(), certificate.key());
    let mut server = NatsServer::stopped(&format!(
        "tls {{ cert_file: {chain:?}, key_file: {key:?} }}\nauthorization {{ user: gate, password: hush }}"
    ));
    server.run().await;
    let secured = |password: &str, authorities: &str| {
        Settings::new(kafka)
            .with("NATS_SERVERS", format!("tls://localhost:{}", server.port()))
            .with("NATS_TLS_CA_FILE", authorities)
            .with("NATS_USER", "gate")
            .with("NATS_PASSWORD", password)
            .with("NATSTOFILTER_QUEUE_GROUP", unique("group"))
    };
    let authorities = chain.to_str().unwrap();
    let refused = Gateway::with(secured("wrong", authorities)).await;
    let distrustful = Gateway::with(secured("hush", "")).await;
    let gateway = Gateway::with(secured("hush", authorities)).await;
    let mut stream = gateway.subscribe(wanted()).await;
    let options = ConnectOptions::new()
        .add_root_certificates(chain.clone())
        .user_and_password("gate".to_owned(), "hush".to_owned())
        .tls_client_config(certificate.client());
    let client = options
        .connect(format!("tls://localhost:{}", server.port()))
        .await
        .expect("connects");
    takes(&client).await;
    let event = event("t", "1", json!(0)).to_string();
    assert_eq!(ask(&client, "rig", event).await, accepted());
    assert_eq!(stream.ids(1).await, ["1"]);
    for kept_out in [refused, distrustful] {
        assert_eq!(kept_out.metric("sluicegate_nats_up", "").await, 0.0);
        kept_out.stop().await;
    }
    gateway.stop().await;
}

pub async fn with_a_token_or_a_key(kafka: &Kafka) {
    // The pair that the documentation of NATS has as an example.
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    let public = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    for (configuration, setting, value) in [
        (
            "authorization { token: hush }".to_owned(),
            "NATS_TOKEN",
            "hush",
        ),
        (
            format!("authorization {{ users: [ {{ nkey: {public} }} ] }}"),
            "NATS_NKEY",
            seed,
        ),
    ] {
        let mut server = NatsServer::stopped(&configuration);
        server.run().await;
        let gateway = Gateway::with(on(&server, kafka).with(setting, value)).await;
        eventually("it is let in", async || {
            gateway.metric("sluicegate_nats_up", "").await == 1.0
        })
        .await;
        gateway.stop().await;
    }
}
