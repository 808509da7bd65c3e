//! Bytes on their way into a blob.

use std::sync::Arc;

/// Bytes that are shared with whoever has them in memory.
pub type Part = Arc<dyn AsRef<[u8]> + Send + Sync>;
