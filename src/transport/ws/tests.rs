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
