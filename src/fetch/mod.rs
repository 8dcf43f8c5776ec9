//! Requests to other HTTP servers.
