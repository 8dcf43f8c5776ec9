//! How many connections may be opened a minute: over all, and of one client address.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::counted::Key;
use super::limit::{Full, Limit};

const WINDOW: Duration = Duration::from_secs(60);
/// How many addresses a window keeps room for after one in which there were more.
const USUAL_ADDRESSES: usize = 1_024;

/// Counts opened connections in windows of a minute, as RIG's `MAX_CONNECTIONS_PER_MINUTE`.
///
/// All addresses have the same windows, so an entry of an address lives a minute at most.
#[derive(Debug)]
pub(super) struct Windows {
    in_all: u32,
    by_address: u32,
    began: Instant,
    admitted: u32,
    admitted_by_address: HashMap<Key, u32>,
}

impl Windows {
    /// Admits `in_all` connections a minute, and `by_address` of each address; 0 admits all.
    pub(super) fn new(in_all: u32, by_address: u32, now: Instant) -> Self {
        Self {
            in_all,
            by_address,
            began: now,
            admitted: 0,
            admitted_by_address: HashMap::new(),
        }
    }

    /// Admits a connection of `address`, or says how long it is to the next window.
    pub(super) fn admit(&mut self, address: Key, now: Instant) -> Result<(), Full> {
        if now.saturating_duration_since(self.began) >= WINDOW {
            self.begin(now);
        }
        let full = |what| Full {
            what,
            retry_after: WINDOW.saturating_sub(now.saturating_duration_since(self.began)),
        };
        if self.in_all > 0 && self.admitted >= self.in_all {
            return Err(full(Limit::Minute));
        }
        if self.by_address > 0 {
            let admitted = self.admitted_by_address.get(&address).copied();
            let admitted = admitted.unwrap_or_default();
            if admitted >= self.by_address {
                return Err(full(Limit::AddressMinute));
            }
            self.admitted_by_address.insert(address, admitted + 1);
        }
        self.admitted = self.admitted.saturating_add(1);
        Ok(())
    }

    fn begin(&mut self, now: Instant) {
        self.began = now;
        self.admitted = 0;
        self.admitted_by_address.clear();
        self.admitted_by_address.shrink_to(USUAL_ADDRESSES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(windows: &mut Windows, address: Key, now: Instant) -> Option<(Limit, u64)> {
        let refused = windows.admit(address, now).err();
        refused.map(|full| (full.what, full.retry_after.as_secs()))
    }

    #[test]
    fn says_when_there_is_room_again() {
        let start = Instant::now();
        let mut windows = Windows::new(2, 0, start);
        assert_eq!(wait(&mut windows, 1, start), None);
        assert_eq!(wait(&mut windows, 2, start), None);
        let later = start + Duration::from_secs(20);
        let full = Some((Limit::Minute, 40));
        assert_eq!(wait(&mut windows, 1, later), full);
        assert_eq!(wait(&mut windows, 1, start + WINDOW), None);
        assert!(windows.admitted_by_address.is_empty());
    }

    #[test]
    fn counts_each_address_for_itself_and_forgets_it_with_the_window() {
        let start = Instant::now();
        let mut windows = Windows::new(4, 2, start);
        for address in [1, 1, 2] {
            assert_eq!(wait(&mut windows, address, start), None);
        }
        let later = start + Duration::from_secs(59);
        assert_eq!(
            wait(&mut windows, 1, later),
            Some((Limit::AddressMinute, 1))
        );
        assert_eq!(wait(&mut windows, 3, later), None);
        // The one that was refused took no place of the others.
        assert_eq!(wait(&mut windows, 3, later), Some((Limit::Minute, 1)));
        for address in 0..4 {
            assert_eq!(wait(&mut windows, address, start + WINDOW), None);
        }
        assert_eq!(windows.admitted_by_address.len(), 4);
        assert_eq!(wait(&mut windows, 9, start + 2 * WINDOW), None);
        assert_eq!(windows.admitted_by_address.len(), 1);
    }

    #[test]
    fn zero_admits_all() {
        let start = Instant::now();
        let mut windows = Windows::new(0, 0, start);
        assert!((0..10_000).all(|_| windows.admit(1, start).is_ok()));
    }
}
