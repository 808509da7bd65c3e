//! The limits of both clients, and how servers are reached.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::meter::Meter;
use super::proxy::Proxies;
use super::reach::{EndpointPlaces, Reach};
use crate::config::Connection;
use crate::stats::Requests;

/// The most that a server may be silent, before its headers or between two pieces of a body.
const MAX_STALL: Duration = Duration::from_secs(10);

/// The limits of both clients, and how servers are reached.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Plain http is allowed to every host, not only to this machine.
    pub allow_http: bool,
    /// Download links may lead to this machine and to private addresses, wherever the endpoint is.
    pub allow_private_links: bool,
    /// Where the endpoint has answered from: noted by the API client, asked by the object client. Shared by clones.
    pub endpoint_places: EndpointPlaces,
    /// The endpoint has answered something, whatever: noted by the API client. Shared by clones.
    pub has_answered: Arc<AtomicBool>,
    /// The most that a server may be silent, before its headers or between two pieces of a body.
    pub stall_limit: Duration,
    /// PEM certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxies on the way. None of them is for this machine.
    pub proxies: Proxies,
    /// What is counted of the requests. Shared by clones.
    pub requests: Arc<Requests>,
    /// The limit of all requests together. Shared by clones. A mount has none.
    pub meter: Option<Arc<Meter>>,
}

impl HttpConfig {
    /// Limits for operations of at most `op_timeout`: a stalled attempt leaves time for two more. No proxies, no private links,
    /// and nothing known of any endpoint.
    pub fn new(allow_http: bool, op_timeout: Duration) -> HttpConfig {
        let stall_limit = MAX_STALL.min(op_timeout / 3);
        HttpConfig {
            allow_http,
            allow_private_links: false,
            endpoint_places: EndpointPlaces::default(),
            has_answered: Arc::default(),
            stall_limit,
            ca_file: None,
            proxies: Proxies::default(),
            requests: Arc::default(),
            meter: None,
        }
    }

    /// What `connection` asks for, with the environment's proxies.
    pub fn of(connection: &Connection) -> HttpConfig {
        HttpConfig {
            allow_private_links: connection.allow_private_links,
            ca_file: connection.ca_file.clone(),
            proxies: Proxies::of_environment(),
            ..HttpConfig::new(connection.allow_http, connection.op_timeout)
        }
    }

    /// Which hosts download links may lead to.
    pub(super) fn reach(&self) -> Reach {
        Reach {
            allow_private: self.allow_private_links,
            endpoint: self.endpoint_places.clone(),
            proxies: self.proxies.hosts(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stall_limit_leaves_time_for_more_attempts() {
        assert_eq!(HttpConfig::new(false, Duration::from_secs(30)).stall_limit, MAX_STALL);
        assert_eq!(HttpConfig::new(false, Duration::from_secs(3)).stall_limit, Duration::from_secs(1));
    }
}
