//! The commands of this instance that wait for their answers, and the answers that are kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Delivered;
use super::answer::Answer;
use super::recent::Recent;
use crate::proxy::answers::places::{NoPlace, Party, Place, Places};
use crate::proxy::call::Caller;

/// What a kept answer takes beyond its own bytes, about.
const KEPT_OVERHEAD_BYTES: usize = 512;
/// How many may wait for the same answer at the same time.
const MAX_JOINED: usize = 64;

/// How much a table holds.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// For clients that wait.
    pub(super) waiting: Places,
    /// For commands whose answer will be kept, and has not come.
    pub(super) kept: Places,
    /// Bytes of answers that are kept.
    pub(super) kept_bytes: usize,
    /// How long a command is known whose answer is kept, from its beginning.
    pub(super) ttl: Duration,
}

/// Why a wait ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The deadline is over.
    TooLate,
    /// The instance ends.
    Closed,
}

/// Who waits for an answer that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Joined {
    /// A client of this instance, by the number of its wait.
    Here(u64),
    /// One of another instance, by the id under which it takes the answer, and until when it does.
    There(Box<str>, Instant),
}

/// What is known of an answer that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is here.
    Answered(Answer),
    /// It has not come.
    Waiting,
    /// It has not come, and too many wait for it already.
    Crowded,
    /// It was dropped, or the command was never known.
    Gone,
    /// It is another one's.
    Foreign,
}

/// Ids of those who wait at other instances, and the answer for them.
pub(super) type ForOthers = (Vec<Box<str>>, Answer);

/// All commands that wait, and all answers that are kept.
#[derive(Debug)]
pub(super) struct Table {
    limits: Limits,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    waiting: HashMap<u64, Waiting, RandomState>,
    /// Whether whoever waits is sent away.
    is_closed: bool,
    /// In the order in which the commands began.
    kept: BTreeMap<u64, Kept>,
    /// Those of `kept` that are answered.
    answered: BTreeSet<u64>,
    kept_bytes: usize,
    recent: Recent,
}

#[derive(Debug)]
struct Waiting {
    client: oneshot::Sender<Answer>,
    _place: Place,
}

#[derive(Debug)]
struct Kept {
    caller: Caller,
    until: Instant,
    answer: Option<Answer>,
    joined: Vec<Joined>,
    /// Until it is answered.
    place: Option<Place>,
}

impl Table {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: Mutex::default(),
        }
    }

    /// Returns a number that no command had before; nothing waits under it.
    pub(super) fn number(&self) -> u64 {
        self.entries.lock().number()
    }

    /// Begins to wait for an answer.
    pub(super) fn wait(self: &Arc<Self>, party: &Party) -> Result<Waiter, NoPlace> {
        let (client, answer) = oneshot::channel();
        let waiting = Waiting {
            client,
            _place: self.limits.waiting.take(party)?,
        };
        let mut entries = self.entries.lock();
        let number = entries.number();
        if !entries.is_closed {
            entries.waiting.insert(number, waiting);
        }
        drop(entries);
        let table = Arc::clone(self);
        Ok(Waiter {
            table,
            number,
            answer,
        })
    }

    /// Begins a command whose answer is kept for those who ask for it, and returns its number.
    pub(super) fn keep(&self, caller: Caller, party: &Party, now: Instant) -> Result<u64, NoPlace> {
        let mut entries = self.entries.lock();
        entries.expire(now);
        let place = Some(self.limits.kept.take(party)?);
        let number = entries.number();
        let kept = Kept {
            caller,
            until: now + self.limits.ttl,
            answer: None,
            joined: Vec::new(),
            place,
        };
        entries.kept.insert(number, kept);
        Ok(number)
    }

    /// Forgets a command whose answer would be kept: it was not sent.
    pub(super) fn forget(&self, number: u64) {
        self.entries.lock().remove(number);
    }

    /// Hands an answer to whoever waits for it here. Also returns the ids of those who do so at other instances,
    /// with the answer for them.
    pub(super) fn deliver(&self, number: u64, answer: Answer) -> (Delivered, Option<ForOthers>) {
        let mut entries = self.entries.lock();
        let Some(kept) = entries.kept.get_mut(&number) else {
            return (entries.hand_over(number, answer), None);
        };
        if kept.answer.is_some() {
            return (Delivered::Second, None);
        }
        let joined = std::mem::take(&mut kept.joined);
        let ids = entries.tell(joined, &answer);
        let others = (!ids.is_empty()).then(|| (ids, answer.clone()));
        entries.hold(number, answer, &self.limits);
        (Delivered::Here, others)
    }

    /// Looks for an answer that is kept; where it has not come, `joined` gets it when it comes.
    pub(super) fn look(
        &self,
        number: u64,
        caller: &Caller,
        joined: Option<Joined>,
        now: Instant,
    ) -> Seen {
        let mut entries = self.entries.lock();
        entries.expire(now);
        let Entries { kept, waiting, .. } = &mut *entries;
        let Some(kept) = kept.get_mut(&number) else {
            return Seen::Gone;
        };
        if !kept.caller.admits(caller) {
            return Seen::Foreign;
        }
        if let Some(answer) = &kept.answer {
            return Seen::Answered(answer.clone());
        }
        if let Some(joined) = joined {
            if kept.joined.len() >= MAX_JOINED {
                kept.joined.retain(|joined| match joined {
                    Joined::Here(number) => waiting.contains_key(number),
                    Joined::There(_, until) => *until > now,
                });
            }
            if kept.joined.len() >= MAX_JOINED {
                return Seen::Crowded;
            }
            kept.joined.push(joined);
        }
        Seen::Waiting
    }

    /// Ends all waits, also those that begin from now on.
    pub(super) fn close(&self) {
        let mut entries = self.entries.lock();
        entries.is_closed = true;
        entries.waiting.clear();
    }

    /// Drops what was kept long enough.
    pub(super) fn remove_ended(&self, now: Instant) {
        self.entries.lock().expire(now);
    }

    /// Returns how many places are taken: those who wait, and commands whose answer will be kept.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.limits.waiting.taken() + self.limits.kept.taken()
    }
}

impl Entries {
    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.recent.begin(number);
        number
    }

    /// Hands an answer to the one client that waits for it.
    fn hand_over(&mut self, number: u64, answer: Answer) -> Delivered {
        match self.waiting.remove(&number) {
            Some(waiting) => match waiting.client.send(answer) {
                Ok(()) => {
                    self.recent.answer(number);
                    Delivered::Here
                }
                Err(_unwanted) => Delivered::Late,
            },
            None if number >= self.next => Delivered::Forged,
            None if self.recent.was_answered(number, self.next) => Delivered::Second,
            None => Delivered::Late,
        }
    }

    /// Tells everybody here who waits for an answer that is kept, and returns those who do so elsewhere.
    fn tell(&mut self, joined: Vec<Joined>, answer: &Answer) -> Vec<Box<str>> {
        let (mut there, now) = (Vec::new(), Instant::now());
        for joined in joined {
            match joined {
                // One that is gone by now needs none.
                Joined::Here(number) => drop(self.hand_over(number, answer.clone())),
                Joined::There(id, until) if until > now => there.push(id),
                Joined::There(..) => {}
            }
        }
        there
    }

    /// Keeps an answer, and drops the oldest ones for it where there are too many.
    fn hold(&mut self, number: u64, answer: Answer, limits: &Limits) {
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        self.kept_bytes += KEPT_OVERHEAD_BYTES + answer.size_bytes();
        kept.answer = Some(answer);
        kept.place = None;
        self.answered.insert(number);
        self.recent.answer(number);
        while self.kept_bytes > limits.kept_bytes
            && let Some(oldest) = self.answered.first().copied()
        {
            self.remove(oldest);
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some((number, kept)) = self.kept.first_key_value()
            && kept.until <= now
        {
            let number = *number;
            self.remove(number);
        }
    }

    fn remove(&mut self, number: u64) {
        self.answered.remove(&number);
        if let Some(answer) = self.kept.remove(&number).and_then(|kept| kept.answer) {
            self.kept_bytes -= KEPT_OVERHEAD_BYTES + answer.size_bytes();
        }
    }
}

/// A client that waits. Dropping it makes its place free.
#[derive(Debug)]
pub(super) struct Waiter {
    table: Arc<Table>,
    number: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Waiter {
    /// Returns the number of the command.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Waits for the answer, until `deadline`.
    ///
    /// # Errors
    /// [`Unanswered`] when there is none in time, or the table is closed.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait.
    pub(super) async fn answer(
        mut self,
        deadline: tokio::time::Instant,
    ) -> Result<Answer, Unanswered> {
        match tokio::time::timeout_at(deadline, &mut self.answer).await {
            Ok(answer) => answer.map_err(|_dropped| Unanswered::Closed),
            Err(_elapsed) => Err(Unanswered::TooLate),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.table.entries.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
