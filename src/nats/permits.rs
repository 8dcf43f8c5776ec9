//! Which subjects we may publish to.

use std::collections::HashMap;

use parking_lot::Mutex;

/// The subjects to which a message was let through, each with the connection on which that was.
///
/// The server says that we may not publish to a subject, but not that we may; and what it says, the library tells on
/// another way than the messages that come after it. So the first message to a subject is confirmed twice: by
/// the second time, what was said has arrived.
#[derive(Debug, Default)]
pub(super) struct Permits(Mutex<HashMap<Box<str>, u64>>);

impl Permits {
    /// Returns whether a message to the subject was let through on this connection.
    pub(super) fn has(&self, subject: &str, connection: u64) -> bool {
        self.0.lock().get(subject) == Some(&connection)
    }

    /// Takes note that a message was let through.
    pub(super) fn add(&self, subject: &str, connection: u64) {
        self.0.lock().insert(subject.into(), connection);
    }

    /// Takes note that none is let through any more.
    pub(super) fn revoke(&self, subject: &str) {
        self.0.lock().remove(subject);
    }
}
