use super::*;
use crate::proxy::definition::doubts::doubts;

const ALL: Means = Means {
    verifies_tokens: true,
    has_nats: true,
    has_registry: true,
};

fn found(document: &Value, means: Means) -> Vec<String> {
    let definition = Definition::read(document, &Hosts::default()).unwrap();
    doubts(&definition.document, &Hosts::default(), means)
}

#[test]
fn nothing_is_doubtful_that_works_as_it_says() {
    let endpoint =
        json!({ "secured": true, "target": "Kafka", "topic": "t", "schema": "s", "type": "x" });
    let mut document = with_endpoint(&endpoint);
    add(
        &mut document,
        &json!({ "auth_type": "jwt", "auth": { "use_header": true, "header_name": "x-token" } }),
    );
    assert_eq!(found(&document, ALL), [""; 0]);
    let written = Definition::read(&document, &Hosts::default())
        .unwrap()
        .document;
    assert_eq!(
        found(&Value::Object(written), ALL),
        [""; 0],
        "as it is shown"
    );
}

#[test]
fn what_an_instance_cannot_serve_is_told_with_what_to_set() {
    let jwt = json!({ "auth_type": "jwt" });
    for (endpoint, setting) in [
        (json!({ "secured": true }), "JWT_SECRET_KEY"),
        (json!({ "target": "nats", "topic": "t" }), "NATS_SERVERS"),
        (
            json!({ "target": "kafka", "topic": "t", "schema": "s" }),
            "KAFKA_SCHEMA_REGISTRY_HOST",
        ),
    ] {
        let mut document = with_endpoint(&endpoint);
        add(&mut document, &jwt);
        let doubts = found(&document, Means::default());
        let [doubt] = doubts.as_slice() else {
            panic!("{doubts:?}");
        };
        assert!(doubt.starts_with("api \"a\", endpoint \"e\": "), "{doubt}");
        assert!(doubt.contains(setting), "{doubt}");
        assert_eq!(found(&document, ALL), [""; 0]);
    }
}

#[test]
fn members_that_mean_nothing_are_told() {
    let mut document = with_endpoint(&json!({ "secure": true, "responseFrom": "kafka" }));
    add(
        &mut document,
        &json!({ "activ": false, "auth": { "header": "x" } }),
    );
    assert_eq!(
        found(&document, ALL),
        [
            "api \"a\": the member \"activ\" means nothing here",
            "api \"a\": the member \"header\" means nothing here",
            "api \"a\", endpoint \"e\": the member \"responseFrom\" means nothing here",
            "api \"a\", endpoint \"e\": the member \"secure\" means nothing here",
        ]
    );
}

#[test]
fn a_variable_that_names_no_host_is_told() {
    let proxy = json!({ "proxy": { "use_env": true, "target_url": "BOOKS_HOST", "port": 80 } });
    let doubts = found(&with(&proxy), ALL);
    assert_eq!(
        doubts,
        [
            "api \"a\": the variable \"BOOKS_HOST\" of target_url is not set, so its backend is localhost"
        ]
    );
}
