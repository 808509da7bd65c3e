//! The small checker: a child process that uses a mount by plain system calls, and says what it saw.
//!
//! Each call is timed. Whatever one handle reads has to be of one version; which one the child finds out by itself, as the
//! bytes of a file say where in the pattern's table they are from. What may be seen is for the parent to judge ([`Seen`]).

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::model::join;
use crate::emulator::pattern::{self, MAX_SLICE, PERIOD};
use crate::mapping::Mapping;

/// The variable that tells a child what to do: an [`Act`] as JSON.
pub(crate) const ACT: &str = "KOOFS_SOAK_ACT";
/// What each line of a report begins with: a test harness writes lines of its own.
const MARK: &str = "> ";
/// So many bytes tell where in the table they are from: all windows of 8 differ, but for chance.
const TELLING: usize = 16;
/// Reads are at most so long.
const MAX_READ: usize = 256 * 1024;

/// What a child does below `root`. `hints` is a file with the versions that there were, as [`Hints`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Act {
    pub(crate) root: PathBuf,
    /// The path from there.
    pub(crate) path: String,
    pub(crate) what: What,
    pub(crate) seed: u64,
    pub(crate) hints: PathBuf,
    /// A call that takes longer is told of.
    pub(crate) late_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum What {
    /// Lists everything below, asks for attributes, and reads one file of so many; 0 reads none. At random: files first or last,
    /// directories in any order.
    Walk { attributes: bool, read_one_of: u64 },
    /// Reads a file from its start, its end, or in strides.
    Stream,
    /// Reads so many places of one file, with a pause between the reads.
    Places { count: u32, pause_ms: u64 },
    /// Maps a file and touches so many places.
    Map { count: u32 },
    /// Has the kernel give up the pages of all files below.
    Forget,
    /// Asks for the attributes of these names below.
    Probe { names: Vec<String> },
}

/// Where files were found to begin in the pattern's table.
pub(crate) type Hints = HashMap<String, u64>;

/// One line of a report. Paths are from the root on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Seen {
    /// A directory: names, and whether each is a directory; 0 or the errno that ended it.
    Listing { path: String, names: BTreeMap<String, bool>, errno: i32 },
    /// Attributes, or the errno.
    Attributes { path: String, errno: i32, file: Option<(u64, i64)> },
    /// What one handle read. `shift` is where in the table the bytes are from; `head` all of a file that is too small to tell.
    Content { path: String, errno: i32, size: u64, shift: Option<u64>, head: Vec<u8>, bytes: u64 },
    /// What must never be seen.
    Wrong { path: String, what: String },
    /// A call that took long.
    Late { path: String, call: String, ms: u64 },
    /// The end: how many calls there were, and what the slowest took.
    Done { calls: u64, slowest_ms: u64 },
}

/// The reports in what a child has written.
pub(crate) fn reports(text: &str) -> Vec<Seen> {
    text.lines()
        .filter_map(|line| line.split_once(MARK))
        .filter_map(|(_, json)| serde_json::from_str(json).ok())
        .collect()
}

/// What the child does. Its report goes to standard output.
pub(crate) fn child(act: &str) {
    let act: Act = serde_json::from_str(act).unwrap();
    let hints = std::fs::read(&act.hints).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
    let out = io::BufWriter::new(io::stdout().lock());
    let random = fastrand::Rng::with_seed(act.seed);
    let mut checker = Checker { act, hints, out, random, calls: 0, slowest: Duration::ZERO };
    checker.act();
    let (calls, slowest) = (checker.calls, checker.slowest);
    checker.say(&Seen::Done { calls, slowest_ms: millis(slowest) });
    checker.out.flush().unwrap();
}

struct Checker<W: io::Write> {
    act: Act,
    hints: Hints,
    out: W,
    random: fastrand::Rng,
    calls: u64,
    slowest: Duration,
}

impl<W: io::Write> Checker<W> {
    fn say(&mut self, seen: &Seen) {
        writeln!(self.out, "\n{MARK}{}", serde_json::to_string(seen).unwrap()).unwrap();
    }

    fn wrong(&mut self, path: &str, what: String) {
        self.say(&Seen::Wrong { path: path.to_owned(), what });
    }

    /// Makes a call, and measures it.
    fn timed<T>(&mut self, path: &str, name: &str, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        let took = start.elapsed();
        self.calls += 1;
        self.slowest = self.slowest.max(took);
        if millis(took) > self.act.late_ms {
            self.say(&Seen::Late { path: path.to_owned(), call: name.to_owned(), ms: millis(took) });
        }
        result
    }

    fn full(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.act.root.clone() } else { self.act.root.join(path) }
    }

    fn act(&mut self) {
        let path = self.act.path.clone();
        match self.act.what.clone() {
            What::Walk { attributes, read_one_of } => self.walk(&path, attributes, read_one_of),
            What::Stream => self.stream(&path),
            What::Places { count, pause_ms } => self.places(&path, count, Duration::from_millis(pause_ms)),
            What::Map { count } => self.map(&path, count),
            What::Forget => self.forget(&path),
            What::Probe { names } => {
                for name in names {
                    self.attributes(&join(&path, &name));
                }
            }
        }
    }

    // ---- directories ----

    fn walk(&mut self, top: &str, attributes: bool, read_one_of: u64) {
        let mut left = vec![top.to_owned()];
        let files_first = self.random.bool();
        while !left.is_empty() {
            // Depth first, mostly.
            let at = if self.random.u8(..4) == 0 { self.random.usize(..left.len()) } else { left.len() - 1 };
            let path = left.swap_remove(at);
            let names = self.list(&path);
            let mut children: Vec<(&String, &bool)> = names.iter().collect();
            if self.random.bool() {
                self.random.shuffle(&mut children);
            }
            if files_first {
                children.sort_by_key(|(_, folder)| **folder);
            }
            for (name, folder) in children {
                let child = join(&path, name);
                if attributes {
                    self.attributes(&child);
                }
                if *folder {
                    left.push(child);
                } else if read_one_of > 0 && self.random.u64(..read_one_of) == 0 {
                    self.stream(&child);
                }
            }
        }
    }

    /// Lists a directory and tells of it.
    fn list(&mut self, path: &str) -> BTreeMap<String, bool> {
        let full = self.full(path);
        let mut names = BTreeMap::new();
        let mut errno = 0;
        match self.timed(path, "opendir", || std::fs::read_dir(full)) {
            Err(error) => errno = errno_of(&error),
            Ok(mut entries) => loop {
                match self.timed(path, "readdir", || entries.next()) {
                    None => break,
                    Some(Err(error)) => {
                        errno = errno_of(&error);
                        break;
                    }
                    Some(Ok(entry)) => {
                        let name = entry.file_name().to_string_lossy().into_owned();
                        let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                        if names.insert(name.clone(), folder).is_some() {
                            self.wrong(path, format!("{name:?} came twice in one listing"));
                        }
                    }
                }
            },
        }
        self.say(&Seen::Listing { path: path.to_owned(), names: names.clone(), errno });
        names
    }

    fn attributes(&mut self, path: &str) {
        let full = self.full(path);
        let seen = match self.timed(path, "stat", || std::fs::symlink_metadata(full)) {
            Err(error) => Seen::Attributes { path: path.to_owned(), errno: errno_of(&error), file: None },
            Ok(metadata) => {
                let edited_ms = metadata.mtime() * 1000 + metadata.mtime_nsec() / 1_000_000;
                let file = (!metadata.is_dir()).then_some((metadata.len(), edited_ms));
                Seen::Attributes { path: path.to_owned(), errno: 0, file }
            }
        };
        self.say(&seen);
    }

    fn forget(&mut self, top: &str) {
        let mut left = vec![top.to_owned()];
        while let Some(path) = left.pop() {
            for (name, folder) in self.list(&path) {
                let child = join(&path, &name);
                if folder {
                    left.push(child);
                } else if let Ok(file) = File::open(self.full(&child)) {
                    forget_pages(&file);
                }
            }
        }
    }

    // ---- files ----

    /// Opens a file and has `read` read it; tells of the whole.
    fn with_file(&mut self, path: &str, read: impl FnOnce(&mut Self, &File, &mut Content) -> io::Result<()>) {
        let full = self.full(path);
        let opened = self.timed(path, "open", || File::open(full)).and_then(|file| {
            let size = self.timed(path, "fstat", || file.metadata())?.len();
            Ok((file, size))
        });
        let mut content = Content { path: path.to_owned(), hint: self.hints.get(path).copied(), ..Content::default() };
        let result = opened.and_then(|(file, size)| {
            content.size = size;
            let result = read(self, &file, &mut content);
            if self.random.bool() {
                forget_pages(&file);
            }
            result
        });
        let Content { size, shift, head, bytes, wrong, .. } = content;
        if let Some(wrong) = wrong {
            self.wrong(path, wrong);
        }
        let head = if shift.is_none() { head } else { Vec::new() };
        let errno = result.as_ref().map_or_else(errno_of, |()| 0);
        self.say(&Seen::Content { path: path.to_owned(), errno, size, shift, head, bytes });
    }

    /// Reads all that there is of what it asks for. The kernel gives what came before an error, and the error to the next read.
    fn read(&mut self, file: &File, content: &mut Content, offset: u64, len: usize) -> io::Result<usize> {
        let mut buffer = vec![0xAA; len];
        let path = content.path.clone();
        let want = content.size.saturating_sub(offset).min(len as u64) as usize;
        let mut done = 0;
        loop {
            let count = self.timed(&path, "pread", || file.read_at(&mut buffer[done..], offset + done as u64))?;
            done += count;
            if done > want || (count == 0 && done < want) {
                content.wrong(format!("a read of {len} bytes at {offset} of {} gave {done}", content.size));
            }
            if count == 0 || done >= want {
                break;
            }
        }
        content.check(offset, &buffer[..done]);
        Ok(done)
    }

    fn stream(&mut self, path: &str) {
        self.with_file(path, |this, file, content| {
            let size = content.size;
            // Not too many reads for one file.
            let len_min = (size as usize / 2000 + 1).min(MAX_READ);
            let (way, len) = (this.random.u8(..4), this.random.usize(len_min..=MAX_READ));
            match way {
                // Backward.
                0 => {
                    let mut end = size;
                    while end > 0 {
                        let start = end.saturating_sub(len as u64);
                        this.read(file, content, start, (end - start) as usize)?;
                        end = start;
                    }
                }
                // In two strides, the second between the steps of the first.
                1 => {
                    for first in [0, len as u64] {
                        let mut offset = first;
                        while offset < size {
                            this.read(file, content, offset, len)?;
                            offset += 2 * len as u64;
                        }
                    }
                }
                _ => {
                    let mut offset = 0;
                    loop {
                        let count = this.read(file, content, offset, len)?;
                        offset += count as u64;
                        if count == 0 {
                            break;
                        }
                    }
                }
            }
            Ok(())
        });
    }

    fn places(&mut self, path: &str, count: u32, pause: Duration) {
        self.with_file(path, |this, file, content| {
            for _ in 0..count {
                let offset = this.random.u64(..content.size + 5000);
                let len = *this.random.choice(&[7, TELLING, 4096, 4097, 65_536, MAX_READ]).unwrap();
                this.read(file, content, offset, len)?;
                // What the reader does meanwhile.
                std::thread::sleep(pause);
            }
            Ok(())
        });
    }

    fn map(&mut self, path: &str, count: u32) {
        self.with_file(path, |this, file, content| {
            if content.size == 0 {
                return Ok(());
            }
            let mapping = Mapping::of(file);
            for _ in 0..count {
                let offset = this.random.u64(..content.size);
                let end = mapping.bytes().len().min(offset as usize + this.random.usize(1..=65_536));
                let path = content.path.clone();
                let bytes = this.timed(&path, "page fault", || mapping.bytes()[offset as usize..end].to_vec());
                content.check(offset, &bytes);
            }
            Ok(())
        });
    }
}

/// What one handle has read.
#[derive(Debug, Default)]
struct Content {
    path: String,
    size: u64,
    hint: Option<u64>,
    shift: Option<u64>,
    /// The bytes from the start, as long as they do not tell where they are from.
    head: Vec<u8>,
    /// Other reads that are too short to tell; looked at when it is known.
    short: Vec<(u64, Vec<u8>)>,
    bytes: u64,
    wrong: Option<String>,
}

impl Content {
    fn wrong(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    /// Compares what was read at `offset` with what this handle read before.
    fn check(&mut self, offset: u64, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.shift.is_none() && bytes.len() < TELLING {
            if offset == 0 && bytes.len() > self.head.len() {
                self.head = bytes.to_vec();
            }
            if !bytes.is_empty() && self.short.len() < 64 {
                self.short.push((offset, bytes.to_vec()));
            }
            return;
        }
        if self.shift.is_none() {
            let hint = self.hint.filter(|shift| first_difference(*shift, offset, bytes).is_none());
            match hint.or_else(|| shift_of(offset, bytes)) {
                Some(shift) => self.shift = Some(shift),
                None => return self.wrong(format!("{} at {offset} are of no version: {}", bytes.len(), shown(bytes))),
            }
            for (offset, bytes) in std::mem::take(&mut self.short) {
                self.check(offset, &bytes);
                self.bytes -= bytes.len() as u64;
            }
        }
        let Some(shift) = self.shift else { return };
        if let Some(at) = first_difference(shift, offset, bytes) {
            let rest = &bytes[at..];
            let other = if rest.len() >= TELLING { shift_of(offset + at as u64, rest) } else { None };
            let whose = other.map_or_else(|| "no version".to_owned(), |other| format!("the version at {other}"));
            let at = offset + at as u64;
            self.wrong(format!(
                "two versions in one handle: that at {shift}, and from {at} on {whose}: {}",
                shown(rest)
            ));
        }
    }
}

/// The kernel gives up the pages of a file, so that its next reader asks the mount again.
fn forget_pages(file: &File) {
    // SAFETY: no memory is involved. A refusal would only leave the pages where they are.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

/// The first byte that is not that of the version at `shift`.
fn first_difference(shift: u64, offset: u64, bytes: &[u8]) -> Option<usize> {
    let mut done = 0;
    while done < bytes.len() {
        let want = pattern::slice(shift, offset + done as u64, bytes.len() - done);
        let got = &bytes[done..done + want.len()];
        if got != want {
            return got.iter().zip(&want).position(|(got, want)| got != want).map(|at| done + at);
        }
        done += want.len();
    }
    None
}

/// Where a file begins in the table that holds these bytes at `offset`.
fn shift_of(offset: u64, bytes: &[u8]) -> Option<u64> {
    let needle = &bytes[..TELLING];
    // Two slices hold one period and a little more.
    [0, MAX_SLICE as u64 - TELLING as u64].into_iter().find_map(|start| {
        let table = pattern::slice(0, start, MAX_SLICE);
        let at = table.windows(TELLING).position(|window| window == needle)?;
        Some((start + at as u64 + PERIOD - offset % PERIOD) % PERIOD)
    })
}

/// The first bytes, for a complaint.
fn shown(bytes: &[u8]) -> String {
    bytes.iter().take(TELLING).map(|byte| format!("{byte:02x}")).collect()
}

fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EINVAL)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Checks a file that was copied out of the mount to `copy`, as if a handle of the mount had read it; `None` if it cannot be
/// read.
pub(crate) fn check_copy(copy: &Path, path: &str, hint: Option<u64>) -> Option<Seen> {
    let file = File::open(copy).ok()?;
    let size = file.metadata().ok()?.len();
    let mut content = Content { path: path.to_owned(), size, hint, ..Content::default() };
    let mut buffer = vec![0; MAX_READ];
    let mut offset = 0;
    loop {
        let count = file.read_at(&mut buffer, offset).ok()?;
        if count == 0 {
            break;
        }
        content.check(offset, &buffer[..count]);
        offset += count as u64;
    }
    let path = path.to_owned();
    Some(match content.wrong {
        Some(what) => Seen::Wrong { path, what },
        None => {
            let head = if content.shift.is_none() { content.head } else { Vec::new() };
            Seen::Content { path, errno: 0, size, shift: content.shift, head, bytes: content.bytes }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_tell_where_they_are_from_and_a_mixture_is_seen() {
        for (shift, offset) in [(0, 0), (77, 5), (PERIOD - 1, 3 * PERIOD + 12), (PERIOD - 7, 0), (12, 1 << 40)] {
            let bytes = pattern::expected(shift, offset, 5000);
            assert_eq!(shift_of(offset, &bytes), Some(shift));
            let mut content = Content::default();
            content.check(offset, &bytes[..7]);
            content.check(offset, &bytes);
            assert_eq!((content.shift, content.wrong.clone()), (Some(shift), None));
            let other = pattern::expected(shift + 1, offset, 5000);
            content.check(offset, &[&bytes[..4096], &other[4096..]].concat());
            assert!(content.wrong.unwrap().contains(&format!("from {} on the version at", offset + 4096)));
        }
        assert_eq!(shift_of(0, &[0; 32]), None);
    }
}
