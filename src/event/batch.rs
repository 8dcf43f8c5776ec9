//! Several events in one JSON array.

use bytes::Bytes;

use super::cloud_event::CloudEvent;
use super::decode_error::DecodeError;
use super::json::{JsonFault, NESTING_LIMIT, check_text, parse_list};

/// Why a batch is refused, as a whole.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The text is not JSON, or nested too deeply.
    #[error("the batch is not JSON: {0}")]
    NotJson(#[from] JsonFault),
    /// JSON, but not an array.
    #[error("the batch is not a JSON array")]
    NotAList,
    /// Some elements are not events.
    #[error("{} of {total} events of the batch are invalid{}", .invalid.len(), first_of(.invalid))]
    Invalid {
        /// How many elements the batch has.
        total: usize,
        /// All elements that are not events: their indexes from 0, ascending, and what is wrong.
        invalid: Vec<(usize, DecodeError)>,
    },
}

fn first_of(invalid: &[(usize, DecodeError)]) -> String {
    invalid
        .first()
        .map(|(index, error)| format!(", first at index {index}: {error}"))
        .unwrap_or_default()
}

impl CloudEvent {
    /// Decodes a batch of the JSON format; the events share the memory of `json`. An empty batch is valid.
    ///
    /// # Errors
    /// [`BatchError`], which names every bad element.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the events keep the memory of the body alive"
    )]
    pub fn from_batch(json: Bytes) -> Result<Vec<Self>, BatchError> {
        let text = check_text(&json, NESTING_LIMIT + 1)?;
        let elements = parse_list(text)
            .map_err(JsonFault::from)?
            .ok_or(BatchError::NotAList)?;
        let total = elements.len();
        let mut events = Vec::with_capacity(total);
        let mut invalid = Vec::new();
        for (index, element) in elements.into_iter().enumerate() {
            match Self::from_structured(json.slice_ref(element.as_bytes())) {
                Ok(event) => events.push(event),
                Err(error) => invalid.push((index, error)),
            }
        }
        if invalid.is_empty() {
            Ok(events)
        } else {
            Err(BatchError::Invalid { total, invalid })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventFault;

    const EVENT: &str = r#"{"specversion":"1.0","type":"t","id":"1","source":"/s"}"#;

    fn decode(json: String) -> Result<Vec<CloudEvent>, BatchError> {
        CloudEvent::from_batch(json.into())
    }

    #[test]
    fn events_keep_their_bytes_and_their_order() {
        let second = EVENT.replace("\"1\"", "\"2\"");
        let events = decode(format!(" [ {EVENT} ,\n{second}] ")).unwrap();
        assert_eq!(
            events.iter().map(CloudEvent::id).collect::<Vec<_>>(),
            ["1", "2"]
        );
        assert_eq!(events[1].json(), second.as_bytes());
        assert!(decode("[]".to_owned()).unwrap().is_empty());
    }

    #[test]
    fn every_bad_element_is_named() {
        let error = decode(format!(
            r#"[{EVENT},5,{EVENT},{{"specversion":"1.0","type":"t","id":"1"}}]"#
        ))
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 of 4 events of the batch are invalid, first at index 1: not a CloudEvent: the JSON value is not an object"
        );
        let BatchError::Invalid { total: 4, invalid } = error else {
            panic!("{error:?}")
        };
        assert!(matches!(
            invalid[0],
            (
                1,
                DecodeError::NotACloudEvent {
                    fault: EventFault::NotAnObject
                }
            )
        ));
        assert!(matches!(
            invalid[1],
            (
                3,
                DecodeError::NotACloudEvent {
                    fault: EventFault::Missing {
                        attribute: "source"
                    }
                }
            )
        ));
    }

    #[test]
    fn an_event_may_nest_as_deep_in_a_batch_as_alone() {
        let nested = |depth: usize| {
            format!(
                r#"[{{"specversion":"1.0","type":"t","id":"1","source":"/s","data":{}{}}}]"#,
                "[".repeat(depth),
                "]".repeat(depth)
            )
        };
        assert!(decode(nested(63)).is_ok());
        assert!(matches!(
            decode(nested(64)),
            Err(BatchError::NotJson(JsonFault::TooDeep { .. }))
        ));
        assert!(decode("[".repeat(100_000)).is_err());
    }

    #[test]
    fn other_texts_are_no_batch() {
        assert!(matches!(
            decode(EVENT.to_owned()),
            Err(BatchError::NotAList)
        ));
        for text in ["", "[", "[1,]", "[]]", "nope"] {
            assert!(
                matches!(
                    decode(text.to_owned()),
                    Err(BatchError::NotJson(JsonFault::Syntax(_)))
                ),
                "{text}"
            );
        }
    }
}
