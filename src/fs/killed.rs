//! Whoever was killed while it waits for an answer: it is given one, so that it can end.
//!
//! Linux hands a killed process's request over to us, and then waits for the reply, whatever signals come; fuser 0.18 takes no
//! FUSE_INTERRUPT (src/kernel/LINUX.md, sections 1 and 5). So while something has been waited for longer than [`LOOK_AFTER`], it is
//! looked every [`LOOK_EVERY`] whether the thread that asked for it is being killed. Threads: the timer's. No lock is held while a
//! process is looked at, or an operation is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::clock::Timer;
use crate::sync::lock;

/// Nobody is looked at before: most answers come sooner, and nobody sees a process that takes so long to end.
const LOOK_AFTER: Duration = Duration::from_millis(200);

/// How often it is looked: a person who has pressed Ctrl-C takes a tenth of a second for at once.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The most threads that are looked at at a time, as each takes some ten microseconds of the thread that keeps all deadlines. Where
/// more wait, it is their turn the next time.
const MAX_LOOKS: usize = 64;

/// Ends the wait for an operation.
type End = Box<dyn FnOnce() + Send>;

struct Waiting {
    thread: u32,
    since: Instant,
    end: End,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<u64, Waiting>,
    next_number: u64,
    /// Somebody will look.
    is_looking: bool,
    /// The last thread that was looked at.
    last: u32,
}

/// The operations that threads wait for. Bounded by them: one that is answered is not here any more.
pub(super) struct Killed {
    timer: Arc<Timer>,
    is_killed: fn(u32) -> bool,
    state: Mutex<State>,
}

impl Killed {
    /// Nobody waits yet; `is_killed` says whether a thread is being killed.
    pub(super) fn new(timer: &Arc<Timer>, is_killed: fn(u32) -> bool) -> Arc<Killed> {
        Arc::new(Killed { timer: Arc::clone(timer), is_killed, state: Mutex::default() })
    }

    /// The thread `thread` waits for what `end` ends; the number is for [`Killed::remove`]. 0 stands for a thread of which nothing can
    /// be known.
    pub(super) fn add(self: &Arc<Self>, thread: u32, end: End) -> Option<u64> {
        if thread == 0 {
            return None;
        }
        let since = self.timer.clock().now();
        let mut state = lock(&self.state);
        let number = state.next_number;
        state.next_number += 1;
        state.waiting.insert(number, Waiting { thread, since, end });
        let starts = !std::mem::replace(&mut state.is_looking, true);
        drop(state);
        if starts {
            self.look_at(since + LOOK_AFTER);
        }
        Some(number)
    }

    /// It is answered.
    pub(super) fn remove(&self, number: u64) {
        let waiting = lock(&self.state).waiting.remove(&number);
        // Dropped here, outside the lock: what it owns may call us.
        drop(waiting);
    }

    fn look_at(self: &Arc<Self>, when: Instant) {
        let this = Arc::downgrade(self);
        self.timer.at(when, move || {
            if let Some(this) = this.upgrade() {
                this.look();
            }
        });
    }

    fn look(self: &Arc<Self>) {
        let now = self.timer.clock().now();
        for thread in self.next_threads(now) {
            if !(self.is_killed)(thread) {
                continue;
            }
            let mut state = lock(&self.state);
            let of_thread = |(number, waiting): (&u64, &Waiting)| (waiting.thread == thread).then_some(*number);
            let numbers: Vec<u64> = state.waiting.iter().filter_map(of_thread).collect();
            let ended: Vec<Waiting> = numbers.iter().filter_map(|number| state.waiting.remove(number)).collect();
            drop(state);
            ended.into_iter().for_each(|waiting| (waiting.end)());
        }
        let mut state = lock(&self.state);
        state.is_looking = !state.waiting.is_empty();
        let goes_on = state.is_looking;
        drop(state);
        if goes_on {
            self.look_at(now + LOOK_EVERY);
        }
    }

    /// Whose turn it is, of those who have waited long enough.
    fn next_threads(&self, now: Instant) -> Vec<u32> {
        let mut state = lock(&self.state);
        let long = state.waiting.values().filter(|waiting| now.saturating_duration_since(waiting.since) >= LOOK_AFTER);
        let threads: BTreeSet<u32> = long.map(|waiting| waiting.thread).collect();
        let after = threads.range((Excluded(state.last), Unbounded));
        let turn: Vec<u32> = after.chain(threads.range(..=state.last)).copied().take(MAX_LOOKS).collect();
        state.last = turn.last().copied().unwrap_or(0);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{BootTime, Clock, SystemClock};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::SystemTime;

    /// A clock that stands still until it is set.
    struct Set(Mutex<Instant>);

    impl Clock for Set {
        fn now(&self) -> Instant {
            *lock(&self.0)
        }

        fn boot(&self) -> BootTime {
            SystemClock.boot()
        }

        fn utc(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        fn sleep(&self, _: Duration) {}
    }

    fn watched(is_killed: fn(u32) -> bool) -> (Arc<Set>, Arc<Timer>, Arc<Killed>) {
        let clock = Arc::new(Set(Mutex::new(Instant::now())));
        let timer = Timer::new(Arc::clone(&clock) as _);
        let killed = Killed::new(&timer, is_killed);
        (clock, timer, killed)
    }

    fn pass(clock: &Set, timer: &Timer, time: Duration) {
        *lock(&clock.0) += time;
        timer.run_due();
    }

    fn counting(ended: &Arc<AtomicU32>) -> End {
        let ended = Arc::clone(ended);
        Box::new(move || {
            ended.fetch_add(1, Ordering::Relaxed);
        })
    }

    #[test]
    fn killed_thread_is_answered_all_it_waits_for_and_no_other_is() {
        let (clock, timer, killed) = watched(|thread| thread == 7);
        let (sevens, others) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        killed.add(7, counting(&sevens));
        killed.add(7, counting(&sevens));
        killed.add(8, counting(&others));
        assert_eq!(killed.add(0, counting(&others)), None);
        pass(&clock, &timer, LOOK_AFTER / 2);
        assert_eq!(sevens.load(Ordering::Relaxed), 0, "not looked at yet");
        pass(&clock, &timer, LOOK_AFTER);
        assert_eq!((sevens.load(Ordering::Relaxed), others.load(Ordering::Relaxed)), (2, 0));
    }

    #[test]
    fn nobody_is_looked_at_while_nobody_waits() {
        let (clock, timer, killed) = watched(|_| panic!("nobody waits"));
        let ended = Arc::new(AtomicU32::new(0));
        let number = killed.add(7, counting(&ended)).unwrap_or_default();
        killed.remove(number);
        pass(&clock, &timer, LOOK_AFTER * 2);
        assert!(!lock(&killed.state).is_looking && ended.load(Ordering::Relaxed) == 0);
    }

    #[test]
    fn where_many_wait_each_has_its_turn() {
        static LOOKS: AtomicU32 = AtomicU32::new(0);
        let (clock, timer, killed) = watched(|_| {
            LOOKS.fetch_add(1, Ordering::Relaxed);
            true
        });
        let ended = Arc::new(AtomicU32::new(0));
        for thread in 1..=1000 {
            killed.add(thread, counting(&ended));
        }
        pass(&clock, &timer, LOOK_AFTER);
        assert_eq!(LOOKS.load(Ordering::Relaxed) as usize, MAX_LOOKS);
        (0..1000 / MAX_LOOKS).for_each(|_| pass(&clock, &timer, LOOK_EVERY));
        assert_eq!((ended.load(Ordering::Relaxed), LOOKS.load(Ordering::Relaxed)), (1000, 1000));
    }
}
