//! What is narrowed, against an oracle that knows nothing of patterns, filters and sharing.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::*;
use crate::event::CloudEvent;
use crate::subscription::Fields;

const TYPES: [&str; 5] = ["a", "o.a", "o.b", "o.p.a", "x.p"];
const FIELDS: [&str; 3] = ["f", "g", "h"];

/// A field of a type: whether it is declared, and at which claim it is personal.
type Declared = Vec<(usize, Option<&'static str>)>;

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => prop_oneof![Just(json!("u")), Just(json!("v")), Just(json!(1)), Just(json!(1.0)), Just(json!(true))],
        1 => prop_oneof![Just(json!(null)), Just(json!("1")), Just(json!(["u"])), Just(json!({"c": "u"}))],
    ]
}

fn any_scalar() -> impl Strategy<Value = Value> {
    any_value().prop_filter("no scalar", |value| !value.is_array() && !value.is_object())
}

fn any_claims() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map(
        prop_oneof![Just("c"), Just("d"), Just("e")],
        any_value(),
        0..4,
    )
    .prop_map(|claims| claims.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

fn any_types() -> impl Strategy<Value = Vec<Declared>> {
    let claim = proptest::option::of(prop_oneof![
        Just("/c"),
        Just("/d"),
        Just("/e"),
        Just("/c/c")
    ]);
    let field = (0..FIELDS.len(), claim);
    proptest::collection::vec(proptest::collection::vec(field, 0..3), TYPES.len())
}

fn any_filter() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"exact": {"type": "o.a"}})),
        Just(json!({"not": {"exact": {"type": "o.a"}}})),
        Just(json!({"not": {"any": [{"exact": {"type": "o.b"}}, {"exact": {"type": "a"}}]}})),
        Just(json!({"prefix": {"type": "o."}})),
        Just(json!({"exact": {"source": "/s"}})),
        Just(json!({"not": {"exact": {"source": "/s"}}})),
    ]
}

fn any_wanted() -> impl Strategy<Value = (&'static str, Vec<Map<String, Value>>, Vec<Value>)> {
    let pattern = prop_oneof![
        3 => proptest::sample::select(&TYPES[..]),
        2 => Just("*"),
        2 => prop_oneof![Just("o.*"), Just("o.p.*"), Just("x.*"), Just("a.*")],
    ];
    let map =
        proptest::collection::btree_map(proptest::sample::select(&FIELDS[..]), any_scalar(), 0..3)
            .prop_map(|map| map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect());
    (
        pattern,
        proptest::collection::vec(map, 0..3),
        proptest::collection::vec(any_filter(), 0..2),
    )
}

fn any_event() -> impl Strategy<Value = CloudEvent> {
    let source = prop_oneof![Just("/s"), Just("/t")];
    let data =
        proptest::collection::btree_map(proptest::sample::select(&FIELDS[..]), any_value(), 0..4);
    (proptest::sample::select(&TYPES[..]), source, data).prop_map(|(event_type, source, data)| {
        let event =
            json!({"specversion": "1.0", "id": "1", "source": source, "type": event_type, "data": data});
        CloudEvent::from_structured(event.to_string().into()).unwrap()
    })
}

fn declare(types: &[Declared]) -> Extractors {
    let mut all = Map::new();
    for (event_type, fields) in TYPES.iter().zip(types) {
        let mut declared = Map::new();
        for (field, claim) in fields {
            let name = FIELDS[*field];
            let mut one = json!({"event": {"json_pointer": format!("/data/{name}")}});
            if let Some(claim) = claim {
                one["jwt"] = json!({"json_pointer": claim});
            }
            declared.insert(name.to_owned(), one);
        }
        all.insert((*event_type).to_owned(), declared.into());
    }
    Extractors::parse(&Value::Object(all).to_string()).unwrap()
}

/// Returns the claimed fields of a type; the last declaration of a name counts.
fn personal(types: &[Declared], event_type: &str) -> Vec<(&'static str, &'static str)> {
    let position = TYPES.iter().position(|one| *one == event_type).unwrap();
    let mut last = Map::new();
    for (field, claim) in &types[position] {
        last.insert(FIELDS[*field].to_owned(), json!(claim));
    }
    FIELDS
        .into_iter()
        .filter_map(|name| {
            let claim = ["/c", "/d", "/e", "/c/c"]
                .into_iter()
                .find(|claim| last.get(name) == Some(&json!(claim)))?;
            Some((name, claim))
        })
        .collect()
}

/// Returns for each token the fields that an event of the type has to have, if there are any.
fn maps(fields: &[(&str, &str)], claims: &[Value]) -> Vec<Vec<(String, Value)>> {
    let by_token = claims.iter().map(|claims| {
        let value = |claim: &str| {
            claims
                .pointer(claim)
                .filter(|value| value.is_string() || value.is_number() || value.is_boolean())
        };
        let found = fields
            .iter()
            .filter_map(|(name, claim)| Some(((*name).to_owned(), value(claim)?.clone())));
        found.collect::<Vec<_>>()
    });
    by_token.filter(|map| !map.is_empty()).collect()
}

fn is_equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.to_bits() == other.to_bits(),
        _ => one == other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn nobody_gets_more_or_less_than_an_oracle_says(
        types in any_types(),
        claims in proptest::collection::vec(any_claims(), 0..3),
        wanted in proptest::collection::vec(any_wanted(), 0..5),
        events in proptest::collection::vec(any_event(), 1..12),
    ) {
        let extractors = declare(&types);
        let limits = SubscriptionLimits::default();
        // What names undeclared fields is no list; the rest of the property has nothing to say about it.
        let list: Vec<Value> = wanted.iter()
            .map(|(pattern, one_of, filters)| json!({"eventType": pattern, "oneOf": one_of, "filters": filters}))
            .filter(|item| Subscriptions::parse(format!("[{item}]").as_bytes(), &extractors, &limits).is_ok())
            .collect();
        let list = Subscriptions::parse(json!(list).to_string().as_bytes(), &extractors, &limits).unwrap();
        let forced = extractors.forced_by(&claims.iter().collect::<Vec<_>>());
        let is_denied = list.iter().any(|one| match one.pattern() {
            TypePattern::Exact(exact) => {
                let fields = personal(&types, exact);
                !fields.is_empty() && maps(&fields, &claims).is_empty()
            }
            _ => false,
        });
        let narrowed = match forced.narrow(&list, &extractors, &limits) {
            Err(SubscriptionError::Personal { .. }) => {
                prop_assert!(is_denied);
                return Ok(());
            }
            narrowed => narrowed.unwrap(),
        };
        prop_assert!(!is_denied);
        for event in &events {
            let fields = personal(&types, event.event_type());
            let json: Value = serde_json::from_slice(event.json()).unwrap();
            let is_own = maps(&fields, &claims).iter().any(|map| {
                map.iter().all(|(name, value)| json["data"].get(name).is_some_and(|own| is_equal(own, value)))
            });
            let extracted: Fields = extractors.extract(event);
            // Derived, or wanted and, if personal, own.
            let expected = is_own || (fields.is_empty() && list.matches(event, &extracted));
            prop_assert_eq!(narrowed.matches(event, &extracted), expected, "{} of {}", json, narrowed.to_json());
        }
        let again = forced.narrow(&narrowed, &extractors, &limits).unwrap();
        prop_assert_eq!(&again, &narrowed);
        let read = Subscriptions::parse(narrowed.to_json().as_bytes(), &extractors, &limits).unwrap();
        prop_assert_eq!(&read, &narrowed);
        let record = forced.to_json(&extractors);
        prop_assert_eq!(Forced::parse(&record, &extractors).unwrap(), forced);
    }
}
