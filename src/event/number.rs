//! Numbers of JSON by their exact value.

use std::cmp::Ordering;
use std::fmt;

/// From this many digits before the point, or zeros behind it, a number is written with an exponent.
const PLAIN_DIGITS: i64 = 40;

/// A JSON number, compared by its exact value: `30`, `30.0` and `3e1` are equal, 2^53 and 2^53+1 are not.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Number(Repr);

/// Every value has one form only: all that an `i64` can hold is `Integer`.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Integer(i64),
    Decimal(Box<Decimal>),
}

/// `digits` × 10^`exponent`; no zero at either end of `digits`, which is never empty.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Decimal {
    is_negative: bool,
    digits: Box<str>,
    exponent: i64,
}

impl Number {
    /// Reads a number in the grammar of JSON.
    ///
    /// Returns `None` for any other text, and for an exponent beyond 64 bits, which has no exact form here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() <= 18 && !text.contains(['.', 'e', 'E', '+']) {
            return text.parse().ok().map(|value| Self(Repr::Integer(value)));
        }
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent),
            None => (unsigned, "0"),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all: String = [whole, fraction].concat();
        if whole.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let significant = all.trim_start_matches('0');
        let digits = significant.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self::from(0));
        }
        let zeros = i64::try_from(significant.len() - digits.len()).ok()?;
        let places = i64::try_from(fraction.len()).ok()?;
        let exponent = exponent
            .parse::<i64>()
            .ok()?
            .checked_add(zeros)?
            .checked_sub(places)?;
        // The order needs the position of the first digit.
        exponent.checked_add(i64::try_from(digits.len()).ok()?)?;
        Some(Self::canonical(is_negative, digits, exponent))
    }

    fn canonical(is_negative: bool, digits: &str, exponent: i64) -> Self {
        if let Some(zeros) = usize::try_from(exponent)
            .ok()
            .filter(|zeros| zeros + digits.len() <= 19)
        {
            let sign = if is_negative { "-" } else { "" };
            if let Ok(value) = format!("{sign}{digits}{}", "0".repeat(zeros)).parse() {
                return Self(Repr::Integer(value));
            }
        }
        Self(Repr::Decimal(Box::new(Decimal {
            is_negative,
            digits: digits.into(),
            exponent,
        })))
    }

    /// Returns sign, position of the first digit before the point, and digits.
    fn parts(&self) -> (i8, i64, std::borrow::Cow<'_, str>) {
        match &self.0 {
            Repr::Integer(0) => (0, 0, "".into()),
            Repr::Integer(value) => {
                let text = value.unsigned_abs().to_string();
                let magnitude = i64::try_from(text.len()).unwrap_or(i64::MAX);
                let sign = if *value < 0 { -1 } else { 1 };
                (
                    sign,
                    magnitude,
                    text.trim_end_matches('0').to_owned().into(),
                )
            }
            Repr::Decimal(decimal) => {
                let sign = if decimal.is_negative { -1 } else { 1 };
                (sign, decimal.magnitude(), (&*decimal.digits).into())
            }
        }
    }
}

impl Decimal {
    /// Returns how many digits stand before the point; negative with zeros behind it.
    fn magnitude(&self) -> i64 {
        self.exponent
            .saturating_add(i64::try_from(self.digits.len()).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self(Repr::Integer(value))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Repr::Integer(one), Repr::Integer(two)) = (&self.0, &other.0) {
            return one.cmp(two);
        }
        let (sign, magnitude, digits) = self.parts();
        let (other_sign, other_magnitude, other_digits) = other.parts();
        sign.cmp(&other_sign).then_with(|| {
            let by_size = magnitude
                .cmp(&other_magnitude)
                .then_with(|| digits.cmp(&other_digits));
            if sign < 0 { by_size.reverse() } else { by_size }
        })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Writes the number as JSON: plain where that is short, else with an exponent.
impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimal = match &self.0 {
            Repr::Integer(value) => return write!(formatter, "{value}"),
            Repr::Decimal(decimal) => decimal,
        };
        if decimal.is_negative {
            formatter.write_str("-")?;
        }
        let digits = &*decimal.digits;
        let magnitude = decimal.magnitude();
        if !(-PLAIN_DIGITS..=PLAIN_DIGITS).contains(&magnitude) {
            let (first, rest) = digits.split_at_checked(1).unwrap_or((digits, ""));
            let point = if rest.is_empty() { "" } else { "." };
            return write!(
                formatter,
                "{first}{point}{rest}e{}",
                magnitude.saturating_sub(1)
            );
        }
        let Ok(before) = usize::try_from(magnitude) else {
            return write!(
                formatter,
                "0.{}{digits}",
                "0".repeat(usize::try_from(-magnitude).unwrap_or(0))
            );
        };
        match digits.split_at_checked(before) {
            Some((_, "")) => formatter.write_str(digits),
            Some((whole, fraction)) => {
                write!(
                    formatter,
                    "{}.{fraction}",
                    if whole.is_empty() { "0" } else { whole }
                )
            }
            None => write!(formatter, "{digits}{}", "0".repeat(before - digits.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
    }

    #[test]
    fn equal_values_are_equal_however_they_are_written() {
        for (one, other) in [
            ("30", "30.0"),
            ("30", "3e1"),
            ("30", "0.3E+2"),
            ("30", "300e-1"),
            ("0", "-0"),
            ("0", "0.000"),
            ("0", "0e99999999999999999999"),
            ("-0.0", "0"),
            ("1.5", "15e-1"),
            ("1E400", "10E399"),
            ("1e18", "1000000000000000000"),
            ("1e19", "10000000000000000000"),
            ("-9223372036854775808", "-9223372036854775808.0"),
            ("9223372036854775808", "9223372036854775808.0"),
            ("0.1", "1e-1"),
            (
                "1234567890123456789012345678901234567890",
                "123456789012345678901234567890123456789e1",
            ),
        ] {
            assert_eq!(number(one), number(other), "{one} {other}");
            assert_eq!(
                number(one).cmp(&number(other)),
                Ordering::Equal,
                "{one} {other}"
            );
            let both: HashSet<Number> = [number(one), number(other)].into();
            assert_eq!(both.len(), 1, "{one} {other}");
        }
    }

    #[test]
    fn close_values_differ_and_are_ordered() {
        for (smaller, larger) in [
            ("9007199254740992", "9007199254740993"),
            ("18446744073709551615", "18446744073709551616"),
            (
                "1234567890123456789012345678901234567890",
                "1234567890123456789012345678901234567891",
            ),
            ("0.1", "0.10000000000000000000000001"),
            ("1E400", "1E401"),
            ("-1E401", "-1E400"),
            ("-1", "0"),
            ("-0.5", "0.5"),
            ("9", "10.5"),
            ("9.99", "10"),
            ("1e-400", "1e-399"),
            ("0", "1e-400"),
            ("-2.5", "-2"),
            ("9223372036854775807", "9223372036854775808"),
            ("99", "1e9223372036854775000"),
        ] {
            assert!(number(smaller) < number(larger), "{smaller} {larger}");
            assert!(number(larger) > number(smaller), "{smaller} {larger}");
            assert_ne!(number(smaller), number(larger), "{smaller} {larger}");
        }
    }

    #[test]
    fn other_texts_and_endless_exponents_are_no_numbers() {
        for text in [
            "",
            "-",
            "e5",
            "1e",
            "1e+",
            "NaN",
            "Infinity",
            ".5",
            "1x",
            "1.2.3",
            "--1",
            "+1",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "0x10",
            "1 ",
            "1e9223372036854775807",
        ] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_written_as_people_write_them() {
        for (text, written) in [
            ("30.0", "30"),
            ("-1.50", "-1.5"),
            ("0.05", "0.05"),
            ("0.5", "0.5"),
            ("123.456e-3", "0.123456"),
            ("1E400", "1e400"),
            ("-1.25E-400", "-1.25e-400"),
            ("1e19", "10000000000000000000"),
            ("18446744073709551615", "18446744073709551615"),
            (
                "1234567890123456789012345678901234567890.5",
                "1234567890123456789012345678901234567890.5",
            ),
        ] {
            assert_eq!(number(text).to_string(), written);
        }
    }

    proptest! {
        #[test]
        fn written_and_read_again_is_the_same(text in "-?(0|[1-9][0-9]{0,45})(\\.[0-9]{1,45})?([eE][-+]?[0-9]{1,4})?") {
            let value = number(&text);
            prop_assert_eq!(number(&value.to_string()), value);
        }

        #[test]
        fn order_agrees_with_scaled_integers(one in -10_000_i64..10_000, two in -10_000_i64..10_000, places in 0..6) {
            let scaled = |value: i64| number(&format!("{value}e-{places}"));
            prop_assert_eq!(scaled(one).cmp(&scaled(two)), one.cmp(&two));
            prop_assert_eq!(scaled(one) == scaled(two), one == two);
        }
    }
}
