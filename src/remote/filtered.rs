//! A drive of which some entries are not shown: the same remote without them, wherever they would come.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::child::Child;
use super::drive::{Capacity, Remote};
use super::error::{RemoteError, RemoteErrorKind};
use super::link::LinkResults;
use super::node::{Node, NodeId, NodeKind};
use super::page::{Cursor, Page};
use crate::policy::glob::Shown;

/// `inner` without what is not shown.
pub struct Filtered {
    inner: Arc<dyn Remote>,
    shown: Shown,
}

impl Filtered {
    /// `inner` without what is not `shown`.
    pub fn new(inner: Arc<dyn Remote>, shown: Shown) -> Filtered {
        Filtered { inner, shown }
    }

    fn shows(&self, node: &Node) -> bool {
        self.shown.shows(&node.name, node.kind == NodeKind::Directory)
    }
}

/// What lists whole trees, and from both ends, counts what comes, and what is left out would look like a loss: neither is offered.
impl Remote for Filtered {
    fn root(&self) -> NodeId {
        self.inner.root()
    }

    fn list_page(&self, directory: &NodeId, cursor: Option<&Cursor>, deadline: Instant) -> Result<Page, RemoteError> {
        let mut page = self.inner.list_page(directory, cursor, deadline)?;
        page.nodes.retain(|node| self.shows(node));
        Ok(page)
    }

    fn page_from_end(&self, _: &NodeId, _: Option<&Cursor>, _: Instant) -> Result<Page, RemoteError> {
        Err(RemoteError::new(RemoteErrorKind::Unusable, "where some entries are not shown, the other end is not asked"))
    }

    fn find_child(&self, directory: &NodeId, name: &str, deadline: Instant) -> Result<Child, RemoteError> {
        Ok(match self.inner.find_child(directory, name, deadline)? {
            Child::Only(node) if !self.shows(&node) => Child::Unclear,
            child => child,
        })
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
