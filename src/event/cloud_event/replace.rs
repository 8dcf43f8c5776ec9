//! Replaces members of an event without touching the others.

use bytes::Bytes;

use super::CloudEvent;

impl CloudEvent {
    /// Returns the JSON with other members at its top level: those called as one of `removed` are left out, and
    /// `added`, pairs of a name and a JSON text, come after the last one that stays.
    ///
    /// All other members keep their bytes, their order and the white space between them. The result is an event
    /// only if neither `removed` nor `added` breaks it.
    #[must_use]
    pub fn replace_members(&self, removed: &[&str], added: &[(&str, &str)]) -> Bytes {
        let text = self.text();
        let room: usize = added
            .iter()
            .map(|(name, raw)| name.len() + raw.len() + 4)
            .sum();
        let mut json = String::with_capacity(text.len() + room);
        // What begins with the comma before a member, and ends with its value.
        let mut rest = text.trim_start().strip_prefix('{').unwrap_or_default();
        json.push('{');
        for (name, raw) in self.members().iter() {
            let (member, behind) = split_after(rest, raw);
            rest = behind;
            if !removed.contains(&name) {
                push(&mut json, member.trim_start().trim_start_matches(','));
            }
        }
        for (name, raw) in added {
            push(&mut json, "");
            // The names are ours, but a name can be anything.
            json.push_str(&serde_json::Value::from(*name).to_string());
            json.push(':');
            json.push_str(raw);
        }
        json.push_str(rest);
        json.into()
    }
}

/// Adds a member after those that are there.
fn push(json: &mut String, member: &str) {
    if json.len() > 1 {
        json.push(',');
    }
    json.push_str(member);
}

/// Splits `text` behind `raw`, which is a part of it.
fn split_after<'a>(text: &'a str, raw: &str) -> (&'a str, &'a str) {
    let start = raw.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    text.split_at_checked(start + raw.len())
        .unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn replaced(json: &str, removed: &[&str], added: &[(&str, &str)]) -> String {
        let event = CloudEvent::from_structured(Bytes::copy_from_slice(json.as_bytes())).unwrap();
        String::from_utf8(event.replace_members(removed, added).to_vec()).unwrap()
    }

    const NEW: [(&str, &str); 1] = [("rig", "{}")];

    #[test]
    fn the_other_members_keep_their_bytes() {
        for (before, after) in [
            (
                r#"{"specversion":"1.0","type":"t","id":"1","source":"/s"}"#,
                r#"{"specversion":"1.0","type":"t","id":"1","source":"/s","rig":{}}"#,
            ),
            (
                r#"{"rig":{"rig":[1,{"rig":2}]},"specversion":"1.0","type":"t","id":"1","source":"/s"}"#,
                r#"{"specversion":"1.0","type":"t","id":"1","source":"/s","rig":{}}"#,
            ),
            (
                "{\"specversion\":\"1.0\",\"type\":\"t\",\"id\":\"1\",\"source\":\"/s\" , \"rig\" : null }\n",
                "{\"specversion\":\"1.0\",\"type\":\"t\",\"id\":\"1\",\"source\":\"/s\",\"rig\":{} }\n",
            ),
            (
                " {\n \"specversion\" :\t\"1.0\",\n \"r\\u0069g\": 1,\n \"type\":\"t\\/\",\"id\":\"1\",\"source\":\"/s\",\"n\":1.00}",
                "{\"specversion\" :\t\"1.0\",\n \"type\":\"t\\/\",\"id\":\"1\",\"source\":\"/s\",\"n\":1.00,\"rig\":{}}",
            ),
            (
                r#"{"specversion":"1.0","type":"t","id":"1","source":"/s","data":{"rig":1,"a":"\",\"rig\":1"}}"#,
                r#"{"specversion":"1.0","type":"t","id":"1","source":"/s","data":{"rig":1,"a":"\",\"rig\":1"},"rig":{}}"#,
            ),
        ] {
            assert_eq!(replaced(before, &["rig"], &NEW), after, "{before}");
        }
        let same = r#"{ "specversion":"1.0", "type":"t","id":"1","source":"/s" }"#;
        assert_eq!(replaced(same, &["rig"], &[]), same.replace("{ ", "{"));
    }

    fn member() -> impl Strategy<Value = (String, Value)> {
        let value = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[ -~äöü]{0,12}".prop_map(Value::from),
            proptest::collection::vec("[a-z,\"\\\\{}]{0,6}", 0..4).prop_map(Value::from),
        ];
        (
            prop_oneof!["[a-z,\":{}]{0,4}", Just("rig".to_owned())],
            value,
        )
    }

    proptest! {
        #[test]
        fn only_what_is_named_changes(members in proptest::collection::vec(member(), 0..8), is_pretty: bool) {
            let mut event = serde_json::Map::new();
            for (name, value) in [("specversion", "1.0"), ("type", "t"), ("id", "1"), ("source", "/s")] {
                event.insert(name.into(), value.into());
            }
            for (name, value) in members {
                event.entry(name).or_insert(value);
            }
            let before = Value::Object(event.clone());
            let text = if is_pretty { format!("{before:#}") } else { before.to_string() };
            let decoded = CloudEvent::from_structured(text.into());
            prop_assume!(decoded.is_ok());
            let removed = ["rig", "traceparent", "tracestate"];
            let json = decoded.unwrap().replace_members(&removed, &[("rig", "{\"a\":1}"), ("traceparent", "\"x\"")]);
            let after: Value = serde_json::from_slice(&json).unwrap();
            event.insert("rig".into(), serde_json::json!({ "a": 1 }));
            event.insert("traceparent".into(), "x".into());
            event.remove("tracestate");
            prop_assert_eq!(after, Value::Object(event));
            prop_assert!(CloudEvent::from_structured(json).is_ok());
        }
    }
}
