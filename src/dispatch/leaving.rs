//! How connections end: polls with their answer, streams with a farewell.

use super::connection::{Life, Polled, Sink, Start};
use super::control::ControlEvent;
use super::outbox::{Bytes, Content, Frame};
use super::shard::{Shard, Slot};
use super::wire::CloseReason;

impl Shard {
    /// Answers a poll with what its outbox holds, and forgets it.
    pub(super) fn answer_poll(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let Sink::Poll(answer) = &mut connection.sink else {
            return;
        };
        let Some(answer) = answer.take() else { return };
        // First, so that the next poll of the client does not meet this one.
        connection.release();
        let format = connection.format;
        let events: Vec<Vec<u8>> = connection
            .outbox
            .take()
            .map(|frame| frame.bytes.as_slice().to_vec())
            .collect();
        let count = events.len() as u64;
        let cursor = match self.connections.get(slot as usize) {
            Some(connection) => match connection.waiting.as_deref().map(|waiting| &waiting.start) {
                Some(Start::After(cursor)) => cursor.to_string(),
                _ => self.position_of(connection).encode(),
            },
            None => return,
        };
        if answer.send(Polled { events, cursor }).is_ok() {
            let transport = self.wire(format).transport();
            let delivered = &self.setup.metrics.delivered;
            delivered
                .with_label_values(&[transport.as_str()])
                .inc_by(count);
        }
        self.remove(slot, CloseReason::Answered);
    }

    /// Answers a poll with what there is. One that has not begun gets its own cursor back; if it has
    /// none, it stands nowhere yet and ends without an answer: its client asks again.
    pub(super) fn end_poll(&mut self, slot: Slot) {
        let connection = self.connections.get(slot as usize);
        let waiting = connection.and_then(|connection| connection.waiting.as_deref());
        if waiting.is_some_and(|waiting| !matches!(waiting.start, Start::After(_))) {
            self.remove(slot, CloseReason::Answered);
        } else {
            self.answer_poll(slot);
        }
    }

    /// Ends a connection: no more events, what waits is written, then the farewell.
    pub(super) fn close(&mut self, slot: Slot, reason: CloseReason) {
        let Some(connection) = self.connections.get(slot as usize) else {
            return;
        };
        if !connection.is_open() {
            return;
        }
        if reason == CloseReason::SessionKilled {
            self.drop_what_waits(slot);
        }
        let is_poll = matches!(
            self.connections.get(slot as usize),
            Some(connection) if matches!(connection.sink, Sink::Poll(_))
        );
        if is_poll {
            return self.end_poll(slot);
        }
        if let Some(event) = ControlEvent::last(reason) {
            self.tell(slot, &event);
        }
        let Some(connection) = self.connections.get(slot as usize) else {
            return;
        };
        let farewell = self.wire(connection.format).farewell(reason);
        self.close_with(slot, reason, farewell);
    }

    /// Drops the events of a client that may not see them any more.
    fn drop_what_waits(&mut self, slot: Slot) {
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.outbox.drop_events();
        }
    }

    /// Ends a connection with these last bytes.
    pub(super) fn close_with(&mut self, slot: Slot, reason: CloseReason, farewell: Vec<u8>) {
        self.leave_index(slot);
        self.leave_past(slot);
        let tick = self.tick;
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        connection.life = Life::Closing(reason);
        connection.replay = None;
        connection.latest = None;
        connection.input = None;
        connection.progress_tick = tick;
        if !farewell.is_empty() {
            let bytes = Bytes::Own(farewell.into());
            connection.outbox.push(Frame {
                bytes,
                content: Content::Control,
            });
        }
        self.mark_dirty(slot);
    }

    fn leave_index(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        if connection.life == Life::Open && connection.waiting.is_none() {
            let count = connection.subscriptions.len();
            self.index.remove(slot);
            self.count_subscriptions(count, 0);
        }
    }

    /// Forgets a connection at once; whatever still waits for it is lost to it.
    pub(super) fn remove(&mut self, slot: Slot, reason: CloseReason) {
        self.leave_index(slot);
        self.leave_past(slot);
        let Some(mut connection) = self.connections.try_remove(slot as usize) else {
            return;
        };
        if let Sink::Socket(stream) = &mut connection.sink
            && let Err(error) = self.poll.registry().deregister(stream)
        {
            tracing::debug!(%error, "could not stop watching a socket");
        }
        if let Some(generation) = self.generations.get_mut(slot as usize) {
            *generation = generation.wrapping_add(1);
        }
        let reason = match connection.life {
            Life::Closing(reason) | Life::Lingering(reason) => reason,
            Life::Open => reason,
        };
        let metrics = &self.setup.metrics;
        let transport = self.wire(connection.format).transport();
        metrics
            .connections
            .with_label_values(&[transport.as_str()])
            .dec();
        metrics
            .connections_closed
            .with_label_values(&[reason.as_str()])
            .inc();
    }
}
