//! What is known of one question to the registry.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::registry::RegistryError;
use super::schema::AvroSchema;

/// How long a failure is the answer, before the question is asked again.
const FAILURE_LIFE: Duration = Duration::from_secs(5);

/// The answer to one question, which is asked once at a time.
#[derive(Debug, Default)]
pub(super) struct Slot {
    known: Mutex<Known>,
    flight: tokio::sync::Mutex<()>,
}

/// What was learned last; a schema stays until there is a newer one.
#[derive(Debug, Default)]
struct Known {
    schema: Option<Arc<AvroSchema>>,
    failure: Option<RegistryError>,
    /// When the question is to be asked again; `None` for what never changes.
    until: Option<Instant>,
}

impl Slot {
    /// Returns the schema; asks for it with `load` where it is not known or older than `life`.
    ///
    /// While it is asked for again, and when that fails, the old one is good enough.
    ///
    /// # Errors
    /// What `load` says, or said a short time ago, if there is no schema.
    ///
    /// # Cancel safety
    /// Dropping the future gives the question up; the next one asks again.
    pub(super) async fn get(
        &self,
        life: Option<Duration>,
        load: impl Future<Output = Result<Arc<AvroSchema>, RegistryError>>,
    ) -> Result<Arc<AvroSchema>, RegistryError> {
        if let Some(answer) = self.known.lock().answer(Instant::now()) {
            return answer;
        }
        let old = self.known.lock().schema.clone();
        let _flight = match (self.flight.try_lock(), old) {
            (Ok(flight), _) => flight,
            (Err(_), Some(old)) => return Ok(old),
            (Err(_), None) => self.flight.lock().await,
        };
        if let Some(answer) = self.known.lock().answer(Instant::now()) {
            return answer;
        }
        let loaded = load.await;
        self.known.lock().learn(loaded, life, Instant::now())
    }

    /// Keeps a schema that never changes.
    pub(super) fn put(&self, schema: Arc<AvroSchema>) {
        *self.known.lock() = Known {
            schema: Some(schema),
            failure: None,
            until: None,
        };
    }
}

impl Known {
    /// Returns what is to be said without asking.
    fn answer(&self, now: Instant) -> Option<Result<Arc<AvroSchema>, RegistryError>> {
        if self.until.is_some_and(|until| now >= until) {
            return None;
        }
        match (&self.schema, &self.failure) {
            (Some(schema), _) => Some(Ok(Arc::clone(schema))),
            (None, Some(failure)) => Some(Err(failure.clone())),
            (None, None) => None,
        }
    }

    fn learn(
        &mut self,
        loaded: Result<Arc<AvroSchema>, RegistryError>,
        life: Option<Duration>,
        now: Instant,
    ) -> Result<Arc<AvroSchema>, RegistryError> {
        match loaded {
            Ok(schema) => {
                self.until = life.map(|life| now + life);
                self.failure = None;
                self.schema = Some(Arc::clone(&schema));
                Ok(schema)
            }
            Err(failure) => {
                self.until = Some(now + FAILURE_LIFE);
                if let Some(old) = &self.schema {
                    tracing::warn!(error = %failure, "a schema could not be looked up again: the one that is known stays");
                    return Ok(Arc::clone(old));
                }
                self.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(id: u32) -> Arc<AvroSchema> {
        Arc::new(AvroSchema::parse(id, "\"string\"", &[]).unwrap())
    }

    const FAILURE: RegistryError = RegistryError::TooManyReferences;

    #[test]
    fn what_was_learned_is_said_until_it_is_time_to_ask_again() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let id = |answer: Option<Result<Arc<AvroSchema>, RegistryError>>| {
            answer.map(|answer| answer.map_or(0, |schema| schema.id()))
        };
        let minute = Some(Duration::from_secs(60));
        let mut known = Known::default();
        assert_eq!(id(known.answer(start)), None);
        assert!(known.learn(Err(FAILURE), minute, start).is_err());
        assert_eq!(id(known.answer(at(4))), Some(0));
        assert_eq!(id(known.answer(at(5))), None);
        assert!(known.learn(Ok(schema(1)), minute, at(5)).is_ok());
        assert_eq!(id(known.answer(at(64))), Some(1));
        assert_eq!(id(known.answer(at(65))), None);
        assert!(known.learn(Err(FAILURE), minute, at(65)).is_ok());
        assert_eq!(id(known.answer(at(69))), Some(1));
        assert_eq!(id(known.answer(at(70))), None);
        assert!(known.learn(Ok(schema(2)), None, at(70)).is_ok());
        assert_eq!(id(known.answer(at(70_000_000))), Some(2));
    }

    #[tokio::test]
    async fn whoever_asks_meanwhile_waits_for_the_same_answer() {
        let slot = Slot::default();
        let (give, given) = tokio::sync::oneshot::channel();
        let first = slot.get(None, async { Ok(given.await.unwrap()) });
        let second = slot.get(None, async { panic!("asked twice") });
        let give = async { give.send(schema(3)).unwrap() };
        let (first, second, ()) = tokio::join!(first, second, give);
        assert_eq!((first.unwrap().id(), second.unwrap().id()), (3, 3));
    }

    #[tokio::test]
    async fn a_question_that_was_given_up_is_asked_again() {
        let slot = Slot::default();
        {
            let first = slot.get(None, std::future::pending());
            tokio::select! {
                biased;
                _ = first => panic!("no answer is there"),
                () = async {} => {}
            }
        }
        let second = slot.get(None, async { Ok(schema(4)) }).await;
        assert_eq!(second.unwrap().id(), 4);
    }
}
