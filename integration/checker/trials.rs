//! The checker as a test: a short run while things break, and the planted bugs that it has to name.

use clap::Parser as _;

use super::findings::Kind;
use super::instances::Cluster;
use super::options::Options;
use super::report::Report;
use super::run::run;
use crate::support::gateway::unique;
use crate::support::kafka::{Backend, Kafka, tests_dir};

pub async fn finds_nothing_wrong_while_instances_break(kafka: &Kafka) {
    let arguments = ["--minutes", "0.33", "--fault-every", "2", "--clients", "24"];
    let report = check(kafka, &arguments).await;
    assert!(report.findings.is_empty(), "\n{report}");
    assert!(report.acknowledged > 1000, "\n{report}");
    assert!(!report.faults.is_empty(), "\n{report}");
}

/// Each connection is cut, most of them within the first frames: at any byte of a head or of a frame.
pub async fn finds_nothing_wrong_when_every_connection_is_cut(kafka: &Kafka) {
    let arguments = [
        "--minutes",
        "0.2",
        "--cut-percent",
        "100",
        "--cut-within",
        "5000",
        "--faults",
        "cut",
        "--clients",
        "12",
    ];
    let report = check(kafka, &arguments).await;
    assert!(report.findings.is_empty(), "\n{report}");
    assert!(report.cuts > 100, "\n{report}");
}

pub async fn names_events_lost_by_a_resume_past_one(kafka: &Kafka) {
    names(kafka, "resume-past-one", Kind::Lost).await;
}

pub async fn names_events_repeated_by_a_resume_before_one(kafka: &Kafka) {
    names(kafka, "resume-before-one", Kind::Duplicated).await;
}

pub async fn names_foreign_events_of_a_wrong_filter(kafka: &Kafka) {
    names(kafka, "wrong-filter", Kind::Foreign).await;
}

pub async fn names_events_that_are_swapped(kafka: &Kafka) {
    names(kafka, "swapped", Kind::OutOfOrder).await;
}

async fn names(kafka: &Kafka, plant: &str, kind: Kind) {
    let arguments = [
        "--minutes",
        "0.06",
        "--plant",
        plant,
        "--instances",
        "1",
        "--clients",
        "9",
    ];
    let report = check(kafka, &arguments).await;
    let mut kinds = report.kinds();
    if kind == Kind::Lost {
        // The event that is passed over may be the one that ends the run for a client.
        kinds.retain(|found| *found != Kind::Unfinished);
    }
    assert_eq!(kinds, [kind], "\n{report}");
}

async fn check(kafka: &Kafka, arguments: &[&str]) -> Report {
    let options = Options::parse_from(arguments);
    let name = unique("history");
    let cluster = Cluster {
        brokers: kafka.brokers(),
        is_idempotent: kafka.backend() == Backend::Apache,
        dir: tests_dir().join(&name),
        name,
    };
    let report = run(&options, &cluster, None)
        .await
        .expect("the run is made");
    std::fs::remove_dir_all(&cluster.dir).expect("the folder is removed");
    report
}
