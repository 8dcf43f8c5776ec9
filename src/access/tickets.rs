//! Tickets: what stands for a token where none can be sent, once and for a short while.
//!
//! ```text
//! POST tickets with a bearer token ─▶ the token, sealed with the cluster's key, with a number and an end
//! ?ticket=… ─▶ opened; whoever writes its number into the shared state first has redeemed it
//! ```

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::refusal;
use crate::dispatch::{Incarnation, TokenKey};
use crate::http::HttpError;
use crate::shared::{Records, StateLog};
use crate::telemetry::{as_ms, now_ms};

/// The kind of the entries in the shared state.
const STATE_KIND: &str = "ticket";
/// What the cluster's key seals.
const PURPOSE: &str = "sluicegate ticket 1";
/// How much longer than a ticket its number is kept: clocks differ.
const KEPT_LONGER: Duration = Duration::from_secs(60);
/// The longest ticket that is looked at, in characters; tokens are not longer than 16 KiB.
const MAX_TICKET_CHARS: usize = 24 * 1024;

/// What a ticket stands for.
#[derive(Serialize, Deserialize)]
struct Ticket {
    tokens: Vec<String>,
    expires_ms: i64,
    number: String,
}

/// Who redeemed a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Redeemed {
    by: String,
}

/// Issues and redeems tickets. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Tickets {
    key: Arc<OnceLock<TokenKey>>,
    redeemed: Records<Redeemed>,
    ttl: Duration,
}

impl Tickets {
    /// Tickets that can be redeemed for `ttl`, at any instance.
    pub(super) const fn new(
        key: Arc<OnceLock<TokenKey>>,
        state: Arc<StateLog>,
        ttl: Duration,
        own: Incarnation,
    ) -> Self {
        let kept = ttl.saturating_add(KEPT_LONGER);
        Self {
            key,
            redeemed: Records::new(state, STATE_KIND, kept, own),
            ttl,
        }
    }

    /// Returns for how long a ticket can be redeemed.
    pub(super) const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Makes a ticket for these tokens.
    ///
    /// # Errors
    /// 503 before the cluster's key is known.
    pub(super) fn issue(&self, tokens: Vec<String>) -> Result<String, HttpError> {
        let ticket = Ticket {
            tokens,
            expires_ms: now_ms().saturating_add(as_ms(self.ttl)),
            number: uuid::Uuid::new_v4().simple().to_string(),
        };
        let text = serde_json::to_string(&ticket).map_err(HttpError::internal)?;
        Ok(self.key()?.seal_text(PURPOSE, &text))
    }

    /// Returns the tokens for which a ticket stands; it can never be redeemed again, by nobody.
    ///
    /// # Errors
    /// 401 for a ticket that is none, is over or was redeemed; 503 while Kafka cannot be asked.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the ticket redeemed.
    pub(super) async fn redeem(&self, text: &str) -> Result<Vec<String>, HttpError> {
        let invalid =
            || refusal::unauthorized("invalid_ticket", "The ticket is not valid any more.");
        if text.len() > MAX_TICKET_CHARS {
            return Err(invalid());
        }
        let opened = self
            .key()?
            .open_text(PURPOSE, text)
            .map_err(|_| invalid())?;
        let ticket: Ticket = serde_json::from_str(&opened).map_err(|_| invalid())?;
        if ticket.expires_ms <= now_ms() || self.redeemed.known(&ticket.number).is_some() {
            return Err(invalid());
        }
        let own = Redeemed {
            by: uuid::Uuid::new_v4().simple().to_string(),
        };
        let first = self.redeemed.agree(&ticket.number, own.clone()).await;
        let first = first.map_err(HttpError::kafka_unavailable)?;
        if first == own {
            Ok(ticket.tokens)
        } else {
            Err(invalid())
        }
    }

    /// Forgets the tickets that are over; to be called now and then.
    pub(super) async fn remove_ended(&self) {
        self.redeemed.remove_ended().await;
    }

    fn key(&self) -> Result<&TokenKey, HttpError> {
        self.key.get().ok_or_else(HttpError::state_not_read)
    }
}
