//! Which log lines are written, and in which form.

use std::io;
use std::str::FromStr;
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt as _, Targets, dynamic_filter_fn};
use tracing_subscriber::layer::{Filter, Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::limited::Limited;
use super::log_queue::{LogGuard, start};

/// How often one module of a library is heard.
const LIBRARY_INTERVAL: Duration = Duration::from_secs(10);

/// Why a log setting is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Not a level.
    #[error("expected error, warn, info, debug, trace or off")]
    Level,
    /// Not a form.
    #[error("expected text or json")]
    Format,
}

/// The least important lines that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevel(LevelFilter);

impl FromStr for LogLevel {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text.trim().to_ascii_lowercase().as_str() {
            "off" | "none" => LevelFilter::OFF,
            "error" => LevelFilter::ERROR,
            "warn" | "warning" => LevelFilter::WARN,
            "info" => LevelFilter::INFO,
            "debug" => LevelFilter::DEBUG,
            "trace" => LevelFilter::TRACE,
            _ => return Err(LogError::Level),
        }))
    }
}

impl std::fmt::Display for LogLevel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl LogLevel {
    /// Libraries below us are heard from `warn` on, so that `debug` shows what this program does.
    fn targets(self) -> Targets {
        Targets::new()
            .with_default(self.0.min(LevelFilter::WARN))
            .with_targets(["sluicegate", "librdkafka", "rdkafka"].map(|target| (target, self.0)))
            // The embedded broker reports what its clients, which are ours, report again.
            .with_targets(
                ["tansu_broker", "tansu_storage"].map(|target| (target, LevelFilter::OFF)),
            )
    }
}

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; RIG's `erlang` means this, too.
    Text,
    /// One JSON object per line, with `timestamp`, `level`, `target`, `message` and the values of the event on
    /// one level; RIG's `gcl` means this, too.
    Json,
}

impl FromStr for LogFormat {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "text" | "erlang" => Ok(Self::Text),
            "json" | "gcl" => Ok(Self::Json),
            _ => Err(LogError::Format),
        }
    }
}

/// Writes from now on all events of `tracing` to standard output.
///
/// To be called once, and the guard to be kept until the process ends. When somebody else has already claimed
/// `tracing`'s events, as test harnesses do, they keep them.
///
/// # Panics
/// When the process cannot start a thread.
pub fn init_logs(level: LogLevel, format: LogFormat) -> LogGuard {
    let (queue, guard) = start(io::stdout(), format);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(queue);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    };
    let filter = level.targets().and(sparing(level));
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    if let Err(error) = subscriber.try_init() {
        tracing::debug!(%error, "log lines already go somewhere else");
    }
    guard
}

/// Lets one line of each library module through in ten seconds. What fails in a library fails again and
/// again, as the writes of an embedded broker whose disk is full do.
///
/// Says what it cannot let through: without that, libraries build each line they might log before
/// somebody drops it, which was a twelfth of what a record costs.
fn sparing<S>(level: LogLevel) -> impl Filter<S> {
    let limited = Limited::new(LIBRARY_INTERVAL);
    dynamic_filter_fn(move |metadata, _| {
        let target = metadata.target();
        target.starts_with(env!("CARGO_PKG_NAME"))
            || limited.admit(target, Instant::now()).is_some()
    })
    .with_max_level_hint(level.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_know_the_words_of_rig() {
        for (text, expected) in [
            ("warn", Some(LevelFilter::WARN)),
            ("WARNING", Some(LevelFilter::WARN)),
            ("info", Some(LevelFilter::INFO)),
            ("debug", Some(LevelFilter::DEBUG)),
            ("off", Some(LevelFilter::OFF)),
            ("loud", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), expected.map(LogLevel), "{text}");
        }
        for (text, expected) in [
            ("text", Some(LogFormat::Text)),
            ("erlang", Some(LogFormat::Text)),
            ("JSON", Some(LogFormat::Json)),
            ("gcl", Some(LogFormat::Json)),
            ("xml", None),
        ] {
            assert_eq!(text.parse::<LogFormat>().ok(), expected, "{text}");
        }
    }

    #[test]
    fn lines_that_nobody_sees_are_not_built() {
        for level in [LevelFilter::WARN, LevelFilter::DEBUG] {
            let level = LogLevel(level);
            let filter = level
                .targets()
                .and(sparing::<tracing_subscriber::Registry>(level));
            assert_eq!(filter.max_level_hint(), Some(level.0));
        }
    }

    #[test]
    fn libraries_are_heard_from_warnings_on() {
        let targets = LogLevel(LevelFilter::DEBUG).targets();
        assert!(targets.would_enable("sluicegate::http", &tracing::Level::DEBUG));
        assert!(!targets.would_enable("hyper", &tracing::Level::INFO));
        assert!(targets.would_enable("hyper", &tracing::Level::WARN));
        assert!(!targets.would_enable("tansu_broker::broker", &tracing::Level::ERROR));
        let targets = LogLevel(LevelFilter::ERROR).targets();
        assert!(!targets.would_enable("hyper", &tracing::Level::WARN));
    }
}
