//! Frames in their order; one of them takes no memory of its own, and most outboxes hold one or none.

use std::collections::VecDeque;
use std::iter::FusedIterator;

use super::outbox::Frame;

/// A queue of frames, oldest first.
#[derive(Debug, Default)]
pub(super) enum Frames {
    #[default]
    None,
    One(Frame),
    Many(VecDeque<Frame>),
}

impl Frames {
    pub(super) const fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(frames) => frames.len(),
        }
    }

    pub(super) fn front(&self) -> Option<&Frame> {
        match self {
            Self::None => None,
            Self::One(frame) => Some(frame),
            Self::Many(frames) => frames.front(),
        }
    }

    pub(super) fn get(&self, place: usize) -> Option<&Frame> {
        self.iter().nth(place)
    }

    pub(super) fn push(&mut self, frame: Frame) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(frame),
            Self::One(first) => Self::Many(VecDeque::from([first, frame])),
            Self::Many(mut frames) => {
                frames.push_back(frame);
                Self::Many(frames)
            }
        };
    }

    pub(super) fn pop(&mut self) -> Option<Frame> {
        match self {
            Self::Many(frames) if frames.len() > 1 => frames.pop_front(),
            _ => std::mem::take(self).into_iter().next(),
        }
    }

    /// Takes the frames from `place` on out.
    pub(super) fn split_off(&mut self, place: usize) -> Self {
        let mut kept: VecDeque<Frame> = std::mem::take(self).into_iter().collect();
        let taken = kept.split_off(place.min(kept.len()));
        *self = Self::of(kept);
        Self::of(taken)
    }

    fn of(mut frames: VecDeque<Frame>) -> Self {
        match frames.len() {
            0 => Self::None,
            1 => frames.pop_front().map_or(Self::None, Self::One),
            _ => Self::Many(frames),
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Frame> + FusedIterator {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(frame) => (Some(frame), None),
            Self::Many(frames) => (None, Some(frames)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl IntoIterator for Frames {
    type Item = Frame;
    type IntoIter = std::iter::Chain<
        std::option::IntoIter<Frame>,
        std::collections::vec_deque::IntoIter<Frame>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        let (one, many) = match self {
            Self::None => (None, VecDeque::new()),
            Self::One(frame) => (Some(frame), VecDeque::new()),
            Self::Many(frames) => (None, frames),
        };
        one.into_iter().chain(many)
    }
}
