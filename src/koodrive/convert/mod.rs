//! From the service's words to the crate's types. Bad data is an error that names the field; there are no panics.
//!
//! Knows `wire` and `remote`; must not know HTTP.

mod field;
mod links;
mod listing;
mod session;
mod share;
mod space;

pub(super) use field::text;
pub(super) use links::{LinksById, Moment, fresh_link, links, listed_link};
pub(super) use listing::{Rows, rows};
pub(super) use session::session;
pub(super) use share::{Share, ShareStatus, share};
pub(super) use space::{Folder, Space, folder, space, stats};
