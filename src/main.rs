//! The `sluicegate` program: reads the configuration, runs an [`App`], maps errors to exit codes.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sluicegate::app::App;
use sluicegate::config::{Config, ConfigError, Program};
use sluicegate::telemetry;
use tokio::signal::unix::{SignalKind, signal};

/// Connections come and go in thousands and their memory is freed by other threads than it is taken by:
/// with the allocator of glibc the same connections take twice the memory, and keep it when they are gone
/// (docs/capacity.md). librdkafka takes its memory here, too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The configuration is wrong.
const MISCONFIGURED: u8 = 2;

fn main() -> ExitCode {
    let done = match sluicegate::config::read() {
        Ok(Program::Run(config, without_effect)) => run(*config, &without_effect),
        Ok(Program::Print(text)) => print(&text),
        Ok(Program::HealthCheck(address)) => check_health(address),
        Err(ConfigError::CommandLine(error)) if !error.use_stderr() => print(&error.to_string()),
        Err(error) => return fail(MISCONFIGURED, &error.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("{error:#}")),
    }
}

/// Runs an instance until the process is told to end.
#[tokio::main]
async fn run(config: Config, without_effect: &[&str]) -> anyhow::Result<()> {
    let _logs = telemetry::init_logs(config.process.log_level, config.process.log_fmt);
    // Each client is a descriptor; the soft limit of a shell is that of a workstation.
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
    for name in without_effect {
        tracing::warn!(name, "this variable has no effect in this version");
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let app = App::start(config).await?;
    print(&app.greeting())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let stopped = app.stop();
    tokio::select! {
        () = stopped => Ok(()),
        _ = interrupt.recv() => bail!("interrupted again before the shutdown was complete"),
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        // Whoever read our output has gone; that is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("could not write to standard output"),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    let message = message.trim_end().trim_start_matches("error: ");
    let written = writeln!(std::io::stderr(), "sluicegate: {message}");
    // There is nobody left to tell when standard error is closed.
    drop(written);
    ExitCode::from(code)
}

/// Asks the internal port of a running instance, as the container's health check does.
fn check_health(address: std::net::SocketAddr) -> anyhow::Result<()> {
    use std::io::Read as _;
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let timeout = Duration::from_secs(2);
    let mut socket = std::net::TcpStream::connect_timeout(&address, timeout)
        .with_context(|| format!("nothing listens on {address}"))?;
    socket.set_read_timeout(Some(timeout))?;
    socket.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket
        .read_to_string(&mut answer)
        .context("no answer in time")?;
    let status = answer.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        bail!("unhealthy: {status}");
    }
    Ok(())
}
