//! The kinds of values of which settings are made, as people write them: durations, sizes, booleans
//! and secrets.
//!
//! The functions are value parsers for `clap`: `#[arg(value_parser = settings::duration)]`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a value is not what its setting expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a duration.
    #[error("expected a duration such as 500ms, 15s, 5m or 1h")]
    Duration,
    /// Not a size.
    #[error("expected a size such as 4096, 512KiB, 64MiB or 1GiB")]
    Size,
    /// Not a boolean.
    #[error("expected true, false, yes, no, 1 or 0")]
    Boolean,
    /// The value does not fit the range that this machine can count.
    #[error("too large")]
    TooLarge,
}

/// The longest duration, so that no clock overflows: a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Parses a duration of at most a hundred years; a plain number counts seconds.
///
/// # Errors
/// [`ValueError`] when `text` is not a number with one of the units `ms`, `s`, `m`, `h`, `d` or none, or too large.
pub fn duration(text: &str) -> Result<Duration, ValueError> {
    duration_with_unit(text, "s")
}

/// Parses a duration; a plain number counts milliseconds, as in RIG's variables ending in `_MS` or `_TIMEOUT`.
///
/// # Errors
/// As [`duration`].
pub fn duration_ms(text: &str) -> Result<Duration, ValueError> {
    duration_with_unit(text, "ms")
}

fn duration_with_unit(text: &str, default_unit: &str) -> Result<Duration, ValueError> {
    let (number, unit) = number_and_unit(text).ok_or(ValueError::Duration)?;
    let unit = if unit.is_empty() {
        default_unit.to_owned()
    } else {
        unit.to_ascii_lowercase()
    };
    let number: u64 = number.parse().map_err(|_| ValueError::TooLarge)?;
    let unit_ms = match unit.as_str() {
        "ms" => 1,
        "s" | "sec" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(ValueError::Duration),
    };
    let duration = number.checked_mul(unit_ms).map(Duration::from_millis);
    duration
        .filter(|duration| *duration <= LONGEST)
        .ok_or(ValueError::TooLarge)
}

/// Parses a size in bytes; `KiB`, `MiB` and `GiB` (also `K`, `M`, `G`) are powers of 1024, `kB`, `MB` and `GB` of 1000.
///
/// # Errors
/// [`ValueError`] when `text` is not a number with one of these units or none, or does not fit.
pub fn bytes(text: &str) -> Result<usize, ValueError> {
    let (number, unit) = number_and_unit(text).ok_or(ValueError::Size)?;
    let number: usize = number.parse().map_err(|_| ValueError::TooLarge)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(ValueError::Size),
    };
    number.checked_mul(factor).ok_or(ValueError::TooLarge)
}

/// Parses a boolean: `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`, in any case.
///
/// # Errors
/// [`ValueError::Boolean`] for anything else.
pub fn boolean(text: &str) -> Result<bool, ValueError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(ValueError::Boolean),
    }
}

/// Splits `"15 s"` into `("15", "s")`; `None` when it does not start with a digit.
fn number_and_unit(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    (!number.is_empty()).then(|| (number, unit.trim_start()))
}

/// A value that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Keeps `value` secret.
    #[must_use]
    pub fn new(value: &str) -> Self {
        Self(value.into())
    }

    /// Returns the value itself: for the one place that needs it, never for a log line.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

/// Returns a text that may be a URL, with `***` for a user and password in it: to be said in an error.
#[must_use]
pub fn without_password(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else {
        // USER:PASSWORD@HOST is what remains of a URL without its scheme.
        return match text.rsplit_once('@') {
            Some((login, host)) if login.contains(':') => format!("***@{host}").into(),
            _ => text.into(),
        };
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{path}").into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_neither_user_nor_password_is_said() {
        for (text, said) in [
            ("http://user:secret@host/a?b", "http://***@host/a?b"),
            ("http://us@er:secret@host", "http://***@host"),
            ("http://host/a@b", "http://host/a@b"),
            ("user@host", "user@host"),
            ("user:secret@host:1", "***@host:1"),
        ] {
            assert_eq!(without_password(text), said);
        }
    }

    #[test]
    fn durations_carry_their_unit_or_the_default_one() {
        let cases = [
            ("15", Duration::from_secs(15), Duration::from_millis(15)),
            ("15s", Duration::from_secs(15), Duration::from_secs(15)),
            ("15 s", Duration::from_secs(15), Duration::from_secs(15)),
            (
                "500ms",
                Duration::from_millis(500),
                Duration::from_millis(500),
            ),
            (
                "500MS",
                Duration::from_millis(500),
                Duration::from_millis(500),
            ),
            (" 2m ", Duration::from_secs(120), Duration::from_secs(120)),
            ("1h", Duration::from_secs(3_600), Duration::from_secs(3_600)),
            (
                "7d",
                Duration::from_secs(604_800),
                Duration::from_secs(604_800),
            ),
            ("0", Duration::ZERO, Duration::ZERO),
        ];
        for (text, as_seconds, as_milliseconds) in cases {
            assert_eq!(duration(text), Ok(as_seconds), "{text}");
            assert_eq!(duration_ms(text), Ok(as_milliseconds), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "s", "-1", "1.5s", "1 y", "ms500", "1s2", "١s"] {
            assert_eq!(duration(text), Err(ValueError::Duration), "{text}");
        }
        for text in [
            "99999999999999999999",
            "18446744073709551615d",
            "18446744073709551615",
            "18446744073709551615ms",
            "36501d",
        ] {
            assert_eq!(duration(text), Err(ValueError::TooLarge), "{text}");
        }
        assert_eq!(duration("36500d"), Ok(LONGEST));
    }

    #[test]
    fn sizes_are_binary_or_decimal() {
        let cases = [
            ("0", 0),
            ("4096", 4_096),
            ("1b", 1),
            ("64KiB", 65_536),
            ("64k", 65_536),
            ("64 MiB", 67_108_864),
            ("1gib", 1_073_741_824),
            ("1kB", 1_000),
            ("2MB", 2_000_000),
            ("3GB", 3_000_000_000),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "MiB", "-1", "1.5MiB", "1TiBs", "0x10"] {
            assert_eq!(bytes(text), Err(ValueError::Size), "{text}");
        }
        assert_eq!(bytes("18446744073709551615GiB"), Err(ValueError::TooLarge));
    }

    #[test]
    fn booleans_come_in_four_spellings() {
        for text in ["true", "TRUE", "yes", "on", "1", " 1 "] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["false", "False", "no", "off", "0"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["", "2", "truthy", "nil"] {
            assert_eq!(boolean(text), Err(ValueError::Boolean), "{text}");
        }
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret: Secret = "hunter2".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(secret.reveal(), "hunter2");
    }
}
