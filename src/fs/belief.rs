//! For how long listings are believed: as long as they may be, or for as long as nobody can be asked, much longer.

use std::sync::Arc;
use std::time::Duration;

use super::dir::Listing;
use crate::clock::BootTime;
use crate::remote::Remote;

/// For how long listings are believed.
#[derive(Clone)]
pub struct Belief {
    ttl: Duration,
    offline_for: Duration,
    remote: Option<Arc<dyn Remote>>,
}

impl Belief {
    /// For `ttl`; while `remote` cannot be reached for `offline_for`, if that is longer.
    pub fn new(ttl: Duration, offline_for: Duration, remote: &Arc<dyn Remote>) -> Belief {
        Belief { ttl, offline_for: offline_for.max(ttl), remote: Some(Arc::clone(remote)) }
    }

    /// For `ttl` always.
    #[cfg(test)]
    pub(super) fn of(ttl: Duration) -> Belief {
        Belief { ttl, offline_for: ttl, remote: None }
    }

    /// Whether nobody can be asked.
    pub(super) fn is_offline(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.is_offline())
    }

    /// The time for which a complete listing is believed now.
    pub(super) fn time(&self) -> Duration {
        if self.is_offline() { self.offline_for } else { self.ttl }
    }

    /// The same for a listing that can be replaced.
    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// For how long the kernel may believe what `listing` says: never longer than `ttl`, so that it asks soon again when the service
    /// is reached.
    pub(super) fn validity(&self, listing: &Listing, now: BootTime) -> Duration {
        listing.validity(now, self.time()).min(self.ttl)
    }
}
