//! What content types say about an event or its data. Media types are compared without case (RFC 9110, 8.3.1).

/// A form as browsers send it: ASCII by its definition.
const FORM: &str = "application/x-www-form-urlencoded";

/// The content type of an event in JSON, as it is written.
pub const JSON_EVENT: &str = "application/cloudevents+json; charset=UTF-8";

/// Where a content type says that the event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The value is one event in JSON.
    Structured,
    /// The value is an array of events in JSON.
    Batch,
    /// A CloudEvents format that is not supported.
    Unsupported,
    /// The value is data, or nothing is known.
    Binary,
}

/// How data of a content type is written into JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataKind {
    Json,
    Text,
    Bytes,
}

/// Tells the mode by a `content-type`; both bindings go by the prefix `application/cloudevents`.
pub(super) fn mode(content_type: &str) -> Mode {
    let essence = essence(content_type);
    let Some(format) = essence.strip_prefix("application/cloudevents") else {
        return Mode::Binary;
    };
    if !is_utf8(content_type) {
        return Mode::Unsupported;
    }
    match format {
        "" | "+json" => Mode::Structured,
        "-batch" | "-batch+json" => Mode::Batch,
        _ => Mode::Unsupported,
    }
}

/// Tells what kind of data a content type stands for.
pub(super) fn data_kind(content_type: &str) -> DataKind {
    let essence = essence(content_type);
    let (kind, format) = essence.split_once('/').unwrap_or((&essence, ""));
    if format == "json" || format.ends_with("+json") {
        DataKind::Json
    } else if is_utf8(content_type)
        && (kind == "text" || format == "xml" || format.ends_with("+xml") || essence == FORM)
    {
        DataKind::Text
    } else {
        DataKind::Bytes
    }
}

/// Returns whether a body with this content type is JSON, of whatever format.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    data_kind(content_type) == DataKind::Json
}

/// Returns whether a body with this content type is a stream of server-sent events, which has no end of its own.
#[must_use]
pub fn is_event_stream(content_type: &str) -> bool {
    essence(content_type) == "text/event-stream"
}

/// Returns whether the content type is `application/json`, whatever its parameters are.
pub(super) fn is_plain_json(content_type: &str) -> bool {
    essence(content_type) == "application/json"
}

/// Returns whether clients send this content type unasked, or for JSON of any kind: it does not say whether the body
/// is an event.
pub(super) fn says_little(content_type: &str) -> bool {
    matches!(
        essence(content_type).as_str(),
        "" | "application/json" | "text/plain" | FORM
    )
}

fn essence(content_type: &str) -> String {
    content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// Returns whether the parameter `charset` is absent, UTF-8 or its subset ASCII.
fn is_utf8(content_type: &str) -> bool {
    content_type
        .split(';')
        .skip(1)
        .filter_map(|parameter| parameter.split_once('='))
        .all(|(name, value)| {
            let charset = value.trim().trim_matches('"').to_ascii_lowercase();
            !name.trim().eq_ignore_ascii_case("charset")
                || matches!(charset.as_str(), "utf-8" | "utf8" | "us-ascii")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_follows_from_the_content_type() {
        for (content_type, expected) in [
            ("application/cloudevents", Mode::Structured),
            ("application/cloudevents+json", Mode::Structured),
            (
                "Application/CloudEvents+JSON; charset=UTF-8",
                Mode::Structured,
            ),
            (
                " application/cloudevents+json ;charset=\"utf-8\"",
                Mode::Structured,
            ),
            ("application/cloudevents-batch+json", Mode::Batch),
            ("application/cloudevents-batch; x=y", Mode::Batch),
            ("application/cloudevents+avro", Mode::Unsupported),
            ("application/cloudevents-batch+avro", Mode::Unsupported),
            (
                "application/cloudevents+json; charset=utf-16",
                Mode::Unsupported,
            ),
            ("application/cloudeventsx", Mode::Unsupported),
            ("application/json", Mode::Binary),
            ("text/plain", Mode::Binary),
            ("", Mode::Binary),
        ] {
            assert_eq!(mode(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn the_kind_of_data_follows_from_the_content_type() {
        for (content_type, expected) in [
            ("application/json", DataKind::Json),
            ("text/json", DataKind::Json),
            ("application/vnd.x+JSON; charset=utf-8", DataKind::Json),
            ("text/plain", DataKind::Text),
            ("text/plain; charset=utf-8", DataKind::Text),
            ("text/plain; charset=iso-8859-1", DataKind::Bytes),
            ("application/xml", DataKind::Text),
            ("image/svg+xml", DataKind::Text),
            ("application/x-www-form-urlencoded", DataKind::Text),
            ("application/octet-stream", DataKind::Bytes),
            ("avro/binary", DataKind::Bytes),
            ("json", DataKind::Bytes),
        ] {
            assert_eq!(data_kind(content_type), expected, "{content_type}");
            assert_eq!(is_json(content_type), expected == DataKind::Json);
        }
        assert!(is_plain_json("Application/JSON; charset=utf-8"));
        assert!(!is_plain_json("application/x+json"));
        assert!(is_event_stream("Text/Event-Stream ; charset=utf-8"));
        assert!(!is_event_stream("text/event-streams"));
    }
}
