//! Where a client begins: after its cursor, at a start position, or live.

use http::HeaderMap;

use crate::dispatch::Start;
use crate::event::Cursor;
use crate::http::{HttpError, Query};
use crate::replay::StartAt;

/// How many events may be asked for with `start=last:N`.
const MAX_LAST: usize = 1000;

/// Where a client begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Beginning {
    /// It is known where.
    Known(Start),
    /// Kafka has to be asked.
    Asked(StartAt),
}

/// Reads where a client begins: after the cursor in the header `Last-Event-ID`, else in the query
/// parameter `last_event_id` or `lastEventId`; else where the query parameter `start` says; else live.
///
/// A cursor wins over `start`, so that a client that connects again with the same address goes on.
///
/// # Errors
/// 400 for what is neither a cursor nor a start position.
pub(super) fn beginning(headers: &HeaderMap, query: &Query) -> Result<Beginning, HttpError> {
    if let Some(cursor) = cursor(headers, query)? {
        return Ok(Beginning::Known(Start::After(cursor)));
    }
    match query.get("start").filter(|text| !text.is_empty()) {
        None | Some("live") => Ok(Beginning::Known(Start::Live)),
        Some(text) => start_at(text).map(Beginning::Asked).ok_or_else(|| {
            HttpError::bad_request(
                "invalid_start",
                format!(
                    "invalid start: expected live, earliest, last:N with N from 1 to {MAX_LAST}, \
                     or a time such as 2026-01-31T12:00:00Z"
                ),
            )
        }),
    }
}

fn start_at(text: &str) -> Option<StartAt> {
    if text == "earliest" {
        return Some(StartAt::Earliest);
    }
    if let Some(count) = text.strip_prefix("last:") {
        let count = count.parse().ok()?;
        return (1..=MAX_LAST)
            .contains(&count)
            .then_some(StartAt::Last(count));
    }
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(StartAt::Since(time.as_millisecond()))
}

fn cursor(headers: &HeaderMap, query: &Query) -> Result<Option<Cursor>, HttpError> {
    let header = headers
        .get("last-event-id")
        .map(|value| {
            let not_ascii = |_| not_a_cursor("it is not ASCII");
            value.to_str().map_err(not_ascii)
        })
        .transpose()?;
    let text = header
        .filter(|text| !text.is_empty())
        .or_else(|| query.get("last_event_id"))
        .or_else(|| query.get("lastEventId"))
        .filter(|text| !text.is_empty());
    let parsed = text.map(str::parse::<Cursor>).transpose();
    parsed.map_err(|error| not_a_cursor(&error.to_string()))
}

/// The code of the problem of a cursor that is none.
pub(super) const INVALID_CURSOR: &str = "invalid_cursor";

fn not_a_cursor(why: &str) -> HttpError {
    HttpError::bad_request(INVALID_CURSOR, format!("invalid last event id: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_positions_are_words_counts_and_times() {
        for (text, expected) in [
            ("earliest", Some(StartAt::Earliest)),
            ("last:20", Some(StartAt::Last(20))),
            ("last:1000", Some(StartAt::Last(1000))),
            ("last:0", None),
            ("last:1001", None),
            ("last:", None),
            ("1970-01-01T00:00:01Z", Some(StartAt::Since(1000))),
            ("1970-01-01T01:00:01.5+01:00", Some(StartAt::Since(1500))),
            ("yesterday", None),
            ("1000", None),
            ("Earliest", None),
        ] {
            assert_eq!(start_at(text), expected, "{text}");
        }
    }
}
