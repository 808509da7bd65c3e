//! What a listing is asked for.

use super::wire::PageInfo;
use crate::remote::{Cursor, NodeId};

/// `sortDirection` (5.4).
pub(super) const ASCENDING: u32 = 1;
const DESCENDING: u32 = 2;

/// What a listing is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Question<'a> {
    /// The directory; the top if `None`.
    pub directory: Option<&'a NodeId>,
    /// Where to go on.
    pub cursor: Option<&'a Cursor>,
    /// Entries of the page.
    pub page_size: u32,
    /// The last name first.
    pub is_descending: bool,
    /// Only entries of this name, whatever the service makes of it.
    pub name: Option<&'a str>,
}

impl Question<'_> {
    /// `sortDirection` (5.4).
    pub(super) fn direction(&self) -> u32 {
        if self.is_descending { DESCENDING } else { ASCENDING }
    }

    pub(super) fn page_info(&self) -> PageInfo<'_> {
        PageInfo { page_size: self.page_size, page_cursor: self.cursor.map(Cursor::as_str) }
    }
}
