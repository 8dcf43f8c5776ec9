//! Who decides what clients may do: nobody, a token, the rules, or a server.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::asker::Asker;
use super::check::{Question, UrlCheck};
use super::refusal;
use super::rules::Rules;
use super::visitor::Visitor;
use crate::event::CloudEvent;
use crate::http::HttpError;
use crate::subscription::Subscriptions;

/// Who decides, ready to be asked.
#[derive(Debug)]
pub(super) enum Check {
    Nobody,
    Token,
    Rules(Arc<Rules>),
    Url(Box<UrlCheck>),
}

impl Check {
    /// Decides about subscriptions, and returns what is left of them.
    ///
    /// # Errors
    /// 401 where a token is needed, 403 when they are denied.
    pub(super) async fn narrow(
        &self,
        asker: Asker<'_>,
        wanted: Subscriptions,
        body: Bytes,
    ) -> Result<Subscriptions, HttpError> {
        let denied = || refusal::denied("subscription_denied", "Subscription denied.");
        match self {
            Self::Nobody => Ok(wanted),
            Self::Token if asker.is_known => Ok(wanted),
            Self::Token => Err(refusal::token_needed()),
            Self::Rules(rules) => {
                let narrowed = rules.narrow_subscriptions(&asker.claims, &wanted);
                narrowed.map_err(|_| denied())
            }
            Self::Url(check) => {
                let question = Question::json(body, asker.authorization);
                if check.allows(question).await {
                    Ok(wanted)
                } else {
                    Err(denied())
                }
            }
        }
    }

    /// Decides about events that a client submits; the headers and the body of the request are what a server is asked
    /// with.
    ///
    /// # Errors
    /// 401 where a token is needed, 403 when they are denied.
    pub(super) async fn admit(
        &self,
        visitor: &Visitor,
        events: &[CloudEvent],
        (headers, body): (&HeaderMap, &Bytes),
    ) -> Result<(), HttpError> {
        let denied = || Err(refusal::denied("submission_denied", "Submission denied."));
        match self {
            Self::Nobody => Ok(()),
            Self::Token if visitor.is_known() => Ok(()),
            Self::Token => Err(refusal::token_needed()),
            Self::Rules(rules) => {
                let claims = visitor.claims();
                let admits = |event: &CloudEvent| {
                    rules.admits_submission(&claims, event.event_type(), event.source())
                };
                if events.iter().all(admits) {
                    Ok(())
                } else {
                    denied()
                }
            }
            Self::Url(check) => {
                let of_event = headers.iter().filter(|(name, _)| {
                    *name == http::header::CONTENT_TYPE || name.as_str().starts_with("ce-")
                });
                let question = Question {
                    body: body.clone(),
                    headers: of_event
                        .map(|(name, value)| (name.clone(), value.clone()))
                        .collect(),
                    authorization: visitor.authorization(),
                };
                if check.allows(question).await {
                    Ok(())
                } else {
                    denied()
                }
            }
        }
    }
}
