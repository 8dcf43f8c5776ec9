use super::*;
use crate::http::HttpError;

const NONE: PlacesConfig = PlacesConfig {
    max_connections: 0,
    max_connections_per_address: 0,
    max_connections_per_session: 0,
    max_connections_per_minute: 0,
    max_connections_per_minute_per_address: 0,
};

/// Places at a moment that stands still.
struct Door {
    places: Places,
    metrics: Metrics,
    now: Instant,
}

impl Door {
    fn new(config: &PlacesConfig) -> Self {
        let (metrics, now) = (Metrics::new(), Instant::now());
        let places = Places::new(config, metrics.clone(), now);
        Self {
            places,
            metrics,
            now,
        }
    }

    fn take(&self, address: &str, sessions: &[&str]) -> Result<Place, Limit> {
        let sessions: Vec<Arc<str>> = sessions.iter().map(|&name| name.into()).collect();
        let taken = self
            .places
            .take(address.parse().unwrap(), &sessions, self.now);
        taken.map_err(|full| full.what)
    }

    fn refused(&self, limit: Limit) -> u64 {
        let counter = &self.metrics.limited_connections;
        counter.with_label_values(&[limit.as_str()]).get()
    }

    fn entries(&self) -> usize {
        self.places.0.open.lock().held.len()
    }
}

#[test]
fn a_place_is_given_back_when_it_is_dropped() {
    let door = Door::new(&PlacesConfig {
        max_connections: 2,
        ..NONE
    });
    let first = door.take("192.0.2.1", &[]).unwrap();
    let _second = door.take("192.0.2.2", &[]).unwrap();
    assert_eq!(door.take("192.0.2.3", &[]).unwrap_err(), Limit::Instance);
    assert_eq!(door.refused(Limit::Instance), 1);
    drop(first);
    let _third = door.take("192.0.2.3", &[]).unwrap();
    assert_eq!(door.take("192.0.2.3", &[]).unwrap_err(), Limit::Instance);
    assert_eq!(door.entries(), 0, "no name is kept that has no limit");
}

#[test]
fn an_address_of_ipv6_is_counted_by_its_network() {
    let door = Door::new(&PlacesConfig {
        max_connections_per_address: 1,
        ..NONE
    });
    let of_v4 = door.take("192.0.2.1", &["s"]).unwrap();
    let _other = door.take("192.0.2.2", &["s"]).unwrap();
    let of_v6 = door.take("2001:db8::1", &[]).unwrap();
    let _other_network = door.take("2001:db8:0:1::1", &[]).unwrap();
    for full in [
        "192.0.2.1",
        "::ffff:192.0.2.1",
        "2001:db8::2",
        "2001:db8:0:1:ffff::",
    ] {
        assert_eq!(door.take(full, &[]).unwrap_err(), Limit::Address, "{full}");
    }
    drop((of_v4, of_v6));
    drop(door.take("::ffff:192.0.2.1", &[]).unwrap());
    drop(door.take("2001:db8::2", &[]).unwrap());
}

#[test]
fn every_session_of_a_connection_needs_room() {
    let door = Door::new(&PlacesConfig {
        max_connections_per_session: 2,
        ..NONE
    });
    let _first = door.take("192.0.2.1", &["a", "a", "b"]).unwrap();
    let second = door.take("192.0.2.2", &["a"]).unwrap();
    assert_eq!(
        door.take("192.0.2.3", &["b", "a"]).unwrap_err(),
        Limit::Session
    );
    let _third = door.take("192.0.2.3", &["b"]).unwrap();
    let _nobody: Vec<Place> = (0..5)
        .map(|_| door.take("192.0.2.3", &[]).unwrap())
        .collect();
    drop(second);
    let _fourth = door.take("192.0.2.3", &["a"]).unwrap();
    assert_eq!(door.take("192.0.2.3", &["b"]).unwrap_err(), Limit::Session);
}

#[test]
fn who_is_refused_by_one_limit_counts_in_none() {
    let door = Door::new(&PlacesConfig {
        max_connections: 3,
        max_connections_per_address: 2,
        max_connections_per_session: 1,
        max_connections_per_minute: 2,
        ..NONE
    });
    let first = door.take("192.0.2.1", &["a"]).unwrap();
    for _ in 0..5 {
        assert_eq!(door.take("192.0.2.1", &["a"]).unwrap_err(), Limit::Session);
    }
    let second = door.take("192.0.2.1", &["b"]).unwrap();
    assert_eq!(door.take("192.0.2.1", &["c"]).unwrap_err(), Limit::Address);
    assert_eq!(door.take("192.0.2.2", &["c"]).unwrap_err(), Limit::Minute);
    assert_eq!(door.entries(), 3);
    drop((first, second));
    assert_eq!(door.entries(), 0);
    let refused = Limit::ALL.map(|limit| door.refused(limit));
    assert_eq!(refused, [0, 1, 5, 1, 0]);
}

#[test]
fn what_goes_on_is_not_opened_again() {
    let door = Door::new(&PlacesConfig {
        max_connections: 1,
        max_connections_per_minute: 1,
        ..NONE
    });
    let address = "192.0.2.1".parse().unwrap();
    door.places.admit(address, door.now).unwrap();
    let again = door.places.take_again(address, &[]).unwrap();
    let full = door.places.take_again(address, &[]).unwrap_err();
    assert_eq!((full.what, full.retry_after), (Limit::Instance, PATIENCE));
    drop(again);
    let full = door.places.admit(address, door.now).unwrap_err();
    assert_eq!((full.what, full.retry_after.as_secs()), (Limit::Minute, 60));
    assert_eq!(door.take("192.0.2.1", &[]).unwrap_err(), Limit::Minute);
    let _again = door.places.take_again(address, &[]).unwrap();
}

#[test]
fn limits_that_are_off_cost_nothing() {
    assert_eq!(size_of::<Place>(), size_of::<usize>());
    let door = Door::new(&PlacesConfig {
        max_connections_per_minute: 100,
        ..NONE
    });
    let place = door.take("192.0.2.1", &["a"]).unwrap();
    assert!(place.0.is_none());
    assert_eq!(door.entries(), 0);
}

#[test]
fn a_crowd_that_has_gone_leaves_no_memory_taken() {
    let door = Door::new(&PlacesConfig {
        max_connections_per_address: 1,
        ..NONE
    });
    let crowd: Vec<Place> = (0..50_000_u32)
        .map(|number| door.take(&std::net::Ipv4Addr::from_bits(number).to_string(), &[]))
        .collect::<Result<_, _>>()
        .unwrap();
    drop(crowd);
    let open = door.places.0.open.lock();
    assert_eq!((open.in_all, open.held.len()), (0, 0));
    assert!(open.held.capacity() <= 4 * USUAL_NAMES);
}

#[test]
fn a_client_is_told_which_limit_and_when() {
    for (what, status) in [
        (Limit::Instance, 503),
        (Limit::Address, 429),
        (Limit::Minute, 429),
    ] {
        let retry_after = Duration::from_secs(7);
        let response = HttpError::from(Full { what, retry_after }).into_response();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["retry-after"], "7");
    }
}
