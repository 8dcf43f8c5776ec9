//! A socket to a backend that still hears what the backend said before it stopped listening.
//!
//! A backend that does not want the rest of a body answers and closes (RFC 9112, 9.5 and 9.6). What is written after that
//! fails, and hyper would end the connection over it, with the answer unread.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket whose writes wait for ever once the other end has gone; reads then say how it ended.
pub(super) struct Socket {
    stream: TcpStream,
    is_unheard: bool,
}

impl Socket {
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            is_unheard: false,
        }
    }

    /// Turns the failure of a write into a wait, which the end of what is read will end: both are polled by one task.
    fn waits<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(Err(error)) if is_gone(&error) => {
                self.is_unheard = true;
                Poll::Pending
            }
            written => written,
        }
    }
}

/// Whether a failure to connect says that this process, or its machine, has nothing left to connect with: no file (also
/// `ENFILE`), no port, no memory.
pub(super) fn is_ours(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    let is_out = |code| {
        let kind = error.kind();
        [ENFILE, EMFILE, ENOBUFS].contains(&code)
            || [io::ErrorKind::AddrNotAvailable, io::ErrorKind::OutOfMemory].contains(&kind)
    };
    error.raw_os_error().is_some_and(is_out)
}

fn is_gone(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_unheard {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.waits(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_unheard {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.waits(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_unheard {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn what_this_machine_has_run_out_of_is_told_from_what_a_backend_does() {
        // EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL
        for code in [24, 23, 105, 12, 99] {
            assert!(is_ours(&io::Error::from_raw_os_error(code)), "{code}");
        }
        // ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ECONNRESET
        for code in [111, 110, 113, 101, 104] {
            assert!(!is_ours(&io::Error::from_raw_os_error(code)), "{code}");
        }
        // A name without addresses.
        assert!(!is_ours(&io::ErrorKind::AddrNotAvailable.into()));
    }
}
