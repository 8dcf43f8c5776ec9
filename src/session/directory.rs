//! Who is connected to the cluster: every instance is asked, and the answers are joined.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::registry::Registry;
use crate::shared::CommandLog;
use crate::telemetry::Transport;

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

/// How many connections there are that belong to somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Over server-sent events.
    pub sse: usize,
    /// Over WebSocket.
    pub ws: usize,
    /// That poll.
    pub longpolling: usize,
}

/// What one instance answers.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    sessions: Vec<OpenSession>,
    counts: Counts,
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
        page.counts = joined.counts;
        page.has_more = joined.sessions.len() > limit;
        page.sessions = joined.sessions.into_values().take(limit).collect();
        page
    }

    /// Answers another instance that asks with [`LIST_COMMAND`] who is connected here.
    #[must_use]
    pub fn on_command(registry: &Registry, instance: &str, command: &Value) -> Value {
        let Ok(wanted) = serde_json::from_value::<Wanted>(command["wanted"].clone()) else {
            return json!({ "result": "unknown" });
        };
        let limit = wanted.limit.min(MAX_LISTED + 1);
        let listed = registry.list(wanted.user.as_deref(), wanted.after.as_deref(), limit);
        let sessions = listed.into_iter().map(|listed| OpenSession {
            session: listed.session.as_ref().to_owned(),
            user: listed.user.as_deref().map(str::to_owned),
            count: listed.count,
            connections: listed
                .connections
                .into_iter()
                .map(|(transport, since_ms, expires_ms, poll)| OpenConnection {
                    transport: transport.as_str().to_owned(),
                    since_ms,
                    expires_ms,
                    instance: instance.to_owned(),
                    poll: poll.map(|id| uuid::Uuid::from_bytes(id).simple().to_string()),
                })
                .collect(),
        });
        let by_transport = registry.counts();
        let mut counts = Counts::default();
        for (transport, count) in Transport::ALL.into_iter().zip(by_transport) {
            *counts.of(transport) = count;
        }
        let answer = Answer {
            sessions: sessions.collect(),
            counts,
        };
        serde_json::to_value(answer).unwrap_or_default()
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
    counts: Counts,
    /// The polls that were seen, each with a session that it belongs to.
    polls: BTreeSet<(String, String)>,
}

impl Joined {
    /// Joins what one more instance says; somebody who polled at two of them is one.
    fn add(&mut self, answer: Answer) {
        self.counts.sse += answer.counts.sse;
        self.counts.ws += answer.counts.ws;
        self.counts.longpolling += answer.counts.longpolling;
        // A poll with two tokens belongs to two sessions, and is counted once.
        let mut twice = BTreeSet::new();
        for session in answer.sessions {
            self.add_session(session, &mut twice);
        }
        self.counts.longpolling = self.counts.longpolling.saturating_sub(twice.len());
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
mod tests {
    use super::*;

    fn connection(transport: &str, poll: Option<&str>) -> OpenConnection {
        OpenConnection {
            transport: transport.to_owned(),
            since_ms: 1,
            expires_ms: 2,
            instance: String::new(),
            poll: poll.map(str::to_owned),
        }
    }

    fn session(name: &str, user: Option<&str>, connections: Vec<OpenConnection>) -> OpenSession {
        OpenSession {
            session: name.to_owned(),
            user: user.map(str::to_owned),
            count: connections.len(),
            connections,
        }
    }

    fn joined(answers: Vec<(Vec<OpenSession>, [usize; 3])>) -> Joined {
        let mut joined = Joined::default();
        for (sessions, [sse, ws, longpolling]) in answers {
            let counts = Counts {
                sse,
                ws,
                longpolling,
            };
            joined.add(Answer { sessions, counts });
        }
        joined
    }

    fn counts(joined: &Joined) -> [usize; 3] {
        [
            joined.counts.sse,
            joined.counts.ws,
            joined.counts.longpolling,
        ]
    }

    #[test]
    fn a_session_at_two_instances_is_one() {
        let here = session("a", None, vec![connection("sse", None)]);
        let there = session("a", Some("alice"), vec![connection("ws", None)]);
        let other = session("b", None, vec![connection("ws", None)]);
        let joined = joined(vec![
            (vec![here], [1, 0, 0]),
            (vec![there, other], [0, 2, 0]),
        ]);
        assert_eq!(counts(&joined), [1, 2, 0]);
        let names: Vec<&str> = joined.sessions.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "b"]);
        let both = &joined.sessions["a"];
        assert_eq!((both.count, both.connections.len()), (2, 2));
        assert_eq!(both.user.as_deref(), Some("alice"));
    }

    #[test]
    fn somebody_who_polls_at_two_instances_is_one() {
        let seen = || session("a", None, vec![connection("longpolling", Some("p"))]);
        let other = session("b", None, vec![connection("longpolling", Some("q"))]);
        let joined = joined(vec![
            (vec![seen()], [0, 0, 1]),
            (vec![seen(), other], [0, 0, 2]),
        ]);
        assert_eq!(counts(&joined), [0, 0, 2]);
        assert_eq!(joined.sessions["a"].count, 1);
        assert_eq!(joined.sessions["b"].count, 1);
    }

    #[test]
    fn somebody_who_polls_with_two_tokens_is_one_of_both_sessions() {
        let seen = |name| session(name, None, vec![connection("longpolling", Some("p"))]);
        let once = joined(vec![(vec![seen("a"), seen("b")], [0, 0, 1])]);
        assert_eq!(counts(&once), [0, 0, 1]);
        assert_eq!(once.sessions["a"].count, 1);
        assert_eq!(once.sessions["b"].count, 1);
        let answer = || (vec![seen("a"), seen("b")], [0, 0, 1]);
        let twice = joined(vec![answer(), answer()]);
        assert_eq!(counts(&twice), [0, 0, 1]);
        assert_eq!(twice.sessions["b"].count, 1);
    }
}
