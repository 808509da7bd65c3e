//! Where download links may lead.
//!
//! A link comes from the service, a redirect from the object store, and either may name any host. This machine may reach hosts
//! that neither can: its own ports, the machines of its network, the metadata service of its cloud. So a link leads to such
//! an address only if the endpoint, which the user chose, has answered from the same kind of place, or if the user allows
//! it. An address that stands in a URL is looked at before anything is sent; a name when it is resolved for a connection,
//! so that the address that was looked at is the one that is connected to.
//!
//! Behind a proxy nothing is resolved here: it is up to the proxy where names lead.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::{Place, is_localhost, literal};

/// The kinds of places that an endpoint has answered from without a proxy in between. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct EndpointPlaces(Arc<AtomicU8>);

impl EndpointPlaces {
    fn add(&self, place: Place) {
        self.0.fetch_or(1 << place as u8, Ordering::Relaxed);
    }

    fn has(&self, place: Place) -> bool {
        self.0.load(Ordering::Relaxed) & 1 << place as u8 != 0
    }
}

/// Why a link is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkRefused {
    /// Because of this address, which is in such a place.
    Address(IpAddr, Place),
    /// It leads to the host of a proxy, wherever that is.
    Proxy,
}

impl fmt::Display for LinkRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkRefused::Address(address, place @ (Place::Nobody | Place::Public)) => {
                return write!(f, "a download link leads to {address}, {place}");
            }
            LinkRefused::Address(address, place) => {
                write!(f, "a download link leads to {address} ({place}), and the endpoint is not in such a place")?;
            }
            LinkRefused::Proxy => f.write_str("a download link leads to the host of a proxy")?,
        }
        f.write_str(": if the object store is there, allow it by --allow-private-links")
    }
}

impl Error for LinkRefused {}

/// Which hosts download links may lead to.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) allow_private: bool,
    pub(super) endpoint: EndpointPlaces,
    /// The host names of the proxies. They may be anywhere, as the user chose them.
    pub(super) proxies: Vec<String>,
}

impl Reach {
    fn check(&self, address: IpAddr) -> Result<(), LinkRefused> {
        let place = Place::of(address);
        let is_allowed = match place {
            Place::Public => true,
            Place::Nobody => false,
            Place::ThisMachine | Place::PrivateNetwork | Place::LinkLocal => {
                self.allow_private || self.endpoint.has(place)
            }
        };
        if is_allowed { Ok(()) } else { Err(LinkRefused::Address(address, place)) }
    }

    /// Whether a link may lead to the host of `url`, as far as the URL itself tells.
    ///
    /// # Errors
    /// [`LinkRefused`].
    pub(super) fn check_url(&self, url: &Url) -> Result<(), LinkRefused> {
        let host = url.host_str().unwrap_or_default();
        if let Some(address) = literal(host) {
            return self.check(address);
        }
        if is_localhost(host) {
            return self.check(Ipv4Addr::LOCALHOST.into());
        }
        // `select` lets connections to this name through.
        if self.is_proxy(host) && !self.allow_private { Err(LinkRefused::Proxy) } else { Ok(()) }
    }

    /// Those of the addresses of `name` that may be connected to.
    ///
    /// # Errors
    /// [`LinkRefused`] if there are addresses and none of them may be.
    fn select(&self, name: &str, mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, LinkRefused> {
        if self.is_proxy(name) {
            return Ok(addresses);
        }
        let mut refused = None;
        addresses.retain(|address| self.check(address.ip()).map_err(|why| refused = Some(why)).is_ok());
        match refused {
            Some(why) if addresses.is_empty() => Err(why),
            _ => Ok(addresses),
        }
    }

    fn is_proxy(&self, name: &str) -> bool {
        self.proxies.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
    }
}

/// Resolves the hosts of links, to addresses that may be connected to.
pub(super) struct LinkResolver(pub(super) Arc<Reach>);

impl Resolve for LinkResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = lookup(&name).await?;
            let selected: Addrs = Box::new(reach.select(name.as_str(), addresses)?.into_iter());
            Ok(selected)
        })
    }
}

/// Resolves the host of an endpoint, and notes the places that it answers from.
pub(super) struct EndpointWatch {
    host: String,
    /// Connections go to its own addresses, not to those of a proxy, which would be resolved instead.
    was_resolved: AtomicBool,
    places: EndpointPlaces,
}

impl EndpointWatch {
    /// Of `endpoint`, for `places`.
    pub(super) fn new(endpoint: &Url, places: EndpointPlaces) -> EndpointWatch {
        let host = endpoint.host_str().unwrap_or_default().to_owned();
        EndpointWatch { host, was_resolved: AtomicBool::new(false), places }
    }

    /// An answer has come from `address`, which may be a proxy's.
    pub(super) fn note_answer(&self, address: IpAddr) {
        let is_its_own = match literal(&self.host) {
            Some(own) => own == address,
            None => self.was_resolved.load(Ordering::Relaxed),
        };
        if is_its_own {
            self.places.add(Place::of(address));
        }
    }
}

impl Resolve for EndpointWatch {
    fn resolve(&self, name: Name) -> Resolving {
        if name.as_str().eq_ignore_ascii_case(&self.host) {
            self.was_resolved.store(true, Ordering::Relaxed);
        }
        Box::pin(async move {
            let addresses: Addrs = Box::new(lookup(&name).await?.into_iter());
            Ok(addresses)
        })
    }
}

/// The addresses of `name`, as the system has them, each with port 0: reqwest puts in the URL's.
async fn lookup(name: &Name) -> std::io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name.as_str(), 0)).await?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(endpoint: &[&str]) -> Reach {
        let places = EndpointPlaces::default();
        for address in endpoint {
            places.add(Place::of(address.parse().expect(address)));
        }
        Reach { allow_private: false, endpoint: places, proxies: vec!["proxy.corp".to_owned()] }
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().expect(text), 0)).collect()
    }

    const ONE_OF_EACH: [&str; 5] = ["8.8.8.8", "127.0.0.1", "10.0.0.1", "169.254.169.254", "224.0.0.1"];

    #[test]
    fn link_leads_to_the_internet_and_to_the_kind_of_place_where_the_endpoint_is() {
        for (endpoint, want) in [
            (&[][..], &["8.8.8.8"][..]),
            (&["1.1.1.1"], &["8.8.8.8"]),
            (&["::1"], &["8.8.8.8", "127.0.0.1"]),
            (&["192.168.1.1"], &["8.8.8.8", "10.0.0.1"]),
            (&["fe80::1"], &["8.8.8.8", "169.254.169.254"]),
            (&["127.0.0.1", "fd00::1"], &["8.8.8.8", "127.0.0.1", "10.0.0.1"]),
        ] {
            let selected = reach(endpoint).select("store.example", addresses(&ONE_OF_EACH));
            assert_eq!(selected, Ok(addresses(want)), "{endpoint:?}");
        }
        let allowing = Reach { allow_private: true, ..reach(&[]) };
        assert_eq!(allowing.select("store.example", addresses(&ONE_OF_EACH)), Ok(addresses(&ONE_OF_EACH[..4])));
    }

    #[test]
    fn name_with_nothing_but_private_addresses_is_refused_and_a_proxys_is_not() {
        let private = addresses(&["10.0.0.1", "fd00::1"]);
        let refused = LinkRefused::Address("fd00::1".parse().expect("an address"), Place::PrivateNetwork);
        assert_eq!(reach(&["127.0.0.1"]).select("store.example", private.clone()), Err(refused));
        assert_eq!(reach(&[]).select("Proxy.corp", private.clone()), Ok(private));
        assert_eq!(reach(&[]).select("store.example", Vec::new()), Ok(Vec::new()));
        let url = Url::parse("https://proxy.corp:8443/x").expect("a URL");
        assert_eq!(reach(&["10.0.0.1"]).check_url(&url), Err(LinkRefused::Proxy));
        assert_eq!(Reach { allow_private: true, ..reach(&[]) }.check_url(&url), Ok(()));
    }

    #[test]
    fn endpoint_is_where_its_own_addresses_are_and_not_where_a_proxy_is() {
        let seen = |endpoint: &str, is_resolved: bool, from: &str| {
            let places = EndpointPlaces::default();
            let watch = EndpointWatch::new(&Url::parse(endpoint).expect(endpoint), places.clone());
            if is_resolved {
                drop(watch.resolve("drive.corp".parse().expect("a name")));
            }
            watch.note_answer(from.parse().expect(from));
            places.has(Place::PrivateNetwork)
        };
        assert!(seen("https://drive.corp", true, "10.0.0.1"));
        assert!(!seen("https://drive.corp", false, "10.0.0.1"), "the proxy is there");
        assert!(!seen("https://drive.corp", true, "8.8.8.8"));
        assert!(seen("https://10.0.0.1:8443", false, "10.0.0.1"));
        assert!(!seen("https://8.8.8.8", false, "10.0.0.1"), "the proxy is there");
        assert!(seen("https://[fd00::1]", false, "fd00::1"));
    }
}
