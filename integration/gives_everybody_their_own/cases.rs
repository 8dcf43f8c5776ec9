//! What somebody could ask for who wants the events of others.

use serde_json::{Value, json};

/// What may be asked for that could reach the events of others, and what it gives besides one's own.
pub fn cases() -> Vec<(Value, &'static [&'static str])> {
    let bobs = json!({ "eventType": "personal", "oneOf": [{ "name": "bob" }] });
    let either =
        json!({ "eventType": "personal", "oneOf": [{ "name": "alice" }, { "name": "bob" }] });
    let not_alice = json!({ "not": { "exact": { "subject": "alice" } } });
    vec![
        (json!([]), &[]),
        (json!([{ "eventType": "personal" }]), &[]),
        (json!([{ "eventType": "personal", "oneOf": [] }]), &[]),
        (json!([{ "eventType": "personal", "oneOf": [{}] }]), &[]),
        (
            json!([{ "eventType": "personal", "oneOf": [{ "name": null }] }]),
            &[],
        ),
        (json!([bobs]), &[]),
        (json!([either]), &[]),
        (
            json!([{ "eventType": "personal", "filters": [not_alice] }]),
            &[],
        ),
        (json!([{ "eventType": "*" }]), &["n", "m"]),
        (json!([{ "eventType": "*" }, bobs]), &["n", "m"]),
        (json!([{ "eventType": "my.*" }]), &["m"]),
        (
            json!([{ "eventType": "my.*", "oneOf": [{ "to": "bob" }] }]),
            &[],
        ),
        (
            json!([{ "filters": [{ "prefix": { "type": "pers" } }] }]),
            &[],
        ),
        (
            json!([{ "filters": [{ "exact": { "type": "personal" } }] }]),
            &[],
        ),
        (
            json!([{ "filters": [{ "suffix": { "type": "mail" } }] }]),
            &[],
        ),
        (
            json!([{ "filters": [{ "not": { "exact": { "type": "other" } } }] }]),
            &["n", "m"],
        ),
        (
            json!([{ "filters": [{ "any": [{ "prefix": { "type": "my." } }, { "exact": { "source": "/test" } }] }] }]),
            &["n", "m"],
        ),
    ]
}
