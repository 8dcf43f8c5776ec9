//! How long is waited, for the client and at the end.

use super::*;

#[test]
fn slow_clients_are_closed_in_time() {
    let server = Server::start(short());
    let started = Instant::now();
    assert_eq!(server.closes_after(b""), "");
    assert_eq!(status(&server.closes_after(b"GET / HT")), "408");
    assert_eq!(
        status(
            &server.closes_after(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        ),
        "408"
    );
    let idle = server.closes_after(GET);
    assert_eq!(status(&idle), "200");
    assert!(started.elapsed() < Duration::from_secs(5));
    wait_until(|| server.refused("first_byte_timeout") == 1);
    wait_until(|| server.refused("header_timeout") == 1);
    assert_eq!(server.refused("idle_timeout"), 0);
}

#[test]
fn one_byte_at_a_time_does_not_stretch_the_limits() {
    let server = Server::start(short());
    for prefix in [
        "GET /a HTTP/1.1\r\nHost: x\r\na: ",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n",
    ] {
        let mut stream = server.connect();
        stream.write_all(prefix.as_bytes()).unwrap();
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(3) && stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
            if stream.peek_ready() {
                break;
            }
        }
        assert!(started.elapsed() < Duration::from_secs(2), "{prefix}");
    }
}

/// Looks whether an answer has come.
trait PeekReady {
    fn peek_ready(&self) -> bool;
}

impl PeekReady for TcpStream {
    fn peek_ready(&self) -> bool {
        self.set_nonblocking(true).unwrap();
        let ready = self.peek(&mut [0]).is_ok();
        self.set_nonblocking(false).unwrap();
        ready
    }
}

#[test]
fn a_client_that_takes_no_bytes_is_closed() {
    let server = Server::start(short());
    let mut stream = server.connect();
    stream
        .write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    wait_until(|| server.refused("write_timeout") == 1);
    assert!(read_all(&mut stream).len() < 8 << 20);
}

#[test]
fn a_stop_answers_what_is_in_flight_and_closes_the_rest() {
    let server = Server::start(HttpLimits::default());
    let [mut silent, mut idle, mut partial, mut busy] = std::array::from_fn(|_| server.connect());
    idle.write_all(GET).unwrap();
    read_until(&mut idle, "GET /a");
    partial.write_all(b"GET /a HT").unwrap();
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    wait_until(|| server.tasks.running() == 5);
    std::thread::sleep(Duration::from_millis(50));
    let started = Instant::now();
    server
        .runtime
        .as_ref()
        .unwrap()
        .block_on(server.tasks.stop());
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(read_all(&mut silent), "");
    assert_eq!(read_all(&mut idle), "");
    assert_eq!(read_all(&mut partial), "");
    assert!(read_all(&mut busy).ends_with("slow"));
    assert!(TcpStream::connect(server.address).is_err());
}
