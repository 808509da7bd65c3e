//! What a drive holds: directories and files, as the service describes them.

use std::fmt;
use std::sync::Arc;

use super::link::Link;

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

/// A file as it was at some time, as far as a listing tells it without a length: what a link is for. A link leads to the content
/// of that time for as long as it lives, also where the service has given the same id other content since.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision {
    /// The file.
    pub id: NodeId,
    /// `editedTime`, as in [`Version`].
    pub edited_ms: i64,
}

impl Revision {
    /// The file `id` as `version` has it.
    pub fn new(id: &NodeId, version: Version) -> Revision {
        Revision { id: id.clone(), edited_ms: version.edited_ms }
    }
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
