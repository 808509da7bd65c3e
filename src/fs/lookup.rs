//! One lookup: what a directory's listing says of a name, asked of the store where the listing lacks a length.

use std::sync::Arc;
use std::time::Duration;

use super::attr::Attr;
use super::belief::Belief;
use super::dir::{Answer, Listing};
use super::fresh::Freshness;
use super::inode::{Entry, InodeTable};
use super::owed::Owed;
use super::{FsConfig, FsError};
use crate::clock::Clock;
use crate::content::Content;
use crate::remote::{NodeKind, Version};

/// What `lookup` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The entry; the kernel now holds one more lookup on it. The name may be believed for the given time.
    Found(Attr, Duration),
    /// There is no such name, which may be believed for the given time.
    Absent(Duration),
}

/// One lookup under way.
pub(super) struct Finder {
    pub(super) listing: Arc<Listing>,
    pub(super) inodes: Arc<InodeTable>,
    pub(super) freshness: Arc<Freshness>,
    pub(super) content: Arc<Content>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: FsConfig,
    pub(super) belief: Belief,
    pub(super) name: Box<str>,
}

impl Finder {
    /// The result of a lookup that is settled. A found entry counts as looked up from here on.
    fn result(&self) -> Result<Lookup, FsError> {
        let validity = self.belief.validity(&self.listing, self.clock.boot());
        match self.listing.find(&self.name) {
            Answer::Found(entry) => {
                entry.readable()?;
                self.inodes.remember(&[entry.ino]);
                Ok(Lookup::Found(Attr::of(&entry), validity))
            }
            Answer::Absent => Ok(Lookup::Absent(self.listing.note_absent(&self.name, validity))),
            Answer::Failed(error) => Err(error),
            Answer::NotYet => Err(FsError::Internal),
        }
    }

    /// The listing says what it has to say. Of a file without a length, that is asked for first.
    pub(super) fn finish(self, owed: Owed<Lookup>) {
        match self.listing.find(&self.name) {
            Answer::Found(entry) if entry.kind == NodeKind::Unsized => self.finish_sized(entry, owed),
            Answer::Absent if self.listing.is_of_subtree() => self.confirm(owed),
            _ => self.answer(|result| owed.answer_with(result)),
        }
    }

    /// A subtree has no such name, which is no proof: the listing of the directory alone is asked for.
    fn confirm(self, owed: Owed<Lookup>) {
        let listing = self.freshness.confirmation(&self.listing);
        let finder = Finder { listing: Arc::clone(&listing), ..self };
        let name = finder.name.clone();
        listing.when_name(&name, Box::new(move || finder.finish(owed)));
    }

    fn finish_sized(self, entry: Arc<Entry>, owed: Owed<Lookup>) {
        let (content, deadline) = (Arc::clone(&self.content), self.clock.now() + self.config.op_timeout);
        let (id, edited_ms) = (entry.id.clone(), entry.version.edited_ms);
        let finish = move |result| match result {
            Ok(size_bytes) => {
                self.listing.substitute(&entry, Version { size_bytes, edited_ms });
                self.answer(|result| owed.answer_with(result));
            }
            Err(error) => owed.answer_with(|| Err(FsError::Content(error))),
        };
        match content.known_size(&id, edited_ms) {
            Some(size) => finish(Ok(size)),
            None => content.ask_size(&id, edited_ms, deadline, Box::new(finish)),
        }
    }

    /// Calls `give` with the result. If the listing was outdated meanwhile, the kernel is told, as it may believe the answer for
    /// too long.
    pub(super) fn answer(&self, give: impl FnOnce(&dyn Fn() -> Result<Lookup, FsError>)) {
        let was_outdated = self.listing.is_outdated();
        give(&|| self.result());
        if !was_outdated && self.listing.is_outdated() {
            self.freshness.tell_name_again(self.listing.dir, &self.name);
        }
    }
}
