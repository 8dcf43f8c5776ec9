//! Where a request goes on its upstream: the path and the query, as text that is never interpreted.
//!
//! The base path and the path of the request are put one behind the other. Nothing is resolved as a reference, so
//! that neither `//host` nor `http://host` can name another server, and what could climb out of the base path, or
//! be read in two ways, is refused.
//!
//! # Source
//! RFC 9112, 3.2.1 (origin form); RFC 3986, 3.3 and 5.2.4 (dot segments).

use std::borrow::Cow;

use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

use crate::http::HttpError;
use crate::proxy::query;

/// Puts the base path before the target of a request.
///
/// # Errors
/// 400 for a target that is no origin form, or has dot segments or NUL in its path, however they are encoded.
pub(super) fn join(base_path: &str, target: &str) -> Result<PathAndQuery, HttpError> {
    let (path, _) = query::split(target);
    if !path.starts_with('/') {
        let text = "The target of the request is not a path.";
        return Err(HttpError::bad_request("bad_target", text));
    }
    if climbs(path) {
        let text = "The path has segments that lead elsewhere, such as \"..\".";
        return Err(HttpError::bad_request("ambiguous_path", text));
    }
    let whole = format!("{base_path}{target}");
    match PathAndQuery::try_from(whole.as_str()) {
        // The parser drops a fragment.
        Ok(parsed) if parsed.as_str() == whole => Ok(parsed),
        _ => {
            let text = "The target of the request is malformed.";
            Err(HttpError::bad_request("bad_target", text))
        }
    }
}

/// Whether a path has dot segments or NUL for anybody who decodes it once, and takes `\` for `/`, or `;` for the
/// end of a segment's name.
fn climbs(path: &str) -> bool {
    let decoded: Cow<'_, [u8]> = percent_decode_str(path).into();
    let is_separator = |byte: &u8| matches!(byte, b'/' | b'\\');
    let is_dots = |segment: &[u8]| {
        let name = segment.split(|byte| *byte == b';').next();
        matches!(name, Some(b"." | b".."))
    };
    decoded.contains(&0) || decoded.split(is_separator).any(is_dots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_go_on_as_they_came() {
        for (base, target, expected) in [
            ("", "/", "/"),
            (
                "",
                "/a%2Fb/%C3%A4?x=%20+&x=1&&y",
                "/a%2Fb/%C3%A4?x=%20+&x=1&&y",
            ),
            ("/base", "/a", "/base/a"),
            ("", "//evil.example/x", "//evil.example/x"),
            ("/base", "//evil.example/x", "/base//evil.example/x"),
            ("", "/@evil.example", "/@evil.example"),
            ("", "/http://evil.example/", "/http://evil.example/"),
            ("", "/a:80;b=c/..d/.../e.", "/a:80;b=c/..d/.../e."),
            ("", "/a?b=../c", "/a?b=../c"),
            ("", "/%0d%0aHost:%20evil", "/%0d%0aHost:%20evil"),
        ] {
            assert_eq!(join(base, target).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for target in [
            "",
            "*",
            "a",
            "?a",
            "http://evil.example/",
            "@evil.example/",
            ":80/",
            "/a#b",
            "/a b",
            "/a\r\nb",
            "/a?b#c",
            "/..",
            "/../a",
            "/a/./b",
            "/a/%2e%2E/b",
            "/a/..%2fb",
            "/a%2f..",
            "/a\\..\\b",
            "/a/..%5cb",
            "/a/..;x=y/b",
            "/a%00",
        ] {
            let refused = join("/base", target);
            assert_eq!(refused.unwrap_err().status(), 400, "{target:?}");
        }
    }
}
