//! Who is connected to this instance, and the end of those whose time has come.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::config::SessionConfig;
use super::guest::Guest;
use super::members::{Due, Entry, Listed, Members, Number, PollSession};
use super::presence::{Presence, PresenceEvents};
use super::stays::Stays;
use super::times::Times;
use crate::dispatch::{CloseReason, ConnectionId, ControlEvent, Dispatcher, Held};
use crate::telemetry::{Tasks, Transport, now_ms};

/// How long the clock is trusted: it may be set while we wait for a token to expire.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The connections of this instance that belong to somebody. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: Arc<Inner>,
    dispatcher: Dispatcher,
}

#[derive(Debug)]
struct Inner {
    members: Mutex<Members>,
    times: Times,
    stays: Stays,
    /// Told when something is due earlier than before.
    earlier: Notify,
    events: PresenceEvents,
}

/// A connection in the registry; dropped, it has left.
pub struct Member {
    number: Number,
    inner: Arc<Inner>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Held for Member {
    /// Notes which connection the member has become; what its client says is the member's from the first
    /// word on.
    fn attached(&self, connection: ConnectionId) -> Option<CloseReason> {
        let mut members = self.inner.members.lock();
        members.seated(self.number, connection)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let left = self.inner.members.lock().leave(self.number, now_ms());
        if let Some(entry) = left {
            self.inner
                .events
                .tell(Presence::Leave, &entry.guest, entry.transport);
        }
    }
}

impl Registry {
    /// Starts with nobody.
    #[must_use]
    pub fn new(config: &SessionConfig, dispatcher: Dispatcher, events: PresenceEvents) -> Self {
        let inner = Inner {
            members: Mutex::default(),
            times: Times::of(config),
            stays: Stays::new(config),
            earlier: Notify::new(),
            events,
        };
        Self {
            inner: Arc::new(inner),
            dispatcher,
        }
    }

    /// Takes in a connection that is about to open. Give the member to the connection to hold.
    ///
    /// Enter first and look at the blacklist then: so a session that is ended meanwhile is seen by one
    /// of the two.
    #[must_use]
    pub fn enter(&self, guest: &Arc<Guest>, transport: Transport) -> Member {
        self.take_in(guest, (transport, None))
    }

    /// As [`enter`](Self::enter) for a poll of this session, which stays here a while after its answer.
    #[must_use]
    pub fn enter_poll(&self, guest: &Arc<Guest>, session: [u8; 16]) -> Member {
        self.take_in(guest, (Transport::LongPolling, Some(session)))
    }

    fn take_in(&self, guest: &Arc<Guest>, place: (Transport, Option<PollSession>)) -> Member {
        let inner = &self.inner;
        let mut members = inner.members.lock();
        let before_ms = members.next_due_ms();
        let (number, known) = members.enter(guest, place, &inner.times, now_ms());
        let is_earlier = members.next_due_ms() != before_ms;
        drop(members);
        if is_earlier {
            inner.earlier.notify_one();
        }
        match known {
            None => inner.events.tell(Presence::Join, guest, place.0),
            Some(before) => inner.tell_of_change(&before, guest, place.0),
        }
        Member {
            number,
            inner: Arc::clone(inner),
        }
    }

    /// Returns who a connection belongs to.
    #[must_use]
    pub fn guest_of(&self, connection: ConnectionId) -> Option<Arc<Guest>> {
        let members = self.inner.members.lock();
        members.of_connection(connection).map(|(_, guest)| guest)
    }

    /// Lets a connection go on with a later token, and tells it so; nothing happens when it belongs to nobody.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the client untold; the later token counts.
    pub async fn renew(&self, connection: ConnectionId, guest: &Arc<Guest>) {
        let expires_ms = guest.expires_ms;
        {
            let mut members = self.inner.members.lock();
            let Some((number, _)) = members.of_connection(connection) else {
                return;
            };
            let before = members.rename(number, guest, &self.inner.times, now_ms());
            drop(members);
            if let Some((before, transport)) = before {
                self.inner.tell_of_change(&before, guest, transport);
            }
        }
        self.inner.earlier.notify_one();
        let renewed = ControlEvent::session_renewed(expires_ms);
        self.dispatcher.tell(connection, renewed).await;
    }

    /// Returns whether somebody may not stay any longer: the token has expired, and the grace is over.
    #[must_use]
    pub fn has_expired(&self, guest: &Guest) -> bool {
        guest.expires_ms.saturating_add(self.inner.times.grace_ms) <= now_ms()
    }

    /// Returns what ends with a session as its connections do.
    #[must_use]
    pub fn stays(&self) -> &Stays {
        &self.inner.stays
    }

    /// Ends all connections of a session here, and all that lasts as long as they do.
    ///
    /// # Cancel safety
    /// Dropping the future may leave some of the connections open.
    pub async fn end_session(&self, session: &str, reason: CloseReason) {
        self.inner.stays.end_session(session);
        let (connections, gone) = self.inner.members.lock().end_session(session, reason);
        self.inner.tell_of_leave(gone);
        for connection in connections {
            self.dispatcher.close(connection, reason).await;
        }
    }

    pub(super) fn list(
        &self,
        user: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<Listed> {
        self.inner.members.lock().list(user, after, limit)
    }

    /// Returns members by transport, in the order of [`Transport::ALL`].
    pub(super) fn counts(&self) -> [usize; 3] {
        self.inner.members.lock().counts()
    }

    /// Tells those whose tokens are about to expire, and ends those whose tokens have, until the
    /// process stops.
    pub async fn watch_expiry(self, tasks: Tasks) {
        let stopping = tasks.stopping();
        loop {
            let next_ms = self.inner.members.lock().next_due_ms();
            let sleep = next_ms.map_or(LONGEST_SLEEP * 60, |at_ms| {
                let left_ms = at_ms.saturating_sub(now_ms()).max(0);
                Duration::from_millis(left_ms.unsigned_abs()).min(LONGEST_SLEEP)
            });
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                () = self.inner.earlier.notified() => {}
                () = stopping.cancelled() => return self.end_events(),
            }
            self.do_what_is_due().await;
        }
    }

    /// Tells that those have left who polled here; nobody is told anything after that.
    fn end_events(&self) {
        let away = self.inner.members.lock().take_away();
        self.inner.tell_of_leave(away);
        self.inner.events.end();
    }

    async fn do_what_is_due(&self) {
        let (due, gone) = self
            .inner
            .members
            .lock()
            .take_due(&self.inner.times, now_ms());
        self.inner.tell_of_leave(gone);
        for due in due {
            match due {
                Due::Notice(connection, expires_ms) => {
                    let expiring = ControlEvent::session_expiring(expires_ms);
                    self.dispatcher.tell(connection, expiring).await;
                }
                Due::End(connection) => {
                    let reason = CloseReason::SessionExpired;
                    self.dispatcher.close(connection, reason).await;
                }
            }
        }
    }
}

impl Inner {
    fn tell_of_leave(&self, gone: Vec<Entry>) {
        for entry in gone {
            self.events
                .tell(Presence::Leave, &entry.guest, entry.transport);
        }
    }

    /// A later token may name another session: the connection leaves one and joins the other.
    fn tell_of_change(&self, before: &Arc<Guest>, now: &Arc<Guest>, transport: Transport) {
        if before.sessions != now.sessions || before.user != now.user {
            self.events.tell(Presence::Leave, before, transport);
            self.events.tell(Presence::Join, now, transport);
        }
    }
}
