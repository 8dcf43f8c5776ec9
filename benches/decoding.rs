//! What it costs to decode a record of 300 bytes and to extract its fields, in nanoseconds an event.
#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]
#![allow(clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluicegate::event::decode_kafka;
use sluicegate::subscription::Extractors;

const EXTRACTORS: &str = r#"{"com.example.order.created":{
    "user":{"event":{"json_pointer":"/data/user"}},
    "total":{"event":{"json_pointer":"/data/total"}}}}"#;

const STRUCTURED: &str = concat!(
    r#"{"specversion":"1.0","type":"com.example.order.created","source":"/shops/berlin/orders","#,
    r#""id":"5c9dd2ff-6f2d-4b59-9f6c-0a54ae0a3c2e","time":"2026-11-21T10:15:30.123456Z","subject":"order-815","#,
    r#""datacontenttype":"application/json","data":{"user":"user-4711","total":129.95,"items":[{"sku":"A-1","n":2}]}}"#
);

fn decoding(criterion: &mut Criterion) {
    let extractors = Extractors::parse(EXTRACTORS).unwrap();
    let content_type: [(&str, Option<&[u8]>); 1] =
        [("content-type", Some(b"application/cloudevents+json"))];
    let binary: [(&str, Option<&[u8]>); 7] = [
        ("ce_specversion", Some(b"1.0")),
        ("ce_type", Some(b"com.example.order.created")),
        ("ce_source", Some(b"/shops/berlin/orders")),
        ("ce_id", Some(b"5c9dd2ff-6f2d-4b59-9f6c-0a54ae0a3c2e")),
        ("ce_time", Some(b"2026-11-21T10:15:30.123456Z")),
        ("ce_subject", Some(b"order-815")),
        ("content-type", Some(b"application/json")),
    ];
    let data = br#"{"user":"user-4711","total":129.95,"items":[{"sku":"A-1","n":2}]}"#;
    let event = decode_kafka(&content_type, Some(STRUCTURED.as_bytes())).unwrap();

    let mut group = criterion.benchmark_group("decoding");
    group
        .measurement_time(std::time::Duration::from_secs(2))
        .throughput(Throughput::Elements(1));
    group.bench_function("structured", |bencher| {
        bencher.iter(|| {
            decode_kafka(
                black_box(&content_type),
                Some(black_box(STRUCTURED.as_bytes())),
            )
            .unwrap()
        });
    });
    group.bench_function("extract", |bencher| {
        bencher.iter(|| extractors.extract(black_box(&event)))
    });
    group.bench_function("structured_and_extract", |bencher| {
        bencher.iter(|| {
            let event =
                decode_kafka(&content_type, Some(black_box(STRUCTURED.as_bytes()))).unwrap();
            (extractors.extract(&event), event)
        });
    });
    group.bench_function("binary", |bencher| {
        bencher.iter(|| decode_kafka(black_box(&binary), Some(black_box(data))).unwrap());
    });
    group.finish();
}

criterion_group!(benches, decoding);
criterion_main!(benches);
