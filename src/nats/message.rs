//! Messages as the rooms above see them.

use bytes::Bytes;

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct OutgoingMessage<'a> {
    /// The subject, without wildcards.
    pub subject: &'a str,
    /// The headers; a name may come more than once.
    pub headers: &'a [(&'a str, &'a str)],
    /// The payload.
    pub payload: Bytes,
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsMessage {
    /// Its subject.
    pub subject: Box<str>,
    /// Where a reply is waited for.
    pub reply: Option<Box<str>>,
    /// Its headers in no particular order; those of one name in theirs.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// Its payload.
    pub payload: Bytes,
}
