//! What a mount is told to do rather than asked: to forget, to keep on the disk, and that its service is back or refuses it.

use std::sync::Arc;

use super::keeping::{Keep, Pinned};
use super::{Done, DriveFs, Fh, FsError, Ino, Use, keeping};
use crate::remote::{NodeKind, RemoteError, RemoteErrorKind};

impl DriveFs {
    /// Forgets what is remembered of the directory `ino` and of all below it, and makes the kernel forget it, too; then calls `done`.
    /// For a file, that is done for the directory that holds it. While the service cannot be reached nothing is forgotten, as it could
    /// not be had again: that is an error, and the service is tried soon.
    pub fn refresh(&self, ino: Ino, done: Done<()>) {
        let Some(entry) = self.inodes.get(ino) else { return done(Err(FsError::NotFound)) };
        if self.remote.is_offline() {
            self.remote.try_soon();
            let why = "the service cannot be reached: nothing is forgotten, as it could not be had again";
            return done(Err(FsError::Listing(Arc::new(RemoteError::new(RemoteErrorKind::Offline, why)))));
        }
        let dir = if entry.kind == NodeKind::Directory { entry.ino } else { entry.parent };
        self.subtrees.forget();
        let (freshness, owed) = (Arc::clone(&self.freshness), self.owe(0, done));
        self.lister.forget_remembered(move || freshness.forget_below(dir, owed));
    }

    /// The service is reached again after a time without: what the kernel was told meanwhile is asked for anew.
    pub fn service_is_back(&self) {
        self.freshness.doubt_all();
    }

    /// The service refuses all of it: nothing that is remembered is shown any longer.
    pub fn forget_everything(&self) {
        self.subtrees.forget();
        let (freshness, owed) = (Arc::clone(&self.freshness), self.owe(0, Box::new(|_| {})));
        self.lister.forget_remembered(move || freshness.forget_below(Ino::ROOT, owed));
    }

    /// Writes the listing of the directory `ino`, or of a file the piece with byte `offset`, to the disk. When it is there, and pinned if
    /// that is asked for, calls `done` with the most bytes that the disk keeps in all.
    pub fn keep(&self, ino: Ino, fh: Fh, offset: u64, keep: Keep, done: Done<u64>) {
        let deadline = self.clock.now() + self.config.op_timeout;
        match self.directory(ino) {
            Ok(dir) => {
                let (listing, _) = self.current_listing(&dir, Use::Read(None));
                keeping::keep_listing(&self.lister, &listing, keep, deadline, self.owe(0, done));
            }
            Err(FsError::NotADirectory) => match self.files.get(fh) {
                Ok(handle) => keeping::keep_piece(&self.content, &handle, offset, keep, deadline, self.owe(0, done)),
                Err(error) => done(Err(error)),
            },
            Err(error) => done(Err(error)),
        }
    }

    /// Lets the listing of the directory `ino`, or of a file the piece with byte `offset`, go like others again; of the root, all that was
    /// ever pinned of the source. Asks nobody.
    pub fn unpin(&self, ino: Ino, fh: Fh, offset: u64, done: Done<u64>) {
        let what = match self.directory(ino) {
            Ok(_) if ino == Ino::ROOT => Ok(Pinned::All),
            Ok(dir) => Ok(Pinned::Listing(dir.id.clone())),
            Err(FsError::NotADirectory) => self.files.get(fh).map(|handle| Pinned::Piece(handle, offset)),
            Err(error) => Err(error),
        };
        match what {
            Ok(what) => keeping::unpin(&self.content, &self.lister, what, self.owe(0, done)),
            Err(error) => done(Err(error)),
        }
    }
}
