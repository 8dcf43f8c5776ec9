//! The pattern of a route's paths.

use std::sync::{Arc, OnceLock};

use regex::{Captures, Regex, RegexBuilder};

use super::path::Ambiguity;
use super::replacement::{Replacement, ReplacementError};
use crate::proxy::route::Route;

/// The longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 4096;
/// How large one pattern may be when it is compiled.
const MAX_COMPILED_BYTES: usize = 1 << 20;
/// How much one pattern may remember of texts that it has seen, for each thread.
const MAX_REMEMBERED_BYTES: usize = 256 << 10;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::proxy) enum PatternError {
    /// More text than anybody writes.
    #[error("must not be longer than {MAX_PATTERN_BYTES} bytes")]
    TooLong,
    /// Too many states, as of `(a{1000}){1000}`.
    #[error("is too large when it is compiled")]
    TooLarge,
    /// Not a regular expression, or one with what would need backtracking.
    #[error("is not a regular expression that is supported: {reason}")]
    NotARegex {
        /// What the compiler says, in one line.
        reason: Box<str>,
    },
}

/// A pattern that can be compiled.
#[derive(Debug)]
pub(in crate::proxy) struct Pattern {
    /// The pattern for the whole path.
    anchored: Box<str>,
    groups: usize,
    replacement: Option<Replacement>,
    /// Made when it is first needed: one with `\w` takes more than half a megabyte.
    regex: OnceLock<Option<Regex>>,
}

/// A route with its pattern.
#[derive(Debug)]
pub(in crate::proxy) struct Candidate {
    pub(in crate::proxy) route: Arc<Route>,
    pub(in crate::proxy) pattern: Pattern,
}

impl Pattern {
    /// Reads a pattern: for the whole path, with Unicode, without regard to case, as in RIG.
    ///
    /// # Errors
    /// [`PatternError`].
    pub(in crate::proxy) fn read(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong);
        }
        // By itself first: `a)|(b` would be a pattern between the anchors.
        compiled(text)?;
        let anchored = format!("^(?:{text})$");
        Ok(Self {
            groups: compiled(&anchored)?.captures_len().saturating_sub(1),
            anchored: anchored.into(),
            replacement: None,
            regex: OnceLock::new(),
        })
    }

    /// Sets what the path becomes.
    ///
    /// # Errors
    /// [`ReplacementError`], also for a group that the pattern does not have.
    pub(in crate::proxy) fn replace_by(&mut self, text: &str) -> Result<(), ReplacementError> {
        self.replacement = Some(Replacement::parse(text, self.groups)?);
        Ok(())
    }

    /// Returns how many groups it has.
    pub(in crate::proxy) const fn groups(&self) -> usize {
        self.groups
    }

    /// Returns the pattern for the whole path.
    pub(super) fn anchored(&self) -> &str {
        &self.anchored
    }

    /// Returns the path for the target, for a path that it matches; `text` was read from `raw`.
    ///
    /// # Errors
    /// [`Ambiguity`], when the path for the target could be read in two ways.
    pub(super) fn target(&self, raw: &str, text: &str) -> Result<String, Ambiguity> {
        let Some(replacement) = &self.replacement else {
            return Ok(raw.to_owned());
        };
        match self.captures(text) {
            Some(captures) => replacement.apply(raw, &captures),
            None => Err(Ambiguity::NotAPath),
        }
    }

    /// Returns what the groups matched, the first group first; nothing for those that took no part.
    pub(super) fn matched(&self, text: &str) -> Box<[Box<str>]> {
        let captures = self.captures(text);
        let groups = captures.iter().flat_map(|captures| captures.iter().skip(1));
        groups
            .map(|group| group.map_or("", |group| group.as_str()).into())
            .collect()
    }

    fn captures<'a>(&self, text: &'a str) -> Option<Captures<'a>> {
        // It was compiled before, when it was read.
        let regex = self.regex.get_or_init(|| compiled(&self.anchored).ok());
        regex.as_ref()?.captures(text)
    }
}

fn compiled(text: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(text)
        .case_insensitive(true)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_REMEMBERED_BYTES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
            other => PatternError::NotARegex {
                reason: in_one_line(&other.to_string()),
            },
        })
}

/// Returns the last line of what the compiler says; the ones before it are the pattern, with a mark at the place.
fn in_one_line(text: &str) -> Box<str> {
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_cannot_be_used_are_refused_with_a_reason() {
        for (text, reason) in [
            ("(", "unclosed group"),
            ("a)|(b", "unopened group"),
            ("(?=a)", "look-around"),
            (r"(a)\1", "backreferences are not supported"),
            ("(?x)a # b", "unclosed group"),
        ] {
            let error = Pattern::read(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        let large = Pattern::read("(?:.{1000}){1000}").unwrap_err();
        assert_eq!(large, PatternError::TooLarge);
        let long = Pattern::read(&"a".repeat(MAX_PATTERN_BYTES + 1)).unwrap_err();
        assert_eq!(long, PatternError::TooLong);
    }

    #[test]
    fn a_pattern_is_for_the_whole_path() {
        let pattern = Pattern::read("/a|/b").unwrap();
        for (path, matches) in [("/a", true), ("/B", true), ("/ab", false), ("x/b", false)] {
            assert_eq!(pattern.captures(path).is_some(), matches, "{path}");
        }
    }
}
