//! Checks of who may subscribe and submit: by a token, by rules, by another server.

pub mod a_server;
pub mod a_table_of_rules;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::clients::{Client, Over};
use crate::support::gateway::{Gateway, Settings, event, query};
use crate::support::http::{self, Answer};
use crate::support::kafka::Kafka;
use crate::support::program::run;
use crate::support::tokens::{SECRET, in_seconds, signed, token};

/// How long it may take to refuse the settings.
const SOON: Duration = Duration::from_secs(5);

fn wanted() -> Value {
    json!([{ "eventType": "t" }])
}

fn with_token(subscriptions: &Value, token: &str) -> String {
    format!("{}&jwt={token}", query(subscriptions))
}

/// Settings with tokens, these checks, and no more.
fn checked(kafka: &Kafka, subscriptions: &str, submissions: &str) -> Settings {
    Settings::new(kafka)
        .with("JWT_SECRET_KEY", SECRET)
        .with("SUBSCRIPTION_CHECK", subscriptions)
        .with("SUBMISSION_CHECK", submissions)
}

/// Returns a token with a role and OAuth's scopes.
fn with_claims(claims: &Value) -> String {
    let mut all = json!({ "sub": "alice", "jti": "a1", "exp": in_seconds(600) });
    let members = claims.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(members);
    signed(&all)
}

/// The ways in which events are submitted.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Structured,
    Binary,
    Batch,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Structured, Self::Binary, Self::Batch];

    /// Submits these events; all but a batch take only the first.
    async fn submit(self, address: std::net::SocketAddr, events: &[Value], bearer: &str) -> Answer {
        let mut headers = match self {
            Self::Structured => vec![("content-type", "application/cloudevents+json")],
            Self::Batch => vec![("content-type", "application/cloudevents-batch+json")],
            Self::Binary => vec![("content-type", "application/json")],
        };
        let attributes = ["specversion", "type", "source", "id"].map(|name| format!("ce-{name}"));
        if matches!(self, Self::Binary) {
            let values = attributes.iter().map(|header| {
                let value = events[0][&header[3..]].as_str().unwrap();
                (header.as_str(), value)
            });
            headers.extend(values);
        }
        if !bearer.is_empty() {
            headers.push(("authorization", bearer));
        }
        let body = match self {
            Self::Structured => events[0].to_string(),
            Self::Binary => events[0]["data"].to_string(),
            Self::Batch => Value::from(events).to_string(),
        };
        http::request(
            address,
            "POST",
            "/_rig/v1/events",
            &headers,
            body.as_bytes(),
        )
        .await
    }
}

pub async fn to_have_a_token_that_subscribe(kafka: &Kafka) {
    let gateway = Gateway::with(checked(kafka, "jwt_validation", "no_check")).await;
    let public = gateway.public();
    let alice = token("alice", "a1");
    let mut quiet = Vec::new();
    let mut subscribed = Vec::new();
    for over in Over::ALL {
        let needed = over.refusal(public, &query(&wanted()), &[]).await;
        assert_eq!(needed.status, 401, "{over:?}");
        assert_eq!(
            needed.header("www-authenticate"),
            Some("Bearer"),
            "{over:?}"
        );
        let bad = over
            .refusal(public, &with_token(&wanted(), "a.b.c"), &[])
            .await;
        assert_eq!(bad.status, 401, "{over:?}");
        let challenge = bad.header("www-authenticate");
        assert_eq!(
            challenge,
            Some("Bearer error=\"invalid_token\""),
            "{over:?}"
        );
        let query = with_token(&wanted(), &alice);
        subscribed.push(Client::open(over, public, &query).await);
        // Without subscriptions nobody is asked; there is nothing to get.
        let mut client = Client::open(over, public, "").await;
        assert_eq!(client.subscriptions, json!([]), "{over:?}");
        let put = client.put(public, &wanted(), None).await;
        put.problem(401);
        assert_eq!(put.json()["code"], "token_required");
        if client.over.name() == "ws" {
            client.say("rig.subscriptions_set", &wanted()).await;
            let told = client.event().await;
            assert_eq!(told["type"], "rig.subscriptions_refused");
            assert_eq!(told["data"]["status"], 401);
            client.say("rig.token", &json!({ "token": alice })).await;
            assert_eq!(*client.announced().await, json!([]));
            client.say("rig.subscriptions_set", &wanted()).await;
        } else {
            let put = client.put(public, &wanted(), Some(&alice)).await;
            assert_eq!(put.status, 204, "{over:?}: {}", put.text());
        }
        let set = json!([{ "eventType": "t", "oneOf": [] }]);
        assert_eq!(*client.announced().await, set, "{over:?}");
        subscribed.push(client);
        quiet.push(Client::open(over, public, "").await);
    }
    gateway.publish(&event("t", "1", json!(1))).await;
    for client in &mut subscribed {
        assert_eq!(client.ids_up_to("1").await, ["1"], "{:?}", client.over);
    }
    for client in &mut quiet {
        let none = tokio::time::timeout(Duration::from_millis(50), client.event()).await;
        assert!(none.is_err(), "{:?} gets {none:?}", client.over);
    }
    gateway.stop().await;
}

pub async fn to_have_a_token_that_submit(kafka: &Kafka) {
    let gateway = Gateway::with(checked(kafka, "no_check", "jwt_validation")).await;
    let mut client = Client::open(Over::Sse, gateway.public(), &query(&wanted())).await;
    let bearer = format!("Bearer {}", token("alice", "a1"));
    for (number, mode) in Mode::ALL.into_iter().enumerate() {
        let event = [event("t", &number.to_string(), json!(1))];
        let needed = mode.submit(gateway.public(), &event, "").await;
        needed.problem(401);
        assert_eq!(needed.json()["code"], "token_required");
        assert_eq!(needed.header("www-authenticate"), Some("Bearer"));
        let bad = mode.submit(gateway.public(), &event, "Bearer a.b.c").await;
        bad.problem(401);
        let taken = mode.submit(gateway.public(), &event, &bearer).await;
        assert_eq!(taken.status, 202, "{mode:?}: {}", taken.text());
        // The next one can only come after this one.
        let id = number.to_string();
        assert_eq!(client.ids_up_to(&id).await, [id.as_str()], "{mode:?}");
    }
    // The port of operators asks nobody.
    for (number, path) in ["/v3/messages", "/v2/messages"].into_iter().enumerate() {
        let id = format!("internal-{number}");
        let body = event("t", &id, json!(1)).to_string();
        let headers = [("content-type", "application/cloudevents+json")];
        let internal = gateway.internal();
        let taken = http::request(internal, "POST", path, &headers, body.as_bytes()).await;
        assert_eq!(taken.status, 202, "{path}: {}", taken.text());
        assert_eq!(client.ids_up_to(&id).await, [id.as_str()]);
    }
    gateway.stop().await;
}

pub async fn but_not_with_settings_that_do_not_fit() {
    let rules_of = |rules: &str| {
        vec![("SUBSCRIPTION_CHECK", "rules"), ("ACCESS_RULES", rules)]
            .into_iter()
            .map(|(name, value)| (name, value.to_owned()))
            .collect::<Vec<_>>()
    };
    let only = |name: &'static str, value: &str| vec![(name, value.to_owned())];
    for (settings, parts) in [
        (
            only("SUBSCRIPTION_CHECK", "jwt_validation"),
            ["SUBSCRIPTION_CHECK", "JWT_SECRET_KEY"],
        ),
        (
            only("SUBMISSION_CHECK", "jwt_validation"),
            ["SUBMISSION_CHECK", "JWT_SECRET_KEY"],
        ),
        (
            only("SUBSCRIPTION_CHECK", "rules"),
            ["SUBSCRIPTION_CHECK", "ACCESS_RULES"],
        ),
        (
            only("SUBMISSION_CHECK", "rules"),
            ["SUBMISSION_CHECK", "ACCESS_RULES"],
        ),
        (
            only("SUBSCRIPTION_CHECK", "jwt"),
            ["SUBSCRIPTION_CHECK", "jwt_validation"],
        ),
        (
            only("SUBSCRIPTION_CHECK", "ftp://checker/"),
            ["SUBSCRIPTION_CHECK", "expected"],
        ),
        (
            only("SUBMISSION_CHECK", "checker:8080/check"),
            ["SUBMISSION_CHECK", "expected"],
        ),
        (only("CHECK_TIMEOUT", "long"), ["CHECK_TIMEOUT", "long"]),
        (rules_of("{"), ["ACCESS_RULES", "not JSON"]),
        (
            rules_of("{\"subscribe\":[{}]}"),
            ["ACCESS_RULES", "/subscribe/0"],
        ),
        (rules_of("{\"allow\":[]}"), ["ACCESS_RULES", "/allow"]),
        (rules_of("/no/such/file"), ["ACCESS_RULES", "/no/such/file"]),
    ] {
        let with = |all: Settings, (name, value): &(&str, String)| all.with(name, value.clone());
        let output = run(&settings.iter().fold(Settings::empty(), with), &[], SOON).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{settings:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{settings:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{settings:?}: {said}");
        }
    }
    // A password in the address of a check would be said again.
    let secret = Settings::empty().with("SUBSCRIPTION_CHECK", "http://user:hunter2@checker/");
    let output = run(&secret, &[], SOON).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
