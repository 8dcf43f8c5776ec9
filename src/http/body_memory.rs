//! The memory for bodies that are read as a whole: bounded for all requests together, and for each client.
//!
//! Who sends a body takes of it as the body grows, and not what its head declares: a claim costs nothing.
//!
//! # Invariants
//! - What was taken is given back with the request.
//! - Nobody waits for memory: those who have some would wait for each other.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use prometheus::IntGauge;

use super::client_network;
use super::error::HttpError;

/// How many parts of the memory for bodies there are at least; one client has no more than one.
const PARTS: usize = 4;
/// How long a client should wait before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the bodies may take that are read as a whole. Cheap to clone; all clones are the same memory.
#[derive(Debug, Clone)]
pub struct BodyMemory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit_bytes: usize,
    /// What one client may take of it.
    share_bytes: usize,
    taken: Mutex<Taken>,
    gauge: IntGauge,
}

#[derive(Debug, Default)]
struct Taken {
    bytes: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// What the body of one request has taken; dropped, it is given back.
#[derive(Debug)]
pub struct HeldMemory {
    memory: BodyMemory,
    client: IpAddr,
    bytes: usize,
}

impl BodyMemory {
    /// Makes memory for strangers, of which each address has a quarter at most. `gauge` says what is taken.
    #[must_use]
    pub fn for_strangers(limit_bytes: usize, gauge: IntGauge) -> Self {
        Self::new(limit_bytes, limit_bytes / PARTS, gauge)
    }

    /// Makes memory for those who are trusted: one of them may take all of it.
    #[must_use]
    pub fn for_trusted(limit_bytes: usize, gauge: IntGauge) -> Self {
        Self::new(limit_bytes, limit_bytes, gauge)
    }

    /// Returns how much there has to be so that each client can send at least one body of this size.
    #[must_use]
    pub const fn at_least_for(largest_bytes: usize) -> usize {
        largest_bytes.saturating_mul(PARTS)
    }

    fn new(limit_bytes: usize, share_bytes: usize, gauge: IntGauge) -> Self {
        Self(Arc::new(Inner {
            limit_bytes,
            share_bytes,
            taken: Mutex::default(),
            gauge,
        }))
    }

    /// Returns what a client holds for a body of which nothing has come.
    pub(super) fn of(&self, client: IpAddr) -> HeldMemory {
        HeldMemory {
            memory: self.clone(),
            client: client_network(client),
            bytes: 0,
        }
    }
}

impl HeldMemory {
    /// Takes memory until it is `bytes`.
    ///
    /// # Errors
    /// 429 when its client has its share, 503 when there is no more; what was taken stays so.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), HttpError> {
        let Inner {
            limit_bytes,
            share_bytes,
            taken,
            gauge,
        } = &*self.memory.0;
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let mut taken = taken.lock();
        let own = taken.by_client.get(&self.client).copied();
        let own = own.unwrap_or_default() + more;
        if taken.bytes + more > *limit_bytes {
            return Err(too_many(StatusCode::SERVICE_UNAVAILABLE, "are sent"));
        }
        if own > *share_bytes {
            return Err(too_many(StatusCode::TOO_MANY_REQUESTS, "you send"));
        }
        taken.by_client.insert(self.client, own);
        taken.bytes += more;
        gauge.set(as_i64(taken.bytes));
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut taken = self.memory.0.taken.lock();
        taken.bytes = taken.bytes.saturating_sub(self.bytes);
        self.memory.0.gauge.set(as_i64(taken.bytes));
        if let Some(own) = taken.by_client.get_mut(&self.client) {
            *own = own.saturating_sub(self.bytes);
            if *own == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

fn too_many(status: StatusCode, who: &str) -> HttpError {
    let public = format!("The bodies of the requests that {who} at the same time are too large.");
    HttpError::new(status, "too_many_bodies", public)
        .with_retry_after(RETRY_AFTER)
        .and_close()
}

fn as_i64(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(result: Result<(), HttpError>) -> u16 {
        result.map_or_else(|error| error.status().as_u16(), |()| 200)
    }

    fn client(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_taken_is_bounded_for_all_and_for_each_and_given_back() {
        let gauge = IntGauge::new("bytes", "bytes").unwrap();
        let memory = BodyMemory::for_strangers(400, gauge.clone());
        let mut one = memory.of(client("192.0.2.1"));
        assert_eq!(status(one.grow_to(60)), 200);
        assert_eq!(status(one.grow_to(50)), 200);
        let mut again = memory.of(client("::ffff:192.0.2.1"));
        assert_eq!(status(again.grow_to(41)), 429);
        assert_eq!(status(again.grow_to(40)), 200);
        let mut others = Vec::new();
        for address in ["192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"] {
            others.push(memory.of(client(address)));
            assert_eq!(status(others.last_mut().unwrap().grow_to(100)), 200);
        }
        assert_eq!(gauge.get(), 400);
        let mut last = memory.of(client("192.0.2.9"));
        assert_eq!(status(last.grow_to(1)), 503);
        drop(one);
        // The same network of IPv6.
        assert_eq!(status(memory.of(client("2001:db8::2")).grow_to(1)), 429);
        assert_eq!(status(last.grow_to(60)), 200);
        assert_eq!(status(again.grow_to(50)), 503);
        drop((again, others, last));
        assert_eq!(gauge.get(), 0);
        assert!(memory.0.taken.lock().by_client.is_empty());
    }

    #[test]
    fn one_that_is_trusted_may_take_all() {
        let gauge = IntGauge::new("bytes", "bytes").unwrap();
        let memory = BodyMemory::for_trusted(10, gauge);
        let mut one = memory.of(client("127.0.0.1"));
        assert_eq!(status(one.grow_to(10)), 200);
        assert_eq!(status(memory.of(client("127.0.0.1")).grow_to(1)), 503);
    }
}
