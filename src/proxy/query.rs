//! The query of a request as text: whatever is not taken out of it goes on as it came.

use percent_encoding::percent_decode_str;

/// Splits a target into its path and its query.
pub(super) fn split(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

/// Returns the values of the parameter `name`, decoded; without those that are not UTF-8.
pub(super) fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let pairs = query.split('&').filter(move |pair| is_named(pair, name));
    pairs.filter_map(|pair| decoded(pair.split_once('=')?.1))
}

/// Returns the parts of a query that are not for the parameter `name`, as they came.
pub(super) fn without<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    query.split('&').filter(move |pair| !is_named(pair, name))
}

/// Returns whether a part of a query is for the parameter `name`, however that is written.
fn is_named(pair: &str, name: &str) -> bool {
    let written = pair.split_once('=').map_or(pair, |(name, _)| name);
    decoded(written).is_some_and(|decoded| decoded == name)
}

fn decoded(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}
