//! Directories: one listing each, and the cache of listings.

mod by_name;
mod cache;
mod ino_order;
mod listing;
mod probed;
mod state;

pub use cache::ListingCache;
pub use listing::{Listing, Next};
pub use state::Answer;
