//! HTTP/2 as raw frames: what a client does that means no good.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frame types (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
/// `:method GET`, `:scheme http`, `:path /a`, `:authority x` (RFC 7541).
const HEAD: &[u8] = &[0x82, 0x86, 0x04, 2, b'/', b'a', 0x41, 1, b'x'];
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Opens a connection of HTTP/2.
fn open(server: &Server) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(PREFACE).unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, b"")).unwrap();
    stream
}

/// Returns the type and the payload of the next frame; `None` at the end.
fn next(stream: &mut TcpStream) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).ok()?;
    Some((head[3], id, payload))
}

/// Sends until the server does not take more, and returns the error code of its GOAWAY.
fn flood(server: &Server, mut bytes: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    let mut stream = open(server);
    let mut reading = stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut reason = None;
        while let Some((kind, _, payload)) = next(&mut reading) {
            if kind == GOAWAY {
                reason = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
        }
        reason
    });
    for turn in 0..200_000 {
        if stream.write_all(&bytes(turn)).is_err() {
            break;
        }
    }
    reader.join().unwrap()
}

/// Asserts that the server still answers others.
fn still_answers(server: &Server) {
    assert_eq!(status(&server.exchange(GET)), "200");
    let mut stream = open(server);
    let flags = END_HEADERS | END_STREAM;
    stream.write_all(&frame(HEADERS, flags, 1, HEAD)).unwrap();
    loop {
        let (kind, id, payload) = next(&mut stream).unwrap();
        if (kind, id) == (DATA, 1) {
            assert_eq!(payload, b"GET /a");
            return;
        }
    }
}

const ENHANCE_YOUR_CALM: u32 = 11;

#[test]
fn rapid_resets_end_the_connection() {
    let server = Server::start(HttpLimits::default());
    let reason = flood(&server, |turn| {
        let stream = 2 * turn + 1;
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, HEAD);
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        bytes
    });
    assert!(matches!(reason, Some(ENHANCE_YOUR_CALM | 0)), "{reason:?}");
    still_answers(&server);
}

#[test]
fn endless_heads_end_the_connection() {
    let server = Server::start(HttpLimits::default());
    let field = [&[0, 3][..], b"x-a", &[100], &[b'y'; 100]].concat();
    let reason = flood(&server, |turn| match turn {
        0 => frame(HEADERS, 0, 1, HEAD),
        _ => frame(CONTINUATION, 0, 1, &field),
    });
    assert_eq!(reason, Some(ENHANCE_YOUR_CALM));
    still_answers(&server);
}

/// PING, SETTINGS and empty DATA cost the sender more than us: nothing is kept of them.
#[test]
fn floods_of_small_frames_keep_nothing() {
    let server = Server::start(short());
    let ping = |_| frame(PING, 0, 0, b"12345678");
    let settings = |_| frame(SETTINGS, 0, 0, b"");
    let empty = |turn| match turn {
        0 => frame(HEADERS, END_HEADERS, 1, HEAD),
        _ => frame(DATA, 0, 1, b""),
    };
    for bytes in [&ping as &dyn Fn(u32) -> Vec<u8>, &settings, &empty] {
        // Whether it ends the connection or goes on is the library's choice.
        let _reason = flood_for_a_while(&server, bytes);
        still_answers(&server);
    }
}

/// Sends a number of frames without reading what comes back, then goes away.
fn flood_for_a_while(server: &Server, bytes: &dyn Fn(u32) -> Vec<u8>) -> bool {
    let mut stream = open(server);
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    (0..100_000).any(|turn| stream.write_all(&bytes(turn)).is_err())
}

#[test]
fn silence_and_half_heads_end_the_connection() {
    let server = Server::start(short());
    for bytes in [
        &b""[..],
        &frame(HEADERS, 0, 1, HEAD),
        &frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD),
    ] {
        let mut stream = open(&server);
        stream.write_all(bytes).unwrap();
        while next(&mut stream).is_some() {}
    }
    wait_until(|| server.refused("header_timeout") == 2);
    assert_eq!(server.refused("idle_timeout"), 0);
    still_answers(&server);
}

#[test]
fn a_stop_lets_a_request_in_flight_be_answered() {
    let server = Server::start(HttpLimits::default());
    let mut stream = open(&server);
    let slow = [&HEAD[..2], &[0x04, 5], b"/slow", &HEAD[6..]].concat();
    let flags = END_HEADERS | END_STREAM;
    stream.write_all(&frame(HEADERS, flags, 1, &slow)).unwrap();
    stream.write_all(&frame(PING, 0, 0, b"12345678")).unwrap();
    // The answer to the ping says that the request was read.
    while next(&mut stream).unwrap().0 != PING {}
    let tasks = server.tasks.clone();
    server
        .runtime
        .as_ref()
        .unwrap()
        .spawn(async move { tasks.stop().await });
    let (mut said_goodbye, mut body) = (false, Vec::new());
    while let Some((kind, _, payload)) = next(&mut stream) {
        match kind {
            GOAWAY => said_goodbye = true,
            DATA => body.extend(payload),
            PING => stream.write_all(&frame(PING, 1, 0, &payload)).unwrap(),
            _ => {}
        }
    }
    assert!(said_goodbye);
    assert_eq!(body, b"slow");
    wait_until(|| server.tasks.running() == 0);
}
