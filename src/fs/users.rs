//! Which processes use the mount, and how much: what each has opened, had listed and read. For `koofs status`.
//!
//! The kernel names a thread with each request; a thread is traced to its process once, when it opens something. Threads: any. The lock
//! is held to find and to add a row, never while a process is looked at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::stats::{Counter, Report};
use crate::sync::lock;

/// The most processes that are remembered: who has read least goes first.
const MAX_USERS: usize = 64;

/// The most threads whose process is remembered; all are forgotten at once, as looking at one again takes microseconds.
const MAX_THREADS: usize = 256;

/// How many of them a report tells, and so much of each name: it has 16,000 bytes.
const MAX_TOLD_USERS: usize = 5;
const MAX_TOLD_CHARS: usize = 32;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its number; 0 for one of another pid namespace.
    pub pid: u32,
    /// What it is called; empty if that is not known.
    pub name: String,
}

/// What one process has used.
#[derive(Debug)]
pub(super) struct User {
    process: Process,
    files: Counter,
    directories: Counter,
    bytes: Counter,
    waited: Counter,
}

impl User {
    /// It opens a file.
    pub(super) fn opens_file(&self) {
        self.files.count();
    }

    /// It opens a directory.
    pub(super) fn opens_directory(&self) {
        self.directories.count();
    }

    /// It asks for so many bytes of a file; `waits` if they are not in memory.
    pub(super) fn reads(&self, bytes: u64, waits: bool) {
        self.bytes.add(bytes);
        if waits {
            self.waited.count();
        }
    }

    /// What it has cost, the largest first.
    fn cost(&self) -> (u64, u64) {
        (self.bytes.get(), self.files.get() + self.directories.get())
    }
}

#[derive(Default)]
struct State {
    rows: Vec<Arc<User>>,
    threads: HashMap<u32, Arc<User>>,
}

/// Those of one mount.
pub(super) struct Users {
    state: Mutex<State>,
    process_of: fn(u32) -> Process,
}

impl Users {
    /// Nobody yet; `process_of` says whose a thread is.
    pub(super) fn new(process_of: fn(u32) -> Process) -> Users {
        Users { state: Mutex::default(), process_of }
    }

    /// The process of the thread `thread`.
    pub(super) fn of(&self, thread: u32) -> Arc<User> {
        if let Some(user) = lock(&self.state).threads.get(&thread) {
            return Arc::clone(user);
        }
        let process = (self.process_of)(thread);
        let mut state = lock(&self.state);
        let user = match state.rows.iter().find(|row| row.process == process) {
            Some(row) => Arc::clone(row),
            None => {
                if state.rows.len() >= MAX_USERS
                    && let Some(least) = (0..state.rows.len()).min_by_key(|index| state.rows[*index].cost())
                {
                    let gone = state.rows.swap_remove(least);
                    state.threads.retain(|_, user| !Arc::ptr_eq(user, &gone));
                }
                let (files, directories, bytes, waited) = Default::default();
                let row = Arc::new(User { process, files, directories, bytes, waited });
                state.rows.push(Arc::clone(&row));
                row
            }
        };
        if state.threads.len() >= MAX_THREADS {
            state.threads.clear();
        }
        state.threads.insert(thread, Arc::clone(&user));
        user
    }

    /// Says who has cost most, some of them.
    pub(super) fn tell(&self, report: &mut Report) {
        let mut rows = lock(&self.state).rows.clone();
        rows.sort_by_cached_key(|row| std::cmp::Reverse(row.cost()));
        for (index, row) in rows.iter().take(MAX_TOLD_USERS).enumerate() {
            let name: String = row.process.name.chars().take(MAX_TOLD_CHARS).collect();
            report.number(&format!("users.{index}.pid"), row.process.pid.into());
            report.text(&format!("users.{index}.name"), &name);
            let figures = [
                ("files", &row.files),
                ("directories", &row.directories),
                ("bytes", &row.bytes),
                ("waited", &row.waited),
            ];
            for (what, counter) in figures {
                report.number(&format!("users.{index}.{what}"), counter.get());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads 10 to 19 are of process 10, and so on.
    fn users() -> Users {
        Users::new(|thread| Process { pid: thread / 10 * 10, name: format!("program-{}", thread / 10) })
    }

    fn told(users: &Users) -> String {
        let mut report = Report::default();
        users.tell(&mut report);
        String::from_utf8_lossy(&report.into_bytes(10_000)).into_owned()
    }

    #[test]
    fn threads_count_for_their_process_and_who_has_read_most_comes_first() {
        let users = users();
        users.of(10).opens_directory();
        users.of(21).opens_file();
        users.of(22).reads(500, true);
        users.of(27).reads(1000, false);
        users.of(31).reads(70, true);
        let told = told(&users);
        for line in ["users.0.pid\t20", "users.0.files\t1", "users.0.bytes\t1500", "users.0.waited\t1"] {
            assert!(told.lines().any(|other| other == line), "no {line} in\n{told}");
        }
        assert!(told.contains("users.1.pid\t30") && told.contains("users.2.directories\t1"), "{told}");
        assert!(!told.contains("users.3"), "{told}");
    }

    #[test]
    fn many_processes_are_few_rows_and_who_has_read_most_stays() {
        let users = users();
        users.of(10).reads(1 << 30, true);
        (2..2000).for_each(|number| users.of(number * 10).opens_file());
        let state = lock(&users.state);
        assert!(state.rows.len() <= MAX_USERS && state.threads.len() <= MAX_THREADS);
        drop(state);
        assert!(told(&users).starts_with("users.0.pid\t10\n"));
    }
}
