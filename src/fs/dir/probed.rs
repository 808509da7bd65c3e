//! Entries of one directory that were asked for by their names, before its listing has come to them.
//!
//! They answer lookups only: an order of entries, or the absence of one, comes of the listing alone. When the listing comes to a name,
//! it is right. Plain data.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::inode::Entry;

/// The most names of one listing that are asked for by themselves: who wants more of them waits for the listing, which has come
/// further meanwhile.
const MAX_ASKED: usize = 1024;

/// What was asked for by name.
#[derive(Default)]
pub(super) struct Probed {
    asked: HashSet<Box<str>>,
    found: HashMap<Box<str>, Arc<Entry>>,
    /// Names that the listing tells otherwise than it was told before.
    contradicted: Vec<Box<str>>,
}

impl Probed {
    /// Whether `name` may be asked for: it has not been. It counts as asked for from here on.
    pub(super) fn ask(&mut self, name: &str) -> bool {
        self.asked.len() < MAX_ASKED && self.asked.insert(name.into())
    }

    /// The entry called `name`.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Entry>> {
        self.found.get(name)
    }

    /// Puts `entry` in; gives back the one whose place it takes.
    pub(super) fn put(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        self.found.insert(entry.name.as_str().into(), entry)
    }

    /// How many entries are in.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// All entries that are in.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.found.values()
    }

    /// The listing has come to `listed`. What was found of its name is given back: it is not needed any more.
    pub(super) fn supersede(&mut self, listed: &Entry) -> Option<Arc<Entry>> {
        let (name, found) = self.found.remove_entry(listed.name.as_str())?;
        if found.ino != listed.ino || found.version != listed.version {
            self.contradicted.push(name);
        }
        Some(found)
    }

    /// The listing is complete: what it has not come to is not there any more, and is given back.
    pub(super) fn end(&mut self) -> Vec<Arc<Entry>> {
        let (names, entries): (Vec<_>, Vec<_>) = std::mem::take(&mut self.found).into_iter().unzip();
        self.contradicted.extend(names);
        entries
    }

    /// The names that the listing has told otherwise, each once.
    pub(super) fn take_contradicted(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.contradicted)
    }
}
