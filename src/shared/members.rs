//! Which incarnations live, as far as their hellos tell.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How often an instance says hello.
pub(super) const HELLO_INTERVAL: Duration = Duration::from_secs(5);
/// After this long without a hello an incarnation is gone.
const GONE_AFTER: Duration = Duration::from_secs(15);
/// Without an own hello for this long, nothing is heard and nobody can be said to be gone.
const DEAF_AFTER: Duration = Duration::from_secs(12);
/// How long to listen before somebody unknown can be said to be gone; a little over one interval.
const LISTEN_FOR: Duration = Duration::from_millis(5500);

/// Whether an incarnation lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was heard lately.
    Alive,
    /// It said bye, or was not heard for too long.
    Gone,
    /// It is not known, and this instance has not listened long enough to say more.
    Unknown,
}

/// Who was heard when.
#[derive(Debug)]
pub(super) struct Members {
    own: Box<str>,
    last_heard: HashMap<Box<str>, Instant>,
    /// Who said bye when; what it sends on its way out does not bring it back.
    left: HashMap<Box<str>, Instant>,
    /// Since when the own hellos come back without a gap.
    listening_since: Option<Instant>,
    own_last_heard: Option<Instant>,
}

impl Members {
    pub(super) fn new(own: &str) -> Self {
        Self {
            own: own.into(),
            last_heard: HashMap::new(),
            left: HashMap::new(),
            listening_since: None,
            own_last_heard: None,
        }
    }

    /// Notes that an incarnation was heard.
    pub(super) fn heard(&mut self, from: &str, now: Instant) {
        if from == &*self.own {
            if self.is_deaf(now) {
                self.listening_since = Some(now);
                // The others could not be heard either; give them the time to be.
                self.last_heard.values_mut().for_each(|heard| *heard = now);
            }
            self.own_last_heard = Some(now);
            self.last_heard
                .retain(|_, heard| now.duration_since(*heard) < GONE_AFTER);
            self.left
                .retain(|_, left| now.duration_since(*left) < GONE_AFTER);
        } else if !self.left.contains_key(from) {
            self.last_heard.insert(from.into(), now);
        }
    }

    /// Notes that an incarnation said bye; its name is never used again.
    pub(super) fn left(&mut self, from: &str, now: Instant) {
        self.last_heard.remove(from);
        self.left.insert(from.into(), now);
    }

    /// Returns whether an incarnation lives.
    pub(super) fn verdict(&self, who: &str, now: Instant) -> Verdict {
        let is_listening = !self.is_deaf(now)
            && self
                .listening_since
                .is_some_and(|since| now.duration_since(since) >= LISTEN_FOR);
        match self.last_heard.get(who) {
            Some(heard) if now.duration_since(*heard) < GONE_AFTER => Verdict::Alive,
            _ if is_listening => Verdict::Gone,
            _ => Verdict::Unknown,
        }
    }

    /// Returns the other incarnations that live.
    pub(super) fn alive(&self, now: Instant) -> Vec<String> {
        let is_alive = |heard: &Instant| now.duration_since(*heard) < GONE_AFTER;
        let alive = self.last_heard.iter().filter(|(_, heard)| is_alive(heard));
        alive.map(|(name, _)| String::from(&**name)).collect()
    }

    fn is_deaf(&self, now: Instant) -> bool {
        self.own_last_heard
            .is_none_or(|heard| now.duration_since(heard) >= DEAF_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(start: Instant) -> impl Fn(u64) -> Instant {
        move |count| start + Duration::from_secs(count)
    }

    /// Says the own hello at each of the given seconds.
    fn listen(members: &mut Members, start: Instant, hellos: impl IntoIterator<Item = u64>) {
        for second in hellos {
            members.heard("own", start + Duration::from_secs(second));
        }
    }

    #[test]
    fn nobody_is_gone_before_one_interval_was_listened_to() {
        let start = Instant::now();
        let at = seconds(start);
        let mut members = Members::new("own");
        assert_eq!(members.verdict("a", at(60)), Verdict::Unknown);
        listen(&mut members, start, [0, 5]);
        assert_eq!(members.verdict("a", at(5)), Verdict::Unknown);
        assert_eq!(members.verdict("a", at(6)), Verdict::Gone);
        members.heard("a", at(6));
        assert_eq!(members.verdict("a", at(6)), Verdict::Alive);
    }

    #[test]
    fn who_says_bye_or_is_silent_is_gone() {
        let start = Instant::now();
        let at = seconds(start);
        let mut members = Members::new("own");
        listen(&mut members, start, [0]);
        members.heard("a", at(1));
        members.heard("b", at(1));
        listen(&mut members, start, [5, 10]);
        members.left("b", at(10));
        assert_eq!(members.verdict("a", at(10)), Verdict::Alive);
        assert_eq!(members.alive(at(10)), ["a"]);
        assert_eq!(members.verdict("b", at(10)), Verdict::Gone);
        listen(&mut members, start, [15]);
        assert_eq!(members.verdict("a", at(16)), Verdict::Gone);
        assert!(members.alive(at(16)).is_empty());
    }

    #[test]
    fn nobody_is_gone_while_kafka_is_away() {
        let start = Instant::now();
        let at = seconds(start);
        let mut members = Members::new("own");
        listen(&mut members, start, [0, 5, 10]);
        members.heard("a", at(10));
        // Nothing is heard, not even the own hello.
        assert_eq!(members.verdict("a", at(40)), Verdict::Unknown);
        assert_eq!(members.verdict("b", at(40)), Verdict::Unknown);
        listen(&mut members, start, [40]);
        assert_eq!(members.verdict("a", at(41)), Verdict::Alive);
        assert_eq!(members.verdict("b", at(41)), Verdict::Unknown);
        listen(&mut members, start, [45, 50, 55]);
        assert_eq!(members.verdict("a", at(56)), Verdict::Gone);
        assert_eq!(members.verdict("b", at(46)), Verdict::Gone);
    }

    /// A hello or a reply that was sent just after the bye once made the sender live 15 seconds more.
    #[test]
    fn who_said_bye_stays_gone_whatever_it_sends_on_its_way_out() {
        let start = Instant::now();
        let at = seconds(start);
        let mut members = Members::new("own");
        listen(&mut members, start, [0, 5, 10]);
        members.heard("other", at(10));
        members.left("other", at(10));
        members.heard("other", at(11));
        assert_eq!(members.verdict("other", at(11)), Verdict::Gone);
        assert!(members.alive(at(11)).is_empty());
    }
}
