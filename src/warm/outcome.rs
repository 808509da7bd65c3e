//! What a walk has come to: what is kept, and what is not and why. Pure.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::config::Pinning;
use crate::policy::printable::printable;
use crate::policy::size::human_size;

/// So many complaints are shown; the others are counted.
const MAX_SHOWN: usize = 20;

/// What was done, for whoever typed the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warmed {
    /// What is kept, in one line.
    pub summary: String,
    /// What is not, each in a line: a few of them, and how many more there are.
    pub complaints: Vec<String>,
}

/// What is kept so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) directories: u64,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// What a walk has come to so far.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) kept: Kept,
    complaints: Vec<String>,
    unsaid: u64,
    /// Nothing more is worth trying.
    is_over: bool,
    pinning: Pinning,
    is_all_unpinned: bool,
}

impl Outcome {
    pub(super) fn new(pinning: Pinning) -> Outcome {
        Outcome {
            kept: Kept::default(),
            complaints: Vec::new(),
            unsaid: 0,
            is_over: false,
            pinning,
            is_all_unpinned: false,
        }
    }

    /// `path` is not kept. Says nothing more once the walk is over for a reason that holds for all of it.
    pub(super) fn complain(&mut self, path: &Path, error: &io::Error) {
        if self.is_over {
            return;
        }
        let path = path.display();
        let (line, is_over) = match error.kind() {
            ErrorKind::Unsupported => {
                (format!("the mount of {path} keeps nothing on disk: mount it without --no-cache"), true)
            }
            ErrorKind::StorageFull => {
                (format!("{path} is not kept: the cache directory does not take it; is its disk full?"), false)
            }
            // ENOTTY has no kind of its own.
            _ if error.raw_os_error() == Some(NOT_A_MOUNT_OF_OURS) => (format!("{path} is not in a KooFS mount"), true),
            ErrorKind::QuotaExceeded => (
                format!(
                    "{path} is not pinned: that would be more than nine tenths of --cache-size; koofs warm --unpin PATH makes room"
                ),
                true,
            ),
            ErrorKind::PermissionDenied => (format!("{path} is not kept: {error}"), false),
            _ => (format!("{path} is not kept: {error}"), false),
        };
        self.is_over = is_over;
        self.say(&line);
    }

    /// More is to be kept than there may be: what was kept first would go again.
    pub(super) fn overflow(&mut self, limit_mib: u32) {
        if !self.is_over {
            self.is_over = true;
            let limit = human_size(u64::from(limit_mib) << 20);
            self.say(&format!(
                "there is more than the cache may keep ({limit}): warm less, or mount with a larger --cache-size"
            ));
        }
    }

    /// All pins of a source are off.
    pub(super) fn all_unpinned(&mut self) {
        self.is_all_unpinned = true;
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    fn say(&mut self, line: &str) {
        match self.complaints.len() {
            ..MAX_SHOWN => self.complaints.push(printable(line).into_owned()),
            _ => self.unsaid += 1,
        }
    }

    pub(super) fn finish(self) -> Warmed {
        let Kept { directories, files, bytes } = self.kept;
        let mut complaints = self.complaints;
        if self.unsaid > 0 {
            complaints.push(format!("… and {} more", self.unsaid));
        }
        let what = match self.pinning {
            Pinning::None => "are on disk",
            Pinning::Pin => "are on disk, and pinned",
            Pinning::Unpin => "are not pinned",
        };
        let summary = match self.is_all_unpinned {
            true => "nothing is pinned any more".to_owned(),
            false => format!("{directories} directories and {files} files ({}) {what}", human_size(bytes)),
        };
        Warmed { summary, complaints }
    }
}

/// What other filesystems answer to our ioctl (ENOTTY, ioctl(2)).
const NOT_A_MOUNT_OF_OURS: i32 = 25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_bounded_and_counted() {
        let mut outcome = Outcome::new(Pinning::None);
        for number in 0..MAX_SHOWN + 5 {
            outcome.complain(Path::new(&format!("/m/f{number}\n")), &io::Error::other("no"));
        }
        let warmed = outcome.finish();
        assert_eq!(warmed.complaints.len(), MAX_SHOWN + 1);
        assert_eq!(warmed.complaints[3], "/m/f3\\n is not kept: no");
        assert_eq!(warmed.complaints[MAX_SHOWN], "… and 5 more");
    }

    #[test]
    fn what_holds_for_the_whole_walk_is_said_once() {
        let mut outcome = Outcome::new(Pinning::None);
        outcome.complain(Path::new("/tmp"), &io::Error::from_raw_os_error(NOT_A_MOUNT_OF_OURS));
        outcome.complain(Path::new("/tmp/a"), &io::Error::from_raw_os_error(NOT_A_MOUNT_OF_OURS));
        outcome.overflow(16);
        assert!(outcome.is_over());
        assert_eq!(outcome.finish().complaints, ["/tmp is not in a KooFS mount"]);
    }
}
