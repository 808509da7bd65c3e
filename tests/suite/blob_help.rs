//! Help for the laws of the store: stores over real directories, blobs whose bytes follow from what they are of, and small disks.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use koofs::clock::{SystemClock, Timer};
use koofs::store::identity::{BLOB_BYTES, FileVersion, Identity, Source};
use koofs::store::{Config, Part, Store};

use crate::mounted::{Mountpoint, await_that, c_path, mounts_are_allowed};

/// Nothing in these laws takes as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A directory for a store that vanishes with the law; the store makes it.
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("koofs")
    }

    pub(crate) fn open(&self, limit_bytes: u64) -> Store {
        open(&self.path(), limit_bytes)
    }
}

/// A store in `directory` that is never late.
pub(crate) fn open(directory: &Path, limit_bytes: u64) -> Store {
    Store::open(config(directory, limit_bytes), &timer()).unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

pub(crate) fn config(directory: &Path, limit_bytes: u64) -> Config {
    Config {
        directory: directory.to_owned(),
        limit_bytes: Some(limit_bytes),
        queue_bytes: 64 << 20,
        patience: PATIENCE,
    }
}

pub(crate) fn timer() -> Arc<Timer> {
    Timer::new(Arc::new(SystemClock))
}

pub(crate) fn source(name: &str) -> Source {
    Source::new("https://koo.example", name, &format!("the share {name}"))
}

/// The only block of a file of `len` bytes.
pub(crate) fn block_of(source: &Source, node: &str, len: u64) -> Identity {
    let version = FileVersion { size_bytes: len, edited_ms: 1, sha256: None };
    Identity::block(source, node, &version, 0, BLOB_BYTES).unwrap()
}

pub(crate) fn block(node: &str, len: u64) -> Identity {
    block_of(&source("a"), node, len)
}

/// What a blob holds: other bytes for another identity, however alike.
pub(crate) fn bytes_of(identity: &Identity) -> Vec<u8> {
    let seed = u64::from_str_radix(&identity.name().to_string()[..16], 16).unwrap();
    let mut random = fastrand::Rng::with_seed(seed);
    let len = identity.range().map_or(1000, |range| range.len());
    (0..len).map(|_| random.u8(..)).collect()
}

/// Puts a block in two parts, as it comes in blocks of memory.
pub(crate) fn put(store: &Store, identity: &Identity) -> bool {
    let mut first = bytes_of(identity);
    let second = first.split_off(first.len() / 3);
    let parts: Vec<Part> = vec![Arc::new(first), Arc::new(second)];
    store.put_block(identity, Some("\"etag\""), parts)
}

/// Puts a block and waits until it is written or dropped.
pub(crate) fn keep(store: &Store, identity: &Identity) {
    put(store, identity);
    assert!(store.flush(PATIENCE));
}

/// Whether there is a blob. Fails for a wrong byte.
#[track_caller]
pub(crate) fn has(store: &Store, identity: &Identity) -> bool {
    let blob = store.get(identity);
    assert!(blob.as_ref().is_none_or(|blob| blob.data() == bytes_of(identity)), "wrong byte in {:?}", identity.name());
    blob.is_some()
}

/// Where the blob of `identity` lies.
pub(crate) fn file_of(directory: &Path, identity: &Identity) -> PathBuf {
    let name = identity.name().to_string();
    directory.join(identity.source().key().to_string()).join(&name[..2]).join(name)
}

/// Says that a blob was last used so long ago.
pub(crate) fn last_used(directory: &Path, identity: &Identity, ago: Duration) {
    let file = std::fs::File::options().write(true).open(file_of(directory, identity)).unwrap();
    file.set_modified(SystemTime::now() - ago).unwrap();
}

/// What `du -s` says, in bytes.
pub(crate) fn du(path: &Path) -> u64 {
    // Others may remove things meanwhile.
    let Ok(metadata) = path.symlink_metadata() else { return 0 };
    let below = if metadata.is_dir() { std::fs::read_dir(path).ok() } else { None };
    metadata.blocks() * 512 + below.into_iter().flatten().flatten().map(|entry| du(&entry.path())).sum::<u64>()
}

/// A filesystem of its own, in memory, with such options of tmpfs(5). `None` where that is not allowed.
pub(crate) fn small_disk(options: &str) -> Option<Mountpoint> {
    if !mounts_are_allowed() {
        return None;
    }
    let mountpoint = Mountpoint::new();
    if mount(&mountpoint, options, 0) {
        return Some(mountpoint);
    }
    eprintln!("left out, without the right to mount: {}", std::io::Error::last_os_error());
    None
}

/// Makes it read-only, once no thread of a store that was closed has a file open for writing any more.
pub(crate) fn make_read_only(disk: &Mountpoint) {
    await_that("a read-only disk", || mount(disk, "", libc::MS_REMOUNT | libc::MS_RDONLY));
}

fn mount(at: &Mountpoint, options: &str, flags: libc::c_ulong) -> bool {
    let (kind, path, options) = (c"tmpfs", c_path(at.path()), std::ffi::CString::new(options).unwrap());
    // SAFETY: all texts outlive the call. Mounting below our own temporary directory harms nobody.
    let result = unsafe { libc::mount(kind.as_ptr(), path.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    result == 0
}
