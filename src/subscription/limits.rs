//! How much one connection may ask for.

/// Limits on the subscriptions of one connection; beyond them a request is refused as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Subscriptions")]
pub struct SubscriptionLimits {
    /// Most subscriptions of one connection
    #[arg(
        id = "max_subscriptions_per_connection",
        long = "max-subscriptions-per-connection",
        default_value_t = Self::DEFAULT.max_subscriptions,
        value_name = "COUNT"
    )]
    pub max_subscriptions: usize,
    /// Longest list of subscriptions, in bytes of JSON
    #[arg(
        id = "max_subscription_bytes",
        long = "max-subscription-bytes",
        default_value_t = Self::DEFAULT.max_bytes,
        value_name = "BYTES"
    )]
    pub max_bytes: usize,
    /// Most pairs of field and value in the constraints of one connection
    #[arg(
        id = "max_subscription_constraints",
        long = "max-subscription-constraints",
        default_value_t = Self::DEFAULT.max_constraints,
        value_name = "COUNT"
    )]
    pub max_constraints: usize,
    /// Most filter expressions of one connection, counted with those inside of others
    #[arg(
        id = "max_subscription_filters",
        long = "max-subscription-filters",
        default_value_t = Self::DEFAULT.max_filters,
        value_name = "COUNT"
    )]
    pub max_filters: usize,
    /// Deepest nesting of filter expressions
    #[arg(
        id = "max_filter_depth",
        long = "max-filter-depth",
        default_value_t = Self::DEFAULT.max_filter_depth,
        value_name = "LEVELS"
    )]
    pub max_filter_depth: usize,
}

impl SubscriptionLimits {
    /// The limits that hold without configuration.
    pub const DEFAULT: Self = Self {
        max_subscriptions: 1_000,
        max_bytes: 256 * 1024,
        max_constraints: 10_000,
        max_filters: 1_000,
        max_filter_depth: 16,
    };

    /// No limits but those of memory and of the nesting of JSON. For lists that were limited before they were written
    /// down: what tokens and rules add to them does not count.
    pub const UNLIMITED: Self = Self {
        max_subscriptions: usize::MAX,
        max_bytes: usize::MAX,
        max_constraints: usize::MAX,
        max_filters: usize::MAX,
        max_filter_depth: usize::MAX,
    };
}

impl Default for SubscriptionLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn from_flags(flags: &[&str]) -> SubscriptionLimits {
        let command = SubscriptionLimits::augment_args(Command::new("x"));
        let matches = command
            .try_get_matches_from([&["x"], flags].concat())
            .unwrap();
        SubscriptionLimits::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn flags_without_value_have_the_documented_defaults() {
        assert_eq!(from_flags(&[]), SubscriptionLimits::default());
        assert_eq!(
            from_flags(&["--max-subscriptions-per-connection", "5"]).max_subscriptions,
            5
        );
        assert_eq!(from_flags(&["--max-subscription-bytes", "6"]).max_bytes, 6);
    }
}
