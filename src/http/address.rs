//! Where hosts are: on this machine, in a private network, on the internet. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// What kind of place an address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The internet.
    Public,
    /// Loopback, and `0.0.0.0/8` and `::`, which Linux connects to loopback.
    ThisMachine,
    /// RFC 1918, unique local and site-local IPv6, the shared space of carriers (RFC 6598), and 192.0.0.0/24.
    PrivateNetwork,
    /// 169.254.0.0/16, where clouds have their metadata service, and fe80::/10.
    LinkLocal,
    /// Multicast, broadcast and reserved addresses: no server has one.
    Nobody,
}

impl Place {
    /// The place that `address` leads to. Other ranges for special purposes count as public. 198.18.0.0/15 is one of them:
    /// proxies on this machine that intercept connections (Clash, sing-box) have every name resolve to it.
    pub(super) fn of(address: IpAddr) -> Place {
        match address {
            IpAddr::V4(address) => Place::of_v4(address),
            IpAddr::V6(address) => embedded_v4(address).map_or_else(|| Place::of_v6(address), Place::of_v4),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Place {
        match address.octets() {
            [0 | 127, ..] => Place::ThisMachine,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] | [192, 0, 0, _] => {
                Place::PrivateNetwork
            }
            [169, 254, ..] => Place::LinkLocal,
            [224..=255, ..] => Place::Nobody,
            _ => Place::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Place {
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Place::ThisMachine,
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Place::PrivateNetwork,
            [0xfe80..=0xfebf, ..] => Place::LinkLocal,
            [0xff00..=0xffff, ..] => Place::Nobody,
            _ => Place::Public,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Public => "a public address",
            Place::ThisMachine => "this machine",
            Place::PrivateNetwork => "a private network",
            Place::LinkLocal => "a link-local address",
            Place::Nobody => "an address that no server has",
        })
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped (`::ffff:0:0/96`), compatible (`::/96`, obsolete), translated
/// (`64:ff9b::/96`, RFC 6052) or tunnelled (`2002::/16`, RFC 3056).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match address.segments() {
        // Not `::0.0.0.0` and `::0.0.0.1`, but addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => return None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            (high, low)
        }
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

/// The address that the host of a URL is, if it is not a name.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether `host` is a name of this machine: `localhost`, or a name below it (RFC 6761).
pub(super) fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost")
}

/// Whether the URL's host is this machine: 127.0.0.0/8, `::1` or `localhost`.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_place() {
        for (place, addresses) in [
            (
                Place::ThisMachine,
                &[
                    "127.0.0.1",
                    "127.255.255.255",
                    "0.0.0.0",
                    "0.1.2.3",
                    "::1",
                    "::",
                    "::ffff:127.0.0.1",
                    "::ffff:0.0.0.0",
                ][..],
            ),
            (
                Place::PrivateNetwork,
                &[
                    "10.0.0.0",
                    "10.255.255.255",
                    "172.16.0.0",
                    "172.31.255.255",
                    "192.168.255.255",
                    "100.64.0.0",
                    "100.127.255.255",
                    "192.0.0.192",
                    "fc00::",
                    "fdff:ffff::1",
                    "fec0::1",
                    "::ffff:10.1.2.3",
                    "::10.1.2.3",
                    "64:ff9b::192.168.0.1",
                    "2002:0a00:0001::1",
                ],
            ),
            (Place::LinkLocal, &["169.254.0.0", "169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.169.254"]),
            (
                Place::Nobody,
                &[
                    "224.0.0.1",
                    "239.255.255.255",
                    "240.0.0.1",
                    "255.255.255.255",
                    "ff02::1",
                    "ffff::",
                    "::ffff:224.0.0.1",
                ],
            ),
            (
                Place::Public,
                &[
                    "9.255.255.255",
                    "11.0.0.0",
                    "100.63.255.255",
                    "100.128.0.0",
                    "128.0.0.1",
                    "169.253.0.1",
                    "172.15.255.255",
                    "172.32.0.0",
                    "192.0.1.0",
                    "192.167.0.1",
                    "192.169.0.1",
                    "198.18.0.1",
                    "223.255.255.255",
                    "2001:db8::1",
                    "::ffff:8.8.8.8",
                    "64:ff9b::8.8.8.8",
                    "fbff::1",
                    "fe00::1",
                ],
            ),
        ] {
            for address in addresses {
                assert_eq!(Place::of(address.parse().expect(address)), place, "{address}");
            }
        }
    }

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
