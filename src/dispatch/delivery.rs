//! From a batch to the outboxes of those who are up to date.

use std::rc::Rc;

use super::config::SlowClientPolicy;
use super::connection::{Reading, Replay, Sink};
use super::latest::Latest;
use super::outbox::{Bytes, Content, Frame};
use super::shard::{Shard, Slot};
use super::wire::{CloseReason, Format, Outgoing};
use crate::event::Positions;
use crate::replay::{Batch, LoggedEvent, Read, Sequence};

impl Shard {
    /// Delivers the next events to every live connection that wants them.
    pub(super) fn on_batch(&mut self, batch: &Batch) {
        self.positions.clone_from(&batch.start);
        let mut hits = std::mem::take(&mut self.scratch.hits);
        let mut events = batch.events_from(self.next);
        loop {
            let ahead = events.clone();
            let ahead = ahead.map(|(_, logged)| (&logged.event, &logged.fields));
            self.index.matches_all(ahead, &mut hits);
            if hits.is_empty() {
                break;
            }
            // Meanwhile nobody comes or wants something else, and who goes leaves a slot that stays empty.
            for (slots, (sequence, logged)) in hits.iter().zip(&mut events) {
                self.positions
                    .set(logged.topic, logged.partition, logged.offset + 1);
                self.next = sequence + 1;
                if !slots.is_empty() {
                    self.setup.metrics.matched.inc();
                    self.deliver(sequence, logged, slots);
                }
            }
        }
        self.scratch.hits = hits;
        self.look_again_at_those_ahead();
    }

    fn deliver(&mut self, sequence: Sequence, logged: &LoggedEvent, hits: &[Slot]) {
        let cursor = self.positions.encode();
        self.scratch.frames.clear();
        self.scratch.frames.resize(self.setup.formats.len(), None);
        let timestamp_ms = logged.timestamp_ms;
        for slot in hits {
            let Some(connection) = self.connections.get_mut(*slot as usize) else {
                continue;
            };
            if !connection.is_open() || connection.replay.is_some() {
                continue;
            }
            if let Some(latest) = &mut connection.latest {
                self.setup
                    .metrics
                    .conflated
                    .inc_by(latest.note(logged, sequence));
                continue;
            }
            let format = connection.format;
            let room = self.setup.config.outbox_bytes;
            let bytes = self.encode_once(format, logged, &cursor);
            let size_bytes = bytes.len();
            if self.is_full(*slot, size_bytes, room) && {
                // A burst of one batch does not make a client slow: only its socket can say that.
                self.flush_one(*slot);
                self.is_full(*slot, size_bytes, room)
            } {
                self.on_too_slow(*slot, sequence, logged);
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

    pub(super) fn encode(&mut self, format: Format, logged: &LoggedEvent, cursor: &str) -> &[u8] {
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

    /// Returns whether `more` bytes do not fit into the outbox of a connection; one event always fits.
    fn is_full(&self, slot: Slot, more: usize, room: usize) -> bool {
        let connection = self.connections.get(slot as usize);
        let waiting = connection.map_or(0, |connection| connection.outbox.events_bytes());
        waiting > 0 && waiting + more > room
    }

    /// A live connection has no room for an event.
    fn on_too_slow(&mut self, slot: Slot, sequence: Sequence, logged: &LoggedEvent) {
        let Some(connection) = self.connections.get(slot as usize) else {
            return;
        };
        let transport = self.wire(connection.format).transport();
        self.setup
            .metrics
            .fell_behind
            .with_label_values(&[transport.as_str()])
            .inc();
        match self.setup.config.slow_client_policy {
            SlowClientPolicy::Replay => self.fall_behind(slot, sequence, logged),
            SlowClientPolicy::Latest => self.keep_latest(slot, sequence, logged),
            SlowClientPolicy::Disconnect => {
                if let Some(connection) = self.connections.get_mut(slot as usize) {
                    connection.outbox.drop_events();
                }
                self.close(slot, CloseReason::TooSlow);
            }
        }
    }

    /// Turns a live connection that is too slow for an event into one that reads the log.
    ///
    /// What waits in its outbox is dropped where the log still holds it, so that a stalled client
    /// costs no memory.
    fn fall_behind(&mut self, slot: Slot, sequence: Sequence, logged: &LoggedEvent) {
        let (next, position) = self.drop_waiting(slot, sequence, logged);
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.replay = Some(Box::new(Replay::new(Reading::Ring(next), position)));
        }
        self.mark_catching_up(slot);
    }

    /// From now on keeps only the newest event of each key for a connection that is too slow.
    fn keep_latest(&mut self, slot: Slot, sequence: Sequence, logged: &LoggedEvent) {
        let waiting = self
            .connections
            .get(slot as usize)
            .and_then(|connection| connection.outbox.oldest_droppable());
        let (next, position) = self.drop_waiting(slot, sequence, logged);
        let mut latest = Latest::new(position);
        let mut conflated = 0;
        if waiting == Some(next) {
            conflated += self.note_dropped(slot, next, sequence, &mut latest);
        }
        conflated += latest.note(logged, sequence);
        self.setup.metrics.conflated.inc_by(conflated);
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.latest = Some(Box::new(latest));
        }
    }

    /// Notes the events from number `from` to before `until` that a connection wants and lost from
    /// its outbox.
    fn note_dropped(
        &self,
        slot: Slot,
        from: Sequence,
        until: Sequence,
        latest: &mut Latest,
    ) -> u64 {
        let Some(connection) = self.connections.get(slot as usize) else {
            return 0;
        };
        let mut conflated = 0;
        let mut next = from;
        while next < until
            && let Read::Batch(batch) = self.setup.log.read(next)
        {
            let dropped = batch
                .events_from(next)
                .take_while(|(number, _)| *number < until);
            for (number, logged) in dropped {
                if connection
                    .subscriptions
                    .matches(&logged.event, &logged.fields)
                {
                    conflated += latest.note(logged, number);
                }
            }
            next = batch.end();
        }
        conflated
    }

    /// Drops what waits for a connection and can be read again; returns from where that is, and where
    /// the client stands before it.
    fn drop_waiting(
        &mut self,
        slot: Slot,
        sequence: Sequence,
        logged: &LoggedEvent,
    ) -> (Sequence, Positions) {
        if let Some(connection) = self.connections.get_mut(slot as usize)
            && let Some(oldest) = connection.outbox.oldest_droppable()
            && let Read::Batch(batch) = self.setup.log.read(oldest)
        {
            connection.outbox.drop_events();
            return (oldest, batch.positions_before(oldest));
        }
        let mut position = self.positions.clone();
        position.set(logged.topic, logged.partition, logged.offset);
        (sequence, position)
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
            return self.remove(slot, CloseReason::ByClient);
        }
        let is_full = connection.outbox.events_bytes() >= self.chunk_bytes();
        let is_caught_up = connection.replay.is_none() && connection.latest.is_none();
        if is_full || (is_caught_up && !connection.outbox.is_empty()) {
            self.answer_poll(slot);
        }
    }
}
