//! What there is in the directory of a store: every blob, and every byte that counts.

use std::io::{self, ErrorKind};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, FlockOperation, OFlags, Stat, flock, statat, unlinkat};

use super::disk::{Disk, Found, GONE, LABEL, Place, UNFINISHED, nanoseconds, time_of};
use super::identity::{BlobName, SourceKey};
use super::pin::is_pinned;

/// An empty directory stays for so long, in case a writer has just made it.
const EMPTY_KEPT: Duration = Duration::from_secs(60);

impl Disk {
    /// Shows every blob of the store to `visit`, as long as that says `true`, and says how many bytes were found in all; `None` if it
    /// was told to stop. What killed writers have left, and directories without blobs,
    /// are removed where anything can be.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn scan(&self, visit: &mut dyn FnMut(Found) -> bool) -> io::Result<Option<u64>> {
        // Before the blobs: one that comes into its place meanwhile is counted twice, not left out.
        let can_write = self.usage().is_some();
        let mut bytes = if can_write { self.unfinished_bytes()? } else { 0 };
        for (gone, _) in self.names(GONE)? {
            bytes += self.bytes_below(&format!("{GONE}/{gone}"))?;
        }
        for (source, label) in self.sources()? {
            let mut shards = 0;
            for (shard, kind) in self.names(&source.to_string())? {
                if kind != FileType::Directory {
                    continue;
                }
                let Some(found) = self.scan_shard(source, &shard, visit)? else { return Ok(None) };
                bytes += found;
                let path = format!("{source}/{shard}");
                if found == 0 && can_write && self.is_left(&path)? && self.remove_directory(&path)? > 0 {
                    continue;
                }
                bytes += self.unit();
                shards += 1;
            }
            if shards == 0 && can_write && self.is_left(&source.to_string())? {
                self.unlink_whatever(&format!("{source}/{LABEL}"))?;
                self.remove_directory(&source.to_string())?;
            } else {
                bytes += self.unit() + label.map_or(0, |label| self.charge(label.len() as u64));
            }
        }
        Ok(Some(bytes))
    }

    /// Whether nothing has come into a directory, or gone, for a while: no writer has just made it. One that fills it right now makes it
    /// again.
    fn is_left(&self, path: &str) -> io::Result<bool> {
        match statat(self.root(), path, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from) {
            Ok(stat) => {
                let changed = time_of(nanoseconds(stat.st_mtime, stat.st_mtime_nsec));
                Ok(SystemTime::now().duration_since(changed).is_ok_and(|age| age >= EMPTY_KEPT))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn scan_shard(
        &self,
        source: SourceKey,
        shard: &str,
        visit: &mut dyn FnMut(Found) -> bool,
    ) -> io::Result<Option<u64>> {
        let mut bytes = 0;
        let mut left = true;
        self.stats(&format!("{source}/{shard}"), |name, stat| {
            let charge = self.charge(len_of(stat));
            bytes += charge;
            if let Some(name) = BlobName::parse(name).filter(|_| left) {
                let used_at = nanoseconds(stat.st_mtime, stat.st_mtime_nsec);
                let place = Place { source, name };
                left = visit(Found { place, charge, used_at, is_pinned: is_pinned(stat) });
            }
            left
        })?;
        Ok(left.then_some(bytes))
    }

    fn bytes_below(&self, path: &str) -> io::Result<u64> {
        let mut bytes = self.unit();
        for (name, kind) in self.names(path)? {
            if kind == FileType::Directory {
                bytes += self.unit();
                self.stats(&format!("{path}/{name}"), |_, stat| {
                    bytes += self.charge(len_of(stat));
                    true
                })?;
            }
        }
        Ok(bytes)
    }

    /// What blobs count that are being written. Removes those whose writer is no more.
    fn unfinished_bytes(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for (name, _) in self.names(UNFINISHED)? {
            let path = format!("{UNFINISHED}/{name}");
            let charge: u64 = name.rsplit_once('.').and_then(|(_, charge)| charge.parse().ok()).unwrap_or(0);
            match self.open_file(&path, OFlags::RDWR) {
                Ok(file) => match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    // Not taken off the count: the scan finds it no more.
                    Ok(()) => unlinkat(self.root(), &path, AtFlags::empty())?,
                    Err(_locked) => bytes += charge,
                },
                Err(error) if error.kind() == ErrorKind::NotFound => (),
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }
}

fn len_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}
