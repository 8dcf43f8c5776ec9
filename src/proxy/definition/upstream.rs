//! Reads where the backend of an API is.

use serde_json::Value;

use super::address::Address;
use super::faults::Fault;
use super::fields::Fields;
use super::hosts::{Host, Hosts};
use crate::proxy::route::UpstreamSpec;
use crate::proxy::routes::{encoded, is_plain_path};

/// The host where a variable is not set, as in RIG.
const WITHOUT_VARIABLE: &str = "localhost";
/// The most addresses of one backend.
const MAX_ADDRESSES: usize = 100;

/// Reads the member `proxy`; nothing where something is wrong with it.
pub(super) fn read_upstream(proxy: &Value, hosts: &Hosts) -> (Option<UpstreamSpec>, Vec<Fault>) {
    let mut fields = Fields::of(proxy);
    let addresses = match fields.get("target_urls") {
        Some(urls) => read_several(&mut fields, urls),
        None => read_one(&mut fields, hosts).into_iter().collect(),
    };
    let health_path = fields.text("health_path");
    if health_path.is_some_and(|path| !is_plain_path(path)) {
        let reason = "must be a path that can be read in one way, as in /health";
        fields.fault("health_path", reason);
    }
    let health_path = health_path.map(|path| encoded(path).into());
    let faults = fields.into_faults();
    let Some((first, _)) = addresses.first().filter(|_| faults.is_empty()) else {
        return (None, faults);
    };
    let authorities = addresses
        .iter()
        .filter_map(|(address, port)| address.authority(*port));
    let upstream = UpstreamSpec {
        protocol: first.protocol,
        addresses: authorities.collect(),
        base_path: first.base_path.clone(),
        health_path,
    };
    (Some(upstream), faults)
}

/// Reads RIG's form: one `target_url` and its `port`.
fn read_one(fields: &mut Fields<'_>, hosts: &Hosts) -> Option<(Address, Option<u16>)> {
    let uses_environment = fields.flag("use_env");
    let text = fields.required_text("target_url").map(str::trim);
    let text = text.and_then(|text| match uses_environment.then(|| hosts.get(text)) {
        None => Some(text),
        Some(Host::Named(address)) => Some(address),
        Some(Host::Unset) => Some(WITHOUT_VARIABLE),
        Some(Host::Unusable) => {
            let reason = "names an environment variable that is not the address of a host";
            fields.fault("target_url", reason);
            None
        }
    });
    let address = text.map(Address::parse).transpose();
    if let Err(error) = &address {
        fields.fault("target_url", error.to_string());
    }
    let address = address.ok().flatten();
    let port = read_port(fields, address.as_ref());
    Some((address?, port))
}

/// Reads the port, which may be left out where the address has one.
fn read_port(fields: &mut Fields<'_>, address: Option<&Address>) -> Option<u16> {
    let of_address = address.and_then(|address| address.port);
    let port = match fields.get("port") {
        None if of_address.is_some() => return None,
        None => {
            fields.fault("port", "must be integer");
            return None;
        }
        Some(port) => port,
    };
    let Some(number) = port.as_i64() else {
        fields.fault("port", "must be integer");
        return None;
    };
    let Some(number) = u16::try_from(number).ok().filter(|number| *number > 0) else {
        fields.fault("port", "must be from 1 to 65535");
        return None;
    };
    if of_address.is_some_and(|other| other != number) {
        fields.fault("port", "must be the port that target_url has");
    }
    Some(number)
}

/// Reads several addresses of one backend.
fn read_several(fields: &mut Fields<'_>, urls: &Value) -> Vec<(Address, Option<u16>)> {
    for other in ["target_url", "port", "use_env"] {
        if fields.get(other).is_some() {
            fields.fault(other, "must not be there together with target_urls");
        }
    }
    let urls = urls.as_array().filter(|urls| !urls.is_empty());
    let Some(urls) = urls.filter(|urls| urls.len() <= MAX_ADDRESSES) else {
        let reason = format!("must be a list of 1 to {MAX_ADDRESSES} addresses");
        fields.fault("target_urls", reason);
        return Vec::new();
    };
    let mut addresses = Vec::new();
    for url in urls {
        match url.as_str().map(|url| Address::parse(url.trim())) {
            None => fields.fault("target_urls", "must be a list of strings"),
            Some(Err(error)) => fields.fault("target_urls", format!("each {error}")),
            Some(Ok(address)) => addresses.push((address, None)),
        }
    }
    let is_alike = |pair: &[(Address, Option<u16>)]| match pair {
        [(a, _), (b, _)] => a.protocol == b.protocol && a.base_path == b.base_path,
        _ => true,
    };
    if !addresses.windows(2).all(is_alike) {
        let reason = "must all have the same scheme and the same path";
        fields.fault("target_urls", reason);
    }
    addresses
}
