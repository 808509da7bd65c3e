//! Where the host of a URL is.

use std::net::IpAddr;

use reqwest::Url;

/// Whether the URL's host is this machine: 127.0.0.0/8, `::1` or `localhost`.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for (host, loopback) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("127.255.0.3", true),
            ("[::1]", true),
            ("0x7f.1", true),
            ("0.0.0.0", false),
            ("128.0.0.1", false),
            ("[::]", false),
            ("[::2]", false),
            ("localhost.example", false),
            ("127.0.0.1.example", false),
        ] {
            let url = Url::parse(&format!("http://{host}/")).expect(host);
            assert_eq!(is_loopback(&url), loopback, "{host}");
        }
    }
}
