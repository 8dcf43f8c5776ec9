//! Places for commands, of which nobody gets more than are left for the others.
//!
//! # Source
//! Choudhury and Hahne, "Dynamic queue length thresholds" (1998): who takes all that it can get has half of the places,
//! two who do so have a third each; some are always left for somebody who has none.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::IntGauge;

use crate::http::client_network;
use crate::proxy::call::Caller;

/// Who takes places.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::proxy) enum Party {
    /// Somebody with a token that names a user.
    User(Arc<str>),
    /// Somebody with another token, by its session.
    Session(Arc<str>),
    /// Anybody without a token, by the address; one of IPv6 counts for its network of 64 bits.
    Address(IpAddr),
}

impl Party {
    /// Returns who takes places for a caller at this address.
    pub(in crate::proxy) fn of(caller: &Caller, address: IpAddr) -> Self {
        if let Some(user) = &caller.user {
            return Self::User(Arc::clone(user));
        }
        // A client may show its tokens in another order.
        if let Some(session) = caller.sessions.iter().min() {
            return Self::Session(Arc::clone(session));
        }
        Self::Address(client_network(address))
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum NoPlace {
    /// All are taken.
    Full,
    /// This party has as many as are left for all others.
    Share,
}

/// A number of places. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    taken: Mutex<Taken>,
    gauge: IntGauge,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    by_party: HashMap<Party, usize>,
}

impl Places {
    /// There are `limit` places; those taken are shown in `gauge`.
    pub(super) fn new(limit: usize, gauge: IntGauge) -> Self {
        gauge.set(0);
        Self(Arc::new(Inner {
            limit,
            taken: Mutex::default(),
            gauge,
        }))
    }

    /// Takes a place, unless the party has as many as are left.
    pub(super) fn take(&self, party: &Party) -> Result<Place, NoPlace> {
        self.take_of(party, 0)
    }

    /// As [`take`](Self::take), where `known` are taken if that is more than are counted here.
    pub(super) fn take_of(&self, party: &Party, known: usize) -> Result<Place, NoPlace> {
        let mut taken = self.0.taken.lock();
        let left = self.0.limit.saturating_sub(taken.in_all.max(known));
        let own = taken.by_party.get(party).copied().unwrap_or_default();
        if left == 0 {
            return Err(NoPlace::Full);
        }
        if own >= left {
            return Err(NoPlace::Share);
        }
        taken.in_all += 1;
        taken.by_party.insert(party.clone(), own + 1);
        drop(taken);
        self.0.gauge.inc();
        Ok(Place {
            of: self.clone(),
            party: party.clone(),
        })
    }

    /// Returns how many are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.0.taken.lock().in_all
    }
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct Place {
    of: Places,
    party: Party,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Inner { taken, gauge, .. } = &*self.of.0;
        let mut taken = taken.lock();
        taken.in_all -= 1;
        if let Some(own) = taken.by_party.get_mut(&self.party) {
            *own -= 1;
            if *own == 0 {
                taken.by_party.remove(&self.party);
            }
        }
        drop(taken);
        gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(limit: usize) -> Places {
        Places::new(limit, IntGauge::new("taken", "taken").unwrap())
    }

    fn user(name: &str) -> Party {
        Party::User(name.into())
    }

    /// Takes what there is for a party.
    fn all_of(places: &Places, party: &Party) -> Vec<Place> {
        std::iter::from_fn(|| places.take(party).ok()).collect()
    }

    #[test]
    fn nobody_gets_more_than_are_left() {
        let places = places(100);
        let first = all_of(&places, &user("first"));
        assert_eq!(first.len(), 50);
        assert_eq!(places.take(&user("first")).unwrap_err(), NoPlace::Share);
        let second = all_of(&places, &user("second"));
        assert_eq!(second.len(), 25);
        assert_eq!(all_of(&places, &user("third")).len(), 13);
        assert_eq!((places.taken(), places.0.gauge.get()), (75, 75));
        drop((first, second));
        assert_eq!((places.taken(), places.0.gauge.get()), (0, 0));
        assert!(places.0.taken.lock().by_party.is_empty());
    }

    #[test]
    fn when_all_are_taken_nobody_gets_one() {
        let places = places(1);
        let only = places.take(&user("first")).unwrap();
        for name in ["first", "second"] {
            assert_eq!(places.take(&user(name)).unwrap_err(), NoPlace::Full);
        }
        drop(only);
        assert_eq!(
            places.take_of(&user("first"), 1).unwrap_err(),
            NoPlace::Full
        );
        assert!(places.take(&user("second")).is_ok());
    }

    #[test]
    fn places_are_taken_by_users_else_sessions_else_addresses() {
        let caller = |sessions: &[&str], user: Option<&str>| Caller {
            sessions: sessions.iter().map(|session| (*session).into()).collect(),
            user: user.map(Into::into),
        };
        let of = |caller, address: &str| Party::of(&caller, address.parse().unwrap());
        let here = "192.0.2.1";
        assert_eq!(of(caller(&["a"], Some("u")), here), user("u"));
        assert_eq!(
            of(caller(&["b", "a"], None), here),
            Party::Session("a".into())
        );
        let nobody = |address| of(Caller::default(), address);
        assert_eq!(nobody("2001:db8:1::1"), nobody("2001:db8:1::2"));
        assert_ne!(nobody("2001:db8:1::1"), nobody("2001:db8:1:1::1"));
        assert_eq!(nobody("::ffff:192.0.2.1"), nobody(here));
        assert_ne!(nobody("192.0.2.2"), nobody(here));
    }
}
