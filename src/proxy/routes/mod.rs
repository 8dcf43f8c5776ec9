//! All routes, compiled: which of them is for a request.
//!
//! ```text
//! method ─▶ one set of all patterns for it ─▶ the first that matches ─▶ its own pattern: groups, replacement
//! ```
//!
//! # Invariants
//! - The first route that matches wins, in the order in which they were given.
//! - A path that two servers could read in two ways finds no route ([`Ambiguity`]); one that other servers read as
//!   a path of another route neither.
//! - The path for the target starts with one slash and has no dot segments.
//!
//! # Source
//! RIG's reverse proxy (patterns for the whole path, without regard to case); RFC 9110, 9.3.2 (`HEAD`) and 15.5.6
//! (`Allow`); RFC 3986 for paths.

mod path;
mod pattern;
mod replacement;

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderValue, Method};
use regex::{RegexSet, RegexSetBuilder};

pub(crate) use self::path::Ambiguity;
pub(super) use self::pattern::{Candidate, Pattern};
pub(super) use self::replacement::encoded;
use super::route::{AnswerFrom, Route, Target, TokenPlaces};

/// How large the patterns for one method may be when they are compiled together.
const MAX_COMPILED_BYTES: usize = 64 << 20;
/// How much they may remember of paths that they have seen, for each thread.
const MAX_REMEMBERED_BYTES: usize = 16 << 20;

/// All routes.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    by_method: HashMap<Method, Table>,
    token_places: Box<[TokenPlaces]>,
}

/// The routes for one method.
#[derive(Debug)]
struct Table {
    /// The patterns, in the order of the routes.
    set: RegexSet,
    candidates: Box<[Arc<Candidate>]>,
}

/// What a method and a path lead to.
#[derive(Debug)]
#[allow(
    clippy::enum_variant_names,
    reason = "what is found may be that there is nothing"
)]
pub(crate) enum Found {
    /// To a route.
    Route(Matched),
    /// To routes for other methods; the value is for `Allow`, and for `Access-Control-Allow-Methods`.
    MethodNotAllowed(HeaderValue),
    /// To nothing.
    NotFound,
    /// To more than one thing: a 400.
    Ambiguous(Ambiguity),
}

/// A route that was found.
#[derive(Debug)]
pub(crate) struct Matched {
    /// The route.
    pub(crate) route: Arc<Route>,
    /// The path for the target, percent-encoded as it came; starts with one slash.
    pub(crate) target: String,
    /// What the groups of the pattern matched, percent-decoded, the first group first, where the route uses them for
    /// keys; an empty text for those that took no part.
    pub(crate) groups: Box<[Box<str>]>,
}

/// The patterns together are too large to be compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all patterns together are too large when they are compiled")]
pub struct TooLarge;

impl Routes {
    /// Compiles the patterns of these routes, which are tried in this order.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub(super) fn compile(candidates: Vec<Arc<Candidate>>) -> Result<Self, TooLarge> {
        let token_places = token_places(&candidates);
        let mut by_method: HashMap<Method, Vec<Arc<Candidate>>> = HashMap::new();
        for candidate in candidates {
            let of_method = by_method.entry(candidate.route.method.clone());
            of_method.or_default().push(candidate);
        }
        let tables = by_method
            .into_iter()
            .map(|(method, candidates)| Ok((method, Table::compile(candidates)?)));
        Ok(Self {
            by_method: tables.collect::<Result<_, TooLarge>>()?,
            token_places,
        })
    }

    /// Finds the route for a method and a path; `raw` is the path of the request as it came, without the query.
    ///
    /// `HEAD` finds a route for `GET` when there is none for itself.
    pub(crate) fn find(&self, method: &Method, raw: &str) -> Found {
        // Where nothing is proxied, no path is judged.
        if raw == "*" || self.by_method.is_empty() {
            return Found::NotFound;
        }
        let text = match path::read(raw) {
            Ok(text) => text,
            Err(ambiguity) => return Found::Ambiguous(ambiguity),
        };
        let Some(candidate) = self.candidate(method, &text) else {
            let methods = self.methods(&text);
            return methods.map_or(Found::NotFound, Found::MethodNotAllowed);
        };
        let is_other = |reading: &String| {
            let found = self.candidate(method, reading);
            found.is_some_and(|found| !Arc::ptr_eq(found, candidate))
        };
        let is_secured = |reading: &String| {
            let found = self.candidate(method, reading);
            found.is_some_and(|found| found.route.is_secured)
        };
        let leads_past_a_token =
            || !candidate.route.is_secured && path::rare_readings(&text).iter().any(is_secured);
        if path::other_readings(&text).iter().any(is_other) || leads_past_a_token() {
            return Found::Ambiguous(Ambiguity::SeveralRoutes);
        }
        match candidate.pattern.target(raw, &text) {
            Ok(target) => Found::Route(Matched {
                route: Arc::clone(&candidate.route),
                target,
                groups: match candidate.route.needs_groups() {
                    true => candidate.pattern.matched(&text),
                    false => Box::default(),
                },
            }),
            Err(ambiguity) => Found::Ambiguous(ambiguity),
        }
    }

    /// Returns the Kafka topics that requests are written to, some of them several times.
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        let candidates = self.by_method.values().flat_map(|table| &table.candidates);
        candidates.filter_map(|candidate| match &candidate.route.target {
            Target::Kafka(target) => Some(&*target.topic),
            Target::Http(_) | Target::Nats(_) => None,
        })
    }

    /// Returns whether the answers of some route come as records.
    pub(super) fn wait_for_records(&self) -> bool {
        let mut candidates = self.by_method.values().flat_map(|table| &table.candidates);
        candidates.any(|candidate| candidate.route.answer_from == AnswerFrom::Kafka)
    }

    fn candidate(&self, method: &Method, text: &str) -> Option<&Arc<Candidate>> {
        let of = |method: &Method| self.by_method.get(method)?.first(text);
        of(method).or_else(|| {
            (*method == Method::HEAD)
                .then(|| of(&Method::GET))
                .flatten()
        })
    }

    /// Returns the methods for which there are routes with this path, which is read as [`Routes::find`] does; for `Allow`
    /// and `Access-Control-Allow-Methods`.
    pub(crate) fn allowed(&self, raw: &str) -> Option<HeaderValue> {
        self.methods(&path::read(raw).ok()?)
    }

    fn methods(&self, text: &str) -> Option<HeaderValue> {
        let has_route = |(_, table): &(&Method, &Table)| table.set.is_match(text);
        let mut methods: Vec<&str> = self
            .by_method
            .iter()
            .filter(has_route)
            .map(|(method, _)| method.as_str())
            .collect();
        if methods.is_empty() {
            return None;
        }
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        methods.sort_unstable();
        methods.dedup();
        // Methods are tokens, and tokens and commas make a header value.
        HeaderValue::try_from(methods.join(", ")).ok()
    }

    /// Returns the places in which requests for secured routes have their tokens, each once.
    pub(super) fn token_places(&self) -> &[TokenPlaces] {
        &self.token_places
    }
}

/// Returns where the tokens for these routes stand, each place once.
fn token_places(candidates: &[Arc<Candidate>]) -> Box<[TokenPlaces]> {
    let mut places: Vec<TokenPlaces> = Vec::new();
    for candidate in candidates {
        let of_route = candidate.route.secured();
        places.extend(
            of_route
                .filter(|of_route| !places.contains(of_route))
                .cloned(),
        );
    }
    places.into()
}

/// Returns whether a path of the configuration can be read in one way only, and has no query.
pub(super) fn is_plain_path(path: &str) -> bool {
    let text = path::read(path);
    text.is_ok_and(|text| path::other_readings(&text).is_empty()) && !path.contains(['?', '#'])
}

impl Table {
    fn compile(candidates: Vec<Arc<Candidate>>) -> Result<Self, TooLarge> {
        let patterns = candidates
            .iter()
            .map(|candidate| candidate.pattern.anchored());
        // Each of them compiles by itself, so that only their number can be the reason.
        let set = RegexSetBuilder::new(patterns)
            .case_insensitive(true)
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_REMEMBERED_BYTES)
            .build()
            .map_err(|_| TooLarge)?;
        Ok(Self {
            set,
            candidates: candidates.into(),
        })
    }

    fn first(&self, text: &str) -> Option<&Arc<Candidate>> {
        let first = self.set.matches(text).iter().next()?;
        self.candidates.get(first)
    }
}

#[cfg(test)]
mod tests;
