//! Where metrics are served.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where Prometheus may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsAt {
    /// An address of this machine.
    Tcp(SocketAddr),
    /// A Unix socket: an absolute path.
    Socket(PathBuf),
}

impl fmt::Display for MetricsAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetricsAt::Tcp(address) => address.fmt(f),
            MetricsAt::Socket(path) => path.display().fmt(f),
        }
    }
}
