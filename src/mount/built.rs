//! A filesystem that is ready to be mounted.

use std::sync::{Arc, OnceLock};

use crate::fs::DriveFs;
use crate::store::Store;

/// What is to be mounted.
pub struct Built<F> {
    /// As the kernel sees it.
    pub filesystem: F,
    /// What can be refreshed, and tells of changes; none for a filesystem that is not ours.
    pub drive: Option<Arc<DriveFs>>,
    /// The FUSE version of the kernel, known once `filesystem` is mounted.
    pub kernel_abi: Arc<OnceLock<(u32, u32)>>,
    /// Where what was read is kept, if it is.
    pub store: Option<Arc<Store>>,
}
