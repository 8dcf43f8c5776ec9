//! A command whose answer is to be kept, before it is sent.

use std::sync::Arc;

use super::command::Command;
use super::desk::Desk;
use crate::http::HttpError;

/// A command whose answer is to be kept, and that is forgotten if it is not sent.
#[derive(Debug)]
pub(super) struct Pledge {
    desk: Arc<Desk>,
    number: u64,
    is_held: bool,
}

impl Pledge {
    /// Takes a place for the answer.
    ///
    /// # Errors
    /// 503 when too many such commands have no answer, 429 when too many of this party have none.
    pub(super) fn begin(desk: &Arc<Desk>, command: &Command) -> Result<Self, HttpError> {
        Ok(Self {
            number: desk.keep(command.caller.clone(), &command.party)?,
            desk: Arc::clone(desk),
            is_held: false,
        })
    }

    /// Returns the number.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The command was sent.
    pub(super) fn hold(mut self) {
        self.is_held = true;
    }
}

impl Drop for Pledge {
    fn drop(&mut self) {
        if !self.is_held {
            self.desk.table().forget(self.number);
        }
    }
}
