//! The directory of a store: where a blob lies, how one is written, found and removed, and what is counted of it.
//!
//! ```text
//! CACHEDIR.TAG          tells backup programs to leave this out, and us that it is a store
//! usage                 how many bytes there are (usage.rs)
//! tmp/RANDOM.CHARGE     blobs as they are written, each locked by its writer; without a lock, what a killed writer left
//! gone/RANDOM/          sources on their way out
//! SOURCE/source         what the source is called
//! SOURCE/XX/NAME        blobs; the time of modification is that of the last use
//! ```
//!
//! Blobs are immutable, come by a rename and go by an unlink: a reader has a whole one or none, and needs no lock. Everything is
//! found from the open directory, so that nobody can put another in its place. Nothing is synced: what a crash leaves half
//! written is found out by its checksum.

use std::fs::{DirBuilder, File, FileTimes};
use std::io::{self, ErrorKind, IoSliceMut, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, fstatvfs, mkdirat, openat, renameat, statat, unlinkat,
};

use super::error::StoreError;
use super::identity::{BlobName, SourceKey};
use super::pin::is_pinned;
use super::usage::Usage;
use crate::policy::room::Left;

const TAG: &str = "CACHEDIR.TAG";
const USAGE: &str = "usage";
pub(super) const UNFINISHED: &str = "tmp";
pub(super) const GONE: &str = "gone";
pub(super) const LABEL: &str = "source";

/// See <https://bford.info/cachedir/>.
const TAG_TEXT: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # What koofs has read of KooDrive. It may be removed at any time: koofs cache clear\n";

/// What a file takes beside its blocks: its name and place in a directory (ext4: 44 bytes at such names, in blocks half full).
const ENTRY_BYTES: u64 = 128;

/// The longest name of a source that is read back.
const MAX_LABEL_BYTES: u64 = 4096;

/// So long after its last use a blob's next use is written down: what is in use over and over costs next to nothing, and which of two
/// blobs used within so short a time goes first matters little.
const USE_KEPT_AFTER: Duration = Duration::from_secs(600);

/// Where a blob lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub source: SourceKey,
    pub name: BlobName,
}

/// A blob as a scan finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub place: Place,
    /// What it counts, in bytes.
    pub charge: u64,
    /// When it was last used, in nanoseconds since 1970-01-01 UTC.
    pub used_at: u64,
    pub is_pinned: bool,
}

/// The directory of a store.
pub(super) struct Disk {
    root: OwnedFd,
    path: PathBuf,
    /// Files take multiples of this.
    unit: u64,
    /// `None` where nothing can be written.
    usage: Option<Usage>,
}

impl Place {
    pub(super) fn directory(self) -> String {
        format!("{}/{:02x}", self.source, self.name.shard())
    }

    pub(super) fn path(self) -> String {
        format!("{}/{:02x}/{}", self.source, self.name.shard(), self.name)
    }
}

impl Disk {
    /// The store in the directory `path`, which is made if there is none.
    ///
    /// # Errors
    /// A directory that is not ours alone, that holds other things, or that cannot be used.
    pub(super) fn open(path: &Path) -> Result<Disk, StoreError> {
        let io = |source: io::Error| StoreError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty()).map_err(|error| io(error.into()))?;
        let stat = fstat(&root).map_err(|error| io(error.into()))?;
        let user = rustix::process::geteuid().as_raw();
        if stat.st_uid != user {
            return Err(StoreError::NotOurs { path: path.to_owned(), owner: stat.st_uid, user });
        }
        if stat.st_mode & 0o077 != 0 {
            return Err(StoreError::TooOpen { path: path.to_owned(), mode: stat.st_mode & 0o777 });
        }
        let space = fstatvfs(&root).map_err(|error| io(error.into()))?;
        let mut disk = Disk { root, path: path.to_owned(), unit: space.f_frsize.clamp(512, 65_536), usage: None };
        disk.claim().map_err(io)?.then_some(()).ok_or_else(|| StoreError::NotEmpty(path.to_owned()))?;
        disk.usage = match disk.open_file(USAGE, OFlags::RDWR | OFlags::CREATE) {
            Ok(file) => Some(Usage::new(file)),
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
                log::info!("store: {} is on a read-only filesystem: it is read, and nothing is added", path.display());
                None
            }
            Err(error) => return Err(io(error)),
        };
        Ok(disk)
    }

    /// Marks the directory as a store; `false` if it holds something and is not marked.
    fn claim(&self) -> io::Result<bool> {
        let is_empty = self.names("")?.is_empty();
        match self.open_file(TAG, OFlags::RDONLY) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !is_empty {
                    return Ok(false);
                }
                let mut file = self.open_file(TAG, OFlags::WRONLY | OFlags::CREATE)?;
                file.write_all(TAG_TEXT.as_bytes())?;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// The count of bytes; `None` where nothing can be written.
    pub(super) fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref()
    }

    /// What a file of `len` bytes counts.
    pub(super) fn charge(&self, len: u64) -> u64 {
        len.div_ceil(self.unit).saturating_mul(self.unit).saturating_add(ENTRY_BYTES)
    }

    /// What the filesystem has left.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn left(&self) -> io::Result<Left> {
        let space = fstatvfs(&self.root)?;
        Ok(Left {
            total_bytes: space.f_blocks.saturating_mul(space.f_frsize),
            free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
            total_files: space.f_files,
            free_files: space.f_favail,
        })
    }

    /// The file of a blob of at most `len_max` bytes, as a whole; `Ok(None)` if there is none. That it was used at `now` is written down.
    ///
    /// # Errors
    /// What the system says; `InvalidData` for a file that is too long or no file.
    pub(super) fn read(&self, place: Place, len_max: u64, now: Option<SystemTime>) -> io::Result<Option<Vec<u8>>> {
        let file = match self.open_file(&place.path(), OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > len_max {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        (&file).take(len_max).read_to_end(&mut bytes)?;
        if let Some(now) = now {
            self.mark_used(place, &file, metadata.modified()?, now);
        }
        Ok(Some(bytes))
    }

    /// As [`Disk::read`], where the blob holds as many bytes of data as `parts` have room for: they are read there, and what comes before
    /// them is the result.
    ///
    /// # Errors
    /// As [`Disk::read`], also for a file that has no room for a header.
    pub(super) fn read_into<B: AsMut<[u8]>>(
        &self,
        place: Place,
        parts: &mut [B],
        header_max: u64,
        now: SystemTime,
    ) -> io::Result<Option<Vec<u8>>> {
        let file = match self.open_file(&place.path(), OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        let data_bytes = parts.iter_mut().map(|part| part.as_mut().len() as u64).sum();
        let header_bytes = metadata.len().checked_sub(data_bytes).filter(|bytes| *bytes <= header_max);
        let Some(header_bytes) = header_bytes.filter(|_| metadata.is_file()) else {
            return Err(ErrorKind::InvalidData.into());
        };
        let mut header = vec![0; usize::try_from(header_bytes).unwrap_or(0)];
        let mut slices: Vec<IoSliceMut<'_>> = Vec::with_capacity(1 + parts.len());
        slices.push(IoSliceMut::new(&mut header));
        slices.extend(parts.iter_mut().map(|part| IoSliceMut::new(part.as_mut())));
        let mut slices = &mut slices[..];
        while !slices.is_empty() {
            match (&file).read_vectored(slices) {
                Ok(0) => return Err(ErrorKind::InvalidData.into()),
                Ok(count) => IoSliceMut::advance_slices(&mut slices, count),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        self.mark_used(place, &file, metadata.modified()?, now);
        Ok(Some(header))
    }

    fn mark_used(&self, place: Place, file: &File, used: SystemTime, now: SystemTime) {
        // A last use in the future is one, too: the clock was set back.
        if now.duration_since(used).is_ok_and(|age| age < USE_KEPT_AFTER) {
            return;
        }
        if let Err(error) = file.set_times(FileTimes::new().set_modified(now)) {
            log::debug!("store: the use of {} is not written down: {error}", self.shown(place));
        }
    }

    /// Whether there is a file for a blob.
    pub(super) fn has(&self, place: Place) -> bool {
        statat(&self.root, place.path(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Makes a directory; `false` if there is one.
    pub(super) fn make_directory(&self, path: &str) -> io::Result<bool> {
        match mkdirat(&self.root, path, Mode::RWXU).map_err(io::Error::from) {
            Ok(()) => self.add(self.unit).map(|()| true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a blob, and says what it counted; `None` if there is none, or if it was used since `unless_used_since` or is pinned, where
    /// that is given.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn remove(&self, place: Place, unless_used_since: Option<u64>) -> io::Result<Option<u64>> {
        let path = place.path();
        let stat = match statat(&self.root, &path, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from) {
            Ok(stat) => stat,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let used_at = nanoseconds(stat.st_mtime, stat.st_mtime_nsec);
        if unless_used_since.is_some_and(|since| used_at > since || is_pinned(&stat)) {
            return Ok(None);
        }
        self.unlink(&path, u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Removes the file `path` of `len` bytes, and takes it off the count; `None` if there is none.
    fn unlink(&self, path: &str, len: u64) -> io::Result<Option<u64>> {
        match unlinkat(&self.root, path, AtFlags::empty()).map_err(io::Error::from) {
            Ok(()) => {
                let charge = self.charge(len);
                self.take_off(charge);
                Ok(Some(charge))
            }
            // Another mount was first: it has taken it off.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes a source out of its place: nobody finds a blob of it any more. What is out goes by [`Disk::remove_gone`].
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn take_away(&self, source: SourceKey) -> io::Result<()> {
        self.make_directory(GONE)?;
        let gone = format!("{GONE}/{:016x}", fastrand::u64(..));
        match renameat(&self.root, source.to_string(), &self.root, &gone).map_err(io::Error::from) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the files of sources that are out of their place; says how many bytes went.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn remove_gone(&self) -> io::Result<u64> {
        let mut freed = 0;
        for (name, kind) in self.names(GONE)? {
            if kind == FileType::Directory {
                freed += self.remove_below(&format!("{GONE}/{name}"))?;
            }
        }
        Ok(freed)
    }

    /// Removes a directory that holds files, and directories of files.
    fn remove_below(&self, path: &str) -> io::Result<u64> {
        let mut freed = 0;
        for (name, kind) in self.names(path)? {
            let path = format!("{path}/{name}");
            if kind != FileType::Directory {
                freed += self.unlink_whatever(&path)?;
                continue;
            }
            for (name, _) in self.names(&path)? {
                freed += self.unlink_whatever(&format!("{path}/{name}"))?;
            }
            freed += self.remove_directory(&path)?;
        }
        Ok(freed + self.remove_directory(path)?)
    }

    pub(super) fn unlink_whatever(&self, path: &str) -> io::Result<u64> {
        let len = match statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from) {
            Ok(stat) => u64::try_from(stat.st_size).unwrap_or(0),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        Ok(self.unlink(path, len)?.unwrap_or(0))
    }

    pub(super) fn remove_directory(&self, path: &str) -> io::Result<u64> {
        match unlinkat(&self.root, path, AtFlags::REMOVEDIR).map_err(io::Error::from) {
            Ok(()) => {
                self.take_off(self.unit);
                Ok(self.unit)
            }
            // In use again, or gone by another mount.
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The sources of which there are blobs, and what each is called, if that can be read.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn sources(&self) -> io::Result<Vec<(SourceKey, Option<String>)>> {
        let names = self.names("")?;
        let keys = names.iter().filter(|(_, kind)| *kind == FileType::Directory);
        let keys = keys.filter_map(|(name, _)| SourceKey::parse(name));
        Ok(keys.map(|key| (key, self.label(key))).collect())
    }

    fn label(&self, source: SourceKey) -> Option<String> {
        let file = self.open_file(&format!("{source}/{LABEL}"), OFlags::RDONLY).ok()?;
        let mut label = String::new();
        file.take(MAX_LABEL_BYTES).read_to_string(&mut label).ok()?;
        Some(label)
    }

    /// The names in a directory, with their kinds; none if it is not there.
    pub(super) fn names(&self, path: &str) -> io::Result<Vec<(String, FileType)>> {
        let mut names = Vec::new();
        if let Some(directory) = self.open_directory(path)? {
            for entry in directory {
                let entry = entry?;
                // No name of ours is anything but ASCII.
                let name = entry.file_name().to_string_lossy().into_owned();
                if name != "." && name != ".." {
                    let kind = self.kind(path, &name, entry.file_type())?;
                    names.push((name, kind));
                }
            }
        }
        Ok(names)
    }

    /// What an entry is, also on a filesystem whose directories do not tell.
    fn kind(&self, path: &str, name: &str, told: FileType) -> io::Result<FileType> {
        if told != FileType::Unknown {
            return Ok(told);
        }
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        match statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(FileType::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Name and attributes of each file in a directory, as long as `visit` says `true`.
    pub(super) fn stats(&self, path: &str, mut visit: impl FnMut(&str, &Stat) -> bool) -> io::Result<()> {
        let Some(mut directory) = self.open_directory(path)? else { return Ok(()) };
        while let Some(entry) = directory.read() {
            let entry = entry?;
            let stat =
                match statat(directory.fd()?, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from) {
                    Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => stat,
                    Ok(_) => continue,
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
            if !visit(&entry.file_name().to_string_lossy(), &stat) {
                break;
            }
        }
        Ok(())
    }

    fn open_directory(&self, path: &str) -> io::Result<Option<Dir>> {
        let path = if path.is_empty() { "." } else { path };
        match self.open_file(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(directory) => Ok(Some(Dir::new(directory)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn open_file(&self, path: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(File::from(openat(&self.root, path, flags, Mode::RUSR | Mode::WUSR)?))
    }

    pub(super) fn add(&self, bytes: u64) -> io::Result<()> {
        self.usage.as_ref().map_or(Ok(()), |usage| usage.add(bytes))
    }

    pub(super) fn take_off(&self, bytes: u64) {
        if let Some(usage) = &self.usage {
            usage.remove(bytes);
        }
    }

    /// A blob as a log names it.
    pub(super) fn shown(&self, place: Place) -> String {
        format!("{}/{}", self.path.display(), place.path())
    }

    /// What a directory counts, and files a multiple of.
    pub(super) fn unit(&self) -> u64 {
        self.unit
    }

    /// The open directory.
    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

pub(super) fn nanoseconds(seconds: impl TryInto<u64>, nanoseconds: impl TryInto<u64>) -> u64 {
    let seconds = seconds.try_into().unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.try_into().unwrap_or(0))
}

/// The time of a last use.
pub(super) fn time_of(used_at: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(used_at)
}
