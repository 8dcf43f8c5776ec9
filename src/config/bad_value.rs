//! Bad values, told as people wrote them.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::ConfigError;
use super::sources::{Merged, Origin, SECRETS};

/// Says of the value of the setting `id`, which is no secret, what was expected.
pub(super) fn of(merged: &Merged, id: &str, value: &str, expected: String) -> ConfigError {
    let origin = merged.origins.get(id).unwrap_or(&Origin::Default);
    ConfigError::BadValue {
        origin: origin.to_string(),
        value: format!("{value:?}"),
        expected,
    }
}

/// Says of a bad value where it stands, instead of naming a flag that nobody gave.
pub(super) fn explain(error: clap::Error, merged: &Merged) -> ConfigError {
    if !matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    ) {
        return error.into();
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let flag = text(ContextKind::InvalidArg);
    let id = flag
        .split(' ')
        .next()
        .unwrap_or_default()
        .trim_start_matches('-')
        .replace('-', "_");
    let value = if SECRETS.contains(&id.as_str()) {
        "the secret".to_owned()
    } else {
        let value = text(ContextKind::InvalidValue);
        format!("{:?}", crate::settings::without_password(&value))
    };
    let expected = match (
        std::error::Error::source(&error),
        error.get(ContextKind::ValidValue),
    ) {
        (Some(source), _) if source.is::<std::num::ParseIntError>() => {
            format!("expected a number that fits: {source}")
        }
        (Some(source), _) => source.to_string(),
        (None, Some(ContextValue::Strings(valid))) => format!("expected {}", valid.join(", ")),
        (None, _) => "not what was expected".to_owned(),
    };
    let origin = merged.origins.get(&id).map_or(flag, ToString::to_string);
    ConfigError::BadValue {
        origin,
        value,
        expected,
    }
}
