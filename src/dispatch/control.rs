//! The events that Sluicegate itself sends to a client; their names start with `rig.`.

use serde_json::{Value, json};

use super::wire::CloseReason;
use crate::telemetry::rfc3339;

/// An event about the connection itself, as CloudEvent 1.0.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlEvent {
    event_type: &'static str,
    data: Value,
}

impl ControlEvent {
    /// `rig.connection.create`: the first event; its token names the connection in requests.
    #[must_use]
    pub fn connection_created(connection_token: &str) -> Self {
        Self {
            event_type: "rig.connection.create",
            data: json!({ "connection_token": connection_token }),
        }
    }

    /// `rig.subscriptions_set`: from here on, whatever matches `subscriptions` (JSON) is delivered.
    #[must_use]
    pub fn subscriptions_set(subscriptions: &str) -> Self {
        let data = serde_json::from_str(subscriptions).unwrap_or(Value::Null);
        Self {
            event_type: "rig.subscriptions_set",
            data,
        }
    }

    /// `rig.subscriptions_refused`: a change asked for on the connection itself was not made.
    #[must_use]
    pub const fn subscriptions_refused(problem: Value) -> Self {
        Self {
            event_type: "rig.subscriptions_refused",
            data: problem,
        }
    }

    /// `rig.session_set`: what was acknowledged is kept under this session token; `cursor` is what
    /// counts as acknowledged now.
    #[must_use]
    pub fn session_set(session: &str, cursor: &str) -> Self {
        Self {
            event_type: "rig.session_set",
            data: json!({ "session": session, "cursor": cursor }),
        }
    }

    /// `rig.acknowledgement_refused`: an acknowledgement was not taken.
    #[must_use]
    pub const fn acknowledgement_refused(problem: Value) -> Self {
        Self {
            event_type: "rig.acknowledgement_refused",
            data: problem,
        }
    }

    /// `rig.session_expiring`: the connection ends after `expires_ms` (Unix milliseconds), unless a new token is
    /// handed in.
    #[must_use]
    pub fn session_expiring(expires_ms: i64) -> Self {
        Self {
            event_type: "rig.session_expiring",
            data: json!({ "expires_at": rfc3339(expires_ms) }),
        }
    }

    /// `rig.session_renewed`: a new token was handed in; the connection goes on until `expires_ms` (Unix
    /// milliseconds).
    #[must_use]
    pub fn session_renewed(expires_ms: i64) -> Self {
        Self {
            event_type: "rig.session_renewed",
            data: json!({ "expires_at": rfc3339(expires_ms) }),
        }
    }

    /// `rig.token_refused`: a token handed in on the connection itself was not taken.
    #[must_use]
    pub const fn token_refused(problem: Value) -> Self {
        Self {
            event_type: "rig.token_refused",
            data: problem,
        }
    }

    /// `rig.response`: the answer to a request that was sent on the connection itself.
    #[must_use]
    pub const fn response(answer: Value) -> Self {
        Self {
            event_type: "rig.response",
            data: answer,
        }
    }

    /// `rig.session_killed`: an operator has ended the session; the connection ends now.
    #[must_use]
    pub const fn session_killed() -> Self {
        Self {
            event_type: "rig.session_killed",
            data: Value::Null,
        }
    }

    /// `rig.session_expired`: the token has expired; the connection ends now.
    #[must_use]
    pub const fn session_expired() -> Self {
        Self {
            event_type: "rig.session_expired",
            data: Value::Null,
        }
    }

    /// Returns what a client is told when its connection ends for a reason of which it has to know.
    pub(super) const fn last(reason: CloseReason) -> Option<Self> {
        match reason {
            CloseReason::SessionKilled => Some(Self::session_killed()),
            CloseReason::SessionExpired => Some(Self::session_expired()),
            _ => None,
        }
    }

    /// `rig.resume_gap`: records from..to of these partitions are gone, given as (topic, partition,
    /// from, to).
    #[must_use]
    pub fn resume_gap<'a>(missed: impl Iterator<Item = (&'a str, u32, i64, i64)>) -> Self {
        let partitions: Vec<Value> = missed
            .map(|(topic, partition, from, to)| {
                json!({ "topic": topic, "partition": partition, "from": from, "to": to })
            })
            .collect();
        Self {
            event_type: "rig.resume_gap",
            data: json!({ "partitions": partitions }),
        }
    }

    /// Returns the type, such as `rig.connection.create`.
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        self.event_type
    }

    /// Returns the event as JSON, with a random id and the time `now_ms` in Unix milliseconds.
    #[must_use]
    pub fn to_json(&self, now_ms: i64) -> Vec<u8> {
        let mut event = json!({
            "specversion": "1.0",
            "type": self.event_type,
            "source": "rig",
            "id": uuid::Uuid::new_v4().to_string(),
            "time": rfc3339(now_ms),
        });
        if let Some(members) = event.as_object_mut().filter(|_| !self.data.is_null()) {
            members.insert("data".to_owned(), self.data.clone());
        }
        event.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_cloud_event_of_version_1_with_its_data() {
        let event = ControlEvent::connection_created("abc").to_json(1_000);
        let event: Value = serde_json::from_slice(&event).unwrap();
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["type"], "rig.connection.create");
        assert_eq!(event["time"], "1970-01-01T00:00:01Z");
        assert_eq!(event["data"], json!({ "connection_token": "abc" }));
    }
}
