//! What an event, a delivery and an idle connection cost in allocations and bytes: counted, not timed, so
//! that it is the same on every machine. `cargo test` runs it; it fails when something costs more than
//! its limit. Whoever makes something cheaper lowers the limit.
//!
//! Everything is real but Kafka: a shard, its sockets, and clients that read. Bytes are those asked of
//! the allocator; what the process is larger by, page by page, is measured by the load bench.
#![allow(clippy::print_stdout, reason = "the table is the output")]

mod rig;

use std::alloc::System;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sluicegate::config::Config;
use sluicegate::dispatch::Index;
use sluicegate::replay::{Record, RecordDecoder};
use sluicegate::session::{Guest, Member, PresenceEvents, Registry};
use sluicegate::subscription::{Extractors, SubscriptionLimits, Subscriptions};
use sluicegate::telemetry::Transport;
use stats_alloc::{INSTRUMENTED_SYSTEM, Stats, StatsAlloc};

use crate::rig::{Rig, parse};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// As many connections as fill the tables that double when they are full.
const CONNECTIONS: u32 = 1024;
/// How often something is done; the cheapest time counts, since other threads live meanwhile.
const ROUNDS: u32 = 20;
/// Events that are dispatched together.
const JOINED: u32 = 8;

const EXTRACTORS: &str = r#"{"greeting":{"user":{"event":{"json_pointer":"/data/user"},"jwt":{"json_pointer":"/sub"}}}}"#;
const EVENT: &str = r#"{"specversion":"1.0","id":"4711","source":"/bench","type":"greeting","time":"2026-01-01T00:00:00Z","data":{"user":"user-4711","text":"good morning"}}"#;

/// Something that was counted, and what it may be.
struct Cost {
    name: &'static str,
    counted: f64,
    limit: f64,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut costs = of_a_record();
    costs.extend(runtime.block_on(of_connections()));
    costs.push(runtime.block_on(of_members()));
    println!("| cost | counted | limit |\n|---|--:|--:|");
    for cost in &costs {
        println!(
            "| {} | {:.2} | {:.2} |",
            cost.name, cost.counted, cost.limit
        );
    }
    match costs.iter().find(|cost| cost.counted > cost.limit) {
        None => ExitCode::SUCCESS,
        Some(cost) => {
            println!("\nover its limit: {}", cost.name);
            ExitCode::FAILURE
        }
    }
}

/// Counts what a record costs that nobody wants.
fn of_a_record() -> Vec<Cost> {
    let extractors = Extractors::parse(EXTRACTORS).expect("extractors");
    let mut index = Index::new();
    for slot in 0..CONNECTIONS {
        index.insert(slot, &personal(slot, &extractors));
    }
    let mut narrowed = Index::new();
    for slot in 0..CONNECTIONS {
        narrowed.insert(slot, &everything_but_of_others(slot, &extractors));
    }
    let decoder = RecordDecoder {
        extractors: Arc::new(extractors),
        max_event_bytes: 1024 * 1024,
    };
    let record = Record {
        topic: 0,
        partition: 0,
        offset: 0,
        timestamp_ms: 0,
        key: Some(b"key"),
        headers: &[("content-type", Some(b"application/cloudevents+json"))],
        value: Some(EVENT.as_bytes()),
    };
    let decoding = cheapest(|| drop(decoder.decode(record).expect("an event")));
    let logged = decoder.decode(record).expect("an event");
    let mut hits = Vec::new();
    let matching = cheapest(|| index.matches(&logged.event, &logged.fields, &mut hits));
    let narrowing = cheapest(|| narrowed.matches(&logged.event, &logged.fields, &mut hits));
    vec![
        Cost {
            name: "allocations to decode a record and extract a field",
            counted: allocations(&decoding),
            limit: 6.0,
        },
        Cost {
            name: "allocations to match an event against 1,024 subscriptions",
            counted: allocations(&matching),
            limit: 0.0,
        },
        Cost {
            name: "allocations to match an event against 1,024 patterns without what belongs to others",
            counted: allocations(&narrowing),
            limit: 0.0,
        },
    ]
}

/// Counts what connections cost that get nothing, and what they cost when they get something.
async fn of_connections() -> Vec<Cost> {
    let extractors = Extractors::parse(EXTRACTORS).expect("extractors");
    let greetings = parse(r#"[{"eventType":"greeting"}]"#, &extractors);
    let mut rig = Rig::start();
    rig.connect(greetings.clone()).await;
    let empty = settled();
    for _ in 1..CONNECTIONS {
        rig.connect(greetings.clone()).await;
    }
    let idle = settled() - empty;
    let one = cheapest(|| {
        rig.deliver(1);
    });
    let joined = cheapest(|| {
        rig.deliver(JOINED);
    });
    rig.stop().await;
    let mut rig = Rig::start();
    rig.connect(personal(0, &extractors)).await;
    let empty = settled();
    for user in 1..CONNECTIONS {
        rig.connect(personal(user, &extractors)).await;
    }
    let own = settled() - empty;
    rig.stop().await;
    let connections = f64::from(CONNECTIONS);
    vec![
        Cost {
            name: "bytes of an idle SSE connection that wants what all want",
            counted: bytes_kept(&idle) / connections,
            limit: 256.0,
        },
        Cost {
            name: "bytes of an idle SSE connection with a value of its own",
            counted: bytes_kept(&own) / connections,
            limit: 416.0,
        },
        Cost {
            name: "allocations for each of 1,024 deliveries of one event",
            counted: allocations(&one) / connections,
            limit: 0.03,
        },
        Cost {
            name: "allocations for each of 8,192 deliveries of eight events, joined",
            counted: allocations(&joined) / connections / f64::from(JOINED),
            limit: 0.4,
        },
    ]
}

/// Counts what it costs to know who a connection belongs to: its user, its session, what its token forces, and
/// when it ends.
async fn of_members() -> Cost {
    let extractors = Extractors::parse(EXTRACTORS).expect("extractors");
    let rig = Rig::start();
    let settings = Config::from_environment([("KAFKA_BROKERS", "127.0.0.1:1")]).expect("settings");
    let events = PresenceEvents::default();
    let registry = Registry::new(&settings.session, rig.dispatcher(), events);
    let member = |number: u32| {
        let claims = serde_json::json!({"sub": format!("user-{number:06}")});
        let guest = Guest {
            sessions: [Arc::from(format!("session-{number:06}"))].into(),
            user: Some(Arc::from(format!("user-{number:06}"))),
            expires_ms: i64::from(number) + 4_000_000_000_000,
            forced: extractors.forced_by(&[&claims]),
            credentials: None,
        };
        registry.enter(&Arc::new(guest), Transport::Sse)
    };
    let empty = settled();
    let members: Vec<Member> = (0..CONNECTIONS).map(member).collect();
    let kept = settled() - empty;
    drop(members);
    rig.stop().await;
    Cost {
        name: "bytes to know whose a connection is",
        counted: bytes_kept(&kept) / f64::from(CONNECTIONS),
        limit: 720.0,
    }
}

/// Returns the counts once no other thread takes or gives back memory.
fn settled() -> Stats {
    let mut last = INSTRUMENTED_SYSTEM.stats();
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = INSTRUMENTED_SYSTEM.stats();
        if bytes_kept(&now).to_bits() == bytes_kept(&last).to_bits() {
            return now;
        }
        last = now;
    }
}

/// Returns what the cheapest of some rounds took.
fn cheapest(mut act: impl FnMut()) -> Stats {
    let rounds = (0..ROUNDS).map(|_| {
        let before = INSTRUMENTED_SYSTEM.stats();
        act();
        INSTRUMENTED_SYSTEM.stats() - before
    });
    let cheapest = rounds.min_by_key(|stats| stats.allocations + stats.reallocations);
    cheapest.expect("there is more than no round")
}

fn personal(user: u32, extractors: &Extractors) -> Subscriptions {
    let json = format!(r#"[{{"eventType":"greeting","oneOf":[{{"user":"user-{user:06}"}}]}}]"#);
    parse(&json, extractors)
}

/// What somebody gets who wants everything, and has a token.
fn everything_but_of_others(user: u32, extractors: &Extractors) -> Subscriptions {
    let claims = serde_json::json!({"sub": format!("user-{user:06}")});
    let forced = extractors.forced_by(&[&claims]);
    let wanted = parse(r#"[{"eventType":"*"}]"#, extractors);
    let narrowed = forced.narrow(&wanted, extractors, &SubscriptionLimits::default());
    narrowed.expect("patterns are narrowed")
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn allocations(stats: &Stats) -> f64 {
    (stats.allocations + stats.reallocations) as f64
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn bytes_kept(stats: &Stats) -> f64 {
    stats
        .bytes_allocated
        .saturating_sub(stats.bytes_deallocated) as f64
}
