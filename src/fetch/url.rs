//! URLs as settings have them.

use http::Uri;

/// Why a text is no URL that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL at all.
    #[error("expected a URL such as https://id.example/keys")]
    NotAUrl,
    /// A scheme of another protocol, or none.
    #[error("the URL has to start with https:// or http://")]
    Scheme,
    /// A user or a password before the host; they would be sent in the clear and end up in logs.
    #[error("the URL must not contain a user or a password")]
    User,
}

/// Reads an absolute URL with the scheme `https` or `http`; a value parser for `clap`.
///
/// # Errors
/// [`UrlError`]; it does not repeat the text.
pub fn parse_url(text: &str) -> Result<Uri, UrlError> {
    let uri: Uri = text.trim().parse().map_err(|_| UrlError::NotAUrl)?;
    if !matches!(uri.scheme_str(), Some("https" | "http")) {
        return Err(UrlError::Scheme);
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => Err(UrlError::User),
        Some(authority) if !authority.host().is_empty() => Ok(uri),
        _ => Err(UrlError::NotAUrl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_urls_of_http_are_read() {
        for text in [
            "https://id.example/keys",
            "http://127.0.0.1:8080",
            "https://[::1]:8443/a?b=c",
            " https://id.example ",
        ] {
            assert!(parse_url(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (text, error) in [
            ("", UrlError::NotAUrl),
            ("/keys", UrlError::Scheme),
            ("id.example", UrlError::Scheme),
            ("id.example:443", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::NotAUrl),
            ("ftp://id.example/", UrlError::Scheme),
            ("https://", UrlError::NotAUrl),
            ("https:///keys", UrlError::NotAUrl),
            ("https://user:secret@id.example/", UrlError::User),
            ("https://id.example/a b", UrlError::NotAUrl),
        ] {
            assert_eq!(parse_url(text), Err(error), "{text}");
        }
    }
}
