//! Where answers come in and are asked for: here, or at the instance that the id names.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::answer::Answer;
use super::correlation::{Correlation, Holder};
use super::delivered::Delivered;
use super::elsewhere::{self, Wish};
use super::places::Party;
use super::refusals::{gone, no_place, too_many, unknown};
use super::table::{ForOthers, Joined, Limits, Seen, Table, Waiter};
use crate::dispatch::{Incarnation, TokenKey};
use crate::http::HttpError;
use crate::proxy::call::Caller;
use crate::shared::CommandLog;
use crate::telemetry::{Metrics, Tasks};

/// The waits and the kept answers of this instance, and the way to those of the others.
#[derive(Debug)]
pub(super) struct Desk {
    table: Arc<Table>,
    own: Incarnation,
    token_key: Arc<OnceLock<TokenKey>>,
    commands: OnceLock<CommandLog>,
    metrics: Metrics,
    tasks: Tasks,
}

/// What somebody who asks for an answer gets.
#[derive(Debug)]
pub(super) enum Asked {
    /// The answer.
    Answered(Answer),
    /// It has not come; the wait for it, if one was wanted.
    Waits(Option<Waiter>),
}

impl Desk {
    pub(super) fn new(
        limits: Limits,
        own: Incarnation,
        token_key: Arc<OnceLock<TokenKey>>,
        metrics: Metrics,
        tasks: Tasks,
    ) -> Self {
        for result in Delivered::ALL {
            metrics.proxy.answers.with_label_values(&[result.as_str()]);
        }
        Self {
            table: Arc::new(Table::new(limits)),
            own,
            token_key,
            commands: OnceLock::new(),
            metrics,
            tasks,
        }
    }

    /// Sets how other instances are reached; done once.
    pub(super) fn connect(&self, commands: CommandLog) {
        self.commands.get_or_init(|| commands);
    }

    pub(super) fn own(&self, number: u64) -> Correlation {
        Correlation {
            by: self.own,
            number,
        }
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    pub(super) const fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Returns whether an instance is there, as far as it was heard.
    pub(super) fn is_alive(&self, instance: Incarnation) -> bool {
        let name = instance.to_string();
        let is_heard = |commands: &CommandLog| commands.alive().contains(&name);
        instance == self.own || self.commands.get().is_some_and(is_heard)
    }

    /// Writes an id for `holder`.
    ///
    /// # Errors
    /// 503 before the key of the cluster is known.
    pub(super) fn id(&self, of: Correlation, holder: Holder) -> Result<String, HttpError> {
        let key = self.token_key.get().ok_or_else(HttpError::state_not_read)?;
        Ok(of.seal(key, holder))
    }

    /// Begins to wait for an answer.
    ///
    /// # Errors
    /// 503 when too many wait, 429 when too many of this party do.
    pub(super) fn wait(&self, party: &Party) -> Result<Waiter, HttpError> {
        self.table.wait(party).map_err(no_place)
    }

    /// Begins a command whose answer is kept, and returns its number.
    ///
    /// # Errors
    /// 503 when too many such commands have no answer, 429 when too many of this party have none.
    pub(super) fn keep(&self, caller: Caller, party: &Party) -> Result<u64, HttpError> {
        let kept = self.table.keep(caller, party, Instant::now());
        kept.map_err(no_place)
    }

    /// Hands an answer in, for this or another instance, and counts it.
    pub(super) async fn deliver(&self, id: &str, answer: Answer) -> Delivered {
        match self.open(id, Holder::Answerer) {
            Some(of) if of.by == self.own => self.deliver_here(of.number, answer),
            Some(of) => self.pass_on(of.by, id, &answer).await,
            None => self.count(Delivered::Forged),
        }
    }

    /// Hands an answer in that every instance gets: what is another's is left to it.
    ///
    /// Has to be called within a Tokio runtime.
    pub(super) fn deliver_own(&self, id: &str, answer: impl FnOnce() -> Answer) {
        match self.open(id, Holder::Answerer) {
            Some(of) if of.by == self.own => {
                self.deliver_here(of.number, answer());
            }
            Some(_) => {}
            None => {
                self.count(Delivered::Forged);
            }
        }
    }

    /// Counts what became of an answer, and returns it.
    pub(super) fn count(&self, delivered: Delivered) -> Delivered {
        let result = delivered.as_str();
        self.metrics
            .proxy
            .answers
            .with_label_values(&[result])
            .inc();
        delivered
    }

    /// Asks for an answer that is kept, here or elsewhere; with `wait`, also to be told when it comes within this time.
    ///
    /// # Errors
    /// 404 for the command of somebody else, 410 for an answer that is not kept, or not any more; 503 when too many
    /// wait, or the instance that has it cannot be reached.
    pub(super) async fn ask(
        &self,
        of: Correlation,
        (caller, party): (&Caller, &Party),
        wait: Option<Duration>,
    ) -> Result<Asked, HttpError> {
        let waiter = wait.map(|_| self.wait(party)).transpose()?;
        let seen = if of.by == self.own {
            let joined = waiter.as_ref().map(|waiter| Joined::Here(waiter.number()));
            self.table.look(of.number, caller, joined, Instant::now())
        } else {
            let waits = waiter.as_ref().zip(wait);
            self.ask_elsewhere(of, caller, waits).await?
        };
        match seen {
            Seen::Answered(answer) => Ok(Asked::Answered(answer)),
            Seen::Waiting => Ok(Asked::Waits(waiter)),
            Seen::Crowded => Err(too_many()),
            Seen::Gone => Err(gone()),
            Seen::Foreign => Err(unknown()),
        }
    }

    /// Reads an id that a client asks with.
    ///
    /// # Errors
    /// 404 for one that is none, 503 before the key of the cluster is known.
    pub(super) fn asked(&self, id: &str) -> Result<Correlation, HttpError> {
        let key = self.token_key.get().ok_or_else(HttpError::state_not_read)?;
        Correlation::open(key, Holder::Asker, id).ok_or_else(unknown)
    }

    /// Does what another instance asks for, and returns the reply; `None` for a command that is not for here.
    pub(super) fn on_command(&self, command: &Value) -> Option<Value> {
        Some(match Wish::read(command)? {
            Wish::Deliver(id, answer) => elsewhere::passed(self.on_deliver(id, answer)),
            Wish::Ask(id, caller, waits) => elsewhere::seen(&self.on_ask(id, &caller, waits)),
        })
    }

    fn on_deliver(&self, id: &str, answer: Option<Answer>) -> Delivered {
        match (self.open_own(id, Holder::Answerer), answer) {
            (Some(of), Some(answer)) => self.deliver_here(of.number, answer),
            (None, _) => self.count(Delivered::Forged),
            (_, None) => self.count(Delivered::Invalid),
        }
    }

    fn on_ask(&self, id: &str, caller: &Caller, waits: Option<(&str, Duration)>) -> Seen {
        let now = Instant::now();
        let joined = waits.map(|(id, wait)| Joined::There(id.into(), now + wait));
        match self.open_own(id, Holder::Asker) {
            Some(of) => self.table.look(of.number, caller, joined, now),
            None => Seen::Gone,
        }
    }

    fn deliver_here(&self, number: u64, answer: Answer) -> Delivered {
        let (delivered, others) = self.table.deliver(number, answer);
        if let Some(others) = others {
            self.tell(others);
        }
        self.count(delivered)
    }

    /// Passes an answer on to the instances where somebody waits for it, too.
    fn tell(&self, (ids, answer): ForOthers) {
        let Some(commands) = self.commands.get().cloned() else {
            return;
        };
        let targets: Vec<(Incarnation, Box<str>)> = ids
            .into_iter()
            .filter_map(|id| Some((self.open(&id, Holder::Answerer)?.by, id)))
            .collect();
        self.tasks.spawn("answers.tell", async move {
            for (to, id) in targets {
                if let Err(failed) = elsewhere::pass(&commands, to, &id, &answer).await {
                    let result = failed.as_str();
                    tracing::debug!(result, "could not tell another instance an answer");
                }
            }
        });
    }

    async fn pass_on(&self, to: Incarnation, id: &str, answer: &Answer) -> Delivered {
        let passed = match self.commands.get() {
            Some(commands) => elsewhere::pass(commands, to, id, answer).await,
            None => Err(Delivered::Unreachable),
        };
        match passed {
            // What it is there is counted there.
            Ok(there) => {
                self.count(Delivered::Forwarded);
                there
            }
            Err(failed) => self.count(failed),
        }
    }

    async fn ask_elsewhere(
        &self,
        of: Correlation,
        caller: &Caller,
        waits: Option<(&Waiter, Duration)>,
    ) -> Result<Seen, HttpError> {
        let commands = self.commands.get().ok_or_else(HttpError::state_not_read)?;
        let waits = match waits {
            Some((waiter, wait)) => {
                let id = self.id(self.own(waiter.number()), Holder::Answerer)?;
                Some((id, wait))
            }
            None => None,
        };
        let waits = waits.as_ref().map(|(id, wait)| (id.as_str(), *wait));
        let id = self.id(of, Holder::Asker)?;
        elsewhere::ask(commands, of.by, &id, caller, waits).await
    }

    fn open(&self, id: &str, holder: Holder) -> Option<Correlation> {
        Correlation::open(self.token_key.get()?, holder, id)
    }

    fn open_own(&self, id: &str, holder: Holder) -> Option<Correlation> {
        self.open(id, holder).filter(|of| of.by == self.own)
    }
}
