//! A drive seen from one of its folders: the same remote with another root.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::child::Child;
use super::drive::{Capacity, Remote};
use super::error::RemoteError;
use super::link::LinkResults;
use super::node::NodeId;
use super::page::{Cursor, Page};
use super::subtree::{SubtreePage, SubtreeSize};

/// `inner`, whose root is the directory `root`.
pub struct Rooted {
    inner: Arc<dyn Remote>,
    root: NodeId,
}

impl Rooted {
    /// `inner` as seen from `root`, which must be one of its directories.
    pub fn new(inner: Arc<dyn Remote>, root: NodeId) -> Rooted {
        Rooted { inner, root }
    }
}

impl Remote for Rooted {
    fn root(&self) -> NodeId {
        self.root.clone()
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

    fn is_offline(&self) -> bool {
        self.inner.is_offline()
    }

    fn doubt(&self) {
        self.inner.doubt();
    }

    fn try_soon(&self) {
        self.inner.try_soon();
    }
}
