//! Runs of blocks that are being fetched: what each still has to fill, and the taking over of what is overdue.
//!
//! A block belongs to one run at a time, and whoever takes it out of its run completes it: two fetches may bring the same bytes for a
//! moment, and one of them counts. Locks: a run's and the list's, each for the length of a look, never one within the other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::block::Block;
use super::object::Object;
use crate::policy::overdue::{Remedy, Usual};
use crate::policy::range::ByteRange;
use crate::sync::lock;

/// While so many fetches run, nothing is taken over: the rest of the threads is for what nobody has requested yet.
const MAX_RUNNING: usize = 48;

/// Blocks of one object that one fetch is to fill, in order.
pub(super) struct Run {
    pub(super) object: Arc<Object>,
    state: Mutex<RunState>,
}

struct RunState {
    /// The blocks that are not whole yet. The others are no longer held: their readers may be done with them.
    missing: VecDeque<Arc<Block>>,
    /// When bytes last came, or a request was sent; `None` before the first.
    active_at: Option<Instant>,
    /// Since when the first of them is being filled, or requested.
    first_since: Option<Instant>,
}

impl Run {
    /// `missing` are in order and without a gap.
    pub(super) fn new(object: &Arc<Object>, missing: VecDeque<Arc<Block>>) -> Run {
        Run { object: Arc::clone(object), state: Mutex::new(RunState { missing, active_at: None, first_since: None }) }
    }

    /// The first block that is not whole.
    pub(super) fn first(&self) -> Option<Arc<Block>> {
        lock(&self.state).missing.front().cloned()
    }

    /// The last block that is not whole.
    pub(super) fn last(&self) -> Option<Arc<Block>> {
        lock(&self.state).missing.back().cloned()
    }

    /// Whether nothing is left to be filled.
    pub(super) fn is_done(&self) -> bool {
        lock(&self.state).missing.is_empty()
    }

    /// Whether `block` is the first that is not whole: its bytes are still this fetch's to bring.
    pub(super) fn is_first(&self, block: &Arc<Block>) -> bool {
        lock(&self.state).missing.front().is_some_and(|first| Arc::ptr_eq(first, block))
    }

    /// The bytes from the first missing block to the first gap, where blocks were found on the disk. Empty if nothing is missing.
    pub(super) fn wanted(&self) -> ByteRange {
        let state = lock(&self.state);
        let Some(first) = state.missing.front() else { return ByteRange::new(0, 0) };
        let mut end = first.range.end;
        for block in state.missing.iter().skip(1) {
            if block.range.start != end {
                break;
            }
            end = block.range.end;
        }
        ByteRange::new(first.range.start, end)
    }

    /// Takes `block` out; `false` if it is no longer in: somebody else has taken it, and is to complete it.
    pub(super) fn remove(&self, block: &Arc<Block>) -> bool {
        let mut state = lock(&self.state);
        let found = state.missing.iter().position(|missing| Arc::ptr_eq(missing, block));
        if found == Some(0) {
            state.first_since = state.active_at;
        }
        found.is_some_and(|index| state.missing.remove(index).is_some())
    }

    /// Takes all blocks out but the first.
    pub(super) fn take_rest(&self) -> VecDeque<Arc<Block>> {
        let mut state = lock(&self.state);
        let first = state.missing.len().min(1);
        state.missing.split_off(first)
    }

    /// Takes all blocks out.
    pub(super) fn take_all(&self) -> VecDeque<Arc<Block>> {
        std::mem::take(&mut lock(&self.state).missing)
    }

    /// A request was sent at `now`.
    pub(super) fn note_sent(&self, now: Instant) {
        let mut state = lock(&self.state);
        (state.active_at, state.first_since) = (Some(now), Some(now));
    }

    /// Bytes have come at `now`.
    pub(super) fn note_active(&self, now: Instant) {
        lock(&self.state).active_at = Some(now);
    }

    /// How many bytes come before `block`; `None` if it is not missing here.
    fn bytes_before(&self, block: &Arc<Block>) -> Option<u64> {
        let state = lock(&self.state);
        state.missing.iter().find(|missing| Arc::ptr_eq(missing, block))?;
        Some(block.range.start - state.missing.front()?.range.start)
    }

    /// Takes out what another request should bring instead, as `usual` says.
    fn take_over(&self, block: &Arc<Block>, usual: Usual, now: Instant) -> Vec<Arc<Block>> {
        let mut state = lock(&self.state);
        let Some(index) = state.missing.iter().position(|missing| Arc::ptr_eq(missing, block)) else {
            return Vec::new();
        };
        let since = |at: Option<Instant>| at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let filling_for = (index == 0).then(|| since(state.first_since));
        match usual.remedy(since(state.active_at), filling_for) {
            Remedy::Wait => Vec::new(),
            Remedy::TakeRest => {
                let from = index.max(1).min(state.missing.len());
                state.missing.split_off(from).into()
            }
            Remedy::TakeAll => std::mem::take(&mut state.missing).into(),
        }
    }
}

/// The runs whose fetches have a thread at the moment: no more than there are threads.
#[derive(Default)]
pub(super) struct Runs(Mutex<Vec<Arc<Run>>>);

impl Runs {
    /// Lists `run` for as long as the result lives.
    pub(super) fn enter<'a>(&'a self, run: &'a Arc<Run>) -> Entered<'a> {
        lock(&self.0).push(Arc::clone(run));
        Entered { runs: self, run }
    }

    /// How many bytes its fetch brings before `block`; `None` while no thread fetches it.
    pub(super) fn bytes_before(&self, block: &Arc<Block>) -> Option<u64> {
        self.snapshot().iter().find_map(|run| run.bytes_before(block))
    }

    /// Takes out of the fetch that is to bring `block` what another request should bring instead; empty if nothing, or while too many
    /// fetches run.
    pub(super) fn take_over(&self, block: &Arc<Block>, usual: Usual, now: Instant) -> Vec<Arc<Block>> {
        let runs = self.snapshot();
        if runs.len() > MAX_RUNNING {
            return Vec::new();
        }
        runs.iter().map(|run| run.take_over(block, usual, now)).find(|taken| !taken.is_empty()).unwrap_or_default()
    }

    fn snapshot(&self) -> Vec<Arc<Run>> {
        lock(&self.0).clone()
    }
}

/// See [`Runs::enter`].
pub(super) struct Entered<'a> {
    runs: &'a Runs,
    run: &'a Arc<Run>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        lock(&self.runs.0).retain(|run| !Arc::ptr_eq(run, self.run));
    }
}
