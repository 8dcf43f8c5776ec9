//! The index against a naive matcher.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::subscription::{Extractors, SubscriptionLimits};

const EXTRACTORS: &str = r#"{
    "orders.created": {"name": {"event": {"json_pointer": "/data/name"}}, "age": {"event": {"json_pointer": "/data/age"}}},
    "orders.eu.paid": {"name": {"event": {"json_pointer": "/data/name"}}},
    "other": {"age": {"event": {"json_pointer": "/data/age"}}}
}"#;

fn extractors() -> Extractors {
    Extractors::parse(EXTRACTORS).unwrap()
}

fn subscriptions(json: &str) -> Subscriptions {
    Subscriptions::parse(
        json.as_bytes(),
        &extractors(),
        &SubscriptionLimits::default(),
    )
    .unwrap()
}

fn event(event_type: &str, rest: &str) -> CloudEvent {
    let json = format!(
        r#"{{"specversion":"1.0","type":"{event_type}","id":"1","source":"/s","data":{rest}}}"#
    );
    CloudEvent::from_structured(json.into()).unwrap()
}

fn hits(index: &mut Index, event: &CloudEvent) -> Vec<Slot> {
    let mut hits = Vec::new();
    index.matches(event, &extractors().extract(event), &mut hits);
    hits.sort_unstable();
    hits
}

fn is_empty(index: &Index) -> bool {
    index.entries() == 0 && index.subscriptions() == 0 && index.entries.is_empty()
}

#[test]
fn each_slot_is_hit_once_however_many_subscriptions_match() {
    let mut index = Index::new();
    let json = r#"[{"eventType":"*"},{"eventType":"orders.*"},{"eventType":"orders.created","oneOf":[{"name":"a"},{"age":1}]}]"#;
    index.insert(3, &subscriptions(json));
    assert_eq!((index.subscriptions(), index.entries()), (3, 4));
    assert_eq!(
        hits(
            &mut index,
            &event("orders.created", r#"{"name":"a","age":1}"#)
        ),
        [3]
    );
    index.remove(3);
    index.remove(3);
    assert!(is_empty(&index));
}

#[test]
fn equal_subscriptions_of_many_connections_are_one_entry() {
    let mut index = Index::new();
    for slot in 0..1_000 {
        let filter = if slot % 2 == 0 {
            r#"[{"eventType":"orders.created","oneOf":[{"name":"a","age":1}],"filters":[{"prefix":{"source":"/"}}]}]"#
        } else {
            r#"[{"filters":[{"prefix":{"source":"/"}}],"constraints":[{"age":1.0,"name":"a"}],"event_type":"orders.created"}]"#
        };
        index.insert(slot, &subscriptions(filter));
    }
    assert_eq!((index.subscriptions(), index.entries()), (1_000, 1));
    let wanted = event("orders.created", r#"{"name":"a","age":1}"#);
    assert_eq!(hits(&mut index, &wanted).len(), 1_000);
    for slot in (0..1_000).filter(|slot| slot % 3 > 0) {
        index.remove(slot);
    }
    assert_eq!(
        hits(&mut index, &wanted),
        (0..1_000).filter(|slot| slot % 3 == 0).collect::<Vec<_>>()
    );
}

#[test]
fn a_filter_that_a_crowd_shares_is_compared_once() {
    let filters: Vec<Subscriptions> = (0..10)
        .map(|number| {
            format!(
                r#"[{{"filters":[{{"prefix":{{"id":"{}"}}}}]}}]"#,
                "1".repeat(number + 1)
            )
        })
        .map(|json| subscriptions(&json))
        .collect();
    let mut index = Index::new();
    for (slot, wanted) in (0..100_000).zip(filters.iter().cycle()) {
        index.insert(slot, wanted);
    }
    assert_eq!((index.subscriptions(), index.entries()), (100_000, 10));
    let event = event("orders.created", "{}");
    assert_eq!(hits(&mut index, &event).len(), 10_000);
    assert_eq!(index.comparisons(), 10);
}

#[test]
fn values_are_one_entry_beside_any_number_that_share_their_key() {
    let value =
        r#"{"eventType":"orders.created","oneOf":[{"name":"a text of more than 22 bytes"}]}"#;
    let event = event(
        "orders.created",
        r#"{"name":"a text of more than 22 bytes"}"#,
    );
    let mut index = Index::new();
    for slot in 0..100 {
        let wanted = if slot % 2 == 0 {
            format!("[{value}]")
        } else {
            let filters = format!(r#","filters":[{{"not":{{"exact":{{"id":"{slot}"}}}}}}]}}"#);
            format!("[{}]", value.replace("]}", &format!("]{filters}")))
        };
        index.insert(slot, &subscriptions(&wanted));
    }
    assert_eq!(index.entries(), 51);
    assert_eq!(hits(&mut index, &event).len(), 99);
    for slot in (0..100).filter(|slot| slot % 3 > 0) {
        index.remove(slot);
    }
    index.insert(100, &subscriptions(&format!("[{value}]")));
    assert_eq!(index.entries(), 18);
    assert_eq!(
        hits(&mut index, &event),
        (0..=100)
            .filter(|slot| slot % 3 == 0 || *slot == 100)
            .collect::<Vec<_>>()
    );
}

#[test]
fn what_is_looked_up_together_is_bounded() {
    let mut index = Index::new();
    let mut hits = Hits::default();
    let fields = Fields::default();
    let mut count = |index: &mut Index, event: &CloudEvent, events: usize| {
        index.matches_all(std::iter::repeat_n((event, &fields), events), &mut hits);
        assert!(
            hits.iter()
                .all(|slots| slots.len() == index.subscriptions())
        );
        hits.len()
    };
    index.insert(0, &subscriptions(r#"[{"filters":[{"exact":{"id":"1"}}]}]"#));
    let small = event("any", "0");
    assert_eq!(count(&mut index, &small, 0), 0);
    assert_eq!(count(&mut index, &small, 63), 63);
    assert_eq!(count(&mut index, &small, 1_000), 64);
    let many_attributes: String = (0..600).map(|n| format!(r#","a{n}":"x""#)).collect();
    let large = event("any", &format!("0{many_attributes}"));
    assert_eq!(count(&mut index, &large, 10), 2);
    for slot in 1..40_000 {
        index.insert(
            slot,
            &subscriptions(r#"[{"filters":[{"exact":{"id":"1"}}]}]"#),
        );
    }
    assert_eq!(count(&mut index, &small, 10), 2);
}

#[test]
fn null_is_met_by_missing_and_by_null_but_by_no_value() {
    let mut index = Index::new();
    index.insert(
        0,
        &subscriptions(r#"[{"eventType":"orders.created","oneOf":[{"name":null}]}]"#),
    );
    index.insert(
        1,
        &subscriptions(r#"[{"eventType":"orders.created","oneOf":[{"name":null,"age":5}]}]"#),
    );
    for (data, expected) in [
        ("{}", &[0][..]),
        (r#"{"name":null}"#, &[0]),
        (r#"{"name":[]}"#, &[0]),
        (r#"{"age":5}"#, &[0, 1]),
        (r#"{"name":"x","age":5}"#, &[]),
        (r#"{"name":"null"}"#, &[]),
    ] {
        assert_eq!(
            hits(&mut index, &event("orders.created", data)),
            expected,
            "{data}"
        );
    }
}

#[test]
fn entries_go_to_the_value_that_the_fewest_share() {
    let mut index = Index::new();
    for slot in 0..500 {
        let json = format!(
            r#"[{{"eventType":"orders.created","oneOf":[{{"name":"all","age":{slot}}}]}}]"#
        );
        index.insert(slot, &subscriptions(&json));
    }
    assert_eq!(index.entries.longest_chain(), 1);
    assert_eq!(
        hits(
            &mut index,
            &event("orders.created", r#"{"name":"all","age":77}"#)
        ),
        [77]
    );
}

#[test]
fn exact_filters_are_found_by_the_attribute() {
    let mut index = Index::new();
    for slot in 0..500 {
        let json = format!(r#"[{{"filters":[{{"exact":{{"id":"{slot}","source":"/s"}}}}]}}]"#);
        index.insert(slot, &subscriptions(&json));
    }
    assert_eq!(index.entries.longest_chain(), 1);
    assert_eq!(hits(&mut index, &event("any", "0")), [1]);
}

#[test]
fn one_slot_may_be_in_one_entry_several_times() {
    let mut index = Index::new();
    let overlapping = r#"[
        {"eventType":"orders.created","oneOf":[{"name":"a"},{"name":"b"}]},
        {"eventType":"orders.created","oneOf":[{"name":"b"},{"name":"c"}]},
        {"eventType":"orders.created","oneOf":[{"name":"c"},{"name":"b"},{"name":"d"}]}
    ]"#;
    index.insert(0, &subscriptions(overlapping));
    index.insert(1, &subscriptions(overlapping));
    index.insert(
        2,
        &subscriptions(r#"[{"eventType":"orders.created","oneOf":[{"name":"b"}]}]"#),
    );
    let wanted = event("orders.created", r#"{"name":"b"}"#);
    assert_eq!(hits(&mut index, &wanted), [0, 1, 2]);
    index.remove(0);
    assert_eq!(hits(&mut index, &wanted), [1, 2]);
    index.insert(1, &subscriptions(r#"[{"eventType":"other"}]"#));
    assert_eq!(hits(&mut index, &wanted), [2]);
    index.remove(2);
    index.remove(1);
    assert!(is_empty(&index));
}

fn any_value() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("\"a\""),
        Just("\"b\""),
        Just("1"),
        Just("1.0"),
        Just("2"),
        Just("true"),
        Just("null")
    ]
}

/// A subscription whose fields are declared for its pattern.
fn any_subscription() -> impl Strategy<Value = String> {
    let pattern = prop_oneof![
        Just(("orders.created", true)),
        Just(("orders.*", true)),
        Just(("*", true)),
        Just(("orders.eu.*", false)),
        Just(("unknown", false)),
    ];
    let constraints =
        proptest::collection::vec((any_value(), proptest::option::of(any_value())), 0..4);
    let filter = prop_oneof![
        Just(r#"{"exact":{"source":"/s"}}"#),
        Just(r#"{"exact":{"type":"orders.created","id":"1"}}"#),
        Just(r#"{"prefix":{"type":"orders.eu"}}"#),
        Just(r#"{"not":{"exact":{"id":"1"}}}"#),
        Just(r#"{"not":{"any":[{"exact":{"type":"orders.eu.paid"}},{"exact":{"type":"other"}}]}}"#),
        Just(r#"{"any":[{"suffix":{"type":"paid"}},{"exact":{"id":"2"}}]}"#),
    ];
    (
        pattern,
        constraints,
        proptest::collection::vec(filter, 0..3),
    )
        .prop_map(|((pattern, may_constrain), constraints, filters)| {
            let one_of: Vec<String> = constraints
                .into_iter()
                .filter(|_| may_constrain)
                .map(|(name, age)| match age {
                    Some(age) => format!(r#"{{"name":{name},"age":{age}}}"#),
                    None => format!(r#"{{"name":{name}}}"#),
                })
                .collect();
            format!(
                r#"{{"eventType":"{pattern}","oneOf":[{}],"filters":[{}]}}"#,
                one_of.join(","),
                filters.join(",")
            )
        })
}

fn any_event() -> impl Strategy<Value = CloudEvent> {
    let types = prop_oneof![
        Just("orders.created"),
        Just("orders.eu.paid"),
        Just("orders."),
        Just("other"),
        Just("unknown"),
    ];
    (types, any_value(), any_value(), any::<bool>()).prop_map(|(event_type, name, age, is_flat)| {
        let data = if is_flat {
            name.to_owned()
        } else {
            format!(r#"{{"name":{name},"age":{age}}}"#)
        };
        event(event_type, &data)
    })
}

#[derive(Debug, Clone)]
enum Step {
    Insert(Slot, Vec<String>),
    Remove(Slot),
    Match(Vec<CloudEvent>),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12_u32, proptest::collection::vec(any_subscription(), 0..4)).prop_map(|(slot, all)| Step::Insert(slot, all)),
        2 => (0..14_u32).prop_map(Step::Remove),
        4 => proptest::collection::vec(any_event(), 0..5).prop_map(Step::Match),
    ]
}

proptest! {
    #[test]
    fn finds_whom_a_naive_matcher_finds(steps in proptest::collection::vec(any_step(), 1..60)) {
        let extractors = extractors();
        let mut index = Index::new();
        let mut naive: BTreeMap<Slot, Subscriptions> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(slot, list) => {
                    let wanted = subscriptions(&format!("[{}]", list.join(",")));
                    index.insert(slot, &wanted);
                    naive.insert(slot, wanted);
                }
                Step::Remove(slot) => {
                    index.remove(slot);
                    naive.remove(&slot);
                }
                Step::Match(events) => {
                    let events: Vec<_> = events.iter().map(|event| (event, extractors.extract(event))).collect();
                    let mut together = Hits::default();
                    index.matches_all(events.iter().map(|(event, fields)| (*event, fields)), &mut together);
                    prop_assert_eq!((together.len(), together.is_empty()), (events.len(), events.is_empty()));
                    for ((event, fields), slots) in events.iter().zip(together.iter()) {
                        let mut found = Vec::new();
                        index.matches(event, fields, &mut found);
                        prop_assert_eq!(slots, &found);
                        found.sort_unstable();
                        let expected: Vec<Slot> =
                            naive.iter().filter(|(_, all)| all.matches(event, fields)).map(|(slot, _)| *slot).collect();
                        prop_assert_eq!(found, expected);
                    }
                }
            }
            prop_assert_eq!(index.subscriptions(), naive.values().map(Subscriptions::len).sum::<usize>());
        }
        for slot in 0..14 {
            index.remove(slot);
        }
        prop_assert!(is_empty(&index));
    }
}
