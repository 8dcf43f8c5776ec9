//! What a shard does when a topic was deleted and made anew under the same name.
//!
//! Everybody is told that there is a gap, from where they stood to the beginning of the new topic. A
//! client may come back from an instance that has heard of the new topic to one that has not: its
//! cursor is of another topic than the one known here, and nobody can see which of the two is newer.
//! So it waits until Kafka has been asked again.
//!
//! # Source
//! design, section 4: "a re-created topic gives a told gap and not wrong data".

use std::time::Instant;

use super::connection::{Connection, Start};
use super::shard::{Shard, Slot};
use crate::event::{Epoch, Range};

impl Shard {
    /// Goes on at the beginning of the new topic, and tells everybody who has begun.
    pub(super) fn begin_anew(&mut self, topic: u16, epoch: Epoch) {
        self.setup.history.forget(topic);
        let missed = self.positions.begin_anew(topic, epoch);
        let told: Vec<(Slot, Vec<Range>)> = self
            .connections
            .iter_mut()
            .filter(|(_, connection)| connection.is_open() && connection.waiting.is_none())
            .filter_map(|(slot, connection)| {
                let own = connection.begin_anew(topic, epoch);
                let missed = own.unwrap_or_else(|| missed.clone());
                Some((Slot::try_from(slot).ok()?, missed))
            })
            .collect();
        for (slot, missed) in told.iter().filter(|(_, missed)| !missed.is_empty()) {
            self.tell_gap(*slot, missed);
            // It may have waited for this.
            self.mark_catching_up(*slot);
        }
    }

    /// Returns whether a connection has to wait, because its cursor is of another topic than the one
    /// known here, and notes since when.
    pub(super) fn has_to_wait(&mut self, slot: Slot, start: &Start) -> bool {
        let Start::After(cursor) = start else {
            return false;
        };
        let is_of_another = !self.positions.resolve(cursor).made_anew.is_empty();
        if is_of_another {
            self.unverified.push((self.id_of(slot), Instant::now()));
        }
        is_of_another
    }

    /// Lets those begin who waited when Kafka was asked; what it said is known here now.
    pub(super) fn begin_verified(&mut self, asked: Instant) {
        let waiting = std::mem::take(&mut self.unverified);
        let (ready, later) = waiting.into_iter().partition(|(_, since)| *since <= asked);
        self.unverified = later;
        let ready: Vec<(super::token::ConnectionId, Instant)> = ready;
        for (id, _) in ready {
            let Some(slot) = self.slot_of(id) else {
                continue;
            };
            let connection: Option<&mut Connection> = self.connections.get_mut(slot as usize);
            if let Some(waiting) = connection.and_then(|connection| connection.waiting.take()) {
                self.begin_now(slot, *waiting);
            }
        }
    }
}
