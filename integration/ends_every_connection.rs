//! An operator ends a session: all of its connections close, everywhere, whatever they are doing.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::certificates::Certificate;
use crate::support::gateway::{Gateway, Settings, event, eventually, unique, within};
use crate::support::h2::Http2;
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::longpoll::LongPoll;
use crate::support::program::{Process, on_free_ports, settings};
use crate::support::sessions::{asking, end, says_killed, status};
use crate::support::sse::Sse;
use crate::support::tokens::token;
use crate::support::ways::{Client, Way};
use crate::support::ws::Ws;

/// A second is promised; the other tests keep this machine busy.
const SOON: Duration = Duration::from_secs(5);

pub async fn at_every_instance_and_at_one_that_starts_later(kafka: &Kafka) {
    let settings = Settings::new(kafka).with_tokens();
    let start = || Gateway::with(settings.clone());
    let (one, two, three) = tokio::join!(start(), start(), start());
    let all = [&one, &two, &three];
    let (alice, bob) = (token("alice", "a1"), token("bob", "b1"));
    let mut streams = Vec::new();
    for gateway in all {
        let mut stream = Sse::open(gateway.public(), &asking(&alice), &[]).await;
        stream.subscribed().await;
        streams.push(stream);
    }
    let mut spared = Sse::open(three.public(), &asking(&bob), &[]).await;
    spared.subscribed().await;
    assert_eq!(end(one.internal(), "a1").await, 201);
    let closed = join_all(streams.iter_mut().map(Sse::is_killed));
    tokio::time::timeout(SOON, closed).await.expect("soon");
    for gateway in all {
        within(SOON, "it is refused", async || {
            status(gateway.public(), &alice).await == 401
        })
        .await;
    }
    let late = Gateway::unready(settings.clone()).await;
    let trying = (0..8).map(async |_| {
        // Whoever is let in by an instance that starts is let in knowingly.
        let socket = loop {
            match TcpStream::connect(late.public()).await {
                Ok(socket) => break socket,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        let refused = Sse::try_over(socket, &asking(&alice), &[]).await;
        refused.expect_err("refused from the first moment").status
    });
    assert_eq!(join_all(trying).await, [401; 8]);
    late.ready().await;
    assert_eq!(status(late.public(), &bob).await, 200);
    late.publish(&event("t", "1", json!(1))).await;
    assert_eq!(spared.ids(1).await, ["1"]);
    for gateway in [one, two, three, late] {
        gateway.stop().await;
    }
}

/// An instance that stood still while the session was ended closes its connections when it goes on.
pub async fn at_an_instance_that_was_frozen_meanwhile(kafka: &Kafka) {
    let common = settings(kafka).with_tokens();
    let frozen = Process::start(&common).await;
    let another = on_free_ports(common.clone()).with("INSTANCE_ID", unique("process"));
    let awake = Process::start(&another).await;
    let (alice, bob) = (token("alice", "a1"), token("bob", "b1"));
    let mut stream = Sse::open(frozen.public, &asking(&alice), &[]).await;
    let mut socket = Ws::open(frozen.public, &asking(&alice), None).await;
    let mut spared = Sse::open(frozen.public, &asking(&bob), &[]).await;
    stream.subscribed().await;
    socket.subscribed().await;
    spared.subscribed().await;
    frozen.freeze();
    assert_eq!(end(awake.internal, "a1").await, 201);
    tokio::time::sleep(Duration::from_secs(2)).await;
    frozen.thaw();
    let closed = async { tokio::join!(stream.is_killed(), socket.is_killed()) };
    tokio::time::timeout(SOON, closed).await.expect("soon");
    assert_eq!(status(frozen.public, &alice).await, 401);
    awake.publish(&event("t", "1", json!(1))).await;
    assert_eq!(spared.ids(1).await, ["1"]);
}

/// While Kafka is away nobody can be ended, and that is said. An instance that starts then knows nobody
/// who was ended before: it lets them wait, gives them nothing, and closes them when it knows.
pub async fn once_kafka_is_back(kafka: &Kafka) {
    let own = kafka.own_stopped().await;
    own.start().await;
    let settings = Settings::new(kafka)
        .with("KAFKA_BROKERS", own.brokers())
        .with("PRODUCE_TIMEOUT", "1s")
        .with_tokens();
    let running = Gateway::with(settings.clone()).await;
    let (alice, bob) = (token("alice", "a1"), token("bob", "b1"));
    let mut bobs = Sse::open(running.public(), &asking(&bob), &[]).await;
    bobs.subscribed().await;
    assert_eq!(end(running.internal(), "a1").await, 201);
    running.publish(&event("t", "1", json!(1))).await;
    assert_eq!(bobs.ids(1).await, ["1"]);
    own.kill().await;
    assert_eq!(status(running.public(), &alice).await, 401);
    assert_eq!(end(running.internal(), "b1").await, 503);
    let late = Gateway::unready(settings).await;
    eventually("the public port is open", async || {
        TcpStream::connect(late.public()).await.is_ok()
    })
    .await;
    let mut waiting = Sse::open(late.public(), &asking(&alice), &[]).await;
    let mut socket = Ws::open(late.public(), &asking(&alice), None).await;
    own.start().await;
    // A stream that has not begun says nothing, not even that.
    let types = waiting.rest().await;
    let last = types.last().map(String::as_str);
    assert!(
        last.is_none_or(|last| last == "rig.session_killed"),
        "{types:?}"
    );
    assert!(types.iter().all(|one| one != "t"), "{types:?}");
    assert_eq!(socket.last_words().await, 4001);
    assert_eq!(status(late.public(), &alice).await, 401);
    eventually("kafka takes it", async || {
        end(late.internal(), "b1").await == 201
    })
    .await;
    let types = bobs.rest().await;
    let last = types.last().map(String::as_str);
    assert_eq!(last, Some("rig.session_killed"), "{types:?}");
    running.stop().await;
    late.stop().await;
    own.kill().await;
}

pub async fn over_tls_and_http2_too(kafka: &Kafka) {
    let certificate = Certificate::new();
    let settings = Settings::new(kafka).with_tokens();
    let gateway = Gateway::with(certificate.on(settings)).await;
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        let (alice, bob) = (
            token("alice", &format!("a-{way:?}")),
            token("bob", &format!("b-{way:?}")),
        );
        let mut socket = client.ws_asking(&asking(&alice)).await;
        let [mut stream, mut spared] = if way.is_http2() {
            // Streams of one connection, of which one is ended.
            let shared = Http2::over(client.connect().await).await;
            [
                shared.sse(&asking(&alice), &[]).await.unwrap(),
                shared.sse(&asking(&bob), &[]).await.unwrap(),
            ]
        } else {
            let open = async |token: &str| {
                let link = client.connect().await;
                Sse::try_over(link, &asking(token), &[]).await.unwrap()
            };
            [open(&alice).await, open(&bob).await]
        };
        stream.subscribed().await;
        spared.subscribed().await;
        socket.subscribed().await;
        let session = format!("a-{way:?}");
        assert_eq!(end(gateway.internal(), &session).await, 201);
        let closed = async { tokio::join!(stream.is_killed(), socket.is_killed()) };
        let closed = tokio::time::timeout(SOON, closed).await;
        closed.unwrap_or_else(|_| panic!("not closed: {way:?}"));
        client.publish(&event("t", "1", json!(1))).await;
        assert_eq!(spared.ids(1).await, ["1"], "{way:?}");
        // It would get the events of the ways to come.
        drop(spared);
    }
    eventually("all are forgotten", async || {
        gateway.metric("sluicegate_connections", "").await < 0.5
    })
    .await;
    gateway.stop().await;
}

/// What waits for a client that does not read is dropped with its session, and holds nobody up.
pub async fn of_a_client_that_does_not_read(kafka: &Kafka) {
    const EVENTS: usize = 600;
    let settings = Settings::new(kafka).with_tokens().with("SHARDS", "1");
    let gateway = Gateway::with(settings).await;
    let topic = gateway.settings.topic().to_owned();
    let (alice, bob) = (token("alice", "a1"), token("bob", "b1"));
    let mut stalled = Sse::open_narrow(gateway.public(), &asking(&alice)).await;
    let mut reading = Sse::open(gateway.public(), &asking(&bob), &[]).await;
    reading.subscribed().await;
    let text = "x".repeat(10_000);
    let ids: Vec<String> = (0..EVENTS).map(|id| id.to_string()).collect();
    let events: Vec<_> = ids.iter().map(|id| event("t", id, json!(text))).collect();
    kafka.produce_all(&topic, 0, &events).await;
    assert_eq!(reading.ids(EVENTS).await, ids);
    eventually("who stalls has fallen behind", async || {
        let behind = "sluicegate_connections_behind_total";
        gateway.metric(behind, "sse").await >= 1.0
    })
    .await;
    assert_eq!(end(gateway.internal(), "a1").await, 201);
    within(SOON, "it is refused", async || {
        status(gateway.public(), &alice).await == 401
    })
    .await;
    gateway.publish(&event("t", "after", json!(1))).await;
    assert_eq!(reading.ids(1).await, ["after"]);
    let mut got = Vec::new();
    let mut last = None;
    while let Some(block) = stalled.block().await {
        if block.event.as_deref() == Some("t") {
            got.push(block.json()["id"].as_str().unwrap().to_owned());
        }
        last = block.event.or(last);
    }
    assert!(got.len() < EVENTS && ids.starts_with(&got), "{got:?}");
    assert_eq!(last.as_deref(), Some("rig.session_killed"));
    gateway.stop().await;
}

/// A session with 200 connections at two instances, over all transports, is closed whole.
pub async fn of_two_hundred(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with_tokens()
        .with("LONGPOLL_TIMEOUT", "60s");
    let (one, two) = tokio::join!(Gateway::with(settings.clone()), Gateway::with(settings));
    let asking = asking(&token("alice", "a1"));
    let address = |number: usize| [one.public(), two.public()][number % 2];
    let streams = join_all((0..90).map(async |number| {
        let mut stream = Sse::open(address(number), &asking, &[]).await;
        stream.subscribed().await;
        stream
    }));
    let sockets = join_all((0..80).map(async |number| {
        let mut socket = Ws::open(address(number), &asking, None).await;
        socket.subscribed().await;
        socket
    }));
    let polls = join_all((0..30).map(async |number| {
        let mut poll = LongPoll::new(asking.clone());
        poll.poll(address(number)).await;
        poll.events(address(number)).await;
        poll
    }));
    let (mut streams, mut sockets, mut polls) = tokio::join!(streams, sockets, polls);
    let open = async |transport| {
        let name = "sluicegate_connections";
        one.metric(name, transport).await + two.metric(name, transport).await
    };
    let waiting = join_all(
        polls
            .iter_mut()
            .enumerate()
            .map(async |(number, poll)| poll.poll(address(number)).await),
    );
    let ending = async {
        eventually("all polls wait", async || open("longpolling").await > 29.5).await;
        assert_eq!(end(one.internal(), "a1").await, 201);
        let closed = async {
            tokio::join!(
                join_all(streams.iter_mut().map(Sse::is_killed)),
                join_all(sockets.iter_mut().map(Ws::is_killed)),
            )
        };
        tokio::time::timeout(SOON, closed).await.expect("soon");
    };
    let (answers, ()) = tokio::join!(waiting, ending);
    assert!(answers.iter().all(|answer| says_killed(&answer.json())));
    drop((streams, sockets));
    eventually("none is left", async || open("").await < 0.5).await;
    one.stop().await;
    two.stop().await;
}

/// Connections that open while their session is ended are refused or closed; none stays.
pub async fn that_is_being_opened(kafka: &Kafka) {
    const CONNECTIONS: u64 = 50;
    let gateway = Gateway::with(Settings::new(kafka).with_tokens()).await;
    let public = gateway.public();
    for round in 0..4 {
        let session = format!("a{round}");
        let asking = asking(&token("alice", &session));
        let opening = join_all((0..CONNECTIONS).map(async |number| {
            tokio::time::sleep(Duration::from_millis(number)).await;
            match number % 3 {
                0 => match Sse::try_open(public, &asking, &[]).await {
                    Ok(mut stream) => {
                        let types = stream.rest().await;
                        assert_eq!(types.last().unwrap(), "rig.session_killed");
                        true
                    }
                    Err(answer) => {
                        assert_eq!(answer.status, 401, "{}", answer.text());
                        false
                    }
                },
                1 => match Ws::try_open(public, &asking).await {
                    Ok(mut socket) => {
                        assert_eq!(socket.last_words().await, 4001);
                        true
                    }
                    Err(status) => {
                        assert_eq!(status, 401);
                        false
                    }
                },
                _ => is_polling_until_killed(public, &asking).await,
            }
        }));
        let ending = async {
            eventually("some are open", async || {
                gateway.metric("sluicegate_connections", "").await > 2.5
            })
            .await;
            assert_eq!(end(gateway.internal(), &session).await, 201);
        };
        let (were_open, ()) = tokio::join!(opening, ending);
        assert!(were_open.contains(&true));
    }
    eventually("none is open", async || {
        gateway.metric("sluicegate_connections", "").await < 0.5
    })
    .await;
    gateway.stop().await;
}

/// A later token is handed in at another instance while its session is ended: it is refused there, or its
/// connection closed where it is held.
pub async fn whose_token_is_being_handed_in(kafka: &Kafka) {
    let settings = Settings::new(kafka).with_tokens();
    let (holder, other) = tokio::join!(Gateway::with(settings.clone()), Gateway::with(settings));
    let rounds = (0..20).map(async |round| {
        let (first, later) = (format!("first{round}"), format!("later{round}"));
        let asked = asking(&token("alice", &first));
        let mut stream = Sse::open(holder.public(), &asked, &[]).await;
        let connection = stream.subscribed().await;
        let target = format!("/_rig/v1/connection/sse/{connection}/subscriptions");
        let bearer = format!("Bearer {}", token("alice", &later));
        let headers = [
            ("content-type", "application/json"),
            ("authorization", &*bearer),
        ];
        let body = br#"{"subscriptions":[]}"#;
        let (answer, ended) = tokio::join!(
            http::request(other.public(), "PUT", &target, &headers, body),
            end(holder.internal(), &later),
        );
        assert_eq!(ended, 201);
        if answer.status == 401 {
            assert_eq!(end(holder.internal(), &first).await, 201);
        }
        let types = stream.rest().await;
        assert_eq!(types.last().unwrap(), "rig.session_killed", "{types:?}");
    });
    join_all(rounds).await;
    holder.stop().await;
    other.stop().await;
}

/// Polls until the session was ended; returns whether it had begun.
async fn is_polling_until_killed(public: std::net::SocketAddr, asking: &str) -> bool {
    let mut poll = LongPoll::new(asking.to_owned());
    let first = poll.poll(public).await;
    if first.status == 401 {
        return false;
    }
    loop {
        let answer = poll.poll(public).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        if says_killed(&answer.json()) {
            return true;
        }
    }
}
