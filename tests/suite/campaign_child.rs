//! What a child of `campaign_laws` does: reads, walks and asks in several threads at once, compares every byte and every name, and times
//! every system call. A wrong byte, a shorter directory, a call that is late or an errno that cannot be ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::emulator::pattern;
use crate::mount_child::say;
use crate::mounted::joined;

/// By so much a call may be late on a machine that runs the rest of the suite at the same time; beyond it, it hangs.
pub(crate) const LATE_MARGIN: Duration = Duration::from_secs(4);

/// The kernel asks in such pieces.
const CHUNK_BYTES: usize = 128 * 1024;

/// What the service has: files by path, with length and seed of their pattern; directories with the names in them.
#[derive(Debug, Default)]
pub(crate) struct Known {
    files: Vec<(String, u64, u64)>,
    directories: BTreeMap<String, BTreeSet<String>>,
}

impl Known {
    /// Lines of path, length and seed.
    fn read(text: &str) -> Known {
        let mut known = Known::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let path = fields[0];
            known.files.push((path.to_owned(), fields[1].parse().unwrap(), fields[2].parse().unwrap()));
            let mut below = path;
            while !below.is_empty() {
                let (parent, name) = below.rsplit_once('/').unwrap_or(("", below));
                known.directories.entry(parent.to_owned()).or_default().insert(name.to_owned());
                below = parent;
            }
        }
        known
    }
}

/// Arguments: a file with what is known, a seed, threads, operations of each, the time of an operation in ms. Says the operations, those that
/// ended well, the bytes that were right, the slowest call in ms, and then each errno with its count.
pub(crate) fn campaign(root: &Path, arguments: &[&str]) {
    let known = Arc::new(Known::read(&fs::read_to_string(arguments[0]).unwrap()));
    let [seed, threads, operations, op_timeout_ms] =
        [1, 2, 3, 4].map(|index: usize| arguments[index].parse::<u64>().unwrap());
    let workers: Vec<_> = (0..threads)
        .map(|number| {
            let mut worker = Worker {
                root: root.to_owned(),
                known: Arc::clone(&known),
                random: fastrand::Rng::with_seed(seed ^ number << 32),
                op_timeout: Duration::from_millis(op_timeout_ms),
                seen: Seen::default(),
            };
            std::thread::spawn(move || {
                (0..operations).for_each(|_| worker.operation());
                worker.seen
            })
        })
        .collect();
    let mut all = Seen::default();
    for worker in workers {
        let seen = joined(worker);
        all.operations += seen.operations;
        all.well += seen.well;
        all.bytes += seen.bytes;
        all.slowest = all.slowest.max(seen.slowest);
        seen.errors.into_iter().for_each(|(errno, count)| *all.errors.entry(errno).or_default() += count);
    }
    say(all.operations);
    say(all.well);
    say(all.bytes);
    say(all.slowest.as_millis());
    all.errors.iter().for_each(|(errno, count)| say(format_args!("{errno} {count}")));
}

#[derive(Default)]
struct Seen {
    operations: u64,
    well: u64,
    bytes: u64,
    slowest: Duration,
    errors: BTreeMap<i32, u64>,
}

struct Worker {
    root: PathBuf,
    known: Arc<Known>,
    random: fastrand::Rng,
    op_timeout: Duration,
    seen: Seen,
}

impl Worker {
    fn operation(&mut self) {
        let known = Arc::clone(&self.known);
        let (path, size, seed) = &known.files[self.random.usize(..known.files.len())];
        let result = match self.random.u8(..10) {
            0..3 => self.stream(path, *size, *seed),
            3..6 => self.places(path, *size, *seed),
            6..8 => self.list(&known),
            8 => self.look(path, *size),
            _ => self.miss(path),
        };
        self.seen.operations += 1;
        match result {
            Ok(()) => self.seen.well += 1,
            Err(error) => *self.seen.errors.entry(error.raw_os_error().unwrap_or(-1)).or_default() += 1,
        }
    }

    /// Makes a call in which so many operations of the mount may be waited for, one after the other. An error is one of a network.
    fn call<T>(&mut self, what: &str, path: &str, waits: u32, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let began = Instant::now();
        let result = call();
        let took = began.elapsed();
        self.seen.slowest = self.seen.slowest.max(took);
        assert!(took <= self.op_timeout * waits + LATE_MARGIN, "{what} of {path} took {took:?}");
        if let Err(error) = &result {
            // Nothing is deleted here, and nothing said to be: ENOENT would be a lie. What an object store says of a file may be that
            // it has changed. A page in the service's place (the fault `html`) is a service that is not reached, and where it is not
            // reached for as long as an operation may take, the mount is without a network (README, "Errors").
            let is_of_a_file = what != "readdir" && what != "opendir";
            let errno = error.raw_os_error().unwrap_or(-1);
            let is_possible = matches!(errno, libc::EIO | libc::ETIMEDOUT | libc::EACCES)
                || matches!(errno, libc::EHOSTUNREACH | libc::ENETUNREACH)
                || errno == libc::ESTALE && is_of_a_file
                || errno == libc::ENOENT && what == "stat of a missing name";
            assert!(is_possible, "{what} of {path}: {error}");
        }
        result
    }

    /// Each directory on the way is an operation of its own.
    fn waits(path: &str) -> u32 {
        1 + path.split('/').count() as u32
    }

    fn open(&mut self, path: &str) -> io::Result<File> {
        let full = self.root.join(path);
        let file = self.call("open", path, Self::waits(path), || File::open(full))?;
        // The kernel's own pages are no answer of the mount.
        // SAFETY: no memory is involved. A refusal would only leave the pages where they are.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        Ok(file)
    }

    fn check(&mut self, path: &str, seed: u64, offset: u64, got: &[u8]) {
        let want = pattern::expected(seed, offset, got.len());
        if let Some(at) = got.iter().zip(&want).position(|(got, want)| got != want) {
            panic!("wrong byte at {} of {path}", offset + at as u64);
        }
        self.seen.bytes += got.len() as u64;
    }

    fn stream(&mut self, path: &str, size: u64, seed: u64) -> io::Result<()> {
        let mut file = self.open(path)?;
        let mut buffer = vec![0xAA; CHUNK_BYTES];
        let mut offset = 0;
        loop {
            let count = self.call("read", path, 1, || file.read(&mut buffer))?;
            if count == 0 {
                break;
            }
            self.check(path, seed, offset, &buffer[..count]);
            offset += count as u64;
        }
        assert_eq!(offset, size, "{path} ends elsewhere");
        Ok(())
    }

    fn places(&mut self, path: &str, size: u64, seed: u64) -> io::Result<()> {
        let file = self.open(path)?;
        for _ in 0..6 {
            let offset = self.random.u64(..size + 5000);
            let len = *self.random.choice(&[1, 7, 4096, 4097, 65_536, CHUNK_BYTES]).unwrap();
            let mut buffer = vec![0xAA; len];
            let want = size.saturating_sub(offset).min(len as u64) as usize;
            let mut done = 0;
            // The kernel gives what came before an error, and the error to the next read.
            loop {
                let at = offset + done as u64;
                let count = self.call("pread", path, 1, || file.read_at(&mut buffer[done..], at))?;
                done += count;
                assert!(done <= want && (count > 0 || done == want), "{len} at {offset} of {path} gave {done}");
                if done == want {
                    break;
                }
            }
            self.check(path, seed, offset, &buffer[..done]);
        }
        Ok(())
    }

    fn list(&mut self, known: &Known) -> io::Result<()> {
        let nth = self.random.usize(..known.directories.len());
        let (path, want) = known.directories.iter().nth(nth).unwrap();
        let full = if path.is_empty() { self.root.clone() } else { self.root.join(path) };
        let mut entries = self.call("opendir", path, Self::waits(path), || fs::read_dir(full))?;
        let mut names = BTreeSet::new();
        while let Some(entry) = self.call("readdir", path, 1, || entries.next().transpose())? {
            let name = entry.file_name().into_string().unwrap();
            assert!(names.insert(name.clone()), "{name} came twice in {path}");
        }
        assert_eq!(&names, want, "the names in {path:?}");
        Ok(())
    }

    fn look(&mut self, path: &str, size: u64) -> io::Result<()> {
        let full = self.root.join(path);
        let metadata = self.call("stat", path, Self::waits(path), || fs::symlink_metadata(full))?;
        assert!(metadata.is_file() && metadata.len() == size, "{path}: {metadata:?}");
        Ok(())
    }

    /// A name that there is not.
    fn miss(&mut self, path: &str) -> io::Result<()> {
        let full = self.root.join(format!("{path} is missing"));
        let what = "stat of a missing name";
        match self.call(what, path, Self::waits(path), || fs::symlink_metadata(full)) {
            Ok(metadata) => panic!("{path} with an ending that nobody gave is there: {metadata:?}"),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
