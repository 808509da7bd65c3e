//! The bounds of what a blob holds.

/// The longest listing that is kept, in bytes: some hundred thousand entries.
pub const MAX_LISTING_BYTES: u64 = 64 << 20;

/// The most that a header takes (see `blob`), in bytes.
pub(super) const MAX_HEADER_BYTES: u64 = 8 << 10;
