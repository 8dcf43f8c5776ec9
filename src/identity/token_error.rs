//! Why a token is refused.

/// Why a token is refused. The texts are for whoever sent it; they hold nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// No key is configured, so that no token can be taken.
    #[error("tokens are not accepted here")]
    NotConfigured,
    /// Not three parts in base64url, of which the first two are JSON objects; or larger than 16 KiB.
    #[error("not a signed token (JWT)")]
    Malformed,
    /// The header asks for what nobody may ask for: `crit`, `b64`, a key or a URL of its own, a `kid`
    /// that looks like a path.
    #[error("the token's header has a parameter that is not accepted")]
    Header,
    /// The algorithm is missing, not known, `none`, or not one of the key's.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// The issuer's keys do not have the one that the token names, or none that fits it.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The signature is not that of the key over these bytes.
    #[error("Invalid signature")]
    Signature,
    /// `exp` is missing or not a number.
    #[error("the token does not say when it expires")]
    NoExpiry,
    /// `exp` is not in the future.
    #[error("token expired")]
    Expired,
    /// `nbf` is in the future, or not a number.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iss` is not one of those that are accepted.
    #[error("the token is of another issuer")]
    Issuer,
    /// `aud` names nobody of those for whom tokens are accepted.
    #[error("the token is for another audience")]
    Audience,
    /// The keys of the issuer cannot be had at the moment: nobody's fault who sends a token.
    #[error("the keys that verify tokens cannot be had at the moment")]
    KeysUnavailable,
}

impl TokenError {
    /// All reasons, in the order of their metrics.
    pub const ALL: [Self; 12] = [
        Self::NotConfigured,
        Self::Malformed,
        Self::Header,
        Self::Algorithm,
        Self::UnknownKey,
        Self::Signature,
        Self::NoExpiry,
        Self::Expired,
        Self::NotYetValid,
        Self::Issuer,
        Self::Audience,
        Self::KeysUnavailable,
    ];

    /// Returns the value of the label `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::Malformed => "malformed",
            Self::Header => "header",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::NoExpiry => "no_expiry",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }

    /// Returns whether the same token may be accepted a little later: 503 and not 401.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::KeysUnavailable)
    }
}
