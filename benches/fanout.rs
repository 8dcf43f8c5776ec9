//! What one shard pays to hand an event to many clients, over real sockets on loopback.
//!
//! Unit: nanoseconds per receiver of one event, from the dispatcher until the last client
//! has read it. The reading clients are part of it: both ends run on the same machine.
#![allow(
    missing_docs,
    reason = "the macros of criterion write functions without docs"
)]

mod rig;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sluicegate::subscription::Extractors;

use crate::rig::{Rig, parse};

const RECEIVERS: u32 = 500;

fn fan_out(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let greetings = parse(r#"[{"eventType":"greeting"}]"#, &Extractors::none());
    let mut rig = Rig::start();
    for _ in 0..RECEIVERS {
        runtime.block_on(rig.connect(greetings.clone()));
    }
    let mut group = criterion.benchmark_group("fanout/sse/ns_per_receiver");
    group.throughput(Throughput::Elements(1));
    for count in [1, 16] {
        let receptions = RECEIVERS * count;
        group.warm_up_time(Duration::from_secs(1));
        group.measurement_time(Duration::from_secs(5));
        group.bench_function(BenchmarkId::new("events_in_batch", count), |bencher| {
            bencher.iter_custom(|iterations| {
                let total: Duration = (0..iterations).map(|_| rig.deliver(count)).sum();
                total / receptions
            });
        });
    }
    group.finish();
    runtime.block_on(rig.stop());
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = fan_out
}
criterion_main!(benches);
