//! The sockets and pipes of a shard: what clients send, and what they get.

use std::io::{self, IoSlice};
use std::time::Instant;

use super::connection::{Connection, Life, Sink};
use super::messages::ClientText;
use super::outbox::{Bytes, Content, Frame};
use super::shard::{Shard, Slot};
use super::token::ConnectionId;
use super::wire::{CloseReason, Incoming};
use crate::telemetry::Age;

/// How many frames go into one write.
const FRAMES_PER_WRITE: usize = 64;
/// How many writes one connection gets before others have their turn.
const WRITES_PER_TURN: usize = 16;
/// How many reads one connection gets before others have their turn.
const READS_PER_TURN: usize = 4;
/// How many bytes of answers to a client's own frames may wait.
const MAX_CONTROL_BYTES: usize = 256 * 1024;
/// How many bytes of what a client is told about itself may wait, such as the answers to its requests.
const MAX_TOLD_BYTES: usize = 1024 * 1024;

/// What a read found.
enum Received {
    Bytes(usize),
    Nothing,
    End,
}

impl Shard {
    pub(super) fn on_socket(&mut self, event: &mio::event::Event) {
        let Ok(slot) = Slot::try_from(event.token().0) else {
            return;
        };
        if event.is_writable()
            && let Some(connection) = self.connections.get_mut(slot as usize)
        {
            connection.is_blocked = false;
            self.mark_dirty(slot);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.readable.push(slot);
        }
    }

    /// Looks at a pipe that has moved, as at a socket that says so.
    pub(super) fn on_pipe(&mut self, id: ConnectionId) {
        if self.generation(id.slot) != id.generation {
            return;
        }
        let Some(connection) = self.connections.get_mut(id.slot as usize) else {
            return;
        };
        if let Sink::Pipe(pipe) = &connection.sink {
            pipe.look();
        }
        connection.is_blocked = false;
        self.mark_dirty(id.slot);
        self.readable.push(id.slot);
    }

    /// Reads from the sockets that have something, a bounded number of times each.
    pub(super) fn read_on(&mut self) {
        for slot in std::mem::take(&mut self.readable) {
            self.read_socket(slot);
        }
    }

    fn read_socket(&mut self, slot: Slot) {
        for _ in 0..READS_PER_TURN {
            match self.receive(slot) {
                Received::Nothing => return,
                Received::End => return self.on_end(slot),
                Received::Bytes(count) => {
                    if self.is_open(slot) {
                        let bytes = self.scratch.read.get(..count).unwrap_or_default().to_vec();
                        self.on_input(slot, bytes);
                    }
                }
            }
        }
        self.readable.push(slot);
    }

    /// The client sends no more. One that has said so (a close frame) may end its side at once, and gets
    /// the farewell nevertheless.
    fn on_end(&mut self, slot: Slot) {
        let is_closing = |c: &Connection| matches!(c.life, Life::Closing(_));
        if self.connections.get(slot as usize).is_some_and(is_closing) {
            self.flush_one(slot);
        }
        self.remove(slot, CloseReason::ByClient);
    }

    fn receive(&mut self, slot: Slot) -> Received {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return Received::Nothing;
        };
        if connection.is_paused {
            return Received::Nothing;
        }
        let Some(stream) = connection.sink.stream() else {
            return Received::Nothing;
        };
        match stream.read(&mut self.scratch.read) {
            Ok(0) => Received::End,
            Ok(count) => Received::Bytes(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Received::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Received::Bytes(0),
            Err(_) => Received::End,
        }
    }

    /// Acts on what a client sent.
    pub(super) fn on_input(&mut self, slot: Slot, mut bytes: Vec<u8>) {
        let Some(mut input) = self.input_of(slot) else {
            return;
        };
        input.unread.append(&mut bytes);
        let Some(connection) = self.connections.get(slot as usize) else {
            return;
        };
        let mut incoming = Vec::new();
        self.wire(connection.format).read(&mut input, &mut incoming);
        if !input.is_empty()
            && let Some(connection) = self.connections.get_mut(slot as usize)
        {
            connection.input = Some(input);
        }
        for incoming in incoming {
            self.on_incoming(slot, incoming);
        }
    }

    fn on_incoming(&mut self, slot: Slot, incoming: Incoming) {
        if !self.is_open(slot) {
            return;
        }
        match incoming {
            Incoming::Alive => {
                if let Some(connection) = self.connections.get_mut(slot as usize) {
                    connection.awaits_answer = false;
                }
            }
            Incoming::Answer(bytes) => {
                let bytes = Bytes::Own(bytes.into());
                self.push(
                    slot,
                    Frame {
                        bytes,
                        content: Content::Control,
                    },
                );
                self.refuse_over(slot, MAX_CONTROL_BYTES);
            }
            Incoming::Text(text) => {
                let connection = self.id_of(slot);
                let connected = self.connections.get(slot as usize);
                let Some(client) = connected.and_then(|c| c.client.as_deref().copied()) else {
                    return;
                };
                let text = ClientText {
                    connection,
                    client,
                    text,
                };
                if self.setup.texts.try_send(text).is_err() {
                    self.close(slot, CloseReason::Overloaded);
                } else if let Some(connection) = self.connections.get_mut(slot as usize) {
                    connection.is_paused = true;
                }
            }
            Incoming::Close { farewell, reason } => self.close_with(slot, reason, farewell),
        }
    }

    /// Reads on after a text of the client was acted on.
    pub(super) fn resume_reading(&mut self, slot: Slot) {
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.is_paused = false;
            self.on_input(slot, Vec::new());
            self.readable.push(slot);
        }
    }

    /// Ends a connection whose client asks for more than it reads.
    pub(super) fn refuse_unread(&mut self, slot: Slot) {
        if self.control_bytes(slot) > MAX_TOLD_BYTES {
            // The socket may take it, and just had no turn.
            self.flush_one(slot);
            self.refuse_over(slot, MAX_TOLD_BYTES);
        }
    }

    fn refuse_over(&mut self, slot: Slot, limit_bytes: usize) {
        if self.control_bytes(slot) > limit_bytes {
            self.remove(slot, CloseReason::Flooding);
        }
    }

    fn control_bytes(&self, slot: Slot) -> usize {
        let connection = self.connections.get(slot as usize);
        connection.map_or(0, |connection| connection.outbox.control_bytes())
    }

    /// Writes what waits, to each socket in turn, as far as it takes it.
    pub(super) fn flush_dirty(&mut self) {
        let began = Instant::now();
        let mut ages = self.setup.metrics.delivery_age.local();
        for slot in std::mem::take(&mut self.dirty) {
            if let Some(connection) = self.connections.get_mut(slot as usize) {
                connection.is_dirty = false;
                if matches!(connection.sink, Sink::Poll(_)) {
                    self.answer_poll_if_due(slot);
                } else {
                    self.flush(slot, &mut ages);
                }
            }
        }
        ages.flush();
        self.count_deliveries();
        self.pace.wrote(began, Instant::now());
    }

    /// Writes what waits for one connection, as far as its socket takes it.
    pub(super) fn flush_one(&mut self, slot: Slot) {
        let is_stream = |connection: &Connection| !matches!(connection.sink, Sink::Poll(_));
        if self.connections.get(slot as usize).is_some_and(is_stream) {
            let mut ages = self.setup.metrics.delivery_age.local();
            self.flush(slot, &mut ages);
            ages.flush();
        }
    }

    /// Adds what was written since the last time to the counters, once for all connections.
    fn count_deliveries(&mut self) {
        for (count, wire) in self.scratch.delivered.iter_mut().zip(self.setup.formats) {
            if *count > 0 {
                let transport = wire.transport().as_str();
                let counters = &self.setup.metrics.delivered;
                counters
                    .with_label_values(&[transport])
                    .inc_by(std::mem::take(count));
            }
        }
    }

    fn flush(&mut self, slot: Slot, ages: &mut prometheus::local::LocalHistogram) {
        match self.write_out(slot, ages) {
            Err(_) => self.remove(slot, CloseReason::ByClient),
            Ok(false) => {}
            Ok(true) => self.on_written(slot),
        }
    }

    /// Writes until the outbox is empty (true) or the socket is full or others are due (false).
    fn write_out(
        &mut self,
        slot: Slot,
        ages: &mut prometheus::local::LocalHistogram,
    ) -> io::Result<bool> {
        let (now_ms, tick) = (self.now_ms, self.tick);
        let mut delivered = 0;
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return Ok(false);
        };
        let Some(stream) = connection.sink.stream() else {
            return Ok(false);
        };
        let mut is_empty = connection.outbox.is_empty();
        for _ in 0..WRITES_PER_TURN {
            if is_empty || connection.is_blocked {
                break;
            }
            let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE];
            let filled = connection.outbox.gather(&mut slices);
            let slices = slices.get(..filled).unwrap_or_default();
            let offered: usize = slices.iter().map(|slice| slice.len()).sum();
            match stream.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    connection.outbox.advance(count, |content| {
                        connection.progress_tick = tick;
                        if let Content::Event { timestamp_ms, .. }
                        | Content::Replayed { timestamp_ms } = content
                        {
                            delivered += 1;
                            ages.observe(Age::between(timestamp_ms, now_ms).as_secs());
                        }
                    });
                    connection.is_blocked = count < offered;
                    is_empty = connection.outbox.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.is_blocked = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let is_behind = connection.replay.is_some() || connection.latest.is_some();
        let must_go_on = !is_empty && !connection.is_blocked;
        let format = connection.format;
        if let Some(count) = self.scratch.delivered.get_mut(usize::from(format.0)) {
            *count += delivered;
        }
        if is_behind {
            self.mark_catching_up(slot);
        }
        if must_go_on {
            self.mark_dirty(slot);
        }
        Ok(is_empty)
    }

    /// Everything is written: a connection that ends says so and waits a little for the client.
    fn on_written(&mut self, slot: Slot) {
        let id = self.id_of(slot);
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let Life::Closing(reason) = connection.life else {
            return;
        };
        connection.life = Life::Lingering(reason);
        self.lingering.push_back((id, self.tick));
        let Some(stream) = connection.sink.stream() else {
            return;
        };
        if stream.shutdown().is_err() {
            self.remove(slot, reason);
        }
    }
}
