//! Wakes a shard: somebody sent it something, or a pipe has moved.

use std::sync::atomic::{AtomicBool, Ordering};

use mio::Waker;
use parking_lot::Mutex;

use super::token::ConnectionId;

/// What anybody may ring who wants a shard to look at its queues.
#[derive(Debug)]
pub(super) struct Bell {
    /// Set by whoever rang since the shard looked.
    is_rung: AtomicBool,
    waker: Waker,
    /// Set when there are new pages of the past.
    has_pages: AtomicBool,
    /// Connections whose pipes have moved, each at most once.
    moved: Mutex<Vec<ConnectionId>>,
}

impl Bell {
    pub(super) const fn new(waker: Waker) -> Self {
        Self {
            is_rung: AtomicBool::new(false),
            waker,
            has_pages: AtomicBool::new(false),
            moved: Mutex::new(Vec::new()),
        }
    }

    /// Wakes the shard, unless it is about to look anyway.
    pub(super) fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "could not wake a shard");
        }
    }

    /// Says that the pipe of a connection has moved; its owner does so once until the shard has
    /// looked, so the list is no longer than there are pipes.
    pub(super) fn ring_for(&self, connection: ConnectionId) {
        self.moved.lock().push(connection);
        self.ring();
    }

    /// Says that there are new pages of the past.
    pub(super) fn ring_for_pages(&self) {
        self.has_pages.store(true, Ordering::SeqCst);
        self.ring();
    }

    /// Returns whether there are new pages since the last time.
    pub(super) fn has_pages(&self) -> bool {
        self.has_pages.swap(false, Ordering::SeqCst)
    }

    /// Notes that the shard looks now: whoever sends afterwards rings again.
    ///
    /// Returns the connections whose pipes have moved since the last time.
    pub(super) fn answer(&self) -> Vec<ConnectionId> {
        self.is_rung.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.moved.lock())
    }
}
