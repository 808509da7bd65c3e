//! What the filesystem needs of a remote drive: nodes, pages of a listing, links, and the kinds of failure.
//!
//! Owns the vocabulary between the filesystem and the service. Knows nothing of inode numbers, JSON or HTTP.
//! Every method of [`Remote`] blocks; only worker threads may call it. Implementations are shared by all threads.

mod child;
mod drive;
mod error;
mod filtered;
mod link;
mod node;
mod page;
mod pages;
mod rooted;
mod subtree;

pub use child::Child;
pub use drive::{Capacity, Remote};
pub use error::{RemoteError, RemoteErrorKind};
pub use filtered::Filtered;
pub use link::{Link, LinkResults};
pub use node::{Node, NodeId, NodeKind, Revision, Version};
pub use page::{Cursor, Page};
pub use pages::{Endless, Pages};
pub use rooted::Rooted;
pub use subtree::{Directories, NoSubtree, Subtree, SubtreePage, SubtreeSize};
