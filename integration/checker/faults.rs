//! What breaks, when, and for how long, as the seed says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::findings::{Finding, Kind};
use super::instances::Instance;
use super::options::{Fault, Options};
use super::random::Random;
use crate::support::records::OwnKafka;

/// Breaks instances and Kafka; several of them at a time.
#[derive(Clone)]
pub struct Faults {
    instances: Arc<Vec<Arc<Instance>>>,
    kafka: Option<Arc<OwnKafka>>,
    is_kafka_broken: Arc<tokio::sync::Mutex<()>>,
    /// What broke how often, and what did not heal.
    done: Arc<Mutex<Done>>,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Done {
    pub counts: BTreeMap<Fault, u64>,
    pub findings: Vec<Finding>,
}

impl Faults {
    pub fn new(instances: Arc<Vec<Arc<Instance>>>, kafka: Option<Arc<OwnKafka>>) -> Self {
        Self {
            instances,
            kafka,
            is_kafka_broken: Arc::default(),
            done: Arc::default(),
        }
    }

    /// Breaks things for as long as the options say, heals everything, and says what happened.
    pub async fn run(&self, options: &Options) -> Done {
        let mut random = Random::of(options.seed, "faults", 0);
        let end = Instant::now() + options.duration();
        let mean_ms = (options.fault_every * 1000.0) as u64;
        let mut episodes = JoinSet::new();
        loop {
            let pause = random.time_ms(mean_ms / 4, mean_ms * 7 / 4);
            let left = end.saturating_duration_since(Instant::now());
            tokio::time::sleep(pause.min(left)).await;
            if pause >= left {
                break;
            }
            let Some(fault) = self.choose(&mut random, &options.faults) else {
                continue;
            };
            let (this, own) = (self.clone(), Random::new(random.next()));
            episodes.spawn(async move { this.happen(fault, own).await });
        }
        while let Some(episode) = episodes.join_next().await {
            episode.expect("no panic");
        }
        for instance in self.instances.iter() {
            self.judge(instance.ready().await);
        }
        std::mem::take(&mut *self.done.lock())
    }

    fn choose(&self, random: &mut Random, faults: &[Fault]) -> Option<Fault> {
        let needs_kafka = |fault: Fault| matches!(fault, Fault::KafkaKill | Fault::KafkaFreeze);
        let can_be = |fault: &Fault| !needs_kafka(*fault) || self.kafka.is_some();
        let possible: Vec<Fault> = faults.iter().copied().filter(can_be).collect();
        (!possible.is_empty()).then(|| random.pick(&possible))
    }

    /// Lets one thing break and heal; nothing, if it is broken already.
    async fn happen(&self, fault: Fault, mut random: Random) {
        let result = match (fault, &self.kafka) {
            (Fault::KafkaKill | Fault::KafkaFreeze, Some(kafka)) => {
                let Ok(_broken) = self.is_kafka_broken.try_lock() else {
                    return;
                };
                self.count(fault);
                break_kafka(kafka, fault, &mut random).await;
                Ok(())
            }
            _ => {
                let instance = &self.instances[random.below(self.instances.len())];
                let Ok(_broken) = instance.broken.try_lock() else {
                    return;
                };
                self.count(fault);
                break_instance(instance, fault, &mut random).await
            }
        };
        self.judge(result);
    }

    fn count(&self, fault: Fault) {
        *self.done.lock().counts.entry(fault).or_default() += 1;
    }

    fn judge(&self, result: anyhow::Result<()>) {
        if let Err(error) = result {
            let finding = Finding::new(Kind::Instance, format!("{error:#}"));
            self.done.lock().findings.push(finding);
        }
    }
}

async fn break_instance(
    instance: &Instance,
    fault: Fault,
    random: &mut Random,
) -> anyhow::Result<()> {
    let pause = random.time_ms(0, 3000);
    match fault {
        Fault::Kill => {
            let killed = instance.kill();
            tokio::time::sleep(pause).await;
            instance.start()?;
            // It may take until Kafka is back; whether it becomes ready is asked at the end.
            killed.context("before kill -9")
        }
        Fault::Terminate => {
            let ended = match instance.signal("TERM") {
                Ok(()) => instance.ended().await,
                died => died,
            };
            if ended.is_err() {
                instance.kill()?;
            }
            tokio::time::sleep(pause).await;
            instance.start()?;
            ended
        }
        Fault::Freeze => {
            instance.signal("STOP")?;
            tokio::time::sleep(random.time_ms(1000, 8000)).await;
            instance.signal("CONT")
        }
        _ => {
            instance.proxy.cut_all();
            Ok(())
        }
    }
}

async fn break_kafka(kafka: &OwnKafka, fault: Fault, random: &mut Random) {
    if fault == Fault::KafkaKill {
        kafka.kill().await;
        tokio::time::sleep(random.time_ms(0, 3000)).await;
        kafka.start().await;
    } else {
        kafka.freeze().await;
        tokio::time::sleep(random.time_ms(1000, 8000)).await;
        kafka.thaw().await;
    }
    // Between two outages Kafka is there for a while.
    tokio::time::sleep(Duration::from_secs(5)).await;
}
