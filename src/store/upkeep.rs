//! What the commands do with a directory of blobs, beside the mounts that use it: say what there is, clear it, read it all.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::blob::{self, Damage};
use super::disk::{Disk, Place, time_of};
use super::error::StoreError;
use super::identity::{BLOB_BYTES, BlobName, SourceKey, source_of};
use super::limits::{MAX_HEADER_BYTES, MAX_LISTING_BYTES};
use super::space::{NoRoom, Space};

/// What there is of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSummary {
    /// Its key.
    pub key: SourceKey,
    /// What it is called; `None` if that cannot be read.
    pub label: Option<String>,
    /// How many blobs there are of it.
    pub blobs: u64,
    /// What they take on the disk, in bytes.
    pub bytes: u64,
    /// What the pinned ones of them take.
    pub pinned_bytes: u64,
    /// When the one was last used that was used least recently; `None` if there are no blobs.
    pub oldest: Option<SystemTime>,
}

/// What was found by reading everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Blobs that are as they were written.
    pub blobs: u64,
    /// What they take on the disk, in bytes.
    pub bytes: u64,
    /// Blobs that were not, and were removed.
    pub damaged: u64,
    /// Blobs that could not be read.
    pub unreadable: u64,
}

/// What there is in `directory`, by source, in the order of their keys; nothing if there is no such directory.
///
/// # Errors
/// If it cannot be used or read.
pub fn summaries(directory: &Path) -> Result<Vec<SourceSummary>, StoreError> {
    let Some(disk) = open(directory)? else { return Ok(Vec::new()) };
    let io = |source| StoreError::Io { path: directory.to_owned(), source };
    let mut summaries: BTreeMap<SourceKey, SourceSummary> = BTreeMap::new();
    for (key, label) in disk.sources().map_err(io)? {
        summaries.insert(key, SourceSummary { key, label, blobs: 0, bytes: 0, pinned_bytes: 0, oldest: None });
    }
    let scanned = disk.scan(&mut |found| {
        if let Some(summary) = summaries.get_mut(&found.place.source) {
            summary.blobs += 1;
            summary.bytes += found.charge;
            summary.pinned_bytes += if found.is_pinned { found.charge } else { 0 };
            let used = time_of(found.used_at);
            summary.oldest = Some(summary.oldest.map_or(used, |oldest| oldest.min(used)));
        }
        true
    });
    scanned.map_err(io)?;
    Ok(summaries.into_values().collect())
}

/// Removes all of `source`, or of all sources, and says how many bytes went.
///
/// # Errors
/// If the directory cannot be used, or something cannot be removed.
pub fn clear(directory: &Path, source: Option<SourceKey>) -> Result<u64, StoreError> {
    let Some(disk) = open(directory)? else { return Ok(0) };
    let io = |source| StoreError::Io { path: directory.to_owned(), source };
    let sources = disk.sources().map_err(io)?.into_iter().map(|(key, _)| key);
    for key in sources.filter(|key| source.is_none_or(|source| source == *key)) {
        disk.take_away(key).map_err(io)?;
    }
    let freed = disk.remove_gone().map_err(io)?;
    settle(directory, disk)?;
    Ok(freed)
}

/// Reads every blob, and removes those that are not as they were written. What was seen so far is told to `seen` after each.
///
/// # Errors
/// If the directory cannot be used or looked through.
pub fn verify(directory: &Path, mut seen: impl FnMut(&Verified)) -> Result<Verified, StoreError> {
    let Some(disk) = open(directory)? else { return Ok(Verified::default()) };
    let mut verified = Verified::default();
    let scanned = disk.scan(&mut |found| {
        match damage(&disk, found.place) {
            Ok(None) => {
                verified.blobs += 1;
                verified.bytes += found.charge;
            }
            Ok(Some(damage)) => {
                log::warn!("store: {} is removed: {}", disk.shown(found.place), damage.text());
                match disk.remove(found.place, None) {
                    Ok(_) => verified.damaged += 1,
                    Err(error) => {
                        log::warn!("store: it stays: {error}");
                        verified.unreadable += 1;
                    }
                }
            }
            // Gone meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => {
                log::warn!("store: {} cannot be read: {error}", disk.shown(found.place));
                verified.unreadable += 1;
            }
        }
        seen(&verified);
        true
    });
    scanned.map_err(|source| StoreError::Io { path: directory.to_owned(), source })?;
    settle(directory, disk)?;
    Ok(verified)
}

fn open(directory: &Path) -> Result<Option<Disk>, StoreError> {
    match directory.try_exists() {
        Ok(true) => Disk::open(directory).map(Some),
        Ok(false) => Ok(None),
        Err(source) => Err(StoreError::Io { path: directory.to_owned(), source }),
    }
}

/// Has all of it counted.
fn settle(directory: &Path, disk: Disk) -> Result<(), StoreError> {
    match Space::new(Arc::new(disk), 0).scan() {
        Err(NoRoom::Io(source)) => Err(StoreError::Io { path: directory.to_owned(), source }),
        _ => Ok(()),
    }
}

/// What is wrong with a blob, if anything: it has to be whole, and what its place says.
fn damage(disk: &Disk, place: Place) -> io::Result<Option<Damage>> {
    let len_max = MAX_LISTING_BYTES.max(BLOB_BYTES) + MAX_HEADER_BYTES;
    let file = match disk.read(place, len_max, None) {
        Ok(Some(file)) => file,
        Ok(None) => return Err(io::ErrorKind::NotFound.into()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Some(Damage::Length)),
        Err(error) => return Err(error),
    };
    Ok(match blob::content(&file) {
        Ok(content) => {
            let is_in_place =
                BlobName::of(&content.identity) == place.name && source_of(&content.identity) == Some(place.source);
            (!is_in_place).then_some(Damage::Identity)
        }
        Err(damage) => Some(damage),
    })
}
