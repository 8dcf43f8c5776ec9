//! Brokers that a running client is given.

use std::ffi::CString;

use rdkafka::ClientContext;
use rdkafka::bindings as c;
use rdkafka::client::Client;

/// Adds brokers to those that a client begins with, and connects to them where it has none; returns how many of them are
/// valid.
///
/// `brokers` are `HOST:PORT` with commas between them. One that the client has already is not added twice. Does not
/// block. The client remembers the list, so it takes so much memory for each call.
///
/// # Source
/// `rd_kafka_brokers_add`.
pub fn add_brokers<C: ClientContext>(client: &Client<C>, brokers: &str) -> usize {
    // No name of a host has a NUL.
    let Ok(brokers) = CString::new(brokers) else {
        return 0;
    };
    // SAFETY: the client is borrowed, so it lives until the call returns, and the text ends with NUL and is copied.
    let count = unsafe { c::rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr()) };
    usize::try_from(count).unwrap_or(0)
}
