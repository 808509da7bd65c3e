//! What a walk still has to do: the last found first, so that a walk is deep in one place rather than broad in all.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::sync::lock;

/// One step of a walk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A directory that lies on this device.
    Directory(PathBuf, u64),
    /// A file of so many bytes, from the piece with this byte on.
    File { path: PathBuf, size: u64, offset: u64 },
}

/// Steps, and how many are being made. As many as one path of directories holds at most.
#[derive(Debug, Default)]
pub(super) struct Todo {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    steps: Vec<Step>,
    under_way: usize,
}

impl Todo {
    pub(super) fn push(&self, steps: impl IntoIterator<Item = Step>) {
        lock(&self.state).steps.extend(steps);
        self.changed.notify_all();
    }

    /// The next step, which is under way until [`Todo::done`]; waits for those that others find. `None` when all is done.
    pub(super) fn next(&self) -> Option<Step> {
        let mut state = lock(&self.state);
        loop {
            if let Some(step) = state.steps.pop() {
                state.under_way += 1;
                return Some(step);
            }
            if state.under_way == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A step has been made.
    pub(super) fn done(&self) {
        lock(&self.state).under_way -= 1;
        self.changed.notify_all();
    }
}
