//! The number of a session that no instance holds: what its token seals, and its key in the shared state.

/// The number of a session, which its token seals.
pub(super) type SessionId = [u8; 16];

/// Returns the key of a session in the shared state.
pub(super) fn key(id: SessionId) -> String {
    uuid::Uuid::from_bytes(id).simple().to_string()
}

/// Reads the key of a session in the shared state.
pub(super) fn session_id(key: &str) -> Option<SessionId> {
    uuid::Uuid::parse_str(key).ok().map(|id| *id.as_bytes())
}
