//! Who is connected to the cluster: every instance is asked, and the answers are joined.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::members::{Listed, ListedConnection};
use super::registry::Registry;
use crate::shared::CommandLog;
use crate::telemetry::{Metrics, Transport};

/// How long the other instances may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How many sessions are listed at once at most: what many instances say of them fits a record.
pub const MAX_LISTED: usize = 500;

/// The name of the command that asks an instance who is connected to it.
pub const LIST_COMMAND: &str = "list_sessions";

/// Which sessions are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Only those of this user.
    pub user: Option<String>,
    /// Only those whose names come after this one.
    pub after: Option<String>,
    /// How many, at most [`MAX_LISTED`].
    pub limit: usize,
}

/// One connection of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenConnection {
    /// `sse`, `ws` or `longpolling`.
    pub transport: String,
    /// Since when, in Unix milliseconds.
    pub since_ms: i64,
    /// When its token expires, in Unix milliseconds.
    pub expires_ms: i64,
    /// Which instance holds it.
    pub instance: String,
    /// The long-poll session, which several instances may have seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<String>,
}

/// One session of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// Its name.
    pub session: String,
    /// Its user, if a token names one.
    pub user: Option<String>,
    /// How many connections it has.
    pub count: usize,
    /// Its connections, not more than some from each instance.
    pub connections: Vec<OpenConnection>,
}

/// How many connections there are, by transport.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Over server-sent events.
    pub sse: usize,
    /// Over WebSocket.
    pub ws: usize,
    /// That poll.
    pub longpolling: usize,
}

/// How long an answer may be, in bytes: it has to fit a record.
const MAX_ANSWER_BYTES: usize = 512 * 1024;

/// What one instance answers.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    sessions: Vec<OpenSession>,
    /// Set where there are more than fit: the last one that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut_after: Option<String>,
    counts: Counts,
    #[serde(default)]
    open: Counts,
}

/// The sessions of the cluster, as far as the instances answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order of their names.
    pub sessions: Vec<OpenSession>,
    /// Whether there are more after the last one.
    pub has_more: bool,
    /// Connections by transport, of all sessions.
    pub counts: Counts,
    /// Connections by transport, also of those without a session; of clients that poll those that wait.
    pub open: Counts,
    /// How many instances there are.
    pub instances: usize,
    /// The instances that did not answer in time.
    pub silent: Vec<String>,
}

/// Asks all instances who is connected. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Directory {
    commands: CommandLog,
}

impl Directory {
    /// Asks over these commands.
    #[must_use]
    pub const fn new(commands: CommandLog) -> Self {
        Self { commands }
    }

    /// Returns the sessions that are asked for, of all instances; waits three seconds for those that do
    /// not answer.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn page(&self, wanted: Wanted) -> Page {
        let limit = wanted.limit.clamp(1, MAX_LISTED);
        let mut instances = self.commands.alive();
        instances.push(self.commands.incarnation().to_owned());
        // One more than asked for tells whether there are more.
        let wanted = Wanted {
            limit: limit + 1,
            ..wanted
        };
        let body = json!({ "command": LIST_COMMAND, "wanted": wanted });
        let asked = instances.iter().map(|instance| {
            let (body, commands) = (body.clone(), self.commands.clone());
            async move { commands.request(instance, body, TIMEOUT).await }
        });
        let answers = futures_util::future::join_all(asked).await;
        let mut page = Page {
            instances: instances.len(),
            ..Page::default()
        };
        let mut joined = Joined::default();
        for (instance, answer) in instances.iter().zip(answers) {
            let answer = answer
                .ok()
                .and_then(|answer| serde_json::from_value::<Answer>(answer).ok());
            match answer {
                Some(answer) => joined.add(answer),
                None => page.silent.push(instance.clone()),
            }
        }
        joined.cut();
        page.counts = joined.counts;
        page.open = joined.open;
        page.has_more = joined.sessions.len() > limit || joined.cut_after.is_some();
        page.sessions = joined.sessions.into_values().take(limit).collect();
        page
    }

    /// Answers another instance that asks with [`LIST_COMMAND`] who is connected here.
    #[must_use]
    pub fn on_command(
        registry: &Registry,
        metrics: &Metrics,
        instance: &str,
        command: &Value,
    ) -> Value {
        let Ok(wanted) = serde_json::from_value::<Wanted>(command["wanted"].clone()) else {
            return json!({ "result": "unknown" });
        };
        let limit = wanted.limit.min(MAX_LISTED + 1);
        let listed = registry.list(wanted.user.as_deref(), wanted.after.as_deref(), limit);
        let sessions = listed
            .into_iter()
            .map(|listed| OpenSession::of(listed, instance));
        let mut answer = Answer {
            sessions: sessions.collect(),
            cut_after: None,
            counts: Counts::default(),
            open: Counts::default(),
        };
        answer.shorten(MAX_ANSWER_BYTES);
        for (transport, count) in Transport::ALL.into_iter().zip(registry.counts()) {
            *answer.counts.of(transport) = count;
            let open = metrics.connections.with_label_values(&[transport.as_str()]);
            *answer.open.of(transport) = usize::try_from(open.get()).unwrap_or(0);
        }
        serde_json::to_value(answer).unwrap_or_default()
    }
}

impl OpenSession {
    fn of(listed: Listed, instance: &str) -> Self {
        let connection =
            |(transport, since_ms, expires_ms, poll): ListedConnection| OpenConnection {
                transport: transport.as_str().to_owned(),
                since_ms,
                expires_ms,
                instance: instance.to_owned(),
                poll: poll.map(|id| uuid::Uuid::from_bytes(id).simple().to_string()),
            };
        Self {
            session: listed.session.as_ref().to_owned(),
            user: listed.user.as_deref().map(str::to_owned),
            count: listed.count,
            connections: listed.connections.into_iter().map(connection).collect(),
        }
    }
}

impl Answer {
    /// Leaves out the last sessions if the answer is longer than `limit_bytes`; never the first one.
    fn shorten(&mut self, limit_bytes: usize) {
        let mut bytes = 0;
        let mut fits = |session: &OpenSession| {
            bytes += serde_json::to_string(session).map_or(0, |json| json.len());
            bytes <= limit_bytes
        };
        let count = self
            .sessions
            .iter()
            .take_while(|session| fits(session))
            .count()
            .max(1);
        if count < self.sessions.len() {
            self.sessions.truncate(count);
            self.cut_after = self.sessions.last().map(|last| last.session.clone());
        }
    }
}

impl Counts {
    const fn of(&mut self, transport: Transport) -> &mut usize {
        match transport {
            Transport::Sse => &mut self.sse,
            Transport::Ws => &mut self.ws,
            Transport::LongPolling => &mut self.longpolling,
        }
    }
}

/// What the instances have said so far.
#[derive(Default)]
struct Joined {
    sessions: BTreeMap<String, OpenSession>,
    /// After this name the list of some instance goes on.
    cut_after: Option<String>,
    counts: Counts,
    open: Counts,
    /// The polls that were seen, each with a session that it belongs to.
    polls: BTreeSet<(String, String)>,
}

impl Joined {
    /// Joins what one more instance says; somebody who polled at two of them is one.
    fn add(&mut self, answer: Answer) {
        self.counts.sse += answer.counts.sse;
        self.counts.ws += answer.counts.ws;
        self.counts.longpolling += answer.counts.longpolling;
        self.open.sse += answer.open.sse;
        self.open.ws += answer.open.ws;
        self.open.longpolling += answer.open.longpolling;
        let earlier = self.cut_after.take();
        self.cut_after = earlier.into_iter().chain(answer.cut_after).min();
        // A poll with two tokens belongs to two sessions, and is counted once.
        let mut twice = BTreeSet::new();
        for session in answer.sessions {
            self.add_session(session, &mut twice);
        }
        self.counts.longpolling = self.counts.longpolling.saturating_sub(twice.len());
    }

    /// Leaves out what some instance has not said everything of.
    fn cut(&mut self) {
        if let Some(last) = &self.cut_after {
            self.sessions.retain(|session, _| session <= last);
        }
    }

    /// Joins what is said of one session; adds the polls to `twice` that another instance has seen.
    fn add_session(&mut self, mut session: OpenSession, twice: &mut BTreeSet<String>) {
        let before = session.connections.len();
        let (name, polls) = (&session.session, &mut self.polls);
        session.connections.retain(|connection| {
            let Some(poll) = &connection.poll else {
                return true;
            };
            let is_new = polls.insert((name.clone(), poll.clone()));
            if !is_new {
                twice.insert(poll.clone());
            }
            is_new
        });
        let seen = before - session.connections.len();
        session.count = session.count.saturating_sub(seen);
        match self.sessions.get_mut(&session.session) {
            Some(known) => {
                known.count += session.count;
                known.connections.append(&mut session.connections);
                known.user = known.user.take().or(session.user);
            }
            None => {
                self.sessions.insert(session.session.clone(), session);
            }
        }
    }
}

#[cfg(test)]
mod tests;
