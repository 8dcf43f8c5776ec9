//! Polls at a shard, from outside.

use clap::Parser as _;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{
    Attach, CloseReason, ConnectionId, DispatchConfig, Dispatcher, Format, Incarnation, Incoming,
    Input, Opening, Outgoing, Outlet, Polled, Start, Surroundings, TokenKey, Wire,
};
use crate::event::{CloudEvent, Cursor, Positions};
use crate::kafka::KafkaConfig;
use crate::replay::{History, HistoryParts, LoggedEvent, RecordDecoder, ReplayConfig, ReplayLog};
use crate::subscription::{Fields, Subscriptions};
use crate::telemetry::{Metrics, Transport};

/// A wire of polls.
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
    let command = ["test", "--kafka-brokers", "127.0.0.1:1", "--shards", "1"];
    let settings = Settings::parse_from(command);
    let topics: Arc<[String]> = Arc::from(["t".to_owned()]);
    let log = Arc::new(ReplayLog::new(["t"], 1024));
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
        outlet: Outlet::Poll(answer),
        format: Format(0),
        subscriptions: Subscriptions::none(),
        start,
        held: None,
    };
    let id = dispatcher.attach_known(attach).await.expect("a shard");
    (id, polled)
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
    let json = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let event = LoggedEvent {
        event: CloudEvent::from_structured(json.to_vec().into()).expect("an event"),
        fields: Fields::default(),
        topic: 0,
        partition: 0,
        offset: 0,
        timestamp_ms: 0,
        key_hash: None,
    };
    let (batch, _) = log.append(start.clone(), vec![event]);
    dispatcher.dispatch(&batch);
    // What is asked may overtake what is fed.
    let mut has_seen_it = false;
    while !has_seen_it {
        let (live, polled) = poll(&dispatcher, Start::Live).await;
        dispatcher.end_poll(live).await;
        has_seen_it = polled.await.expect("an answer").cursor != start.encode();
    }
    let (id, polled) = poll(&dispatcher, Start::At(vec![(0, 0, 0)])).await;
    // Others come in between, and the shard goes on with its work.
    for _ in 0..20 {
        let (other, polled) = poll(&dispatcher, Start::Live).await;
        dispatcher.end_poll(other).await;
        polled.await.expect("an answer");
    }
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
