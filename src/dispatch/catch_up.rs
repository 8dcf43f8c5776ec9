//! How connections catch up that resume or were too slow: from the log, at their own pace.

use std::time::{Duration, Instant};

use super::connection::{Reading, Replay};
use super::outbox::{Bytes, Content, Frame};
use super::shard::{Shard, Slot};
use crate::event::Range;
use crate::replay::{Batch, LoggedEvent, Read, Sequence};

/// How many events one connection may look at before others have their turn.
pub(super) const EVENTS_PER_CATCH_UP: usize = 1024;
/// How many bytes of replayed events wait at most; the socket is served between.
const REPLAY_CHUNK_BYTES: usize = 64 * 1024;
/// For how long connections catch up before live events have their turn.
const CATCH_UP_TIME: Duration = Duration::from_millis(2);
/// For how long a cursor may be ahead of this instance before Kafka is asked whether it gave it.
const AHEAD_PATIENCE: Duration = Duration::from_secs(10);

/// How far one connection came in one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CatchUp {
    /// It is live.
    Done,
    /// There is more to read.
    Working,
    /// Its outbox has to be written first, or something has to come.
    Waiting,
}

impl Shard {
    /// Lets connections catch up, each a bounded part; those with more stay in the list.
    pub(super) fn catch_up(&mut self) {
        let until = Instant::now() + CATCH_UP_TIME;
        for _ in 0..self.catching_up.len() {
            let Some(slot) = self.catching_up.pop_front() else {
                return;
            };
            if let Some(connection) = self.connections.get_mut(slot as usize) {
                connection.is_catching_up = false;
            }
            if self.catch_up_one(slot) == CatchUp::Working {
                self.mark_catching_up(slot);
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// Gives those whose cursors were ahead of the shard another look, now that it has moved.
    pub(super) fn look_again_at_those_ahead(&mut self) {
        for slot in std::mem::take(&mut self.ahead) {
            self.mark_catching_up(slot);
        }
    }

    /// Reads on for one connection: a bounded number of events, up to a full outbox.
    fn catch_up_one(&mut self, slot: Slot) -> CatchUp {
        self.send_latest(slot);
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return CatchUp::Done;
        };
        let Some(mut replay) = connection.replay.take().filter(|_| connection.is_open()) else {
            return CatchUp::Done;
        };
        if connection.outbox.events_bytes() >= self.chunk_bytes() {
            self.leave_past(slot);
            return self.go_on_later(slot, replay, CatchUp::Waiting);
        }
        let next = match &replay.reading {
            Reading::Kafka(_) => return self.read_past(slot, replay),
            Reading::Ring(next) if *next >= self.next => return self.at_head(slot, replay),
            Reading::Ring(next) => *next,
        };
        let outcome = match self.setup.log.read(next) {
            Read::AtHead => CatchUp::Waiting,
            Read::Evicted(_) => {
                replay.reading = Reading::Kafka(Vec::new());
                CatchUp::Working
            }
            Read::Batch(batch) => {
                self.replay_batch(slot, &mut replay, next, &batch);
                CatchUp::Working
            }
        };
        self.go_on_later(slot, replay, outcome)
    }

    pub(super) fn go_on_later(
        &mut self,
        slot: Slot,
        replay: Box<Replay>,
        outcome: CatchUp,
    ) -> CatchUp {
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.replay = Some(replay);
        }
        outcome
    }

    pub(super) fn chunk_bytes(&self) -> usize {
        REPLAY_CHUNK_BYTES.min(self.setup.config.outbox_bytes)
    }

    /// The connection has read all that the shard has seen: live, unless its cursor says more, or
    /// some of it still waits.
    fn at_head(&mut self, slot: Slot, mut replay: Box<Replay>) -> CatchUp {
        if self.positions.reached(&replay.position) {
            if self.has_to_write(slot) {
                return self.go_on_later(slot, replay, CatchUp::Waiting);
            }
            self.mark_dirty(slot);
            return CatchUp::Done;
        }
        let since = *replay.ahead_since.get_or_insert_with(Instant::now);
        let due = since + AHEAD_PATIENCE;
        let is_due = Instant::now() >= due;
        let Some(ends) = is_due.then(|| self.setup.history.ends_after(due)).flatten() else {
            self.ahead.push(slot);
            return self.go_on_later(slot, replay, CatchUp::Waiting);
        };
        let ahead: Vec<Range> = replay
            .position
            .iter()
            .filter(|(topic, partition, from)| {
                ends.of(*topic, *partition).is_some_and(|end| *from > end)
            })
            .map(|(topic, partition, from)| Range {
                topic,
                partition,
                from,
                to: self.positions.next_offset(topic, partition),
            })
            .collect();
        if ahead.is_empty() {
            // Kafka has what the client saw: it is this instance that has to catch up.
            replay.ahead_since = None;
            self.ahead.push(slot);
            return self.go_on_later(slot, replay, CatchUp::Waiting);
        }
        // Kafka does not have what the client says it saw: it has lost it, or the topic is another one.
        self.tell_gap(slot, &ahead);
        self.mark_dirty(slot);
        CatchUp::Done
    }

    /// Returns whether events wait for the socket or pipe of a connection.
    ///
    /// What was replayed leaves less room for live events. Nobody is too slow for that: who reads the
    /// log gets it as fast as the socket takes it, so that the socket is full when the head is reached.
    fn has_to_write(&self, slot: Slot) -> bool {
        self.connections
            .get(slot as usize)
            .is_some_and(|c| c.sink.is_stream() && c.outbox.events_bytes() > 0)
    }

    fn replay_batch(&mut self, slot: Slot, replay: &mut Replay, from: Sequence, batch: &Batch) {
        let until = self.next;
        replay.position.enter(&batch.start);
        let looked_at = batch.events_from(from).take(EVENTS_PER_CATCH_UP);
        for (sequence, logged) in looked_at.take_while(|(sequence, _)| *sequence < until) {
            replay.reading = Reading::Ring(sequence + 1);
            let is_of_old_topic = !replay.position.is_same_topic(logged.topic, &batch.start);
            if !is_of_old_topic && !self.replay_event(slot, replay, logged) {
                break;
            }
        }
        self.end_turn(slot, replay);
    }

    /// Gives a connection an event that it has not seen, if it wants it. Returns false when its turn
    /// is over.
    pub(super) fn replay_event(
        &mut self,
        slot: Slot,
        replay: &mut Replay,
        logged: &LoggedEvent,
    ) -> bool {
        let Some(connection) = self.connections.get(slot as usize) else {
            return false;
        };
        if logged.offset < replay.position.next_offset(logged.topic, logged.partition) {
            return true;
        }
        let wanted = replay
            .wanted_at(logged)
            .unwrap_or(&connection.subscriptions);
        let is_wanted = wanted.matches(&logged.event, &logged.fields);
        replay
            .position
            .set(logged.topic, logged.partition, logged.offset + 1);
        if is_wanted {
            let format = connection.format;
            let cursor = replay.position.encode();
            let bytes = Bytes::Own(Box::from(self.encode(format, logged, &cursor)));
            let content = Content::Replayed {
                timestamp_ms: logged.timestamp_ms,
            };
            self.push(slot, Frame { bytes, content });
        }
        let room = self.chunk_bytes();
        self.connections
            .get(slot as usize)
            .is_some_and(|connection| connection.outbox.events_bytes() < room)
    }

    /// Forgets which subscriptions were in force before where the replay now stands.
    pub(super) fn end_turn(&mut self, slot: Slot, replay: &mut Replay) {
        let position = &replay.position;
        replay.earlier.retain(|(until, _)| !position.reached(until));
        self.mark_dirty(slot);
    }
}
