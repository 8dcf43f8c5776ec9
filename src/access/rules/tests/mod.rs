//! Rules, one at a time; the oracle and the schema have files of their own.

use serde_json::json;

use super::*;
use crate::subscription::{Extractors, SubscriptionLimits};

mod oracle;
mod schema;

fn rules(json: &Value) -> Rules {
    Rules::parse(&json.to_string()).unwrap()
}

fn wanted(list: &Value) -> Subscriptions {
    let limits = SubscriptionLimits::default();
    Subscriptions::parse(list.to_string().as_bytes(), &Extractors::none(), &limits).unwrap()
}

/// Returns what somebody gets of `list` by `rules`, as JSON.
fn narrow(rules: &Rules, claims: &[Value], list: &Value) -> Result<Value, Denied> {
    let claims: Vec<_> = claims.iter().collect();
    let narrowed = rules.narrow_subscriptions(&claims, &wanted(list))?;
    Ok(serde_json::from_str(&narrowed.to_json()).unwrap())
}

/// Returns whether a rule with these `claims` applies to the token.
fn applies(claims: &Value, token: &Value) -> bool {
    let rules = rules(&json!({"submit": [{"types": ["*"], "claims": claims}]}));
    rules.admits_submission(&[token], "x", "/s")
}

#[test]
fn a_claim_is_one_of_the_values_or_has_one_of_them() {
    for (values, claim, is_met) in [
        (json!(["admin", "support"]), json!("admin"), true),
        (json!(["admin", "support"]), json!("user"), false),
        (json!(["admin"]), json!("Admin"), false),
        (json!(["admin"]), json!("administrator"), false),
        (json!(["admin"]), json!(["user", "admin"]), true),
        (json!(["admin"]), json!(["user", ["admin"]]), false),
        (json!(["admin"]), json!(["user admin"]), false),
        (json!(["admin"]), json!([]), false),
        (
            json!(["orders:read"]),
            json!("openid orders:read email"),
            true,
        ),
        (json!(["orders:read"]), json!("orders:readwrite"), false),
        (
            json!(["orders:read"]),
            json!("orders:read\torders:write"),
            false,
        ),
        (json!(["a b"]), json!("a b"), true),
        (json!(["a b"]), json!("a b c"), false),
        (json!([""]), json!("a  b"), false),
        (json!([""]), json!(""), true),
        (json!([1]), json!(1.0), true),
        (json!([1]), json!("1"), false),
        (json!(["1"]), json!(1), false),
        (json!([true]), json!(true), true),
        (json!([true]), json!("true"), false),
        (json!([2]), json!([1, 2]), true),
        (json!(["null"]), json!(null), false),
        (json!(["admin"]), json!({"admin": true}), false),
    ] {
        assert_eq!(
            applies(&json!({ "/roles": values }), &json!({ "roles": claim })),
            is_met,
            "{values} {claim}"
        );
    }
}

#[test]
fn pointers_lead_through_objects_only() {
    let claims = json!({"/realm_access/roles": ["admin"]});
    for (token, is_met) in [
        (json!({"realm_access": {"roles": ["admin"]}}), true),
        (json!({"realm_access": [{"roles": ["admin"]}]}), false),
        (json!({"realm_access": "roles"}), false),
        (json!({"realm_access/roles": ["admin"]}), false),
        (json!(["admin"]), false),
        (json!(null), false),
    ] {
        assert_eq!(applies(&claims, &token), is_met, "{token}");
    }
    let url = json!({"/https:~1~1example.com~1roles": ["admin"]});
    assert!(applies(
        &url,
        &json!({"https://example.com/roles": "admin"})
    ));
}

#[test]
fn all_claims_of_a_rule_are_met_by_one_token() {
    let rules = rules(&json!({"submit": [
        {"types": ["*"], "claims": {"/roles": ["admin"], "/scope": ["orders:write"]}}
    ]}));
    let may =
        |claims: &[Value]| rules.admits_submission(&claims.iter().collect::<Vec<_>>(), "x", "/s");
    let both = json!({"roles": ["admin"], "scope": "orders:write"});
    let [role, scope] = [
        json!({"roles": ["admin"]}),
        json!({"scope": "orders:write"}),
    ];
    assert!(may(std::slice::from_ref(&both)) && may(&[role.clone(), both]));
    assert!(
        !may(std::slice::from_ref(&role))
            && !may(std::slice::from_ref(&scope))
            && !may(&[role, scope])
    );
    assert!(!may(&[]));
}

#[test]
fn rules_without_claims_apply_to_everybody_also_without_a_token() {
    for rule in [
        json!({"types": ["news"]}),
        json!({"types": ["news"], "claims": {}}),
    ] {
        let rules = rules(&json!({"subscribe": [rule], "submit": [rule]}));
        for claims in [vec![], vec![json!({"sub": "a"})]] {
            let list = json!([{"eventType": "news", "oneOf": []}]);
            assert_eq!(narrow(&rules, &claims, &list).unwrap(), list);
            let claims: Vec<_> = claims.iter().collect();
            assert!(rules.admits_submission(&claims, "news", "/any"));
            assert!(!rules.admits_submission(&claims, "other", "/any"));
        }
    }
}

#[test]
fn without_rules_nobody_may() {
    let admin = json!({"roles": ["admin"]});
    for table in [
        json!({}),
        json!({"subscribe": [], "submit": []}),
        json!({"subscribe": []}),
    ] {
        let rules = rules(&table);
        assert!(!rules.admits_submission(&[&admin], "x", "/s"));
        let error = narrow(
            &rules,
            std::slice::from_ref(&admin),
            &json!([{"eventType": "a.*"}]),
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "no rule allows to subscribe to event type \"a.*\" with these tokens"
        );
        assert_eq!(narrow(&rules, &[], &json!([])).unwrap(), json!([]));
    }
    // The one says nothing about the other.
    let rules = rules(&json!({"submit": [{"types": ["*"]}]}));
    assert!(narrow(&rules, &[], &json!([{"eventType": "x"}])).is_err());
}

#[test]
fn a_subscription_is_allowed_whole_or_denied() {
    let rules = rules(&json!({"subscribe": [{"types": ["order.*", "news", "a.b", "a.c"]}]}));
    for (event_type, is_allowed) in [
        ("order.*", true),
        ("order.eu.*", true),
        ("order.paid", true),
        ("news", true),
        ("order", false),
        ("orders.paid", false),
        ("news.*", false),
        ("*", false),
        // Each type that is there today may be allowed; the pattern covers more.
        ("a.*", false),
    ] {
        let list = json!([{"eventType": event_type}]);
        assert_eq!(
            narrow(&rules, &[], &list).is_ok(),
            is_allowed,
            "{event_type}"
        );
        let list = json!([{"eventType": "news"}, {"eventType": event_type}]);
        assert_eq!(
            narrow(&rules, &[], &list).is_ok(),
            is_allowed,
            "{event_type}"
        );
    }
    // Filters do not make a pattern smaller, whatever they say.
    let list = json!([{"filters": [{"exact": {"type": "news"}}]}]);
    assert!(narrow(&rules, &[], &list).is_err());
}

#[test]
fn sources_of_all_rules_that_cover_the_types_become_a_filter() {
    let rules = rules(&json!({"subscribe": [
        {"types": ["order.*"], "sources": ["/shop/*"]},
        {"types": ["order.paid"], "sources": ["/bank"]},
        {"types": ["order.vip"], "claims": {"/roles": ["admin"]}},
        {"types": ["all"], "sources": ["/x", "*"]},
    ]}));
    let shop = json!({"prefix": {"source": "/shop/"}});
    let bank = json!({"exact": {"source": "/bank"}});
    let admin = json!({"roles": "admin"});
    for (claims, event_type, filters) in [
        (vec![], "order.*", Some(json!([shop]))),
        (vec![], "order.paid", Some(json!([{"any": [bank, shop]}]))),
        (vec![], "order.vip", Some(json!([shop]))),
        (vec![admin], "order.vip", None),
        (vec![], "all", None),
    ] {
        let list = json!([{"eventType": event_type, "oneOf": []}]);
        let mut expected = list.clone();
        if let Some(filters) = filters {
            expected[0]["filters"] = filters;
        }
        assert_eq!(narrow(&rules, &claims, &list).unwrap(), expected);
    }
    let own = json!([{"eventType": "order.*", "oneOf": [], "filters": [{"exact": {"source": "/other"}}]}]);
    let mut both = own.clone();
    both[0]["filters"].as_array_mut().unwrap().push(shop);
    assert_eq!(
        narrow(&rules, &[], &own).unwrap(),
        both,
        "both have to hold"
    );
}

#[test]
fn submissions_need_a_type_and_a_source_of_one_rule() {
    let rules = rules(&json!({"submit": [
        {"types": ["chat.*"], "sources": ["/app/chat", "/app/chat/*"]},
        {"types": ["log"], "sources": ["/log"]},
    ]}));
    for (event_type, source, is_allowed) in [
        ("chat.message", "/app/chat", true),
        ("chat.message", "/app/chat/room", true),
        ("chat.message", "/app/chats", false),
        ("chat.message", "/log", false),
        ("chat.message", "", false),
        ("log", "/log", true),
        ("log", "/log/", false),
        ("log", "/app/chat", false),
        ("other", "/log", false),
    ] {
        assert_eq!(
            rules.admits_submission(&[], event_type, source),
            is_allowed,
            "{event_type} {source}"
        );
    }
}

#[test]
fn faults_are_named_with_their_place() {
    for (json, message) in [
        (
            "",
            "rules: not JSON: EOF while parsing a value at line 1 column 0",
        ),
        ("[]", "rules: not an object"),
        (
            r#"{"subscribe":[],"subscribe":[]}"#,
            "rules: \"subscribe\" is given more than once",
        ),
        (
            r#"{"read":[]}"#,
            "rules/read: unknown member, expected \"subscribe\" or \"submit\"",
        ),
        (r#"{"submit":{}}"#, "rules/submit: not a list"),
        (
            r#"{"submit":[{"types":["x"]},1]}"#,
            "rules/submit/1: not an object",
        ),
        (r#"{"submit":[{}]}"#, "rules/submit/0: \"types\" is missing"),
        (
            r#"{"submit":[{"types":["x"],"roles":[]}]}"#,
            "rules/submit/0/roles: unknown member, expected \"types\", \"sources\" or \"claims\"",
        ),
        (
            r#"{"submit":[{"types":[]}]}"#,
            "rules/submit/0/types: the list is empty; leave the rule out to allow nothing",
        ),
        (
            r#"{"submit":[{"types":"x"}]}"#,
            "rules/submit/0/types: not a list",
        ),
        (
            r#"{"submit":[{"types":["x",5]}]}"#,
            "rules/submit/0/types/1: not a string",
        ),
        (
            r#"{"submit":[{"types":["x*"]}]}"#,
            "rules/submit/0/types/0: \"*\" may only stand alone or at the end after a dot, as in \"orders.*\"",
        ),
        (
            r#"{"submit":[{"types":["x"],"sources":[]}]}"#,
            "rules/submit/0/sources: the list is empty; leave the rule out to allow nothing",
        ),
        (
            r#"{"submit":[{"types":["x"],"sources":[""]}]}"#,
            "rules/submit/0/sources/0: the source is empty",
        ),
        (
            r#"{"submit":[{"types":["x"],"sources":["*/a"]}]}"#,
            "rules/submit/0/sources/0: \"*\" may only stand at the end of a source, as in \"/shop/*\"",
        ),
        (
            r#"{"submit":[{"types":["x"],"claims":[]}]}"#,
            "rules/submit/0/claims: not an object",
        ),
        (
            r#"{"submit":[{"types":["x"],"claims":{"roles":["a"]}}]}"#,
            "rules/submit/0/claims/roles: not a JSON pointer to a claim: a pointer starts with \"/\"",
        ),
        (
            r#"{"submit":[{"types":["x"],"claims":{"/roles":"a"}}]}"#,
            "rules/submit/0/claims//roles: not a list",
        ),
        (
            r#"{"submit":[{"types":["x"],"claims":{"/roles":[]}}]}"#,
            "rules/submit/0/claims//roles: the list is empty; leave the rule out to allow nothing",
        ),
        (
            r#"{"submit":[{"types":["x"],"claims":{"/roles":["a",null]}}]}"#,
            "rules/submit/0/claims//roles/1: not a string, number or boolean",
        ),
    ] {
        assert_eq!(
            Rules::parse(json).unwrap_err().to_string(),
            message,
            "{json}"
        );
    }
    assert!(Rules::parse(&"[".repeat(100_000)).is_err());
}
