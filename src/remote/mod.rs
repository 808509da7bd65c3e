//! What the filesystem needs of a remote drive: nodes, pages of a listing, links, and the kinds of failure.
//!
//! Owns the vocabulary between the filesystem and the service. Knows nothing of inode numbers, JSON or HTTP.
//! Every method of [`Remote`] blocks; only worker threads may call it. Implementations are shared by all threads.

mod error;
mod pages;
mod rooted;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub use error::{RemoteError, RemoteErrorKind};
pub use pages::{Endless, Pages};
pub use rooted::Rooted;

/// The opaque id that the service gives a file or a directory. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// An id as the service spelled it; nothing about it is interpreted.
    pub fn new(id: &str) -> NodeId {
        NodeId(Arc::from(id))
    }

    /// The id's text, for requests and for hashing.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a node is. Links, devices and the like do not exist in the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// Has children and no content.
    Directory,
    /// Has content and no children.
    File,
    /// A file that is listed without a length: the object store has to be asked for it. The length of its version means nothing.
    Unsized,
    /// Is listed under its name, but with something that nothing can have: what, in a few words. Its other fields mean nothing.
    Unreadable(&'static str),
}

/// Which content of a file is meant. Two equal versions of one id have equal bytes, as far as the service tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// The file's length in bytes.
    pub size_bytes: u64,
    /// `editedTime`, milliseconds since 1970-01-01 UTC; 0 when the service gave none.
    pub edited_ms: i64,
}

/// One entry of a listing, as the service describes it.
#[derive(Clone, Debug)]
pub struct Node {
    /// The service's id; of a node that is [`NodeKind::Unreadable`] one that no other node has.
    pub id: NodeId,
    /// The service's name: any text at all, `/` and NUL included. Not yet fit for Linux.
    pub name: String,
    /// Directory or file, or unreadable.
    pub kind: NodeKind,
    /// Length and modification time; a directory's length is 0.
    pub version: Version,
    /// A link to the content that came with the listing, free of charge.
    pub link: Option<Link>,
}

/// Where the next page of a listing starts. Opaque; never empty.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cursor(String);

impl Cursor {
    /// A cursor, or `None` for the empty text, which means that the listing has ended.
    pub fn new(text: String) -> Option<Cursor> {
        if text.is_empty() { None } else { Some(Cursor(text)) }
    }

    /// The cursor's text, byte for byte.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({} bytes)", self.0.len())
    }
}

/// One answer to a listing call.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The entries, in the service's order. May be empty before the listing has ended.
    pub nodes: Vec<Node>,
    /// Where to go on; `None` only when the listing is complete.
    pub next: Option<Cursor>,
}

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

/// What `statfs` may say about the whole drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes in use, at most `total_bytes`.
    pub used_bytes: u64,
}

/// For each file that was named, its link or why there is none.
pub type LinkResults = Vec<Result<Link, RemoteError>>;

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
    /// Any [`RemoteErrorKind`]. `NotFound` only when the service said that the directory does not exist.
    fn list_page(&self, directory: &NodeId, cursor: Option<&Cursor>, deadline: Instant) -> Result<Page, RemoteError>;

    /// The most ids that one call of [`Remote::resolve_links`] may name; at least 1.
    fn max_links_per_call(&self) -> usize;

    /// Fresh links for `ids`, which are files and at most [`Remote::max_links_per_call`]: one result for each, in the order asked.
    /// One attempt, as above.
    ///
    /// # Errors
    /// The call failed as a whole. If it was refused, that may be due to a single one of `ids`.
    fn resolve_links(&self, ids: &[NodeId], deadline: Instant) -> Result<LinkResults, RemoteError>;

    /// Figures for `statfs`, from memory: this call alone never blocks and never touches the network.
    fn capacity(&self) -> Capacity;
}
