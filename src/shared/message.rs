//! What instances say to each other, as JSON in the commands topic.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A message in the commands topic. Every instance reads all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Message {
    /// "I live"; said every five seconds.
    Hello {
        /// The incarnation that says it.
        from: String,
    },
    /// "I live; who else?" Everybody answers with a hello.
    Who {
        /// The incarnation that asks.
        from: String,
    },
    /// "I am about to stop."
    Bye {
        /// The incarnation that says it.
        from: String,
    },
    /// A command for one incarnation.
    Request {
        /// Random, repeated in the reply.
        id: String,
        /// The incarnation that asks.
        from: String,
        /// The incarnation that is asked.
        to: String,
        /// The command.
        body: Value,
    },
    /// The answer to a command.
    Reply {
        /// The id of the request.
        id: String,
        /// The incarnation that answers.
        from: String,
        /// The incarnation that asked.
        to: String,
        /// The answer.
        body: Value,
    },
}

impl Message {
    /// Returns the incarnation that wrote the message.
    pub(super) fn from(&self) -> &str {
        match self {
            Self::Hello { from }
            | Self::Who { from }
            | Self::Bye { from }
            | Self::Request { from, .. }
            | Self::Reply { from, .. } => from,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_are_read_as_they_were_written() {
        let (id, from, to) = ("1".to_owned(), "a".to_owned(), "b".to_owned());
        let body = json!({"x": [1, null]});
        for (message, text) in [
            (
                Message::Hello { from: from.clone() },
                r#"{"kind":"hello","from":"a"}"#,
            ),
            (
                Message::Who { from: from.clone() },
                r#"{"kind":"who","from":"a"}"#,
            ),
            (
                Message::Bye { from: from.clone() },
                r#"{"kind":"bye","from":"a"}"#,
            ),
            (
                Message::Request {
                    id: id.clone(),
                    from: from.clone(),
                    to: to.clone(),
                    body: body.clone(),
                },
                r#"{"kind":"request","id":"1","from":"a","to":"b","body":{"x":[1,null]}}"#,
            ),
            (
                Message::Reply { id, from, to, body },
                r#"{"kind":"reply","id":"1","from":"a","to":"b","body":{"x":[1,null]}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&message).unwrap(), text);
            assert_eq!(serde_json::from_str::<Message>(text).unwrap(), message);
            assert_eq!(message.from(), "a");
        }
        assert!(serde_json::from_str::<Message>(r#"{"kind":"later","from":"a"}"#).is_err());
    }
}
