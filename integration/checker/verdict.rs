//! Compares what each client got with what Kafka holds, and that with what was acknowledged.

use std::collections::HashMap;

use super::event::EventId;
use super::findings::{Finding, Kind};
use super::history::History;
use super::ledger::{Ledger, Outcome};
use super::log::{Log, Place};

/// Checks that Kafka holds what was acknowledged: once, where it was said to be, and in order of each key.
///
/// An event whose outcome is unknown may be there or not. One that a producer's library sent again
/// after an outage may be there twice; then clients have to get it twice.
pub fn of_kafka(ledger: &Ledger, log: &Log) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut newest: Option<(EventId, Place)> = None;
    for (id, entry) in ledger.entries() {
        let places = log.places(id);
        let Outcome::Acknowledged(told) = entry.outcome else {
            continue;
        };
        let is_there = |place: &&Place| {
            let offset = log.record(**place).offset;
            told.is_none_or(|told| told == (place.partition as u32, offset))
        };
        let Some(place) = places.iter().find(is_there).copied() else {
            let what = format!("event {id}: acknowledged at {told:?}, found at {places:?}");
            findings.push(Finding::new(Kind::NotWritten, what));
            continue;
        };
        if let Some((before, at)) = newest.filter(|(before, _)| before.key == id.key)
            && at.partition == place.partition
            && at.index > place.index
        {
            let what = format!("Kafka holds {id} before {before}");
            findings.push(Finding::new(Kind::OutOfOrder, what));
        }
        newest = Some((id, place));
    }
    findings
}

/// Checks what one client got.
pub fn of_client(history: &History, ledger: &Ledger, log: &Log) -> Vec<Finding> {
    let mut findings = history.findings.clone();
    if !history.is_finished {
        let what = format!("{} did not get the last events", history.client);
        findings.push(Finding::new(Kind::Unfinished, what));
    }
    let Some(start) = &history.start else {
        return findings;
    };
    let received = receipts(history, start, log, &mut findings);
    for (partition, records) in log.partitions.iter().enumerate() {
        let mut before = None;
        for (index, record) in records.iter().enumerate() {
            if let Some(receipt) = received[partition][index] {
                before = Some(receipt);
                continue;
            }
            let is_wanted = history
                .wish_at(partition, record.offset)
                .matches(&record.content);
            let belongs = record.offset >= start[partition]
                || history.subscribed.is_some_and(|subscribed| {
                    ledger
                        .entry(record.id)
                        .is_some_and(|entry| entry.sent > subscribed)
                });
            if is_wanted && belongs {
                let after = received[partition][index..].iter().find_map(|at| *at);
                let what = format!(
                    "{}: event {} (partition {partition}, offset {}) never came, {}",
                    history.client,
                    record.id,
                    record.offset,
                    history.between(before, after)
                );
                findings.push(Finding::new(Kind::Lost, what));
            }
        }
    }
    findings
}

/// Goes through what a client got; returns for each record of each partition which receipt it was.
fn receipts(
    history: &History,
    start: &[i64],
    log: &Log,
    findings: &mut Vec<Finding>,
) -> Vec<Vec<Option<usize>>> {
    let empty = log
        .partitions
        .iter()
        .map(|records| vec![None; records.len()]);
    let mut received: Vec<Vec<Option<usize>>> = empty.collect();
    let mut newest = vec![-1; log.partitions.len()];
    let mut times: HashMap<EventId, usize> = HashMap::new();
    for (receipt, id) in history.receipts.iter().enumerate() {
        let mut found = |kind, what: &str| {
            let before = receipt.checked_sub(1);
            let between = history.between(before, Some(receipt));
            let what = format!("{}: event {id} {what}, {between}", history.client);
            findings.push(Finding::new(kind, what));
        };
        let time = times.entry(*id).or_default();
        let places = log.places(*id);
        if places.is_empty() {
            found(Kind::Foreign, "is not in Kafka");
            continue;
        }
        let Some(place) = places.get(*time).copied() else {
            found(Kind::Duplicated, "came again");
            continue;
        };
        *time += 1;
        let record = log.record(place);
        let at = format!("(partition {}, offset {})", place.partition, record.offset);
        received[place.partition][place.index] = Some(receipt);
        if !history
            .wish_at(place.partition, record.offset)
            .matches(&record.content)
        {
            found(Kind::Foreign, &format!("{at} is not wanted"));
        } else if record.offset < start[place.partition] {
            found(Kind::Duplicated, &format!("{at} is from before it began"));
        } else if record.offset < newest[place.partition] {
            found(Kind::OutOfOrder, &format!("{at} came after a later one"));
        }
        newest[place.partition] = newest[place.partition].max(record.offset);
    }
    received
}
