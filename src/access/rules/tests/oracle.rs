//! Rules against an oracle that reads the table itself, pair by pair.

use proptest::prelude::*;

use super::*;
use crate::event::CloudEvent;

const TYPES: [&str; 5] = ["a", "o.a", "o.b", "o.p.a", "x"];
const PATTERNS: [&str; 7] = ["*", "o.*", "o.p.*", "a", "o.a", "o.p.a", "x"];
const SOURCES: [&str; 4] = ["/s", "/s/1", "/t", "/"];
const ROLES: [&str; 3] = ["admin", "user", "read"];

fn some<T: Clone + std::fmt::Debug>(
    all: &'static [T],
    most: usize,
) -> impl Strategy<Value = Vec<T>> {
    proptest::collection::vec(proptest::sample::select(all), 1..=most)
}

fn any_rule() -> impl Strategy<Value = Value> {
    let sources = some(&["/s", "/s*", "/t*", "/*", "*", "/s/1"], 2);
    let claim = prop_oneof![Just("/roles"), Just("/scope")];
    let claims = proptest::collection::btree_map(claim, some(&ROLES, 2), 0..3);
    (some(&PATTERNS, 2), proptest::option::of(sources), claims).prop_map(
        |(types, sources, claims)| {
            let mut rule = json!({"types": types, "claims": claims});
            if let Some(sources) = sources {
                rule["sources"] = json!(sources);
            }
            rule
        },
    )
}

fn any_token() -> impl Strategy<Value = Value> {
    let claim = prop_oneof![
        proptest::sample::select(&ROLES[..]).prop_map(|role| json!(role)),
        some(&ROLES, 2).prop_map(|roles| json!(roles)),
        some(&ROLES, 2).prop_map(|roles| json!(roles.join(" "))),
        Just(json!(null)),
    ];
    proptest::collection::btree_map(prop_oneof![Just("roles"), Just("scope")], claim, 0..3)
        .prop_map(|claims| json!(claims))
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array()
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

fn words(claim: &Value) -> Vec<&str> {
    match claim.as_str() {
        Some(text) => text.split(' ').collect(),
        None => texts(claim),
    }
}

fn is_applied(rule: &Value, tokens: &[Value]) -> bool {
    let claims = rule["claims"].as_object().unwrap();
    claims.is_empty()
        || tokens.iter().any(|token| {
            claims.iter().all(|(claim, values)| {
                words(&token[claim.trim_start_matches('/')])
                    .iter()
                    .any(|word| texts(values).contains(word))
            })
        })
}

fn is_covered(text: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(fixed) => text.starts_with(fixed),
        None => text == pattern,
    }
}

/// Returns whether one rule allows the pattern, and whether from this source.
fn allowed(rules: &[Value], tokens: &[Value], pattern: &str, source: &str) -> (bool, bool) {
    let mut found = (false, false);
    for rule in rules.iter().filter(|rule| is_applied(rule, tokens)) {
        // A pattern is covered if its text is: of "o.*", "o." is the beginning of all.
        if texts(&rule["types"])
            .iter()
            .any(|types| is_covered(pattern, types))
        {
            let sources = texts(&rule["sources"]);
            let is_from = sources.is_empty() || sources.iter().any(|one| is_covered(source, one));
            found = (true, found.1 || is_from);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn nobody_may_more_or_less_than_an_oracle_says(
        subscribe in proptest::collection::vec(any_rule(), 0..4),
        submit in proptest::collection::vec(any_rule(), 0..4),
        tokens in proptest::collection::vec(any_token(), 0..3),
        list in proptest::collection::vec(proptest::sample::select(&PATTERNS[..]), 0..4),
    ) {
        let rules = rules(&json!({"subscribe": subscribe, "submit": submit}));
        let claims: Vec<_> = tokens.iter().collect();
        let wants: Vec<_> = list.iter().map(|pattern| json!({"eventType": pattern})).collect();
        let narrowed = rules.narrow_subscriptions(&claims, &wanted(&json!(wants)));
        let denied = list.iter().find(|pattern| !allowed(&subscribe, &tokens, pattern, "").0);
        prop_assert_eq!(narrowed.as_ref().err().map(|denied| denied.pattern.to_string()), denied.map(|one| (*one).to_owned()));
        for event_type in TYPES {
            for source in SOURCES {
                let (_, may_submit) = allowed(&submit, &tokens, event_type, source);
                prop_assert_eq!(rules.admits_submission(&claims, event_type, source), may_submit);
                let Ok(narrowed) = &narrowed else { continue };
                let event = json!({"specversion": "1.0", "id": "1", "source": source, "type": event_type});
                let event = CloudEvent::from_structured(event.to_string().into()).unwrap();
                let expected = list.iter().any(|pattern| {
                    is_covered(event_type, pattern) && allowed(&subscribe, &tokens, pattern, source).1
                });
                let fields = Extractors::none().extract(&event);
                prop_assert_eq!(narrowed.matches(&event, &fields), expected, "{} {}", event_type, source);
            }
        }
    }
}
