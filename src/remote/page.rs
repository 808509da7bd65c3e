//! A listing, page by page.

use std::fmt;

use super::node::Node;

/// Where the next page of a listing starts. Opaque; never empty.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cursor(String);

impl Cursor {
    /// A cursor, or `None` for the empty text, which means that the listing has ended.
    pub fn new(text: String) -> Option<Cursor> {
        if text.is_empty() { None } else { Some(Cursor(text)) }
    }

    /// The cursor's text, byte for byte.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({} bytes)", self.0.len())
    }
}

/// One answer to a listing call.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The entries, in the service's order. May be empty before the listing has ended.
    pub nodes: Vec<Node>,
    /// Where to go on; `None` only when the listing is complete.
    pub next: Option<Cursor>,
}
