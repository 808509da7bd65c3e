//! A drive whose login does not expire while the mount is idle: the same remote, with a thread that makes a call every few minutes.
//!
//! Threads: one of its own, which ends with the drive.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::error::CallError;
use crate::clock::{Clock, Ticker};
use crate::policy::printable::one_line;
use crate::remote::{
    Capacity, Child, Cursor, LinkResults, NodeId, Page, Remote, RemoteError, SubtreePage, SubtreeSize,
};

/// How often the call is made. A token of the enterprise edition dies after 20 minutes without a call (API.md, section 3.4), so
/// three calls may fail in between.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// `inner`, for which a call is made every [`UPKEEP_INTERVAL`] as long as this lives.
pub(super) struct KeptAlive {
    inner: Arc<dyn Remote>,
    _upkeep: Ticker,
}

impl KeptAlive {
    /// Starts to make the call `upkeep` of `inner`, at first after `first`, each time for `op_timeout` at most.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start<R: Remote>(
        inner: Arc<R>,
        clock: Arc<dyn Clock>,
        op_timeout: Duration,
        first: Duration,
        upkeep: impl Fn(&R, Instant) -> Result<(), CallError> + Send + 'static,
    ) -> io::Result<KeptAlive> {
        let (kept, now) = (Arc::downgrade(&inner), Arc::clone(&clock));
        let tick = move || {
            let Some(inner) = kept.upgrade() else { return false };
            if let Err(error) = upkeep(&inner, now.now() + op_timeout) {
                log::debug!("upkeep: {}", one_line(&error));
            }
            true
        };
        let ticker = Ticker::start("koofs-upkeep", clock, first, UPKEEP_INTERVAL, tick)?;
        Ok(KeptAlive { inner, _upkeep: ticker })
    }
}

impl Remote for KeptAlive {
    fn root(&self) -> NodeId {
        self.inner.root()
    }

    fn list_page(&self, directory: &NodeId, cursor: Option<&Cursor>, deadline: Instant) -> Result<Page, RemoteError> {
        self.inner.list_page(directory, cursor, deadline)
    }

    fn page_from_end(
        &self,
        directory: &NodeId,
        cursor: Option<&Cursor>,
        deadline: Instant,
    ) -> Result<Page, RemoteError> {
        self.inner.page_from_end(directory, cursor, deadline)
    }

    fn find_child(&self, directory: &NodeId, name: &str, deadline: Instant) -> Result<Child, RemoteError> {
        self.inner.find_child(directory, name, deadline)
    }

    fn may_have_subtrees(&self) -> bool {
        self.inner.may_have_subtrees()
    }

    fn subtree_size(&self, directory: &NodeId, deadline: Instant) -> Result<Option<SubtreeSize>, RemoteError> {
        self.inner.subtree_size(directory, deadline)
    }

    fn subtree_page(
        &self,
        directory: &NodeId,
        cursor: Option<&Cursor>,
        deadline: Instant,
    ) -> Result<Option<SubtreePage>, RemoteError> {
        self.inner.subtree_page(directory, cursor, deadline)
    }

    fn forget(&self) {
        self.inner.forget();
    }

    fn max_links_per_call(&self) -> usize {
        self.inner.max_links_per_call()
    }

    fn resolve_links(&self, ids: &[NodeId], deadline: Instant) -> Result<LinkResults, RemoteError> {
        self.inner.resolve_links(ids, deadline)
    }

    fn capacity(&self) -> Option<Capacity> {
        self.inner.capacity()
    }

    fn expires_at(&self) -> Option<SystemTime> {
        self.inner.expires_at()
    }
}
