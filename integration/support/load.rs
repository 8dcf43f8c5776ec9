//! Load that goes on while something breaks: publishers that know what was acknowledged, and a client
//! that keeps what it got.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;
use tokio::task::JoinHandle;

use super::gateway::keyed;
use super::http;
use super::sse::Sse;

/// How long a submission may take, whatever happens to Kafka.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// How long a publisher waits between two events.
const PAUSE: Duration = Duration::from_millis(5);

/// Publishers, each with a key of its own, that submit one event after the other.
#[derive(Debug)]
pub struct Load {
    is_stopping: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    publishers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Starts to publish events of type `t`, their ids `KEY/NUMBER` with rising numbers.
    pub fn start(address: SocketAddr, keys: usize) -> Self {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let publishers = (0..keys).map(|key| {
            let (stop, count) = (Arc::clone(&is_stopping), Arc::clone(&acknowledged));
            tokio::spawn(publish(address, format!("key{key}"), stop, count))
        });
        Self {
            publishers: publishers.collect(),
            is_stopping,
            acknowledged,
        }
    }

    /// Returns how many events were answered with 202.
    ///
    /// # Panics
    /// When a publisher has ended, which it says why: nothing would come of it any more.
    pub fn acknowledged(&self) -> usize {
        let has_ended = self.publishers.iter().any(JoinHandle::is_finished);
        assert!(!has_ended, "a publisher has failed");
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Ends, and returns the ids that were answered with 202.
    pub async fn stop(self) -> Vec<String> {
        self.is_stopping.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for publisher in self.publishers {
            all.extend(publisher.await.expect("the publisher ends well"));
        }
        all
    }
}

/// An event that is not acknowledged is not repeated: it may be there or not.
async fn publish(
    address: SocketAddr,
    key: String,
    is_stopping: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
) -> Vec<String> {
    let headers = [("content-type", "application/cloudevents+json")];
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if is_stopping.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{key}/{number}");
        let body = keyed(&key, &id, json!(null)).to_string();
        let begin = Instant::now();
        let path = "/_rig/v1/events";
        let answer = http::request(address, "POST", path, &headers, body.as_bytes()).await;
        assert!(begin.elapsed() < ANSWER_LIMIT, "{:?}", begin.elapsed());
        match answer.status {
            202 => {
                acknowledged.push(id);
                count.fetch_add(1, Ordering::Relaxed);
            }
            503 | 504 => {}
            other => panic!("{other}: {}", answer.text()),
        }
        tokio::time::sleep(PAUSE).await;
    }
    acknowledged
}

/// A client that reads all the time.
#[derive(Debug)]
pub struct Inbox {
    ids: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Inbox {
    /// Starts to read a stream, which must not end.
    pub fn of(mut stream: Sse) -> Self {
        let ids: Arc<Mutex<Vec<String>>> = Arc::default();
        let known = Arc::clone(&ids);
        let reader = tokio::spawn(async move {
            // Heartbeats come all the time, and events only as long as Kafka is well.
            while let Some(block) = stream.block().await {
                if !block.is_published() {
                    continue;
                }
                let id = block.json()["id"].as_str().expect("an id").to_owned();
                known.lock().push(id);
            }
        });
        Self { ids, reader }
    }

    /// Returns how many events came.
    pub fn count(&self) -> usize {
        self.ids.lock().len()
    }

    /// Returns whether all these events came.
    pub fn has(&self, wanted: &[String]) -> bool {
        assert!(!self.reader.is_finished(), "the stream ended");
        let ids = self.ids.lock();
        let known: HashSet<&String> = ids.iter().collect();
        wanted.iter().all(|id| known.contains(id))
    }

    /// Asserts that of each key no event came twice or after a later one.
    pub fn assert_once_and_in_order(&self) {
        let mut newest = HashMap::new();
        for id in self.ids.lock().iter() {
            let (key, number) = id.split_once('/').expect("an id of a publisher");
            let number: u64 = number.parse().expect("a number");
            let before = newest.insert(key.to_owned(), number);
            assert!(
                before.is_none_or(|before| before < number),
                "{id} after {before:?}"
            );
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
