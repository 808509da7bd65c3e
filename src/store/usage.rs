//! How many bytes a store takes, counted by all mounts that share it in one small file under a lock.
//!
//! Bytes are added *before* a file is written and taken off *after* it is removed, so that a mount that is killed in between leaves
//! the count too high, never too low; the next scan of the directory corrects it. Two sums that only grow, rather than their
//! difference, tell a scan what went on beside it.
//!
//! The lock is `flock(2)` on the file, which the kernel releases when its holder dies, and is held for two system calls. It is never
//! waited for in the kernel: a holder that was stopped (SIGSTOP, a debugger) must not stop the others.

use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use twox_hash::XxHash3_64;

use crate::clock::{Clock, SystemClock};
use crate::sync::lock;

/// So often the lock is tried, at pauses of [`LOCK_PAUSE`]: a tenth of a second, thousands of times as long as it is held.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// No number of bytes.
const UNKNOWN: u64 = u64::MAX;

/// Two sums and a checksum over them, little-endian.
const COUNT_BYTES: usize = 24;

/// What was ever added and taken off, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub added: u64,
    pub removed: u64,
}

/// Whether bytes may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reserved {
    /// They are counted already.
    Yes,
    /// So many bytes have to go first.
    Short(u64),
    /// Nobody knows how many bytes there are: a scan has to count them first.
    Unknown,
}

/// The count of one store.
pub(super) struct Usage {
    file: File,
    /// One thread of this process at a time, since `flock` does not tell threads apart that share a file. What was removed while the
    /// lock could not be had: taken off with the next change.
    owed: Mutex<u64>,
    /// The bytes in use as they were last seen; [`UNKNOWN`] if never.
    last: AtomicU64,
}

impl Count {
    /// What there is now.
    pub(super) fn in_use(self) -> u64 {
        self.added.saturating_sub(self.removed)
    }

    fn parse(bytes: &[u8; COUNT_BYTES]) -> Option<Count> {
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let (added, removed) = (number(0), number(8));
        (XxHash3_64::oneshot(&bytes[..16]) == number(16) && removed <= added).then_some(Count { added, removed })
    }

    fn bytes(self) -> [u8; COUNT_BYTES] {
        let mut bytes = [0; COUNT_BYTES];
        bytes[..8].copy_from_slice(&self.added.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.removed.to_le_bytes());
        let mut hash = XxHash3_64::new();
        hash.write(&bytes[..16]);
        bytes[16..].copy_from_slice(&hash.finish().to_le_bytes());
        bytes
    }
}

impl Usage {
    /// The count that is kept in `file`, which is open for reading and writing.
    pub(super) fn new(file: File) -> Usage {
        Usage { file, owed: Mutex::new(0), last: AtomicU64::new(UNKNOWN) }
    }

    /// The bytes in use as this process has last seen them, without a look at the disk; `None` if nobody knows.
    pub(super) fn last_known(&self) -> Option<u64> {
        Some(self.last.load(Ordering::Relaxed)).filter(|bytes| *bytes != UNKNOWN)
    }

    /// The count now; `None` if nobody knows.
    ///
    /// # Errors
    /// What the disk says, or that the lock was not to be had.
    pub(super) fn count(&self) -> io::Result<Option<Count>> {
        self.changed(|count| *count)
    }

    /// Counts `bytes` that are going to be written, if there are then at most `limit`.
    ///
    /// # Errors
    /// As [`Usage::count`].
    pub(super) fn reserve(&self, bytes: u64, limit: u64) -> io::Result<Reserved> {
        self.changed(|count| {
            let Some(count) = count else { return Reserved::Unknown };
            match (count.in_use() + bytes).saturating_sub(limit) {
                0 => {
                    count.added += bytes;
                    Reserved::Yes
                }
                short => Reserved::Short(short),
            }
        })
    }

    /// Counts `bytes` that have been written whatever the limit is: a directory, which no other place is left for.
    ///
    /// # Errors
    /// As [`Usage::count`].
    pub(super) fn add(&self, bytes: u64) -> io::Result<()> {
        self.changed(|count| {
            if let Some(count) = count {
                count.added += bytes;
            }
        })
    }

    /// Takes off `bytes` that have been removed; later, if the lock is not to be had.
    pub(super) fn remove(&self, bytes: u64) {
        *lock(&self.owed) += bytes;
        if let Err(error) = self.changed(|_| ()) {
            log::debug!("store: {bytes} bytes are taken off the count later: {error}");
        }
    }

    /// A scan that began at `before` has found `found` bytes: what was written or removed meanwhile it may have seen or not.
    ///
    /// # Errors
    /// As [`Usage::count`].
    pub(super) fn settle(&self, before: Option<Count>, found: u64) -> io::Result<()> {
        self.changed(|count| match (before, &mut *count) {
            // Nobody could write while nothing was known.
            (None, None) => *count = Some(Count { added: found, removed: 0 }),
            // Another mount has counted meanwhile.
            (None, Some(_)) => (),
            // The count was spoilt meanwhile; the next scan finds it so from its beginning.
            (Some(_), None) => (),
            (Some(before), Some(now)) => {
                let least = found.saturating_sub(now.removed.saturating_sub(before.removed));
                let most = found.saturating_add(now.added.saturating_sub(before.added));
                now.added = now.removed + now.in_use().clamp(least, most);
            }
        })
    }

    /// Has `act` change the count under the lock.
    fn changed<R>(&self, act: impl FnOnce(&mut Option<Count>) -> R) -> io::Result<R> {
        let mut owed = lock(&self.owed);
        let _unlocked_at_the_end = Locked::new(&self.file)?;
        let mut bytes = [0; COUNT_BYTES];
        let before = match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Count::parse(&bytes),
            // As it was just made.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(error),
        };
        let mut count = before;
        if let Some(count) = &mut count {
            count.removed = (count.removed + *owed).min(count.added);
        }
        let answer = act(&mut count);
        if let Some(count) = count
            && Some(count) != before
        {
            self.file.write_all_at(&count.bytes(), 0)?;
        }
        *owed = 0;
        self.last.store(count.map_or(UNKNOWN, Count::in_use), Ordering::Relaxed);
        Ok(answer)
    }
}

/// The lock, held as long as this lives.
struct Locked<'a>(&'a File);

impl<'a> Locked<'a> {
    fn new(file: &'a File) -> io::Result<Locked<'a>> {
        for _ in 0..LOCK_TRIES {
            match flock(file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from) {
                Ok(()) => return Ok(Locked(file)),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    SystemClock.sleep(LOCK_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "another process holds the lock of the store"))
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if let Err(error) = flock(self.0, FlockOperation::Unlock) {
            log::debug!("store: its lock stays: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(directory: &tempfile::TempDir) -> File {
        let path = directory.path().join("usage");
        File::options().read(true).write(true).create(true).truncate(false).open(path).expect("opened")
    }

    fn counted(bytes: u64) -> (tempfile::TempDir, Usage) {
        let directory = tempfile::tempdir().expect("made");
        let usage = Usage::new(file(&directory));
        usage.settle(None, bytes).expect("settled");
        (directory, usage)
    }

    fn in_use(usage: &Usage) -> Option<u64> {
        usage.count().expect("read").map(Count::in_use)
    }

    #[test]
    fn nothing_is_reserved_before_the_first_scan_nor_in_a_spoilt_count() {
        let directory = tempfile::tempdir().expect("made");
        let usage = Usage::new(file(&directory));
        assert_eq!(usage.reserve(1, 100).expect("read"), Reserved::Unknown);
        usage.settle(None, 0).expect("settled");
        assert_eq!(usage.reserve(1, 100).expect("read"), Reserved::Yes);
        for at in 0..COUNT_BYTES as u64 {
            let mut byte = [0];
            usage.file.read_exact_at(&mut byte, at).expect("read");
            usage.file.write_all_at(&[byte[0] ^ 4], at).expect("written");
            assert_eq!(usage.reserve(1, 100).expect("read"), Reserved::Unknown, "byte {at}");
            usage.file.write_all_at(&byte, at).expect("written");
        }
        usage.file.write_all_at(&[0; COUNT_BYTES], 0).expect("written");
        assert_eq!(usage.reserve(1, 100).expect("read"), Reserved::Unknown, "zeros");
    }

    #[test]
    fn two_processes_together_reserve_no_more_than_the_limit() {
        let (directory, usage) = counted(0);
        let other = Usage::new(file(&directory));
        let reserve =
            |usage: &Usage| (0..100).filter(|_| usage.reserve(1, 150).expect("read") == Reserved::Yes).count();
        let (one, two) = std::thread::scope(|scope| {
            let two = scope.spawn(|| reserve(&other));
            (reserve(&usage), two.join().expect("ends"))
        });
        assert_eq!((one + two, in_use(&usage)), (150, Some(150)));
        assert_eq!(usage.reserve(5, 150).expect("read"), Reserved::Short(5));
        other.remove(10);
        assert_eq!(usage.reserve(5, 150).expect("read"), Reserved::Yes);
    }

    #[test]
    fn scan_corrects_only_what_cannot_have_happened_beside_it() {
        for (added, removed, found, want) in [
            (0, 0, 100, 100),
            (0, 0, 70, 70),
            (0, 0, 130, 130),
            (20, 0, 100, 120),
            (20, 0, 130, 130),
            (20, 0, 90, 110),
            (20, 30, 100, 90),
            (20, 30, 60, 80),
            (20, 30, 200, 170),
        ] {
            let (_directory, usage) = counted(100);
            let before = usage.count().expect("read");
            assert_eq!(usage.reserve(added, 1000).expect("read"), Reserved::Yes);
            usage.remove(removed);
            usage.settle(before, found).expect("settled");
            assert_eq!(in_use(&usage), Some(want), "{added} {removed} {found}");
        }
    }

    #[test]
    fn holder_that_does_not_move_makes_a_refusal_and_what_was_removed_is_owed() {
        let (directory, usage) = counted(100);
        let other = file(&directory);
        flock(&other, FlockOperation::LockExclusive).expect("locked");
        assert!(usage.reserve(1, 1000).is_err());
        usage.remove(30);
        flock(&other, FlockOperation::Unlock).expect("unlocked");
        assert_eq!(in_use(&usage), Some(70));
    }
}
