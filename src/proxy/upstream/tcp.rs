//! Name look-up and TCP.
//!
//! # Source
//! RFC 8305 (Happy Eyeballs).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::uri::Authority;
use tokio::net::TcpStream;

use super::dial::DialError;
use super::socket::{Socket, is_ours};

/// After how long without a byte the kernel asks a backend whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long one address of a name is tried before the next one is, too (RFC 8305, 5).
const STAGGER: Duration = Duration::from_millis(250);
/// How many addresses of a name are tried.
const MAX_ADDRESSES: usize = 8;

/// Looks the name up, each time anew, and connects to the first of its addresses that takes it.
///
/// # Errors
/// [`DialError`]: no address, none that takes the connection, or nothing left here to connect with.
///
/// # Cancel safety
/// Dropping the future gives the connection up.
pub(super) async fn tcp(address: &Authority, default_port: u16) -> Result<Socket, DialError> {
    let port = address.port_u16().unwrap_or(default_port);
    let found = tokio::net::lookup_host((bare(address.host()), port)).await;
    let found = found.map_err(|error| blamed(error, DialError::Name))?;
    let found: Vec<_> = found.collect();
    let socket = first_of(alternating(&found))
        .await
        .map_err(|error| blamed(error, DialError::Tcp))?;
    let options = socket2::SockRef::from(&socket);
    let keep_alive = socket2::TcpKeepalive::new()
        .with_time(KEEP_ALIVE)
        .with_interval(KEEP_ALIVE / 3)
        .with_retries(3);
    let set = options
        .set_tcp_nodelay(true)
        .and_then(|()| options.set_tcp_keepalive(&keep_alive));
    set.map_err(DialError::Tcp)?;
    Ok(Socket::new(socket))
}

/// Says whose fault a failure is: ours, or as it is told.
fn blamed(error: io::Error, theirs: fn(io::Error) -> DialError) -> DialError {
    if is_ours(&error) {
        DialError::NoSockets(error)
    } else {
        theirs(error)
    }
}

/// Takes an IPv6 address out of its brackets.
pub(super) fn bare(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host)
}

/// Puts addresses of IPv4 and IPv6 in turns, in the order in which they were found (RFC 8305, 4).
fn alternating(found: &[SocketAddr]) -> impl Iterator<Item = SocketAddr> + use<> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let of = |v6: bool| -> Vec<SocketAddr> {
        let same = found.iter().filter(|address| address.is_ipv6() == v6);
        same.copied().collect()
    };
    let mut families = [of(first_is_v6).into_iter(), of(!first_is_v6).into_iter()];
    std::iter::from_fn(move || {
        families.rotate_left(1);
        let [other, turn] = &mut families;
        turn.next().or_else(|| other.next())
    })
    .take(MAX_ADDRESSES)
}

/// Connects to the first address that takes it; each has a little time before the next is tried beside it. Of several
/// failures, that of a backend counts: an address of a family that this machine does not have fails by our own fault.
async fn first_of(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.peekable();
    let mut trying = FuturesUnordered::new();
    let mut failure = None;
    loop {
        match waiting.next() {
            Some(next) => trying.push(TcpStream::connect(next)),
            None if trying.is_empty() => {
                return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
            }
            None => {}
        }
        let has_more = waiting.peek().is_some();
        tokio::select! {
            Some(tried) = trying.next() => match tried {
                Ok(socket) => return Ok(socket),
                Err(error) => {
                    failure = failure.filter(|failure| !is_ours(failure)).or(Some(error));
                }
            },
            () = tokio::time::sleep(STAGGER), if has_more => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_first_found_goes_first() {
        let found = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "[::4]:1"];
        let found = found.map(|text| text.parse::<SocketAddr>().unwrap());
        let order: Vec<_> = alternating(&found).map(|found| found.to_string()).collect();
        assert_eq!(
            order,
            ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1", "[::4]:1"]
        );
    }

    #[tokio::test]
    async fn an_address_that_refuses_makes_way_for_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let bad = gone.local_addr().unwrap();
        drop(gone);
        let socket = first_of([bad, good].into_iter()).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), good);
        assert!(first_of([bad].into_iter()).await.is_err());
        assert!(first_of(std::iter::empty()).await.is_err());
    }
}
