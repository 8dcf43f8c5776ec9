//! The way of log lines to standard output.
//!
//! ```text
//! tracing ─▶ one line, control characters escaped ─▶ bounded queue ─▶ thread ─▶ standard output
//! ```
//!
//! # Invariants
//! - One event is one line, whatever its values contain: nobody can forge a line.
//! - Nobody waits for standard output: a reader that stalls or goes away costs lines, not service.
//!
//! # Backpressure
//! The queue holds [`QUEUE_LINES`] lines; what does not fit is dropped and counted, and the count is logged.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use super::logs::LogFormat;

/// The number of lines that may wait for standard output.
const QUEUE_LINES: usize = 4_096;

/// How long the end of the process may be delayed by lines that were not written yet.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Waits, when it is dropped, until the lines so far are written, but no longer than a second.
#[derive(Debug)]
#[must_use = "the last lines are lost unless the guard is kept until the end"]
pub struct LogGuard {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl LogGuard {
    /// Returns the number of lines that were dropped because standard output was stalled or closed.
    #[must_use]
    pub fn lost_lines(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH_PATIENCE;
        let (done, is_done) = sync_channel(1);
        let mut message = Message::Flush(done);
        while Instant::now() < deadline {
            match self.lines.try_send(message) {
                Ok(()) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    // An error means that the time is over or the thread is: there is nothing left to do.
                    is_done.recv_timeout(left).unwrap_or_default();
                    return;
                }
                Err(TrySendError::Full(back)) => message = back,
                Err(TrySendError::Disconnected(_)) => return,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Takes finished lines from `tracing-subscriber`.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
    format: LogFormat,
}

/// Starts the thread that writes to `output`; it ends when all queues and guards are gone.
pub(super) fn start(output: impl Write + Send + 'static, format: LogFormat) -> (Queue, LogGuard) {
    let (lines, received) = sync_channel(QUEUE_LINES);
    let lost = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&lost);
    std::thread::Builder::new()
        .name("logs".to_owned())
        .spawn(move || write_lines(output, &received, &counter))
        .expect("a process that cannot start a thread at its start cannot run");
    let queue = Queue {
        lines: lines.clone(),
        lost: Arc::clone(&lost),
        format,
    };
    (queue, LogGuard { lines, lost })
}

fn write_lines(mut output: impl Write, lines: &Receiver<Message>, lost: &AtomicU64) {
    let mut reported = 0;
    let count_failure = |result: io::Result<()>| {
        if result.is_err() {
            lost.fetch_add(1, Ordering::Relaxed);
        }
        result.is_ok()
    };
    loop {
        let message = match lines.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                // A failure shows again at the next line, which then counts as lost.
                drop(output.flush());
                match lines.recv() {
                    Ok(message) => message,
                    Err(_) => return,
                }
            }
        };
        match message {
            Message::Line(line) => {
                let lost_lines = lost.load(Ordering::Relaxed);
                if count_failure(output.write_all(&line)) && lost_lines > reported {
                    tracing::warn!(lost_lines, "standard output did not take all log lines");
                    reported = lost_lines;
                }
            }
            Message::Flush(done) => {
                drop(output.flush());
                // Nobody waits any more when it fails.
                done.try_send(()).unwrap_or_default();
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(self)
    }
}

/// Queues what is written at once as one line; `tracing-subscriber` writes an event at once.
pub(super) struct LineWriter<'a>(&'a Queue);

impl Write for LineWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = escape(bytes, self.0.format);
        if self.0.lines.try_send(Message::Line(line)).is_err() {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
        // Never an error: it would be printed to standard error, which may be closed.
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Replaces control characters and line separators, but for the end of the line.
fn escape(bytes: &[u8], format: LogFormat) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\n');
    let mut line = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        let is_harmless = !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}');
        match format {
            _ if is_harmless => line.push(character),
            LogFormat::Text => line.extend(character.escape_default()),
            LogFormat::Json => line.push_str(&format!("\\u{:04x}", u32::from(character))),
        }
    }
    line.push('\n');
    line.into_bytes()
}

#[cfg(test)]
mod tests {
    use parking_lot::{Condvar, Mutex};

    use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

    use super::*;

    /// An output that tests can look into, stall and close.
    #[derive(Clone, Default)]
    struct Output(Arc<(Mutex<Inner>, Condvar)>);

    #[derive(Default)]
    struct Inner {
        written: Vec<u8>,
        is_stalled: bool,
        is_closed: bool,
    }

    impl Output {
        fn set(&self, is_stalled: bool, is_closed: bool) {
            let mut inner = self.0.0.lock();
            (inner.is_stalled, inner.is_closed) = (is_stalled, is_closed);
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.0.lock().written.clone()).unwrap()
        }
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut inner = self.0.0.lock();
            self.0.1.wait_while(&mut inner, |inner| inner.is_stalled);
            if inner.is_closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            inner.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, log: impl FnOnce()) -> String {
        let output = Output::default();
        let (queue, guard) = start(output.clone(), format);
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(queue);
        let lines = match format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), log);
        drop(guard);
        output.text()
    }

    const HOSTILE: &str = "a\r\n2026-01-01 ERROR forged \u{1b}[31m\u{9b}\u{2028}\u{0}\u{7f}";

    #[test]
    fn values_cannot_forge_lines() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, || {
                tracing::info!(value = HOSTILE, display = %HOSTILE, "{HOSTILE}");
            });
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(
                text.trim_end_matches('\n').chars().all(|c| !c.is_control()),
                "{text}"
            );
            assert!(!text.contains('\u{2028}'), "{text}");
        }
    }

    #[test]
    fn json_lines_keep_their_values_under_stable_names() {
        let text = logged(LogFormat::Json, || {
            tracing::warn!(value = HOSTILE, topic = "t", offset = 5, "read");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["value"], HOSTILE);
        assert_eq!(line["message"], "read");
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["topic"], "t");
        assert_eq!(line["offset"], 5);
        assert!(
            line["timestamp"].is_string() && line["target"].is_string(),
            "{line}"
        );
    }

    #[test]
    fn a_stalled_output_costs_lines_and_no_time() {
        let output = Output::default();
        output.set(true, false);
        let (queue, guard) = start(output.clone(), LogFormat::Text);
        let started = Instant::now();
        for _ in 0..QUEUE_LINES * 2 {
            queue.make_writer().write_all(b"line\n").unwrap();
        }
        assert!(started.elapsed() < Duration::from_secs(5));
        let lost = guard.lost_lines();
        assert!(lost >= QUEUE_LINES as u64 - 1, "{lost}");
        output.set(false, false);
        drop(guard);
        assert_eq!(
            output.text().lines().count() as u64 + lost,
            QUEUE_LINES as u64 * 2
        );
    }

    #[test]
    fn a_closed_output_is_counted_and_does_not_panic() {
        let output = Output::default();
        output.set(false, true);
        let (queue, guard) = start(output, LogFormat::Text);
        for _ in 0..10 {
            queue.make_writer().write_all(b"line\n").unwrap();
        }
        let started = Instant::now();
        while guard.lost_lines() < 10 {
            assert!(started.elapsed() < Duration::from_secs(10));
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_guard_does_not_wait_for_ever() {
        let output = Output::default();
        output.set(true, false);
        let (queue, guard) = start(output.clone(), LogFormat::Text);
        queue.make_writer().write_all(b"line\n").unwrap();
        let started = Instant::now();
        drop(guard);
        assert!(started.elapsed() < FLUSH_PATIENCE * 3);
        output.set(false, false);
    }
}
