//! A route: one endpoint of an API definition, with all that a request for it needs.

use std::sync::Arc;

use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method};

use crate::event::JsonPointer;

/// One endpoint of an API definition.
#[derive(Debug)]
pub(crate) struct Route {
    /// The id of the API.
    pub(crate) api: Arc<str>,
    /// The id of the endpoint within it.
    pub(crate) endpoint: Arc<str>,
    /// The method that it is for.
    pub(crate) method: Method,
    /// The pattern of its paths as it was configured; the name of the route in metrics and logs.
    pub(crate) path_regex: Arc<str>,
    /// Whether only somebody with a token may use it; then there are `tokens`.
    pub(crate) is_secured: bool,
    /// Where requests for its API have their tokens, also those for a route that is open to all; `None` for an API
    /// without.
    pub(crate) tokens: Option<TokenPlaces>,
    /// Headers that are set before the request goes on.
    pub(crate) add_headers: Box<[(HeaderName, HeaderValue)]>,
    /// Where its requests go.
    pub(crate) target: Target,
    /// Where their answers come from.
    pub(crate) answer_from: AnswerFrom,
}

impl Route {
    /// Returns whether what the groups of its pattern match is of use to its target.
    #[must_use]
    pub(super) const fn needs_groups(&self) -> bool {
        let Target::Kafka(target) = &self.target else {
            return false;
        };
        matches!(target.key, KeyRule::Path(_))
    }

    /// Returns where a token has to be; `None` for a route that is open to all.
    #[must_use]
    pub(super) fn secured(&self) -> Option<&TokenPlaces> {
        self.tokens.as_ref().filter(|_| self.is_secured)
    }

    /// Returns the parameter of the query that is not for the target, since it has a token. Of a request for an HTTP
    /// backend that nobody verified, all goes on.
    #[must_use]
    pub(super) fn kept_parameter(&self) -> Option<&str> {
        let goes_on = !self.is_secured && matches!(self.target, Target::Http(_));
        let places = self.tokens.as_ref().filter(|_| !goes_on)?;
        places.query.as_deref()
    }

    /// Returns where the answer comes from, as metrics and definitions name it.
    #[must_use]
    pub(super) const fn response_from(&self) -> &'static str {
        match (self.answer_from, &self.target) {
            (AnswerFrom::Target, Target::Http(_)) => "http",
            (AnswerFrom::Target, Target::Kafka(_) | Target::Nats(_)) => "none",
            (AnswerFrom::Kafka, _) => "kafka",
            (AnswerFrom::Callback, _) => "http_async",
            (AnswerFrom::Nats, _) => "nats",
        }
    }

    /// Returns whether a header is the one in which requests for the API have their tokens.
    #[must_use]
    pub(super) fn has_token_in(&self, name: &HeaderName) -> bool {
        let header = self
            .tokens
            .as_ref()
            .and_then(|places| places.header.as_ref());
        header == Some(name)
    }

    /// Returns whether a header has a token, or is set before the request goes on.
    #[must_use]
    pub(super) fn decides_by(&self, name: &HeaderName) -> bool {
        self.has_token_in(name) || self.add_headers.iter().any(|(added, _)| added == name)
    }
}

/// Where the requests for an API may have their tokens: in at least one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenPlaces {
    /// In this header: after `Bearer` in `Authorization`, else alone or after `Bearer`.
    pub(crate) header: Option<HeaderName>,
    /// In this parameter of the query; see [`Route::kept_parameter`].
    pub(crate) query: Option<Box<str>>,
}

/// Where requests go.
#[derive(Debug)]
pub(crate) enum Target {
    /// To an HTTP backend.
    Http(Arc<UpstreamSpec>),
    /// To a Kafka topic, as a CloudEvent.
    Kafka(KafkaTarget),
    /// To this NATS subject, as a CloudEvent.
    Nats(Box<str>),
}

impl Target {
    /// Returns the name in metrics.
    #[must_use]
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Kafka(_) => "kafka",
            Self::Nats(_) => "nats",
        }
    }
}

/// A Kafka topic, and how requests are written to it.
#[derive(Debug)]
pub(crate) struct KafkaTarget {
    /// The topic.
    pub(crate) topic: Box<str>,
    /// The subject of the Avro schema of the data, if it is to be encoded.
    pub(crate) schema: Option<Box<str>>,
    /// What the key of the record is taken from.
    pub(crate) key: KeyRule,
}

/// Where the answer to a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerFrom {
    /// From the target itself: nothing is waited for.
    Target,
    /// From a record in a response topic, after a 202 of an HTTP backend.
    Kafka,
    /// From a request to `/v3/responses`, after a 202 of an HTTP backend.
    Callback,
    /// From a reply over NATS.
    Nats,
}

impl AnswerFrom {
    /// Returns whether it comes after the target has taken the request.
    #[must_use]
    pub(crate) fn comes_later(self) -> bool {
        self != Self::Target
    }
}

/// An HTTP backend as it was configured. Two routes of one API share it, and with it its connections and health.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UpstreamSpec {
    /// How it is spoken to.
    pub(crate) protocol: Protocol,
    /// Its addresses, each with a port: at least one.
    pub(crate) addresses: Box<[Authority]>,
    /// What comes before each path; empty, or with a slash at its beginning and none at its end.
    pub(crate) base_path: Box<str>,
    /// The path that is asked to find out whether an address that failed is well again; `None` tries requests.
    pub(crate) health_path: Option<Box<str>>,
}

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    /// HTTP/1.1 without TLS.
    Http,
    /// TLS; HTTP/2 where the upstream offers it, else HTTP/1.1.
    Https,
    /// HTTP/2 without TLS, known beforehand.
    H2c,
}

/// What the key of a record is taken from. Without a value there is no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyRule {
    /// `rig.target_partition` of the event that was sent, as in RIG.
    TargetPartition,
    /// A header.
    Header(HeaderName),
    /// A place in the body, which has to be JSON.
    Body(JsonPointer),
    /// A group of the path's pattern, from 1 on.
    Path(usize),
    /// The session of the token, or without one the client's address.
    Session,
}
