//! How many commands with an `Idempotency-Key` are known, and to whom they belong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::places::{NoPlace, Party, Place, Places};

/// The keys that were used at this instance, as long as they are known. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    places: Places,
    ends: Arc<Mutex<Ends>>,
}

#[derive(Debug, Default)]
struct Ends {
    next: u64,
    /// By their ends; the number tells those apart that end together.
    places: BTreeMap<(Instant, u64), Place>,
}

impl Keys {
    /// There is room for as many keys in the cluster as there are `places`.
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            ends: Arc::default(),
        }
    }

    /// Takes the place of a new key, while `known` are known to the whole cluster.
    pub(super) fn take(&self, party: &Party, known: usize) -> Result<Place, NoPlace> {
        self.remove_ended(Instant::now());
        self.places.take_of(party, known)
    }

    /// A key is known for `ttl` from now on.
    pub(super) fn hold(&self, place: Place, ttl: Duration) {
        let mut ends = self.ends.lock();
        let number = ends.next;
        ends.next += 1;
        ends.places.insert((Instant::now() + ttl, number), place);
    }

    /// Gives the places of keys back that are not known any more.
    pub(super) fn remove_ended(&self, now: Instant) {
        let mut ends = self.ends.lock();
        while let Some(end) = ends.places.first_entry()
            && end.key().0 <= now
        {
            end.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntGauge;

    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    /// One client could have all keys of the cluster.
    #[test]
    fn nobody_has_more_keys_than_are_left() {
        let places = Places::new(100, IntGauge::new("keys", "keys").unwrap());
        let (keys, now) = (Keys::new(places.clone()), Instant::now());
        let (one, two) = (Party::User("one".into()), Party::User("two".into()));
        let mut taken = 0;
        while let Ok(place) = keys.take(&one, taken) {
            keys.hold(place, TTL);
            taken += 1;
        }
        assert_eq!(taken, 50);
        assert_eq!(keys.take(&one, taken).unwrap_err(), NoPlace::Share);
        // More are known, since other instances have some.
        let two = |known| keys.take(&two, known);
        assert!(two(99).is_ok());
        assert_eq!(two(100).unwrap_err(), NoPlace::Full);
        keys.remove_ended(now + TTL / 2);
        assert_eq!(places.taken(), 50);
        keys.remove_ended(now + 2 * TTL);
        assert_eq!(places.taken(), 0);
    }
}
