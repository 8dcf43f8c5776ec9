use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser as _;
use rdkafka::consumer::Consumer as _;

use super::*;
use crate::kafka::Consumer;

const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;
/// So many that it takes a while to take notice of them after the brokers were forgotten.
const TOPICS: usize = 20_000;

#[derive(clap::Parser)]
struct Settings {
    #[command(flatten)]
    kafka: KafkaConfig,
}

/// A broker that says of its cluster what it is told to, and understands nothing else.
struct Broker {
    address: SocketAddr,
    is_fenced: Arc<AtomicBool>,
}

impl Broker {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_fenced = Arc::new(AtomicBool::new(false));
        let fenced = Arc::clone(&is_fenced);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let fenced = Arc::clone(&fenced);
                std::thread::spawn(move || serve(stream.unwrap(), address, &fenced));
            }
        });
        Self { address, is_fenced }
    }
}

/// Answers requests until the client goes.
fn serve(mut stream: TcpStream, address: SocketAddr, is_fenced: &AtomicBool) -> io::Result<()> {
    loop {
        let mut size = [0; 4];
        stream.read_exact(&mut size)?;
        let mut request = vec![0; usize::try_from(i32::from_be_bytes(size)).unwrap()];
        stream.read_exact(&mut request)?;
        let body = match i16::from_be_bytes([request[0], request[1]]) {
            API_VERSIONS => versions(),
            METADATA => metadata(address, is_fenced.load(Ordering::Relaxed)),
            _ => return Ok(()),
        };
        let length = i32::try_from(4 + body.len()).unwrap();
        let answer = [&length.to_be_bytes()[..], &request[4..8], &body].concat();
        stream.write_all(&answer)?;
    }
}

/// Version 3 of the answer: no error, two calls, no throttling.
fn versions() -> Vec<u8> {
    let mut body = vec![0, 0, 3];
    for (api, last) in [(API_VERSIONS, 3_i16), (METADATA, 1)] {
        body.extend(api.to_be_bytes());
        body.extend([0, 0]);
        body.extend(last.to_be_bytes());
        body.push(0);
    }
    body.extend([0, 0, 0, 0, 0]);
    body
}

/// Version 1 of the answer: this broker, or none and the topics that it had.
fn metadata(address: SocketAddr, is_fenced: bool) -> Vec<u8> {
    const NO_RACK: [u8; 2] = [0xff, 0xff];
    let mut body = Vec::new();
    body.extend(i32::from(!is_fenced).to_be_bytes());
    if !is_fenced {
        body.extend(1_i32.to_be_bytes());
        body.extend(text(&address.ip().to_string()));
        body.extend(i32::from(address.port()).to_be_bytes());
        body.extend(NO_RACK);
    }
    body.extend((-1_i32).to_be_bytes());
    let topics = if is_fenced { TOPICS } else { 1 };
    body.extend(i32::try_from(topics).unwrap().to_be_bytes());
    for number in 0..topics {
        body.extend([0, 0]);
        body.extend(text(&format!("{number:0>200}")));
        body.push(0);
        body.extend([0, 0, 0, 0]);
    }
    body
}

fn text(text: &str) -> Vec<u8> {
    let length = i16::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

fn topics(consumer: &Consumer) -> Option<usize> {
    let metadata = consumer
        .fetch_metadata(None, Duration::from_millis(500))
        .ok()?;
    (metadata.topics().len() == 1).then_some(1)
}

#[test]
fn a_client_comes_back_that_was_told_of_no_broker_at_all() {
    let broker = Broker::start();
    let address = broker.address.to_string();
    let config = Settings::parse_from(["test", "--kafka-brokers", &address]).kafka;
    let consumer = Consumer::new(&config.consumer("group", &[]), config.quiet()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let comes_back = || {
        while topics(&consumer).is_none() {
            assert!(Instant::now() < deadline, "the client has not come back");
            drop(consumer.poll(Duration::ZERO));
        }
    };
    comes_back();
    for _ in 0..2 {
        broker.is_fenced.store(true, Ordering::Relaxed);
        assert_eq!(topics(&consumer), None, "the broker names none");
        broker.is_fenced.store(false, Ordering::Relaxed);
        comes_back();
    }
}

#[test]
fn brokers_are_given_some_times_after_the_loss_and_not_before() {
    let rebootstrap = Rebootstrap::new(&Settings::parse_from(["test"]).kafka);
    let begin = Instant::now();
    let is_due = |after| rebootstrap.is_due(begin + Duration::from_secs(after));
    assert!(!is_due(100), "nothing was lost");
    rebootstrap.note(&KafkaError::Global(
        RDKafkaErrorCode::BrokerTransportFailure,
    ));
    assert!(!is_due(100), "one broker of several");
    rebootstrap.note(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown));
    assert!(!is_due(0));
    assert_eq!(
        [2, 2, 5, 5, 12, 40, 100, 100].map(is_due),
        [true, false, true, false, true, true, false, false]
    );
}
