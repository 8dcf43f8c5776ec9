//! One shard with clients on real sockets, in this process.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluicegate::config::Config;
use sluicegate::dispatch::{
    Attach, DispatchConfig, Dispatcher, Format, Incarnation, Opening, Outlet, Start, Surroundings,
    TokenKey,
};
use sluicegate::event::{CloudEvent, Positions};
use sluicegate::replay::{History, HistoryParts, LoggedEvent, RecordDecoder, ReplayLog};
use sluicegate::subscription::{Extractors, Fields, SubscriptionLimits, Subscriptions};
use sluicegate::telemetry::Metrics;
use sluicegate::transport::FORMATS;

const TOPIC: &str = "bench";
/// Server-sent events, the first of [`FORMATS`].
const SSE: Format = Format(0);

/// One shard and its clients.
#[derive(Debug)]
pub(crate) struct Rig {
    dispatcher: Dispatcher,
    log: Arc<ReplayLog>,
    clients: Vec<TcpStream>,
    event: CloudEvent,
    positions: Positions,
    offset: i64,
    buffer: Vec<u8>,
}

impl Rig {
    /// Starts a shard without clients.
    pub(crate) fn start() -> Self {
        let topics: Arc<[String]> = Arc::from([TOPIC.to_owned()]);
        let log = Arc::new(ReplayLog::new([TOPIC], 16 * 1024 * 1024));
        let settings =
            Config::from_environment([("KAFKA_BROKERS", "127.0.0.1:1")]).expect("settings");
        let metrics = Metrics::new();
        let parts = HistoryParts {
            topics: Arc::clone(&topics),
            decoder: RecordDecoder {
                extractors: Arc::new(Extractors::none()),
                max_event_bytes: 1024 * 1024,
            },
            log: Arc::clone(&log),
            metrics: metrics.clone(),
        };
        let history = History::start(&settings.kafka, &settings.replay, parts).expect("threads");
        let surroundings = Surroundings {
            incarnation: Incarnation(1),
            topics,
            formats: &FORMATS,
            log: Arc::clone(&log),
            history: Arc::new(history),
            metrics,
        };
        let config = DispatchConfig {
            shards: 1,
            heartbeat_interval: Duration::from_secs(24 * 3600),
            outbox_bytes: 1024 * 1024,
            write_timeout: Duration::from_secs(60),
            ..settings.dispatch
        };
        let (dispatcher, _texts) =
            Dispatcher::start(&config, &surroundings).expect("a shard starts");
        let mut positions = Positions::of_topics([TOPIC]);
        positions.set(0, 0, 0);
        let token_key = TokenKey::new(&[7; 32]);
        dispatcher.open(Opening {
            token_key,
            positions: positions.clone(),
        });
        let json = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/bench","type":"greeting","data":"{}"}}"#,
            "x".repeat(120)
        );
        let event = CloudEvent::from_structured(Bytes::from(json)).expect("an event");
        Self {
            dispatcher,
            log,
            clients: Vec::new(),
            event,
            positions,
            offset: 0,
            buffer: vec![0; 64 * 1024],
        }
    }

    /// Connects a client that wants these subscriptions.
    pub(crate) async fn connect(&mut self, subscriptions: Subscriptions) {
        let client = connect(&self.dispatcher, subscriptions).await;
        self.clients.push(client);
    }

    /// Dispatches `count` events at once and reads them from every socket; returns the time it took.
    pub(crate) fn deliver(&mut self, count: u32) -> Duration {
        let start = self.positions.clone();
        let events: Vec<LoggedEvent> = (0..count).map(|_| self.next_event()).collect();
        let began = Instant::now();
        let (batch, _) = self.log.append(start, events);
        self.dispatcher.dispatch(&batch);
        for client in &mut self.clients {
            read_events(client, count, &mut self.buffer);
        }
        began.elapsed()
    }

    /// Returns what the clients are connected to.
    #[allow(dead_code, reason = "not every bench asks")]
    pub(crate) fn dispatcher(&self) -> Dispatcher {
        self.dispatcher.clone()
    }

    /// Ends the shard.
    pub(crate) async fn stop(self) {
        self.dispatcher.drain(Duration::from_millis(100)).await;
    }

    fn next_event(&mut self) -> LoggedEvent {
        let offset = self.offset;
        self.offset += 1;
        self.positions.set(0, 0, self.offset);
        LoggedEvent {
            event: self.event.clone(),
            fields: Fields::default(),
            topic: 0,
            partition: 0,
            offset,
            timestamp_ms: sluicegate::telemetry::now_ms(),
            key_hash: None,
        }
    }
}

/// Reads what a client wants.
pub(crate) fn parse(json: &str, extractors: &Extractors) -> Subscriptions {
    Subscriptions::parse(json.as_bytes(), extractors, &SubscriptionLimits::default())
        .expect("subscriptions")
}

/// Gives one end of a socket to the shard and returns the other, ready for the first event.
async fn connect(dispatcher: &Dispatcher, subscriptions: Subscriptions) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let mut client = TcpStream::connect(address).expect("it listens");
    let (stream, _) = listener.accept().expect("a connection waits");
    stream.set_nonblocking(true).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    let outlet = Outlet::Socket {
        stream,
        head: b": hello\n\n".to_vec(),
        already_read: Vec::new(),
    };
    dispatcher
        .attach(Attach {
            client: sluicegate::dispatch::Client::NOBODY,
            outlet,
            format: SSE,
            subscriptions,
            start: Start::Live,
            held: None,
        })
        .await;
    // The events `rig.connection.create` and `rig.subscriptions_set`.
    read_events(&mut client, 2, &mut [0; 4096]);
    client
}

/// Reads until `count` events have come; heartbeats, which begin with a colon, do not count.
fn read_events(client: &mut TcpStream, count: u32, buffer: &mut [u8]) {
    let mut left = count;
    let (mut is_event, mut last) = (None, b'\n');
    while left > 0 {
        let read = client.read(buffer).expect("the shard keeps the connection");
        assert_ne!(read, 0, "the shard closed the connection");
        for byte in buffer.iter().take(read) {
            let counts = *is_event.get_or_insert(*byte != b':');
            if (last, *byte) == (b'\n', b'\n') {
                left -= u32::from(counts);
                is_event = None;
            }
            last = *byte;
        }
    }
}
