//! What it costs to find out who wants an event, in nanoseconds an event.
//!
//! `one_hit/<n>`: n connections, each with one subscription to the same type and a value of its own; every event has one of
//! these values. `shared/<n>`: n connections share 10 distinct subscriptions; every event hits a tenth of them.
//! `filters/<n>`: as `one_hit`, but the value is an attribute in a filter `exact`. `narrowed/<n>`: as `one_hit`, but by a
//! token, and each connection wants all other types besides. `_batched`: the same events, 64 together,
//! as a shard looks them up.
//! The first lines printed are the memory of a connection, as the growth of the process's resident size shows it, with a
//! subscription that all share and with one of its own; it includes the connection's own parsed list.
#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a bench")]

use std::hint::black_box;
use std::time::Instant;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use sluicegate::dispatch::{Hits, Index};
use sluicegate::event::CloudEvent;
use sluicegate::subscription::{Extractors, Fields, SubscriptionLimits, Subscriptions};

const EXTRACTORS: &str =
    r#"{"com.example.order.created":{"user":{"event":{"json_pointer":"/data/user"}}}}"#;

/// So many events are looked up together.
const BATCH: usize = 64;

/// The list of each connection.
type List = fn(u32) -> String;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn parse(json: &str, extractors: &Extractors) -> Subscriptions {
    Subscriptions::parse(json.as_bytes(), extractors, &SubscriptionLimits::default()).unwrap()
}

fn event(user: u32) -> CloudEvent {
    let json = format!(
        r#"{{"specversion":"1.0","type":"com.example.order.created","id":"{user}","source":"/orders","subject":"user-{user}","data":{{"user":"user-{user}","total":12.5}}}}"#
    );
    CloudEvent::from_structured(json.into()).unwrap()
}

/// A number below `limit` that looks random; the same sequence each time.
fn scattered(step: u32, limit: u32) -> u32 {
    step.wrapping_mul(2_654_435_761) % limit
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<usize> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * 4096
}

/// Fills an index with one connection for each list and keeps the lists, as connections do.
fn filled(
    count: u32,
    list: impl Fn(u32) -> String,
    extractors: &Extractors,
) -> (Index, Vec<Subscriptions>) {
    let mut index = Index::new();
    let lists: Vec<Subscriptions> = (0..count)
        .map(|slot| parse(&list(slot), extractors))
        .collect();
    for (slot, list) in (0..).zip(&lists) {
        index.insert(slot, list);
    }
    (index, lists)
}

fn personal(user: u32) -> String {
    format!(r#"[{{"eventType":"com.example.order.created","oneOf":[{{"user":"user-{user}"}}]}}]"#)
}

fn by_uuid(user: u32) -> String {
    format!(
        r#"[{{"eventType":"com.example.order.created","oneOf":[{{"user":"{user:08x}-1111-4222-8333-444455556666"}}]}}]"#
    )
}

fn by_filter(user: u32) -> String {
    format!(r#"[{{"filters":[{{"exact":{{"subject":"user-{user}"}}}}]}}]"#)
}

/// What a token makes of a list that wants everything.
fn narrowed(user: u32) -> String {
    let others =
        r#"[{"eventType":"*","filters":[{"not":{"exact":{"type":"com.example.order.created"}}}]},"#;
    personal(user).replacen('[', others, 1)
}

fn shared(user: u32) -> String {
    personal(user % 10)
}

fn one_by_one(
    group: &mut Group<'_>,
    count: u32,
    index: &mut Index,
    events: &[(Fields, CloudEvent)],
) {
    let mut next = events.iter().cycle();
    let mut hits = Vec::new();
    group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
        bencher.iter(|| {
            let (fields, event) = next.next().unwrap();
            hits.clear();
            index.matches(black_box(event), black_box(fields), &mut hits);
            hits.len()
        });
    });
}

/// Looks up batches, and counts each event as one.
fn batched(group: &mut Group<'_>, count: u32, index: &mut Index, events: &[(Fields, CloudEvent)]) {
    let mut batches = events.chunks_exact(BATCH).cycle();
    let mut hits = Hits::default();
    group.bench_function(BenchmarkId::new("batched", count), |bencher| {
        bencher.iter_custom(|events| {
            let start = Instant::now();
            let mut done = 0;
            while done < events {
                let mut batch = batches.next().unwrap();
                while !batch.is_empty() {
                    let pairs = batch.iter().map(|(fields, event)| (event, fields));
                    index.matches_all(black_box(pairs), &mut hits);
                    batch = batch.get(hits.len()..).unwrap();
                    done += black_box(&hits).len() as u64;
                }
            }
            start.elapsed().mul_f64(events as f64 / done as f64)
        });
    });
}

fn measure(
    criterion: &mut Criterion,
    name: &str,
    counts: &[u32],
    list: List,
    users: fn(u32) -> u32,
) {
    let extractors = Extractors::parse(EXTRACTORS).unwrap();
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(500));
    group.measurement_time(std::time::Duration::from_secs(2));
    for count in counts {
        let (mut index, lists) = filled(*count, list, &extractors);
        let events: Vec<_> = (0..16_384)
            .map(|step| event(scattered(step, users(*count))))
            .map(|event| (extractors.extract(&event), event))
            .collect();
        one_by_one(&mut group, *count, &mut index, &events);
        batched(&mut group, *count, &mut index, &events);
        drop((index, lists));
    }
    group.finish();
}

/// Prints the memory of connections. Has to come first: later, memory that was given back is taken again.
fn memory(_: &mut Criterion) {
    let extractors = Extractors::parse(EXTRACTORS).unwrap();
    let lists: [(&str, List); 3] = [
        ("that all share", |_| personal(0)),
        ("of its own", personal),
        ("of its own, on a UUID", by_uuid),
    ];
    let mut kept = Vec::new();
    for (name, list) in lists {
        let count = 1_000_000;
        let before = resident_bytes();
        kept.push(filled(count, list, &extractors));
        let each = resident_bytes().saturating_sub(before) / count as usize;
        eprintln!("{each} bytes for each of {count} connections with a subscription {name}");
    }
}

fn one_hit(criterion: &mut Criterion) {
    measure(
        criterion,
        "one_hit",
        &[1_000_000, 100_000, 10_000, 1_000],
        personal,
        |count| count,
    );
}

fn sharing(criterion: &mut Criterion) {
    measure(criterion, "shared", &[100_000], shared, |_| 10);
}

fn filters(criterion: &mut Criterion) {
    measure(
        criterion,
        "filters",
        &[100_000, 1_000],
        by_filter,
        |count| count,
    );
}

fn narrowing(criterion: &mut Criterion) {
    measure(
        criterion,
        "narrowed",
        &[100_000, 1_000],
        narrowed,
        |count| count,
    );
}

criterion_group!(benches, memory, one_hit, sharing, filters, narrowing);
criterion_main!(benches);
