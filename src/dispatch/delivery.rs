//! From a batch to the outboxes: live to those who are up to date, from the log to those who are not.

use std::rc::Rc;

use super::connection::{Connection, Replay, Sink};
use super::outbox::{Bytes, Content, Frame};
use super::shard::{Shard, Slot};
use super::wire::{Format, Outgoing};
use crate::event::{Missed, Positions};
use crate::replay::{Batch, LoggedEvent, Read, Sequence};

/// How many events one connection may look at before others have their turn.
const EVENTS_PER_CATCH_UP: usize = 1024;
/// How many bytes of replayed events wait at most; the socket is served between.
const REPLAY_CHUNK_BYTES: usize = 64 * 1024;
/// How many connections catch up before live events have their turn.
const CATCH_UPS_PER_TURN: usize = 64;
/// For how long a cursor may be ahead of this instance before it counts as one that Kafka never gave.
const AHEAD_PATIENCE_SECONDS: u64 = 10;

/// How far one connection came in one turn.
enum CatchUp {
    /// It is live.
    Done,
    /// There is more in the log.
    Working,
    /// Its outbox has to be written first, or new events have to come.
    Waiting,
}

impl Shard {
    /// Delivers the next events to every live connection that wants them.
    pub(super) fn on_batch(&mut self, batch: &Batch) {
        self.positions.clone_from(&batch.start);
        for (sequence, logged) in batch.events_from(self.next) {
            self.positions
                .set(logged.topic, logged.partition, logged.offset + 1);
            self.next = sequence + 1;
            let mut hits = std::mem::take(&mut self.scratch.hits);
            hits.clear();
            self.index.matches(&logged.event, &logged.fields, &mut hits);
            if !hits.is_empty() {
                self.setup.metrics.matched.inc();
                self.deliver(sequence, logged, &hits);
            }
            self.scratch.hits = hits;
        }
        self.look_again_at_those_ahead();
    }

    fn deliver(&mut self, sequence: Sequence, logged: &LoggedEvent, hits: &[Slot]) {
        let cursor = self.positions.encode();
        self.scratch.frames.clear();
        self.scratch.frames.resize(self.setup.formats.len(), None);
        let timestamp_ms = logged.timestamp_ms;
        for slot in hits {
            let Some(connection) = self.connections.get(*slot as usize) else {
                continue;
            };
            if !connection.is_open() || connection.replay.is_some() {
                continue;
            }
            let format = connection.format;
            let room = self.setup.config.outbox_bytes;
            let bytes = self.encode_once(format, logged, &cursor);
            if connection_is_full(self.connections.get(*slot as usize), bytes.len(), room) {
                self.fall_behind(*slot, sequence);
                continue;
            }
            let content = Content::Event {
                sequence,
                timestamp_ms,
            };
            self.push(
                *slot,
                Frame {
                    bytes: Bytes::Shared(bytes),
                    content,
                },
            );
        }
    }

    /// Returns the frame of the event at hand in `format`, encoded by whoever needs it first.
    fn encode_once(&mut self, format: Format, logged: &LoggedEvent, cursor: &str) -> Rc<[u8]> {
        let known = self
            .scratch
            .frames
            .get(usize::from(format.0))
            .and_then(Clone::clone);
        known.unwrap_or_else(|| {
            let bytes: Rc<[u8]> = Rc::from(self.encode(format, logged, cursor));
            if let Some(place) = self.scratch.frames.get_mut(usize::from(format.0)) {
                *place = Some(Rc::clone(&bytes));
            }
            bytes
        })
    }

    fn encode(&mut self, format: Format, logged: &LoggedEvent, cursor: &str) -> &[u8] {
        let wire = self.wire(format);
        let frame = &mut self.scratch.frame;
        frame.clear();
        let event_type = logged.event.event_type();
        let json = logged.event.json();
        wire.encode(
            Outgoing {
                event_type,
                json,
                cursor,
            },
            frame,
        );
        frame
    }

    /// Turns a live connection that is too slow for `sequence` into one that reads the log.
    ///
    /// What waits in its outbox is dropped where the log still holds it, so that a stalled client
    /// costs no memory.
    fn fall_behind(&mut self, slot: Slot, sequence: Sequence) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let oldest = connection.outbox.oldest_droppable().unwrap_or(sequence);
        let (next, batch) = match self.setup.log.read(oldest) {
            Read::Batch(batch) => {
                connection.outbox.drop_events();
                (oldest, Some(batch))
            }
            Read::Evicted(_) | Read::AtHead => match self.setup.log.read(sequence) {
                Read::Batch(batch) => (sequence, Some(batch)),
                Read::Evicted(_) | Read::AtHead => (sequence, None),
            },
        };
        let position = batch.map_or_else(|| self.positions.clone(), |b| b.positions_before(next));
        connection.replay = Some(Box::new(Replay::new(next, position)));
        let transport = self.wire_of(slot).map(super::wire::Wire::transport);
        if let Some(transport) = transport {
            self.setup
                .metrics
                .fell_behind
                .with_label_values(&[transport.as_str()])
                .inc();
        }
        self.mark_catching_up(slot);
    }

    fn wire_of(&self, slot: Slot) -> Option<&'static dyn super::wire::Wire> {
        self.connections
            .get(slot as usize)
            .map(|connection| self.wire(connection.format))
    }

    /// Lets connections read the log, each a bounded part; those with more stay in the list.
    pub(super) fn catch_up(&mut self) {
        let turns = self.catching_up.len().min(CATCH_UPS_PER_TURN);
        for slot in self.catching_up.drain(..turns).collect::<Vec<_>>() {
            if let Some(connection) = self.connections.get_mut(slot as usize) {
                connection.is_catching_up = false;
            }
            if matches!(self.catch_up_one(slot), CatchUp::Working) {
                self.mark_catching_up(slot);
            }
        }
    }

    /// Gives those whose cursors were ahead of the shard another look, now that it has moved.
    pub(super) fn look_again_at_those_ahead(&mut self) {
        for slot in std::mem::take(&mut self.ahead) {
            self.mark_catching_up(slot);
        }
    }

    /// Reads the log for one connection: a bounded number of events, up to a full outbox.
    fn catch_up_one(&mut self, slot: Slot) -> CatchUp {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return CatchUp::Done;
        };
        let Some(mut replay) = connection.replay.take().filter(|_| connection.is_open()) else {
            return CatchUp::Done;
        };
        if connection.outbox.events_bytes() >= self.chunk_bytes() {
            return self.go_on_later(slot, replay, CatchUp::Waiting);
        }
        if replay.next >= self.next {
            return self.at_head(slot, replay);
        }
        match self.setup.log.read(replay.next) {
            Read::AtHead => self.go_on_later(slot, replay, CatchUp::Waiting),
            Read::Evicted(oldest) => {
                let missed = self.skip_gap(&mut replay, oldest);
                // First put back: the cursor of what is told is that of the replay, not of the shard.
                let outcome = self.go_on_later(slot, replay, CatchUp::Working);
                if !missed.is_empty() {
                    self.tell_gap(slot, &missed);
                }
                outcome
            }
            Read::Batch(batch) => {
                self.replay_batch(slot, &mut replay, &batch);
                self.go_on_later(slot, replay, CatchUp::Working)
            }
        }
    }

    fn go_on_later(&mut self, slot: Slot, replay: Box<Replay>, outcome: CatchUp) -> CatchUp {
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.replay = Some(replay);
        }
        outcome
    }

    fn chunk_bytes(&self) -> usize {
        REPLAY_CHUNK_BYTES.min(self.setup.config.outbox_bytes)
    }

    /// The connection has read all that the shard has seen: live, unless its cursor says more.
    fn at_head(&mut self, slot: Slot, mut replay: Box<Replay>) -> CatchUp {
        if self.positions.reached(&replay.position) {
            self.mark_dirty(slot);
            return CatchUp::Done;
        }
        let patience = self
            .setup
            .config
            .ticks(std::time::Duration::from_secs(AHEAD_PATIENCE_SECONDS));
        let since = *replay.ahead_since.get_or_insert(self.tick);
        if self.tick.wrapping_sub(since) < patience {
            self.ahead.push(slot);
            return self.go_on_later(slot, replay, CatchUp::Waiting);
        }
        // Kafka does not have what the client says it saw: the topic was made again.
        let ahead: Vec<Missed> = replay
            .position
            .iter()
            .map(|(topic, partition, from)| {
                (
                    topic,
                    partition,
                    from,
                    self.positions.next_offset(topic, partition),
                )
            })
            .filter(|(_, _, from, to)| from > to)
            .collect();
        self.tell_gap(slot, &ahead);
        self.mark_dirty(slot);
        CatchUp::Done
    }

    /// The log dropped what comes next: goes on with the oldest that is kept, and returns what is gone.
    fn skip_gap(&self, replay: &mut Replay, oldest: Sequence) -> Vec<Missed> {
        replay.next = oldest;
        let Read::Batch(batch) = self.setup.log.read(oldest) else {
            return Vec::new();
        };
        let missed = replay.position.missed_before(&batch.start);
        replay.position.advance_to(&batch.start);
        missed
    }

    fn replay_batch(&mut self, slot: Slot, replay: &mut Replay, batch: &Batch) {
        let until = self.next;
        let room = self.chunk_bytes();
        replay.position.enter(&batch.start);
        let looked_at = batch.events_from(replay.next).take(EVENTS_PER_CATCH_UP);
        for (sequence, logged) in looked_at.take_while(|(sequence, _)| *sequence < until) {
            replay.next = sequence + 1;
            let Some(connection) = self.connections.get(slot as usize) else {
                return;
            };
            let is_of_old_topic = !replay.position.is_same_topic(logged.topic, &batch.start);
            let seen = replay.position.next_offset(logged.topic, logged.partition);
            if is_of_old_topic || logged.offset < seen {
                continue;
            }
            replay
                .position
                .set(logged.topic, logged.partition, logged.offset + 1);
            let wanted = replay
                .wanted_at(sequence)
                .unwrap_or(&connection.subscriptions);
            if wanted.matches(&logged.event, &logged.fields) {
                let format = connection.format;
                self.push_replayed(slot, format, sequence, logged, &replay.position);
            }
            let waiting = self
                .connections
                .get(slot as usize)
                .map(|c| c.outbox.events_bytes());
            if waiting.is_none_or(|bytes| bytes >= room) {
                break;
            }
        }
        replay.earlier.retain(|(before, _)| *before > replay.next);
        self.mark_dirty(slot);
    }

    fn push_replayed(
        &mut self,
        slot: Slot,
        format: Format,
        sequence: Sequence,
        logged: &LoggedEvent,
        position: &Positions,
    ) {
        let cursor = position.encode();
        let bytes = Bytes::Own(Box::from(self.encode(format, logged, &cursor)));
        let content = Content::Event {
            sequence,
            timestamp_ms: logged.timestamp_ms,
        };
        self.push(slot, Frame { bytes, content });
    }

    /// Answers a poll once it has caught up and has something, or has all that one answer may hold.
    pub(super) fn answer_poll_if_due(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get(slot as usize) else {
            return;
        };
        let Sink::Poll(Some(answer)) = &connection.sink else {
            return;
        };
        if answer.is_closed() {
            return self.remove(slot, super::wire::CloseReason::ByClient);
        }
        let is_full = connection.outbox.events_bytes() >= self.chunk_bytes();
        let is_caught_up = connection.replay.is_none();
        if is_full || (is_caught_up && !connection.outbox.is_empty()) {
            self.answer_poll(slot);
        }
    }
}

fn connection_is_full(connection: Option<&Connection>, more: usize, room: usize) -> bool {
    connection.is_some_and(|connection| {
        let waiting = connection.outbox.events_bytes();
        waiting > 0 && waiting + more > room
    })
}
