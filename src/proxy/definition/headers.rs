//! Reads how an API asks for tokens, and the headers that it adds.

use http::uri::Authority;
use http::{HeaderName, HeaderValue, header};
use serde_json::Value;

use super::faults::Fault;
use super::fields::{Fields, one_of};
use crate::proxy::route::TokenPlaces;

/// The kind of authentication that there is.
pub(super) const JWT: &str = "jwt";

/// Headers that say how a message is framed, or are for one connection (RFC 9110, 7.6.1).
const OF_CONNECTIONS: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Reads where tokens stand in requests for the secured endpoints of an API: where `auth` says, else in
/// `Authorization`; nothing where it asks for none.
pub(super) fn read_auth(document: &Value) -> (Option<TokenPlaces>, Vec<Fault>) {
    let mut api = Fields::of(document);
    let kind = api.text("auth_type");
    let mut auth = Fields::of(api.object("auth"));
    let uses_header = auth.flag("use_header");
    let uses_query = auth.flag("use_query");
    let header = auth.text("header_name");
    let query = auth.text("query_name");
    for (uses, name, value) in [
        (uses_header, "header_name", header),
        (uses_query, "query_name", query),
    ] {
        if uses && value.is_none() {
            auth.fault(name, "must be present");
        }
    }
    let header = match header.filter(|_| uses_header).map(str::parse) {
        None if uses_query => None,
        None => Some(header::AUTHORIZATION),
        Some(Ok(name)) => Some(name),
        Some(Err::<HeaderName, _>(_)) => {
            auth.fault("header_name", "must be the name of a header");
            None
        }
    };
    api.faults(auth.into_faults());
    let is_jwt = kind == Some(JWT);
    if (uses_header || uses_query) && !is_jwt {
        api.fault("auth_type", one_of(&[JWT]));
    } else if !is_jwt && kind.is_some_and(|kind| kind != "none") {
        api.fault("auth_type", one_of(&[JWT, "none"]));
    }
    let places = TokenPlaces {
        header,
        query: query.filter(|_| uses_query).map(Into::into),
    };
    (is_jwt.then_some(places), api.into_faults())
}

/// Reads the headers that a version of an API adds to requests for the endpoints that ask for it.
pub(super) fn read_added(version: &Value) -> (Box<[(HeaderName, HeaderValue)]>, Vec<Fault>) {
    let mut version = Fields::of(version);
    let mut transform = Fields::of(version.object("transform_request_headers"));
    let headers = transform.object("add_headers");
    let mut added = Vec::new();
    for (name, value) in headers.as_object().into_iter().flatten() {
        match read_header(name, value) {
            Ok(header) => added.push(header),
            Err(reason) => transform.fault("add_headers", format!("{name:?} {reason}")),
        }
    }
    version.faults(transform.into_faults());
    (added.into(), version.into_faults())
}

fn read_header(name: &str, value: &Value) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name: HeaderName = name.parse().map_err(|_| "must be the name of a header")?;
    if OF_CONNECTIONS.contains(&name) {
        return Err("must not be added: it belongs to the connection");
    }
    let text = value.as_str().ok_or("must be string")?;
    let is_text = |byte: u8| byte == b'\t' || !byte.is_ascii_control();
    let value = HeaderValue::from_bytes(text.as_bytes()).ok();
    let value = value.filter(|value| value.as_bytes().iter().copied().all(is_text));
    let value = value.ok_or("must be the value of a header")?;
    let is_host = |text: &str| !text.contains('@') && text.parse::<Authority>().is_ok();
    if name == header::HOST && !is_host(text) {
        return Err("must be a host");
    }
    Ok((name, value))
}
