//! Reads what the key of a record is taken from.

use http::HeaderName;
use serde_json::Value;

use crate::event::{JsonPointer, PointerError};
use crate::proxy::route::KeyRule;

/// Why a rule is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    /// Not one of the rules.
    #[error(
        "must be \"target_partition\", \"session\", {{\"header\": name}}, {{\"body\": pointer}} or {{\"path\": group}}"
    )]
    NotARule,
    /// No name of a header.
    #[error("must have the name of a header")]
    Header,
    /// No JSON pointer.
    #[error("must have a JSON pointer: {0}")]
    Pointer(PointerError),
    /// A group that the pattern does not have.
    #[error("must have the number of a group of path_regex, which has {0}")]
    Group(usize),
}

/// Reads a rule for a route whose pattern has `groups` groups.
pub(super) fn read_key(rule: &Value, groups: usize) -> Result<KeyRule, KeyError> {
    if let Some(name) = rule.as_str() {
        return match name {
            "target_partition" => Ok(KeyRule::TargetPartition),
            "session" => Ok(KeyRule::Session),
            _ => Err(KeyError::NotARule),
        };
    }
    let mut members = rule.as_object().ok_or(KeyError::NotARule)?.iter();
    let (Some((name, value)), None) = (members.next(), members.next()) else {
        return Err(KeyError::NotARule);
    };
    match (name.as_str(), value) {
        ("header", Value::String(name)) => {
            let name = name.parse::<HeaderName>().map_err(|_| KeyError::Header)?;
            Ok(KeyRule::Header(name))
        }
        ("body", Value::String(pointer)) => {
            let pointer = JsonPointer::parse(pointer).map_err(KeyError::Pointer)?;
            Ok(KeyRule::Body(pointer))
        }
        ("path", Value::Number(group)) => {
            let group = group.as_u64().and_then(|group| usize::try_from(group).ok());
            let group = group.filter(|group| (1..=groups).contains(group));
            Ok(KeyRule::Path(group.ok_or(KeyError::Group(groups))?))
        }
        _ => Err(KeyError::NotARule),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_are_read() {
        for (rule, expected) in [
            (json!("target_partition"), KeyRule::TargetPartition),
            (json!("session"), KeyRule::Session),
            (
                json!({"header": "X-Key"}),
                KeyRule::Header(HeaderName::from_static("x-key")),
            ),
            (
                json!({"body": "/a/b"}),
                KeyRule::Body(JsonPointer::parse("/a/b").unwrap()),
            ),
            (json!({"path": 2}), KeyRule::Path(2)),
        ] {
            assert_eq!(read_key(&rule, 2), Ok(expected), "{rule}");
        }
    }

    #[test]
    fn other_rules_are_refused() {
        for (rule, why) in [
            (json!("partition"), KeyError::NotARule),
            (json!(1), KeyError::NotARule),
            (json!({}), KeyError::NotARule),
            (json!({"header": "a", "path": 1}), KeyError::NotARule),
            (json!({"query": "a"}), KeyError::NotARule),
            (json!({"header": 1}), KeyError::NotARule),
            (json!({"header": "a b"}), KeyError::Header),
            (
                json!({"body": "a"}),
                KeyError::Pointer(PointerError::NoSlash),
            ),
            (json!({"path": 0}), KeyError::Group(2)),
            (json!({"path": 3}), KeyError::Group(2)),
            (json!({"path": 1.5}), KeyError::Group(2)),
        ] {
            assert_eq!(read_key(&rule, 2), Err(why), "{rule}");
        }
    }
}
