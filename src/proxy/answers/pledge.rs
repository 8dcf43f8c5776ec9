//! A command whose answer is to be kept, before it is sent.

use std::sync::Arc;

use super::desk::Desk;

/// A command whose answer is to be kept, and that is forgotten if it is not sent.
#[derive(Debug)]
pub(super) struct Pledge {
    desk: Arc<Desk>,
    number: u64,
    is_held: bool,
}

impl Pledge {
    /// Begun under this number.
    pub(super) fn new(desk: &Arc<Desk>, number: u64) -> Self {
        Self {
            desk: Arc::clone(desk),
            number,
            is_held: false,
        }
    }

    /// Returns the number.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The command was sent; returns its number.
    pub(super) fn hold(mut self) -> u64 {
        self.is_held = true;
        self.number
    }
}

impl Drop for Pledge {
    fn drop(&mut self) {
        if !self.is_held {
            self.desk.table().forget(self.number);
        }
    }
}
