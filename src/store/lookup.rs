//! Lookups in a time: whoever asks gets an answer within a bound, or goes elsewhere.
//!
//! A disk can hang (a network filesystem, a dying drive), and a call to the system cannot be given up. So lookups run on threads of
//! their own; whoever asks waits for a while only, and a disk that keeps them waiting is left alone for a time.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::clock::{Clock, Timer, lock};
use crate::jobs::{Class, JobQueue};
use crate::policy::breaker::{Breaker, BreakerLimits};

/// Threads that look up at a time: enough to keep a disk busy, and the most that a disk which hangs can hold.
const THREADS_MAX: usize = 8;

/// Lookups under way, waiting ones included; more would not be answered in time.
const LOOKUPS_MAX: usize = 256;

/// One slow answer is no slow disk: it wakes up, or is busy with something else.
const LIMITS: BreakerLimits =
    BreakerLimits { failures_max: 3, rest_min: Duration::from_secs(5), rest_max: Duration::from_secs(300) };

/// Looks up on threads of its own.
pub(super) struct Lookups {
    queue: JobQueue,
    clock: Arc<dyn Clock>,
    /// How long a lookup is waited for.
    patience: Duration,
    live: Arc<AtomicUsize>,
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

impl Lookups {
    /// Lookups that are waited for up to `patience`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start(timer: &Arc<Timer>, patience: Duration) -> std::io::Result<Lookups> {
        Ok(Lookups {
            queue: JobQueue::start("koofs-lookup", THREADS_MAX, timer)?,
            clock: Arc::clone(timer.clock()),
            patience,
            live: Arc::default(),
            breaker: Mutex::new(Breaker::new(LIMITS)),
        })
    }

    /// What `look` finds, which gives `Err` if the disk has failed. Blocks for `patience` at most.
    ///
    /// # Errors
    /// If it is not known what `look` finds.
    pub(super) fn get<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, NoAnswer> {
        if !lock(&self.breaker).allows(self.clock.now()) {
            return Err(NoAnswer::NotAsked);
        }
        let live = Live::enter(&self.live).ok_or(NoAnswer::NotAsked)?;
        let (sender, receiver) = sync_channel(1);
        let asked = Arc::new(());
        let is_awaited = Arc::downgrade(&asked);
        let is_queued = self.queue.push(Class::Foreground, move || {
            let _live = live;
            // Nobody waits any more for what has waited here behind a disk that hung.
            if is_awaited.strong_count() > 0 {
                // The only failure is that nobody waits.
                let _ = sender.send(look());
            }
        });
        if !is_queued {
            return Err(NoAnswer::NotAsked);
        }
        let answer = receiver.recv_timeout(self.patience);
        drop(asked);
        match answer {
            Ok(Ok(found)) => {
                if lock(&self.breaker).on_success() {
                    log::info!("store: the cache directory answers again");
                }
                Ok(found)
            }
            Ok(Err(error)) => {
                self.fail(&error.to_string());
                Err(NoAnswer::Failed)
            }
            Err(RecvTimeoutError::Timeout) => {
                self.fail(&format!("no answer in {} ms", self.patience.as_millis()));
                Err(NoAnswer::Late)
            }
            // It has panicked, or all is being closed.
            Err(RecvTimeoutError::Disconnected) => Err(NoAnswer::Failed),
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

/// Counts a lookup as under way, also while it waits, and until its thread is done with it.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn enter(count: &Arc<AtomicUsize>) -> Option<Live> {
        let live = Live(Arc::clone(count));
        (count.fetch_add(1, Ordering::Relaxed) < LOOKUPS_MAX).then_some(live)
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
    use std::io;
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
        assert_eq!(lookups.live.load(Ordering::Relaxed), 0);
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
            for _ in 0..4 * THREADS_MAX {
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
        assert!(made.load(Ordering::Relaxed) <= THREADS_MAX);
    }

    #[test]
    fn failing_disk_is_left_alone_too() {
        let lookups = lookups(Duration::from_secs(20));
        let failed: Vec<_> = (0..3).map(|_| lookups.get(|| Err::<(), _>(io::ErrorKind::Other.into()))).collect();
        assert_eq!(failed, [Err(NoAnswer::Failed); 3]);
        assert_eq!(lookups.get(|| Ok(())), Err(NoAnswer::NotAsked));
    }
}
