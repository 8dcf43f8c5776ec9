//! A worker that answers the commands of a topic: rdkafka on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use memchr::memmem;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};

use crate::bare;
use crate::producer::config;

/// How long it waits for a command before it looks whether it is to end.
const WAIT: Duration = Duration::from_millis(100);
/// How long an instance may take to make the topics.
const PATIENCE: Duration = Duration::from_secs(20);
/// The header that says which command an answer is for.
const CORRELATION: &str = "rig-correlation";
/// What stands before the number of a command.
const NUMBER: &[u8] = b"{\"number\":";

/// Returns 200 bytes or so of JSON with a number.
pub(crate) fn numbered(number: u64) -> Bytes {
    format!("{{\"number\":{number},\"text\":\"{:x<170}\"}}", "").into()
}

/// Reads the number from what has [`numbered`] somewhere in it.
pub(crate) fn number_in(text: &[u8]) -> Option<u64> {
    let begin = memmem::find(text, NUMBER)? + NUMBER.len();
    let rest = text.get(begin..)?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

/// The worker; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Worker {
    /// Answers the commands that come to one topic from now on in the other, once both are there.
    pub(crate) async fn start(
        brokers: &str,
        commands: String,
        answers: String,
    ) -> anyhow::Result<Self> {
        wait_for(brokers, &answers).await?;
        let ends = wait_for(brokers, &commands).await?;
        let consumer = bare::consumer(brokers)?;
        bare::assign(&consumer, &commands, &ends)?;
        let producer = config(brokers).set("linger.ms", "0").create()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let thread = std::thread::Builder::new()
            .name("worker".to_owned())
            .spawn(move || work(&consumer, &producer, &answers, &until))?;
        Ok(Self {
            is_over,
            thread: Some(thread),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        match ended {
            Some(Ok(Err(error))) => eprintln!("the worker ended: {error:#}"),
            Some(Err(_)) => eprintln!("the worker has panicked"),
            Some(Ok(Ok(()))) | None => {}
        }
    }
}

/// Waits until a topic is there, and returns its ends.
async fn wait_for(brokers: &str, topic: &str) -> anyhow::Result<bare::Ends> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let asked = bare::ends(brokers.to_owned(), topic.to_owned()).await;
        match asked {
            Ok(ends) if !ends.is_empty() => return Ok(ends),
            asked => ensure!(
                Instant::now() < deadline,
                "there is no topic {topic}: {asked:?}"
            ),
        }
        tokio::time::sleep(WAIT).await;
    }
}

fn work(
    consumer: &BaseConsumer,
    producer: &ThreadedProducer<DefaultProducerContext>,
    answers: &str,
    is_over: &AtomicBool,
) -> anyhow::Result<()> {
    while !is_over.load(Ordering::Relaxed) {
        if let Some(command) = consumer.poll(WAIT) {
            answer(&command?, producer, answers)?;
        }
    }
    Ok(())
}

fn answer(
    command: &BorrowedMessage<'_>,
    producer: &ThreadedProducer<DefaultProducerContext>,
    answers: &str,
) -> anyhow::Result<()> {
    let headers = command.headers().context("a command without headers")?;
    let correlation = headers.iter().find(|header| header.key == CORRELATION);
    let correlation = correlation.context("a command that nobody waits for")?;
    let number = command.payload().and_then(number_in);
    let body = numbered(number.context("a command without a number")?);
    let pairs = [
        (CORRELATION, correlation.value),
        ("rig-response-code", Some(&b"200"[..])),
        ("content-type", Some(&b"application/json"[..])),
    ];
    let mut headers = OwnedHeaders::new();
    for (key, value) in pairs {
        headers = headers.insert(Header { key, value });
    }
    let record: BaseRecord<'_, (), [u8]> = BaseRecord::to(answers);
    let record = record.payload(body.as_ref()).headers(headers);
    let sent = producer.send(record).map_err(|(error, _)| error);
    sent.context("an answer could not be sent")
}
