//! The queue and its threads: what a process waits for is run before what may help later.
//!
//! Threads are started when there is work for them and end when there has been none for a while.
//! Locks: one, never held while a job runs.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timer;
use crate::stats::Counter;
use crate::sync::lock;

/// The most foreground jobs that may be under way, waiting ones included. Far above what the kernel keeps in flight
/// (`max_background` 64 plus one for each waiting process), so that reaching it means a fault, not load.
const MAX_FOREGROUND_JOBS: usize = 65_536;

/// The most background jobs that may be under way, waiting ones included; what does not fit is not fetched ahead.
const MAX_BACKGROUND_JOBS: usize = 4_096;

/// A thread without work ends after this time: longer than the pauses of a program that reads, shorter than anybody looks at
/// the list of threads of an idle mount.
const IDLE_THREAD_KEPT: Duration = Duration::from_secs(10);

/// How urgent a job is. Background jobs start only when no foreground job waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Somebody waits for it.
    Foreground,
    /// A guess about what somebody will ask for.
    Background,
}

/// Where a job stands in the queue: jobs run in the order of their places.
pub(super) type Place = (Class, i64);

type Job = Box<dyn FnOnce() + Send>;

/// A bounded queue of jobs and the threads that run them. Dropping it ends the threads after their current jobs, and drops the
/// jobs that wait.
pub struct JobQueue {
    shared: Arc<Shared>,
}

/// What the queue, its threads and its tickets share.
pub(super) struct Shared {
    name: String,
    threads_max: usize,
    /// Has delayed jobs queued when their time has come.
    pub(super) timer: Arc<Timer>,
    state: Mutex<State>,
    changed: Condvar,
    /// Attempts that were made again.
    pub(super) retries: Counter,
}

struct State {
    waiting: BTreeMap<Place, Job>,
    /// How many of them are background jobs.
    waiting_background: usize,
    /// The number after the last place, and the one before the first.
    next: i64,
    first: i64,
    /// Jobs under way by class: waiting, delayed and running ones.
    live: [usize; 2],
    background_running: usize,
    background_limit: usize,
    threads: usize,
    idle_threads: usize,
    closed: bool,
}

impl JobQueue {
    /// At most `threads_max` workers called `name`. One is started at once and lives as long as the queue. No background job runs
    /// before [`JobQueue::set_background_limit`] says how many may.
    ///
    /// # Errors
    /// Whatever keeps the system from starting a thread.
    pub fn start(name: &str, threads_max: usize, timer: &Arc<Timer>) -> std::io::Result<JobQueue> {
        let state = State {
            waiting: BTreeMap::new(),
            waiting_background: 0,
            next: 0,
            first: -1,
            live: [0; 2],
            background_running: 0,
            background_limit: 0,
            threads: 1,
            idle_threads: 0,
            closed: false,
        };
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            threads_max,
            timer: Arc::clone(timer),
            state: Mutex::new(state),
            changed: Condvar::new(),
            retries: Counter::default(),
        });
        shared.spawn(true)?;
        Ok(JobQueue { shared })
    }

    /// The timer that the queue's delayed jobs wait on.
    pub fn timer(&self) -> &Arc<Timer> {
        &self.shared.timer
    }

    /// Queues a job behind all of its class. A queue that is full or closed drops it, here, and says so by `false`.
    pub fn push(&self, class: Class, job: impl FnOnce() + Send + 'static) -> bool {
        if !self.has_room(class) {
            return false;
        }
        self.shared.enter(class);
        let shared = Arc::clone(&self.shared);
        let counted = move || {
            // Counted off in any case: a job that panics is over, too.
            let _leaving = Leaving { shared, class };
            job();
        };
        self.shared.place(class, Side::Back, Box::new(counted)).is_some()
    }

    /// Whether another job of `class` may be queued. Several callers that ask at once may all be told yes: the bound is exceeded
    /// by as many jobs as there are threads that queue.
    pub fn has_room(&self, class: Class) -> bool {
        let limit = match class {
            Class::Foreground => MAX_FOREGROUND_JOBS,
            Class::Background => MAX_BACKGROUND_JOBS,
        };
        lock(&self.shared.state).live[class as usize] < limit
    }

    /// How many background jobs may run at a time, from now on.
    pub fn set_background_limit(&self, limit: usize) {
        lock(&self.shared.state).background_limit = limit;
        self.shared.call_thread();
    }

    /// How many attempts of tasks have failed and were made again.
    pub fn retries(&self) -> u64 {
        self.shared.retries.get()
    }

    /// What a ticket needs of the queue.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for JobQueue {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        // Jobs own completions that may call back: dropped outside the lock.
        let jobs = std::mem::take(&mut state.waiting);
        drop(state);
        drop(jobs);
        self.shared.changed.notify_all();
    }
}

/// Counts a job off when it is over.
struct Leaving {
    shared: Arc<Shared>,
    class: Class,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.shared.leave(self.class);
    }
}

/// At which end of its class a job is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Behind all others.
    Back,
    /// Before all others: it has waited its time already.
    Front,
}

impl Shared {
    /// Counts a job of `class` as under way.
    pub(super) fn enter(&self, class: Class) {
        lock(&self.state).live[class as usize] += 1;
    }

    /// Counts a job of `class` as over.
    pub(super) fn leave(&self, class: Class) {
        let mut state = lock(&self.state);
        state.live[class as usize] = state.live[class as usize].saturating_sub(1);
    }

    /// Queues `job`; `None` if the queue is closed, which drops the job.
    pub(super) fn place(self: &Arc<Self>, class: Class, side: Side, job: Job) -> Option<Place> {
        let mut state = lock(&self.state);
        if state.closed {
            drop(state);
            drop(job);
            return None;
        }
        let number = match side {
            Side::Back => {
                state.next += 1;
                state.next - 1
            }
            Side::Front => {
                state.first -= 1;
                state.first + 1
            }
        };
        state.insert((class, number), job);
        drop(state);
        self.call_thread();
        Some((class, number))
    }

    /// Takes a job back that has not been started.
    pub(super) fn take(&self, place: Place) -> Option<Job> {
        lock(&self.state).remove(place)
    }

    /// Wakes an idle thread if there is a job that may run, and starts another thread if there are more such jobs than idle ones.
    fn call_thread(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        let runnable = state.runnable();
        if runnable == 0 || state.closed {
            return;
        }
        if state.idle_threads > 0 {
            self.changed.notify_one();
        }
        if runnable <= state.idle_threads || state.threads >= self.threads_max {
            return;
        }
        state.threads += 1;
        drop(state);
        if let Err(error) = self.spawn(false) {
            lock(&self.state).threads -= 1;
            log::debug!("no further thread for {}: {error}", self.name);
        }
    }

    fn spawn(self: &Arc<Self>, is_permanent: bool) -> std::io::Result<()> {
        let shared = Arc::clone(self);
        std::thread::Builder::new().name(self.name.clone()).spawn(move || shared.work(is_permanent))?;
        Ok(())
    }

    /// One worker: runs jobs until the queue is closed, or until there has been none for a while. A job that panics ends alone;
    /// the panic hook has logged it.
    fn work(self: &Arc<Self>, is_permanent: bool) {
        while let Some((class, job)) = self.next_job(is_permanent) {
            // Others may run beside it: a thread is called for one job at a time, and calls the next one.
            self.call_thread();
            let _ = catch_unwind(AssertUnwindSafe(job));
            if class == Class::Background {
                lock(&self.state).background_running -= 1;
            }
        }
    }

    /// The next job that may run; `None` when this thread is to end, which is counted off then.
    fn next_job(&self, is_permanent: bool) -> Option<(Class, Job)> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                state.threads -= 1;
                return None;
            }
            if let Some(next) = state.next_allowed() {
                return Some(next);
            }
            state.idle_threads += 1;
            let waited = self.changed.wait_timeout(state, IDLE_THREAD_KEPT);
            let (back, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = back;
            state.idle_threads -= 1;
            if timeout.timed_out() && !is_permanent && state.runnable() == 0 {
                state.threads -= 1;
                return None;
            }
        }
    }
}

impl State {
    fn insert(&mut self, place: Place, job: Job) {
        self.waiting_background += usize::from(place.0 == Class::Background);
        self.waiting.insert(place, job);
    }

    fn remove(&mut self, place: Place) -> Option<Job> {
        let job = self.waiting.remove(&place)?;
        self.waiting_background -= usize::from(place.0 == Class::Background);
        Some(job)
    }

    /// How many of the waiting jobs may run now.
    fn runnable(&self) -> usize {
        let allowed = self.background_limit.saturating_sub(self.background_running);
        self.waiting.len() - self.waiting_background + self.waiting_background.min(allowed)
    }

    fn next_allowed(&mut self) -> Option<(Class, Job)> {
        if self.runnable() == 0 {
            return None;
        }
        let (&place, _) = self.waiting.first_key_value()?;
        let job = self.remove(place)?;
        self.background_running += usize::from(place.0 == Class::Background);
        Some((place.0, job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use std::sync::mpsc;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn queue(threads: usize, background_limit: usize) -> JobQueue {
        let timer = Timer::new(Arc::new(SystemClock));
        let queue = JobQueue::start("test", threads, &timer).expect("threads start");
        queue.set_background_limit(background_limit);
        queue
    }

    #[test]
    fn foreground_job_overtakes_waiting_background_jobs() {
        let queue = queue(1, 1);
        let (sender, receiver) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        queue.push(Class::Foreground, move || gate.recv().unwrap_or_default());
        for (class, number) in [(Class::Background, 2), (Class::Background, 3), (Class::Foreground, 1)] {
            let sender = sender.clone();
            assert!(queue.push(class, move || sender.send(number).unwrap_or_default()));
        }
        release.send(()).expect("the gate waits");
        let order: Vec<i32> = (0..3).map(|_| receiver.recv_timeout(PATIENCE).expect("job runs")).collect();
        assert_eq!(order, [1, 2, 3]);
    }

    #[test]
    fn background_jobs_leave_threads_to_the_foreground() {
        let queue = queue(2, 1);
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..2 {
            let gate = Arc::clone(&gate);
            queue.push(Class::Background, move || lock(&gate).recv().unwrap_or_default());
        }
        let (sender, receiver) = mpsc::channel();
        queue.push(Class::Foreground, move || sender.send(()).unwrap_or_default());
        receiver.recv_timeout(PATIENCE).expect("runs beside the blocked background job");
        drop(release);
    }

    #[test]
    fn raised_background_limit_starts_what_waits() {
        let queue = queue(4, 0);
        let (sender, receiver) = mpsc::channel();
        for _ in 0..3 {
            let sender = sender.clone();
            queue.push(Class::Background, move || sender.send(()).unwrap_or_default());
        }
        assert!(receiver.try_recv().is_err());
        queue.set_background_limit(3);
        for _ in 0..3 {
            receiver.recv_timeout(PATIENCE).expect("runs now");
        }
    }

    #[test]
    fn panicking_job_leaves_its_thread_alive_and_counts_as_over() {
        let queue = queue(1, 1);
        queue.push(Class::Foreground, || panic!("on purpose"));
        let (sender, receiver) = mpsc::channel();
        queue.push(Class::Foreground, move || sender.send(()).unwrap_or_default());
        receiver.recv_timeout(PATIENCE).expect("the thread goes on");
        queue.push(Class::Foreground, || {});
        let (sender, receiver) = mpsc::channel();
        queue.push(Class::Foreground, move || sender.send(()).unwrap_or_default());
        receiver.recv_timeout(PATIENCE).expect("the thread goes on");
        assert!(lock(&queue.shared.state).live[0] <= 1);
    }

    #[test]
    fn full_class_refuses_further_jobs() {
        let queue = queue(1, 0);
        for _ in 0..MAX_BACKGROUND_JOBS {
            assert!(queue.push(Class::Background, || {}));
        }
        assert!(!queue.push(Class::Background, || {}));
        assert!(queue.push(Class::Foreground, || {}));
    }

    #[test]
    fn threads_are_started_for_work_only_and_no_more_than_allowed() {
        let queue = queue(3, 0);
        assert_eq!(lock(&queue.shared.state).threads, 1);
        let (release, gate) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..5 {
            let (gate, started) = (Arc::clone(&gate), started.clone());
            queue.push(Class::Foreground, move || {
                let _ = started.send(());
                lock(&gate).recv().unwrap_or_default();
            });
        }
        for _ in 0..3 {
            running.recv_timeout(PATIENCE).expect("three threads run");
        }
        assert_eq!(lock(&queue.shared.state).threads, 3);
        drop(release);
        for _ in 0..2 {
            running.recv_timeout(PATIENCE).expect("the others run after them");
        }
    }
}
