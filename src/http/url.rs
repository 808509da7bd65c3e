//! Which URLs are sent, and that they are sent as they are.

use reqwest::Url;

use super::address::is_loopback;
use super::config::HttpConfig;
use super::error::{HttpError, HttpErrorKind};

/// The longest URL that can be sent, in bytes: a limit of the `http` crate's `Uri`.
const MAX_URL_BYTES: usize = 65_534;

/// The URL that `location` means in an answer from `from`, if we go there.
pub(super) fn redirected(from: &Url, location: &str, config: &HttpConfig) -> Result<Url, HttpError> {
    let refused = |why: &str| {
        HttpError::new(HttpErrorKind::RedirectRefused, format!("{}: redirect refused: {why}", origin_of(from)))
    };
    let target = if location.contains("://") {
        sendable(location, config).map_err(|error| refused(&error.context))?
    } else {
        // A reference is resolved by definition, so there is no original spelling to keep.
        from.join(location).map_err(|error| refused(&error.to_string()))?
    };
    if from.scheme() == "https" && target.scheme() != "https" {
        return Err(refused("from https to http"));
    }
    Ok(target)
}

/// `text` as a URL that goes out byte for byte and to no host that it must not go to.
///
/// `Url` changes what it parses: in paths it encodes controls, space, `"`, `<`, `>`, `` ` ``, `{`, `}` and what is not ASCII,
/// turns `\` into `/` and resolves dot segments (`%2e` too); in queries it encodes controls, space, `"`, `<`, `>`, `'` and what is
/// not ASCII; it drops tabs and line ends everywhere (url 2.5, recorded by tests/suite/object_client.rs). A signed link that
/// needs any of this would break its signature, so it is refused. Scheme and host in upper case and a default port may be
/// rewritten: that is how every client sends them. A fragment is never sent.
pub(super) fn sendable(text: &str, config: &HttpConfig) -> Result<Url, HttpError> {
    let unsendable = |why: &str| HttpError::new(HttpErrorKind::UnsendableUrl, format!("link cannot be sent: {why}"));
    if text.len() > MAX_URL_BYTES || text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(unsendable("too long, or with blanks or control characters"));
    }
    // The parser's own error is only a kind, but it adds nothing that would help.
    let url = Url::parse(text).ok().filter(is_plain_web_url);
    let url = url.ok_or_else(|| unsendable("not an https URL, or with a user name"))?;
    if path_and_query(url.as_str()) != path_and_query(text) {
        return Err(unsendable("its path or query would be changed on the way"));
    }
    check_secure(&url, config)?;
    Ok(url)
}

/// http or https, with a host and without a user: reqwest would turn a user into an `Authorization` header.
pub(super) fn is_plain_web_url(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
}

/// What of a URL goes into the request line.
fn path_and_query(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let start = rest.find(['/', '?', '#'])?;
    let end = rest.find('#').unwrap_or(rest.len());
    Some(&rest[start..end])
}

pub(super) fn check_secure(url: &Url, config: &HttpConfig) -> Result<(), HttpError> {
    if url.scheme() == "https" || config.allow_http || is_loopback(url) {
        return Ok(());
    }
    Err(HttpError::new(HttpErrorKind::InsecureUrl, format!("{}: plain http is not allowed", origin_of(url))))
}

pub(super) fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn redirect_never_leads_from_https_to_http() {
        let secure = Url::parse("https://b.example/o?s").expect("a URL");
        for allow_http in [false, true] {
            let config = HttpConfig::new(allow_http, Duration::from_secs(30));
            for target in ["http://b.example/x", "http://127.0.0.1/x", "http://localhost/x"] {
                let error = redirected(&secure, target, &config).expect_err(target);
                assert_eq!(error.kind(), HttpErrorKind::RedirectRefused);
            }
            for target in ["https://c.example/x?y=%252F", "//c.example/x?y=%252F"] {
                let url = redirected(&secure, target, &config).expect(target);
                assert_eq!(url.as_str(), "https://c.example/x?y=%252F");
            }
        }
    }
}
