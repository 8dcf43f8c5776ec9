//! What happens to messages between NATS and Kafka.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{FuturesOrdered, SelectAll, select_all};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::NatsSourceParts;
use crate::event::{CloudEvent, decode_nats};
use crate::kafka::ProduceError;
use crate::nats::{NatsMessage, Subscription};
use crate::replay::Rejected;
use crate::telemetry::Limited;

/// How long to wait before events are written again that Kafka did not take.
const PAUSE: Duration = Duration::from_millis(500);
/// What a held event costs beyond its bytes: its place here, and that in the producer's queue.
const OVERHEAD_BYTES: usize = 1024;
/// How often the same kind of trouble is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// How long replies may take to be written at the end.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// An event on its way to Kafka.
struct Held {
    event: CloudEvent,
    /// Where to say what became of it.
    reply: Option<Box<str>>,
    cost_bytes: usize,
}

/// An event of which Kafka has said something.
struct Written {
    held: Held,
    result: Result<(), ProduceError>,
}

/// Why a message goes no further.
enum Unfit {
    Rejected(Rejected),
    ReservedType,
    NoRoom,
}

/// Takes messages and writes their events, in order.
pub(super) struct Intake {
    parts: NatsSourceParts,
    limited: Limited,
    /// What may be held, in bytes.
    buffer_bytes: usize,
    /// What is held.
    held_bytes: usize,
    /// In the order of their arrival.
    waiting: VecDeque<Held>,
    in_flight: FuturesOrdered<Pin<Box<dyn Future<Output = Written> + Send>>>,
    /// What Kafka did not take, and is to be written again when nothing is in flight any more: then in order.
    failed: VecDeque<Held>,
    /// When to go on after Kafka did not take something.
    resume_at: Option<tokio::time::Instant>,
}

impl Intake {
    pub(super) fn new(parts: NatsSourceParts, buffer_bytes: usize) -> Self {
        Self {
            parts,
            limited: Limited::new(LOG_INTERVAL),
            buffer_bytes,
            held_bytes: 0,
            waiting: VecDeque::new(),
            in_flight: FuturesOrdered::new(),
            failed: VecDeque::new(),
            resume_at: None,
        }
    }

    /// Works until `stop` is cancelled and Kafka has everything, or somebody drops it.
    pub(super) async fn run(mut self, subscriptions: Vec<Subscription>, stop: CancellationToken) {
        let mut messages = select_all(subscriptions);
        let (mut is_open, mut is_stopping) = (true, false);
        while is_open || self.held_bytes > 0 {
            self.write();
            let resume_at = self.resume_at;
            tokio::select! {
                message = messages.next(), if is_open => match message {
                    Some(message) => self.take(message),
                    None => is_open = false,
                },
                Some(written) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.settle(written);
                }
                () = sleep_until(resume_at), if resume_at.is_some() => self.resume_at = None,
                () = stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    leave(&mut messages).await;
                }
            }
            let held_bytes = i64::try_from(self.held_bytes).unwrap_or(i64::MAX);
            self.parts.metrics.held_bytes.set(held_bytes);
        }
        self.parts.client.flush(FLUSH_LIMIT).await;
    }

    /// Takes a message, or says why not.
    fn take(&mut self, message: NatsMessage) {
        let reply = message.reply.clone();
        match self.check(message) {
            Ok(held) => {
                self.held_bytes += held.cost_bytes;
                self.waiting.push_back(held);
            }
            Err(unfit) => {
                let (code, detail) = self.reject(&unfit);
                self.answer(
                    reply.as_deref(),
                    &json!({ "status": "error", "code": code, "detail": detail }),
                );
            }
        }
    }

    fn check(&self, message: NatsMessage) -> Result<Held, Unfit> {
        let size_bytes = message.payload.len();
        let limit_bytes = self.parts.max_event_bytes;
        if size_bytes > limit_bytes {
            return Err(Unfit::Rejected(Rejected::TooLarge {
                size_bytes,
                limit_bytes,
            }));
        }
        let event = decode_nats(&message.headers, message.payload)
            .map_err(|error| Unfit::Rejected(error.into()))?;
        if event.has_reserved_type() {
            return Err(Unfit::ReservedType);
        }
        // The producer's queue has a copy.
        let cost_bytes = 2 * event.json().len() + OVERHEAD_BYTES;
        if self.held_bytes + cost_bytes > self.buffer_bytes {
            return Err(Unfit::NoRoom);
        }
        Ok(Held {
            event,
            reply: message.reply,
            cost_bytes,
        })
    }

    /// Counts and logs; returns a word for programs and a sentence for people.
    fn reject(&self, unfit: &Unfit) -> (&'static str, String) {
        let metrics = &self.parts.metrics;
        let (code, detail) = match unfit {
            Unfit::Rejected(rejected) => {
                metrics.skipped(Some(rejected.reason()));
                (rejected.reason().as_str(), rejected.to_string())
            }
            Unfit::ReservedType => {
                metrics.skipped(None);
                let detail = "event types that start with rig. are reserved";
                ("reserved_type", detail.to_owned())
            }
            Unfit::NoRoom => {
                metrics.lost();
                let detail = "kafka does not take events now, and no more can be held";
                ("kafka_unavailable", detail.to_owned())
            }
        };
        if let Some(suppressed) = self.limited.admit(code, Instant::now()) {
            let error = &detail;
            tracing::warn!(
                reason = code,
                ?error,
                suppressed,
                "dropped a message from nats"
            );
        }
        (code, detail)
    }

    /// Hands what waits to the producer, as long as that takes it.
    fn write(&mut self) {
        while self.resume_at.is_none() && self.failed.is_empty() {
            let Some(held) = self.waiting.pop_front() else {
                return;
            };
            match self.parts.writer.start(&held.event) {
                Ok(writing) => self.in_flight.push_back(Box::pin(async move {
                    let result = writing.await;
                    Written { held, result }
                })),
                Err(error) => self.settle(Written {
                    held,
                    result: Err(error),
                }),
            }
        }
    }

    /// Says what became of an event, or keeps it for another try.
    fn settle(&mut self, written: Written) {
        let Written { held, result } = written;
        match result {
            Ok(()) => {
                self.parts.metrics.written();
                self.answer(held.reply.as_deref(), &json!({ "status": "accepted" }));
                self.held_bytes -= held.cost_bytes;
            }
            Err(error @ (ProduceError::TooLarge | ProduceError::Refused { .. })) => {
                self.parts.metrics.refused();
                if let Some(suppressed) = self.limited.admit("refused", Instant::now()) {
                    tracing::warn!(%error, suppressed, "kafka refused an event from nats");
                }
                let detail = error.to_string();
                self.answer(
                    held.reply.as_deref(),
                    &json!({ "status": "error", "code": "kafka_refused", "detail": detail }),
                );
                self.held_bytes -= held.cost_bytes;
            }
            Err(ProduceError::Unavailable | ProduceError::TimedOut) => self.failed.push_back(held),
        }
        if self.in_flight.is_empty() && !self.failed.is_empty() {
            self.failed.append(&mut self.waiting);
            std::mem::swap(&mut self.failed, &mut self.waiting);
            self.resume_at = Some(tokio::time::Instant::now() + PAUSE);
        }
    }

    fn answer(&self, reply: Option<&str>, answer: &serde_json::Value) {
        if let Some(reply) = reply {
            let payload = Bytes::from(answer.to_string());
            self.parts.client.respond(reply, payload);
        }
    }
}

/// Asks for no more messages.
async fn leave(messages: &mut SelectAll<Subscription>) {
    for subscription in messages.iter_mut() {
        subscription.drain().await;
    }
}

/// Waits until `at`; for ever without one.
async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
