//! Hosts that the environment names, for definitions with `use_env`.

use std::collections::BTreeMap;

use super::address::Address;

/// The variables of the environment that may name a host. Empty by default.
///
/// Only what looks like an address is kept, and nothing that is a secret setting of ours: whoever may define APIs could
/// otherwise have it looked up as the name of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// `None` for what is set, but is no address.
    by_variable: BTreeMap<Box<str>, Option<Box<str>>>,
}

/// What a variable says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host<'a> {
    /// An address.
    Named(&'a str),
    /// It is not set.
    Unset,
    /// It is set to something else.
    Unusable,
}

impl Hosts {
    /// Looks at these variables; none of those for which `is_secret` holds counts as set.
    pub fn of<'a>(
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
        is_secret: impl Fn(&str) -> bool,
    ) -> Self {
        let host = |(name, value): (&'a str, &'a str)| {
            let address = Some(value.trim()).filter(|value| Address::parse(value).is_ok());
            (name.into(), address.map(Into::into))
        };
        let variables = variables.into_iter();
        let usable = variables.filter(|(name, value)| !value.is_empty() && !is_secret(name));
        Self {
            by_variable: usable.map(host).collect(),
        }
    }

    pub(super) fn get(&self, variable: &str) -> Host<'_> {
        match self.by_variable.get(variable) {
            Some(Some(address)) => Host::Named(address),
            Some(None) => Host::Unusable,
            None => Host::Unset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_an_address_is_a_host() {
        let variables = [
            ("A", "books.internal"),
            ("B", " https://books:8443/api "),
            ("C", "/usr/bin:/bin"),
            ("D", ""),
            ("NODE_COOKIE", "hidden"),
        ];
        let hosts = Hosts::of(variables, |name| name == "NODE_COOKIE");
        for (name, host) in [
            ("A", Host::Named("books.internal")),
            ("B", Host::Named("https://books:8443/api")),
            ("C", Host::Unusable),
            ("D", Host::Unset),
            ("E", Host::Unset),
            ("NODE_COOKIE", Host::Unset),
        ] {
            assert_eq!(hosts.get(name), host, "{name}");
        }
    }
}
