//! Commands that go to Kafka and come back: a client asks, a worker answers over Kafka, the client has it.

use std::time::Duration;

use hyper::Method;
use serde_json::json;

use crate::asking::{Askers, Question};
use crate::gateway::{Gateway, Setup};
use crate::median::{Figures, per_million};
use crate::producer;
use crate::sheet::{Faults, Sheet, mebibytes};
use crate::usage::{self, Memory};
use crate::worker::{self, Worker};

/// For how long commands are sent before anything counts.
const WARM_UP: Duration = Duration::from_secs(2);

/// What is asked.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RoundTripOptions {
    /// How many clients wait for an answer at any time, each on a connection of its own
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) round_trip_waiting: Vec<u32>,
    /// For how long, each round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    round_trip_seconds: u64,
}

/// Returns the empty table.
const fn sheet() -> Sheet {
    Sheet::new(&[
        "round trips over Kafka, 200 B each way",
        "a second",
        "p50 ms",
        "p99 ms",
        "max ms",
        "server CPU-s/M",
        "of it broker",
        "RSS MiB",
    ])
}

/// What the rounds have shown.
#[derive(Debug, Default)]
struct Rounds {
    rate: Figures,
    latencies: [Figures; 3],
    cpu: Figures,
    broker: Figures,
    faults: Faults,
}

/// Measures so many rounds with each number of clients.
pub(crate) async fn measure(
    options: &RoundTripOptions,
    rounds: u32,
    kafka: Option<&str>,
) -> anyhow::Result<Sheet> {
    Setup::with(kafka, async |setup| {
        let topics = [setup.named("orders"), setup.named("answers")];
        let mut sheet = sheet();
        let measured = measure_all(options, rounds, setup, &topics, &mut sheet).await;
        if let Some(kafka) = kafka {
            producer::delete(kafka, &topics.each_ref().map(String::as_str)).await?;
        }
        measured.map(|()| sheet)
    })
    .await
}

async fn measure_all(
    options: &RoundTripOptions,
    rounds: u32,
    setup: &Setup,
    [commands, answers]: &[String; 2],
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    let apis = json!([{
        "id": "bench", "name": "bench",
        "version_data": { "default": { "endpoints": [{
            "id": "order", "method": "POST", "path_regex": "/orders",
            "target": "kafka", "topic": commands, "response_from": "kafka",
        }] } },
    }]);
    let settings = [
        ("PROXY_CONFIG_FILE", &*apis.to_string()),
        ("PROXY_KAFKA_RESPONSE_TOPICS", answers),
        ("PROXY_KAFKA_RESPONSE_TIMEOUT", "30s"),
    ];
    let gateway = Gateway::start_with(setup, &settings).await?;
    let _worker = Worker::start(gateway.brokers(), commands.clone(), answers.clone()).await?;
    for waiting in &options.round_trip_waiting {
        let memory = Memory::watch(gateway.id());
        let mut found = Rounds::default();
        for _ in 0..rounds {
            let duration = Duration::from_secs(options.round_trip_seconds);
            found.round(*waiting, duration, &gateway).await?;
        }
        sheet.add(found.cells(*waiting, memory.max_bytes()), found.faults);
    }
    Ok(())
}

impl Rounds {
    async fn round(
        &mut self,
        waiting: u32,
        duration: Duration,
        gateway: &Gateway,
    ) -> anyhow::Result<()> {
        let question = Question {
            method: Method::POST,
            path: "/orders",
            body: worker::numbered,
            is_answer: |number, body| worker::number_in(body) == Some(number),
        };
        let mut askers = Askers::open(gateway.public(), waiting).await?;
        self.faults += askers.ask(&question, WARM_UP).await.faults;
        let cpu = usage::cpu(gateway.id())?;
        let mut asked = askers.ask(&question, duration).await;
        let cpu = usage::cpu(gateway.id())? - cpu;
        self.rate.add(asked.per_second());
        for (figures, part) in self.latencies.iter_mut().zip([0.5, 0.99, 1.0]) {
            figures.add_milliseconds(asked.latency(part));
        }
        self.cpu.add(per_million(cpu.all, asked.count()));
        self.broker.add(per_million(cpu.broker, asked.count()));
        self.faults += asked.faults;
        Ok(())
    }

    fn cells(&self, waiting: u32, memory_bytes: u64) -> Vec<String> {
        let mut cells = vec![format!("{waiting} wait at once"), self.rate.whole()];
        cells.extend(self.latencies.iter().map(Figures::fine));
        cells.extend([self.cpu.whole(), self.broker.whole()]);
        cells.push(mebibytes(memory_bytes));
        cells
    }
}
