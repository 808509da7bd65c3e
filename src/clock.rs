//! Time as the rooms see it: the [`Clock`], which tests can hold still, the [`Timer`], which owns all deadlines, and the
//! [`Ticker`] for what is done every so often.
//!
//! Threads: [`Timer::run`] is the body of one thread. Locks: the timer's own, never held while an action runs.

use std::collections::BTreeMap;
use std::io;
use std::ops::Add;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::policy::retry::{self, Decision, FailureKind};
use crate::sync::lock;

/// A moment since the machine was started, the time that it was suspended included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

impl BootTime {
    /// So long after the start of the machine.
    pub fn new(since_boot: Duration) -> BootTime {
        BootTime(since_boot)
    }

    /// So much earlier; `None` before the first time that there is.
    pub fn earlier(self, by: Duration) -> Option<BootTime> {
        self.0.checked_sub(by).map(BootTime)
    }

    /// How long ago `earlier` was; zero if it is yet to come.
    pub fn since(self, earlier: BootTime) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for BootTime {
    type Output = BootTime;

    fn add(self, later: Duration) -> BootTime {
        BootTime(self.0.saturating_add(later))
    }
}

/// The times that a filesystem needs.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic, and stands still while the machine is suspended: for deadlines and pauses.
    fn now(&self) -> Instant;

    /// Monotonic, and goes on while the machine is suspended: for how old something is that changes on the other side.
    fn boot(&self) -> BootTime;

    /// Civil: for the expiry dates of links and the service's dates. May jump.
    fn utc(&self) -> SystemTime;

    /// Blocks this thread for `pause`. Worker threads only.
    fn sleep(&self, pause: Duration);

    /// How long a thread that waits for other threads until `when` may sleep before it looks at this clock again: zero once
    /// `when` has come. A clock that a test moves may say less than is left, so that the thread notices.
    fn time_until(&self, when: Instant) -> Duration {
        when.saturating_duration_since(self.now())
    }
}

/// Microseconds of `CLOCK_MONOTONIC`, by which systemd tells one reload from the next (sd_notify(3), `MONOTONIC_USEC=`).
pub fn monotonic_usec() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call, which fails only for clocks that do not exist (clock_gettime(2)).
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}

/// What is remembered from before the machine was started has a time, too: for as long as it may be believed at most, 90 days.
const BEFORE_BOOT: Duration = Duration::from_secs(90 * 24 * 3600);

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn boot(&self) -> BootTime {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` outlives the call, which fails only for clocks that do not exist (clock_gettime(2)).
        unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        BootTime(BEFORE_BOOT + Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0)))
    }

    fn utc(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }
}

/// Runs `attempt` until it succeeds, or until [`retry::decide`] gives up on its failures, of which `judge` tells the kind and how
/// long the other side asks to wait. Sleeps between attempts: only where a person waits, never on a worker thread.
///
/// # Errors
/// That of the last attempt.
pub fn patiently<T, E>(
    clock: &dyn Clock,
    deadline: Instant,
    attempt: impl Fn() -> Result<T, E>,
    judge: impl Fn(&E) -> (FailureKind, Option<Duration>),
) -> Result<T, E> {
    let mut tries = 0;
    loop {
        let error = match attempt() {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        tries += 1;
        let (kind, retry_after) = judge(&error);
        let remaining = deadline.saturating_duration_since(clock.now());
        match retry::decide(kind, tries, remaining, retry_after, fastrand::f64()) {
            Decision::Again(pause) => clock.sleep(pause),
            Decision::GiveUp => return Err(error),
        }
    }
}

/// Does something every so often on a thread of its own, until it is dropped.
pub struct Ticker {
    /// Its going ends the thread's waiting.
    _alive: mpsc::Sender<()>,
}

impl Ticker {
    /// Runs `tick` after `first` and then after every `interval` by `clock`, until it returns false or the ticker is dropped. The
    /// thread is not waited for: a tick that is under way then is the last.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        name: &str,
        clock: Arc<dyn Clock>,
        first: Duration,
        interval: Duration,
        mut tick: impl FnMut() -> bool + Send + 'static,
    ) -> io::Result<Ticker> {
        let (sender, receiver) = mpsc::channel();
        let mut due = clock.now() + first;
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Err(mpsc::RecvTimeoutError::Timeout) = receiver.recv_timeout(clock.time_until(due)) {
                if clock.now() < due {
                    continue;
                }
                if !tick() {
                    return;
                }
                due = (due + interval).max(clock.now());
            }
        })?;
        Ok(Ticker { _alive: sender })
    }
}

type Action = Box<dyn FnOnce() + Send>;

/// Names one action of a [`Timer`], so that it can be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey(Instant, u64);

/// Runs actions when their time has come. Its size is bounded by what is waited for: a cancelled action is gone at once.
pub struct Timer {
    clock: Arc<dyn Clock>,
    state: Mutex<TimerState>,
    changed: Condvar,
}

#[derive(Default)]
struct TimerState {
    actions: BTreeMap<TimerKey, Action>,
    next_number: u64,
    closed: bool,
}

impl Timer {
    /// A timer on `clock`. Nothing fires until somebody calls [`Timer::run`] or [`Timer::run_due`].
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Timer> {
        Arc::new(Timer { clock, state: Mutex::default(), changed: Condvar::new() })
    }

    /// The clock that it runs on.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Has `action` run at `when`, once, on the timer's thread; it must be short and must not block.
    pub fn at(&self, when: Instant, action: impl FnOnce() + Send + 'static) -> TimerKey {
        let mut state = lock(&self.state);
        let key = TimerKey(when, state.next_number);
        state.next_number += 1;
        let is_first = state.actions.first_key_value().is_none_or(|(first, _)| key < *first);
        state.actions.insert(key, Box::new(action));
        drop(state);
        if is_first {
            self.changed.notify_all();
        }
        key
    }

    /// Takes an action back; nothing happens if it has run already.
    pub fn cancel(&self, key: TimerKey) {
        let action = lock(&self.state).actions.remove(&key);
        // Dropped here, outside the lock: what it owns may call us.
        drop(action);
    }

    /// Runs all actions that are due, on this thread. One that panics ends alone; the panic hook has logged it.
    pub fn run_due(&self) {
        let now = self.clock.now();
        while let Some(action) = self.take_due(now) {
            let _ = catch_unwind(AssertUnwindSafe(action));
        }
    }

    fn take_due(&self, now: Instant) -> Option<Action> {
        let mut state = lock(&self.state);
        let first = state.actions.first_entry()?;
        if first.key().0 <= now { Some(first.remove()) } else { None }
    }

    /// The timer's thread: runs actions as they come due, until [`Timer::close`].
    pub fn run(&self) {
        loop {
            self.run_due();
            let state = lock(&self.state);
            if state.closed {
                return;
            }
            let now = self.clock.now();
            let pause = match state.actions.first_key_value() {
                Some((key, _)) => key.0.saturating_duration_since(now),
                None => Duration::MAX,
            };
            if !pause.is_zero() {
                // Spurious and early wake-ups only lead round the loop.
                let _ = self.changed.wait_timeout(state, pause.min(Duration::from_secs(3600)));
            }
        }
    }

    /// Ends [`Timer::run`]. Actions that are still owed are dropped.
    pub fn close(&self) {
        let actions = {
            let mut state = lock(&self.state);
            state.closed = true;
            std::mem::take(&mut state.actions)
        };
        drop(actions);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn action_runs_once_at_its_time_and_not_when_cancelled() {
        let timer = Timer::new(Arc::new(SystemClock));
        let ran = Arc::new(AtomicU32::new(0));
        let count = |by: u32| {
            let ran = Arc::clone(&ran);
            move || {
                ran.fetch_add(by, Ordering::Relaxed);
            }
        };
        let now = Instant::now();
        timer.at(now, count(1));
        timer.at(now + Duration::from_secs(3600), count(10));
        let cancelled = timer.at(now, count(100));
        timer.cancel(cancelled);
        timer.run_due();
        timer.run_due();
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn boot_time_goes_on_like_the_other_clocks() {
        let (boot, now) = (SystemClock.boot(), SystemClock.now());
        while SystemClock.now() == now {}
        assert!(SystemClock.boot() > boot && boot.since(SystemClock.boot()).is_zero());
        assert_eq!((boot + Duration::from_secs(5)).since(boot), Duration::from_secs(5));
    }

    #[test]
    fn panicking_action_leaves_the_others_their_deadlines() {
        let timer = Timer::new(Arc::new(SystemClock));
        let (sender, receiver) = mpsc::channel();
        let now = Instant::now();
        timer.at(now, || panic!("on purpose"));
        timer.at(now, move || sender.send(()).unwrap_or_default());
        timer.run_due();
        assert_eq!(receiver.try_recv(), Ok(()));
    }

    #[test]
    fn ticker_ticks_again_and_again_and_not_after_its_end() {
        let (ticks, ticked) = mpsc::channel();
        let tick = move || ticks.send(()).is_ok();
        let ticker = Ticker::start("ticker", Arc::new(SystemClock), Duration::ZERO, Duration::from_millis(1), tick)
            .expect("a thread");
        for _ in 0..3 {
            ticked.recv_timeout(Duration::from_secs(10)).expect("a tick");
        }
        drop(ticker);
        // The thread's end of the channel goes with the thread.
        while ticked.recv_timeout(Duration::from_secs(10)).is_ok() {}
        assert_eq!(ticked.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn thread_wakes_for_an_earlier_action_than_the_one_it_waits_for() {
        let timer = Timer::new(Arc::new(SystemClock));
        timer.at(Instant::now() + Duration::from_secs(3600), || {});
        let runner = Arc::clone(&timer);
        let thread = std::thread::spawn(move || runner.run());
        let (sender, receiver) = std::sync::mpsc::channel();
        timer.at(Instant::now() + Duration::from_millis(1), move || {
            let _ = sender.send(());
        });
        receiver.recv_timeout(Duration::from_secs(10)).expect("the earlier action runs");
        timer.close();
        thread.join().expect("the thread ends");
    }
}
