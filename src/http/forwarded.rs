//! The headers in which proxies say on whose behalf they come: `Forwarded` and `X-Forwarded-For`.
//!
//! # Source
//! RFC 7239, sections 4 and 6; RFC 9110, 5.3 (several lines of one field) and 5.6.4 (quoted strings).

use std::net::{IpAddr, Ipv6Addr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What one proxy says of who asked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hop {
    /// The address, in canonical form.
    Address(IpAddr),
    /// Nothing that can be used: `unknown`, an obfuscated name, nonsense.
    Unknown,
}

/// The hops of one header, the nearest first. After an unknown one there are no more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hops(pub(super) Vec<Hop>);

impl Hops {
    /// Reads `Forwarded`; `None` without it.
    ///
    /// A line whose quoted strings do not end where they should is one unknown hop: where its elements begin
    /// is not known.
    pub(super) fn forwarded(headers: &HeaderMap) -> Option<Self> {
        Self::read(headers, &FORWARDED, |line| {
            let Some(elements) = elements(line) else {
                return vec![Hop::Unknown];
            };
            let hops = elements.iter().rev().map(|element| hop(element));
            up_to_unknown(hops)
        })
    }

    /// Reads `X-Forwarded-For`; `None` without it.
    pub(super) fn x_forwarded_for(headers: &HeaderMap) -> Option<Self> {
        Self::read(headers, &X_FORWARDED_FOR, |line| {
            let elements = line.rsplit(',').map(|element| element.trim_matches(SPACE));
            up_to_unknown(elements.map(node))
        })
    }

    fn read(
        headers: &HeaderMap,
        name: &HeaderName,
        hops: impl Fn(&str) -> Vec<Hop>,
    ) -> Option<Self> {
        let lines = headers.get_all(name);
        lines.iter().next()?;
        let lines = lines.iter().rev();
        // What is no text is no address, and harms no other element.
        let read = lines.flat_map(|line| hops(&String::from_utf8_lossy(line.as_bytes())));
        Some(Self(up_to_unknown(read)))
    }
}

fn up_to_unknown(hops: impl Iterator<Item = Hop>) -> Vec<Hop> {
    let mut is_over = false;
    hops.take_while(|hop| !std::mem::replace(&mut is_over, *hop == Hop::Unknown))
        .collect()
}

/// White space around the elements of a list (RFC 9110, 5.6.3).
const SPACE: [char; 2] = [' ', '\t'];

/// Splits a line of `Forwarded` at the commas that are not quoted; `None` when the quotes do not add up.
fn elements(line: &str) -> Option<Vec<&str>> {
    let mut elements = Vec::new();
    let mut rest = line;
    loop {
        let (element, after) = split_at_separator(rest, ',')?;
        elements.push(element.trim_matches(SPACE));
        match after {
            Some(after) => rest = after,
            None => return Some(elements),
        }
    }
}

/// Splits at the first `separator` that is not quoted; `None` when a quoted string does not end, or ends in the
/// middle of a value.
fn split_at_separator(text: &str, separator: char) -> Option<(&str, Option<&str>)> {
    let mut quoted = Quoted::No;
    for (at, character) in text.char_indices() {
        quoted = match (quoted, character) {
            (Quoted::No | Quoted::Ended, found) if found == separator => {
                let (before, after) = text.split_at_checked(at)?;
                return Some((before, after.strip_prefix(separator)));
            }
            (Quoted::No, '"') => Quoted::Yes,
            (Quoted::No, _) => Quoted::No,
            (Quoted::Yes, '"') => Quoted::Ended,
            (Quoted::Yes, '\\') => Quoted::Escape,
            (Quoted::Yes | Quoted::Escape, _) => Quoted::Yes,
            (Quoted::Ended, ',' | ';' | ' ' | '\t') => Quoted::Ended.after(character),
            (Quoted::Ended, _) => return None,
        };
    }
    matches!(quoted, Quoted::No | Quoted::Ended).then_some((text, None))
}

/// Where a reader is.
#[derive(Debug, Clone, Copy)]
enum Quoted {
    No,
    Yes,
    /// Behind a backslash.
    Escape,
    /// Behind the closing quote: only a separator may follow.
    Ended,
}

impl Quoted {
    const fn after(self, character: char) -> Self {
        match character {
            ' ' | '\t' => Self::Ended,
            _ => Self::No,
        }
    }
}

/// Reads one element of `Forwarded`: pairs, of which one is `for`.
fn hop(element: &str) -> Hop {
    let mut found = None;
    for pair in pairs(element) {
        let Some((name, value)) = pair else {
            return Hop::Unknown;
        };
        // RFC 7239, 4: each parameter occurs once in an element at most.
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return Hop::Unknown;
        }
    }
    let unquoted = |value: &'_ str| {
        let inner = value.strip_prefix('"')?.strip_suffix('"')?;
        Some(node(inner))
    };
    // Some proxies write an address with colons without the quotes that it needs; it cannot be misread.
    found.map_or(Hop::Unknown, |value| unquoted(value).unwrap_or(node(value)))
}

/// Splits an element into names and values; `None` for what is no such pair.
fn pairs(element: &str) -> impl Iterator<Item = Option<(&str, &str)>> {
    let mut rest = Some(element);
    std::iter::from_fn(move || {
        loop {
            let Some((pair, after)) = split_at_separator(rest.take()?, ';') else {
                return Some(None);
            };
            rest = after;
            let pair = pair.trim_matches(SPACE);
            if !pair.is_empty() {
                let pair = pair.split_once('=');
                return Some(pair.filter(|(name, value)| is_token(name) && !value.is_empty()));
            }
        }
    })
}

/// Returns the elements of `Forwarded` as they were sent, the nearest first; an empty text for one that is malformed.
/// They are in step with [`Hops::forwarded`].
pub(super) fn elements_as_sent(headers: &HeaderMap) -> Vec<String> {
    let is_sound = |element: &str| {
        pairs(element).all(|pair| {
            let value = pair.map(|(_, value)| value.trim_matches(|c| ":[]".contains(c)));
            value.is_some_and(|value| {
                let bare = value.replace(':', "");
                value.starts_with('"') || is_token(&bare)
            })
        })
    };
    as_sent(headers, &FORWARDED, |line| match elements(line) {
        Some(elements) => elements.into_iter().rev().map(str::to_owned).collect(),
        None => vec![String::new()],
    })
    .map(|text| if is_sound(&text) { text } else { String::new() })
    .collect()
}

/// Returns the elements of `X-Forwarded-For` as they were sent, in the same way.
pub(super) fn addresses_as_sent(headers: &HeaderMap) -> Vec<String> {
    let is_sound = |text: &str| node(text) != Hop::Unknown || is_token(text);
    as_sent(headers, &X_FORWARDED_FOR, |line| {
        let elements = line.rsplit(',').map(|element| element.trim_matches(SPACE));
        elements.map(str::to_owned).collect()
    })
    .map(|text| if is_sound(&text) { text } else { String::new() })
    .collect()
}

fn as_sent(
    headers: &HeaderMap,
    name: &HeaderName,
    split: impl Fn(&str) -> Vec<String>,
) -> impl Iterator<Item = String> {
    let lines = headers.get_all(name).into_iter().rev();
    lines.flat_map(move |line| split(&String::from_utf8_lossy(line.as_bytes())))
}

pub(super) fn is_token(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_allowed)
}

/// Reads an address with or without a port; that of IPv6 in brackets where there is one.
fn node(text: &str) -> Hop {
    address(text).map_or(Hop::Unknown, |address| Hop::Address(address.to_canonical()))
}

fn address(text: &str) -> Option<IpAddr> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let is_sound = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return address
            .parse()
            .ok()
            .filter(|_| is_sound)
            .map(|address: Ipv6Addr| address.into());
    }
    match text.split_once(':') {
        Some((address, port)) if is_port(port) => address.parse().ok(),
        _ => text.parse().ok(),
    }
}

/// A number of a port, or an obfuscated one (RFC 7239, 6).
fn is_port(text: &str) -> bool {
    let is_obfuscated = |name: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !name.is_empty() && name.bytes().all(is_allowed)
    };
    match text.strip_prefix('_') {
        Some(name) => is_obfuscated(name),
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}
