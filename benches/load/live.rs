//! A client that is live while others come back, and its events, one every 100 ms. Both are on
//! threads of their own, so that what the other clients cost does not count for it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::clients::Client;
use crate::event::{EVENT_BYTES, Moment, Stamp};
use crate::sheet::Faults;
use crate::stage::Stage;
use crate::tally::{Book, part_of};

/// How often there is an event.
const EVERY: Duration = Duration::from_millis(100);
/// The type of the events.
const LIVE: &str = "bench.live";
/// How long the last event may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The client and the producer of its events; both end when this is dropped.
#[derive(Debug)]
pub(crate) struct Live {
    producing: JoinHandle<anyhow::Result<u64>>,
    reading: JoinHandle<anyhow::Result<Seen>>,
    is_over: Arc<AtomicBool>,
    /// Says how many events there are to wait for.
    count: oneshot::Sender<u64>,
}

/// The events that the client got, in their order.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    events: Vec<(Moment, Duration)>,
    faults: Faults,
}

impl Live {
    /// Begins, once the client is connected.
    pub(crate) async fn start(stage: &Stage) -> anyhow::Result<Self> {
        let door = stage.door(format!(r#"[{{"eventType":"{LIVE}"}}]"#));
        let producer = stage.prompt_producer()?;
        let (count, counted) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let reading = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async {
                let client = Client::open(door).await?;
                if ready.send(()).is_err() {
                    return Ok(Seen::default());
                }
                Ok(read(client, counted).await)
            })
        });
        is_ready.await.context("the live client is not connected")?;
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let producing = tokio::task::spawn_blocking(move || {
            let began = Moment::now();
            let mut number = 0;
            while !until.load(Ordering::Relaxed) {
                let due = began.after(EVERY * u32::try_from(number)?);
                std::thread::sleep(due.since(Moment::now()));
                let event = Stamp { number, due }.event_of(LIVE, 0, EVENT_BYTES);
                producer.put(0, LIVE, &event)?;
                number += 1;
            }
            producer.flush()?;
            Ok(number)
        });
        Ok(Self {
            producing,
            reading,
            is_over,
            count,
        })
    }

    /// Ends the events, and returns what the client got.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Seen> {
        self.is_over.store(true, Ordering::Relaxed);
        let count = (&mut self.producing).await??;
        let (closed, _) = oneshot::channel();
        let said = std::mem::replace(&mut self.count, closed).send(count);
        said.ok().context("the live client has ended")?;
        (&mut self.reading).await?
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // The client ends when nobody can say how many events there are.
        self.is_over.store(true, Ordering::Relaxed);
    }
}

async fn read(client: Client, mut counted: oneshot::Receiver<u64>) -> Seen {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let scratch = Rc::new(RefCell::new(vec![0; 16 * 1024]));
    let listening = tokio::task::spawn_local(client.listen(0, Rc::clone(&seen), scratch));
    let count = (&mut counted).await.unwrap_or(0);
    let deadline = Moment::now().after(PATIENCE);
    while (seen.borrow().events.len() as u64) < count && Moment::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    listening.abort();
    let mut seen = seen.take();
    seen.faults.lost = count.saturating_sub(seen.events.len() as u64);
    seen
}

impl Seen {
    pub(crate) const fn faults(&self) -> Faults {
        self.faults
    }

    /// Returns median, 99th percentile and maximum of the latency of what was due between.
    pub(crate) fn latencies(&self, from: Moment, until: Moment) -> [Duration; 3] {
        let mut latencies: Vec<u32> = self
            .events
            .iter()
            .filter(|(due, _)| (from..until).contains(due))
            .map(|(_, latency)| u32::try_from(latency.as_micros()).unwrap_or(u32::MAX))
            .collect();
        [0.5, 0.99, 1.0].map(|part| part_of(&mut latencies, part).unwrap_or_default())
    }
}

impl Book for Seen {
    fn on_event(&mut self, _client: usize, stamp: Stamp) {
        let next = self.events.len() as u64;
        if stamp.number < next {
            self.faults.twice += 1;
            return;
        }
        // What is missing before it counts as lost in the end, by the number of events.
        self.events
            .push((stamp.due, Moment::now().since(stamp.due)));
    }

    fn on_closed(&mut self) {
        self.faults.closed += 1;
    }
}
