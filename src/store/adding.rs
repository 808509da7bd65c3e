//! How a blob comes into the directory of a store: written beside it, then put in its place by a rename.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{AtFlags, FlockOperation, OFlags, RenameFlags, flock, renameat, renameat_with, unlinkat};

use super::disk::{Disk, LABEL, Place, UNFINISHED};

/// So often a file is made to write to: a scan takes one that is new for one that was left, for an instant.
const UNFINISHED_TRIES: u32 = 8;

/// So often the directories of a blob are made: a scan of another mount removes them again where they are empty still.
const DIRECTORY_TRIES: u32 = 3;

/// How a blob was put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Now,
    /// Somebody else was first with the same.
    Before,
}

/// A blob that is being written.
struct Unfinished {
    file: File,
    path: String,
}

impl Disk {
    /// Writes a blob, of which the bytes are counted already; they stay so only for [`Written::Now`]. `label` is what the source is
    /// called. `put` is called when all is written, and has the blob put in its place by what it is given, or not.
    ///
    /// # Errors
    /// What the system says. Nothing is left behind.
    pub(super) fn write<'a>(
        &self,
        place: Place,
        label: &str,
        charge: u64,
        parts: impl Iterator<Item = &'a [u8]>,
        put: impl FnOnce(&mut dyn FnMut() -> io::Result<Written>) -> io::Result<Written>,
    ) -> io::Result<Written> {
        let result =
            self.new_unfinished(charge).and_then(|unfinished| self.finish(&unfinished, parts, place, label, put));
        if !matches!(result, Ok(Written::Now)) {
            self.take_off(charge);
        }
        result
    }

    /// Writes the parts to a new file, and puts that in its place as `put` says.
    fn finish<'a>(
        &self,
        unfinished: &Unfinished,
        mut parts: impl Iterator<Item = &'a [u8]>,
        place: Place,
        label: &str,
        put: impl FnOnce(&mut dyn FnMut() -> io::Result<Written>) -> io::Result<Written>,
    ) -> io::Result<Written> {
        let Unfinished { file, path } = unfinished;
        let result = parts.try_for_each(|part| (&*file).write_all(part)).and_then(|()| {
            put(&mut || {
                for _ in 0..DIRECTORY_TRIES {
                    match self.rename(path, place) {
                        Err(error) if error.kind() == ErrorKind::NotFound => self.make_directories(place, label)?,
                        other => return other,
                    }
                }
                self.rename(path, place)
            })
        });
        if !matches!(result, Ok(Written::Now))
            && let Err(error) = unlinkat(self.root(), path, AtFlags::empty())
        {
            log::debug!("store: {path} stays until the next scan: {error}");
        }
        result
    }

    /// A new file, locked as long as it is open: whatever is not locked is what a killed writer has left, and goes with a scan.
    fn new_unfinished(&self, charge: u64) -> io::Result<Unfinished> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        for _ in 0..UNFINISHED_TRIES {
            let path = format!("{UNFINISHED}/{:016x}.{charge}", fastrand::u64(..));
            let file = match self.open_file(&path, flags) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.make_directory(UNFINISHED)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            // A scan may have come between, and have locked it in order to remove it.
            match flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from) {
                Ok(()) if file.metadata()?.nlink() > 0 => return Ok(Unfinished { file, path }),
                Ok(()) => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => (),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(ErrorKind::WouldBlock, "every new file is removed by others"))
    }

    /// Puts a written blob in its place. If there is one, that stays.
    fn rename(&self, unfinished: &str, place: Place) -> io::Result<Written> {
        let path = place.path();
        match renameat_with(self.root(), unfinished, self.root(), &path, RenameFlags::NOREPLACE)
            .map_err(io::Error::from)
        {
            Ok(()) => Ok(Written::Now),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Written::Before),
            // A filesystem that cannot do so (NFS, some of FUSE). One blob more may be counted than there is, until the next scan.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                renameat(self.root(), unfinished, self.root(), &path)?;
                Ok(Written::Now)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the directories of a blob. Whether they stay, the next try to use them says: a scan removes what is empty.
    fn make_directories(&self, place: Place, label: &str) -> io::Result<()> {
        let source = place.source.to_string();
        self.make_directory(&source)?;
        let made = self.make_label(&source, label).and_then(|()| self.make_directory(&place.directory()));
        match made {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes down what a source is called, unless it is.
    fn make_label(&self, source: &str, label: &str) -> io::Result<()> {
        match self.open_file(&format!("{source}/{LABEL}"), OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL) {
            Ok(mut file) => {
                file.write_all(label.as_bytes())?;
                self.add(self.charge(label.len() as u64))
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }
}
