//! Extended attributes: what the service calls an entry, and how much of a file is here. Only where they were asked for.

use std::sync::Arc;

use super::inode::{Entry, Ino};
use super::{Done, DriveFs, FsError};
use crate::remote::NodeKind;

/// The service's id.
const ID: &str = "user.koofs.id";
/// What tells this content from any other of the file: its length, and when it was edited, in milliseconds since 1970.
const VERSION: &str = "user.koofs.version";
/// Its name at the service, which may be one that Linux does not permit, or that another entry has, too.
const ORIGINAL_NAME: &str = "user.koofs.original-name";
/// How many of its bytes are in memory or on the disk.
const CACHED_BYTES: &str = "user.koofs.cached-bytes";

impl DriveFs {
    /// The names of the attributes that an inode has.
    ///
    /// # Errors
    /// [`FsError::NotFound`] for a number that is not alive, [`FsError::Unreadable`].
    pub fn xattrs(&self, ino: Ino) -> Result<Vec<&'static str>, FsError> {
        let entry = self.inodes.get(ino).ok_or(FsError::NotFound)?;
        entry.readable()?;
        let names = [ID, VERSION, ORIGINAL_NAME, CACHED_BYTES];
        Ok(names.into_iter().filter(|name| has(&entry, name)).collect())
    }

    /// The value of an attribute; `None` if the inode has none of this name. Asks the disk and nobody else.
    pub fn xattr(&self, ino: Ino, name: &str, done: Done<Option<Vec<u8>>>) {
        let entry =
            match self.inodes.get(ino).ok_or(FsError::NotFound).and_then(|entry| entry.readable().map(|()| entry)) {
                Ok(entry) => entry,
                Err(error) => return done(Err(error)),
            };
        if !has(&entry, name) {
            return done(Ok(None));
        }
        let value = match name {
            ID => entry.id.as_str().to_owned(),
            VERSION => format!("{}-{}", entry.version.size_bytes, entry.version.edited_ms),
            ORIGINAL_NAME => entry.original_name().to_owned(),
            _ => {
                let (content, owed) = (Arc::clone(&self.content), self.owe(0, done));
                let until = self.clock.now() + self.config.op_timeout;
                return self.content.soon(move || {
                    let held = content.held_bytes(&content.of(&entry.id, entry.version), until);
                    owed.answer_with(|| Ok(Some(held.to_string().into_bytes())));
                });
            }
        };
        done(Ok(Some(value.into_bytes())));
    }
}

/// Whether an entry has the attribute `name`.
fn has(entry: &Entry, name: &str) -> bool {
    match name {
        ID => true,
        ORIGINAL_NAME => entry.ino != Ino::ROOT,
        VERSION | CACHED_BYTES => entry.kind == NodeKind::File,
        _ => false,
    }
}
