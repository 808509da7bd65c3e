//! Which URLs are sent, and that they are sent as they are.

use reqwest::Url;

use super::address::is_loopback;
use super::config::HttpConfig;
use super::error::{HttpError, HttpErrorKind};
use super::reach::Reach;

/// The longest URL that can be sent, in bytes: a limit of the `http` crate's `Uri`.
const MAX_URL_BYTES: usize = 65_534;

/// What is wrong with a URL that [`is_plain_web_url`] refuses.
const NOT_PLAIN: &str = "not an https URL, or with a user name";

/// The URL that `location` means in an answer from `from`.
///
/// # Errors
/// `RedirectRefused` if it is no link that would be followed, or leads from https to http.
pub(super) fn redirected(from: &Url, location: &str, config: &HttpConfig, reach: &Reach) -> Result<Url, HttpError> {
    let refused = |why: &str| {
        HttpError::new(HttpErrorKind::RedirectRefused, format!("{}: redirect refused: {why}", origin_of(from)))
    };
    let target = if Url::parse(location).is_ok() {
        sendable(location, config, reach).map_err(|error| refused(&error.context))?
    } else {
        // A reference is resolved by definition, so there is no original spelling to keep. It may name another host and a
        // user all the same: `//user@host/…`.
        let target = from.join(location).map_err(|error| refused(&error.to_string()))?;
        check_target(&target, config, reach).map_err(|error| refused(&error.context))?;
        target
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
///
/// # Errors
/// `UnsendableUrl`, `InsecureUrl` or `PrivateAddress`. None shows more of it than `scheme://host:port`.
pub(super) fn sendable(text: &str, config: &HttpConfig, reach: &Reach) -> Result<Url, HttpError> {
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(unsendable("with blanks or control characters"));
    }
    // The parser's own error is only a kind, but it adds nothing that would help.
    let url = Url::parse(text).ok().filter(is_plain_web_url).ok_or_else(|| unsendable(NOT_PLAIN))?;
    // First: what the parser takes for the host of a URL that it mends may be a secret, and hosts are shown.
    if path_and_query(url.as_str()) != path_and_query(text) {
        return Err(unsendable("its path or query would be changed on the way"));
    }
    check_target(&url, config, reach)?;
    Ok(url)
}

/// What holds for every URL that an object is read from, link or target of a redirect, whatever its spelling.
fn check_target(url: &Url, config: &HttpConfig, reach: &Reach) -> Result<(), HttpError> {
    if !is_plain_web_url(url) {
        return Err(unsendable(NOT_PLAIN));
    }
    if url.as_str().len() > MAX_URL_BYTES {
        return Err(unsendable("too long"));
    }
    check_secure(url, config)?;
    reach.check_url(url).map_err(|refused| HttpError::of_refused_link(&origin_of(url), refused))
}

fn unsendable(why: &str) -> HttpError {
    HttpError::new(HttpErrorKind::UnsendableUrl, format!("link cannot be sent: {why}"))
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
            let config =
                HttpConfig { allow_private_links: true, ..HttpConfig::new(allow_http, Duration::from_secs(30)) };
            let reach = config.reach();
            for target in ["http://b.example/x", "http://127.0.0.1/x", "http://localhost/x"] {
                let error = redirected(&secure, target, &config, &reach).expect_err(target);
                assert_eq!(error.kind(), HttpErrorKind::RedirectRefused);
            }
            for target in ["https://c.example/x?y=%252F", "//c.example/x?y=%252F"] {
                let url = redirected(&secure, target, &config, &reach).expect(target);
                assert_eq!(url.as_str(), "https://c.example/x?y=%252F");
            }
        }
    }
}
