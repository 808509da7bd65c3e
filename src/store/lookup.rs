//! Lookups in a time: whoever asks gets an answer within a bound, or goes elsewhere.
//!
//! A disk can hang (a network filesystem, a dying drive), and a call to the system cannot be given up. So lookups run on threads of
//! their own; whoever asks waits for a while only, and a disk that keeps them waiting is left alone for a time.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::{Clock, Timer};
use crate::jobs::{Class, JobQueue};
use crate::policy::breaker::{Breaker, BreakerLimits};
use crate::sync::lock;

/// Threads that look up at a time: enough to keep a disk busy, and the most that a disk which hangs can hold.
const MAX_THREADS: usize = 8;

/// Lookups under way, waiting ones included; more would not be answered in time.
const MAX_LOOKUPS: usize = 256;

/// One slow answer is no slow disk: it wakes up, or is busy with something else.
const LIMITS: BreakerLimits =
    BreakerLimits { failures_max: 3, rest_min: Duration::from_secs(5), rest_max: Duration::from_secs(300) };

/// Looks up on threads of its own.
pub(super) struct Lookups {
    queue: JobQueue,
    timer: Arc<Timer>,
    judge: Arc<Judge>,
    live: Arc<AtomicUsize>,
}

/// Watches how the disk does.
struct Judge {
    clock: Arc<dyn Clock>,
    /// How long a lookup is waited for.
    patience: Duration,
    breaker: Mutex<Breaker>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// It was not asked: it is slow, or has failed, or much is asked already.
    NotAsked,
    /// Not in time.
    Late,
    /// It has failed.
    Failed,
}

type Done<T> = Box<dyn FnOnce(Result<T, NoAnswer>) + Send>;

/// A lookup that somebody waits for: whoever comes first answers it, the disk or the clock.
struct Awaited<T> {
    judge: Arc<Judge>,
    done: Mutex<Option<Done<T>>>,
}

impl<T> Awaited<T> {
    fn is_awaited(&self) -> bool {
        lock(&self.done).is_some()
    }

    fn answer(&self, answer: Result<T, NoAnswer>) {
        let done = lock(&self.done).take();
        if let Some(done) = done {
            done(answer);
        }
    }

    fn found(&self, found: io::Result<T>) {
        // An answer that comes late is no sign of health.
        if !self.is_awaited() {
            return;
        }
        match found {
            Ok(found) => {
                self.judge.succeed();
                self.answer(Ok(found));
            }
            Err(error) => {
                self.judge.fail(&error.to_string());
                self.answer(Err(NoAnswer::Failed));
            }
        }
    }

    fn expire(&self) {
        if self.is_awaited() {
            self.judge.fail(&format!("no answer in {} ms", self.judge.patience.as_millis()));
            self.answer(Err(NoAnswer::Late));
        }
    }
}

impl<T> Drop for Awaited<T> {
    fn drop(&mut self) {
        // The lookup has panicked, or all is being closed.
        self.answer(Err(NoAnswer::Failed));
    }
}

impl Judge {
    fn succeed(&self) {
        if lock(&self.breaker).on_success() {
            log::info!("store: the cache directory answers again");
        }
    }

    fn fail(&self, why: &str) {
        let rest = lock(&self.breaker).on_failure(self.clock.now());
        match rest {
            Some(rest) => {
                log::warn!("store: the cache directory is not read for {} s: {why}", rest.as_secs());
            }
            None => log::debug!("store: a lookup in the cache directory: {why}"),
        }
    }
}

impl Lookups {
    /// Lookups that are waited for up to `patience`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start(timer: &Arc<Timer>, patience: Duration) -> io::Result<Lookups> {
        let clock = Arc::clone(timer.clock());
        Ok(Lookups {
            queue: JobQueue::start("koofs-lookup", MAX_THREADS, timer)?,
            timer: Arc::clone(timer),
            judge: Arc::new(Judge { clock, patience, breaker: Mutex::new(Breaker::new(LIMITS)) }),
            live: Arc::default(),
        })
    }

    /// Has `done` told what `look` finds (which gives `Err` if the disk has failed), exactly once: by the thread that has looked, by
    /// the timer when that takes too long, or at once by this one where it is not asked at all. Never blocks.
    pub(super) fn tell<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> io::Result<T> + Send + 'static,
        done: impl FnOnce(Result<T, NoAnswer>) + Send + 'static,
    ) {
        if let Some(awaited) = self.ask(look, Box::new(done)) {
            let late = Arc::downgrade(&awaited);
            drop(awaited);
            // Weak: whoever is answered is not kept until then.
            self.timer.at(self.judge.clock.now() + self.judge.patience, move || {
                if let Some(awaited) = late.upgrade() {
                    awaited.expire();
                }
            });
        }
    }

    /// What `look` finds. Blocks as long as is waited for at most.
    ///
    /// # Errors
    /// If it is not known what `look` finds.
    pub(super) fn get<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (sender, receiver) = sync_channel(1);
        // The channel has room for the one answer.
        let done = move |answer| drop(sender.send(answer));
        let awaited = self.ask(look, Box::new(done));
        if let Ok(answer) = receiver.recv_timeout(self.judge.patience) {
            return answer;
        }
        if let Some(awaited) = awaited {
            awaited.expire();
        }
        // Answered now, by the disk or by this.
        receiver.recv().unwrap_or(Err(NoAnswer::Failed))
    }

    /// Queues the lookup; `None` if `done` was told already that it is not made.
    fn ask<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> io::Result<T> + Send + 'static,
        done: Done<T>,
    ) -> Option<Arc<Awaited<T>>> {
        let awaited = Arc::new(Awaited { judge: Arc::clone(&self.judge), done: Mutex::new(Some(done)) });
        let is_well = lock(&self.judge.breaker).allows(self.judge.clock.now());
        let live = if is_well { Live::enter(&self.live) } else { None };
        let Some(live) = live else {
            awaited.answer(Err(NoAnswer::NotAsked));
            return None;
        };
        let asked = Arc::clone(&awaited);
        self.queue.push(Class::Foreground, move || {
            let _live = live;
            // Nobody waits any more for what has waited here behind a disk that hung.
            if asked.is_awaited() {
                asked.found(look());
            }
        });
        Some(awaited)
    }
}

/// Counts a lookup as under way, also while it waits, and until its thread is done with it.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn enter(count: &Arc<AtomicUsize>) -> Option<Live> {
        let live = Live(Arc::clone(count));
        (count.fetch_add(1, Ordering::Relaxed) < MAX_LOOKUPS).then_some(live)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};
    use std::sync::atomic::AtomicU32;
    use std::sync::mpsc::channel;
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_millis(30);

    fn lookups(patience: Duration) -> Lookups {
        let timer = Timer::new(Arc::new(SystemClock));
        Lookups::start(&timer, patience).expect("threads start")
    }

    #[test]
    fn answers_come_back_to_whoever_asked() {
        let lookups = lookups(Duration::from_secs(20));
        std::thread::scope(|scope| {
            for number in 0..32 {
                let lookups = &lookups;
                scope.spawn(move || (0..50).for_each(|_| assert_eq!(lookups.get(move || Ok(number)), Ok(number))));
            }
        });
        // A thread that has answered may not be done with its lookup yet.
        let limit = Instant::now() + Duration::from_secs(20);
        while lookups.live.load(Ordering::Relaxed) > 0 {
            assert!(Instant::now() < limit, "{} lookups never end", lookups.live.load(Ordering::Relaxed));
            std::thread::yield_now();
        }
    }

    #[test]
    fn disk_that_hangs_costs_three_waits_and_is_then_left_alone() {
        let lookups = lookups(PATIENCE);
        let (release, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let hanging = |gate: &Arc<Mutex<_>>| {
            let gate: Arc<Mutex<std::sync::mpsc::Receiver<()>>> = Arc::clone(gate);
            lookups.get(move || lock(&gate).recv().map_err(|_| io::ErrorKind::BrokenPipe.into()))
        };
        let late: Vec<_> = (0..3).map(|_| hanging(&gate)).collect();
        assert_eq!(late, [Err(NoAnswer::Late); 3]);
        let asked = Arc::new(AtomicU32::new(0));
        for _ in 0..1000 {
            let asked = Arc::clone(&asked);
            let answer = lookups.get(move || Ok(asked.fetch_add(1, Ordering::Relaxed)));
            assert_eq!(answer, Err(NoAnswer::NotAsked));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        drop(release);
    }

    #[test]
    fn lookups_that_nobody_waits_for_are_not_made() {
        let lookups = lookups(PATIENCE);
        let (release, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let made = Arc::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 * MAX_THREADS {
                let (lookups, gate, made) = (&lookups, Arc::clone(&gate), Arc::clone(&made));
                scope.spawn(move || {
                    lookups.get(move || {
                        made.fetch_add(1, Ordering::Relaxed);
                        lock(&gate).recv().map_err(|_| io::ErrorKind::BrokenPipe.into())
                    })
                });
            }
        });
        drop(release);
        let start = Instant::now();
        while lookups.live.load(Ordering::Relaxed) > 0 {
            assert!(start.elapsed() < Duration::from_secs(20));
            SystemClock.sleep(Duration::from_millis(1));
        }
        assert!(made.load(Ordering::Relaxed) <= MAX_THREADS);
    }

    #[test]
    fn failing_disk_is_left_alone_too() {
        let lookups = lookups(Duration::from_secs(20));
        let failed: Vec<_> = (0..3).map(|_| lookups.get(|| Err::<(), _>(io::ErrorKind::Other.into()))).collect();
        assert_eq!(failed, [Err(NoAnswer::Failed); 3]);
        assert_eq!(lookups.get(|| Ok(())), Err(NoAnswer::NotAsked));
    }

    #[test]
    fn whoever_does_not_wait_is_told_once_by_the_disk_or_by_the_clock() {
        let timer = Timer::new(Arc::new(SystemClock));
        let lookups = Lookups::start(&timer, PATIENCE).expect("threads start");
        let (sender, told) = channel();
        let tell = |number| {
            let sender = sender.clone();
            move |answer| sender.send((number, answer)).unwrap_or_default()
        };
        lookups.tell(|| Ok(5), tell(1));
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok((1, Ok(5))));
        let (release, gate) = channel::<()>();
        lookups.tell(move || gate.recv().map(|()| 6).map_err(|_| io::ErrorKind::BrokenPipe.into()), tell(2));
        let start = Instant::now();
        let late = loop {
            timer.run_due();
            match told.try_recv() {
                Ok(late) => break late,
                Err(_) => assert!(start.elapsed() < Duration::from_secs(20)),
            }
        };
        assert_eq!(late, (2, Err(NoAnswer::Late)));
        release.send(()).expect("it waits there");
        lookups.tell(|| panic!("as planted"), tell(3));
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok((3, Err(NoAnswer::Failed))));
        lookups.tell(|| Ok(7), tell(4));
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok((4, Ok(7))));
        assert!(told.try_recv().is_err());
    }
}
