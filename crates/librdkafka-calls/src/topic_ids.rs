//! The ids that Kafka gives to topics, so that a topic that was deleted and made anew under the same
//! name can be told from the one before.
//!
//! # Source
//! KIP-516 (topic identifiers); `rdkafka.h`, Admin API, `DescribeTopics`.

use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings as c;
use rdkafka::client::Client;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use crate::owned::Owned;

/// How much longer than Kafka the client itself may take to say that Kafka did not answer.
const GRACE: Duration = Duration::from_secs(1);

/// The id of a topic: made at random when the topic is created, never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// What a broker that gives no ids says of every topic: all bytes are zero.
    pub const UNKNOWN: Self = Self([0; 16]);

    /// Makes an id of its bytes, the most significant first.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, the most significant first.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Returns whether the broker gave the topic an id.
    #[must_use]
    pub fn is_known(self) -> bool {
        self != Self::UNKNOWN
    }
}

/// Written in hexadecimal digits, 32 of them.
impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why the ids are not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that no topic can have.
    #[error("the topic name {0:?} has a NUL")]
    Name(String),
    /// librdkafka made no request, or did not answer even that Kafka did not answer.
    #[error("the kafka client did not take the question for topic ids")]
    Client,
    /// Kafka did not answer in time, or refuses the question as a whole.
    #[error("kafka did not tell the topic ids: {reason}")]
    Kafka {
        /// The error as a code.
        code: RDKafkaErrorCode,
        /// The error in words.
        reason: String,
    },
}

/// What Kafka says of one topic: its id, or why there is none, such as that there is no such topic.
pub type Described = Result<TopicId, RDKafkaErrorCode>;

/// Asks Kafka for the ids of `names`, over the connections and with the rights of `client`.
///
/// Returns an answer for each name, in Kafka's order. Names must not be given twice. Nothing is
/// created by asking. Blocks for at most `timeout` and a second.
///
/// # Errors
/// [`Error`] when there is no answer, or one to the question as a whole.
pub fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    timeout: Duration,
) -> Result<Vec<(String, Described)>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let event = ask(client.native_ptr(), names, timeout)?;
    // SAFETY: the event is not null and lives until the end of this function.
    let code = unsafe { c::rd_kafka_event_error(event.as_ptr()) };
    if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        // SAFETY: as above.
        let reason = unsafe { c::rd_kafka_event_error_string(event.as_ptr()) };
        // SAFETY: librdkafka returns null or a text that lives as long as the event.
        let reason = unsafe { text(reason) };
        return Err(Error::Kafka {
            code: code.into(),
            reason,
        });
    }
    // SAFETY: as above; for an event of another kind it returns null.
    let result = unsafe { c::rd_kafka_event_DescribeTopics_result(event.as_ptr()) };
    if result.is_null() {
        return Err(Error::Client);
    }
    let mut count = 0;
    // SAFETY: the result is the event itself, and `count` may be written.
    let topics = unsafe { c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count) };
    if topics.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: librdkafka returns an array of `count` descriptions that lives as long as the event,
    // and the event is dropped after what is collected here no longer borrows from it.
    let topics = unsafe { std::slice::from_raw_parts(topics, count) };
    // SAFETY: each is null, or a description that lives as long as the event.
    Ok(topics
        .iter()
        .filter_map(|topic| unsafe { described(*topic) })
        .collect())
}

/// Asks and waits for the event with the answer.
fn ask(
    client: *mut c::rd_kafka_t,
    names: &[&str],
    timeout: Duration,
) -> Result<Owned<c::rd_kafka_event_t>, Error> {
    let collection = collection(names)?;
    let options = options(client, timeout)?;
    // SAFETY: the client outlives this function, since `topic_ids` borrows it.
    let queue = unsafe { c::rd_kafka_queue_new(client) };
    // SAFETY: the queue is new, and freed by this.
    let queue = unsafe { Owned::new(queue, c::rd_kafka_queue_destroy) }.ok_or(Error::Client)?;
    // SAFETY: all four are valid; names and options are copied before the call returns, and the
    // request keeps a reference of its own to the queue.
    unsafe {
        c::rd_kafka_DescribeTopics(
            client,
            collection.as_ptr(),
            options.as_ptr(),
            queue.as_ptr(),
        );
    }
    // SAFETY: the queue is valid, and nobody else polls it.
    let event = unsafe { c::rd_kafka_queue_poll(queue.as_ptr(), milliseconds(timeout + GRACE)) };
    // SAFETY: null when nothing came in time, else an event that is ours.
    unsafe { Owned::new(event, c::rd_kafka_event_destroy) }.ok_or(Error::Client)
}

/// Copies the names for librdkafka.
fn collection(names: &[&str]) -> Result<Owned<c::rd_kafka_TopicCollection_t>, Error> {
    let names = names
        .iter()
        .map(|name| CString::new(*name).map_err(|_| Error::Name((*name).to_owned())))
        .collect::<Result<Vec<CString>, Error>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let (first, count) = (pointers.as_mut_ptr(), pointers.len());
    // SAFETY: `pointers` has `count` texts that end with NUL; librdkafka copies them.
    let collection = unsafe { c::rd_kafka_TopicCollection_of_topic_names(first, count) };
    // SAFETY: the collection is new, and freed by this.
    unsafe { Owned::new(collection, c::rd_kafka_TopicCollection_destroy) }.ok_or(Error::Client)
}

fn options(
    client: *mut c::rd_kafka_t,
    timeout: Duration,
) -> Result<Owned<c::rd_kafka_AdminOptions_t>, Error> {
    let operation = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: the client outlives the call.
    let options = unsafe { c::rd_kafka_AdminOptions_new(client, operation) };
    // SAFETY: the options are new, and freed by this.
    let options = unsafe { Owned::new(options, c::rd_kafka_AdminOptions_destroy) };
    let options = options.ok_or(Error::Client)?;
    let no_text = std::ptr::null_mut();
    // SAFETY: the options are valid; no room is given for an error's text, so none is written.
    let code = unsafe {
        c::rd_kafka_AdminOptions_set_request_timeout(
            options.as_ptr(),
            milliseconds(timeout),
            no_text,
            0,
        )
    };
    match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(options),
        _ => Err(Error::Client),
    }
}

/// Copies what is said of a topic; `None` for a topic of which nothing is said.
///
/// # Safety
/// `topic` is null, or a description that lives until this returns.
unsafe fn described(topic: *const c::rd_kafka_TopicDescription_t) -> Option<(String, Described)> {
    if topic.is_null() {
        return None;
    }
    // SAFETY: not null, and alive as the caller promises.
    let name = unsafe { c::rd_kafka_TopicDescription_name(topic) };
    // SAFETY: null, or a text that lives as long as the description.
    let name = unsafe { text(name) };
    // SAFETY: as for the name.
    let error = unsafe { c::rd_kafka_TopicDescription_error(topic) };
    if !error.is_null() {
        // SAFETY: not null, and lives as long as the description.
        let code = unsafe { c::rd_kafka_error_code(error) };
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Some((name, Err(code.into())));
        }
    }
    // SAFETY: as for the name.
    let id = unsafe { c::rd_kafka_TopicDescription_topic_id(topic) };
    if id.is_null() {
        return Some((name, Ok(TopicId::UNKNOWN)));
    }
    // SAFETY: not null, and lives as long as the description.
    let high = unsafe { c::rd_kafka_Uuid_most_significant_bits(id) };
    // SAFETY: as above.
    let low = unsafe { c::rd_kafka_Uuid_least_significant_bits(id) };
    let mut bytes = [0; 16];
    for (byte, value) in bytes
        .iter_mut()
        .zip([high, low].map(i64::to_be_bytes).as_flattened())
    {
        *byte = *value;
    }
    Some((name, Ok(TopicId(bytes))))
}

/// Copies a text; an empty one for null.
///
/// # Safety
/// `text` is null, or ends with NUL and lives until this returns.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and a C string as the caller promises.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// Returns a duration as librdkafka takes them, at most an hour, which is its own limit.
fn milliseconds(duration: Duration) -> c_int {
    let limited = duration.min(Duration::from_secs(3600));
    c_int::try_from(limited.as_millis()).unwrap_or(c_int::MAX)
}
