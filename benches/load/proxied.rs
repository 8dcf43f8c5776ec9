//! Requests through the proxy beside the same requests to the backend itself, in turns.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde_json::json;

use crate::asking::{Asked, Askers, Question};
use crate::backend::{ANSWER, Backend};
use crate::gateway::{Gateway, Setup};
use crate::median::{Figures, per_million};
use crate::sheet::{Faults, Sheet};
use crate::usage;

/// For how long requests are sent before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ProxyOptions {
    /// How many connections of clients there are, each with one request at a time
    #[arg(long, value_delimiter = ',', default_value = "1,16,64", value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub(crate) proxy_connections: Vec<u32>,
    /// For how long, each way and round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    proxy_seconds: u64,
}

/// Returns the empty table.
const fn sheet() -> Sheet {
    Sheet::new(&[
        "GET, 200 B",
        "requests/s",
        "of direct",
        "p50 ms",
        "p99 ms",
        "p99, times direct",
        "proxy CPU-s/M",
    ])
}

/// What the rounds have shown of one way.
#[derive(Debug, Default)]
struct Way {
    rate: Figures,
    rate_of_direct: Figures,
    p50: Figures,
    p99: Figures,
    p99_of_direct: Figures,
    cpu: Figures,
    faults: Faults,
}

/// Measures so many rounds with each number of connections.
pub(crate) async fn measure(
    options: &ProxyOptions,
    rounds: u32,
    kafka: Option<&str>,
) -> anyhow::Result<Sheet> {
    Setup::with(kafka, async |setup| {
        let mut sheet = sheet();
        let backend = Backend::start()?;
        let apis = json!([{
            "id": "bench", "name": "bench",
            "version_data": { "default": { "endpoints": [
                { "id": "get", "method": "GET", "path_regex": "/bench" },
            ] } },
            "proxy": { "target_url": "http://127.0.0.1", "port": backend.address().port() },
        }]);
        let settings = [("PROXY_CONFIG_FILE", &*apis.to_string())];
        let gateway = Gateway::start_with(setup, &settings).await?;
        for connections in &options.proxy_connections {
            let (mut direct, mut proxied) = (Way::default(), Way::default());
            for _ in 0..rounds {
                let duration = Duration::from_secs(options.proxy_seconds);
                let ways = (&mut direct, &mut proxied);
                round(*connections, duration, &backend, &gateway, ways).await?;
            }
            sheet.add(
                direct.cells(&format!("{connections} connections, direct")),
                direct.faults,
            );
            let name = format!("{connections} connections, through the proxy");
            sheet.add(proxied.cells(&name), proxied.faults);
        }
        Ok(sheet)
    })
    .await
}

/// Asks the backend, then the proxy.
async fn round(
    connections: u32,
    duration: Duration,
    backend: &Backend,
    gateway: &Gateway,
    (direct, proxied): (&mut Way, &mut Way),
) -> anyhow::Result<()> {
    let question = Question {
        method: Method::GET,
        path: "/bench",
        body: |_| Bytes::new(),
        is_answer: |_, body| body == ANSWER,
    };
    let mut askers = Askers::open(backend.address(), connections).await?;
    direct.faults += askers.ask(&question, WARM_UP).await.faults;
    let mut of_direct = askers.ask(&question, duration).await;
    drop(askers);
    let mut askers = Askers::open(gateway.public(), connections).await?;
    proxied.faults += askers.ask(&question, WARM_UP).await.faults;
    let cpu = usage::cpu(gateway.id())?;
    let mut of_proxy = askers.ask(&question, duration).await;
    let cpu = usage::cpu(gateway.id())? - cpu;
    proxied.cpu.add(per_million(cpu.all, of_proxy.count()));
    let slower = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
    let p99 = slower(of_proxy.latency(0.99), of_direct.latency(0.99));
    proxied.p99_of_direct.add(p99);
    let rate = of_proxy.per_second() / of_direct.per_second();
    proxied.rate_of_direct.add(rate);
    direct.add(&mut of_direct);
    proxied.add(&mut of_proxy);
    Ok(())
}

impl Way {
    fn add(&mut self, asked: &mut Asked) {
        self.rate.add(asked.per_second());
        self.p50.add_milliseconds(asked.latency(0.5));
        self.p99.add_milliseconds(asked.latency(0.99));
        self.faults += asked.faults;
    }

    fn cells(&self, name: &str) -> Vec<String> {
        vec![
            name.to_owned(),
            self.rate.whole(),
            self.rate_of_direct.fine(),
            self.p50.fine(),
            self.p99.fine(),
            self.p99_of_direct.fine(),
            self.cpu.fine(),
        ]
    }
}
