//! Subjects with wildcards.

use std::str::FromStr;

/// A list of at least one subject, of which no message has two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectList(Vec<String>);

/// Why a text is no list of subjects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// Nothing in it.
    #[error("expected at least one subject")]
    None,
    /// Not a subject.
    #[error(
        "{subject:?} is not a subject: expected words with dots between them, where * stands for any one word and > at the end for any number of words"
    )]
    Subject {
        /// What was given.
        subject: Box<str>,
    },
    /// Some messages would come twice.
    #[error("{one:?} and {other:?} overlap: an event with a subject of both would come twice")]
    Overlap {
        /// The one subject.
        one: Box<str>,
        /// The other one.
        other: Box<str>,
    },
}

impl SubjectList {
    /// Returns the subjects in the order given.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for SubjectList {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let mut subjects: Vec<String> = Vec::new();
        for subject in text.split(',').map(str::trim) {
            if subject.is_empty() {
                continue;
            }
            if !is_subject(subject) {
                return Err(SubjectError::Subject {
                    subject: subject.into(),
                });
            }
            if let Some(one) = subjects.iter().find(|known| overlap(known, subject)) {
                return Err(SubjectError::Overlap {
                    one: one.as_str().into(),
                    other: subject.into(),
                });
            }
            subjects.push(subject.to_owned());
        }
        if subjects.is_empty() {
            return Err(SubjectError::None);
        }
        Ok(Self(subjects))
    }
}

fn is_subject(subject: &str) -> bool {
    let mut words = subject.split('.').peekable();
    while let Some(word) = words.next() {
        let is_wildcard = word == "*" || (word == ">" && words.peek().is_none());
        let is_word = !word.is_empty()
            && !word.contains(|c: char| c.is_whitespace() || c.is_control() || "*>".contains(c));
        if !is_wildcard && !is_word {
            return false;
        }
    }
    true
}

/// Returns whether a message can have a subject of both.
fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (None, _) | (_, None) => return false,
            (Some(a), Some(b)) if a != b && a != "*" && b != "*" => return false,
            (Some(_), Some(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_words_with_dots_and_wildcards() {
        let list: SubjectList = "rig, orders.>,a.*.c".parse().unwrap();
        assert_eq!(list.names(), ["rig", "orders.>", "a.*.c"]);
        for text in [
            "", ",", "a b", ".a", "a.", "a..b", "a.>.b", "a*", "a.b>", "a\u{7}",
        ] {
            assert!(text.parse::<SubjectList>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn no_message_has_two_of_the_subjects() {
        for (text, is_taken) in [
            ("a,a", false),
            ("a.*,a.b", false),
            ("a.>,a.b.c", false),
            (">,a", false),
            ("*.b,a.*", false),
            ("a.>,a", true),
            ("a.*,a.b.c", true),
            ("a.*.c,a.*.d", true),
            ("a,b", true),
        ] {
            assert_eq!(text.parse::<SubjectList>().is_ok(), is_taken, "{text}");
        }
    }
}
