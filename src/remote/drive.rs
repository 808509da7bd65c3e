//! The trait of a drive.

use std::time::{Instant, SystemTime};

use super::child::Child;
use super::error::RemoteError;
use super::link::LinkResults;
use super::node::NodeId;
use super::page::{Cursor, Page};
use super::subtree::{SubtreePage, SubtreeSize};

/// What `statfs` may say about the whole drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes in use, at most `total_bytes`.
    pub used_bytes: u64,
}

/// A drive that can be listed and read. Shared by all worker threads; every call may block until `deadline`.
pub trait Remote: Send + Sync + 'static {
    /// The directory that the mount shows as its root.
    fn root(&self) -> NodeId;

    /// One page of the listing of `directory`: the first one, or the one at `cursor`.
    ///
    /// One attempt: whether another is worthwhile is [`crate::policy::retry`]'s to say, on the caller's side. (Renewing a
    /// refused credential, once, is the implementation's own.)
    ///
    /// # Errors
    /// Any [`RemoteErrorKind`](super::RemoteErrorKind). `NotFound` only when the service said that the directory does not exist.
    fn list_page(&self, directory: &NodeId, cursor: Option<&Cursor>, deadline: Instant) -> Result<Page, RemoteError>;

    /// The same from the other end: one page of the listing of `directory` in the opposite order, with cursors of its own. Whether the
    /// order is the opposite is not checked here. One attempt.
    ///
    /// # Errors
    /// As [`Remote::list_page`]; also where the service does not offer it.
    fn page_from_end(
        &self,
        directory: &NodeId,
        cursor: Option<&Cursor>,
        deadline: Instant,
    ) -> Result<Page, RemoteError>;

    /// From now on, nothing of a listing that was asked for before is an answer. From memory, at once; a drive that keeps none has nothing
    /// to do.
    fn forget(&self) {}

    /// Asks for the entry called `name` in `directory`, without its listing. What it finds, a listing says as well; that it finds
    /// nothing says nothing. One attempt.
    ///
    /// # Errors
    /// The call failed, for a reason that says nothing of whether the service looks for names.
    fn find_child(&self, directory: &NodeId, name: &str, deadline: Instant) -> Result<Child, RemoteError>;

    /// Whether [`Remote::subtree_size`] and [`Remote::subtree_page`] may be of use. From memory, at once.
    fn may_have_subtrees(&self) -> bool {
        false
    }

    /// How much is below `directory`, counted without listing it; `None` where the service does not say, or has no call for
    /// [`Remote::subtree_page`]: there is no use in asking again. One attempt.
    ///
    /// # Errors
    /// The call failed, for a reason that says nothing of whether there is such a call.
    fn subtree_size(&self, _directory: &NodeId, _deadline: Instant) -> Result<Option<SubtreeSize>, RemoteError> {
        Ok(None)
    }

    /// Some of all that is below `directory`, 1,000 entries at a time: the first ones, or those at `cursor`. `None` where there is no
    /// such call, or one that cannot be used. One attempt.
    ///
    /// # Errors
    /// As [`Remote::list_page`].
    fn subtree_page(
        &self,
        _directory: &NodeId,
        _cursor: Option<&Cursor>,
        _deadline: Instant,
    ) -> Result<Option<SubtreePage>, RemoteError> {
        Ok(None)
    }

    /// The most ids that one call of [`Remote::resolve_links`] may name; at least 1.
    fn max_links_per_call(&self) -> usize;

    /// Fresh links for `ids`, which are files and at most [`Remote::max_links_per_call`]: one result for each, in the order asked.
    /// One attempt, as above.
    ///
    /// # Errors
    /// The call failed as a whole. If it was refused, that may be due to a single one of `ids`.
    fn resolve_links(&self, ids: &[NodeId], deadline: Instant) -> Result<LinkResults, RemoteError>;

    /// Figures for `statfs`, from memory: this call alone never blocks and never touches the network. `None` where the service
    /// does not tell them, or has not yet.
    fn capacity(&self) -> Option<Capacity>;

    /// When the service ends to give this caller anything, as far as it has said so; on the service's clock.
    fn expires_at(&self) -> Option<SystemTime> {
        None
    }

    /// Whether the service cannot be reached, so that every call fails at once with
    /// [`Offline`](super::RemoteErrorKind::Offline). From memory.
    fn is_offline(&self) -> bool {
        false
    }

    /// The object store cannot be reached: perhaps the service cannot, either. Never blocks.
    fn doubt(&self) {}

    /// Somebody needs the service now: one that could not be reached is tried again soon. Never blocks.
    fn try_soon(&self) {}
}
