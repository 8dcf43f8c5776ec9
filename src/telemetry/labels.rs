//! Values of labels: small closed sets.

/// How a client is connected; the value of the label `transport`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Server-sent events.
    Sse,
    /// WebSocket.
    Ws,
    /// Long polling; counted while a poll waits.
    LongPolling,
}

impl Transport {
    /// All transports, in the order of their metrics.
    pub const ALL: [Self; 3] = [Self::Sse, Self::Ws, Self::LongPolling];

    /// Returns the name used in paths and as a label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::Ws => "ws",
            Self::LongPolling => "longpolling",
        }
    }
}

/// Why a source record was skipped; the value of the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// The record has no value and is not a CloudEvent without data.
    NullValue,
    /// The value is not the JSON that its content type promises.
    NotJson,
    /// JSON, but not a CloudEvent: an attribute is missing, of a wrong type or has control characters.
    NotACloudEvent,
    /// A `specversion` that is not known.
    UnknownVersion,
    /// A `content-type` in a format that cannot be decoded, such as `application/cloudevents+avro`.
    UnsupportedFormat,
    /// Nested deeper than the limit.
    TooDeep,
    /// Larger than the limit.
    TooLarge,
}

impl Rejection {
    /// All reasons, in the order of their metrics.
    pub const ALL: [Self; 7] = [
        Self::NullValue,
        Self::NotJson,
        Self::NotACloudEvent,
        Self::UnknownVersion,
        Self::UnsupportedFormat,
        Self::TooDeep,
        Self::TooLarge,
    ];

    /// Returns the value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NullValue => "null_value",
            Self::NotJson => "not_json",
            Self::NotACloudEvent => "not_a_cloudevent",
            Self::UnknownVersion => "unknown_version",
            Self::UnsupportedFormat => "unsupported_format",
            Self::TooDeep => "too_deep",
            Self::TooLarge => "too_large",
        }
    }
}
