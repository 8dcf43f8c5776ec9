//! Algorithms of signatures (RFC 7518, 3.1; RFC 8037; RFC 9864), and which kind of key each of them needs.

use std::fmt;
use std::str::FromStr;

use jsonwebtoken::Algorithm as Jwa;

/// An algorithm that can be accepted. `none` is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// Ed25519; tokens may call it `EdDSA` or `Ed25519`.
    EdDsa,
}

/// A text that names no algorithm of [`Algorithm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA"
)]
pub struct UnknownAlgorithm;

impl Algorithm {
    const ALL: [(Self, &'static str, Jwa); 12] = [
        (Self::Hs256, "HS256", Jwa::HS256),
        (Self::Hs384, "HS384", Jwa::HS384),
        (Self::Hs512, "HS512", Jwa::HS512),
        (Self::Rs256, "RS256", Jwa::RS256),
        (Self::Rs384, "RS384", Jwa::RS384),
        (Self::Rs512, "RS512", Jwa::RS512),
        (Self::Ps256, "PS256", Jwa::PS256),
        (Self::Ps384, "PS384", Jwa::PS384),
        (Self::Ps512, "PS512", Jwa::PS512),
        (Self::Es256, "ES256", Jwa::ES256),
        (Self::Es384, "ES384", Jwa::ES384),
        (Self::EdDsa, "EdDSA", Jwa::EdDSA),
    ];

    /// Returns the algorithm that a token or a key set names, in exactly this spelling (RFC 7515, 4.1.1).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        // RFC 9864 gives EdDSA with this curve a name of its own.
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        let found = Self::ALL.iter().find(|(_, known, _)| *known == name);
        found.map(|(algorithm, ..)| *algorithm)
    }

    /// Returns the name that tokens have.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    pub(super) fn jwa(self) -> Jwa {
        self.row().2
    }

    fn row(self) -> &'static (Self, &'static str, Jwa) {
        Self::ALL
            .iter()
            .find(|(algorithm, ..)| *algorithm == self)
            .expect("the table has all algorithms")
    }

    pub(super) const fn is_hmac(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }

    /// Returns the size of the hash in bytes, which is the least that a secret should have (RFC 7518, 3.2).
    pub(super) const fn hash_bytes(self) -> usize {
        match self {
            Self::Hs256 | Self::Rs256 | Self::Ps256 | Self::Es256 => 32,
            Self::Hs384 | Self::Rs384 | Self::Ps384 | Self::Es384 => 48,
            Self::Hs512 | Self::Rs512 | Self::Ps512 | Self::EdDsa => 64,
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Reads the value of a setting, in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let mut known = Self::ALL.iter();
        known
            .find(|(_, name, _)| name.eq_ignore_ascii_case(text))
            .map(|(algorithm, ..)| *algorithm)
            .ok_or(UnknownAlgorithm)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What a key is, which decides what can be verified with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// A secret that both sides share.
    Secret,
    /// An RSA key of at least 2,048 bits.
    Rsa,
    /// A point on NIST's curve P-256.
    P256,
    /// A point on NIST's curve P-384.
    P384,
    /// An Ed25519 key.
    Ed25519,
}

impl KeyKind {
    /// Returns the algorithms that can be used with such a key, the usual one first.
    pub(super) const fn algorithms(self) -> &'static [Algorithm] {
        use Algorithm as A;
        match self {
            Self::Secret => &[A::Hs256, A::Hs384, A::Hs512],
            Self::Rsa => &[A::Rs256, A::Rs384, A::Rs512, A::Ps256, A::Ps384, A::Ps512],
            Self::P256 => &[A::Es256],
            Self::P384 => &[A::Es384],
            Self::Ed25519 => &[A::EdDsa],
        }
    }

    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Secret => "a secret",
            Self::Rsa => "an RSA key",
            Self::P256 => "a P-256 key",
            Self::P384 => "a P-384 key",
            Self::Ed25519 => "an Ed25519 key",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_algorithms_in_one_spelling_and_settings_in_any() {
        for (algorithm, name, _) in Algorithm::ALL {
            assert_eq!(Algorithm::named(name), Some(algorithm));
            assert_eq!(name.to_lowercase().parse(), Ok(algorithm));
            assert_eq!(Algorithm::named(&name.to_lowercase()), None);
        }
        assert_eq!(Algorithm::named("Ed25519"), Some(Algorithm::EdDsa));
    }

    #[test]
    fn none_and_what_cannot_be_verified_are_no_algorithms() {
        for name in [
            "none", "None", "NONE", "nOnE", "", " ", "ES512", "ES256K", "RSA1_5", "dir",
        ] {
            assert_eq!(Algorithm::named(name), None, "{name}");
            assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm), "{name}");
        }
    }
}
