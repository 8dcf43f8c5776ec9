//! Values that constraints compare.

use std::fmt;

use super::json::string_value;
use super::number::Number;
use super::text::Text;

/// 2^53: below it, floating point tells whole numbers apart.
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// A JSON value without structure. Equal means equal type and exactly equal value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scalar {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number by its exact value.
    Number(Number),
    /// A string, compared code point by code point.
    String(Text),
}

impl Scalar {
    /// Reads the text of one JSON value without surrounding white space.
    ///
    /// Returns `None` for arrays, objects, numbers without an exact form (see [`Number::parse`]) and other texts.
    #[must_use]
    pub fn from_json(raw: &str) -> Option<Self> {
        match raw.as_bytes().first()? {
            b'"' => string_value(raw).map(|text| Self::from(&*text)),
            b'-' | b'0'..=b'9' => Number::parse(raw).map(Self::Number),
            _ => match raw {
                "null" => Some(Self::Null),
                "true" => Some(Self::Bool(true)),
                "false" => Some(Self::Bool(false)),
                _ => None,
            },
        }
    }

    /// Reads a JSON value that was parsed into a tree.
    ///
    /// Returns `None` for arrays and objects, and for numbers that such a tree does not keep exactly: those beyond 64 bits,
    /// of which two different ones would look the same.
    #[must_use]
    pub fn from_value(value: &serde_json::Value) -> Option<Self> {
        match value {
            serde_json::Value::Null => Some(Self::Null),
            serde_json::Value::Bool(value) => Some((*value).into()),
            serde_json::Value::String(text) => Some(text.as_str().into()),
            serde_json::Value::Number(number) => {
                let is_exact = number.is_i64()
                    || number.is_u64()
                    || number
                        .as_f64()
                        .is_some_and(|value| value.abs() < EXACT_FLOAT);
                is_exact.then_some(())?;
                Number::parse(&number.to_string()).map(Self::Number)
            }
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
        }
    }
}

/// Writes the value as JSON.
impl fmt::Display for Scalar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => formatter.write_str("null"),
            Self::Bool(value) => write!(formatter, "{value}"),
            Self::Number(value) => write!(formatter, "{value}"),
            Self::String(text) => {
                formatter.write_str(&serde_json::to_string(text.as_str()).map_err(|_| fmt::Error)?)
            }
        }
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Self {
        Self::Number(value.into())
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_kind_of_value() {
        for (raw, value) in [
            ("null", Some(Scalar::Null)),
            ("true", Some(true.into())),
            ("false", Some(false.into())),
            ("30.0", Some(30.into())),
            ("-1", Some((-1).into())),
            (r#""a\nb""#, Some("a\nb".into())),
            (r#""""#, Some("".into())),
            ("{}", None),
            ("[1]", None),
            ("", None),
            ("nul", None),
            (r#"""#, None),
            (r#""\x""#, None),
            ("1e99999999999999999999", None),
        ] {
            assert_eq!(Scalar::from_json(raw), value, "{raw}");
        }
    }

    #[test]
    fn types_are_never_equal_to_each_other() {
        let all = [
            Scalar::Null,
            false.into(),
            0.into(),
            "".into(),
            "0".into(),
            "null".into(),
            "false".into(),
        ];
        for (i, one) in all.iter().enumerate() {
            for (j, other) in all.iter().enumerate() {
                assert_eq!(one == other, i == j, "{one} {other}");
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for value in [
            Scalar::Null,
            true.into(),
            (-5).into(),
            "quote \" and \u{1F600} and \n".into(),
        ] {
            assert_eq!(Scalar::from_json(&value.to_string()), Some(value));
        }
    }

    #[test]
    fn a_tree_gives_the_values_of_its_text() {
        for (raw, value) in [
            ("null", Some(Scalar::Null)),
            ("true", Some(true.into())),
            (r#""1""#, Some("1".into())),
            ("1", Some(1.into())),
            ("1.0", Some(1.into())),
            ("1e2", Some(100.into())),
            ("-0.0", Some(0.into())),
            ("0.5", Scalar::from_json("0.5")),
            (
                "18446744073709551615",
                Scalar::from_json("18446744073709551615"),
            ),
            ("[1]", None),
            (r#"{"a":1}"#, None),
            // In a tree these two are one number, which is neither of them.
            ("18446744073709551616", None),
            ("18446744073709551617", None),
            ("1e300", None),
            ("-1e300", None),
        ] {
            let tree = serde_json::from_str(raw).unwrap();
            assert_eq!(Scalar::from_value(&tree), value, "{raw}");
        }
    }

    #[test]
    fn a_value_takes_24_bytes() {
        assert_eq!(size_of::<Scalar>(), 24);
    }
}
