//! A limit for each wait, however many pieces something comes in.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Limits how long somebody waits for the next piece of something that comes bit by bit. While nobody waits it does not
/// run, and before the first wait it costs nothing.
#[derive(Debug)]
pub struct IdleTimer {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl IdleTimer {
    /// Begins with nobody waiting.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self {
            limit,
            sleep: None,
            is_waiting: false,
        }
    }

    /// Waits for the end of the limit, which counts from the first poll since [`stop`](Self::stop).
    ///
    /// Has to be called within a Tokio runtime.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = Instant::now() + self.limit;
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                if !self.is_waiting {
                    sleep.as_mut().reset(until);
                }
                sleep
            }
            None => self.sleep.insert(Box::pin(tokio::time::sleep_until(until))),
        };
        self.is_waiting = true;
        sleep.as_mut().poll(cx)
    }

    /// Says that the wait is over: a piece has come.
    pub const fn stop(&mut self) {
        self.is_waiting = false;
    }
}
