//! Two instances of a cluster, without the rest of them, over the embedded broker.

mod over_kafka;
mod sent_once;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser as _;
use http::header::LOCATION;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use super::later::RESPONSES_PATH;
use super::places::Party;
use super::*;
use crate::dispatch::{Incarnation, TokenKey};
use crate::http::{Body, HttpError, Reply};
use crate::kafka::{EmbeddedBroker, KafkaConfig, OutgoingRecord, Producer};
use crate::proxy::call::Caller;
use crate::proxy::route::AnswerFrom;
use crate::shared::{CommandLog, CommandReply, StateLog};
use crate::telemetry::{Metrics, Readiness, Tasks};

const SOON: Duration = Duration::from_secs(20);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(clap::Parser)]
struct Settings {
    #[command(flatten)]
    kafka: KafkaConfig,
    #[command(flatten)]
    answers: AnswersConfig,
}

/// A broker for each test is much for a machine with many threads.
static FEW_AT_A_TIME: Semaphore = Semaphore::const_new(3);

/// The broker of the test, and its data.
struct Cluster {
    _turn: SemaphorePermit<'static>,
    broker: Option<EmbeddedBroker>,
    folder: std::path::PathBuf,
}

impl Cluster {
    async fn start() -> Self {
        let turn = FEW_AT_A_TIME.acquire().await.expect("never closed");
        let name = format!("sluicegate-answers-{}", uuid::Uuid::new_v4());
        let folder = std::env::temp_dir().join(name);
        let broker = EmbeddedBroker::start(&folder, ([127, 0, 0, 1], 0).into());
        Self {
            _turn: turn,
            broker: Some(broker.expect("the broker starts")),
            folder,
        }
    }

    fn settings(&self, flags: &[&str]) -> Settings {
        let mut settings = Settings::parse_from(["test"].iter().chain(flags));
        let address = self.broker.as_ref().expect("a broker").address();
        settings.kafka = settings.kafka.with_embedded(address);
        settings
    }

    async fn instance(&self, name: &str, flags: &[&str]) -> Instance {
        let flags = [&["--instance-id", name], flags].concat();
        Instance::start(&self.settings(&flags)).await
    }

    async fn pair(&self, flags: &[&str]) -> (Instance, Instance) {
        let pair = tokio::join!(self.instance("one", flags), self.instance("two", flags));
        // Each has heard of the other.
        tokio::time::timeout(SOON, async {
            while pair.0.commands.alive().is_empty() || pair.1.commands.alive().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("they hear of each other");
        pair
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.broker.take();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// What of an instance has to do with answers.
struct Instance {
    answers: Answers,
    commands: CommandLog,
    producer: Producer,
    state: Arc<StateLog>,
    metrics: Metrics,
    tasks: Tasks,
}

impl Instance {
    async fn start(settings: &Settings) -> Self {
        let (kafka, tasks, metrics) = (&settings.kafka, Tasks::new(), Metrics::new());
        let producer = Producer::new(kafka).expect("a producer");
        let state = StateLog::start(kafka, producer.clone(), Readiness::new());
        let state = Arc::new(state.expect("the state starts"));
        let own = Incarnation(uuid::Uuid::new_v4().as_u64_pair().0);
        let token_key = Arc::new(OnceLock::from(TokenKey::new(&[7; 32])));
        let parts = AnswersParts {
            kafka: kafka.clone(),
            create_partitions: Some(2),
            state: Arc::clone(&state),
            own,
            token_key,
            metrics: metrics.clone(),
            tasks: tasks.clone(),
        };
        let answers = Answers::new(&settings.answers, parts);
        let handling = answers.inbox();
        let handler = move |command: Value| {
            let reply = handling.on_command(&command).unwrap_or_default();
            Box::pin(async move { reply }) as CommandReply
        };
        let commands = CommandLog::start(
            kafka,
            producer.clone(),
            &own.to_string(),
            Arc::new(handler),
            Readiness::new(),
            &tasks,
        );
        let commands = commands.expect("the commands start");
        answers.connect(commands.clone());
        state.loaded().await;
        Self {
            answers,
            commands,
            producer,
            state,
            metrics,
            tasks,
        }
    }

    async fn stop(self) {
        self.answers.stop().await;
        self.commands.stop().await;
        self.tasks.stop().await;
    }

    /// Runs a command, and returns its correlation id and its reply.
    async fn run(&self, command: Command) -> (String, Result<Reply, HttpError>) {
        let (told, correlation) = oneshot::channel();
        let reply = self.answers.run(command, |sending| async move {
            told.send(sending.correlation).expect("somebody listens");
            Ok(Sent::Waits)
        });
        let reply = reply.await;
        (correlation.await.expect("it was sent"), reply)
    }

    fn counted(&self, delivered: Delivered) -> u64 {
        let answers = &self.metrics.proxy.answers;
        answers.with_label_values(&[delivered.as_str()]).get()
    }

    /// Waits until so many answers have had this fate.
    async fn has_counted(&self, delivered: Delivered, count: u64) {
        let counted = async {
            while self.counted(delivered) < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let counted = tokio::time::timeout(SOON, counted).await;
        counted.expect("counted in time");
        assert_eq!(self.counted(delivered), count, "{delivered:?}");
    }

    async fn write(&self, topic: &str, headers: &[(&str, &str)], value: &[u8]) {
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()))
            .collect();
        let record = OutgoingRecord {
            topic,
            key: None,
            headers: &headers,
            payload: Some(value),
        };
        self.producer.produce(record).await.expect("written");
    }
}

fn command(from: AnswerFrom) -> Command {
    Command {
        from,
        caller: Caller::default(),
        party: Party::Address(HERE),
        prefers_async: false,
        key: None,
    }
}

fn asynchronous(from: AnswerFrom, session: Option<&str>) -> Command {
    Command {
        caller: Caller {
            sessions: session.into_iter().map(Into::into).collect(),
            user: None,
        },
        prefers_async: true,
        ..command(from)
    }
}

fn answer(status: u16, body: &'static str) -> Answer {
    Answer::new(StatusCode::from_u16(status).expect("a status"), body)
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Came {
    fn text(&self) -> (u16, &str) {
        (self.status, std::str::from_utf8(&self.body).expect("text"))
    }

    fn code(&self) -> (u16, String) {
        let problem: Value = serde_json::from_slice(&self.body).expect("a problem");
        let code = problem.get("code").and_then(Value::as_str);
        (self.status, code.expect("a code").to_owned())
    }

    /// Returns the id at the end of the place where the answer can be asked for.
    fn asked_at(&self) -> String {
        let location = self.headers.get(LOCATION).expect("a location");
        let location = location.to_str().expect("text");
        let id = location.strip_prefix(RESPONSES_PATH);
        id.expect("a path").to_owned()
    }
}

async fn came(reply: Result<Reply, HttpError>) -> Came {
    let response: Response<Body> = match reply {
        Ok(Reply::Response(response)) => response,
        Ok(Reply::Later(response)) => tokio::time::timeout(SOON, response)
            .await
            .expect("an answer or a timeout"),
        Ok(other) => panic!("{other:?}"),
        Err(error) => error.into_response(),
    };
    let (head, body) = response.into_parts();
    Came {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.collect().await.expect("a body").to_bytes(),
    }
}

/// An answer that comes in at the instance that does not wait for it reaches the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_may_come_in_at_any_instance() {
    let cluster = Cluster::start().await;
    let (one, two) = cluster.pair(&[]).await;
    let (id, reply) = one.run(command(AnswerFrom::Callback)).await;
    let mut given = answer(201, "hello").with_type("text/plain");
    given.headers.append("x-custom", "1".parse().unwrap());
    let delivered = two.answers.deliver(&id, given).await;
    assert_eq!(delivered, Delivered::Forwarded);
    let came = came(reply).await;
    assert_eq!(came.text(), (201, "hello"));
    assert_eq!(came.headers["x-custom"], "1");
    let again = two.answers.deliver(&id, answer(200, "again")).await;
    assert_eq!(again, Delivered::Second);
    let (id, reply) = one.run(command(AnswerFrom::Callback)).await;
    drop(reply);
    let late = two.answers.deliver(&id, answer(200, "late")).await;
    assert_eq!(late, Delivered::Late);
    let huge = Answer::new(StatusCode::OK, vec![0; 2 * MAX_ANSWER_BYTES]);
    let huge = two.answers.deliver(&id, huge).await;
    assert_eq!(huge, Delivered::TooLarge);
    let forged = two.answers.deliver("forged", answer(200, "x")).await;
    assert_eq!(forged, Delivered::Forged);
    let counts = |instance: &Instance| Delivered::ALL.map(|what| instance.counted(what));
    assert_eq!(counts(&one), [1, 0, 1, 1, 0, 0, 0, 0]);
    assert_eq!(counts(&two), [0, 3, 0, 0, 1, 1, 0, 0]);
    one.stop().await;
    // It may take a while until it is noticed.
    while two.answers.deliver(&id, answer(200, "x")).await != Delivered::Late {}
    assert_eq!(two.counted(Delivered::Late), 1);
    two.stop().await;
}

/// A client that does not wait asks any instance, and gets the answer once it is there, if it is its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_can_be_asked_for_later_at_any_instance() {
    let cluster = Cluster::start().await;
    let (one, two) = cluster.pair(&["--proxy-answer-ttl", "20s"]).await;
    let command = asynchronous(AnswerFrom::Callback, Some("mine"));
    let caller = command.caller.clone();
    let (correlation, reply) = one.run(command).await;
    let accepted = came(reply).await;
    assert_eq!(accepted.status, 202);
    assert_eq!(accepted.headers["preference-applied"], "respond-async");
    let id = accepted.asked_at();
    assert_ne!(id, correlation);
    for instance in [&one, &two] {
        let ask = |caller, wait| instance.answers.ask(&id, caller, HERE, wait);
        let not_yet = came(ask(&caller, None).await).await;
        assert_eq!(
            (not_yet.status, &not_yet.headers["retry-after"]),
            (202, &"1".parse().unwrap())
        );
        let waited = came(ask(&caller, Some(Duration::from_millis(10))).await).await;
        assert_eq!(waited.status, 202);
        let foreign = came(ask(&Caller::default(), None).await).await;
        assert_eq!(foreign.code(), (404, "unknown_answer".to_owned()));
        let wrong = instance
            .answers
            .ask(&correlation, &caller, HERE, None)
            .await;
        assert_eq!(came(wrong).await.status, 404);
    }
    // Whoever asks cannot answer.
    let forged = two.answers.deliver(&id, answer(200, "x")).await;
    assert_eq!(forged, Delivered::Forged);
    let waiting = tokio::join!(
        one.answers.ask(&id, &caller, HERE, Some(SOON)),
        two.answers.ask(&id, &caller, HERE, Some(SOON)),
    );
    let delivered = two.answers.deliver(&correlation, answer(200, "here")).await;
    assert_eq!(delivered, Delivered::Forwarded);
    let (here, there) = tokio::join!(came(waiting.0), came(waiting.1));
    assert_eq!((here.text(), there.text()), ((200, "here"), (200, "here")));
    for instance in [&one, &two] {
        let asked = instance.answers.ask(&id, &caller, HERE, None).await;
        assert_eq!(came(asked).await.text(), (200, "here"));
    }
    one.stop().await;
    loop {
        let gone = came(two.answers.ask(&id, &caller, HERE, None).await).await;
        // It may take a while until it is noticed.
        if gone.status != 503 {
            assert_eq!(gone.code(), (410, "answer_gone".to_owned()));
            break;
        }
    }
    two.stop().await;
}

/// Without an answer a client gets 504 at the deadline, and its place is free again.
#[tokio::test]
async fn a_command_without_an_answer_ends_at_the_deadline() {
    let cluster = Cluster::start().await;
    let flags = [
        "--proxy-http-async-response-timeout",
        "50",
        "--proxy-max-waiting",
        "1",
    ];
    let one = cluster.instance("one", &flags).await;
    let (_, reply) = one.run(command(AnswerFrom::Callback)).await;
    let full = one
        .answers
        .run(command(AnswerFrom::Callback), |_| async { Ok(Sent::Waits) });
    let full = came(full.await).await;
    assert_eq!(full.code(), (503, "too_many_waiting".to_owned()));
    assert_eq!(full.headers["retry-after"], "1");
    let late = came(reply).await;
    assert_eq!(late.code(), (504, "answer_timeout".to_owned()));
    let failed = one.answers.run(command(AnswerFrom::Callback), |_| async {
        Err(HttpError::not_found())
    });
    assert_eq!(came(failed.await).await.status, 404);
    let (_, reply) = one.run(command(AnswerFrom::Callback)).await;
    assert_eq!(came(reply).await.status, 504);
    one.stop().await;
}
