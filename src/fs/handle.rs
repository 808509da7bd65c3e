//! Handles that the kernel holds: of open files and of open directories.
//!
//! The map's lock is held to copy a pointer, never over anything else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::FsError;
use super::dir::Listing;
use super::inode::{Entry, Ino};
use super::users::User;
use crate::clock::{Timer, TimerKey};
use crate::content::FileReader;
use crate::sync::lock;

/// A handle's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fh(pub u64);

/// An open file.
pub struct FileHandle {
    /// What was opened; its version is pinned for the life of the handle.
    pub entry: Arc<Entry>,
    /// Where its bytes come from.
    pub reader: FileReader,
    /// Its first bytes have been asked for.
    pub has_begun: AtomicBool,
    /// Who has opened it.
    pub(super) user: Arc<User>,
}

impl FileHandle {
    /// A handle of `entry`, which `reader` reads for `user`.
    pub(super) fn new(entry: Arc<Entry>, reader: FileReader, user: Arc<User>) -> FileHandle {
        FileHandle { entry, reader, has_begun: AtomicBool::new(false), user }
    }
}

/// An open directory.
pub struct DirHandle {
    /// The directory.
    pub dir: Ino,
    /// The listing that its cookies count in; replaced only when a reader starts again at the beginning.
    listing: Mutex<Arc<Listing>>,
    /// What happens when the kernel's copy of the directory is no longer to be believed, and the timer that has it happen.
    expiry: OnceLock<(Arc<Timer>, TimerKey)>,
}

impl Drop for DirHandle {
    fn drop(&mut self) {
        if let Some((timer, key)) = self.expiry.get() {
            timer.cancel(*key);
        }
    }
}

impl DirHandle {
    /// A handle that reads `listing`.
    pub fn new(dir: Ino, listing: Arc<Listing>) -> DirHandle {
        DirHandle { dir, listing: Mutex::new(listing), expiry: OnceLock::new() }
    }

    /// Says which action of `timer` ends with the handle; once.
    pub fn set_expiry(&self, timer: &Arc<Timer>, key: TimerKey) {
        if let Err((timer, key)) = self.expiry.set((Arc::clone(timer), key)) {
            timer.cancel(key);
        }
    }

    /// The pinned listing.
    pub fn listing(&self) -> Arc<Listing> {
        Arc::clone(&lock(&self.listing))
    }

    /// Pins another listing: the reader has gone back to the beginning.
    pub fn repin(&self, listing: Arc<Listing>) {
        let old = std::mem::replace(&mut *lock(&self.listing), listing);
        drop(old);
    }
}

/// All open handles of one kind.
pub struct HandleMap<T> {
    handles: Mutex<HashMap<Fh, Arc<T>>>,
    next: AtomicU64,
}

impl<T> Default for HandleMap<T> {
    fn default() -> HandleMap<T> {
        // 0 is left out: an uninitialised handle must not be somebody's.
        HandleMap { handles: Mutex::default(), next: AtomicU64::new(1) }
    }
}

impl<T> HandleMap<T> {
    /// Gives `handle` a number of its own.
    pub fn insert(&self, handle: T) -> Fh {
        let fh = Fh(self.next.fetch_add(1, Ordering::Relaxed));
        lock(&self.handles).insert(fh, Arc::new(handle));
        fh
    }

    /// The handle with this number.
    ///
    /// # Errors
    /// [`FsError::BadHandle`] if there is none (any more).
    pub fn get(&self, fh: Fh) -> Result<Arc<T>, FsError> {
        lock(&self.handles).get(&fh).cloned().ok_or(FsError::BadHandle)
    }

    /// Forgets a handle; reads that are under way keep it until they end.
    pub fn remove(&self, fh: Fh) {
        let handle = lock(&self.handles).remove(&fh);
        drop(handle);
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        lock(&self.handles).len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
