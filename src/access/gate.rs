//! The door: everything that a client asks for comes by here.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderMap;

use super::asker::{Asker, kept_of};
use super::check::UrlCheck;
use super::config::{AccessConfig, CheckKind};
use super::credentials::{self, Presented};
use super::decide::Check;
use super::rates::Rates;
use super::refusal;
use super::rules::Rules;
use super::tickets::Tickets;
use super::visitor::Visitor;
use crate::dispatch::{Incarnation, TokenKey};
use crate::event::CloudEvent;
use crate::fetch::Fetch;
use crate::http::{Cors, HttpError, Query, Request};
use crate::identity::Verifier;
use crate::session::{Blacklist, Guest};
use crate::shared::StateLog;
use crate::subscription::{
    Extractors, Forced, SubscriptionError, SubscriptionLimits, Subscriptions,
};

/// What the door is made of.
#[derive(Debug)]
pub struct AccessParts {
    /// Its settings.
    pub config: AccessConfig,
    /// The rules, where there are some; see [`AccessConfig::load_rules`].
    pub rules: Option<Arc<Rules>>,
    /// Verifies tokens.
    pub verifier: Verifier,
    /// Knows the sessions that are refused.
    pub blacklist: Blacklist,
    /// Which fields claims force.
    pub extractors: Arc<Extractors>,
    /// How much a client may subscribe to.
    pub limits: SubscriptionLimits,
    /// Whose pages may use a cookie.
    pub cors: Cors,
    /// Asks other servers.
    pub fetch: Fetch,
    /// Keeps which tickets were redeemed.
    pub state: Arc<StateLog>,
    /// Seals tickets, once it is known.
    pub token_key: Arc<OnceLock<TokenKey>>,
    /// How many tickets a session may get.
    pub ticket_rates: Rates,
    /// This life of the instance.
    pub own: Incarnation,
}

/// Decides who may do what. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    verifier: Verifier,
    blacklist: Blacklist,
    extractors: Arc<Extractors>,
    limits: SubscriptionLimits,
    cors: Cors,
    cookie: Option<String>,
    tickets: Tickets,
    ticket_rates: Rates,
    subscription_check: Check,
    submission_check: Check,
}

impl Access {
    /// Puts the door together.
    #[must_use]
    pub fn new(parts: AccessParts) -> Self {
        let AccessParts { config, rules, .. } = parts;
        let check = |kind: &CheckKind, cache_ttl| match kind {
            CheckKind::NoCheck => Check::Nobody,
            CheckKind::JwtValidation => Check::Token,
            CheckKind::Rules => Check::Rules(rules.clone().unwrap_or_default()),
            CheckKind::Url(uri) => {
                let (uri, fetch) = (uri.clone(), parts.fetch.clone());
                let check = UrlCheck::new(uri, fetch, config.check_timeout, cache_ttl);
                Check::Url(Box::new(check))
            }
        };
        Self(Arc::new(Inner {
            subscription_check: check(&config.subscription_check, config.check_cache_ttl),
            // No two submissions are the same.
            submission_check: check(&config.submission_check, std::time::Duration::ZERO),
            verifier: parts.verifier,
            blacklist: parts.blacklist,
            extractors: parts.extractors,
            limits: parts.limits,
            cors: parts.cors,
            cookie: config.jwt_cookie,
            ticket_rates: parts.ticket_rates,
            tickets: Tickets::new(parts.token_key, parts.state, config.ticket_ttl, parts.own),
        }))
    }

    /// Finds out who sends a request. Without a token it is somebody unknown, which is no error.
    ///
    /// # Errors
    /// 400 for tokens in two places, 401 for a token or a ticket that is of no use, or of a session that
    /// was ended; 503 while keys or Kafka are away.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a ticket redeemed.
    pub async fn identify(&self, request: &Request, query: &Query) -> Result<Visitor, HttpError> {
        let Inner { cookie, cors, .. } = &*self.0;
        match credentials::find(&request.headers, query, cookie.as_deref(), cors)? {
            Presented::Nothing => Ok(Visitor::default()),
            Presented::Tokens(tokens) => self.verify(tokens).await,
            Presented::Ticket(ticket) => {
                let tokens = self.0.tickets.redeem(&ticket).await?;
                self.verify(tokens).await
            }
        }
    }

    /// Verifies tokens.
    ///
    /// # Errors
    /// 401 when one of them is of no use, or of a session that was ended; 503 while there are no keys.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn verify(&self, tokens: Vec<String>) -> Result<Visitor, HttpError> {
        let Inner {
            verifier,
            blacklist,
            ..
        } = &*self.0;
        let mut claims = Vec::with_capacity(tokens.len());
        if verifier.is_configured() {
            for token in &tokens {
                let verified = verifier.verify(token).await;
                claims.push(Arc::new(
                    verified.map_err(|error| refusal::of_token(&error))?,
                ));
            }
        }
        let visitor = Visitor::new(claims, tokens);
        if blacklist.refuses(&visitor.sessions()) {
            return Err(refusal::session_killed());
        }
        Ok(visitor)
    }

    /// Finds out who shows these tokens, of which one that is good is enough: the first one counts.
    ///
    /// # Errors
    /// 401 without any, and where none is of use, or all are of sessions that were ended; 503 while there are no
    /// keys.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn verify_any(&self, tokens: Vec<String>) -> Result<Visitor, HttpError> {
        let mut refused = None;
        for token in tokens {
            match self.verify(vec![token]).await {
                Ok(visitor) if visitor.is_known() => return Ok(visitor),
                Ok(_) => {}
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or_else(refusal::token_needed))
    }

    /// Refuses a WebSocket that offers only its token as sub-protocol.
    ///
    /// # Errors
    /// 400 that says what to offer besides.
    pub fn check_sub_protocols(&self, headers: &HeaderMap) -> Result<(), HttpError> {
        credentials::check_sub_protocols(headers)
    }

    /// Returns the guest that a visitor becomes with a connection; `None` for somebody unknown.
    #[must_use]
    pub fn guest(&self, visitor: &Visitor) -> Option<Arc<Guest>> {
        let forced = self.0.extractors.forced_by(&visitor.claims());
        let credentials = match &self.0.subscription_check {
            Check::Nobody | Check::Token => None,
            Check::Rules(_) => serde_json::to_string(&visitor.claims()).ok(),
            Check::Url(_) => serde_json::to_string(visitor.tokens()).ok(),
        };
        visitor.guest(forced, credentials.map(String::into_boxed_str))
    }

    /// Returns whether one of these sessions was ended.
    #[must_use]
    pub fn refuses(&self, sessions: &[Arc<str>]) -> bool {
        self.0.blacklist.refuses(sessions)
    }

    /// Decides about subscriptions that a request asks for; `body` is that of RIG's request for them,
    /// `{"subscriptions": […]}`, see [`as_request`](super::as_request). Returns what is left of them: rules about sources
    /// become filters.
    ///
    /// # Errors
    /// 401 where a token is needed, 403 when they are denied.
    ///
    /// # Cancel safety
    /// Dropping the future gives up a question to a server, and changes nothing.
    pub async fn check_subscriptions(
        &self,
        visitor: &Visitor,
        wanted: Subscriptions,
        body: Bytes,
    ) -> Result<Subscriptions, HttpError> {
        let check = &self.0.subscription_check;
        check.narrow(Asker::from(visitor), wanted, body).await
    }

    /// Decides about subscriptions that a client asks for on its connection.
    ///
    /// # Errors
    /// As [`check_subscriptions`](Self::check_subscriptions).
    ///
    /// # Cancel safety
    /// As [`check_subscriptions`](Self::check_subscriptions).
    pub async fn check_subscriptions_of(
        &self,
        guest: Option<&Guest>,
        wanted: Subscriptions,
        body: Bytes,
    ) -> Result<Subscriptions, HttpError> {
        let (check, kept) = (&self.0.subscription_check, kept_of(guest));
        let asker = match check {
            Check::Url(_) => Asker::with_tokens(&kept, guest.is_some()),
            _ => Asker::with_claims(&kept, guest.is_some()),
        };
        check.narrow(asker, wanted, body).await
    }

    /// Returns whether a client keeps its subscriptions with a later token: its claims force the same,
    /// and the rules, if they decide, allow as much. A server that decides is not asked again.
    #[must_use]
    pub fn leaves_subscriptions(&self, current: &Guest, later: &Guest) -> bool {
        let allows_as_much = match &self.0.subscription_check {
            Check::Rules(rules) => {
                let (before, later) = (kept_of(Some(current)), kept_of(Some(later)));
                let [before, later] = [&before, &later].map(|kept| kept.iter().collect::<Vec<_>>());
                rules.allow_as_much(&before, &later)
            }
            Check::Nobody | Check::Token | Check::Url(_) => true,
        };
        allows_as_much && current.forced == later.forced
    }

    /// Returns what a connection really wants: what its guest's claims derive, and what was asked for as
    /// far as they allow it.
    ///
    /// # Errors
    /// 403 for a type of which somebody sees only their own events, without the claim that says who it
    /// is; 400 when it becomes too much.
    pub fn narrow(
        &self,
        guest: Option<&Guest>,
        wanted: &Subscriptions,
    ) -> Result<Subscriptions, HttpError> {
        let Inner {
            extractors,
            limits,
            verifier,
            ..
        } = &*self.0;
        let forced = match guest {
            Some(guest) => guest.forced.clone(),
            None if verifier.is_configured() => extractors.forced_by(&[]),
            None => Forced::open(),
        };
        forced
            .narrow(wanted, extractors, limits)
            .map_err(|error| match error {
                SubscriptionError::Personal { .. } => {
                    refusal::denied("subscription_denied", error.to_string())
                }
                error => HttpError::bad_request(
                    "invalid_subscriptions",
                    format!("could not parse subscriptions: {error}"),
                ),
            })
    }

    /// Decides about an event that a client submits; the request is what a server is asked with.
    ///
    /// # Errors
    /// 401 where a token is needed, 403 when it is denied.
    ///
    /// # Cancel safety
    /// As [`check_subscriptions`](Self::check_subscriptions).
    pub async fn check_submission(
        &self,
        visitor: &Visitor,
        events: &[CloudEvent],
        asked: (&HeaderMap, &Bytes),
    ) -> Result<(), HttpError> {
        let check = &self.0.submission_check;
        check.admit(visitor, events, asked).await
    }

    /// Makes a ticket for whoever shows a token; also returns for how many seconds it can be redeemed.
    ///
    /// # Errors
    /// As [`identify`](Self::identify); 401 also for somebody unknown, and for a ticket, which would then
    /// be good for as long as its token; 503 before the cluster's key is known.
    ///
    /// # Cancel safety
    /// Dropping the future issues no ticket.
    pub async fn ticket(
        &self,
        request: &Request,
        query: &Query,
    ) -> Result<(String, u64), HttpError> {
        let Inner { cookie, cors, .. } = &*self.0;
        match credentials::find(&request.headers, query, cookie.as_deref(), cors)? {
            Presented::Nothing | Presented::Ticket(_) => Err(refusal::token_needed()),
            Presented::Tokens(tokens) => {
                let visitor = self.verify(tokens).await?;
                // Each that is redeemed is a record in Kafka.
                let (sessions, address) = (visitor.sessions(), request.client_address());
                self.0.ticket_rates.admit(&sessions, address, 1)?;
                let ticket = self.0.tickets.issue(visitor.tokens().to_vec())?;
                Ok((ticket, self.0.tickets.ttl().as_secs()))
            }
        }
    }

    /// Forgets tickets that are over; to be called now and then.
    pub async fn remove_ended(&self) {
        self.0.tickets.remove_ended().await;
    }
}
