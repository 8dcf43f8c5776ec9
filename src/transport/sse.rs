//! Server-sent events: the wire format.
//!
//! # Source
//! WHATWG HTML, section 9.2 "Server-sent events".

use crate::dispatch::{CloseReason, Incoming, Input, Outgoing, Wire};
use crate::telemetry::Transport;

/// How long a client waits before it connects again, as sent in `retry:`, in milliseconds.
pub(super) const RETRY_MS: u32 = 3000;

/// Events as `id:`, `event:` and `data:` fields.
#[derive(Debug)]
pub struct Sse;

impl Wire for Sse {
    fn transport(&self) -> Transport {
        Transport::Sse
    }

    fn encode(&self, event: Outgoing<'_>, frame: &mut Vec<u8>) {
        frame.reserve(event.json.len() + event.cursor.len() + event.event_type.len() + 32);
        field(frame, b"id", event.cursor.as_bytes());
        field(frame, b"event", event.event_type.as_bytes());
        for line in lines(event.json) {
            field(frame, b"data", line);
        }
        frame.push(b'\n');
    }

    /// A comment keeps proxies from giving up; an `id` without `data` moves the client's last event
    /// id and fires nothing ("dispatch the event", step 1).
    fn heartbeat(&self, cursor: Option<&str>, frame: &mut Vec<u8>) {
        frame.extend_from_slice(b": heartbeat\n");
        if let Some(cursor) = cursor {
            field(frame, b"id", cursor.as_bytes());
        }
        frame.push(b'\n');
    }

    fn farewell(&self, _reason: CloseReason) -> Vec<u8> {
        Vec::new()
    }

    /// A client has nothing more to say after its request; what it sends is thrown away.
    fn read(&self, input: &mut Input, _incoming: &mut Vec<Incoming>) {
        input.unread.clear();
    }
}

/// Writes one field; the value has no line ends, so it cannot become a second one.
fn field(frame: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n')));
    frame.extend_from_slice(name);
    frame.extend_from_slice(b": ");
    frame.extend_from_slice(value);
    frame.push(b'\n');
}

/// Splits at what ends a line in an event stream: CR LF, LF or CR. JSON has them only between tokens.
fn lines(json: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(json);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = text.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            rest = None;
            return Some(text);
        };
        let (line, after) = text.split_at(at);
        rest = Some(
            after
                .strip_prefix(b"\r\n")
                .or_else(|| after.get(1..))
                .unwrap_or_default(),
        );
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(event_type: &str, json: &str) -> String {
        let mut frame = Vec::new();
        Sse.encode(
            Outgoing {
                event_type,
                json: json.as_bytes(),
                cursor: "AQ",
            },
            &mut frame,
        );
        String::from_utf8(frame).unwrap()
    }

    #[test]
    fn an_event_is_id_then_event_then_data_and_an_empty_line() {
        assert_eq!(
            frame("greeting", r#"{"a":1}"#),
            "id: AQ\nevent: greeting\ndata: {\"a\":1}\n\n"
        );
    }

    #[test]
    fn every_kind_of_line_end_in_the_json_starts_a_new_data_line() {
        for end in ["\n", "\r", "\r\n"] {
            let frame = frame("t", &format!("{{{end}\"a\":1{end}}}"));
            assert_eq!(
                frame, "id: AQ\nevent: t\ndata: {\ndata: \"a\":1\ndata: }\n\n",
                "{end:?}"
            );
        }
    }

    #[test]
    fn a_heartbeat_is_a_comment_and_moves_the_cursor_where_there_is_one() {
        let mut frame = Vec::new();
        Sse.heartbeat(None, &mut frame);
        assert_eq!(frame, b": heartbeat\n\n");
        frame.clear();
        Sse.heartbeat(Some("AQ"), &mut frame);
        assert_eq!(frame, b": heartbeat\nid: AQ\n\n");
    }
}
