//! The settings for tokens, and what has to hold of them before an instance starts.

use std::time::Duration;

use http::Uri;

use super::algorithm::Algorithm;
use super::key::{PublicKey, VerifyingKey};
use super::pem::{self, PemError};
use crate::event::{JsonPointer, PointerError};
use crate::fetch::{UrlError, parse_url};
use crate::settings::{self, Secret};

/// With which keys tokens are verified, and what they have to claim.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Tokens")]
pub struct IdentityConfig {
    /// Secret that signs tokens, or a public key or certificate in PEM
    #[arg(long, value_name = "SECRET|PEM", default_value = "")]
    pub jwt_secret_key: Secret,
    /// Algorithms of tokens that are accepted, comma-separated; without, HS256 for a secret, and for other keys what they are made for
    #[arg(long, value_name = "ALGORITHM,…", value_delimiter = ',')]
    pub jwt_alg: Vec<Algorithm>,
    /// Where the issuer of tokens publishes its keys (JWK set)
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    pub jwt_jwks_url: Option<Uri>,
    /// OpenID Connect issuer that publishes where its keys are, and that tokens have to name in `iss`
    #[arg(long, value_name = "URL", value_parser = parse_issuer)]
    pub jwt_oidc_issuer: Option<Box<str>>,
    /// Issuers of which a token has to name one in `iss`, comma-separated; without, any is accepted
    #[arg(long, value_name = "ISSUER,…", value_delimiter = ',')]
    pub jwt_issuer: Vec<Box<str>>,
    /// Audiences of which a token has to name one in `aud`, comma-separated; without, any is accepted
    #[arg(long, value_name = "AUDIENCE,…", value_delimiter = ',')]
    pub jwt_audience: Vec<Box<str>>,
    /// By how much the clocks of the issuer and of this instance may differ
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = leeway)]
    pub jwt_leeway: Duration,
    /// JSON pointer to the claim that names the session, by which connections can be ended
    #[arg(long, value_name = "POINTER", default_value = "/jti", value_parser = JsonPointer::parse)]
    pub jwt_session_field: JsonPointer,
    /// JSON pointer to the claim that names the user
    #[arg(long, value_name = "POINTER", default_value = "/sub", value_parser = JsonPointer::parse)]
    pub jwt_user_field: JsonPointer,
    /// How often the issuer's keys are fetched again
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = fetch_interval)]
    pub jwt_jwks_refresh: Duration,
    /// Least time between two fetches of the issuer's keys when tokens name a key that is not known
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = fetch_interval)]
    pub jwt_jwks_cooldown: Duration,
}

/// Why tokens cannot be verified as configured. None of the texts has the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Keys from two places.
    #[error("{one} and {other} are both set; tokens are verified with the keys of one place")]
    TwoSources {
        /// One of the settings.
        one: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// The issuer is given twice.
    #[error(
        "JWT_ISSUER and JWT_OIDC_ISSUER are both set; the latter is the issuer that tokens have to name"
    )]
    TwoIssuers,
    /// A secret of blanks.
    #[error("JWT_SECRET_KEY has only white space")]
    BlankSecret,
    /// A text in PEM that is no key.
    #[error("JWT_SECRET_KEY {source}")]
    Pem {
        /// What is wrong with it.
        source: PemError,
    },
    /// An algorithm for another kind of key.
    #[error("JWT_ALG has {algorithm}, but JWT_SECRET_KEY is {kind}")]
    AlgorithmOfAnotherKey {
        /// The algorithm.
        algorithm: Algorithm,
        /// What the key is.
        kind: &'static str,
    },
    /// A secret cannot be published.
    #[error(
        "JWT_ALG has {algorithm}, which needs a secret, but {setting} is set: its keys are public"
    )]
    SecretAlgorithmForKeySet {
        /// The algorithm.
        algorithm: Algorithm,
        /// Where the keys come from.
        setting: &'static str,
    },
    /// A setting without a key, by which its author must have meant that tokens are checked.
    #[error(
        "{setting} is set, but there is no key to verify tokens with: set JWT_SECRET_KEY, JWT_JWKS_URL or JWT_OIDC_ISSUER"
    )]
    NoKey {
        /// The setting.
        setting: &'static str,
    },
}

/// Where keys come from.
#[derive(Debug)]
pub(super) enum KeySource {
    /// From nowhere: no token is accepted.
    None,
    /// From the configuration.
    Fixed(VerifyingKey),
    /// From the key set at a URL.
    KeySet(Uri),
    /// From the key set that an issuer names in its discovery document.
    Issuer(Box<str>),
}

impl IdentityConfig {
    /// Checks the settings with each other, and reads the key.
    ///
    /// # Errors
    /// [`IdentityError`], which stops the start: to go on would accept other tokens than was meant.
    pub fn check(&self) -> Result<(), IdentityError> {
        self.key_source().map(|_| ())
    }

    /// Returns whether a key, or where to get one, is set.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.sources().next().is_some()
    }

    fn sources(&self) -> impl Iterator<Item = &'static str> {
        let sources = [
            (!self.jwt_secret_key.reveal().is_empty(), "JWT_SECRET_KEY"),
            (self.jwt_jwks_url.is_some(), "JWT_JWKS_URL"),
            (self.jwt_oidc_issuer.is_some(), "JWT_OIDC_ISSUER"),
        ];
        sources
            .into_iter()
            .filter(|(is_set, _)| *is_set)
            .map(|(_, name)| name)
    }

    pub(super) fn key_source(&self) -> Result<KeySource, IdentityError> {
        let mut sources = self.sources();
        let source = sources.next();
        if let (Some(one), Some(other)) = (source, sources.next()) {
            return Err(IdentityError::TwoSources { one, other });
        }
        if self.jwt_oidc_issuer.is_some() && !self.issuers_named().is_empty() {
            return Err(IdentityError::TwoIssuers);
        }
        let Some(setting) = source else {
            return self.without_key();
        };
        match (&self.jwt_jwks_url, &self.jwt_oidc_issuer) {
            (None, None) => self.fixed_key().map(KeySource::Fixed),
            (Some(url), _) => {
                self.refuse_hmac(setting)?;
                Ok(KeySource::KeySet(url.clone()))
            }
            (None, Some(issuer)) => {
                self.refuse_hmac(setting)?;
                Ok(KeySource::Issuer(issuer.clone()))
            }
        }
    }

    /// Rules for tokens without a key are a mistake; `JWT_ALG` alone is what RIG's users have.
    fn without_key(&self) -> Result<KeySource, IdentityError> {
        let rules = [
            (!self.issuers_named().is_empty(), "JWT_ISSUER"),
            (!self.audiences().is_empty(), "JWT_AUDIENCE"),
        ];
        match rules.into_iter().find(|(is_set, _)| *is_set) {
            Some((_, setting)) => Err(IdentityError::NoKey { setting }),
            None => Ok(KeySource::None),
        }
    }

    fn fixed_key(&self) -> Result<VerifyingKey, IdentityError> {
        let text = self.jwt_secret_key.reveal();
        if text.trim().is_empty() {
            return Err(IdentityError::BlankSecret);
        }
        let key = if pem::looks_like_pem(text) {
            pem::read(text).map_err(|source| IdentityError::Pem { source })?
        } else {
            PublicKey::secret(text.as_bytes())
        };
        let kind = key.kind;
        let misfit = |algorithm: Algorithm| IdentityError::AlgorithmOfAnotherKey {
            algorithm,
            kind: kind.describe(),
        };
        let fits = |algorithm: &&Algorithm| kind.algorithms().contains(algorithm);
        if let Some(algorithm) = self.jwt_alg.iter().find(|algorithm| !fits(algorithm)) {
            return Err(misfit(*algorithm));
        }
        let usual = kind.algorithms().get(..1).unwrap_or_default();
        let key = VerifyingKey::new(key, &self.jwt_alg, usual);
        let key = key
            .expect("every kind of key has an algorithm, and those that do not fit were refused");
        Ok(key)
    }

    /// Tells the operator what is allowed, but should not stay so.
    pub(super) fn warn_of_weaknesses(&self) {
        let secret = self.jwt_secret_key.reveal();
        let hashes = self.jwt_alg.iter().map(|algorithm| algorithm.hash_bytes());
        let needed_bytes = hashes.max().unwrap_or(Algorithm::Hs256.hash_bytes());
        let is_secret = !secret.is_empty() && !pem::looks_like_pem(secret);
        if is_secret && secret.len() < needed_bytes {
            tracing::warn!(
                length_bytes = secret.len(),
                needed_bytes,
                "JWT_SECRET_KEY is shorter than the hash: whoever sees one token can try to guess it \
                 and forge any other (RFC 7518, 3.2)"
            );
        }
        let urls = [
            self.jwt_jwks_url.as_ref().map(ToString::to_string),
            self.jwt_oidc_issuer.as_deref().map(str::to_owned),
        ];
        let is_clear = |url: &String| parse_url(url).is_ok_and(|url| is_in_the_clear(&url));
        if urls.iter().flatten().any(is_clear) {
            tracing::warn!(
                "the keys of tokens are fetched without TLS: whoever stands between can put in their \
                 own and forge any token"
            );
        }
    }

    fn refuse_hmac(&self, setting: &'static str) -> Result<(), IdentityError> {
        match self.jwt_alg.iter().find(|algorithm| algorithm.is_hmac()) {
            Some(algorithm) => Err(IdentityError::SecretAlgorithmForKeySet {
                algorithm: *algorithm,
                setting,
            }),
            None => Ok(()),
        }
    }

    /// Returns the issuers of which a token has to name one.
    pub(super) fn issuers(&self) -> Vec<Box<str>> {
        match &self.jwt_oidc_issuer {
            Some(issuer) => vec![issuer.clone()],
            None => self.issuers_named(),
        }
    }

    fn issuers_named(&self) -> Vec<Box<str>> {
        without_blanks(&self.jwt_issuer)
    }

    pub(super) fn audiences(&self) -> Vec<Box<str>> {
        without_blanks(&self.jwt_audience)
    }
}

fn without_blanks(list: &[Box<str>]) -> Vec<Box<str>> {
    let names = list.iter().map(|name| name.trim());
    names
        .filter(|name| !name.is_empty())
        .map(Into::into)
        .collect()
}

/// Returns whether what is got from a URL crosses a network unprotected.
fn is_in_the_clear(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    url.scheme_str() != Some("https") && !is_here
}

/// Reads an issuer identifier (OpenID Connect Discovery 1.0, 2): a URL without query and fragment.
fn parse_issuer(text: &str) -> Result<Box<str>, UrlError> {
    let url = parse_url(text)?;
    if url.query().is_some() || text.contains('#') {
        return Err(UrlError::NotAUrl);
    }
    // Kept as it was written: it has to be the same, byte for byte, wherever it stands.
    Ok(text.trim().into())
}

/// Longer ones would let in tokens that have long expired.
const MAX_LEEWAY: Duration = Duration::from_secs(600);
/// Shorter ones would be a load for the issuer.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(1);

/// A duration out of its range.
#[derive(Debug, thiserror::Error)]
enum RangeError {
    #[error(transparent)]
    Value(#[from] settings::ValueError),
    #[error("at most 10m")]
    LeewayTooLong,
    #[error("at least 1s")]
    IntervalTooShort,
}

fn leeway(text: &str) -> Result<Duration, RangeError> {
    let leeway = settings::duration(text)?;
    (leeway <= MAX_LEEWAY)
        .then_some(leeway)
        .ok_or(RangeError::LeewayTooLong)
}

fn fetch_interval(text: &str) -> Result<Duration, RangeError> {
    let interval = settings::duration(text)?;
    (interval >= MIN_FETCH_INTERVAL)
        .then_some(interval)
        .ok_or(RangeError::IntervalTooShort)
}

impl Default for IdentityConfig {
    /// No key: no token is accepted.
    fn default() -> Self {
        let pointer = |text| -> Result<JsonPointer, PointerError> { JsonPointer::parse(text) };
        Self {
            jwt_secret_key: Secret::default(),
            jwt_alg: Vec::new(),
            jwt_jwks_url: None,
            jwt_oidc_issuer: None,
            jwt_issuer: Vec::new(),
            jwt_audience: Vec::new(),
            jwt_leeway: Duration::ZERO,
            jwt_session_field: pointer("/jti").expect("a pointer"),
            jwt_user_field: pointer("/sub").expect("a pointer"),
            jwt_jwks_refresh: Duration::from_secs(300),
            jwt_jwks_cooldown: Duration::from_secs(10),
        }
    }
}
