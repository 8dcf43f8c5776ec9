//! Tokens of a test's own making, signed with a secret.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::gateway::Settings;

/// The secret; as long as HS256 wants it.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Returns the time in so many seconds, in Unix seconds.
pub fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + seconds
}

/// Returns a token with these claims, exactly.
pub fn signed(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

/// Returns a token of a user with a session, good for an hour.
pub fn token(user: &str, session: &str) -> String {
    token_for(user, session, 3600)
}

/// Returns a token of a user with a session, good for so many seconds.
pub fn token_for(user: &str, session: &str, seconds: i64) -> String {
    signed(&json!({ "sub": user, "username": user, "jti": session, "exp": in_seconds(seconds) }))
}

/// Extractors by which the type `personal` belongs to the user that `/data/name` names.
pub const PERSONAL: &str = r#"{"personal":{"name":{"stable_field_index":1,"event":{"json_pointer":"/data/name"},"jwt":{"json_pointer":"/username"}}}}"#;

impl Settings {
    /// Verifies tokens with [`SECRET`], and has [`PERSONAL`] events.
    pub fn with_tokens(self) -> Self {
        self.with("JWT_SECRET_KEY", SECRET)
            .with("EXTRACTORS", PERSONAL)
    }
}
