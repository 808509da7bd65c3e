//! One readdir: entries from a cookie on, into a reply with limited room.

use std::sync::Arc;
use std::time::Duration;

use super::FsError;
use super::attr::Attr;
use super::dir::{Answer, Listing};
use super::fresh::Freshness;
use super::inode::{Ino, InodeTable};

/// How many entries are copied out of a listing at a time: about what fits into one reply of 32 KiB.
const ENTRIES_PER_STEP: usize = 256;

/// The cookies before the first child: `.` has 0, `..` has 1.
pub(super) const DOT_ENTRIES: u64 = 2;

/// One entry of a directory as readdir reports it.
#[derive(Clone, Copy, Debug)]
pub struct DirItem<'a> {
    /// The name, `.` and `..` included.
    pub name: &'a str,
    /// What it stands for.
    pub attr: Attr,
    /// The cookie of the entry after this one.
    pub next_cookie: u64,
    /// For how long name and attributes may be believed.
    pub validity: Duration,
}

/// Where readdir puts its entries: a reply with limited room.
pub trait DirSink: Send {
    /// Puts one entry in; `false` if it did not fit.
    fn add(&mut self, item: DirItem<'_>) -> bool;

    /// Whether an entry that was put in counts as a lookup (readdirplus) or not (readdir).
    fn counts_lookups(&self) -> bool;

    /// Sends what was put in, or the error. No entries and no error mean the end of the directory.
    fn finish(self: Box<Self>, result: Result<(), FsError>);
}

/// One readdir under way.
pub(super) struct Emitter {
    pub(super) listing: Arc<Listing>,
    pub(super) inodes: Arc<InodeTable>,
    pub(super) freshness: Arc<Freshness>,
    pub(super) validity: Duration,
    pub(super) cookie: u64,
}

impl Emitter {
    /// Fills `sink` from the cookie on and sends it.
    pub(super) fn emit(self, mut sink: Box<dyn DirSink>, result: Result<(), FsError>) {
        let mut shown = Vec::new();
        let result = result.and_then(|()| self.fill(sink.as_mut(), &mut shown));
        if sink.counts_lookups() {
            self.inodes.remember(&shown);
        }
        sink.finish(result);
        if !self.validity.is_zero() && self.listing.is_outdated() {
            self.freshness.tell_again(&self.listing);
        }
    }

    /// Puts entries in until there is no room or no entry; `shown` are the children that went in.
    fn fill(&self, sink: &mut dyn DirSink, shown: &mut Vec<Ino>) -> Result<(), FsError> {
        let mut cookie = self.cookie;
        while cookie < DOT_ENTRIES {
            if !self.add_dot(sink, cookie) {
                return Ok(());
            }
            cookie += 1;
        }
        loop {
            let index = usize::try_from(cookie - DOT_ENTRIES).unwrap_or(usize::MAX);
            let entries = match self.listing.entries_from(index, ENTRIES_PER_STEP) {
                Answer::Found(entries) => entries,
                // What is in the sink already is sent; the error comes with the next call, from the cookie it failed at.
                Answer::Failed(error) if cookie == self.cookie || shown.is_empty() => return Err(error),
                Answer::Absent | Answer::NotYet | Answer::Failed(_) => return Ok(()),
            };
            for entry in entries {
                let name = entry.name.as_str();
                // Its name shows; whoever wants more of it asks, and is told.
                let validity = if entry.readable().is_ok() { self.validity } else { Duration::ZERO };
                let item = DirItem { name, attr: Attr::of(&entry), next_cookie: cookie + 1, validity };
                if !sink.add(item) {
                    return Ok(());
                }
                shown.push(entry.ino);
                cookie += 1;
            }
        }
    }

    /// Puts `.` or `..` in.
    fn add_dot(&self, sink: &mut dyn DirSink, cookie: u64) -> bool {
        let Some(dir) = self.inodes.get(self.listing.dir) else { return true };
        let (name, entry) = match cookie {
            0 => (".", Some(dir)),
            _ => ("..", self.inodes.get(dir.parent)),
        };
        let Some(entry) = entry else { return true };
        sink.add(DirItem { name, attr: Attr::of(&entry), next_cookie: cookie + 1, validity: self.validity })
    }
}
