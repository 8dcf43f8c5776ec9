//! A pipe between a shard and a task that carries bytes over TLS or HTTP/2.
//!
//! ```text
//! outbox ─write─▶ ShardEnd ══ at most 16 KiB ══▶ ClientEnd ─take─▶ TLS, HTTP/2 ─▶ client
//! input  ◀─read──          ◀═ at most  4 KiB ═══           ◀─give─
//! ```
//!
//! # Invariants
//! - To the shard, its end is a non-blocking socket: `WouldBlock` when full or empty, 0 at the end of
//!   what the client sends, an error once the task is gone.
//! - A pipe that is empty holds no bytes.
//! - The shard is told of what has moved once until it looks.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use super::bell::Bell;
use super::token::ConnectionId;

/// How many bytes may wait for the task: what goes into one TLS record.
const TO_CLIENT_BYTES: usize = 16 * 1024;
/// How many bytes of the client may wait for the shard.
const TO_SHARD_BYTES: usize = 4 * 1024;

/// Makes a pipe.
#[must_use]
pub fn pipe() -> (ShardEnd, ClientEnd) {
    let shared = Arc::new(Mutex::new(State::default()));
    (ShardEnd(Arc::clone(&shared)), ClientEnd(shared))
}

/// The end that a shard owns, as a part of an [`Outlet`](super::Outlet).
#[derive(Debug)]
pub struct ShardEnd(Arc<Mutex<State>>);

/// The end of the task that carries the bytes. When it is dropped, the connection is over.
#[derive(Debug)]
pub struct ClientEnd(Arc<Mutex<State>>);

/// The shard has given the connection up; what it had written before may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection was given up")]
pub struct Aborted;

#[derive(Debug, Default)]
struct State {
    to_client: Vec<u8>,
    to_shard: Vec<u8>,
    /// Who to tell, once a shard has the connection.
    owner: Option<(Arc<Bell>, ConnectionId)>,
    /// The shard was told that something moved, and has not looked yet.
    is_announced: bool,
    /// The shard could not write everything.
    is_shard_blocked: bool,
    /// The shard writes no more.
    is_ended_by_shard: bool,
    is_shard_gone: bool,
    /// The client sends no more.
    is_ended_by_client: bool,
    is_client_gone: bool,
    /// The task waits for bytes to take, or for the end.
    taker: Option<Waker>,
    /// The task waits for room to give bytes.
    giver: Option<Waker>,
}

impl State {
    fn announce(&mut self) {
        if let Some((bell, connection)) = &self.owner
            && !self.is_announced
            && !self.is_shard_gone
        {
            bell.ring_for(*connection);
            self.is_announced = true;
        }
    }

    fn wake_taker(&mut self) {
        if let Some(waker) = self.taker.take() {
            waker.wake();
        }
    }

    fn wake_giver(&mut self) {
        if let Some(waker) = self.giver.take() {
            waker.wake();
        }
    }
}

impl ShardEnd {
    /// Says whom to tell when the pipe has moved.
    pub(super) fn belongs_to(&self, bell: Arc<Bell>, connection: ConnectionId) {
        let mut state = self.0.lock();
        state.owner = Some((bell, connection));
        if !state.to_shard.is_empty() || state.is_ended_by_client || state.is_client_gone {
            state.announce();
        }
    }

    /// Notes that the shard looks now at what has moved.
    pub(super) fn look(&self) {
        self.0.lock().is_announced = false;
    }

    /// Takes bytes for the client, in order, as many as there is room for.
    ///
    /// # Errors
    /// `WouldBlock` when it is full; the shard is told when there is room. `BrokenPipe` when the task
    /// is gone.
    pub(super) fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.is_client_gone || state.is_ended_by_shard {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = TO_CLIENT_BYTES.saturating_sub(state.to_client.len());
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let taken = offered.min(room);
        state.to_client.reserve(taken);
        let mut left = taken;
        for slice in slices {
            let part = slice.get(..left.min(slice.len())).unwrap_or_default();
            state.to_client.extend_from_slice(part);
            left -= part.len();
        }
        state.is_shard_blocked = taken < offered;
        if taken > 0 {
            state.wake_taker();
        } else if offered > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// Reads what the client sent; 0 once it has sent its end or the task is gone.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has come; the shard is told when something has.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.to_shard.is_empty() {
            return match state.is_ended_by_client || state.is_client_gone {
                true => Ok(0),
                false => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let count = state.to_shard.len().min(buffer.len());
        let rest = state.to_shard.split_off(count);
        let read = std::mem::replace(&mut state.to_shard, rest);
        for (to, from) in buffer.iter_mut().zip(read) {
            *to = from;
        }
        state.wake_giver();
        Ok(count)
    }

    /// Ends what the shard writes: the client gets what was written, then the end.
    pub(super) fn shutdown(&self) {
        let mut state = self.0.lock();
        state.is_ended_by_shard = true;
        state.wake_taker();
    }
}

impl Drop for ShardEnd {
    /// Without a shutdown before, the client gets nothing more.
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_shard_gone = true;
        state.to_shard = Vec::new();
        if !state.is_ended_by_shard {
            state.to_client = Vec::new();
        }
        state.wake_taker();
        state.wake_giver();
    }
}

impl ClientEnd {
    /// Takes all that waits for the client; `None` after the last.
    ///
    /// # Errors
    /// [`Aborted`] when the client must not take what it got for the whole.
    pub fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Aborted>>> {
        let mut state = self.0.lock();
        if !state.to_client.is_empty() {
            // The allocation leaves with the bytes: an idle connection keeps none.
            let bytes = Bytes::from(std::mem::take(&mut state.to_client));
            if std::mem::take(&mut state.is_shard_blocked) {
                state.announce();
            }
            return Poll::Ready(Some(Ok(bytes)));
        }
        if state.is_ended_by_shard {
            return Poll::Ready(None);
        }
        if state.is_shard_gone {
            return Poll::Ready(Some(Err(Aborted)));
        }
        state.taker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until there is room for bytes of the client, and returns for how many.
    ///
    /// # Errors
    /// [`Aborted`] when nobody reads any more.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Aborted>> {
        let mut state = self.0.lock();
        if state.is_shard_gone {
            return Poll::Ready(Err(Aborted));
        }
        let room = TO_SHARD_BYTES.saturating_sub(state.to_shard.len());
        if room > 0 {
            return Poll::Ready(Ok(room));
        }
        state.giver = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Hands over what the client sent; [`ClientEnd::poll_room`] has said that there is room for it.
    pub fn give(&mut self, bytes: &[u8]) {
        let mut state = self.0.lock();
        if !state.is_shard_gone {
            state.to_shard.extend_from_slice(bytes);
            state.announce();
        }
    }

    /// Says that the client sends no more.
    pub fn end(&mut self) {
        let mut state = self.0.lock();
        state.is_ended_by_client = true;
        state.announce();
    }

    /// Returns whether the shard has given the connection up, whatever was not taken yet.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        let state = self.0.lock();
        state.is_shard_gone && !state.is_ended_by_shard
    }

    /// Returns whether the shard has dropped its end, so that nobody watches the client's pace.
    #[must_use]
    pub fn is_unwatched(&self) -> bool {
        self.0.lock().is_shard_gone
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_client_gone = true;
        state.to_client = Vec::new();
        state.announce();
    }
}

#[cfg(test)]
mod tests;
