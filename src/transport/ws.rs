//! WebSocket: the wire format.
//!
//! # Source
//! RFC 6455; CloudEvents WebSocket binding (`cloudevents.json`: one text frame an event).

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::dispatch::{CloseReason, Incoming, Input, Outgoing, Wire};
use crate::telemetry::Transport;

/// The longest message that a client may send, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The close code of a session that an operator has ended; the client must not come back with the same token.
const SESSION_KILLED: CloseCode = CloseCode::Library(4001);
/// The close code of a session whose token has expired; the client comes back with a new one.
const SESSION_EXPIRED: CloseCode = CloseCode::Library(4401);

/// The extension attribute that carries the cursor where a client asked for it.
const CURSOR_ATTRIBUTE: &str = "rigcursor";

/// Events as text frames of JSON.
#[derive(Debug)]
pub struct Ws {
    /// Whether each event carries its cursor as the extension attribute `rigcursor`.
    pub with_cursors: bool,
}

impl Wire for Ws {
    fn transport(&self) -> Transport {
        Transport::Ws
    }

    fn encode(&self, event: Outgoing<'_>, frame: &mut Vec<u8>) {
        let end = event.json.iter().rposition(|byte| *byte == b'}');
        let open = end
            .and_then(|end| event.json.get(..end))
            .filter(|_| self.with_cursors);
        match open {
            None => write_frame(OpCode::Data(Data::Text), &[event.json], frame),
            Some(open) => {
                let attribute = format!(",\"{CURSOR_ATTRIBUTE}\":\"{}\"}}", event.cursor);
                write_frame(
                    OpCode::Data(Data::Text),
                    &[open, attribute.as_bytes()],
                    frame,
                );
            }
        }
    }

    fn heartbeat(&self, _cursor: Option<&str>, frame: &mut Vec<u8>) {
        write_frame(OpCode::Control(Control::Ping), &[], frame);
    }

    fn expects_answers(&self) -> bool {
        true
    }

    fn farewell(&self, reason: CloseReason) -> Vec<u8> {
        match reason {
            CloseReason::Drain => close_frame(CloseCode::Away, "The server is going away."),
            CloseReason::Flooding => close_frame(CloseCode::Policy, "Too many messages at once."),
            CloseReason::TooSlow => close_frame(CloseCode::Again, "The client is too slow."),
            CloseReason::Overloaded => close_frame(CloseCode::Again, "The server is overloaded."),
            CloseReason::Violation => close_frame(CloseCode::Protocol, "Protocol error."),
            CloseReason::SessionKilled => close_frame(SESSION_KILLED, "Session killed."),
            CloseReason::SessionExpired => close_frame(SESSION_EXPIRED, "The token has expired."),
            CloseReason::ByClient
            | CloseReason::Stalled
            | CloseReason::Unresponsive
            | CloseReason::Answered => close_frame(CloseCode::Normal, ""),
        }
    }

    fn read(&self, input: &mut Input, incoming: &mut Vec<Incoming>) {
        loop {
            match next_frame(input) {
                Ok(None) => return,
                Ok(Some((header, payload))) => match on_frame(&header, payload, input) {
                    Ok(message) => {
                        let is_last =
                            matches!(message, Some(Incoming::Close { .. } | Incoming::Text(_)));
                        incoming.extend(message);
                        if is_last {
                            return;
                        }
                    }
                    Err(violation) => return incoming.push(violation.into()),
                },
                Err(violation) => return incoming.push(violation.into()),
            }
        }
    }
}

/// What a client did wrong, as the close frame says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Violation(CloseCode, &'static str);

impl From<Violation> for Incoming {
    fn from(Violation(code, reason): Violation) -> Self {
        Self::Close {
            farewell: close_frame(code, reason),
            reason: CloseReason::Violation,
        }
    }
}

/// Takes the next whole frame off the input, unmasked.
fn next_frame(input: &mut Input) -> Result<Option<(FrameHeader, Vec<u8>)>, Violation> {
    let mut cursor = Cursor::new(input.unread.as_slice());
    let parsed = FrameHeader::parse(&mut cursor)
        .map_err(|_| Violation(CloseCode::Protocol, "The frame has an invalid header."))?;
    let Some((header, length)) = parsed else {
        return Ok(None);
    };
    check_header(&header, length)?;
    let start = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
    let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    let Some(masked) = input.unread.get(start..end) else {
        return Ok(None);
    };
    let mask = header.mask.unwrap_or_default();
    let payload = masked
        .iter()
        .zip(mask.iter().cycle())
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    input.unread.drain(..end);
    if input.unread.is_empty() {
        input.unread = Vec::new();
    }
    Ok(Some((header, payload)))
}

/// Refuses what RFC 6455 section 5 forbids, before a byte of the payload is waited for.
fn check_header(header: &FrameHeader, length: u64) -> Result<(), Violation> {
    if header.rsv1 || header.rsv2 || header.rsv3 {
        return Err(Violation(
            CloseCode::Protocol,
            "No extension was negotiated.",
        ));
    }
    if header.mask.is_none() {
        return Err(Violation(
            CloseCode::Protocol,
            "Frames of a client have to be masked.",
        ));
    }
    match header.opcode {
        OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
            Err(Violation(CloseCode::Protocol, "The opcode is reserved."))
        }
        OpCode::Control(_) if !header.is_final || length > 125 => Err(Violation(
            CloseCode::Protocol,
            "Control frames are short and whole.",
        )),
        OpCode::Data(_) if length > MAX_MESSAGE_BYTES as u64 => {
            Err(Violation(CloseCode::Size, "The message is too long."))
        }
        _ => Ok(()),
    }
}

fn on_frame(
    header: &FrameHeader,
    payload: Vec<u8>,
    input: &mut Input,
) -> Result<Option<Incoming>, Violation> {
    match header.opcode {
        OpCode::Control(Control::Ping) => {
            let mut pong = Vec::with_capacity(payload.len() + 2);
            write_frame(OpCode::Control(Control::Pong), &[&payload], &mut pong);
            Ok(Some(Incoming::Answer(pong)))
        }
        OpCode::Control(Control::Close) => answer_close(&payload).map(Some),
        OpCode::Control(_) => Ok(Some(Incoming::Alive)),
        OpCode::Data(Data::Binary) => Err(Violation(
            CloseCode::Unsupported,
            "Send text: one JSON object a message.",
        )),
        OpCode::Data(Data::Text) if input.fragments.is_some() => Err(Violation(
            CloseCode::Protocol,
            "A message began before the last one ended.",
        )),
        OpCode::Data(Data::Continue) if input.fragments.is_none() => Err(Violation(
            CloseCode::Protocol,
            "There is no message to go on with.",
        )),
        OpCode::Data(_) => on_data(header.is_final, payload, input),
    }
}

fn on_data(
    is_final: bool,
    mut payload: Vec<u8>,
    input: &mut Input,
) -> Result<Option<Incoming>, Violation> {
    let mut message = input.fragments.take().unwrap_or_default();
    if message.len() + payload.len() > MAX_MESSAGE_BYTES {
        return Err(Violation(CloseCode::Size, "The message is too long."));
    }
    message.append(&mut payload);
    if !is_final {
        input.fragments = Some(message);
        return Ok(None);
    }
    let text = String::from_utf8(message)
        .map_err(|_| Violation(CloseCode::Invalid, "The text is not UTF-8."))?;
    Ok(Some(Incoming::Text(text)))
}

/// Answers a close frame with the same code (RFC 6455, 5.5.1), or says what is wrong with it.
fn answer_close(payload: &[u8]) -> Result<Incoming, Violation> {
    let reason = CloseReason::ByClient;
    let Some((code, text)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(Incoming::Close {
                farewell: empty_close_frame(),
                reason,
            })
        } else {
            Err(Violation(
                CloseCode::Protocol,
                "A close code has two bytes.",
            ))
        };
    };
    let code = CloseCode::from(u16::from_be_bytes(*code));
    if !code.is_allowed() {
        return Err(Violation(
            CloseCode::Protocol,
            "The close code is not allowed.",
        ));
    }
    if std::str::from_utf8(text).is_err() {
        return Err(Violation(
            CloseCode::Invalid,
            "The close reason is not UTF-8.",
        ));
    }
    Ok(Incoming::Close {
        farewell: close_frame(code, ""),
        reason,
    })
}

fn close_frame(code: CloseCode, reason: &str) -> Vec<u8> {
    let mut frame = Vec::with_capacity(reason.len() + 4);
    let code = u16::from(code).to_be_bytes();
    write_frame(
        OpCode::Control(Control::Close),
        &[&code, reason.as_bytes()],
        &mut frame,
    );
    frame
}

fn empty_close_frame() -> Vec<u8> {
    let mut frame = Vec::with_capacity(2);
    write_frame(OpCode::Control(Control::Close), &[], &mut frame);
    frame
}

/// Writes one whole frame; a server's frames are not masked.
fn write_frame(opcode: OpCode, payload: &[&[u8]], frame: &mut Vec<u8>) {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    let header = FrameHeader {
        opcode,
        ..FrameHeader::default()
    };
    frame.reserve(length + 10);
    header
        .format(length as u64, frame)
        .expect("a Vec takes all that is written");
    for part in payload {
        frame.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
            long => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&u16::try_from(long).unwrap().to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        frame.extend(
            payload
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        frame
    }

    fn read(bytes: &[u8]) -> Vec<Incoming> {
        let mut input = Input {
            unread: bytes.to_vec(),
            fragments: None,
        };
        let mut incoming = Vec::new();
        Ws {
            with_cursors: false,
        }
        .read(&mut input, &mut incoming);
        incoming
    }

    fn close_code(incoming: &[Incoming]) -> Option<u16> {
        match incoming.last()? {
            Incoming::Close { farewell, .. } => {
                Some(u16::from_be_bytes([*farewell.get(2)?, *farewell.get(3)?]))
            }
            _ => None,
        }
    }

    #[test]
    fn a_text_may_come_in_fragments_with_a_ping_between_and_in_single_bytes() {
        let mut bytes = masked(0x01, b"hel");
        bytes.extend(masked(0x89, b"p"));
        bytes.extend(masked(0x80, b"lo"));
        let expected = [
            Incoming::Answer(b"\x8a\x01p".to_vec()),
            Incoming::Text("hello".into()),
        ];
        assert_eq!(read(&bytes), expected);
        let mut input = Input::default();
        let mut incoming = Vec::new();
        for byte in bytes {
            input.unread.push(byte);
            Ws {
                with_cursors: false,
            }
            .read(&mut input, &mut incoming);
        }
        assert_eq!(incoming, expected);
        assert!(input.is_empty());
    }

    #[test]
    fn every_violation_has_its_close_code() {
        let too_long = [0x81, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 1, 2, 3, 4];
        for (bytes, code, what) in [
            (vec![0x81, 1, b'a'], 1002, "not masked"),
            (masked(0xc1, b"a"), 1002, "a reserved bit"),
            (masked(0x83, b"a"), 1002, "a reserved data opcode"),
            (masked(0x8b, b"a"), 1002, "a reserved control opcode"),
            (masked(0x09, b""), 1002, "a ping in fragments"),
            (masked(0x89, &[b'a'; 126]), 1002, "a long ping"),
            (masked(0x80, b"a"), 1002, "nothing to go on with"),
            (
                [masked(0x01, b"a"), masked(0x81, b"b")].concat(),
                1002,
                "a text in a text",
            ),
            (masked(0x82, b"a"), 1003, "binary"),
            (masked(0x81, b"\xff"), 1007, "not UTF-8"),
            (too_long.to_vec(), 1009, "too long"),
            (masked(0x88, b"a"), 1002, "half a close code"),
            (
                masked(0x88, &1005_u16.to_be_bytes()),
                1002,
                "a reserved close code",
            ),
            (
                masked(0x88, &[3, 0xe8, 0xff]),
                1007,
                "a close reason that is not UTF-8",
            ),
            (masked(0x88, &[3, 0xe8]), 1000, "a close"),
            (
                masked(0x88, &4001_u16.to_be_bytes()),
                4001,
                "a close of its own",
            ),
        ] {
            assert_eq!(close_code(&read(&bytes)), Some(code), "{what}");
        }
        assert_eq!(close_code(&read(&masked(0x88, b""))), None);
    }

    #[test]
    fn an_event_is_one_text_frame_and_carries_its_cursor_when_asked() {
        let event = Outgoing {
            event_type: "t",
            json: b"{\"id\":\"1\"} ",
            cursor: "AQ",
        };
        let mut frame = Vec::new();
        Ws {
            with_cursors: false,
        }
        .encode(event, &mut frame);
        assert_eq!(frame, b"\x81\x0b{\"id\":\"1\"} ");
        frame.clear();
        Ws { with_cursors: true }.encode(event, &mut frame);
        assert_eq!(frame, b"\x81\x1b{\"id\":\"1\",\"rigcursor\":\"AQ\"}");
    }
}
