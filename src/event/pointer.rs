//! JSON pointers (RFC 6901).

use super::json::NESTING_LIMIT;

/// Where in an event a value stands, such as `/data/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JsonPointer {
    tokens: Vec<Box<str>>,
}

/// Why a text is not a usable JSON pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// The empty pointer means the whole event, which is no value to compare.
    #[error("the pointer is empty, which means the whole event")]
    Empty,
    /// A pointer starts with a slash; the URI fragment form `#/…` is not supported.
    #[error("a pointer starts with \"/\"")]
    NoSlash,
    /// `~` may only be followed by `0` or `1`.
    #[error("\"~\" is followed by neither \"0\" nor \"1\"")]
    BadEscape,
    /// More levels than an event may have.
    #[error("the pointer has more than {NESTING_LIMIT} levels")]
    TooDeep,
}

impl JsonPointer {
    /// Reads a pointer in its string form.
    ///
    /// # Errors
    /// [`PointerError`].
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        if text.is_empty() {
            return Err(PointerError::Empty);
        }
        let path = text.strip_prefix('/').ok_or(PointerError::NoSlash)?;
        let tokens = path
            .split('/')
            .map(unescape)
            .collect::<Result<Vec<_>, _>>()?;
        if tokens.len() > NESTING_LIMIT {
            return Err(PointerError::TooDeep);
        }
        Ok(Self { tokens })
    }

    /// Goes over the names from the outermost member inwards, escapes undone.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(AsRef::as_ref)
    }

    /// Returns the value in `json` that the pointer leads to; `None` if there is none, and for a way through anything
    /// but objects: the positions of arrays have no names.
    #[must_use]
    pub fn find<'a>(&self, json: &'a serde_json::Value) -> Option<&'a serde_json::Value> {
        self.tokens()
            .try_fold(json, |value, name| value.as_object()?.get(name))
    }
}

fn unescape(token: &str) -> Result<Box<str>, PointerError> {
    let mut name = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(char) = chars.next() {
        match char {
            '~' => match chars.next() {
                Some('0') => name.push('~'),
                Some('1') => name.push('/'),
                _ => return Err(PointerError::BadEscape),
            },
            _ => name.push(char),
        }
    }
    Ok(name.into_boxed_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_and_unescaped() {
        for (text, tokens) in [
            ("/data/name", &["data", "name"][..]),
            ("/", &[""]),
            ("/a//b", &["a", "", "b"]),
            ("/a~1b/m~0n", &["a/b", "m~n"]),
            ("/~01", &["~1"]),
            ("/äö/ x", &["äö", " x"]),
        ] {
            let pointer = JsonPointer::parse(text).unwrap();
            assert_eq!(pointer.tokens().collect::<Vec<_>>(), tokens, "{text}");
        }
    }

    #[test]
    fn values_are_found_through_objects_only() {
        let json = serde_json::json!({
            "name": "alice", "": 1, "a/b": {"c": null}, "list": [{"name": "bob"}, 5], "0": {"1": true}
        });
        for (text, found) in [
            ("/name", Some(serde_json::json!("alice"))),
            ("/", Some(1.into())),
            ("/a~1b/c", Some(serde_json::Value::Null)),
            ("/0/1", Some(true.into())),
            ("/list/1", None),
            ("/list/0/name", None),
            ("/name/0", None),
            ("/name/x", None),
            ("/a~1b/c/d", None),
            ("/missing", None),
        ] {
            let pointer = JsonPointer::parse(text).unwrap();
            assert_eq!(pointer.find(&json), found.as_ref(), "{text}");
        }
        let name = JsonPointer::parse("/name").unwrap();
        assert_eq!(name.find(&serde_json::json!(["alice"])), None);
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, error) in [
            ("", PointerError::Empty),
            ("data/name", PointerError::NoSlash),
            ("#/data", PointerError::NoSlash),
            ("/a~2", PointerError::BadEscape),
            ("/a~", PointerError::BadEscape),
            (&"/a".repeat(65), PointerError::TooDeep),
        ] {
            assert_eq!(JsonPointer::parse(text), Err(error), "{text}");
        }
        assert!(JsonPointer::parse(&"/a".repeat(64)).is_ok());
    }
}
