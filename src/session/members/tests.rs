use super::*;
use std::time::Duration;

use crate::subscription::Forced;

const TIMES: Times = Times {
    notice_ms: 30_000,
    grace_ms: 5_000,
    jitter: Duration::ZERO,
};
const KILLED: CloseReason = CloseReason::SessionKilled;
const POLL: PollSession = [7; 16];

fn guest(user: &str, sessions: &[&str], expires_ms: i64) -> Arc<Guest> {
    Arc::new(Guest {
        sessions: sessions.iter().map(|name| Arc::from(*name)).collect(),
        user: (!user.is_empty()).then(|| Arc::from(user)),
        expires_ms,
        forced: Forced::open(),
        credentials: None,
    })
}

const fn connection(slot: u32) -> ConnectionId {
    ConnectionId {
        shard: 0,
        slot,
        generation: 0,
    }
}

impl Members {
    /// Takes in a stream that its shard has at once.
    fn stream(&mut self, guest: &Arc<Guest>, slot: u32, now_ms: i64) -> Number {
        let (number, known) = self.enter(guest, (Transport::Sse, None), &TIMES, now_ms);
        assert!(known.is_none(), "a stream is always new");
        assert_eq!(self.seated(number, connection(slot)), None);
        number
    }

    fn poll(&mut self, guest: &Arc<Guest>, now_ms: i64) -> (Number, bool) {
        let place = (Transport::LongPolling, Some(POLL));
        let (number, known) = self.enter(guest, place, &TIMES, now_ms);
        (number, known.is_none())
    }

    fn names(&self, user: Option<&str>, after: Option<&str>, limit: usize) -> Vec<String> {
        let listed = self.list(user, after, limit).into_iter();
        listed.map(|listed| listed.session.to_string()).collect()
    }

    fn assert_empty(&self) {
        let Self {
            next: _,
            entries,
            by_session,
            by_user,
            by_connection,
            by_poll,
            due,
            counts,
        } = self;
        assert!(entries.is_empty() && by_session.is_empty() && by_user.is_empty());
        assert!(by_connection.is_empty() && by_poll.is_empty() && due.is_empty());
        assert_eq!(*counts, [0; 3]);
    }
}

#[test]
fn who_leaves_is_forgotten_whole() {
    let mut members = Members::default();
    let alice = guest("alice", &["a1", "a2"], 100_000);
    let one = members.stream(&alice, 1, 0);
    let other = members.stream(&alice, 2, 0);
    assert_eq!(members.counts(), [2, 0, 0]);
    assert_eq!(members.of_connection(connection(2)).unwrap().0, other);
    assert!(members.leave(one, 1).is_some());
    assert!(members.leave(one, 1).is_none(), "only once");
    assert!(members.leave(other, 1).is_some());
    members.assert_empty();
}

#[test]
fn members_are_told_and_ended_in_the_order_of_their_tokens() {
    let mut members = Members::default();
    let late = members.stream(&guest("", &["late"], 200_000), 1, 0);
    members.stream(&guest("", &["early"], 100_000), 2, 0);
    assert_eq!(members.next_due_ms(), Some(70_000));
    let due = |members: &mut Members, now_ms| members.take_due(&TIMES, now_ms).0;
    assert!(due(&mut members, 69_999).is_empty());
    let notice = Due::Notice(connection(2), 100_000);
    assert_eq!(due(&mut members, 70_000), [notice]);
    assert!(
        due(&mut members, 104_999).is_empty(),
        "told once; the grace"
    );
    assert_eq!(due(&mut members, 105_000), [Due::End(connection(2))]);
    assert_eq!(members.next_due_ms(), Some(170_000));
    members.leave(late, 105_000);
    assert!(due(&mut members, 300_000).is_empty());
}

#[test]
fn after_a_clock_that_leapt_all_that_is_late_is_done_at_once() {
    let mut members = Members::default();
    members.stream(&guest("", &["a"], 100_000), 1, 0);
    let expected = [Due::Notice(connection(1), 100_000), Due::End(connection(1))];
    assert_eq!(members.take_due(&TIMES, i64::MAX).0, expected);
}

#[test]
fn a_token_that_is_about_to_expire_is_told_at_once() {
    let mut members = Members::default();
    members.stream(&guest("", &["a"], 100_000), 1, 90_000);
    let due = members.take_due(&TIMES, 90_000).0;
    assert_eq!(due, [Due::Notice(connection(1), 100_000)]);
}

#[test]
fn ends_are_spread_over_the_jitter() {
    let times = Times {
        jitter: Duration::from_secs(1),
        ..TIMES
    };
    let ends: BTreeSet<i64> = (0..100).map(|number| times.end_ms(0, number)).collect();
    assert!(ends.len() > 90, "{ends:?}");
    assert!(ends.iter().all(|end| (5_000..6_000).contains(end)));
    assert!(ends.iter().any(|end| *end < 5_200) && ends.iter().any(|end| *end > 5_800));
    assert_eq!(times.end_ms(i64::MAX, 1), i64::MAX);
}

#[test]
fn a_later_token_moves_the_end_and_the_names() {
    let mut members = Members::default();
    let number = members.stream(&guest("alice", &["a1"], 100_000), 1, 0);
    members.take_due(&TIMES, 70_000);
    let later = guest("alice", &["a2"], 300_000);
    let (before, transport) = members.rename(number, &later, &TIMES, 71_000).unwrap();
    assert_eq!((&*before.sessions[0], transport), ("a1", Transport::Sse));
    assert_eq!(members.names(None, None, 10), ["a2"]);
    assert_eq!(members.end_session("a1", KILLED).0, []);
    assert_eq!(members.next_due_ms(), Some(270_000), "it is told again");
    let due = members.take_due(&TIMES, 270_000).0;
    assert_eq!(due, [Due::Notice(connection(1), 300_000)]);
    assert_eq!(members.end_session("a2", KILLED).0, [connection(1)]);
    members.leave(number, 270_000);
    members.assert_empty();
    assert!(members.rename(number, &later, &TIMES, 0).is_none());
}

#[test]
fn a_session_that_ends_before_its_shard_has_the_connection_ends_it_then() {
    let mut members = Members::default();
    let alice = guest("alice", &["a1"], 100_000);
    let (number, _) = members.enter(&alice, (Transport::Ws, None), &TIMES, 0);
    assert_eq!(members.end_session("a1", KILLED).0, []);
    assert_eq!(members.seated(number, connection(1)), Some(KILLED));
    assert!(members.leave(number, 0).is_some());
    members.assert_empty();
}

#[test]
fn a_token_that_expires_before_its_shard_has_the_connection_ends_it_then() {
    let mut members = Members::default();
    let alice = guest("alice", &["a1"], 1_000);
    let (number, _) = members.enter(&alice, (Transport::Ws, None), &TIMES, 0);
    assert_eq!(members.take_due(&TIMES, 6_000).0, []);
    let expired = CloseReason::SessionExpired;
    assert_eq!(members.seated(number, connection(1)), Some(expired));
}

#[test]
fn who_polls_again_in_time_is_the_same() {
    let mut members = Members::default();
    let alice = guest("alice", &["a1"], 100_000);
    let (first, is_new) = members.poll(&alice, 0);
    assert!(is_new);
    members.seated(first, connection(1));
    assert!(members.leave(first, 1_000).is_none(), "may come again");
    assert_eq!(members.of_connection(connection(1)), None);
    assert_eq!(members.counts(), [0, 0, 1]);
    assert_eq!(members.poll(&alice, 30_000), (first, false));
    assert!(members.leave(first, 40_000).is_none());
    let (due, gone) = members.take_due(&TIMES, 69_999);
    assert!(due.is_empty() && gone.is_empty(), "half a minute");
    assert_eq!(members.take_due(&TIMES, 70_000).1.len(), 1);
    members.assert_empty();
    assert!(members.poll(&alice, 70_001).1, "a new one after that");
}

#[test]
fn who_polls_with_a_later_token_is_the_same_under_its_name() {
    let mut members = Members::default();
    let (number, _) = members.poll(&guest("alice", &["a1"], 100_000), 0);
    members.leave(number, 1_000);
    let later = guest("alice", &["a2"], 200_000);
    let place = (Transport::LongPolling, Some(POLL));
    let (again, before) = members.enter(&later, place, &TIMES, 2_000);
    assert_eq!((again, &*before.unwrap().sessions[0]), (number, "a1"));
    assert_eq!(members.names(None, None, 10), ["a2"]);
}

#[test]
fn a_second_poll_beside_the_first_is_a_connection_of_its_own() {
    let mut members = Members::default();
    let alice = guest("alice", &["a1"], 100_000);
    let (first, _) = members.poll(&alice, 0);
    let (second, is_new) = members.poll(&alice, 0);
    assert!(is_new && first != second);
    assert!(members.leave(second, 1).is_some(), "it has left at once");
    assert!(members.leave(first, 1).is_none());
    assert_eq!(members.take_away().len(), 1);
    members.assert_empty();
}

#[test]
fn an_end_of_the_session_lets_those_go_who_polled() {
    let mut members = Members::default();
    let alice = guest("alice", &["a1"], 100_000);
    let (number, _) = members.poll(&alice, 0);
    members.seated(number, connection(1));
    members.leave(number, 1_000);
    let (connections, gone) = members.end_session("a1", KILLED);
    assert_eq!((connections.len(), gone.len()), (0, 1));
    members.assert_empty();
    let (number, _) = members.poll(&alice, 2_000);
    members.seated(number, connection(2));
    assert_eq!(members.end_session("a1", KILLED).0, [connection(2)]);
    assert!(members.leave(number, 2_000).is_some(), "it comes no more");
    members.assert_empty();
}

#[test]
fn who_waits_for_an_answer_is_not_away() {
    let mut members = Members::default();
    let alice = guest("alice", &["a1"], 100_000);
    let (number, _) = members.poll(&alice, 0);
    assert!(members.take_away().is_empty());
    members.leave(number, 1);
    assert_eq!(members.take_away().len(), 1);
    members.assert_empty();
}

#[test]
fn lists_go_on_after_a_name() {
    let mut members = Members::default();
    for (slot, session) in (0..).zip(["b", "a", "d", "c"]) {
        members.stream(&guest("u", &[session], 100_000), slot, 0);
    }
    members.stream(&guest("other", &["bb"], 100_000), 9, 0);
    assert_eq!(members.names(None, None, 3), ["a", "b", "bb"]);
    assert_eq!(members.names(None, Some("bb"), 3), ["c", "d"]);
    assert_eq!(members.names(None, Some("aa"), 1), ["b"], "no such name");
    assert_eq!(members.names(None, Some("d"), 3), [""; 0]);
    assert_eq!(members.names(Some("u"), Some("a"), 2), ["b", "c"]);
    assert_eq!(members.names(Some("nobody"), None, 2), [""; 0]);
}

#[test]
fn a_session_with_many_connections_lists_some_and_counts_all() {
    let mut members = Members::default();
    let alice = guest("alice", &["a1"], 100_000);
    for slot in 0..50 {
        members.stream(&alice, slot, i64::from(slot));
    }
    let listed = members.list(None, None, 1).pop().unwrap();
    assert_eq!((listed.count, listed.connections.len()), (50, 20));
    assert_eq!(listed.connections[0], (Transport::Sse, 0, 100_000, None));
    assert_eq!(members.end_session("a1", KILLED).0.len(), 50);
}
