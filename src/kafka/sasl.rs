//! The login at the brokers.

use std::fmt;
use std::str::FromStr;

use super::ValueError;

/// A login by SASL. Its password is in no `Debug` output.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Sasl {
    /// No login.
    #[default]
    Off,
    /// A login by user and password.
    Login {
        /// librdkafka's name of the mechanism: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
        mechanism: &'static str,
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("Off"),
            Self::Login {
                mechanism, user, ..
            } => write!(f, "{mechanism}:{user}:***"),
        }
    }
}

impl FromStr for Sasl {
    type Err = ValueError;

    /// Parses `plain:user:password`, where the password may contain colons. Empty is [`Sasl::Off`].
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.trim().is_empty() {
            return Ok(Self::Off);
        }
        let mut parts = text.splitn(3, ':');
        let (Some(name), Some(user), Some(password)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(ValueError::Sasl);
        };
        let mechanism = match name.trim().to_ascii_lowercase().as_str() {
            "plain" => "PLAIN",
            "scram-sha-256" => "SCRAM-SHA-256",
            "scram-sha-512" => "SCRAM-SHA-512",
            _ => return Err(ValueError::Sasl),
        };
        if user.is_empty() || password.is_empty() {
            return Err(ValueError::Sasl);
        }
        Ok(Self::Login {
            mechanism,
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sasl_names_a_mechanism_and_hides_the_password() {
        let login = "plain:me:se:cret".parse::<Sasl>().unwrap();
        assert_eq!(
            login,
            Sasl::Login {
                mechanism: "PLAIN",
                user: "me".to_owned(),
                password: "se:cret".to_owned()
            }
        );
        assert_eq!(format!("{login:?}"), "PLAIN:me:***");
        assert_eq!("".parse::<Sasl>().unwrap(), Sasl::Off);
        for (text, name) in [
            ("SCRAM-SHA-256:u:p", "SCRAM-SHA-256"),
            ("scram-sha-512:u:p", "SCRAM-SHA-512"),
        ] {
            assert!(
                matches!(text.parse::<Sasl>().unwrap(), Sasl::Login { mechanism, .. } if mechanism == name)
            );
        }
        for text in ["plain", "plain:me", "plain::p", "plain:u:", "gssapi:u:p"] {
            let error = text.parse::<Sasl>().unwrap_err();
            assert_eq!(error, ValueError::Sasl, "{text:?}");
        }
    }
}
