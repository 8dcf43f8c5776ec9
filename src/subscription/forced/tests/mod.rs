//! Rules and attacks, one at a time; records and the oracle have files of their own.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;
use crate::event::CloudEvent;

mod oracle;
mod records;

const EXTRACTORS: &str = r#"{
    "greeting": {
        "name": {"event": {"json_pointer": "/data/name"}, "jwt": {"json_pointer": "/username"}},
        "age": {"event": {"json_pointer": "/data/age"}}
    },
    "order.paid": {
        "customer": {"event": {"json_pointer": "/data/customer"}, "jwt": {"json_pointer": "/sub"}},
        "tenant": {"event": {"json_pointer": "/data/tenant"}, "jwt": {"json_pointer": "/org/id"}}
    },
    "order.open": {"city": {"event": {"json_pointer": "/data/city"}}}
}"#;

fn extractors() -> Extractors {
    Extractors::parse(EXTRACTORS).unwrap()
}

fn wanted(json: &str) -> Subscriptions {
    Subscriptions::parse(
        json.as_bytes(),
        &extractors(),
        &SubscriptionLimits::default(),
    )
    .unwrap()
}

fn forced(claims: &[Value]) -> Forced {
    extractors().forced_by(&claims.iter().collect::<Vec<_>>())
}

/// Narrows `list` for somebody with tokens of these claims.
fn narrow(claims: &[Value], list: &str) -> Result<Subscriptions, SubscriptionError> {
    forced(claims).narrow(&wanted(list), &extractors(), &SubscriptionLimits::default())
}

fn gets(subscriptions: &Subscriptions, event_type: &str, data: &Value) -> bool {
    let event =
        json!({"specversion": "1.0", "id": "1", "source": "/s", "type": event_type, "data": data});
    let event = CloudEvent::from_structured(event.to_string().into()).unwrap();
    subscriptions.matches(&event, &extractors().extract(&event))
}

#[test]
fn claims_with_a_value_derive_a_subscription_for_each_type() {
    for (claims, list) in [
        (json!({}), json!([])),
        (
            json!({"username": "alice"}),
            json!([{"eventType": "greeting", "oneOf": [{"name": "alice"}]}]),
        ),
        (
            json!({"sub": 7, "org": {"id": "acme"}, "other": 1}),
            json!([{"eventType": "order.paid", "oneOf": [{"customer": 7, "tenant": "acme"}]}]),
        ),
        (
            json!({"username": true, "org": {"id": "acme"}}),
            json!([
                {"eventType": "greeting", "oneOf": [{"name": true}]},
                {"eventType": "order.paid", "oneOf": [{"tenant": "acme"}]}
            ]),
        ),
    ] {
        let narrowed = narrow(std::slice::from_ref(&claims), "[]").unwrap();
        let written: Value = serde_json::from_str(&narrowed.to_json()).unwrap();
        assert_eq!(written, list, "{claims}");
    }
}

#[test]
fn claims_without_a_value_harm_nothing_and_allow_nothing() {
    for claims in [
        json!(null),
        json!("alice"),
        json!(["alice"]),
        json!({"username": null}),
        json!({"username": []}),
        json!({"username": ["alice"]}),
        json!({"username": {"name": "alice"}}),
        json!({"username": 1e300}),
        json!({"org": "acme"}),
        json!({"org": [{"id": "acme"}]}),
        json!({"org": {"id": null}}),
    ] {
        let claims = [claims];
        assert!(narrow(&claims, "[]").unwrap().is_empty(), "{claims:?}");
        let error = narrow(&claims, r#"[{"eventType":"greeting"}]"#).unwrap_err();
        let is_denied = matches!(error, SubscriptionError::Personal { .. });
        assert!(is_denied, "{claims:?}");
    }
}

#[test]
fn several_tokens_allow_what_each_of_them_allows() {
    let both = narrow(
        &[
            json!({"username": "alice", "sub": "a"}),
            json!({"username": "bob", "org": {"id": 5}}),
            json!({"username": "alice"}),
        ],
        "[]",
    )
    .unwrap();
    for (event_type, data, is_allowed) in [
        ("greeting", json!({"name": "alice"}), true),
        ("greeting", json!({"name": "bob"}), true),
        ("greeting", json!({"name": "carol"}), false),
        ("order.paid", json!({"customer": "a", "tenant": 6}), true),
        ("order.paid", json!({"customer": "b", "tenant": 5}), true),
        ("order.paid", json!({"customer": "b", "tenant": 6}), false),
    ] {
        assert_eq!(
            gets(&both, event_type, &data),
            is_allowed,
            "{event_type} {data}"
        );
    }
}

#[test]
fn a_client_cannot_widen_what_its_token_allows() {
    let alice = [json!({"username": "alice"})];
    for list in [
        r#"[{"eventType":"greeting"}]"#,
        r#"[{"eventType":"greeting","oneOf":[{}]}]"#,
        r#"[{"eventType":"greeting","oneOf":[{"name":"bob"}]}]"#,
        r#"[{"eventType":"greeting","oneOf":[{"name":"bob"},{"name":"alice"}]}]"#,
        r#"[{"eventType":"greeting","oneOf":[{"name":null}]}]"#,
        r#"[{"eventType":"greeting","oneOf":[{"age":1},{"age":null}]}]"#,
        r#"[{"eventType":"greeting","filters":[{"not":{"exact":{"id":"0"}}}]}]"#,
        r#"[{"eventType":"*"}]"#,
        r#"[{"eventType":"*","oneOf":[{"name":"bob"}]}]"#,
        r#"[{"eventType":"*","oneOf":[{"name":null}]}]"#,
        r#"[{"filters":[{"exact":{"type":"greeting"}}]}]"#,
        r#"[{"filters":[{"prefix":{"type":"greet"}}]}]"#,
        r#"[{"filters":[{"not":{"not":{"exact":{"type":"greeting"}}}}]}]"#,
        r#"[{"filters":[{"any":[{"exact":{"type":"greeting"}},{"exact":{"source":"/s"}}]}]}]"#,
        r#"[{"eventType":"order.*"},{"eventType":"*","filters":[{"suffix":{"type":"ing"}}]}]"#,
    ] {
        let narrowed = narrow(&alice, list).unwrap();
        for (data, is_allowed) in [
            (json!({"name": "alice", "age": 1}), true),
            (json!({"name": "bob", "age": 1}), false),
            (json!({"name": "Alice"}), false),
            (json!({"name": "alice "}), false),
            (json!({"name": null}), false),
            (json!({"name": ["alice"]}), false),
            (json!({}), false),
            (json!("alice"), false),
        ] {
            assert_eq!(
                gets(&narrowed, "greeting", &data),
                is_allowed,
                "{list} {data}"
            );
        }
    }
}

#[test]
fn values_are_compared_by_type_and_exact_value() {
    for (claim, value, is_equal) in [
        (json!(1), json!(1), true),
        (json!(1), json!(1.0), true),
        (json!(1.0), json!(1), true),
        (json!(1), json!("1"), false),
        (json!("1"), json!(1), false),
        (json!(true), json!(1), false),
        (json!(true), json!("true"), false),
        (json!(""), json!(null), false),
        (json!(""), json!(""), true),
        (
            json!(9_007_199_254_740_993_u64),
            json!(9_007_199_254_740_992_u64),
            false,
        ),
    ] {
        let narrowed = narrow(&[json!({"username": claim})], "[]").unwrap();
        let data = json!({"name": value});
        assert_eq!(
            gets(&narrowed, "greeting", &data),
            is_equal,
            "{claim} {value}"
        );
    }
}

#[test]
fn a_personal_type_without_a_token_is_denied_by_name_and_left_out_of_patterns() {
    for claims in [vec![], vec![json!({"sub": "a"})]] {
        let error = narrow(
            &claims,
            r#"[{"eventType":"x"},{"eventType":"greeting","oneOf":[{"name":"bob"}]}]"#,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "event type \"greeting\" is personal: a token that says whose events these are is needed"
        );
        let all = narrow(&claims, r#"[{"eventType":"*"},{"eventType":"Greeting"}]"#).unwrap();
        assert!(!gets(&all, "greeting", &json!({"name": "bob"})));
        assert!(gets(&all, "greeting.v2", &json!({"name": "bob"})));
        assert!(gets(&all, "order.open", &json!({})));
    }
}

#[test]
fn patterns_lose_exactly_the_personal_types_that_they_cover() {
    let alice = [json!({"sub": "a"})];
    for (list, written) in [
        (
            r#"[{"eventType":"order.*"}]"#,
            r#",{"eventType":"order.*","oneOf":[],"filters":[{"not":{"exact":{"type":"order.paid"}}}]}"#,
        ),
        (
            r#"[{"eventType":"*","oneOf":[{"name":"x"}],"filters":[{"exact":{"source":"/s"}}]}]"#,
            r#",{"eventType":"*","oneOf":[{"name":"x"}],"filters":[{"exact":{"source":"/s"}},{"not":{"any":[{"exact":{"type":"greeting"}},{"exact":{"type":"order.paid"}}]}}]}"#,
        ),
        (
            r#"[{"eventType":"greeting.*"},{"eventType":"order.paid.*"},{"eventType":"other.*"}]"#,
            r#",{"eventType":"greeting.*","oneOf":[]},{"eventType":"order.paid.*","oneOf":[]},{"eventType":"other.*","oneOf":[]}"#,
        ),
        (
            r#"[{"eventType":"order.open"},{"eventType":"order.paid"}]"#,
            r#",{"eventType":"order.open","oneOf":[]}"#,
        ),
    ] {
        let narrowed = narrow(&alice, list).unwrap();
        let own = r#"{"eventType":"order.paid","oneOf":[{"customer":"a"}]}"#;
        assert_eq!(narrowed.to_json(), format!("[{own}{written}]"), "{list}");
        let again = narrow(&alice, &narrowed.to_json()).unwrap();
        assert_eq!(again, narrowed, "{list}");
    }
}

#[test]
fn without_a_verifier_and_without_personal_types_nothing_is_forced() {
    let list = wanted(r#"[{"eventType":"greeting"},{"eventType":"*"}]"#);
    let limits = SubscriptionLimits::default();
    assert!(Forced::open().is_open());
    assert_eq!(
        Forced::open()
            .narrow(&list, &extractors(), &limits)
            .unwrap(),
        list
    );
    for text in [
        "{}",
        r#"{"greeting":{"name":{"event":{"json_pointer":"/n"}}}}"#,
    ] {
        let plain = Extractors::parse(text).unwrap();
        let forced = plain.forced_by(&[&json!({"username": "alice"})]);
        assert!(plain.personal().is_none() && !forced.is_open());
        assert_eq!(forced.narrow(&list, &plain, &limits).unwrap(), list);
    }
    assert!(extractors().personal().is_some());
}

#[test]
fn many_patterns_over_many_personal_types_are_refused_before_they_cost_much() {
    let mut types = String::from("{");
    for number in 0..2_000 {
        let comma = if number > 0 { "," } else { "" };
        write!(types, r#"{comma}"t.{number}":{{"name":{{"event":{{"json_pointer":"/n"}},"jwt":{{"json_pointer":"/n"}}}}}}"#).unwrap();
    }
    types.push('}');
    let extractors = Extractors::parse(&types).unwrap();
    let forced = extractors.forced_by(&[&json!({"n": "alice"})]);
    let narrow = |count: usize, limits: &SubscriptionLimits| {
        let items = (0..count)
            .map(|number| format!(r#"{{"filters":[{{"exact":{{"n":"{number}"}}}}]}}"#))
            .collect::<Vec<_>>();
        let list = format!("[{}]", items.join(","));
        let wanted =
            Subscriptions::parse(list.as_bytes(), &extractors, &SubscriptionLimits::default());
        forced.narrow(&wanted.unwrap(), &extractors, limits)
    };
    let limits = SubscriptionLimits::default();
    let five = narrow(5, &limits).unwrap();
    assert_eq!(five.len(), 2_005);
    let read = Subscriptions::parse(
        five.to_json().as_bytes(),
        &extractors,
        &SubscriptionLimits::UNLIMITED,
    );
    assert_eq!(read.unwrap(), five);
    let error = narrow(1_000, &limits).unwrap_err();
    assert!(matches!(error, SubscriptionError::TooWide { .. }));
    assert_eq!(
        error.to_string(),
        "the patterns of the subscriptions cover personal event types more than the 10000 times allowed"
    );
    let strict = SubscriptionLimits {
        max_constraints: 5,
        ..limits
    };
    assert!(narrow(1, &strict).is_ok() && narrow(2, &strict).is_err());
}

#[test]
fn what_is_forced_shares_its_memory_with_what_follows_from_it() {
    assert!(size_of::<Forced>() <= 32);
    let forced = forced(&[json!({"username": "alice"})]);
    let wanted = wanted(r#"[{"eventType":"greeting","oneOf":[{"name":"alice"}]}]"#);
    let narrowed = forced
        .narrow(&wanted, &extractors(), &SubscriptionLimits::default())
        .unwrap();
    let (Some(derived), Some(own)) = (
        forced.0.unwrap().iter().next().cloned(),
        narrowed.iter().next(),
    ) else {
        panic!("one each");
    };
    assert!(derived.is_same_memory(own));
    assert_eq!(narrowed.len(), 1);
}
