//! An answer that has not ended.

use std::task::{Context, Poll};

use http::Version;

use super::wire::Wire;

/// An answer whose end the connection has to know: on HTTP/2 each one, from its request on; on HTTP/1.1 one that
/// comes bit by bit.
pub(super) struct OpenAnswer {
    wire: Wire,
    is_complete: bool,
    break_off: BreakOff,
    /// The end of the connection is the end of the answer (HTTP/1.0).
    ends_with_connection: bool,
}

/// What has to happen before an answer is broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BreakOff {
    /// Nothing: the stream is reset (HTTP/2).
    AtOnce,
    /// hyper has to be asked to write what it has.
    AfterWriting,
    /// What hyper has written must be in the kernel.
    AfterFlush,
}

impl OpenAnswer {
    /// The answer on a stream of HTTP/2.
    pub(super) const fn of_stream(wire: Wire) -> Self {
        Self {
            wire,
            is_complete: false,
            break_off: BreakOff::AtOnce,
            ends_with_connection: false,
        }
    }

    /// The only answer of a connection at a time.
    pub(super) fn of_connection(wire: Wire, version: Version) -> Self {
        Self {
            wire,
            is_complete: false,
            break_off: BreakOff::AfterWriting,
            ends_with_connection: version < Version::HTTP_11,
        }
    }

    /// Notes that the answer is whole.
    pub(super) const fn complete(&mut self) {
        self.is_complete = true;
    }

    /// Waits until all of the answer that there is has left us; then it may be broken off.
    ///
    /// To be called by hyper's own task, which writes each time it has polled the body.
    pub(super) fn poll_break(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.break_off {
            BreakOff::AtOnce => Poll::Ready(()),
            BreakOff::AfterWriting => {
                self.break_off = BreakOff::AfterFlush;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            BreakOff::AfterFlush if self.wire.break_off(self.ends_with_connection) => {
                Poll::Ready(())
            }
            BreakOff::AfterFlush => Poll::Pending,
        }
    }
}

impl Drop for OpenAnswer {
    /// An answer that is dropped before its end: the client reset the stream or is gone, or we gave it up.
    fn drop(&mut self) {
        self.wire.end_answer(self.is_complete);
    }
}
