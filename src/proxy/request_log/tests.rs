//! What is told of a request, and how the settings are read.

use http::uri::Authority;

use super::super::route::{AnswerFrom, KafkaTarget, KeyRule, Protocol, UpstreamSpec};
use super::config::Loggers;
use super::*;
use crate::avro::AvroConfig;
use crate::telemetry::Metrics;

fn entry(session: Option<&str>) -> Entry {
    let route = Route {
        api: "shop".into(),
        endpoint: "order".into(),
        method: Method::POST,
        path_regex: "/orders/.*".into(),
        is_secured: false,
        tokens: None,
        add_headers: Box::default(),
        target: Target::Kafka(KafkaTarget {
            topic: "orders".into(),
            schema: None,
            key: KeyRule::Session,
        }),
        answer_from: AnswerFrom::Target,
    };
    Entry {
        route: Arc::new(route),
        method: Method::POST,
        path: "/orders/\u{1b}[31m\"7\"\n".into(),
        client: [203, 0, 113, 7].into(),
        session: session.map(Into::into),
        status: Some(202),
        result: "ok",
        took: Duration::from_micros(12_345),
    }
}

#[test]
fn an_entry_tells_what_rig_told_and_how_it_ended() {
    let data = entry(None).data();
    assert_eq!(
        data,
        json!({
            "api": "shop",
            "endpoint": {"id": "order", "method": "POST", "path_regex": "/orders/.*", "target": "kafka"},
            "method": "POST", "request_path": "/orders/\u{1b}[31m\"7\"\n", "remote_ip": "203.0.113.7",
            "status": 202, "result": "ok", "duration_ms": 12,
        })
    );
    assert!(!data.to_string().contains(['\n', '\u{1b}']));
}

#[test]
fn requests_of_one_client_have_one_key() {
    assert_eq!(entry(None).key(), "203.0.113.7");
    assert_eq!(entry(Some("s")).key(), "s");
}

#[test]
fn destinations_are_those_of_the_configuration() {
    let upstream = UpstreamSpec {
        protocol: Protocol::Http,
        addresses: [Authority::from_static("a:1"), Authority::from_static("b:2")].into(),
        base_path: "".into(),
        health_path: None,
    };
    let http = Target::Http(Arc::new(upstream));
    assert_eq!(destination(&http), "a:1");
    assert_eq!(destination(&entry(None).route.target), "orders");
}

#[test]
fn a_full_queue_drops_and_counts() {
    let metrics = Metrics::new().proxy;
    let (queue, mut entries) = mpsc::channel(2);
    let log = RequestLog {
        has_console: true,
        kafka: Some(ToWriter {
            queue,
            metrics: metrics.clone(),
        }),
    };
    for _ in 0..5 {
        log.log(entry(None));
    }
    assert!(
        entries.try_recv().is_ok() && entries.try_recv().is_ok() && entries.try_recv().is_err()
    );
    assert_eq!(
        metrics.log_dropped.with_label_values(&["queue_full"]).get(),
        3
    );
}

#[test]
fn loggers_are_named_and_others_refused() {
    let both = Loggers {
        console: true,
        kafka: true,
    };
    assert_eq!(" Console , kafka ".parse(), Ok(both));
    assert_eq!("".parse(), Ok(Loggers::default()));
    for text in ["file", "console kafka", "console,stdout"] {
        assert_eq!(text.parse::<Loggers>(), Err(RequestLogError::UnknownLogger));
    }
    let mut config = RequestLogConfig {
        request_log: both,
        kafka_log_topic: "t".to_owned(),
        kafka_log_schema: "s".to_owned(),
    };
    let mut avro = AvroConfig::default();
    assert_eq!(config.check(&avro), Err(RequestLogError::NoRegistry));
    avro.kafka_schema_registry_host = "localhost:8081".parse().unwrap();
    assert_eq!(config.check(&avro), Ok(()));
    config.kafka_log_schema.clear();
    assert_eq!(config.check(&AvroConfig::default()), Ok(()));
}
