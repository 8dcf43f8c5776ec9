//! What the log has dropped, read again from Kafka: one reader, and pages that all who need them share.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::config::ReplayConfig;
use super::locate::{Ends, Locator, StartAt, Wanted};
use super::log::ReplayLog;
use super::pages::{Page, Pages};
use super::reader::Reader;
use super::record::RecordDecoder;
use crate::event::Range;
use crate::kafka::{ConfigError, KafkaConfig};
use crate::telemetry::Metrics;

/// For how long what Kafka has lost is not asked for again.
const LOST_LIFE: Duration = Duration::from_secs(30);
/// How many records one load reads at most, of one partition.
pub(super) const RECORDS_PER_LOAD: i64 = 8192;

/// What a request for a page comes to.
#[derive(Debug, Clone)]
pub enum Turn {
    /// Here it is.
    Page(Arc<Page>),
    /// It is being read; the listeners are told when there is more.
    Loading,
    /// Kafka has deleted the record, or lost it; the next one that it may have has this offset.
    Expired(i64),
}

/// Why the past cannot be read. Kafka being away is no reason: it is waited for.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The settings are refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A thread cannot be started.
    #[error("a thread that reads the past cannot be started")]
    Thread(#[from] std::io::Error),
}

/// Too many clients ask for a place to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many clients ask for a place to start from")]
pub struct Busy;

/// What the reader of the past is made of.
#[derive(Debug, Clone)]
pub struct HistoryParts {
    /// The source topics in their configured order.
    pub topics: Arc<[String]>,
    /// Makes events of records.
    pub decoder: RecordDecoder,
    /// The newest events, where a search for the last ones begins.
    pub log: Arc<ReplayLog>,
    /// Where to count.
    pub metrics: Metrics,
}

/// The events that Kafka keeps, in pages. Dropping it stops the threads.
#[derive(Debug)]
pub struct History {
    desk: Arc<Desk>,
    locator: Locator,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl History {
    /// Starts the thread that reads and the one that looks for places to start from.
    ///
    /// # Errors
    /// [`HistoryError`] when the settings are refused. Not when Kafka is away.
    pub fn start(
        kafka: &KafkaConfig,
        config: &ReplayConfig,
        parts: HistoryParts,
    ) -> Result<Self, HistoryError> {
        let desk = Arc::new(Desk::new(config.replay_cache_bytes, parts.metrics));
        let topics = Arc::clone(&parts.topics);
        let reader = Reader::new(kafka, topics, parts.decoder, Arc::clone(&desk))?;
        let (locator, looking) = Locator::new(kafka, parts.topics, parts.log, Arc::clone(&desk))?;
        let threads = vec![
            Builder::new()
                .name("history-read".to_owned())
                .spawn(move || reader.run())?,
            Builder::new()
                .name("history-locate".to_owned())
                .spawn(move || looking.run())?,
        ];
        Ok(Self {
            desk,
            locator,
            threads: Mutex::new(threads),
        })
    }

    /// Returns the page with the first record of `range`, or has it read.
    ///
    /// Never blocks for Kafka.
    #[must_use]
    pub fn page(&self, range: Range) -> Turn {
        self.desk.page(range)
    }

    /// Has `told` called whenever there are new pages; on the reader's thread, so it has to be quick.
    pub fn listen(&self, told: impl Fn() + Send + Sync + 'static) {
        self.desk.listeners.lock().push(Box::new(told));
    }

    /// Finds out where a client begins that asks for `at`; returns the next offset of every partition,
    /// as (topic, partition, offset).
    ///
    /// Waits for Kafka while it is away.
    ///
    /// # Errors
    /// [`Busy`] when too many wait for that already.
    ///
    /// # Cancel safety
    /// Dropping the future takes the question back.
    pub async fn locate(&self, at: StartAt, wanted: Wanted) -> Result<Vec<(u16, u32, i64)>, Busy> {
        self.locator.ask(at, wanted).await
    }

    /// Returns where the partitions end, as Kafka said when it was asked at `asked` or later; `None`
    /// while it has not been: then it is asked now, and the caller comes again.
    #[must_use]
    pub fn ends_after(&self, asked: Instant) -> Option<Arc<Ends>> {
        self.locator.ends_after(asked)
    }

    /// Forgets what was read of a topic, because it was made anew.
    pub fn forget(&self, topic: u16) {
        self.desk.forget(topic);
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.desk.stop();
        for thread in self.threads.lock().drain(..) {
            if thread.is_finished() && thread.join().is_err() {
                tracing::error!("a thread that reads the past panicked");
            }
        }
    }
}

/// A piece of a partition that is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) range: Range,
    /// How often topics were forgotten before; what is read for an older load may be of an old topic.
    pub(super) generation: u64,
}

/// Where those who need pages and the one who reads them meet.
pub(super) struct Desk {
    state: Mutex<State>,
    /// Told when there is something to read, or no more.
    asked: Condvar,
    /// Told when something was read.
    answered: Condvar,
    listeners: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
    metrics: Metrics,
}

struct State {
    pages: Pages,
    queue: VecDeque<Load>,
    running: Vec<Load>,
    /// How often topics were forgotten.
    generation: u64,
    /// The oldest offsets that partitions keep, where somebody asked for an older one.
    oldest: HashMap<(u16, u32), i64>,
    /// What Kafka had and has lost, as it seemed at this instant.
    lost: Vec<(Range, Instant)>,
    /// Whether something changed that those who wait were not told.
    has_news: bool,
    is_stopping: bool,
}

impl Desk {
    fn new(cache_bytes: usize, metrics: Metrics) -> Self {
        let state = State {
            pages: Pages::new(cache_bytes),
            queue: VecDeque::new(),
            running: Vec::new(),
            generation: 0,
            oldest: HashMap::new(),
            lost: Vec::new(),
            has_news: false,
            is_stopping: false,
        };
        Self {
            state: Mutex::new(state),
            asked: Condvar::new(),
            answered: Condvar::new(),
            listeners: Mutex::default(),
            metrics,
        }
    }

    pub(super) fn page(&self, range: Range) -> Turn {
        let Range {
            topic,
            partition,
            from,
            to,
        } = range;
        let mut state = self.state.lock();
        if let Some(page) = state.pages.get(topic, partition, from) {
            return Turn::Page(page);
        }
        match state.oldest.get(&(topic, partition)) {
            Some(oldest) if from < *oldest => return Turn::Expired(*oldest),
            _ => {}
        }
        if let Some(to) = state.lost_from(&range) {
            return Turn::Expired(to);
        }
        let is_coming = |Load { range: coming, .. }: &Load| {
            (coming.topic, coming.partition) == (topic, partition)
                && (coming.from..coming.to).contains(&from)
        };
        if !state.running.iter().chain(&state.queue).any(is_coming) {
            let next_page = state.pages.next_begin(topic, partition, from);
            let to = to.min(from + RECORDS_PER_LOAD).min(next_page.unwrap_or(to));
            let generation = state.generation;
            let range = Range { to, ..range };
            state.queue.push_back(Load { range, generation });
            self.asked.notify_one();
        }
        Turn::Loading
    }

    /// Takes the next load that `may_start`; waits for one while nothing `is_running`.
    pub(super) fn next_load(
        &self,
        is_running: bool,
        may_start: impl Fn(&Load) -> bool,
    ) -> Option<Load> {
        let mut state = self.state.lock();
        while state.queue.is_empty() && !is_running && !state.is_stopping {
            self.asked.wait(&mut state);
        }
        let place = state.queue.iter().position(may_start)?;
        let load = state.queue.remove(place)?;
        state.running.push(load);
        Some(load)
    }

    /// Returns how often topics were forgotten; of loads that are older nothing is taken.
    pub(super) fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.state.lock().is_stopping
    }

    pub(super) fn publish(&self, page: Page, generation: u64) {
        let mut state = self.state.lock();
        if generation != state.generation {
            return;
        }
        self.metrics
            .history_records
            .inc_by(page.events.len() as u64);
        state.pages.insert(Arc::new(page));
        let bytes = i64::try_from(state.pages.bytes()).unwrap_or(i64::MAX);
        self.metrics.history_bytes.set(bytes);
        state.has_news = true;
    }

    /// The load is over, whether or not all of it was read.
    pub(super) fn done(&self, load: &Load) {
        let mut state = self.state.lock();
        state.running.retain(|running| running != load);
        state.has_news = true;
    }

    /// A partition keeps nothing older than `oldest`.
    pub(super) fn deleted(&self, load: &Load, oldest: i64) {
        let mut state = self.state.lock();
        if load.generation == state.generation {
            let partition = (load.range.topic, load.range.partition);
            state.oldest.insert(partition, oldest);
        }
    }

    /// A partition has lost the end of a load, from this offset on. That holds for a while: then Kafka is asked again.
    pub(super) fn lost(&self, load: &Load, from: i64) {
        let mut state = self.state.lock();
        if load.generation == state.generation {
            state.lost.retain(|(_, at)| at.elapsed() < LOST_LIFE);
            let range = Range { from, ..load.range };
            state.lost.push((range, Instant::now()));
        }
    }

    /// Tells everybody who waits, if something was read since the last time.
    pub(super) fn announce(&self) {
        if !std::mem::take(&mut self.state.lock().has_news) {
            return;
        }
        self.answered.notify_all();
        for listener in &*self.listeners.lock() {
            listener();
        }
    }

    /// Waits until something was read, at most `limit`. Returns false at the end.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.is_stopping {
            self.answered.wait_for(&mut state, limit);
        }
        !state.is_stopping
    }

    fn forget(&self, topic: u16) {
        let mut state = self.state.lock();
        state.generation += 1;
        state.pages.forget(topic);
        state.oldest.retain(|(of, _), _| *of != topic);
        state.lost.retain(|(range, _)| range.topic != topic);
    }

    fn stop(&self) {
        self.state.lock().is_stopping = true;
        self.asked.notify_all();
        self.answered.notify_all();
    }
}

impl State {
    /// Returns up to where what is asked for is lost, if it begins with that.
    fn lost_from(&self, asked: &Range) -> Option<i64> {
        let is_lost = |(lost, at): &&(Range, Instant)| {
            (lost.topic, lost.partition) == (asked.topic, asked.partition)
                && (lost.from..lost.to).contains(&asked.from)
                && at.elapsed() < LOST_LIFE
        };
        self.lost.iter().find(is_lost).map(|(lost, _)| lost.to)
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}
