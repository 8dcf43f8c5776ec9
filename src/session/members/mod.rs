//! The connections of this instance that belong to somebody, as data.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::guest::Guest;
use super::numbers::Numbers;
use super::times::Times;
use crate::dispatch::{CloseReason, ConnectionId};
use crate::telemetry::Transport;

/// For how long somebody who polls counts as here after a poll was answered, in milliseconds.
const POLL_PATIENCE_MS: i64 = 30_000;
/// How many connections of one session are listed; all are counted.
const LISTED_CONNECTIONS: usize = 20;

/// A member by the order in which it came.
pub(super) type Number = u64;

/// A long-poll session, which outlives each of its polls.
pub(super) type PollSession = [u8; 16];

/// A connection that belongs to somebody.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) guest: Arc<Guest>,
    pub(super) transport: Transport,
    since_ms: i64,
    /// Not known until its shard has it.
    connection: Option<ConnectionId>,
    /// Why it ends as soon as its shard has it.
    ending: Option<CloseReason>,
    /// The session of a poll.
    poll: Option<PollSession>,
    /// A poll was answered, and the next has not come.
    is_away: bool,
    /// When something has to be done.
    due_ms: i64,
    is_notified: bool,
}

/// What has to be done about a member whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Tell it that its token expires then.
    Notice(ConnectionId, i64),
    /// End it.
    End(ConnectionId),
}

/// A connection as it is listed: transport, since when and until when in Unix milliseconds, poll session.
pub(super) type ListedConnection = (Transport, i64, i64, Option<PollSession>);

/// A session as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) session: Arc<str>,
    pub(super) user: Option<Arc<str>>,
    /// How many connections it has here.
    pub(super) count: usize,
    /// The first of them.
    pub(super) connections: Vec<ListedConnection>,
}

/// All members; what is asked for costs by what is answered, not by how many there are.
#[derive(Debug, Default)]
pub(super) struct Members {
    next: Number,
    entries: HashMap<Number, Entry>,
    by_session: BTreeMap<Arc<str>, Numbers>,
    by_user: HashMap<Arc<str>, Numbers>,
    by_connection: HashMap<ConnectionId, Number>,
    by_poll: HashMap<PollSession, Number>,
    due: BTreeSet<(i64, Number)>,
    /// Members by transport, in the order of [`Transport::ALL`].
    counts: [usize; 3],
}

impl Members {
    /// Takes somebody in; whoever polls again keeps the number. Returns it, and for somebody who was here
    /// already who that was.
    pub(super) fn enter(
        &mut self,
        guest: &Arc<Guest>,
        (transport, poll): (Transport, Option<PollSession>),
        times: &Times,
        now_ms: i64,
    ) -> (Number, Option<Arc<Guest>>) {
        let known = poll.and_then(|poll| self.by_poll.get(&poll).copied());
        if let Some(number) = known
            && let Some(entry) = self.entries.get_mut(&number)
            && std::mem::take(&mut entry.is_away)
        {
            let before = self.rename(number, guest, times, now_ms);
            return (number, before.map(|(before, _)| before));
        }
        let number = self.next;
        self.next += 1;
        let entry = Entry {
            guest: Arc::clone(guest),
            transport,
            since_ms: now_ms,
            connection: None,
            ending: None,
            poll: poll.filter(|_| known.is_none()),
            is_away: false,
            due_ms: i64::MAX,
            is_notified: false,
        };
        if let Some(poll) = entry.poll {
            self.by_poll.insert(poll, number);
        }
        self.entries.insert(number, entry);
        self.count(transport, true);
        self.index(number, guest);
        self.schedule(number, times, now_ms);
        (number, None)
    }

    /// Notes which connection a member has; returns why it is to end at once, if it is.
    pub(super) fn seated(
        &mut self,
        number: Number,
        connection: ConnectionId,
    ) -> Option<CloseReason> {
        let entry = self.entries.get_mut(&number)?;
        entry.connection = Some(connection);
        self.by_connection.insert(connection, number);
        entry.ending.take()
    }

    /// Lets a member go; returns who has left, but for somebody who polls and may come again.
    pub(super) fn leave(&mut self, number: Number, now_ms: i64) -> Option<Entry> {
        let entry = self.entries.get_mut(&number)?;
        if let Some(connection) = entry.connection.take() {
            self.by_connection.remove(&connection);
        }
        if entry.poll.is_some() && entry.ending.is_none() {
            entry.is_away = true;
            self.set_due(number, now_ms + POLL_PATIENCE_MS);
            return None;
        }
        self.remove(number)
    }

    /// Gives a member a new guest: a later token of the same client. Returns the one before.
    pub(super) fn rename(
        &mut self,
        number: Number,
        guest: &Arc<Guest>,
        times: &Times,
        now_ms: i64,
    ) -> Option<(Arc<Guest>, Transport)> {
        let entry = self.entries.get_mut(&number)?;
        let transport = entry.transport;
        entry.is_notified = false;
        let before = std::mem::replace(&mut entry.guest, Arc::clone(guest));
        self.unindex(number, &before);
        self.index(number, guest);
        self.schedule(number, times, now_ms);
        Some((before, transport))
    }

    /// Returns the member that has a connection.
    pub(super) fn of_connection(&self, connection: ConnectionId) -> Option<(Number, Arc<Guest>)> {
        let number = self.by_connection.get(&connection)?;
        let entry = self.entries.get(number)?;
        Some((*number, Arc::clone(&entry.guest)))
    }

    /// Marks the members of a session to end; returns the connections that have to be closed now, and who has
    /// left: those who polled and would have come again.
    pub(super) fn end_session(
        &mut self,
        session: &str,
        reason: CloseReason,
    ) -> (Vec<ConnectionId>, Vec<Entry>) {
        let numbers = self.by_session.get(session).map(Numbers::iter);
        let numbers: Vec<Number> = numbers.into_iter().flatten().collect();
        let (mut connections, mut gone) = (Vec::new(), Vec::new());
        for number in numbers {
            let Some(entry) = self.entries.get_mut(&number) else {
                continue;
            };
            entry.ending = Some(reason);
            if entry.is_away {
                gone.extend(self.remove(number));
            } else {
                connections.extend(entry.connection);
            }
        }
        (connections, gone)
    }

    /// Lets everybody go who polled and may come again; returns them.
    pub(super) fn take_away(&mut self) -> Vec<Entry> {
        let polls: Vec<Number> = self.by_poll.values().copied().collect();
        let is_away = |number: &Number| {
            let entry = self.entries.get(number);
            entry.is_some_and(|entry| entry.is_away)
        };
        let away: Vec<Number> = polls.into_iter().filter(is_away).collect();
        away.into_iter()
            .filter_map(|number| self.remove(number))
            .collect()
    }

    /// Returns how many members each transport has.
    pub(super) const fn counts(&self) -> [usize; 3] {
        self.counts
    }

    /// Does what the time demands; returns what others have to do, and who has left.
    pub(super) fn take_due(&mut self, times: &Times, now_ms: i64) -> (Vec<Due>, Vec<Entry>) {
        let (mut due, mut gone) = (Vec::new(), Vec::new());
        while let Some((at_ms, number)) = self.due.first().copied()
            && at_ms <= now_ms
        {
            self.due.pop_first();
            let Some(entry) = self.entries.get_mut(&number) else {
                continue;
            };
            if entry.is_away {
                gone.extend(self.remove(number));
            } else if entry.is_notified {
                entry.ending = Some(CloseReason::SessionExpired);
                due.extend(entry.connection.map(Due::End));
            } else {
                entry.is_notified = true;
                let expires_ms = entry.guest.expires_ms;
                due.extend(entry.connection.map(|id| Due::Notice(id, expires_ms)));
                self.set_due(number, times.end_ms(expires_ms, number));
            }
        }
        (due, gone)
    }

    /// Returns when something has to be done next, in Unix milliseconds.
    pub(super) fn next_due_ms(&self) -> Option<i64> {
        self.due.first().map(|(at_ms, _)| *at_ms)
    }

    /// Lists up to `limit` sessions after one, in the order of their names; of one user if asked for.
    pub(super) fn list(
        &self,
        user: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<Listed> {
        let Some(user) = user else {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let sessions = self.by_session.range::<str, _>((from, Bound::Unbounded));
            return sessions
                .take(limit)
                .map(|(session, numbers)| self.listed(session, numbers))
                .collect();
        };
        let numbers = self.by_user.get(user).map(Numbers::iter);
        let numbers = numbers.into_iter().flatten();
        let entries = numbers.filter_map(|number| self.entries.get(&number));
        let names: BTreeSet<&Arc<str>> = entries
            .flat_map(|entry| entry.guest.sessions.iter())
            .collect();
        names
            .into_iter()
            .filter(|session| after.is_none_or(|after| &***session > after))
            .take(limit)
            .filter_map(|session| Some(self.listed(session, self.by_session.get(session)?)))
            .collect()
    }

    fn listed(&self, session: &Arc<str>, numbers: &Numbers) -> Listed {
        let of_session = numbers.iter();
        let mut entries = of_session
            .filter_map(|number| self.entries.get(&number))
            .peekable();
        let user = entries.peek().and_then(|entry| entry.guest.user.clone());
        let described = |entry: &Entry| {
            (
                entry.transport,
                entry.since_ms,
                entry.guest.expires_ms,
                entry.poll,
            )
        };
        Listed {
            session: Arc::clone(session),
            user,
            count: numbers.len(),
            connections: entries.take(LISTED_CONNECTIONS).map(described).collect(),
        }
    }

    fn schedule(&mut self, number: Number, times: &Times, now_ms: i64) {
        let Some(entry) = self.entries.get(&number) else {
            return;
        };
        let notice_ms = entry
            .guest
            .expires_ms
            .saturating_sub(times.notice_ms)
            .max(now_ms);
        self.set_due(number, notice_ms);
    }

    /// Sets when something has to be done about a member, instead of what was set before.
    fn set_due(&mut self, number: Number, due_ms: i64) {
        if let Some(entry) = self.entries.get_mut(&number) {
            let before = std::mem::replace(&mut entry.due_ms, due_ms);
            self.due.remove(&(before, number));
            self.due.insert((due_ms, number));
        }
    }

    fn remove(&mut self, number: Number) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        self.due.remove(&(entry.due_ms, number));
        if let Some(connection) = entry.connection {
            self.by_connection.remove(&connection);
        }
        if let Some(poll) = entry.poll {
            self.by_poll.remove(&poll);
        }
        let guest = Arc::clone(&entry.guest);
        self.unindex(number, &guest);
        self.count(entry.transport, false);
        Some(entry)
    }

    fn count(&mut self, transport: Transport, is_more: bool) {
        let place = Transport::ALL.iter().position(|known| *known == transport);
        if let Some(count) = place.and_then(|place| self.counts.get_mut(place)) {
            *count = if is_more {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
        }
    }

    fn index(&mut self, number: Number, guest: &Guest) {
        for session in &guest.sessions {
            let of_session = self.by_session.entry(Arc::clone(session));
            of_session
                .and_modify(|numbers| numbers.insert(number))
                .or_insert(Numbers::One(number));
        }
        if let Some(user) = &guest.user {
            let of_user = self.by_user.entry(Arc::clone(user));
            of_user
                .and_modify(|numbers| numbers.insert(number))
                .or_insert(Numbers::One(number));
        }
    }

    fn unindex(&mut self, number: Number, guest: &Guest) {
        for session in &guest.sessions {
            let numbers = self.by_session.get_mut(session);
            if numbers.is_some_and(|numbers| numbers.remove(number)) {
                self.by_session.remove(session);
            }
        }
        if let Some(user) = &guest.user {
            let numbers = self.by_user.get_mut(user);
            if numbers.is_some_and(|numbers| numbers.remove(number)) {
                self.by_user.remove(user);
            }
        }
    }
}

#[cfg(test)]
mod tests;
