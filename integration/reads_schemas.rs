//! Schemas come from a registry, and are known while it is away.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluicegate::avro::{AvroConfig, DecodeError, Malformed, Registry as Client, RegistryError};
use sluicegate::fetch::Fetch;
use sluicegate::settings::Secret;

use crate::support::registry::{Mood, Registry};

fn client_of(hosts: &str) -> Client {
    let config = AvroConfig {
        kafka_schema_registry_host: hosts.parse().unwrap(),
        ..AvroConfig::default()
    };
    Client::new(&config, Fetch::new()).unwrap()
}

fn client(registry: &Registry) -> Client {
    client_of(&registry.address.to_string())
}

async fn with_string() -> Registry {
    let registry = Registry::start().await;
    registry.add("a/topic value", 1, &json!("string"));
    registry
}

const SUBJECT: &str = "a/topic value";

fn framed(id: u32, datum: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], datum].concat()
}

pub async fn by_subject_to_encode_and_by_id_to_decode() {
    let registry = with_string().await;
    let client = client(&registry);
    let schema = client.latest(SUBJECT).await.unwrap();
    let bytes = schema.encode(&json!("simple test message")).unwrap();
    assert_eq!(bytes, framed(1, b"\x26simple test message"));
    assert_eq!(client.decode(&bytes).await.unwrap(), "simple test message");
    // The schema is known by its id, too.
    assert_eq!(
        registry.questions(),
        ["/subjects/a%2Ftopic%20value/versions/latest"]
    );
    let other = client_of(&format!("http://{}/", registry.address));
    assert_eq!(other.decode(&bytes).await.unwrap(), "simple test message");
    assert_eq!(registry.questions().last().unwrap(), "/schemas/ids/1");
    assert!(matches!(
        other.decode(b"{}").await,
        Err(DecodeError::Malformed(Malformed::NoFrame))
    ));
    assert!(matches!(
        other.decode(&framed(1, b"\x26x")).await,
        Err(DecodeError::Malformed(Malformed::Cut))
    ));
}

pub async fn once_for_all_who_ask_at_the_same_time() {
    let registry = with_string().await;
    registry.be(Mood::Slowly(Duration::from_millis(100)));
    let client = client(&registry);
    let asked = (0..50).map(|_| client.latest(SUBJECT));
    for schema in futures_util::future::join_all(asked).await {
        assert_eq!(schema.unwrap().id(), 1);
    }
    assert_eq!(registry.questions().len(), 1);
}

pub async fn that_are_known_while_the_registry_is_away() {
    let mut registry = with_string().await;
    let client = client(&registry);
    client.latest(SUBJECT).await.unwrap();
    registry.stop().await;
    assert_eq!(client.latest(SUBJECT).await.unwrap().id(), 1);
    assert_eq!(client.decode(&framed(1, b"\x02x")).await.unwrap(), "x");
    assert!(matches!(
        client.decode(&framed(2, b"\x02x")).await,
        Err(DecodeError::Registry(RegistryError::NoAnswer(_)))
    ));
}

pub async fn from_a_silent_registry_in_bounded_time() {
    let registry = with_string().await;
    registry.be(Mood::Silent);
    let client = client(&registry);
    let began = Instant::now();
    let asked = (0..20).map(|_| client.latest(SUBJECT));
    for schema in futures_util::future::join_all(asked).await {
        assert!(matches!(
            schema,
            Err(RegistryError::TimedOut | RegistryError::NoAnswer(_))
        ));
    }
    // All of them waited for one question, which takes two seconds; and the failure is known for some more.
    assert_eq!(registry.questions().len(), 1);
    assert!(client.latest(SUBJECT).await.is_err());
    assert_eq!(registry.questions().len(), 1);
    assert!(began.elapsed() < Duration::from_secs(20));
}

pub async fn that_are_not_there_or_no_schemas_are_told_apart() {
    let registry = with_string().await;
    let protobuf = json!({"schemaType": "PROTOBUF"});
    registry.add_with("protobuf", 2, &json!("syntax"), &protobuf);
    registry.add("broken", 3, &json!({"type": "record"}));
    let known = client(&registry);
    let error = async |client: &Client, subject: &str| client.latest(subject).await.unwrap_err();
    let unknown = error(&known, "none").await;
    assert!(matches!(unknown, RegistryError::Unknown { .. }));
    assert_eq!(
        unknown.to_string(),
        "the schema registry has no subject \"none\""
    );
    assert!(matches!(
        error(&known, "protobuf").await,
        RegistryError::NotAvro { .. }
    ));
    assert!(matches!(
        error(&known, "broken").await,
        RegistryError::Unusable { .. }
    ));
    for (status, body) in [
        (200, "<html>"),
        (200, "[]"),
        (200, "{\"schema\":7}"),
        (200, "{\"schema\":\"\\\"int\\\"\"}"),
    ] {
        registry.be(Mood::With(status, body));
        let garbage = error(&client(&registry), SUBJECT).await;
        assert!(
            matches!(garbage, RegistryError::NotAnAnswer { .. }),
            "{body}"
        );
    }
    for status in [301, 401, 500, 503] {
        registry.be(Mood::With(status, ""));
        let refused = error(&client(&registry), SUBJECT).await;
        assert!(matches!(refused, RegistryError::Status { .. }), "{status}");
    }
}

pub async fn that_use_others_are_read_with_them() {
    let registry = Registry::start().await;
    let named =
        |name: &str, fields: Value| json!({"type": "record", "name": name, "fields": fields});
    let uses = |name: &str, subject: &str| json!({"references": [{"name": name, "subject": subject, "version": 1}]});
    registry.add(
        "unit",
        1,
        &json!({"type": "enum", "name": "Unit", "symbols": ["EUR"]}),
    );
    let money = named("Money", json!([{"name": "unit", "type": "Unit"}]));
    registry.add_with("money", 2, &money, &uses("Unit", "unit"));
    let order = named("Order", json!([{"name": "price", "type": "Money"}]));
    registry.add_with("order", 3, &order, &uses("Money", "money"));
    let schema = client(&registry).latest("order").await.unwrap();
    let data = json!({"price": {"unit": "EUR"}});
    let bytes = schema.encode(&data).unwrap();
    assert_eq!(bytes, framed(3, b"\x00"));
    assert_eq!(client(&registry).decode(&bytes).await.unwrap(), data);
    // One that uses itself is asked for once.
    registry.add_with("loop", 4, &json!("int"), &uses("loop", "loop"));
    assert!(client(&registry).latest("loop").await.is_err());
}

pub async fn with_credentials_and_from_the_next_address() {
    let registry = with_string().await;
    registry.be(Mood::To("Basic YWxpY2U6cMOkc3M6MQ=="));
    assert!(client(&registry).latest(SUBJECT).await.is_err());
    let config = AvroConfig {
        kafka_schema_registry_host: registry.address.to_string().parse().unwrap(),
        kafka_schema_registry_user: Some("alice".to_owned()),
        kafka_schema_registry_password: Secret::new("päss:1"),
        ..AvroConfig::default()
    };
    let known = Client::new(&config, Fetch::new()).unwrap();
    assert!(known.latest(SUBJECT).await.is_ok());
    assert!(!format!("{config:?}{known:?}").contains("päss"));
    registry.be(Mood::Well);
    let (mut gone, broken) = (Registry::start().await, Registry::start().await);
    gone.stop().await;
    broken.be(Mood::With(500, ""));
    let hosts = format!("{},{},{}", gone.address, broken.address, registry.address);
    assert_eq!(client_of(&hosts).latest(SUBJECT).await.unwrap().id(), 1);
}
