//! Settings that go to librdkafka as they are.

use std::fmt;
use std::str::FromStr;

use super::ValueError;
use super::values::list_of;

/// Raw properties for librdkafka. Their values are in no `Debug` output, since some are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(Vec<(String, String)>);

impl Properties {
    /// Returns the properties in the order given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(key, _)| key))
            .finish()
    }
}

impl FromStr for Properties {
    type Err = ValueError;

    /// Parses `key=value,key=value`; `\,` is a comma inside a value.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hidden = text.replace("\\,", "\u{1}");
        let properties = list_of(&hidden).enumerate().map(|(index, property)| {
            match property
                .split_once('=')
                .map(|(key, value)| (key.trim(), value))
            {
                Some((key, value)) if !key.is_empty() => {
                    Ok((key.to_owned(), value.replace('\u{1}', ",")))
                }
                _ => Err(ValueError::Property { index: index + 1 }),
            }
        });
        properties.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_keep_values_with_escaped_commas_and_equal_signs() {
        let parsed = "a.b=c, d=x\\,y=z".parse::<Properties>().unwrap();
        assert_eq!(
            parsed.iter().collect::<Vec<_>>(),
            [("a.b", "c"), ("d", "x,y=z")]
        );
        assert_eq!(format!("{parsed:?}"), "[\"a.b\", \"d\"]");
        assert_eq!(
            "a=1,b".parse::<Properties>().unwrap_err(),
            ValueError::Property { index: 2 }
        );
        assert!("=1".parse::<Properties>().is_err());
    }
}
