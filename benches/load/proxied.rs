//! Requests through the proxy beside the same requests to the backend itself, and through nginx, in turns.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde_json::json;

use crate::asking::{Asked, Askers, Question};
use crate::backend::{ANSWER, Backend};
use crate::gateway::{Gateway, Setup};
use crate::median::{Figures, per_million};
use crate::nginx::Nginx;
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
    /// The program nginx, to be measured beside
    #[arg(long)]
    proxy_nginx: Option<PathBuf>,
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

/// A way to the backend, and what the rounds have shown of it.
#[derive(Debug)]
struct Way {
    name: &'static str,
    address: SocketAddr,
    /// The processes between client and backend.
    between: Vec<u32>,
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
        let nginx = options.proxy_nginx.as_deref();
        let nginx = nginx.map(|program| Nginx::start(program, setup.dir(), backend.address()));
        let nginx = nginx.transpose()?;
        let duration = Duration::from_secs(options.proxy_seconds);
        for connections in &options.proxy_connections {
            let mut ways = vec![
                Way::new("direct", backend.address(), Vec::new()),
                Way::new("through the proxy", gateway.public(), vec![gateway.id()]),
            ];
            if let Some(nginx) = &nginx {
                let workers = nginx.workers()?;
                ways.push(Way::new("through nginx", nginx.address(), workers));
            }
            for _ in 0..rounds {
                round(*connections, duration, &mut ways).await?;
            }
            for way in ways {
                sheet.add(way.cells(*connections), way.faults);
            }
        }
        Ok(sheet)
    })
    .await
}

/// Goes each way; the first is the one without anybody between.
async fn round(connections: u32, duration: Duration, ways: &mut [Way]) -> anyhow::Result<()> {
    let question = Question {
        method: Method::GET,
        path: "/bench",
        body: |_| Bytes::new(),
        is_answer: |_, body| body == ANSWER,
    };
    let mut direct = None;
    for way in ways {
        let mut askers = Askers::open(way.address, connections).await?;
        way.faults += askers.ask(&question, WARM_UP).await.faults;
        let cpu = cpu(&way.between)?;
        let mut asked = askers.ask(&question, duration).await;
        let cpu = self::cpu(&way.between)? - cpu;
        way.add(&mut asked);
        let (rate, p99) = (asked.per_second(), asked.latency(0.99).as_secs_f64());
        match direct {
            None => direct = Some((rate, p99)),
            Some((direct_rate, direct_p99)) => {
                way.rate_of_direct.add(rate / direct_rate);
                way.p99_of_direct.add(p99 / direct_p99);
                way.cpu.add(per_million(cpu, asked.count()));
            }
        }
    }
    Ok(())
}

/// Returns the processor time of some processes, in seconds.
fn cpu(processes: &[u32]) -> anyhow::Result<f64> {
    let times = processes.iter().map(|id| Ok(usage::cpu(*id)?.all));
    times.sum()
}

impl Way {
    fn new(name: &'static str, address: SocketAddr, between: Vec<u32>) -> Self {
        Self {
            name,
            address,
            between,
            rate: Figures::default(),
            rate_of_direct: Figures::default(),
            p50: Figures::default(),
            p99: Figures::default(),
            p99_of_direct: Figures::default(),
            cpu: Figures::default(),
            faults: Faults::default(),
        }
    }

    fn add(&mut self, asked: &mut Asked) {
        self.rate.add(asked.per_second());
        self.p50.add_milliseconds(asked.latency(0.5));
        self.p99.add_milliseconds(asked.latency(0.99));
        self.faults += asked.faults;
    }

    fn cells(&self, connections: u32) -> Vec<String> {
        vec![
            format!("{connections} connections, {}", self.name),
            self.rate.whole(),
            self.rate_of_direct.fine(),
            self.p50.fine(),
            self.p99.fine(),
            self.p99_of_direct.fine(),
            self.cpu.fine(),
        ]
    }
}
