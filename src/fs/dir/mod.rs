//! Directories: one listing each, and the cache of listings.

mod by_name;
mod cache;
mod ino_order;
mod listing;

pub use cache::ListingCache;
pub use listing::{Answer, Listing, Next};
