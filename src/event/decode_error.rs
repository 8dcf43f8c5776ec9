//! Why something is not an event.

use super::json::{JsonFault, MembersFault};

/// Why a record or a request body could not be decoded; one variant per reason that is counted.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The record has no value, and no headers that would make it an event without data.
    #[error("no value, and no headers of a CloudEvent")]
    NullValue,
    /// The value, or the data that is declared as JSON, is not JSON.
    #[error("not JSON: {fault}")]
    NotJson {
        /// What is wrong with the text.
        fault: JsonFault,
    },
    /// JSON, but not a CloudEvent.
    #[error("not a CloudEvent: {fault}")]
    NotACloudEvent {
        /// What is missing or wrong.
        fault: EventFault,
    },
    /// A version of the specification that is not known.
    #[error("specversion {version:?} is not known, expected 1.0, 0.3, 0.2 or 0.1")]
    UnknownVersion {
        /// The version, cut to a length that fits a message.
        version: Box<str>,
    },
    /// A content type in a format that cannot be decoded here.
    #[error(
        "content type {content_type:?} cannot be decoded, expected application/cloudevents+json in UTF-8"
    )]
    UnsupportedFormat {
        /// The content type, cut to a length that fits a message.
        content_type: Box<str>,
    },
    /// Nested too deeply.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The deepest level allowed.
        limit: usize,
    },
}

/// What makes JSON, or a set of headers, not a CloudEvent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventFault {
    /// Some other JSON value.
    #[error("the JSON value is not an object")]
    NotAnObject,
    /// A required attribute is not there, or `null`.
    #[error("attribute {attribute:?} is missing")]
    Missing {
        /// Its name.
        attribute: &'static str,
    },
    /// A required attribute is the empty string.
    #[error("attribute {attribute:?} is empty")]
    Empty {
        /// Its name.
        attribute: &'static str,
    },
    /// A value is not a string, but has to be one.
    #[error("member {name:?} is not a string")]
    NotAString {
        /// Its name.
        name: &'static str,
    },
    /// A name or a value has a control character, which no string of a CloudEvent may have.
    #[error("attribute {attribute:?} has a control character")]
    ControlCharacter {
        /// Its name.
        attribute: Box<str>,
    },
    /// A member or a header is given twice.
    #[error("{name:?} is given more than once")]
    Repeated {
        /// Its name.
        name: Box<str>,
    },
    /// `data` and `data_base64` exclude each other.
    #[error("both \"data\" and \"data_base64\" are given")]
    TwoKindsOfData,
    /// A header names an attribute outside of `a-z`, `A-Z` and `0-9`, or one that stands for the data.
    #[error("{name:?} is not the name of an attribute")]
    BadName {
        /// The name after the prefix.
        name: Box<str>,
    },
    /// The value of a header is not UTF-8, after percent-decoding in HTTP.
    #[error("the value of attribute {attribute:?} is not UTF-8")]
    NotUtf8 {
        /// Its name.
        attribute: Box<str>,
    },
}

impl From<JsonFault> for DecodeError {
    fn from(fault: JsonFault) -> Self {
        match fault {
            JsonFault::TooDeep { limit } => Self::TooDeep { limit },
            fault => Self::NotJson { fault },
        }
    }
}

impl From<EventFault> for DecodeError {
    fn from(fault: EventFault) -> Self {
        Self::NotACloudEvent { fault }
    }
}

impl From<MembersFault> for DecodeError {
    fn from(fault: MembersFault) -> Self {
        match fault {
            MembersFault::Syntax(error) => Self::NotJson {
                fault: error.into(),
            },
            MembersFault::NotAnObject => EventFault::NotAnObject.into(),
            MembersFault::Repeated { name } => EventFault::Repeated { name }.into(),
        }
    }
}
