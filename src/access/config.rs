//! The settings of the door.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::rules::Rules;

/// Who may subscribe and submit, and where tokens may stand.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Access")]
pub struct AccessConfig {
    /// Who may subscribe: `no_check`, `jwt_validation`, `rules`, or a URL that is asked
    #[arg(long, value_name = "CHECK", default_value = "no_check")]
    pub subscription_check: CheckKind,
    /// Who may submit events on the public port: as SUBSCRIPTION_CHECK
    #[arg(long, value_name = "CHECK", default_value = "no_check")]
    pub submission_check: CheckKind,
    /// Time in which a URL that is asked has to answer; otherwise it denies
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = crate::settings::duration)]
    pub check_timeout: Duration,
    /// Time for which the answer of a URL about subscriptions counts; 0s asks each time
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = crate::settings::duration)]
    pub check_cache_ttl: Duration,
    /// Rules for the check `rules`: JSON, or the path of a file with it
    #[arg(long, value_name = "RULES")]
    pub access_rules: Option<String>,
    /// Cookie that may hold a token; only with a list of origins in CORS
    #[arg(long, value_name = "NAME")]
    pub jwt_cookie: Option<String>,
    /// Time for which a ticket can be redeemed
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::settings::duration)]
    pub ticket_ttl: Duration,
}

/// Who decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CheckKind {
    /// Everybody may.
    #[default]
    NoCheck,
    /// Whoever has a token.
    JwtValidation,
    /// The table of rules.
    Rules,
    /// A server.
    Url(Uri),
}

/// Why a check is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected no_check, jwt_validation, rules, or a URL such as http://checker:8080/check")]
pub struct NotACheck;

impl FromStr for CheckKind {
    type Err = NotACheck;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "no_check" => return Ok(Self::NoCheck),
            "jwt_validation" => return Ok(Self::JwtValidation),
            "rules" => return Ok(Self::Rules),
            _ => {}
        }
        let uri: Uri = text.trim().parse().map_err(|_| NotACheck)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_plain = uri
            .authority()
            .is_some_and(|name| !name.as_str().contains('@'));
        if is_http && is_plain {
            Ok(Self::Url(uri))
        } else {
            Err(NotACheck)
        }
    }
}

/// Why the settings of the door are refused.
#[derive(Debug, thiserror::Error)]
pub enum AccessConfigError {
    /// There is nothing to verify tokens with.
    #[error(
        "{setting} needs tokens, but none of JWT_SECRET_KEY, JWT_JWKS_URL and JWT_OIDC_ISSUER is set"
    )]
    NoKeys {
        /// The setting.
        setting: &'static str,
    },
    /// There are no rules.
    #[error("{setting} is rules, but ACCESS_RULES is not set")]
    NoRules {
        /// The setting.
        setting: &'static str,
    },
    /// The rules cannot be read.
    #[error("ACCESS_RULES: {0}")]
    Rules(#[from] super::rules::RulesError),
    /// The file with the rules cannot be read.
    #[error("cannot read {path}, which ACCESS_RULES names: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Any page could use the cookie.
    #[error("JWT_COOKIE needs a list of origins in CORS: with * every page could use the cookie")]
    CookieForAll,
}

impl AccessConfig {
    /// Reads the rules and looks whether the settings fit each other; `has_keys` says whether tokens can
    /// be verified, `has_origins` whether CORS is a list.
    ///
    /// # Errors
    /// [`AccessConfigError`] that names the setting.
    pub fn load_rules(
        &self,
        has_keys: bool,
        has_origins: bool,
    ) -> Result<Option<Arc<Rules>>, AccessConfigError> {
        let rules = self.access_rules.as_deref().map(read_rules).transpose()?;
        for (setting, check) in [
            ("SUBSCRIPTION_CHECK", &self.subscription_check),
            ("SUBMISSION_CHECK", &self.submission_check),
        ] {
            if *check == CheckKind::JwtValidation && !has_keys {
                return Err(AccessConfigError::NoKeys { setting });
            }
            if *check == CheckKind::Rules && rules.is_none() {
                return Err(AccessConfigError::NoRules { setting });
            }
        }
        if self.jwt_cookie.is_some() && !has_origins {
            return Err(AccessConfigError::CookieForAll);
        }
        Ok(rules.map(Arc::new))
    }
}

fn read_rules(text: &str) -> Result<Rules, AccessConfigError> {
    if text.trim_start().starts_with('{') {
        return Ok(Rules::parse(text)?);
    }
    let json = std::fs::read_to_string(text).map_err(|source| AccessConfigError::Unreadable {
        path: text.into(),
        source,
    })?;
    Ok(Rules::parse(&json)?)
}
