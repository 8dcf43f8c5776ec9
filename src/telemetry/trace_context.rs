//! The trace that a request belongs to.
//!
//! # Source
//! W3C Trace Context, level 1: `traceparent` (section 3.2) and `tracestate` (section 3.3).

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header and CloudEvents attribute that names trace and span.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header and CloudEvents attribute for what vendors add.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The most of `tracestate` that is passed on; section 3.3.1.5 asks for at least 512.
const MAX_STATE_BYTES: usize = 512;
/// The flag for a trace that is recorded.
const SAMPLED: u8 = 1;

/// A trace, and the span in it that the next one is asked by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
    state: Option<HeaderValue>,
}

impl TraceContext {
    /// Goes on with the trace of a request, in a span of its own; begins a trace where the request names none,
    /// or not as it has to.
    #[must_use]
    pub fn child_of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let parent = match (lines.next(), lines.next()) {
            (Some(line), None) => line.to_str().ok().and_then(parse),
            _ => None,
        };
        let (random, span) = Uuid::new_v4().as_u64_pair();
        match parent {
            Some((trace, flags)) => Self {
                trace,
                span,
                flags,
                state: state(headers),
            },
            None => Self {
                trace: (u128::from(random) << 64) | u128::from(Uuid::new_v4().as_u64_pair().1),
                span,
                // Whoever goes on with the trace decides by this whether to record it: the default of OpenTelemetry's
                // SDKs would drop all that we begin.
                flags: SAMPLED,
                state: None,
            },
        }
    }

    /// Writes both headers over what is there.
    pub fn write_to(&self, headers: &mut HeaderMap) {
        headers.remove(TRACESTATE);
        if let Ok(parent) = HeaderValue::try_from(self.to_string()) {
            headers.insert(TRACEPARENT, parent);
        }
        if let Some(state) = &self.state {
            headers.insert(TRACESTATE, state.clone());
        }
    }

    /// Returns the value of `tracestate`, if there is one.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_ref().and_then(|state| state.to_str().ok())
    }
}

/// The value of `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace, span, flags, ..
        } = self;
        write!(f, "00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

/// Reads the trace and the flags that this version knows; what a later version appends is ignored (section 3.2.2).
fn parse(text: &str) -> Option<(u128, u8)> {
    let mut parts = text.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace = hex(parts.next()?, 32)?;
    let span = hex(parts.next()?, 16)?;
    let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    let is_known = match version {
        0xff => false,
        0 => parts.next().is_none(),
        _ => true,
    };
    (is_known && trace != 0 && span != 0).then_some((trace, flags & SAMPLED))
}

/// Reads a number of just so many hexadecimal digits, which have to be small letters.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_right = text.len() == digits && text.bytes().all(is_digit);
    is_right.then(|| u128::from_str_radix(text, 16).ok())?
}

/// Joins the lines of `tracestate`; nothing where that would be too long or is no text.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines: Vec<&str> = headers
        .get_all(TRACESTATE)
        .iter()
        .map(|line| line.to_str().ok())
        .collect::<Option<_>>()?;
    let joined = lines.join(",");
    if joined.is_empty() || joined.len() > MAX_STATE_BYTES {
        return None;
    }
    HeaderValue::try_from(joined).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn child(headers: &[(&'static str, &str)]) -> TraceContext {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::try_from(*value).unwrap(),
                )
            })
            .collect();
        TraceContext::child_of(&headers)
    }

    #[test]
    fn a_trace_goes_on_in_a_span_of_its_own() {
        let child = child(&[
            ("traceparent", PARENT),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ]);
        let text = child.to_string();
        assert_eq!(text.len(), PARENT.len());
        assert_eq!(text.get(..36), PARENT.get(..36));
        assert_ne!(text.get(36..52), PARENT.get(36..52));
        assert!(text.ends_with("-01"));
        assert_eq!(child.state(), Some("a=1,b=2"));
    }

    #[test]
    fn whether_a_trace_is_recorded_is_said_by_who_began_it() {
        let left_out = PARENT.replace("-01", "-00");
        assert!(
            child(&[("traceparent", &left_out)])
                .to_string()
                .ends_with("-00")
        );
        assert!(child(&[]).to_string().ends_with("-01"));
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-what-else";
        let text = child(&[("traceparent", later)]).to_string();
        assert!(text.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(text.ends_with("-01"));
    }

    #[test]
    fn what_is_no_trace_begins_one() {
        for wrong in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            let begun = child(&[("traceparent", wrong), ("tracestate", "a=1")]);
            assert!(!begun.to_string().contains("4bf92f3577b34da6"), "{wrong}");
            assert_eq!(begun.state(), None, "{wrong}");
        }
        let twice = child(&[("traceparent", PARENT), ("traceparent", PARENT)]);
        assert!(!twice.to_string().contains("4bf92f3577b34da6"));
    }

    #[test]
    fn headers_of_the_request_are_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(PARENT));
        headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        child(&[]).write_to(&mut headers);
        assert_ne!(headers[TRACEPARENT], PARENT);
        assert!(!headers.contains_key(TRACESTATE));
    }
}
