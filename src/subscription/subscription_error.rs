//! Why a list of subscriptions is refused.

use super::pattern::PatternError;
use crate::event::{JsonFault, MembersFault};

/// Why a list of subscriptions is refused, as a whole.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    /// The text is longer than allowed.
    #[error("the subscriptions have {bytes} bytes, more than the {limit} allowed")]
    TooLarge {
        /// The length of the text.
        bytes: usize,
        /// The longest text allowed.
        limit: usize,
    },
    /// Not JSON, or nested too deeply.
    #[error("the subscriptions are not JSON: {0}")]
    NotJson(#[from] JsonFault),
    /// The request is not an object, or has a member twice.
    #[error("the request with the subscriptions is refused: {0}")]
    BadRequest(MembersFault),
    /// The request has no list.
    #[error("the request has no member \"subscriptions\"")]
    NoSubscriptions,
    /// JSON, but not an array.
    #[error("the subscriptions are not a list")]
    NotAList,
    /// More subscriptions than allowed.
    #[error("{count} subscriptions are more than the {limit} allowed")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// More pairs of field and value than allowed.
    #[error("the subscriptions have more than the {limit} constraints allowed")]
    TooManyConstraints {
        /// How many are allowed.
        limit: usize,
    },
    /// More filter expressions than allowed.
    #[error("the subscriptions have more than the {limit} filters allowed")]
    TooManyFilters {
        /// How many are allowed.
        limit: usize,
    },
    /// Types with fields that only a token gives the values of, without such a token.
    #[error(
        "event type {event_type:?} is personal: a token that says whose events these are is needed"
    )]
    Personal {
        /// The type, cut to a length that fits a message.
        event_type: Box<str>,
    },
    /// Patterns out of which more personal types have to be taken than allowed.
    #[error(
        "the patterns of the subscriptions cover personal event types more than the {limit} times allowed"
    )]
    TooWide {
        /// How many types may be taken out of all patterns together.
        limit: usize,
    },
    /// One subscription is wrong.
    #[error("subscription {index}: {fault}")]
    Item {
        /// Its position in the list, from 0.
        index: usize,
        /// What is wrong with it.
        fault: ItemFault,
    },
}

/// What is wrong with one subscription.
#[derive(Debug, thiserror::Error)]
pub enum ItemFault {
    /// Not an object, or one with a repeated member.
    #[error(transparent)]
    Members(#[from] MembersFault),
    /// Two spellings of the same member.
    #[error("{name:?} is given under two names")]
    TwoNames {
        /// The first of its names.
        name: &'static str,
    },
    /// A member that means nothing here; ignoring it could deliver more than asked.
    #[error("unknown member {name:?}, expected \"eventType\", \"oneOf\" or \"filters\"")]
    UnknownMember {
        /// Its name, cut to a length that fits a message.
        name: Box<str>,
    },
    /// Neither a type nor filters.
    #[error("\"eventType\" is missing, which is allowed with \"filters\" only")]
    NoEventType,
    /// The type is not a string.
    #[error("\"eventType\" is not a string")]
    EventTypeNotAString,
    /// The type is not a pattern.
    #[error("eventType {event_type:?}: {error}")]
    EventType {
        /// The text, cut to a length that fits a message.
        event_type: Box<str>,
        /// What is wrong with it.
        error: PatternError,
    },
    /// The constraints are not a list.
    #[error("\"oneOf\" is not a list of objects")]
    OneOfNotAList,
    /// One element of the list of constraints is not an object, or has a repeated member.
    #[error("oneOf {position}: {fault}")]
    OneOf {
        /// Its position in the list, from 0.
        position: usize,
        /// What is wrong with it.
        fault: MembersFault,
    },
    /// A field without a name.
    #[error("oneOf {position}: the name of a field is empty")]
    EmptyFieldName {
        /// The position in `oneOf`, from 0.
        position: usize,
    },
    /// No extractor declares the field for a type that the pattern covers.
    #[error("field {field:?} is not declared by an extractor for event type {event_type:?}")]
    UndeclaredField {
        /// The name of the field, cut to a length that fits a message.
        field: Box<str>,
        /// The pattern of the subscription.
        event_type: Box<str>,
    },
    /// The value is an array, an object or a number whose exponent has more than 64 bits.
    #[error(
        "field {field:?} of event type {event_type:?}: the value is not a string, number, boolean or null"
    )]
    NotAScalar {
        /// The name of the field.
        field: Box<str>,
        /// The pattern of the subscription.
        event_type: Box<str>,
    },
    /// A filter is wrong.
    #[error("filters{at}: {fault}")]
    Filter {
        /// The names and positions that lead to the filter, each after a slash.
        at: Box<str>,
        /// What is wrong with it.
        fault: FilterFault,
    },
}

/// What is wrong with one filter expression.
#[derive(Debug, thiserror::Error)]
pub enum FilterFault {
    /// Not an object, or one with a repeated member.
    #[error(transparent)]
    Members(#[from] MembersFault),
    /// `filters`, `all` or `any` without a list.
    #[error("not a list")]
    NotAList,
    /// `all` or `any` without elements.
    #[error("the list is empty")]
    EmptyList,
    /// An expression has exactly one dialect.
    #[error(
        "expected an object with exactly one of \"exact\", \"prefix\", \"suffix\", \"all\", \"any\" and \"not\""
    )]
    NotOneDialect,
    /// A dialect that is not supported.
    #[error(
        "dialect {dialect:?} is not supported, expected \"exact\", \"prefix\", \"suffix\", \"all\", \"any\" or \"not\""
    )]
    UnknownDialect {
        /// Its name, cut to a length that fits a message.
        dialect: Box<str>,
    },
    /// `exact`, `prefix` or `suffix` without attributes.
    #[error("no attribute is named")]
    NoAttributes,
    /// An attribute without a name.
    #[error("the name of an attribute is empty")]
    EmptyName,
    /// A value that is not a string, or empty.
    #[error("the value of attribute {attribute:?} is not a string with at least one character")]
    BadValue {
        /// The name of the attribute, cut to a length that fits a message.
        attribute: Box<str>,
    },
    /// Nested deeper than allowed.
    #[error("filters are nested deeper than the {limit} levels allowed")]
    TooDeep {
        /// The deepest level allowed.
        limit: usize,
    },
}
