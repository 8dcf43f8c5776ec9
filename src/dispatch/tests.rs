//! Polls and streams at a shard, from outside.

use clap::Parser as _;

use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{
    Attach, Client, ClientEnd, CloseReason, ConnectionId, ControlEvent, DispatchConfig, Dispatcher,
    Format, Gone, Incarnation, Incoming, Input, Opening, Outgoing, Outlet, Polled, Start,
    Surroundings, TokenKey, Wire, pipe,
};
use crate::event::{CloudEvent, Cursor, Positions};
use crate::kafka::KafkaConfig;
use crate::replay::{History, HistoryParts, LoggedEvent, RecordDecoder, ReplayConfig, ReplayLog};
use crate::subscription::{Extractors, Fields, SubscriptionLimits, Subscriptions};
use crate::telemetry::{Metrics, Transport};

/// A wire of bare JSON.
#[derive(Debug)]
struct Json;

impl Wire for Json {
    fn transport(&self) -> Transport {
        Transport::LongPolling
    }

    fn encode(&self, event: Outgoing<'_>, frame: &mut Vec<u8>) {
        frame.extend_from_slice(event.json);
    }

    fn heartbeat(&self, _cursor: Option<&str>, _frame: &mut Vec<u8>) {}

    fn farewell(&self, _reason: CloseReason) -> Vec<u8> {
        Vec::new()
    }

    fn read(&self, _input: &mut Input, _incoming: &mut Vec<Incoming>) {}
}

#[derive(clap::Parser)]
struct Settings {
    #[command(flatten)]
    kafka: KafkaConfig,
    #[command(flatten)]
    replay: ReplayConfig,
    #[command(flatten)]
    dispatch: DispatchConfig,
}

fn start() -> Dispatcher {
    start_with_log().0
}

fn start_with_log() -> (Dispatcher, Arc<ReplayLog>) {
    start_with(&[])
}

fn start_with(flags: &[&str]) -> (Dispatcher, Arc<ReplayLog>) {
    let command = ["test", "--kafka-brokers", "127.0.0.1:1", "--shards", "1"];
    let settings = Settings::parse_from(command.iter().chain(flags));
    let topics: Arc<[String]> = Arc::from(["t".to_owned()]);
    let log = Arc::new(ReplayLog::new(["t"], 1024 * 1024));
    let parts = HistoryParts {
        topics: Arc::clone(&topics),
        decoder: RecordDecoder {
            extractors: Arc::default(),
            max_event_bytes: 1024,
        },
        log: Arc::clone(&log),
        metrics: Metrics::new(),
    };
    let history = History::start(&settings.kafka, &settings.replay, parts);
    let surroundings = Surroundings {
        incarnation: Incarnation(1),
        topics,
        formats: &[&Json],
        log: Arc::clone(&log),
        history: Arc::new(history.expect("threads")),
        metrics: Metrics::new(),
    };
    let (dispatcher, _texts) =
        Dispatcher::start(&settings.dispatch, &surroundings).expect("a shard");
    (dispatcher, log)
}

async fn poll(dispatcher: &Dispatcher, start: Start) -> (ConnectionId, oneshot::Receiver<Polled>) {
    let (answer, polled) = oneshot::channel();
    let attach = Attach {
        client: Client::NOBODY,
        outlet: Outlet::Poll(answer),
        format: Format(0),
        subscriptions: Subscriptions::none(),
        start,
        held: None,
    };
    let id = dispatcher.attach_known(attach).await.expect("a shard");
    (id, polled)
}

/// Appends events with these offsets, each with so many bytes of data, and waits until the shard has
/// seen them.
async fn feed(dispatcher: &Dispatcher, log: &ReplayLog, offsets: Range<i64>, bytes: usize) {
    let mut start = Positions::of_topics(["t"]);
    start.set(0, 0, offsets.start);
    let mut end = start.clone();
    end.set(0, 0, offsets.end);
    let data = "x".repeat(bytes);
    let logged = |offset| {
        let json = format!(
            r#"{{"specversion":"1.0","id":"{offset}","source":"/s","type":"t","data":"{data}"}}"#
        );
        LoggedEvent {
            event: CloudEvent::from_structured(json.into()).expect("an event"),
            fields: Fields::default(),
            topic: 0,
            partition: 0,
            offset,
            timestamp_ms: 0,
            key_hash: None,
        }
    };
    let (batch, _) = log.append(start, offsets.map(logged).collect());
    dispatcher.dispatch(&batch);
    // What is asked may overtake what is fed.
    let mut has_seen_it = false;
    while !has_seen_it {
        let (live, polled) = poll(dispatcher, Start::Live).await;
        dispatcher.end_poll(live).await;
        has_seen_it = polled.await.expect("an answer").cursor == end.encode();
    }
}

/// Others come in between, and the shard goes on with its work.
async fn have_turns(dispatcher: &Dispatcher, count: usize) {
    for _ in 0..count {
        let (other, polled) = poll(dispatcher, Start::Live).await;
        dispatcher.end_poll(other).await;
        polled.await.expect("an answer");
    }
}

/// Attaches a stream of all events.
async fn stream(dispatcher: &Dispatcher, start: Start) -> ClientEnd {
    stream_known(dispatcher, start).await.0
}

/// The same, and its id.
async fn stream_known(dispatcher: &Dispatcher, start: Start) -> (ClientEnd, ConnectionId) {
    let (shard_end, client_end) = pipe();
    let wanted = br#"[{"eventType":"t"}]"#;
    let limits = SubscriptionLimits::default();
    let attach = Attach {
        client: Client::NOBODY,
        outlet: Outlet::Pipe {
            pipe: shard_end,
            head: Vec::new(),
            already_read: Vec::new(),
        },
        format: Format(0),
        subscriptions: Subscriptions::parse(wanted, &Extractors::none(), &limits).expect("one"),
        start,
        held: None,
    };
    let id = dispatcher.attach_known(attach).await.expect("a shard");
    (client_end, id)
}

/// Reads until this event has come whole; returns whether it has, before the end.
async fn reads_up_to(client: &mut ClientEnd, offset: i64) -> bool {
    let last = format!(r#""id":"{offset}""#);
    let mut got = Vec::new();
    let reading = async {
        while let Some(bytes) = poll_fn(|cx| client.poll_take(cx)).await {
            got.extend_from_slice(&bytes.expect("it was not given up"));
            let text = std::str::from_utf8(&got).expect("UTF-8");
            if text
                .split_once(&last)
                .is_some_and(|(_, rest)| rest.contains('}'))
            {
                return true;
            }
        }
        false
    };
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, reading).await.expect("in time")
}

/// A poll that ended before the shard was open was answered with a cursor of no partitions, and
/// the client's next poll got everything from the beginning.
#[tokio::test]
async fn a_poll_that_ends_before_the_shard_is_open_gets_no_cursor() {
    let dispatcher = start();
    let (id, polled) = poll(&dispatcher, Start::Live).await;
    dispatcher.end_poll(id).await;
    assert!(polled.await.is_err());
    let mut positions = Positions::of_topics(["t"]);
    positions.set(0, 0, 7);
    let opening = Opening {
        token_key: TokenKey::new(&[7; 32]),
        positions: positions.clone(),
    };
    dispatcher.open(opening);
    let (id, polled) = poll(&dispatcher, Start::Live).await;
    dispatcher.end_poll(id).await;
    assert_eq!(polled.await.expect("an answer").cursor, positions.encode());
    dispatcher.drain(Duration::ZERO).await;
}

/// A poll that wants nothing, which asks where a client with these positions stands, read on from
/// there before it was answered: a client that began with the oldest event missed the first ones.
#[tokio::test]
async fn a_poll_that_wants_nothing_stays_where_it_begins() {
    let (dispatcher, log) = start_with_log();
    let start = Positions::of_topics(["t"]);
    dispatcher.open(Opening {
        token_key: TokenKey::new(&[7; 32]),
        positions: start.clone(),
    });
    feed(&dispatcher, &log, 0..1, 0).await;
    let (id, polled) = poll(&dispatcher, Start::At(vec![(0, 0, 0)])).await;
    have_turns(&dispatcher, 20).await;
    dispatcher.end_poll(id).await;
    let cursor: Cursor = polled
        .await
        .expect("an answer")
        .cursor
        .parse()
        .expect("one");
    assert_eq!(start.resolve(&cursor).positions.next_offset(0, 0), 0);
    dispatcher.drain(Duration::ZERO).await;
}

/// The same for a poll that waits when the instance is told to end.
#[tokio::test]
async fn a_poll_that_is_drained_before_the_shard_is_open_gets_no_cursor() {
    let dispatcher = start();
    let (_, polled) = poll(&dispatcher, Start::Live).await;
    dispatcher.drain(Duration::from_millis(100)).await;
    assert!(polled.await.is_err());
}

/// A client that came back was live as soon as the log was read for it, with an outbox full of what
/// had yet to be written: the next event found no room, and it was disconnected again.
#[tokio::test]
async fn a_client_that_comes_back_is_not_too_slow_for_what_it_is_behind() {
    let policy = ["--slow-client-policy", "disconnect"];
    let outbox = ["--outbox-bytes", "32KiB"];
    let (dispatcher, log) = start_with(&[policy, outbox].concat());
    dispatcher.open(Opening {
        token_key: TokenKey::new(&[7; 32]),
        positions: Positions::of_topics(["t"]),
    });
    // Two of them fill the pipe, the others most of the outbox.
    feed(&dispatcher, &log, 0..7, 6000).await;
    let mut client = stream(&dispatcher, Start::At(vec![(0, 0, 0)])).await;
    // Long enough for the shard to write and to look again; it pauses for milliseconds in between.
    have_turns(&dispatcher, 500).await;
    feed(&dispatcher, &log, 7..8, 6000).await;
    have_turns(&dispatcher, 20).await;
    assert!(reads_up_to(&mut client, 7).await, "it got all");
    // Once it has taken that, it is live and may be too slow.
    feed(&dispatcher, &log, 8..9, 0).await;
    assert!(reads_up_to(&mut client, 8).await, "it is live");
    feed(&dispatcher, &log, 9..29, 6000).await;
    assert!(!reads_up_to(&mut client, 28).await, "it was disconnected");
    dispatcher.drain(Duration::ZERO).await;
}

/// What a client was told was queued without a bound: one that sent requests and read no answer filled the memory.
#[tokio::test]
async fn a_client_that_asks_for_more_than_it_reads_is_disconnected() {
    let (dispatcher, _log) = start_with_log();
    dispatcher.open(Opening {
        token_key: TokenKey::new(&[7; 32]),
        positions: Positions::of_topics(["t"]),
    });
    let (_unread, id) = stream_known(&dispatcher, Start::Live).await;
    let answer = || ControlEvent::response("x".repeat(100_000).into());
    for _ in 0..10 {
        dispatcher.tell(id, answer()).await;
    }
    have_turns(&dispatcher, 20).await;
    assert_eq!(dispatcher.replace(id, Subscriptions::none()).await, Ok(()));
    for _ in 0..2 {
        dispatcher.tell(id, answer()).await;
    }
    assert_eq!(
        dispatcher.replace(id, Subscriptions::none()).await,
        Err(Gone)
    );
    dispatcher.drain(Duration::ZERO).await;
}
