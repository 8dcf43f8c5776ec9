//! What a shard does by the clock: heartbeats, clients that do not answer, the drain.
//!
//! Connections have no timers. Each tick visits the slots of one stride, so that every connection is
//! visited once per heartbeat interval and the work is spread evenly.

use std::time::{Duration, Instant};

use super::config::DispatchConfig;
use super::connection::{Connection, Life, Sink};
use super::outbox::{Bytes, Content, Frame};
use super::shard::{Shard, Slot};
use super::wire::CloseReason;

/// How long the client has to close after the last byte.
const LINGER: Duration = Duration::from_secs(2);
/// Into how many strides a drain divides the connections.
const DRAIN_STRIDES: u32 = 1024;

/// The part of the grace in which all are told to go, so that the last can read their farewell.
pub const DEPARTURES: f64 = 0.75;

impl Shard {
    pub(super) fn on_tick(&mut self) {
        self.tick = self.tick.wrapping_add(1);
        self.next_tick = Instant::now() + self.setup.config.tick();
        self.close_for_drain();
        self.end_lingering();
        self.look_again_at_those_ahead();
        let strides = self.setup.config.ticks_per_heartbeat();
        let first = (self.tick % strides) as usize;
        let heartbeats = Heartbeats {
            cursor: self.positions.encode(),
        };
        for slot in (first..self.connections.capacity()).step_by(strides as usize) {
            if let Ok(slot) = Slot::try_from(slot)
                && self.connections.contains(slot as usize)
            {
                self.visit(slot, &heartbeats);
            }
        }
    }

    /// Removes connections that have ended and had their time to close first.
    fn end_lingering(&mut self) {
        while let Some((id, began)) = self.lingering.front().copied() {
            if self.tick.wrapping_sub(began) < self.setup.config.ticks(LINGER) {
                return;
            }
            self.lingering.pop_front();
            if self.generation(id.slot) == id.generation {
                self.remove(id.slot, CloseReason::ByClient);
            }
        }
    }

    fn visit(&mut self, slot: Slot, heartbeats: &Heartbeats) {
        let stall_ticks = self.setup.config.ticks(self.setup.config.write_timeout);
        let tick = self.tick;
        let Some(connection) = self.connections.get(slot as usize) else {
            return;
        };
        let waited_ticks = tick.wrapping_sub(connection.progress_tick);
        let is_stalled = !connection.outbox.is_empty() && waited_ticks >= stall_ticks;
        match connection.life {
            Life::Closing(reason) if is_stalled => self.remove(slot, reason),
            Life::Closing(_) | Life::Lingering(_) => {}
            Life::Open if is_stalled => self.remove(slot, CloseReason::Stalled),
            // What a paused one answers is not read yet.
            Life::Open
                if connection.awaits_answer
                    && !connection.is_paused
                    && !self.moved_lately(connection) =>
            {
                self.remove(slot, CloseReason::Unresponsive);
            }
            Life::Open => {
                if let Sink::Poll(Some(answer)) = &connection.sink {
                    if answer.is_closed() {
                        self.remove(slot, CloseReason::ByClient);
                    }
                    return;
                }
                self.mark_catching_up_if_behind(slot);
                self.send_heartbeat(slot, heartbeats);
            }
        }
    }

    /// A client that still takes frames lives, even if its answer to a ping waits behind them.
    fn moved_lately(&self, connection: &Connection) -> bool {
        let interval = self.setup.config.ticks_per_heartbeat();
        !connection.outbox.is_empty() && self.tick.wrapping_sub(connection.progress_tick) < interval
    }

    fn mark_catching_up_if_behind(&mut self, slot: Slot) {
        if self
            .connections
            .get(slot as usize)
            .is_some_and(|c| c.replay.is_some())
        {
            self.mark_catching_up(slot);
        }
    }

    fn send_heartbeat(&mut self, slot: Slot, heartbeats: &Heartbeats) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let is_live = connection.replay.is_none() && connection.waiting.is_none();
        let format = connection.format;
        if !connection.outbox.is_empty() {
            // What waits already shows that we live, and moves the cursor further.
            return;
        }
        let wire = self.wire(format);
        let mut frame = Vec::with_capacity(128);
        wire.heartbeat(is_live.then_some(heartbeats.cursor.as_str()), &mut frame);
        if wire.expects_answers()
            && let Some(connection) = self.connections.get_mut(slot as usize)
        {
            connection.awaits_answer = true;
        }
        self.push(
            slot,
            Frame {
                bytes: Bytes::Own(frame.into()),
                content: Content::Control,
            },
        );
    }

    /// Closes as many connections as the time that the drain has taken demands.
    fn close_for_drain(&mut self) {
        let Some(drain) = &self.drain else { return };
        let total = drain
            .until
            .saturating_duration_since(drain.began)
            .as_secs_f64()
            .max(0.001);
        let passed = drain.began.elapsed().as_secs_f64() / (total * DEPARTURES);
        let due: Vec<Slot> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.life == Life::Open)
            .filter_map(|(slot, _)| Slot::try_from(slot).ok())
            .filter(|slot| f64::from(spread(*slot)) <= passed * f64::from(DRAIN_STRIDES))
            .collect();
        for slot in due {
            let connection = self.connections.get(slot as usize);
            if connection.is_some_and(|c| matches!(c.sink, Sink::Poll(_)) && c.waiting.is_some()) {
                // It stands nowhere yet, so there is nothing to answer.
                self.remove(slot, CloseReason::Drain);
            } else {
                self.close(slot, CloseReason::Drain);
            }
        }
    }
}

/// The heartbeat of this tick, as far as it is the same for all.
struct Heartbeats {
    cursor: String,
}

/// Spreads slots evenly over the strides of a drain.
fn spread(slot: Slot) -> u32 {
    slot.wrapping_mul(0x9e37_79b1) >> 22
}

/// Ticks in a heartbeat interval, where the interval allows.
const TICKS_PER_HEARTBEAT: u32 = 30;

impl DispatchConfig {
    /// Returns the time between two ticks.
    pub(super) fn tick(&self) -> Duration {
        (self.heartbeat_interval / TICKS_PER_HEARTBEAT)
            .clamp(Duration::from_millis(10), Duration::from_millis(500))
    }

    /// Returns how many ticks a duration takes, at least 1.
    pub(super) fn ticks(&self, duration: Duration) -> u32 {
        let ticks = duration.as_millis() / self.tick().as_millis().max(1);
        u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
    }

    /// Returns after how many ticks a connection gets its next heartbeat.
    pub(super) fn ticks_per_heartbeat(&self) -> u32 {
        self.ticks(self.heartbeat_interval)
    }
}
