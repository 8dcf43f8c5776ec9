//! The beginning of a connection of HTTP/2: how many requests the backend takes at a time.

use std::time::Duration;

use hyper::client::conn::http2;
use hyper::rt::{Read, Write};

use super::dial::{DialError, Spawner};
use super::request_body::RequestBody;

/// How often it is looked whether the backend has said so.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_millis(8);

/// How many requests there may be before the backend has said how many: none, so that one who waits for it can tell.
pub(super) const STREAMS_BEFORE: usize = 0;

/// Waits until a backend has said how many requests it takes at a time, which is the first that it says (RFC 9113,
/// 3.4): what is sent before that it may refuse.
///
/// # Errors
/// [`DialError::NoHttp2`] when the connection ends before.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub(super) async fn settled<S>(
    mut connection: http2::Connection<S, RequestBody, Spawner>,
) -> Result<http2::Connection<S, RequestBody, Spawner>, DialError>
where
    S: Read + Write + Send + Unpin + 'static,
{
    let mut pause = FIRST_LOOK;
    // hyper wakes nobody when the settings come.
    while connection.current_max_send_streams() == STREAMS_BEFORE {
        tokio::select! {
            biased;
            ended = &mut connection => {
                return Err(ended.map_or_else(DialError::Http, |()| DialError::NoHttp2));
            }
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_LOOK),
        }
    }
    Ok(connection)
}
