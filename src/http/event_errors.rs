//! What whoever sends an event is told when it cannot be taken: the same words wherever it came in.

use std::time::Duration;

use http::StatusCode;

use super::error::HttpError;
use crate::event::{CloudEvent, SubmissionError};
use crate::kafka::ProduceError;

/// How long a caller should wait before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl HttpError {
    /// 400 or 415: the request has no event that can be taken.
    #[must_use]
    pub fn not_an_event(error: &SubmissionError) -> Self {
        match error {
            SubmissionError::UnsupportedMediaType { .. }
            | SubmissionError::UnsupportedEncoding { .. }
            | SubmissionError::Unexpected => Self::unsupported_media_type(error.to_string()),
            _ => Self::bad_request(
                "not_a_cloudevent",
                format!("The request body does not look like a CloudEvent: {error}"),
            ),
        }
    }

    /// Refuses events of a type that only Sluicegate itself makes.
    ///
    /// # Errors
    /// 400.
    pub fn check_type(event: &CloudEvent) -> Result<(), Self> {
        if event.has_reserved_type() {
            return Err(Self::bad_request(
                "reserved_type",
                "Event types that start with rig. are reserved.",
            ));
        }
        Ok(())
    }
}

/// 413, 502 or 503: Kafka has not acknowledged the event.
impl From<ProduceError> for HttpError {
    fn from(error: ProduceError) -> Self {
        match &error {
            ProduceError::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "event_too_large",
                "The event is larger than Kafka takes.",
            ),
            ProduceError::Unavailable => Self::unavailable(
                "kafka_unavailable",
                "Kafka cannot take the event now; nothing was written.",
                RETRY_AFTER,
            ),
            ProduceError::TimedOut => Self::unavailable(
                "kafka_timeout",
                "Kafka did not acknowledge the event in time; send it again with the same id.",
                RETRY_AFTER,
            ),
            ProduceError::Refused { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "kafka_refused",
                "Kafka refused the event.",
            ),
        }
        .with_cause(error)
    }
}
