//! The pages of one listing, in order: entries under free names, and whether and where the listing goes on. The one rule of the
//! mount and of `koofs ls`.

use std::collections::HashSet;

use super::node::{Node, NodeId};
use super::page::Cursor;
use crate::policy::name::EntryName;

/// The most pages of one listing: ten million entries at 100 a page, far above what a share may hold. A service that goes on is in
/// a loop.
const MAX_PAGES: usize = 100_000;

/// How often a listing is begun again after its cursor was refused. Once is enough where a cursor has grown too old while nobody
/// read on; a cursor that never works must not load the first pages for ever.
const MAX_RESTARTS: usize = 3;

/// What the pages of a listing have shown so far. To be dropped when the listing ends: it holds every id.
#[derive(Debug, Default)]
pub struct Pages {
    ids: HashSet<NodeId>,
    cursors: HashSet<Cursor>,
    count: usize,
    restarts: usize,
}

/// A listing has named a cursor twice, or has more than 100,000 pages: it does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endless;

impl Pages {
    /// Names the nodes of the next page; one whose id was on an earlier page is dropped. `is_taken` tells which names earlier
    /// pages have.
    ///
    /// Among equal names of one page the smallest id comes first, so that names do not depend on how the service orders ties.
    pub fn name(&mut self, mut nodes: Vec<Node>, is_taken: impl Fn(&str) -> bool) -> Vec<(EntryName, Node)> {
        nodes.retain(|node| self.ids.insert(node.id.clone()));
        for ties in nodes.chunk_by_mut(|a, b| a.name == b.name) {
            ties.sort_by(|a, b| a.id.cmp(&b.id));
        }
        let mut names = HashSet::with_capacity(nodes.len());
        let mut named = Vec::with_capacity(nodes.len());
        for node in nodes {
            let name = EntryName::assign(&node.name, node.id.as_str(), |name| is_taken(name) || names.contains(name));
            names.insert(name.clone());
            named.push((name, node));
        }
        named
    }

    /// The service has refused a cursor of this listing. Whether to ask for the first page again: entries that are known are not
    /// named twice. `false` after three times.
    pub fn restart(&mut self) -> bool {
        let may = self.restarts < MAX_RESTARTS;
        if may {
            self.restarts += 1;
            // The service may give the same cursors out again.
            self.cursors.clear();
        }
        may
    }

    /// A page has named `next` as the cursor of the one after it; gives it back, or `None` at the end of the listing.
    ///
    /// # Errors
    /// [`Endless`]
    pub fn go_on(&mut self, next: Option<Cursor>) -> Result<Option<Cursor>, Endless> {
        self.count += 1;
        match next {
            Some(cursor) if self.count >= MAX_PAGES || !self.cursors.insert(cursor.clone()) => Err(Endless),
            next => Ok(next),
        }
    }
}
