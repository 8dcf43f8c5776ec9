//! How a connection leaves hyper: it becomes a stream, or it ends.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, DATE, HeaderValue};
use http::{Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::limits::HttpLimits;
use super::reply::{TakeOver, TakenConnection};
use super::socket::Io;
use super::wire::Wire;
use crate::telemetry::now_ms;

/// How much the kernel takes of what it cannot send yet. What a stalled client does not take stays in
/// the replay log, where it is stored once, and costs the others no time.
const UNSENT_BYTES: u32 = 128 * 1024;
/// How much longer than the stream itself the kernel waits for a client that takes nothing.
const KERNEL_PATIENCE: Duration = Duration::from_secs(5);

/// Gives a connection to whoever takes it over.
pub(super) fn hand_over<S: Io>(
    (take_over, head): (Box<dyn TakeOver>, Vec<u8>),
    stream: S,
    already_read: Bytes,
    peer: SocketAddr,
    limits: &HttpLimits,
) {
    notice_vanished_peers(stream.socket(), limits.stream_write_timeout);
    match stream.into_link() {
        Ok(link) => take_over.connection(TakenConnection {
            link,
            head,
            already_read,
            peer,
        }),
        Err(error) => tracing::warn!(%error, "could not take a socket over"),
    }
}

/// Lets the kernel find out that a client is gone without a word, also while nothing is written.
///
/// Its timeout (RFC 5482) also ends the connection of a client that lives and takes nothing, so it is
/// longer than the stream's own.
pub(super) fn notice_vanished_peers(socket: &TcpStream, write_timeout: Duration) {
    let timeout = write_timeout + KERNEL_PATIENCE;
    let options = socket2::SockRef::from(socket);
    let keepalive = socket2::TcpKeepalive::new().with_time(timeout);
    let set = options
        .set_tcp_user_timeout(Some(timeout))
        .and_then(|()| options.set_tcp_keepalive(&keepalive))
        .and_then(|()| options.set_tcp_notsent_lowat(UNSENT_BYTES));
    if let Err(error) = set {
        tracing::debug!(%error, "could not set the timeouts of a socket");
    }
}

/// Writes the head of a stream on HTTP/1.1, which hyper no longer writes.
///
/// But for a 101, the body ends with the connection (RFC 9112, 6.3, rule 8), so that a frame is the
/// same bytes for every client, whatever its version of HTTP.
pub(super) fn stream_head(response: Response<()>) -> Vec<u8> {
    let (mut head, ()) = response.into_parts();
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        head.headers.insert(CONNECTION, close);
    }
    if let Ok(date) = HeaderValue::try_from(http_date()) {
        head.headers.insert(DATE, date);
    }
    let mut bytes = Vec::with_capacity(512);
    let reason = head.status.canonical_reason().unwrap_or_default();
    bytes.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", head.status.as_str()).as_bytes());
    for (name, value) in &head.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Returns the time as RFC 9110, 5.6.7 wants it in `Date`.
fn http_date() -> String {
    let now = jiff::Timestamp::from_millisecond(now_ms()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&now)
        .unwrap_or_default()
}

/// How long a client may take for the last bytes that nobody waits for.
const FAREWELL: Duration = Duration::from_secs(1);

/// Says 408 to a client whose head came too slowly, if it takes that soon.
pub(super) async fn tell_timeout<S: Io>(mut stream: S) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let tell = async {
        stream.write_all(ANSWER).await?;
        stream.shutdown().await
    };
    if let Ok(Err(error)) = tokio::time::timeout(FAREWELL, tell).await {
        tracing::debug!(%error, "could not tell a client about its timeout");
    }
}

/// Has the kernel reset the connection when it is dropped: whoever reads from it sees an error, not an end.
pub(super) fn reset<S: Io>(stream: &S) {
    let options = socket2::SockRef::from(stream.socket());
    if let Err(error) = options.set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "could not make a connection end with a reset");
    }
}

/// How long, and for how many bytes, a client may go on sending after the last answer.
pub(super) const LINGER: Duration = Duration::from_secs(2);
pub(super) const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// Closes our side and reads what still comes, unseen.
///
/// Closing a socket with unread data resets the connection, and a reset can overtake the answer (RFC 9112, 9.6).
pub(super) async fn linger<S: Io>(mut stream: S, wire: &Wire, stopping: &CancellationToken) {
    let discard = async {
        if !wire.is_shut_down() {
            stream.shutdown().await?;
        }
        let mut scratch = [0; 2048];
        let mut left = LINGER_BYTES;
        loop {
            match stream.read(&mut scratch).await? {
                0 => return io::Result::Ok(()),
                read => left = left.saturating_sub(read),
            }
            if left == 0 {
                return Ok(());
            }
        }
    };
    tokio::select! {
        result = tokio::time::timeout(LINGER, discard) => {
            if let Ok(Err(error)) = result {
                tracing::trace!(%error, "client went away after the answer");
            }
        }
        () = stopping.cancelled() => {}
    }
}
