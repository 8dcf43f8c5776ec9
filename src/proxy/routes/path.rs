//! The path of a request: how it is read, and what is refused because it could be read in two ways.
//!
//! A path is decoded once, and patterns see the decoded text: `/%61dmin` is `/admin` (RFC 3986, 6.2.2.2), so that no
//! spelling of a path leads around the route that is meant for it.
//!
//! # Source
//! RFC 3986, sections 2.1, 3.3, 5.2.4 and 6.2.2; RFC 9110, 4.2.3.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Why a path is refused: two servers could read it in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ambiguity {
    /// No slash at the beginning: `*`, or what a target must never be.
    #[error("the path does not start with a slash")]
    NotAPath,
    /// `//host/path` is a reference with a host to some.
    #[error("the path starts with more than one slash")]
    LeadingSlashes,
    /// `.` or `..`, in any spelling.
    #[error("the path has a segment \".\" or \"..\"")]
    DotSegment,
    /// A slash to some, a character to others.
    #[error("the path has a backslash")]
    Backslash,
    /// `%2F`: a slash to some, a character of a segment to others.
    #[error("the path has an encoded slash")]
    EncodedSlash,
    /// A control character, which ends texts or lines somewhere.
    #[error("the path has a control character")]
    Control,
    /// A `%` without two hexadecimal digits.
    #[error("the path has a percent sign that encodes nothing")]
    BadEscape,
    /// No text: also overlong encodings, with which dots and slashes are hidden.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// It leads to one route as it is, and to another one for servers that read it as [`other_readings`] says; or
    /// as [`rare_readings`] says, to one that asks for a token where this one does not.
    #[error("the path could mean another route")]
    SeveralRoutes,
}

/// Reads a path as it came, and decodes it once.
///
/// # Errors
/// [`Ambiguity`] for what no other server should have to read.
pub(super) fn read(raw: &str) -> Result<Cow<'_, str>, Ambiguity> {
    if !raw.starts_with('/') {
        return Err(Ambiguity::NotAPath);
    }
    if raw.starts_with("//") {
        return Err(Ambiguity::LeadingSlashes);
    }
    let mut after_percent = raw.split('%').skip(1);
    if !after_percent.all(|rest| escape(rest).is_some()) {
        return Err(Ambiguity::BadEscape);
    }
    if raw
        .split('%')
        .skip(1)
        .any(|rest| escape(rest) == Some(b'/'))
    {
        return Err(Ambiguity::EncodedSlash);
    }
    let text = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| Ambiguity::NotUtf8)?;
    check(&text)?;
    if let Some(twice) = decoded_again(&text) {
        // What is only a character for one who decodes once.
        check(&twice.replace('\\', "/"))?;
    }
    Ok(text)
}

fn check(text: &str) -> Result<(), Ambiguity> {
    if text.contains(char::is_control) {
        return Err(Ambiguity::Control);
    }
    if text.contains('\\') {
        return Err(Ambiguity::Backslash);
    }
    // Servers of the Servlet kind cut `;parameters` off before they look for dots; others trim first.
    let is_dots = |segment: &str| matches!(without_parameters(segment).trim(), "." | "..");
    if text.split('/').any(is_dots) {
        return Err(Ambiguity::DotSegment);
    }
    Ok(())
}

/// Returns the byte that the two digits at the beginning of `rest` encode.
fn escape(rest: &str) -> Option<u8> {
    let digits = rest.get(..2)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

/// Returns how a server that decodes once more reads a path, if that is something else.
fn decoded_again(text: &str) -> Option<String> {
    let mut after_percent = text.split('%').skip(1);
    after_percent
        .any(|rest| escape(rest).is_some())
        .then(|| percent_decode_str(text).decode_utf8_lossy().into_owned())
}

fn without_parameters(segment: &str) -> &str {
    segment.split_once(';').map_or(segment, |(name, _)| name)
}

/// Returns how many other servers read a path that was read here: decoded once more, without `;parameters` of segments,
/// without empty segments, and any of these together. Nothing for almost every path.
pub(super) fn other_readings(text: &str) -> Vec<String> {
    readings(text, &[decoded_again, bare, merged])
}

/// As [`other_readings`], for what only few servers do besides: they take a decoded `?` or `#` for the end of the path,
/// or trim segments. For most, these are characters like all others.
pub(super) fn rare_readings(text: &str) -> Vec<String> {
    readings(text, &[decoded_again, cut, bare, trimmed, merged])
}

/// Returns what a path becomes by one or more of these ways to read it, each of which returns `None` for what it leaves as
/// it is.
fn readings(text: &str, ways: &[fn(&str) -> Option<String>]) -> Vec<String> {
    let mut readings: Vec<String> = Vec::new();
    for read in ways {
        let so_far = std::iter::once(text).chain(readings.iter().map(String::as_str));
        let more: Vec<String> = so_far.filter_map(read).collect();
        for reading in more {
            if !readings.contains(&reading) {
                readings.push(reading);
            }
        }
    }
    readings
}

/// Returns how a server reads a path that decodes before it looks for the query.
fn cut(text: &str) -> Option<String> {
    let (path, _) = text.split_once(['?', '#'])?;
    Some(path.to_owned())
}

/// Returns a path without `;parameters` of segments, if it has some.
fn bare(text: &str) -> Option<String> {
    text.contains(';')
        .then(|| by_segments(text, without_parameters))
}

/// Returns a path whose segments have no white space around them and no dots behind, as on Windows, if that is
/// something else.
fn trimmed(text: &str) -> Option<String> {
    let is_cut_off = |character: char| character.is_whitespace() || character == '.';
    let trim = |segment| str::trim_start(segment).trim_end_matches(is_cut_off);
    let mut segments = text.split('/');
    segments
        .any(|segment| trim(segment) != segment)
        .then(|| by_segments(text, trim))
}

fn by_segments<'a>(text: &'a str, read: impl Fn(&'a str) -> &'a str) -> String {
    text.split('/').map(read).collect::<Vec<_>>().join("/")
}

/// Returns a path without empty segments in its middle, if it has some.
fn merged(text: &str) -> Option<String> {
    text.contains("//").then(|| {
        let mut merged = String::with_capacity(text.len());
        for character in text.chars() {
            if character != '/' || !merged.ends_with('/') {
                merged.push(character);
            }
        }
        merged
    })
}

/// Returns the part of a path as it came that stands for `from..to` of the text that was read from it.
pub(super) fn raw_part(raw: &str, from: usize, to: usize) -> &str {
    let (from, to) = (raw_position(raw, from), raw_position(raw, to));
    raw.get(from..to).unwrap_or_default()
}

/// Returns where in a path as it came the byte `position` of the decoded text starts.
fn raw_position(raw: &str, position: usize) -> usize {
    let bytes = raw.as_bytes();
    let mut at = 0;
    for _ in 0..position {
        at += if bytes.get(at) == Some(&b'%') { 3 } else { 1 };
    }
    at.min(raw.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once() {
        for (raw, text) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/%61dmin", "/admin"),
            ("/%41%2d%5F%7e", "/A-_~"),
            ("/a%20b", "/a b"),
            ("/b%C3%BCcher/ü", "/bücher/ü"),
            ("/a+b%2B", "/a+b+"),
            ("/100%25", "/100%"),
            ("/a%252Fb", "/a%2Fb"),
            ("/a//b/", "/a//b/"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a..b/..c/d..", "/a..b/..c/d.."),
            ("/@evil:80/", "/@evil:80/"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/http://evil/", "/http://evil/"),
        ] {
            assert_eq!(read(raw).as_deref(), Ok(text), "{raw}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (raw, why) in [
            ("", Ambiguity::NotAPath),
            ("*", Ambiguity::NotAPath),
            ("evil", Ambiguity::NotAPath),
            ("@evil/", Ambiguity::NotAPath),
            ("http://evil/", Ambiguity::NotAPath),
            ("//evil", Ambiguity::LeadingSlashes),
            ("///evil", Ambiguity::LeadingSlashes),
            ("/%2Fevil", Ambiguity::EncodedSlash),
            ("/..%2f", Ambiguity::EncodedSlash),
            ("/a%2Fb", Ambiguity::EncodedSlash),
            ("/..", Ambiguity::DotSegment),
            ("/.", Ambiguity::DotSegment),
            ("/a/../b", Ambiguity::DotSegment),
            ("/a/./b", Ambiguity::DotSegment),
            ("/%2e%2e/", Ambiguity::DotSegment),
            ("/.%2E", Ambiguity::DotSegment),
            ("/a/..;x=1/b", Ambiguity::DotSegment),
            ("/..%3bx/b", Ambiguity::DotSegment),
            ("/.;/b", Ambiguity::DotSegment),
            ("/a/..%20/b", Ambiguity::DotSegment),
            ("/%20.%20;x/b", Ambiguity::DotSegment),
            ("/%252e%252e/b", Ambiguity::DotSegment),
            ("/..%252f..%252fb", Ambiguity::DotSegment),
            ("/..%255cb", Ambiguity::DotSegment),
            ("/a\\b", Ambiguity::Backslash),
            ("/\\evil", Ambiguity::Backslash),
            ("/..%5c", Ambiguity::Backslash),
            ("/a%5Cb", Ambiguity::Backslash),
            ("/a%00", Ambiguity::Control),
            ("/a%2500", Ambiguity::Control),
            ("/a%0d%0aHost:%20evil", Ambiguity::Control),
            ("/a%7f", Ambiguity::Control),
            ("/a\u{7f}", Ambiguity::Control),
            ("/a%C2%85", Ambiguity::Control),
            ("/%", Ambiguity::BadEscape),
            ("/%4", Ambiguity::BadEscape),
            ("/%zz", Ambiguity::BadEscape),
            ("/%u002e", Ambiguity::BadEscape),
            ("/%+1", Ambiguity::BadEscape),
            ("/%ü", Ambiguity::BadEscape),
            ("/%c0%ae%c0%ae/", Ambiguity::NotUtf8),
            ("/%c0%af", Ambiguity::NotUtf8),
            ("/%ff", Ambiguity::NotUtf8),
            ("/%ed%a0%80", Ambiguity::NotUtf8),
        ] {
            assert_eq!(read(raw), Err(why), "{raw}");
        }
    }

    #[test]
    fn other_servers_may_read_less_or_decode_more() {
        let none: [&str; 0] = [];
        for (text, readings) in [
            ("/a/b", &none[..]),
            ("/100%", &none),
            ("/a b?.#", &none),
            ("/a//b", &["/a/b"]),
            ("/a;x/b;y", &["/a/b"]),
            ("/;x/admin", &["//admin", "/admin"]),
            ("/a;x//b", &["/a//b", "/a;x/b", "/a/b"]),
            ("/%61dmin", &["/admin"]),
            ("/%61;x", &["/a;x", "/%61", "/a"]),
        ] {
            assert_eq!(other_readings(text), readings, "{text}");
        }
    }

    #[test]
    fn few_servers_end_paths_elsewhere_or_trim() {
        let none: [&str; 0] = [];
        for (text, readings) in [
            ("/a b/.c/d..e", &none[..]),
            ("/a;x", &["/a"]),
            ("/admin?x", &["/admin"]),
            ("/admin#x?y", &["/admin"]),
            ("/admin%3Fx", &["/admin?x", "/admin"]),
            ("/ admin /b. .", &["/admin/b"]),
            ("/admin ;x", &["/admin ", "/admin"]),
        ] {
            assert_eq!(rare_readings(text), readings, "{text}");
        }
    }

    #[test]
    fn parts_are_found_as_they_came() {
        let raw = "/a%20b/%C3%BC/c";
        let text = read(raw).unwrap();
        assert_eq!(text, "/a b/ü/c");
        for (part, came) in [("a b", "a%20b"), ("ü", "%C3%BC"), ("c", "c"), ("", "")] {
            let from = text.find(part).unwrap();
            assert_eq!(raw_part(raw, from, from + part.len()), came, "{part}");
        }
    }
}
