//! The clients: each connects to a random instance, reads, and comes back with its cursor.

mod poll;
mod session;
mod sse;
mod ws;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;

use self::poll::Poll;
use self::session::{Batch, Broken, Session};
use super::cursors;
use super::event::{EventId, PARTITIONS};
use super::findings::{Finding, Kind};
use super::history::{Connection, History};
use super::instances::Instance;
use super::options::Plant;
use super::random::Random;
use super::wish::Wish;

/// For how long a client that has everything looks whether something comes that should not.
const LINGER: Duration = Duration::from_millis(700);

/// How a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Things break, and clients come and go as they like.
    Storm,
    /// Everything is healed, and clients stay until they have everything.
    Calm,
    /// It is too late.
    Over,
}

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Sse,
    Ws,
    LongPolling,
}

/// What all clients know.
#[derive(Debug)]
pub struct World {
    pub seed: u64,
    pub topic: String,
    pub keys: u16,
    pub instances: Arc<Vec<Arc<Instance>>>,
    pub phase: watch::Receiver<Phase>,
    pub plant: Option<Plant>,
    pub earliest: bool,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    world: Arc<World>,
    transport: Transport,
    random: Random,
    wish: Wish,
    /// Whether it wants something else now and then when it comes back.
    is_fickle: bool,
    /// Whether it begins with the oldest event in place of live ones.
    is_earliest: bool,
    is_slow: bool,
    cursor: Option<String>,
    poll: Poll,
    ended: HashSet<u32>,
    history: History,
}

impl Client {
    pub fn new(number: usize, world: &Arc<World>) -> Self {
        let mut random = Random::of(world.seed, "client", number);
        let transports = [Transport::Sse, Transport::Ws, Transport::LongPolling];
        let transport = transports[number % transports.len()];
        let wish = match world.plant {
            // To miss or to repeat any event is wrong then.
            Some(Plant::ResumePastOne | Plant::ResumeBeforeOne) => Wish::everything(),
            _ => Wish::random(&mut random, world.keys),
        };
        let history = History::new(format!("client {number} ({transport:?})"), wish.clone());
        Self {
            transport,
            wish,
            is_fickle: world.plant.is_none()
                && transport != Transport::LongPolling
                && random.percent(25),
            is_earliest: world.earliest && random.percent(25),
            is_slow: random.percent(30),
            random,
            world: Arc::clone(world),
            cursor: None,
            poll: Poll::default(),
            ended: HashSet::new(),
            history,
        }
    }

    /// Connects again and again, until it has everything or it is too late.
    pub async fn run(mut self) -> History {
        let mut phase = self.world.phase.clone();
        loop {
            let is_over = tokio::select! {
                _ = phase.wait_for(|phase| *phase == Phase::Over) => true,
                () = self.visit() => self.is_finished(),
            };
            if is_over {
                self.history.is_finished = self.is_finished();
                return self.history;
            }
            tokio::time::sleep(self.random.time_ms(20, 300)).await;
        }
    }

    fn is_finished(&self) -> bool {
        self.ended.len() == PARTITIONS as usize
    }

    fn is_calm(&self) -> bool {
        *self.world.phase.borrow() != Phase::Storm
    }

    /// Connects once and reads until it leaves or the connection breaks.
    async fn visit(&mut self) {
        let instance = self.random.below(self.world.instances.len());
        let handed_back = self.cursor.clone().map(|cursor| self.planted(cursor));
        self.perhaps_change_wish(handed_back.as_deref());
        self.history.connections.push(Connection {
            instance,
            handed_back: handed_back.clone().unwrap_or_default(),
            first_receipt: self.history.receipts.len(),
            left_with: String::new(),
        });
        let address = self.world.instances[instance].proxy.address();
        let query = self.query();
        let patience = self.random.pick(&[4, 4, 15]);
        let opening = Session::open(self.transport, address, query, handed_back);
        let opened = tokio::time::timeout(Duration::from_secs(patience), opening).await;
        match opened {
            Ok(Ok(session)) => self.read(session, Duration::from_secs(patience)).await,
            Ok(Err(Broken::Refused(why))) => self.found(Kind::Refused, &why),
            // Cut, or nobody answers.
            Ok(Err(Broken::Cut)) | Err(_) => {}
        }
        if let Some(last) = self.history.connections.last_mut() {
            last.left_with = self.cursor.clone().unwrap_or_default();
        }
    }

    /// Reads until it is time to leave, nothing comes for too long, or the connection breaks.
    async fn read(&mut self, mut session: Session, patience: Duration) {
        let mut leave = Instant::now() + self.stay();
        let mut is_lingering = false;
        loop {
            if self.is_finished() && !is_lingering {
                is_lingering = true;
                leave = Instant::now() + LINGER;
            }
            let left = leave.saturating_duration_since(Instant::now());
            let is_leaving = is_lingering || !self.is_calm();
            let limit = if is_leaving {
                patience.min(left)
            } else {
                patience
            };
            match tokio::time::timeout(limit, session.next(&mut self.poll)).await {
                Ok(Ok(batch)) => self.take(batch),
                Ok(Err(Broken::Refused(why))) => return self.found(Kind::Refused, &why),
                Ok(Err(Broken::Cut)) | Err(_) => return,
            }
            if self.is_slow && !self.is_calm() {
                self.dawdle().await;
            }
        }
    }

    /// Returns for how long to stay connected.
    fn stay(&mut self) -> Duration {
        if self.world.plant.is_some() {
            return self.random.time_ms(200, 600);
        }
        match self.random.below(4) {
            0 => self.random.time_ms(50, 1000),
            1 | 2 => self.random.time_ms(1000, 10_000),
            _ => self.random.time_ms(10_000, 60_000),
        }
    }

    /// Reads slowly, or not at all for a while.
    async fn dawdle(&mut self) {
        match self.random.below(200) {
            0 => tokio::time::sleep(self.random.time_ms(500, 4000)).await,
            1..20 => tokio::time::sleep(self.random.time_ms(1, 5)).await,
            _ => {}
        }
    }

    fn take(&mut self, batch: Batch) {
        if batch.is_anew {
            self.found(Kind::BegunAnew, "its session was not known");
        }
        for event in &batch.events {
            match event["type"].as_str() {
                Some("rig.resume_gap") => {
                    let what = format!("was told {}", event["data"]);
                    self.found(Kind::ResumeGap, &what);
                }
                Some("rig.subscriptions_set") => {
                    self.history.subscribed.get_or_insert_with(Instant::now);
                }
                Some(name) if name.starts_with("rig.") => {}
                _ => self.receive(event),
            }
        }
        if let Some(cursor) = batch.cursor {
            self.move_to(cursor);
        }
    }

    fn receive(&mut self, event: &Value) {
        let id = event["id"].as_str().and_then(|id| id.parse().ok());
        let Some(id): Option<EventId> = id else {
            return self.found(Kind::Damaged, &format!("got {event}"));
        };
        if !id.content(self.world.seed).is_in(event) {
            self.found(Kind::Damaged, &format!("got {event}"));
        }
        if id.is_end() {
            self.ended.insert(id.number);
        }
        self.history.receipts.push(id);
        if self.world.plant == Some(Plant::Swapped) && self.random.percent(5) {
            self.swap_with_earlier(id);
        }
    }

    fn move_to(&mut self, cursor: String) {
        if self.history.start.is_none() {
            let start = if self.is_earliest {
                Ok(vec![0; PARTITIONS as usize])
            } else {
                cursors::positions(&self.world.topic, &cursor)
            };
            match start {
                Ok(start) => self.history.start = Some(start),
                Err(why) => self.found(Kind::Damaged, &why),
            }
        }
        self.cursor = Some(cursor);
    }

    /// Returns the parameters of a connection but for the cursor.
    fn query(&self) -> String {
        let everything = Wish::everything();
        let asked = match self.world.plant {
            Some(Plant::WrongFilter) => &everything,
            _ => &self.wish,
        };
        let mut query = crate::support::gateway::query(&asked.to_json());
        if self.is_earliest && self.cursor.is_none() {
            query.push_str("&start=earliest");
        }
        query
    }

    fn perhaps_change_wish(&mut self, cursor: Option<&str>) {
        let Some(cursor) = cursor.filter(|_| self.is_fickle && self.random.percent(30)) else {
            return;
        };
        match cursors::positions(&self.world.topic, cursor) {
            Ok(from) => {
                self.wish = Wish::random(&mut self.random, self.world.keys);
                self.history.wishes.push((from, self.wish.clone()));
            }
            Err(why) => self.found(Kind::Damaged, &why),
        }
    }

    /// Returns the cursor to hand back, which a planted bug changes.
    fn planted(&mut self, cursor: String) -> String {
        let by = match self.world.plant {
            Some(Plant::ResumePastOne) => 1,
            Some(Plant::ResumeBeforeOne) => -1,
            _ => return cursor,
        };
        if self.is_calm() {
            return cursor;
        }
        let partition = self.random.below(PARTITIONS as usize) as u32;
        cursors::moved(&self.world.topic, &cursor, partition, by).unwrap_or(cursor)
    }

    fn swap_with_earlier(&mut self, id: EventId) {
        let newest = self.history.receipts.len() - 1;
        let is_same_key = |other: &EventId| other.key == id.key;
        let earlier = self.history.receipts[..newest]
            .iter()
            .rposition(is_same_key);
        if let Some(earlier) = earlier {
            self.history.receipts.swap(earlier, newest);
        }
    }

    fn found(&mut self, kind: Kind, what: &str) {
        let client = &self.history.client;
        let now = self.history.between(Some(usize::MAX), None);
        let what = format!("{client}: {what}, {now}");
        self.history.findings.push(Finding::new(kind, what));
    }
}
