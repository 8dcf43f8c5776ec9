//! What it costs to write an event once, as every shard does for each wire format in use.
//!
//! Unit: nanoseconds per frame of a 300-byte event, the cursor of 12 partitions included.
#![allow(
    missing_docs,
    reason = "the macros of criterion write functions without docs"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sluicegate::dispatch::{Outgoing, Wire};
use sluicegate::event::Positions;
use sluicegate::transport::{Sse, Ws};

const EVENT_BYTES: usize = 300;
const PARTITIONS: u32 = 12;

fn event() -> String {
    let head = r#"{"specversion":"1.0","id":"1","source":"/bench","type":"greeting","data":""#;
    let tail = r#""}"#;
    format!(
        "{head}{}{tail}",
        "x".repeat(EVENT_BYTES - head.len() - tail.len())
    )
}

fn positions() -> Positions {
    let mut positions = Positions::of_topics(["orders"]);
    for partition in 0..PARTITIONS {
        positions.set(0, partition, 1_000_000_000 + i64::from(partition));
    }
    positions
}

fn encode(criterion: &mut Criterion) {
    let (json, positions) = (event(), positions());
    let formats: [(&str, &dyn Wire); 3] = [
        ("sse", &Sse),
        (
            "ws",
            &Ws {
                with_cursors: false,
            },
        ),
        ("ws_with_cursors", &Ws { with_cursors: true }),
    ];
    let mut group = criterion.benchmark_group("encoding/ns_per_frame");
    for (name, wire) in formats {
        let mut frame = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                frame.clear();
                let cursor = black_box(&positions).encode();
                let json = black_box(json.as_bytes());
                wire.encode(
                    Outgoing {
                        event_type: "greeting",
                        json,
                        cursor: &cursor,
                    },
                    &mut frame,
                );
                black_box(frame.len())
            });
        });
    }
    group.bench_function("cursor_alone", |bencher| {
        bencher.iter(|| black_box(&positions).encode());
    });
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
