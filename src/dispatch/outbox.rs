//! What waits to be written to one connection; bounded in bytes.

use std::io::IoSlice;
use std::rc::Rc;

use super::frames::Frames;
use crate::replay::Sequence;

/// The bytes of a frame: shared by all connections that get the same event, or one's own.
#[derive(Debug, Clone)]
pub(super) enum Bytes {
    Shared(Rc<[u8]>),
    Own(Box<[u8]>),
}

impl Bytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// An event of the log, with its record's timestamp in Unix milliseconds.
    Event {
        sequence: Sequence,
        timestamp_ms: i64,
    },
    /// An event that was read again for this connection alone.
    Replayed { timestamp_ms: i64 },
    /// Heads, heartbeats, control events, pongs: not in the log, so never dropped.
    Control,
}

/// A frame that waits.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    pub(super) content: Content,
}

/// The frames of one connection, oldest first.
///
/// An empty outbox holds no memory of its own: most connections are idle most of the time.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: Frames,
    /// How much of the first frame is written.
    written: usize,
    events_bytes: usize,
    control_bytes: usize,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns the bytes of the waiting events.
    pub(super) fn events_bytes(&self) -> usize {
        self.events_bytes
    }

    /// Returns the bytes of everything else that waits.
    pub(super) fn control_bytes(&self) -> usize {
        self.control_bytes
    }

    pub(super) fn push(&mut self, frame: Frame) {
        *self.counter(frame.content) += frame.bytes.as_slice().len();
        self.frames.push(frame);
    }

    /// Fills `slices` with the bytes to write next, in order; returns how many were filled.
    pub(super) fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, frame) in slices.iter_mut().zip(self.frames.iter()) {
            let skip = if filled == 0 { self.written } else { 0 };
            *slice = IoSlice::new(frame.bytes.as_slice().get(skip..).unwrap_or_default());
            filled += 1;
        }
        filled
    }

    /// Marks the next `count` bytes as written; calls `done` for each frame that is out whole.
    pub(super) fn advance(&mut self, count: usize, mut done: impl FnMut(Content)) {
        self.written += count;
        while let Some(frame) = self.frames.front() {
            let length = frame.bytes.as_slice().len();
            if self.written < length {
                break;
            }
            self.written -= length;
            let content = frame.content;
            *self.counter(content) -= length;
            self.frames.pop();
            done(content);
        }
    }

    /// Drops the events at the end that [`Outbox::first_droppable`] allows to drop.
    ///
    /// Returns the number of the oldest event dropped and how many were dropped.
    pub(super) fn drop_events(&mut self) -> Option<(Sequence, u64)> {
        let oldest = self.oldest_droppable()?;
        let dropped = self.frames.split_off(self.first_droppable());
        let sizes = dropped.iter().map(|frame| frame.bytes.as_slice().len());
        self.events_bytes -= sizes.sum::<usize>();
        Some((oldest, dropped.len() as u64))
    }

    /// Returns the number of the oldest event that [`Outbox::drop_events`] would drop.
    pub(super) fn oldest_droppable(&self) -> Option<Sequence> {
        match self.frames.get(self.first_droppable())?.content {
            Content::Event { sequence, .. } => Some(sequence),
            Content::Replayed { .. } | Content::Control => None,
        }
    }

    /// Returns the place of the first frame that may be dropped, and all after it: not written in
    /// part, and with no other frame behind it, whose cursor says that the client has it.
    fn first_droppable(&self) -> usize {
        let is_event = |frame: &&Frame| matches!(frame.content, Content::Event { .. });
        let events_behind = self.frames.iter().rev().take_while(is_event).count();
        let after_others = self.frames.len() - events_behind;
        after_others.max(usize::from(self.written > 0))
    }

    /// Takes all frames out, for a reader that gets them at once.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Frame> + use<> {
        let taken = std::mem::take(self);
        taken.frames.into_iter()
    }

    fn counter(&mut self, content: Content) -> &mut usize {
        match content {
            Content::Event { .. } | Content::Replayed { .. } => &mut self.events_bytes,
            Content::Control => &mut self.control_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: Sequence, text: &str) -> Frame {
        Frame {
            bytes: Bytes::Shared(Rc::from(text.as_bytes())),
            content: Content::Event {
                sequence,
                timestamp_ms: 0,
            },
        }
    }

    fn control(text: &str) -> Frame {
        Frame {
            bytes: Bytes::Own(text.as_bytes().into()),
            content: Content::Control,
        }
    }

    fn waiting(outbox: &Outbox) -> String {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = outbox.gather(&mut slices);
        slices[..filled]
            .iter()
            .map(|slice| std::str::from_utf8(slice).unwrap())
            .collect()
    }

    #[test]
    fn writes_on_where_a_short_write_ended() {
        let mut outbox = Outbox::default();
        outbox.push(event(1, "abc"));
        outbox.push(control("de"));
        outbox.push(event(2, "f"));
        let mut done = Vec::new();
        outbox.advance(4, |content| done.push(content));
        assert_eq!(waiting(&outbox), "ef");
        assert_eq!(
            done,
            [Content::Event {
                sequence: 1,
                timestamp_ms: 0
            }]
        );
        assert_eq!((outbox.events_bytes(), outbox.control_bytes()), (1, 2));
        outbox.advance(2, |content| done.push(content));
        assert!(outbox.is_empty());
        assert_eq!(
            (done.len(), outbox.events_bytes(), outbox.control_bytes()),
            (3, 0, 0)
        );
    }

    #[test]
    fn dropping_keeps_the_frame_on_the_wire_and_everything_that_is_no_event() {
        let mut outbox = Outbox::default();
        for frame in [
            event(5, "aaaa"),
            control("C"),
            event(6, "bb"),
            event(7, "dd"),
        ] {
            outbox.push(frame);
        }
        outbox.advance(1, |_| panic!("nothing is out whole"));
        assert_eq!(outbox.oldest_droppable(), Some(6));
        assert_eq!(outbox.drop_events(), Some((6, 2)));
        assert_eq!(waiting(&outbox), "aaaC");
        assert_eq!((outbox.events_bytes(), outbox.control_bytes()), (4, 1));
        assert_eq!(outbox.drop_events(), None);
        assert_eq!(outbox.oldest_droppable(), None);
    }

    /// An event was once dropped from before a control event, whose cursor says that the client has
    /// it: cut off right then, the client came back for what follows, and never got the event.
    #[test]
    fn nothing_is_dropped_that_a_cursor_behind_it_says_was_seen() {
        let mut outbox = Outbox::default();
        for frame in [event(5, "aa"), event(6, "bb"), control("C"), event(7, "dd")] {
            outbox.push(frame);
        }
        assert_eq!(outbox.oldest_droppable(), Some(7));
        assert_eq!(outbox.drop_events(), Some((7, 1)));
        assert_eq!(waiting(&outbox), "aabbC");
    }
}
