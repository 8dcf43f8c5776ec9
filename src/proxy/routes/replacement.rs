//! What the path of a request becomes on its way to the target.

use regex::Captures;

use super::path::{self, Ambiguity};

/// A path with places for what the groups of a pattern matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proxy) struct Replacement {
    pieces: Box<[Piece]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Percent-encoded already.
    Text(Box<str>),
    /// What this group matched, as it came; nothing if it took no part.
    Group(usize),
}

/// Why a text is no replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::proxy) enum ReplacementError {
    /// A query or a fragment.
    #[error("must be a path, without a query or a fragment: the query of the request is appended")]
    Query,
    /// A backslash before something else than the number of a group.
    #[error("must have a number after a backslash, as in \\1 or \\g{{12}}")]
    Escape,
    /// A group that the pattern does not have.
    #[error("names the group {group}, but path_regex has {groups}")]
    NoGroup {
        /// The group.
        group: usize,
        /// How many there are.
        groups: usize,
    },
    /// No path that is sent on.
    #[error("must be a path that can be read in one way: {0}")]
    Path(#[from] Ambiguity),
}

impl Replacement {
    /// Reads a path with `\1` or `\g{12}` for the groups of a pattern that has `groups` of them; `\0` is all of the
    /// path. What is not allowed in paths is percent-encoded.
    ///
    /// # Errors
    /// [`ReplacementError`].
    pub(in crate::proxy) fn parse(text: &str, groups: usize) -> Result<Self, ReplacementError> {
        let mut pieces = Vec::new();
        let mut parts = text.split('\\');
        push_text(&mut pieces, parts.next().unwrap_or_default())?;
        for part in parts {
            let (group, rest) = split_group(part).ok_or(ReplacementError::Escape)?;
            if group > groups {
                return Err(ReplacementError::NoGroup { group, groups });
            }
            pieces.push(Piece::Group(group));
            push_text(&mut pieces, rest)?;
        }
        let replacement = Self {
            pieces: pieces.into(),
        };
        path::read(&replacement.example())?;
        Ok(replacement)
    }

    /// Returns the path for the target; `captures` are of the text that was read from `raw`.
    ///
    /// # Errors
    /// [`Ambiguity`] where what the client wrote makes it a path that could be read in two ways.
    pub(super) fn apply(&self, raw: &str, captures: &Captures<'_>) -> Result<String, Ambiguity> {
        let mut path = String::with_capacity(raw.len());
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Group(group) => {
                    if let Some(found) = captures.get(*group) {
                        path.push_str(path::raw_part(raw, found.start(), found.end()));
                    }
                }
            }
        }
        path::read(&path)?;
        Ok(path)
    }

    /// Returns what it makes of groups that matched something harmless.
    fn example(&self) -> String {
        let pieces = self.pieces.iter().enumerate();
        let example = pieces.map(|(position, piece)| match piece {
            Piece::Text(text) => text,
            Piece::Group(_) if position == 0 => "/x",
            Piece::Group(_) => "x",
        });
        example.collect()
    }
}

/// Splits `1/rest` or `g{12}/rest` into the number and the rest.
fn split_group(part: &str) -> Option<(usize, &str)> {
    if let Some(named) = part.strip_prefix("g{") {
        let (number, rest) = named.split_once('}')?;
        return Some((number.parse().ok()?, rest));
    }
    let (number, rest) = part.split_at_checked(1)?;
    Some((number.parse().ok()?, rest))
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) -> Result<(), ReplacementError> {
    if text.contains(['?', '#']) {
        return Err(ReplacementError::Query);
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(encoded(text).into()));
    }
    Ok(())
}

/// Encodes what RFC 3986, 3.3 does not allow in a path; what is encoded already stays.
pub(in crate::proxy) fn encoded(text: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const NOT_IN_PATHS: AsciiSet = CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'<')
        .add(b'>')
        .add(b'[')
        .add(b']')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    utf8_percent_encode(text, &NOT_IN_PATHS).to_string()
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    fn replaced(pattern: &str, replacement: &str, raw: &str) -> Result<String, Ambiguity> {
        let regex = Regex::new(&format!("^(?:{pattern})$")).unwrap();
        let groups = regex.captures_len() - 1;
        let replacement = Replacement::parse(replacement, groups).unwrap();
        let text = path::read(raw).unwrap();
        replacement.apply(raw, &regex.captures(&text).unwrap())
    }

    #[test]
    fn groups_are_put_in_as_they_came() {
        for (pattern, replacement, raw, expected) in [
            (
                "/books/([^/]+)/pages/([^/]+)",
                r"/pages/\2/books/\1",
                "/books/a%20b/pages/%C3%BC",
                "/pages/%C3%BC/books/a%20b",
            ),
            ("/a(.*)", r"\1", "/a/b", "/b"),
            ("(/a)(x)?", r"\1/\2end", "/a", "/a/end"),
            (".*", r"\0/more", "/a", "/a/more"),
            ("/(.)", r"/\g{1}0", "/a", "/a0"),
            ("/(.)", r"/\10", "/a", "/a0"),
            ("/x", "/büch er/%41", "/x", "/b%C3%BCch%20er/%41"),
            ("/%61?(.*)", r"/\1", "/%2561%253F", "/%253F"),
        ] {
            assert_eq!(
                replaced(pattern, replacement, raw).as_deref(),
                Ok(expected),
                "{replacement}"
            );
        }
    }

    #[test]
    fn what_would_lead_elsewhere_is_refused() {
        for (pattern, replacement, raw, why) in [
            ("/a(.*)", r"\1", "/a", Ambiguity::NotAPath),
            ("/a(.*)", r"\1", "/a@evil", Ambiguity::NotAPath),
            ("/a/(.*)", r"/\1", "/a//evil", Ambiguity::LeadingSlashes),
            ("/a/(.*)", r"/\1/b", "/a/", Ambiguity::LeadingSlashes),
            ("/a/x(.*)", r"/b/.\1", "/a/x.", Ambiguity::DotSegment),
            ("/a/x(.*)y", r"/b/\1", "/a/x..y", Ambiguity::DotSegment),
        ] {
            let replaced = replaced(pattern, replacement, raw);
            assert_eq!(replaced, Err(why), "{replacement}");
        }
    }

    #[test]
    fn texts_that_are_none_are_refused() {
        for (text, why) in [
            ("", ReplacementError::Path(Ambiguity::NotAPath)),
            ("a", ReplacementError::Path(Ambiguity::NotAPath)),
            ("//evil", ReplacementError::Path(Ambiguity::LeadingSlashes)),
            ("http://evil/", ReplacementError::Path(Ambiguity::NotAPath)),
            ("/a/../b", ReplacementError::Path(Ambiguity::DotSegment)),
            ("/%", ReplacementError::Path(Ambiguity::BadEscape)),
            (r"/%2\1", ReplacementError::Path(Ambiguity::BadEscape)),
            ("/a?b=1", ReplacementError::Query),
            ("/a#b", ReplacementError::Query),
            (r"/\a", ReplacementError::Escape),
            (r"/\", ReplacementError::Escape),
            (r"/\g{a}", ReplacementError::Escape),
            (r"/\g1", ReplacementError::Escape),
            (
                r"/\3",
                ReplacementError::NoGroup {
                    group: 3,
                    groups: 2,
                },
            ),
        ] {
            assert_eq!(Replacement::parse(text, 2), Err(why), "{text}");
        }
    }
}
