//! Where answers come in and are asked for: here, or at the instance that the id names.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, WrittenAnswer};
use super::correlation::{Correlation, Holder};
use super::delivered::Delivered;
use super::table::{ForOthers, Joined, Limits, Seen, Table, Waiter};
use crate::dispatch::{Incarnation, TokenKey};
use crate::http::HttpError;
use crate::proxy::call::Caller;
use crate::shared::{CommandError, CommandLog};
use crate::telemetry::{Metrics, Tasks};

/// The name of the command that hands an answer to the instance that waits for it.
const DELIVER_COMMAND: &str = "deliver_answer";
/// The name of the command that asks an instance for an answer that it keeps.
const ASK_COMMAND: &str = "ask_for_answer";
/// How long another instance may take.
const ELSEWHERE_LIMIT: Duration = Duration::from_secs(5);
/// The largest answer that is posted, in bytes: in base64 it fits a record, so that any instance can take it.
pub const MAX_ANSWER_BYTES: usize = 512 * 1024;
/// The largest that is passed on, with its headers.
const MAX_PASSED_BYTES: usize = MAX_ANSWER_BYTES + 128 * 1024;

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
    /// 503 when too many wait.
    pub(super) fn wait(&self) -> Result<Waiter, HttpError> {
        self.table.wait().map_err(|_full| too_many())
    }

    /// Begins a command whose answer is kept, and returns its number.
    ///
    /// # Errors
    /// 503 when too many wait.
    pub(super) fn keep(&self, caller: Caller) -> Result<u64, HttpError> {
        let kept = self.table.keep(caller, Instant::now());
        kept.map_err(|_full| too_many())
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

    /// Asks for an answer that is kept, here or elsewhere; with `waits`, also to be told when it comes.
    ///
    /// # Errors
    /// 404 for the command of somebody else, 410 for an answer that is not kept, or not any more; 503 when too many
    /// wait, or the instance that has it cannot be reached.
    pub(super) async fn ask(
        &self,
        of: Correlation,
        caller: &Caller,
        waits: bool,
    ) -> Result<Asked, HttpError> {
        let waiter = waits.then(|| self.wait()).transpose()?;
        let seen = if of.by == self.own {
            let joined = waiter.as_ref().map(|waiter| Joined::Here(waiter.number()));
            self.table.look(of.number, caller, joined, Instant::now())
        } else {
            self.ask_elsewhere(of, caller, waiter.as_ref()).await?
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
        let id = command["id"].as_str().unwrap_or_default();
        match command["command"].as_str()? {
            DELIVER_COMMAND => Some(self.on_deliver(id, command)),
            ASK_COMMAND => Some(self.on_ask(id, command)),
            _ => None,
        }
    }

    fn on_deliver(&self, id: &str, command: &Value) -> Value {
        let of = self.open_own(id, Holder::Answerer);
        let written = serde_json::from_value::<WrittenAnswer>(command["answer"].clone());
        let answer = written.ok().and_then(|written| written.read());
        let delivered = match (of, answer) {
            (Some(of), Some(answer)) => self.deliver_here(of.number, answer),
            (None, _) => self.count(Delivered::Forged),
            (_, None) => self.count(Delivered::Invalid),
        };
        json!({ "result": delivered.as_str() })
    }

    fn on_ask(&self, id: &str, command: &Value) -> Value {
        let Some(of) = self.open_own(id, Holder::Asker) else {
            return json!({ "result": "gone" });
        };
        let joined = command["waits"].as_str();
        let joined = joined.map(|id| Joined::There(id.into()));
        let caller = read_caller(&command["caller"]);
        match self.table.look(of.number, &caller, joined, Instant::now()) {
            Seen::Answered(answer) if answer.size_bytes() > MAX_PASSED_BYTES => {
                json!({ "result": "too_large" })
            }
            Seen::Answered(answer) => {
                json!({ "result": "answered", "answer": WrittenAnswer::from(&answer) })
            }
            Seen::Waiting => json!({ "result": "waiting" }),
            Seen::Crowded => json!({ "result": "crowded" }),
            Seen::Gone => json!({ "result": "gone" }),
            Seen::Foreign => json!({ "result": "foreign" }),
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
                let told = pass(&commands, to, &id, &answer).await;
                tracing::debug!(result = told.as_str(), "told another instance an answer");
            }
        });
    }

    async fn pass_on(&self, to: Incarnation, id: &str, answer: &Answer) -> Delivered {
        let delivered = match self.commands.get() {
            Some(commands) => pass(commands, to, id, answer).await,
            None => Delivered::Unreachable,
        };
        // What it is there is counted there.
        let counted = match delivered {
            Delivered::Second => Delivered::Forwarded,
            delivered => delivered,
        };
        self.count(counted);
        delivered
    }

    async fn ask_elsewhere(
        &self,
        of: Correlation,
        caller: &Caller,
        waiter: Option<&Waiter>,
    ) -> Result<Seen, HttpError> {
        let commands = self.commands.get().ok_or_else(HttpError::state_not_read)?;
        let waits = waiter
            .map(|waiter| self.id(self.own(waiter.number()), Holder::Answerer))
            .transpose()?;
        let command = json!({
            "command": ASK_COMMAND,
            "id": self.id(of, Holder::Asker)?,
            "caller": { "sessions": sessions(caller), "user": caller.user.as_deref() },
            "waits": waits,
        });
        let target = of.by.to_string();
        match commands.request(&target, command, ELSEWHERE_LIMIT).await {
            Ok(reply) => read_seen(&reply),
            Err(CommandError::Gone) => Ok(Seen::Gone),
            Err(error) => Err(unreachable().with_cause(error)),
        }
    }

    fn open(&self, id: &str, holder: Holder) -> Option<Correlation> {
        Correlation::open(self.token_key.get()?, holder, id)
    }

    fn open_own(&self, id: &str, holder: Holder) -> Option<Correlation> {
        self.open(id, holder).filter(|of| of.by == self.own)
    }
}

/// Hands an answer to another instance.
async fn pass(commands: &CommandLog, to: Incarnation, id: &str, answer: &Answer) -> Delivered {
    if answer.size_bytes() > MAX_PASSED_BYTES {
        return Delivered::TooLarge;
    }
    let answer = WrittenAnswer::from(answer);
    let command = json!({ "command": DELIVER_COMMAND, "id": id, "answer": answer });
    match commands
        .request(&to.to_string(), command, ELSEWHERE_LIMIT)
        .await
    {
        Ok(reply) => match reply["result"].as_str() {
            Some("delivered") => Delivered::Forwarded,
            Some("second") => Delivered::Second,
            Some("late" | "forged") => Delivered::Late,
            _ => Delivered::Unreachable,
        },
        Err(CommandError::Gone) => Delivered::Late,
        Err(error) => {
            tracing::debug!(%error, "an answer could not be passed on");
            Delivered::Unreachable
        }
    }
}

fn read_seen(reply: &Value) -> Result<Seen, HttpError> {
    match reply["result"].as_str() {
        Some("answered") => {
            let written = serde_json::from_value::<WrittenAnswer>(reply["answer"].clone());
            let answer = written.ok().and_then(|written| written.read());
            answer.map(Seen::Answered).ok_or_else(unreachable)
        }
        Some("waiting") => Ok(Seen::Waiting),
        Some("crowded") => Ok(Seen::Crowded),
        Some("gone") => Ok(Seen::Gone),
        Some("foreign") => Ok(Seen::Foreign),
        Some("too_large") => Err(HttpError::new(
            StatusCode::BAD_GATEWAY,
            "answer_too_large",
            "The answer is too large to be passed on by another instance.",
        )),
        _ => Err(unreachable()),
    }
}

fn sessions(caller: &Caller) -> Vec<&str> {
    caller.sessions.iter().map(AsRef::as_ref).collect()
}

fn read_caller(written: &Value) -> Caller {
    let sessions = written["sessions"].as_array().into_iter().flatten();
    Caller {
        sessions: sessions.filter_map(Value::as_str).map(Into::into).collect(),
        user: written["user"].as_str().map(Into::into),
    }
}

fn too_many() -> HttpError {
    HttpError::unavailable(
        "too_many_waiting",
        "Too many commands wait for their answers.",
        Duration::from_secs(1),
    )
}

fn gone() -> HttpError {
    HttpError::new(
        StatusCode::GONE,
        "answer_gone",
        "The answer is not kept any more, or was lost with the instance that waited for it.",
    )
}

fn unknown() -> HttpError {
    HttpError::new(
        StatusCode::NOT_FOUND,
        "unknown_answer",
        "There is no command with this id.",
    )
}

fn unreachable() -> HttpError {
    HttpError::unavailable(
        "instance_unreachable",
        "The instance that has the answer cannot be reached.",
        Duration::from_secs(1),
    )
}
