//! Threads whose calls to Kafka block, and their end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How long stopping may take; Kafka may be away.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Says whether the threads of one [`Threads`] are to stop. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Returns whether the thread is to stop.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Has one of the threads wait for so long, or until it is to stop. Returns whether it is.
    #[must_use]
    pub fn within(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        while !self.is_told() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::park_timeout(left);
        }
        true
    }
}

/// Threads that end together. Dropping it tells them to stop, and does not wait for them.
#[derive(Debug)]
pub struct Threads {
    /// What one of them is, for the log.
    what: &'static str,
    stop: Stop,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts with no thread; the log calls one of them `what`.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self {
            what,
            stop: Stop::default(),
            handles: Vec::new(),
        }
    }

    /// Returns what tells the threads to stop.
    #[must_use]
    pub fn told_by(&self) -> Stop {
        self.stop.clone()
    }

    /// Starts a thread, which has to end soon once [`Stop::is_told`].
    ///
    /// # Errors
    /// What the operating system says when it gives us no thread.
    pub fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let handle = Builder::new().name(name.to_owned()).spawn(run)?;
        self.handles.push(handle);
        Ok(())
    }

    /// Tells the threads to stop and waits for their ends, at most 5 seconds. Blocks.
    pub fn stop(mut self) {
        self.tell();
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline && !self.handles.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(5));
        }
        for handle in self.handles.drain(..).filter(JoinHandle::is_finished) {
            if handle.join().is_err() {
                tracing::error!("{} panicked", self.what);
            }
        }
    }

    fn tell(&self) {
        self.stop.0.store(true, Ordering::Relaxed);
        for handle in &self.handles {
            handle.thread().unpark();
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_waits_is_woken_to_stop() {
        for is_dropped in [false, true] {
            let mut threads = Threads::new("a thread of the test");
            let stop = threads.told_by();
            let (heard, hears) = mpsc::channel();
            threads
                .spawn("waits", move || {
                    for pause in [Duration::from_millis(1), Duration::from_hours(1)] {
                        heard.send(stop.within(pause)).unwrap();
                    }
                })
                .unwrap();
            assert_eq!(hears.recv_timeout(STOP_LIMIT), Ok(false));
            if is_dropped {
                drop(threads);
            } else {
                threads.stop();
            }
            assert_eq!(hears.recv_timeout(STOP_LIMIT), Ok(true));
        }
    }
}
