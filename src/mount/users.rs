//! Which processes use a mount: for a message only, so what cannot be read is left out.

use std::fs;
use std::path::{Path, PathBuf};

/// The most processes that are named; the message is one line.
const MAX_NAMED: usize = 5;

/// `name (pid)` of up to five processes whose working directory, root or open files lie below `mountpoint`; empty if none
/// is known. Reads links in `/proc` only, which asks no filesystem anything.
pub(super) fn users_of(mountpoint: &Path) -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let processes = processes.flatten().filter(|entry| is_pid(&entry.file_name().to_string_lossy()));
    processes.map(|entry| entry.path()).filter(|process| uses(process, mountpoint)).take(MAX_NAMED).map(name).collect()
}

fn is_pid(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_digit())
}

fn uses(process: &Path, mountpoint: &Path) -> bool {
    let is_inside = |link: PathBuf| fs::read_link(link).is_ok_and(|target| target.starts_with(mountpoint));
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten().map(|entry| entry.path());
    ["cwd", "root"].map(|link| process.join(link)).into_iter().chain(files).any(is_inside)
}

fn name(process: PathBuf) -> String {
    let command = fs::read_to_string(process.join("comm")).unwrap_or_default();
    let pid = process.file_name().unwrap_or_default().to_string_lossy();
    format!("{} ({pid})", command.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_of_an_open_file_is_named() {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(users_of(directory.path()), Vec::<String>::new());
        let _open = fs::File::create(directory.path().join("file"));
        let users = users_of(directory.path());
        assert!(users.len() == 1 && users[0].ends_with(&format!("({})", std::process::id())), "{users:?}");
    }
}
