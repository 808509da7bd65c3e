//! What must hold of every link and every redirect that is followed. For tests and for `scripts/fuzz` only.

use std::net::IpAddr;
use std::time::Duration;

use super::address::{Place, is_localhost, literal};
use super::config::HttpConfig;
use super::url::{redirected, sendable};

/// A link, and on the next line where its store redirects to. What is followed is sent as it was given, over https, and to no machine
/// of a private place: the endpoint has answered from nowhere, and nothing is allowed.
pub fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (link, location) = text.split_once('\n').unwrap_or((&text, ""));
    let config = HttpConfig::new(false, Duration::from_secs(30));
    let reach = config.reach();
    let link = match sendable(link, &config, &reach) {
        Ok(url) => {
            let sent = url.as_str();
            let path = |text: &str| {
                text.find("://").map(|at| text[at + 3..].find(['/', '?']).map_or(0, |to| text.len() - at - 3 - to))
            };
            let without_fragment = |text: &str| text.split('#').next().unwrap_or_default().to_owned();
            let (asked, sends) = (without_fragment(link), without_fragment(sent));
            assert!(
                path(&asked).is_none_or(|len| sends.ends_with(&asked[asked.len() - len..])),
                "{sent:?} for {link:?}"
            );
            url
        }
        Err(error) => {
            let _ = error.to_string();
            return;
        }
    };
    check(&link);
    if let Ok(target) = redirected(&link, location, &config, &reach) {
        check(&target);
    }
}

fn check(url: &reqwest::Url) {
    assert_eq!(url.scheme(), "https", "{url}");
    assert!(url.username().is_empty() && url.password().is_none(), "{url}");
    let host = url.host_str().unwrap_or_default();
    assert!(!host.is_empty() && !is_localhost(host), "{url}");
    if let Some(address) = literal(host) {
        assert_eq!(Place::of(address), Place::Public, "{url}");
        let is_private = match address {
            IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_unspecified() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_private()),
        };
        assert!(!is_private && !address.is_loopback() && !address.is_multicast(), "{url}");
    }
}

#[cfg(test)]
mod tests {
    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/inputs.rs"));

    #[test]
    fn link_and_redirect_lead_over_https_to_public_places_only() {
        try_inputs("url", super::url);
    }
}
