//! What lasts longer than a request, tunnels and answers that stream: where it is counted, and when it has to end.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::access::{Full, Place, Places};
use crate::dispatch::DEPARTURES;
use crate::proxy::call::Call;
use crate::session::Stay;
use crate::telemetry::{Tasks, spread};

/// Knows how many may last, and for how long.
#[derive(Debug)]
pub(in crate::proxy) struct Lasting {
    places: Places,
    tasks: Tasks,
    grace: Duration,
    /// How much there was that ends with the process.
    begun: AtomicU64,
}

impl Lasting {
    /// Counts tunnels in `places`, runs them on `tasks`, and spreads their ends over `grace` once these are told to
    /// stop.
    pub(in crate::proxy) const fn new(places: Places, tasks: Tasks, grace: Duration) -> Self {
        Self {
            places,
            tasks,
            grace,
            begun: AtomicU64::new(0),
        }
    }

    pub(super) const fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Takes a place among the connections for what a call asks for.
    ///
    /// # Errors
    /// [`Full`] over one of the limits of connections.
    pub(super) fn place(&self, call: &Call) -> Result<Place, Full> {
        let address = call.request.client_address();
        self.places
            .take(address, &call.caller.sessions, Instant::now())
    }

    /// Says when something has to end: with its stay; and, if it has no end of its own, at its moment of the grace
    /// once the process stops.
    pub(super) fn until(&self, stay: Option<Stay>, is_endless: bool) -> Until {
        let departure = is_endless.then(|| {
            let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
            Departure {
                stopping: self.tasks.stopping(),
                after: self.grace.mul_f64(DEPARTURES * spread(number)),
            }
        });
        Until {
            stay: stay.map(Arc::new),
            departure,
            waiting: None,
        }
    }
}

/// When something ends that was begun before the process stopped.
#[derive(Debug, Clone)]
struct Departure {
    stopping: CancellationToken,
    /// How long after the beginning of the stop.
    after: Duration,
}

/// Why something has to end that would go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Over {
    /// Its session was ended, or its token has expired.
    #[error("the session has ended")]
    Session,
    /// The process stops.
    #[error("the instance stops")]
    Stopping,
}

impl From<Over> for io::Error {
    fn from(over: Over) -> Self {
        Self::new(io::ErrorKind::ConnectionAborted, over)
    }
}

/// The end of something that lasts. Costs nothing before the first wait.
pub(super) struct Until {
    stay: Option<Arc<Stay>>,
    departure: Option<Departure>,
    waiting: Option<Pin<Box<dyn Future<Output = Over> + Send>>>,
}

impl Until {
    /// Never.
    pub(super) const fn open() -> Self {
        Self {
            stay: None,
            departure: None,
            waiting: None,
        }
    }

    /// Returns why it is over, if it is with the session.
    pub(super) fn over(&self) -> Option<Over> {
        let stay = self.stay.as_ref()?;
        stay.is_over().then_some(Over::Session)
    }

    /// Waits until it is over.
    ///
    /// Has to be called within a Tokio runtime.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let waiting = match &mut self.waiting {
            Some(waiting) => waiting,
            None if self.stay.is_none() && self.departure.is_none() => return Poll::Pending,
            None => {
                let ending = wait(self.stay.clone(), self.departure.clone());
                self.waiting.insert(Box::pin(ending))
            }
        };
        waiting.as_mut().poll(cx)
    }
}

async fn wait(stay: Option<Arc<Stay>>, departure: Option<Departure>) -> Over {
    let session = async {
        match stay {
            Some(stay) => stay.over().await,
            None => std::future::pending().await,
        }
    };
    let stopped = async {
        match departure {
            Some(departure) => {
                departure.stopping.cancelled().await;
                tokio::time::sleep(departure.after).await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = session => Over::Session,
        () = stopped => Over::Stopping,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_there_are_their_ends_are_spread_evenly() {
        for count in [10_u64, 1_000, 50_000] {
            let mut tenths = [0_u64; 10];
            for number in 1..=count {
                let tenth = (spread(number) * 10.0).floor();
                tenths
                    .iter_mut()
                    .zip(0_u8..)
                    .filter(|(_, at)| f64::from(*at) == tenth)
                    .for_each(|(number, _)| *number += 1);
            }
            assert_eq!(tenths.iter().sum::<u64>(), count);
            let even = count / 10;
            let most = tenths.iter().map(|tenth| tenth.abs_diff(even)).max();
            assert!(most <= Some(2), "{count}: {tenths:?}");
        }
    }
}
