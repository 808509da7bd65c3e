//! Signed links to the content of files.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::RemoteError;
use crate::policy::link_expiry::{DatedBy, dated_by};

/// A signed URL for the content of one file, and how long it may be used. The URL is a secret: it needs no login.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    url: Arc<str>,
    /// When the store stops honouring the link, on this machine's clock.
    pub expires_at: SystemTime,
    /// How long the link lives in all; the safety margin is a part of it.
    pub lifetime: Duration,
}

impl Link {
    /// A link that must be sent byte for byte as `url`.
    pub fn new(url: &str, expires_at: SystemTime, lifetime: Duration) -> Link {
        Link { url: Arc::from(url), expires_at, lifetime }
    }

    /// By which of its parameters it says when it ends.
    pub fn dated_by(&self) -> DatedBy {
        dated_by(&self.url)
    }

    /// The secret itself, for `http` only.
    pub fn secret_url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link(…, expires_at: {:?})", self.expires_at)
    }
}

/// For each file that was named, its link or why there is none.
pub type LinkResults = Vec<Result<Link, RemoteError>>;
