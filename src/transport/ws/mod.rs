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
mod tests;
