//! Reads one endpoint of an API.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::faults::Fault;
use super::fields::{Fields, one_of};
use super::headers::JWT;
use super::target::read_target;
use crate::proxy::route::{Route, TokenPlaces, UpstreamSpec};
use crate::proxy::routes::{Candidate, Pattern};

/// What the endpoints of an API share.
pub(super) struct Surroundings<'a> {
    /// The id of the API.
    pub(super) api: &'a Arc<str>,
    /// The member `auth_type`.
    pub(super) auth_type: &'a Value,
    /// Where tokens stand, if it asks for some.
    pub(super) tokens: Option<TokenPlaces>,
    /// The headers for those endpoints that ask for them.
    pub(super) add_headers: Box<[(HeaderName, HeaderValue)]>,
    /// The backend, where there is one and nothing is wrong with it.
    pub(super) upstream: Option<Arc<UpstreamSpec>>,
}

/// Reads an endpoint: its id, its route if nothing is wrong with it or the API's backend, and what is wrong with it.
pub(super) fn read_endpoint<'a>(
    value: &'a Value,
    around: &Surroundings<'_>,
) -> (&'a str, Option<Candidate>, Vec<Fault>) {
    let mut fields = Fields::of(value);
    let is_secured = fields.flag("secured");
    if is_secured && around.auth_type != JWT {
        fields.fault("auth_type", one_of(&[JWT]));
    }
    let id = super::read_id(&mut fields);
    let text = fields.required_text("path_regex");
    if text.is_none() && fields.get("path").is_some() {
        fields.fault("path", "was replaced by path_regex in RIG 3");
    }
    let pattern = text.and_then(|text| read_pattern(&mut fields, text));
    let method = read_method(&mut fields);
    let transforms = fields.flag("transform_request_headers");
    let groups = pattern.as_ref().map_or(usize::MAX, Pattern::groups);
    let target = read_target(&mut fields, around.upstream.as_ref(), groups);
    let candidate = || {
        let (target, answer_from) = target?;
        let route = Route {
            api: Arc::clone(around.api),
            endpoint: id?.into(),
            method: method?,
            path_regex: text?.into(),
            is_secured,
            tokens: around.tokens.clone(),
            add_headers: match transforms {
                true => around.add_headers.clone(),
                false => Box::default(),
            },
            target,
            answer_from,
        };
        Some(Candidate {
            route: Arc::new(route),
            pattern: pattern?,
        })
    };
    let candidate = candidate();
    (id.unwrap_or_default(), candidate, fields.into_faults())
}

/// Reads the pattern of the paths, with what they become.
fn read_pattern(fields: &mut Fields<'_>, text: &str) -> Option<Pattern> {
    let replacement = fields.text("path_replacement");
    let mut pattern = match Pattern::read(text) {
        Ok(pattern) => pattern,
        Err(error) => {
            fields.fault("path_regex", error.to_string());
            return None;
        }
    };
    if let Some(Err(error)) = replacement.map(|text| pattern.replace_by(text)) {
        fields.fault("path_replacement", error.to_string());
    }
    Some(pattern)
}

/// Reads the method, in any case; RIG has it so in the file.
fn read_method(fields: &mut Fields<'_>) -> Option<Method> {
    let text = fields.required_text("method")?.to_ascii_uppercase();
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT | Method::TRACE) => {
            fields.fault("method", "must not be CONNECT or TRACE");
            None
        }
        Ok(method) => Some(method),
        Err(_) => {
            fields.fault("method", "must be the name of a method, as in GET");
            None
        }
    }
}
