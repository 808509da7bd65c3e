//! What is kept on the disk, and what `koofs cache` does with it.

use std::path::PathBuf;

/// How what was read is kept on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Where: an absolute path.
    pub directory: PathBuf,
    /// The most bytes that it takes; `None` for a part of what is free.
    pub limit_bytes: Option<u64>,
}

/// Everything that `koofs cache` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheCommand {
    /// Where the cache is: an absolute path.
    pub directory: PathBuf,
    /// What is to be done.
    pub action: CacheAction,
}

/// What `koofs cache` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheAction {
    /// Says what there is.
    Show,
    /// Removes what is kept of the source of this name, or all.
    Clear(Option<String>),
    /// Reads all of it, and removes what is damaged.
    Verify,
}
