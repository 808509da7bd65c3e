//! The walk: directories and files of a mount, by a few threads.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::outcome::{Outcome, Warmed};
use super::todo::{Step, Todo};
use crate::bars::Progress;
use crate::config::{Pinning, WarmCommand};
use crate::kernel::keep::{Order, keep};
use crate::sync::lock;

/// Steps at a time: enough small requests to keep a line busy, and few enough that whoever uses the mount besides is served.
const MAX_THREADS: usize = 16;

/// What a mount keeps of a file at a time, in bytes: a piece, whatever its own idea of one is, is no longer.
const PIECE_BYTES: u64 = 1 << 20;

/// The inode number of the root of every FUSE mount (fuse(4), FUSE_ROOT_ID).
const ROOT: u64 = 1;

struct Walk {
    with_data: bool,
    pinning: Pinning,
    todo: Todo,
    outcome: Mutex<Outcome>,
    progress: Progress,
}

/// Has what is below `command.paths` kept. Returns when it is, or cannot be; may be ended at any time without harm.
pub fn warm(command: &WarmCommand) -> Warmed {
    let walk = Walk {
        with_data: command.with_data,
        pinning: command.pin,
        todo: Todo::default(),
        outcome: Mutex::new(Outcome::new(command.pin)),
        progress: Progress::start("files"),
    };
    for path in &command.paths {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => walk.todo.push([Step::Directory(path.clone(), found.dev())]),
            Ok(found) => walk.todo.push([Step::File { path: path.clone(), size: found.len(), offset: 0 }]),
            Err(error) => lock(&walk.outcome).complain(path, &error),
        }
    }
    std::thread::scope(|scope| {
        for _ in 0..MAX_THREADS {
            scope.spawn(|| walk.run());
        }
    });
    walk.progress.end();
    walk.outcome.into_inner().unwrap_or_else(PoisonError::into_inner).finish()
}

impl Walk {
    fn run(&self) {
        while let Some(step) = self.todo.next() {
            // The others only empty the list.
            if !lock(&self.outcome).is_over() {
                self.make(&step);
            }
            self.todo.done();
        }
    }

    fn make(&self, step: &Step) {
        let (path, made) = match step {
            Step::Directory(path, device) => (path, self.directory(path, *device)),
            Step::File { path, size, offset } => (path, self.piece(path, *size, *offset)),
        };
        if let Err(error) = made {
            lock(&self.outcome).complain(path, &error);
        }
    }

    fn directory(&self, path: &Path, device: u64) -> io::Result<()> {
        self.ask(path, 0)?;
        if self.pinning == Pinning::Unpin && fs::metadata(path)?.ino() == ROOT {
            // That was all of it.
            lock(&self.outcome).all_unpinned();
            return Ok(());
        }
        let mut steps = Vec::new();
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            match fs::symlink_metadata(&path) {
                // What is mounted inside the mount is not the mount's.
                Ok(found) if found.dev() != device => {}
                Ok(found) if found.is_dir() => steps.push(Step::Directory(path, device)),
                Ok(found) if self.with_data && found.is_file() => {
                    self.progress.found(found.len());
                    steps.push(Step::File { path, size: found.len(), offset: 0 });
                }
                Ok(_) => {}
                Err(error) => lock(&self.outcome).complain(&path, &error),
            }
        }
        // Popped from the end: the first entry first.
        steps.reverse();
        lock(&self.outcome).kept.directories += 1;
        self.todo.push(steps);
        Ok(())
    }

    /// Has the mount do what is to be done with one directory, or one piece of a file.
    fn ask(&self, path: &Path, offset: u64) -> io::Result<u32> {
        let order = match self.pinning {
            Pinning::None => Order::Keep,
            Pinning::Pin => Order::Pin,
            Pinning::Unpin => Order::Unpin,
        };
        keep(&File::open(path)?, offset, order)
    }

    fn piece(&self, path: &Path, size: u64, offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(PIECE_BYTES).min(size);
        let is_last = end == size;
        if !is_last {
            // Others go on with the file meanwhile.
            self.todo.push([Step::File { path: path.to_owned(), size, offset: end }]);
        }
        let limit_mib = self.ask(path, offset)?;
        let mut outcome = lock(&self.outcome);
        outcome.kept.bytes += end - offset;
        outcome.kept.files += u64::from(is_last);
        self.progress.reached(outcome.kept.files, outcome.kept.bytes);
        if self.pinning != Pinning::Unpin && outcome.kept.bytes >> 20 >= u64::from(limit_mib) {
            outcome.overflow(limit_mib);
        }
        Ok(())
    }
}
