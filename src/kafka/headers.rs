//! The headers of a record, as far as they can be read.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

/// Returns the headers of a message without those whose name is not UTF-8.
///
/// The client library panics on such a name, and has no other way to ask.
#[must_use]
pub fn readable_headers<'a>(message: &'a BorrowedMessage<'_>) -> Vec<(&'a str, Option<&'a [u8]>)> {
    let Some(headers) = message.headers() else {
        return Vec::new();
    };
    (0..headers.count())
        .filter_map(|index| {
            catch_unwind(AssertUnwindSafe(|| headers.try_get(index)))
                .ok()
                .flatten()
        })
        .map(|header| (header.key, header.value))
        .collect()
}
