//! What is known of one directory so far, and who waits for more of it. Plain data: whoever has the lock decides.

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard};

use super::super::FsError;
use super::super::inode::Entry;
use super::by_name::ByName;
use super::probed::Probed;
use crate::clock::BootTime;
use crate::remote::{NodeKind, Pages};

/// Called without locks when what a waiter asked for has been settled.
pub(super) type Wake = Box<dyn FnOnce() + Send>;

/// What a waiter waits for; a listing that ends settles everything.
pub(super) enum Wanted {
    Index(usize),
    Name(Box<str>),
    End,
}

/// Where a listing stands.
#[derive(Clone, Debug)]
pub(super) enum Progress {
    Loading,
    Complete(BootTime),
    Failed(BootTime, FsError),
}

/// What a listing says about a name.
#[derive(Debug)]
pub enum Answer<T> {
    /// It is there.
    Found(T),
    /// It is not, and the listing is complete.
    Absent,
    /// Not known yet: a page is missing.
    NotYet,
    /// It will not become known.
    Failed(FsError),
}

/// The entries so far, and who waits for more.
pub(super) struct State {
    pub(super) entries: Vec<Arc<Entry>>,
    /// Which of the entries are directories, in order.
    pub(super) subdirs: Vec<u32>,
    pub(super) by_name: HashSet<ByName>,
    pub(super) progress: Progress,
    pub(super) waiters: Vec<(Wanted, Wake)>,
    /// Names that were told to be absent.
    pub(super) absent: HashSet<Box<str>>,
    /// When the last page came in.
    pub(super) paged_at: Option<BootTime>,
    /// Only while loading.
    pub(super) pages: Pages,
    /// Somebody reads it from its first entry on, and is to have all of them.
    pub(super) is_read: bool,
    /// Entries that were found by their names; nothing if none was ever asked for so.
    probed: Option<Box<Probed>>,
}

impl State {
    /// Nothing is known, and nobody waits.
    pub(super) fn new() -> State {
        State {
            entries: Vec::new(),
            subdirs: Vec::new(),
            by_name: HashSet::new(),
            progress: Progress::Loading,
            waiters: Vec::new(),
            absent: HashSet::new(),
            paged_at: None,
            pages: Pages::default(),
            is_read: false,
            probed: None,
        }
    }

    /// The entry called `name`: as listed, or as found before the listing has come to it.
    pub(super) fn find(&self, name: &str) -> Option<&Arc<Entry>> {
        let listed = self.by_name.get(name).map(|entry| &entry.0);
        listed.or_else(|| self.probed.as_ref()?.get(name))
    }

    /// A name that somebody waits for, if the listing has begun and goes on, and if it was not asked for by itself yet: it counts as
    /// asked for from here on.
    pub(super) fn take_unasked(&mut self) -> Option<Box<str>> {
        if !matches!(self.progress, Progress::Loading) || self.paged_at.is_none() {
            return None;
        }
        let names = self.waiters.iter().filter_map(|(wanted, _)| match wanted {
            Wanted::Name(name) => Some(name),
            Wanted::Index(_) | Wanted::End => None,
        });
        let mut names = names.peekable();
        names.peek()?;
        let probed = self.probed.get_or_insert_default();
        names.find(|name| probed.ask(name)).cloned()
    }

    /// Puts an entry in that was found by its name; gives back what is not needed: itself, if the listing tells by now, or the one
    /// whose place it takes.
    pub(super) fn put_probed(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        if !matches!(self.progress, Progress::Loading) || self.by_name.contains(entry.name.as_str()) {
            return Some(entry);
        }
        self.probed.get_or_insert_default().put(entry)
    }

    /// Puts `renewed` into the place of `entry`, if that is still there; gives back the one that is not needed.
    pub(super) fn substitute(&mut self, entry: &Entry, renewed: Arc<Entry>) -> Arc<Entry> {
        let index = self.by_name.get(entry.name.as_str()).map(|found| found.1);
        match index.filter(|index| self.entries[*index as usize].ino == entry.ino) {
            Some(index) => {
                self.by_name.replace(ByName(Arc::clone(&renewed), index));
                std::mem::replace(&mut self.entries[index as usize], renewed)
            }
            None => match &mut self.probed {
                Some(probed) if probed.get(entry.name.as_str()).is_some_and(|found| found.ino == entry.ino) => {
                    probed.put(Arc::clone(&renewed)).unwrap_or(renewed)
                }
                _ => renewed,
            },
        }
    }

    /// The entries that were found by their names, and that the listing has not come to.
    pub(super) fn probed(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.probed.iter().flat_map(|probed| probed.entries())
    }

    /// How many entries are held in all.
    pub(super) fn held(&self) -> usize {
        self.entries.len() + self.probed.as_ref().map_or(0, |probed| probed.len())
    }

    /// The names that the listing tells otherwise than it was told before, each once.
    pub(super) fn take_contradicted(&mut self) -> Vec<Box<str>> {
        self.probed.as_mut().map_or_else(Vec::new, |probed| probed.take_contradicted())
    }

    /// Whether anybody waits for an entry, or reads it.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_read || self.waiters.iter().any(|(wanted, _)| !matches!(wanted, Wanted::End))
    }

    /// The entries of another page; gives back those that had been found by their names.
    pub(super) fn extend(&mut self, entries: Vec<Arc<Entry>>) -> Vec<Arc<Entry>> {
        let superseded = match &mut self.probed {
            Some(probed) => entries.iter().filter_map(|entry| probed.supersede(entry)).collect(),
            None => Vec::new(),
        };
        for entry in entries {
            // As many pages as there may be, of 100 entries each, are far from 2^32.
            let index = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
            if entry.kind == NodeKind::Directory {
                self.subdirs.push(index);
            }
            self.by_name.insert(ByName(Arc::clone(&entry), index));
            self.entries.push(entry);
        }
        superseded
    }

    pub(super) fn ended<T>(&self) -> Answer<T> {
        match &self.progress {
            Progress::Loading => Answer::NotYet,
            Progress::Complete(_) => Answer::Absent,
            Progress::Failed(_, error) => Answer::Failed(error.clone()),
        }
    }

    pub(super) fn settles(&self, wanted: &Wanted) -> bool {
        !matches!(self.progress, Progress::Loading)
            || match wanted {
                Wanted::Index(index) => *index < self.entries.len(),
                Wanted::Name(name) => self.find(name).is_some(),
                Wanted::End => false,
            }
    }

    /// It ends so; gives back entries that had been found by their names and are not there any more.
    pub(super) fn end(&mut self, progress: Progress) -> Vec<Arc<Entry>> {
        let gone = match (&progress, &mut self.probed) {
            (Progress::Complete(_), Some(probed)) => probed.end(),
            _ => Vec::new(),
        };
        self.progress = progress;
        self.pages = Pages::default();
        self.entries.shrink_to_fit();
        self.by_name.shrink_to_fit();
        gone
    }
}

/// Unlocks the state, then wakes the waiters whose condition is met.
pub(super) fn wake_settled(mut state: MutexGuard<'_, State>) {
    let waiters = std::mem::take(&mut state.waiters);
    let (settled, waiting): (Vec<_>, Vec<_>) = waiters.into_iter().partition(|(wanted, _)| state.settles(wanted));
    state.waiters = waiting;
    drop(state);
    for (_, wake) in settled {
        wake();
    }
}
