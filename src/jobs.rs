//! Worker threads behind a bounded queue with two classes: what a process waits for, and what may help later.
//!
//! Owns the threads, the order and the bounds; knows nothing of what a job does. The listing and the content rooms have
//! one each, so that stalled downloads cannot keep directories waiting.
//! Locks: one, never held while a job runs.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::clock::lock;

/// The most foreground jobs that may wait. Far above what the kernel keeps in flight (`max_background` 64 plus one for each
/// waiting process), so that reaching it means a fault, not load.
const FOREGROUND_JOBS_MAX: usize = 65_536;

/// The most background jobs that may wait; what does not fit is not fetched ahead.
const BACKGROUND_JOBS_MAX: usize = 4_096;

/// How urgent a job is. Background jobs start only when no foreground job waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Somebody waits for it.
    Foreground,
    /// A guess about what somebody will ask for.
    Background,
}

/// The queue was full, or closed; the job was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

type Job = Box<dyn FnOnce() + Send>;

/// A bounded queue of jobs and the threads that run them. Dropping it ends the threads after their current jobs.
pub struct JobQueue {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    foreground: VecDeque<Job>,
    background: VecDeque<Job>,
    delayed: BTreeMap<(Instant, u64), (Class, Job)>,
    next_number: u64,
    background_running: usize,
    background_limit: usize,
    closed: bool,
}

impl JobQueue {
    /// `threads` workers called `name`; at most `background_limit` of them run background jobs at a time.
    ///
    /// # Errors
    /// Whatever keeps the system from starting a thread.
    pub fn start(name: &str, threads: usize, background_limit: usize) -> std::io::Result<JobQueue> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                foreground: VecDeque::new(),
                background: VecDeque::new(),
                delayed: BTreeMap::new(),
                next_number: 0,
                background_running: 0,
                background_limit,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        for _ in 0..threads {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(name.to_owned()).spawn(move || shared.work())?;
        }
        Ok(JobQueue { shared })
    }

    /// Queues a job behind all of its class.
    ///
    /// # Errors
    /// [`QueueFull`] if its class has its fill; the job is dropped.
    pub fn push(&self, class: Class, job: impl FnOnce() + Send + 'static) -> Result<(), QueueFull> {
        self.shared.push(class, Box::new(job))
    }

    /// Queues a job that may start after `pause`; no thread waits meanwhile.
    ///
    /// # Errors
    /// [`QueueFull`] if as many jobs are delayed as may wait; the job is dropped.
    pub fn push_after(
        &self,
        pause: Duration,
        class: Class,
        job: impl FnOnce() + Send + 'static,
    ) -> Result<(), QueueFull> {
        let mut state = lock(&self.shared.state);
        if state.closed || state.delayed.len() >= FOREGROUND_JOBS_MAX {
            return Err(QueueFull);
        }
        let key = (Instant::now() + pause, state.next_number);
        state.next_number += 1;
        state.delayed.insert(key, (class, Box::new(job)));
        drop(state);
        // Every idle worker recomputes how long it may sleep.
        self.shared.changed.notify_all();
        Ok(())
    }

    /// How many background jobs may run at a time, from now on.
    pub fn set_background_limit(&self, limit: usize) {
        lock(&self.shared.state).background_limit = limit;
        self.shared.changed.notify_all();
    }
}

impl Drop for JobQueue {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        // Jobs own completions that may call back: dropped outside the lock.
        let jobs = (
            std::mem::take(&mut state.foreground),
            std::mem::take(&mut state.background),
            std::mem::take(&mut state.delayed),
        );
        drop(state);
        drop(jobs);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn push(&self, class: Class, job: Job) -> Result<(), QueueFull> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(QueueFull);
        }
        let (queue, limit) = match class {
            Class::Foreground => (&mut state.foreground, FOREGROUND_JOBS_MAX),
            Class::Background => (&mut state.background, BACKGROUND_JOBS_MAX),
        };
        if queue.len() >= limit {
            return Err(QueueFull);
        }
        queue.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// One worker: runs jobs until the queue is closed. A job that panics ends alone; the panic hook has logged it.
    fn work(&self) {
        while let Some((class, job)) = self.next_job() {
            let _ = catch_unwind(AssertUnwindSafe(job));
            if class == Class::Background {
                lock(&self.state).background_running -= 1;
                self.changed.notify_one();
            }
        }
    }

    fn next_job(&self) -> Option<(Class, Job)> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            let now = Instant::now();
            while let Some(first) = state.delayed.first_entry() {
                if first.key().0 > now {
                    break;
                }
                let (class, job) = first.remove();
                match class {
                    Class::Foreground => state.foreground.push_front(job),
                    Class::Background => state.background.push_front(job),
                }
            }
            if let Some(job) = state.foreground.pop_front() {
                return Some((Class::Foreground, job));
            }
            if state.background_running < state.background_limit
                && let Some(job) = state.background.pop_front()
            {
                state.background_running += 1;
                return Some((Class::Background, job));
            }
            state = match state.delayed.first_key_value() {
                Some(((due, _), _)) => {
                    let pause = due.saturating_duration_since(now);
                    match self.changed.wait_timeout(state, pause) {
                        Ok((state, _)) => state,
                        Err(poisoned) => poisoned.into_inner().0,
                    }
                }
                None => match self.changed.wait(state) {
                    Ok(state) => state,
                    Err(poisoned) => poisoned.into_inner(),
                },
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn foreground_job_overtakes_waiting_background_jobs() {
        let queue = JobQueue::start("test", 1, 1).expect("threads start");
        let (sender, receiver) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        queue
            .push(Class::Foreground, move || {
                let _ = gate.recv();
            })
            .expect("room");
        for (class, number) in [(Class::Background, 2), (Class::Background, 3), (Class::Foreground, 1)] {
            let sender = sender.clone();
            queue
                .push(class, move || {
                    let _ = sender.send(number);
                })
                .expect("room");
        }
        release.send(()).expect("the gate waits");
        let order: Vec<i32> =
            (0..3).map(|_| receiver.recv_timeout(Duration::from_secs(10)).expect("job runs")).collect();
        assert_eq!(order, [1, 2, 3]);
    }

    #[test]
    fn background_jobs_leave_threads_to_the_foreground() {
        let queue = JobQueue::start("test", 2, 1).expect("threads start");
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..2 {
            let gate = Arc::clone(&gate);
            queue
                .push(Class::Background, move || {
                    let _ = lock(&gate).recv();
                })
                .expect("room");
        }
        let (sender, receiver) = mpsc::channel();
        queue
            .push(Class::Foreground, move || {
                let _ = sender.send(());
            })
            .expect("room");
        receiver.recv_timeout(Duration::from_secs(10)).expect("runs beside the blocked background job");
        drop(release);
    }

    #[test]
    fn panicking_job_leaves_its_thread_alive() {
        let queue = JobQueue::start("test", 1, 1).expect("threads start");
        queue.push(Class::Foreground, || panic!("on purpose")).expect("room");
        let (sender, receiver) = mpsc::channel();
        queue
            .push_after(Duration::from_millis(1), Class::Foreground, move || {
                let _ = sender.send(());
            })
            .expect("room");
        receiver.recv_timeout(Duration::from_secs(10)).expect("the thread goes on");
    }

    #[test]
    fn full_class_refuses_further_jobs() {
        let queue = JobQueue::start("test", 1, 0).expect("threads start");
        for _ in 0..BACKGROUND_JOBS_MAX {
            queue.push(Class::Background, || {}).expect("room");
        }
        assert_eq!(queue.push(Class::Background, || {}), Err(QueueFull));
        assert_eq!(queue.push(Class::Foreground, || {}), Ok(()));
    }
}
