//! Directories that are listed anew because the store has another version of a file than listed, and how often.
//!
//! Locks: one, for the length of a look.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::Duration;

use lru::LruCache;

use super::super::dir::{Answer, Listing};
use super::super::inode::{Entry, Ino};
use crate::clock::BootTime;
use crate::policy::name::EntryName;
use crate::remote::{NodeId, Version};
use crate::sync::lock;

/// How long a directory whose listing said nothing new about a changed file is not listed anew for that file; twice as long each
/// time. Without this, each read of a file that the service withholds, and that therefore always differs from its listing, would
/// list the whole directory.
const MIN_DISPUTE_PAUSE: Duration = Duration::from_secs(30);
const MAX_DISPUTE_PAUSE: Duration = Duration::from_secs(3600);

/// For how many directories it is remembered why they were listed anew.
const MAX_DISPUTES: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// Why a directory was listed anew: a file that was another than listed.
struct Dispute {
    name: EntryName,
    id: NodeId,
    version: Version,
    not_before: BootTime,
    pause: Duration,
}

impl Dispute {
    /// Whether the directory's listing says something else of the file by now.
    fn has_news(&self, listing: Option<&Listing>) -> bool {
        let Some(listing) = listing else { return false };
        match listing.find(self.name.as_str()) {
            Answer::Found(entry) => entry.id != self.id || entry.version != self.version,
            Answer::Absent => true,
            Answer::NotYet | Answer::Failed(_) => false,
        }
    }
}

/// Why directories were listed anew last.
pub(super) struct Disputes(Mutex<LruCache<Ino, Dispute>>);

impl Default for Disputes {
    fn default() -> Disputes {
        Disputes(Mutex::new(LruCache::new(MAX_DISPUTES)))
    }
}

impl Disputes {
    /// Whether the directory of `file`, whose current listing is given, may be listed anew because the store has another version of
    /// `file`; if so, it counts as done.
    pub(super) fn may_list_anew(&self, file: &Entry, listing: Option<&Listing>, now: BootTime) -> bool {
        let mut disputes = lock(&self.0);
        let pause = match disputes.get(&file.parent) {
            Some(last) if last.has_news(listing) => MIN_DISPUTE_PAUSE,
            Some(last) if now < last.not_before => return false,
            Some(last) => (last.pause * 2).min(MAX_DISPUTE_PAUSE),
            None => MIN_DISPUTE_PAUSE,
        };
        let (name, id, version) = (file.name.clone(), file.id.clone(), file.version);
        disputes.put(file.parent, Dispute { name, id, version, not_before: now + pause, pause });
        true
    }
}
