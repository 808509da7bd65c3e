//! Laws of tickets, over tasks that do as they are told.
#![cfg(test)]

use super::*;
use crate::clock::{BootTime, Clock, SystemClock, Timer};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::SystemTime;

const PATIENCE: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(10);

/// A clock that stands still until it is moved.
struct StillClock {
    start: Instant,
    passed: Mutex<Duration>,
}

impl Clock for StillClock {
    fn now(&self) -> Instant {
        self.start + *lock(&self.passed)
    }

    fn boot(&self) -> BootTime {
        BootTime::new(*lock(&self.passed))
    }

    fn utc(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, _pause: Duration) {}
}

/// What happens to a scripted task, in order.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// An attempt, with so much time left.
    Attempt(Duration),
    End(End),
}

/// Answers each attempt by the next of its script; without one it panics.
struct Scripted {
    script: Mutex<VecDeque<Attempt>>,
    clock: Arc<StillClock>,
    seen: Sender<Seen>,
    retries_guesses: bool,
}

impl Task for Scripted {
    fn attempt(&self, _ticket: &Ticket, deadline: Instant) -> Attempt {
        let _ = self.seen.send(Seen::Attempt(deadline.saturating_duration_since(self.clock.now())));
        let next = lock(&self.script).pop_front();
        next.unwrap_or_else(|| panic!("scripted"))
    }

    fn end(&self, why: End) {
        let _ = self.seen.send(Seen::End(why));
    }

    fn retries_guesses(&self) -> bool {
        self.retries_guesses
    }
}

struct Bench {
    clock: Arc<StillClock>,
    timer: Arc<Timer>,
    queue: JobQueue,
}

impl Bench {
    fn new() -> Bench {
        let clock = Arc::new(StillClock { start: Instant::now(), passed: Mutex::default() });
        let timer = Timer::new(Arc::clone(&clock) as _);
        let queue = JobQueue::start("test", 1, &timer).unwrap_or_else(|error| panic!("{error}"));
        queue.set_background_limit(1);
        Bench { queue, clock, timer }
    }

    fn ticket(&self, script: impl IntoIterator<Item = Attempt>, retries_guesses: bool) -> (Ticket, Receiver<Seen>) {
        let (seen, saw) = channel();
        let script = Mutex::new(script.into_iter().collect());
        let task = Scripted { script, clock: Arc::clone(&self.clock), seen, retries_guesses };
        (self.queue.ticket(Arc::new(task), TIMEOUT), saw)
    }

    /// Keeps the only thread busy until what it returns is dropped.
    fn occupy(&self) -> Sender<()> {
        let (release, gate) = channel();
        let (started, running) = channel();
        self.queue.push(Class::Foreground, move || {
            started.send(()).unwrap_or_default();
            gate.recv().unwrap_or_default();
        });
        next(&running);
        release
    }

    fn pass(&self, time: Duration) {
        *lock(&self.clock.passed) += time;
        self.timer.run_due();
    }

    /// Waits until the queue has done what was pushed before.
    fn settle(&self) {
        drop(self.occupy());
    }
}

fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error}"))
}

fn failed(kind: FailureKind) -> Attempt {
    Attempt::Failed(Failure { kind, retry_after: None, has_progressed: false })
}

#[test]
fn time_of_a_guess_starts_with_its_first_attempt_and_anew_for_who_asks() {
    let bench = Bench::new();
    let (guess, saw) = bench.ticket([Attempt::Done], false);
    let busy = bench.occupy();
    guess.start(Urgency::Guess);
    bench.pass(TIMEOUT * 2);
    drop(busy);
    assert_eq!(next(&saw), Seen::Attempt(TIMEOUT));

    let (guess, saw) = bench.ticket([Attempt::Done], false);
    let busy = bench.occupy();
    guess.start(Urgency::Guess);
    bench.pass(TIMEOUT / 2);
    assert!(guess.promote(bench.clock.now() + TIMEOUT * 3));
    drop(busy);
    assert_eq!(next(&saw), Seen::Attempt(TIMEOUT * 3));
}

#[test]
fn promoted_guess_goes_before_other_guesses() {
    let bench = Bench::new();
    let busy = bench.occupy();
    let tickets: Vec<_> = (0..3).map(|_| bench.ticket([Attempt::Done], false)).collect();
    let order = Arc::new(Mutex::new(Vec::new()));
    for (ticket, _) in &tickets {
        ticket.start(Urgency::Guess);
    }
    assert!(tickets[2].0.promote(bench.clock.now() + TIMEOUT));
    let seen = Arc::clone(&order);
    bench.queue.push(Class::Foreground, move || lock(&seen).push("after the promoted one"));
    drop(busy);
    next(&tickets[2].1);
    bench.settle();
    assert_eq!(lock(&order).len(), 1);
    next(&tickets[0].1);
    next(&tickets[1].1);
}

#[test]
fn ticket_that_is_over_cannot_be_promoted_and_lets_go_of_its_task() {
    let bench = Bench::new();
    let (ticket, saw) = bench.ticket([Attempt::Done], false);
    ticket.start(Urgency::Awaited(bench.clock.now() + TIMEOUT));
    next(&saw);
    bench.settle();
    assert!(!ticket.promote(bench.clock.now() + TIMEOUT));
    assert_eq!(saw.recv_timeout(PATIENCE), Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn guess_that_has_gone_far_enough_goes_on_when_somebody_asks() {
    let bench = Bench::new();
    let (ticket, saw) = bench.ticket([Attempt::Next, Attempt::Enough, Attempt::Enough, Attempt::Done], false);
    ticket.start(Urgency::Guess);
    next(&saw);
    next(&saw);
    bench.settle();
    assert!(saw.try_recv().is_err(), "parked");
    assert!(ticket.promote(bench.clock.now() + TIMEOUT));
    next(&saw);
    next(&saw);
    bench.settle();
    assert!(!ticket.promote(bench.clock.now() + TIMEOUT));
}

/// Is a guess again in each attempt, and wanted again at once where its script says so; has enough after each.
struct Demoting(Mutex<VecDeque<bool>>, Sender<bool>);

impl Task for Demoting {
    fn attempt(&self, ticket: &Ticket, deadline: Instant) -> Attempt {
        ticket.demote();
        let Some(is_wanted) = lock(&self.0).pop_front() else { return Attempt::Done };
        if is_wanted {
            ticket.promote(deadline);
        }
        let _ = self.1.send(ticket.is_guess());
        Attempt::Enough
    }

    fn end(&self, _why: End) {}

    fn retries_guesses(&self) -> bool {
        false
    }
}

#[test]
fn task_that_nobody_waits_for_any_more_is_a_guess_until_somebody_does() {
    let bench = Bench::new();
    let (seen, saw) = channel();
    let ticket = bench.queue.ticket(Arc::new(Demoting(Mutex::new([true, false, false].into()), seen)), TIMEOUT);
    ticket.start(Urgency::Awaited(bench.clock.now() + TIMEOUT));
    assert!(!next(&saw), "wanted again before its attempt is over: it goes on");
    assert!(next(&saw));
    bench.settle();
    assert!(saw.try_recv().is_err(), "parked");
    assert!(ticket.promote(bench.clock.now() + TIMEOUT));
    assert!(next(&saw));
    bench.settle();
    assert!(ticket.promote(bench.clock.now() + TIMEOUT));
    bench.settle();
    assert!(!ticket.promote(bench.clock.now() + TIMEOUT), "done");
}

#[test]
fn failed_attempt_is_made_again_after_its_pause_and_holds_no_thread_meanwhile() {
    let bench = Bench::new();
    let (ticket, saw) = bench.ticket([failed(FailureKind::Transient), Attempt::Done], false);
    ticket.start(Urgency::Awaited(bench.clock.now() + TIMEOUT));
    next(&saw);
    bench.settle();
    assert!(saw.try_recv().is_err());
    bench.pass(retry::FIRST_PAUSE);
    assert_eq!(next(&saw), Seen::Attempt(TIMEOUT - retry::FIRST_PAUSE));
}

#[test]
fn tries_end_with_the_deadline_and_the_task_is_told_once() {
    let bench = Bench::new();
    let (ticket, saw) = bench.ticket(vec![failed(FailureKind::Transient); 1000], false);
    ticket.start(Urgency::Awaited(bench.clock.now() + TIMEOUT));
    let mut attempts = 0;
    loop {
        match saw.recv_timeout(Duration::from_millis(10)) {
            Ok(Seen::Attempt(_)) => attempts += 1,
            Ok(Seen::End(why)) => break assert_eq!(why, End::Failed),
            Err(_) => bench.pass(Duration::from_millis(100)),
        }
    }
    assert!((5..100).contains(&attempts), "{attempts}");
    assert!(*lock(&bench.clock.passed) < TIMEOUT);
    bench.settle();
    assert!(saw.try_recv().is_err());
}

#[test]
fn failed_guess_is_tried_again_only_if_its_task_says_so_or_somebody_asks() {
    let bench = Bench::new();
    let (ticket, saw) = bench.ticket([failed(FailureKind::Transient)], false);
    ticket.start(Urgency::Guess);
    next(&saw);
    assert_eq!(next(&saw), Seen::End(End::Failed));
    assert!(!ticket.promote(bench.clock.now() + TIMEOUT));

    let (ticket, saw) = bench.ticket([failed(FailureKind::Interrupted), Attempt::Done], true);
    ticket.start(Urgency::Guess);
    next(&saw);
    next(&saw);

    let (ticket, saw) = bench.ticket([failed(FailureKind::Interrupted), Attempt::Done], false);
    let busy = bench.occupy();
    ticket.start(Urgency::Guess);
    assert!(ticket.promote(bench.clock.now() + TIMEOUT));
    drop(busy);
    next(&saw);
    next(&saw);
}

#[test]
fn panic_in_an_attempt_ends_the_task() {
    let bench = Bench::new();
    let (ticket, saw) = bench.ticket([], false);
    ticket.start(Urgency::Awaited(bench.clock.now() + TIMEOUT));
    next(&saw);
    assert_eq!(next(&saw), Seen::End(End::Panicked));
    bench.settle();
}

#[test]
fn cancelled_ticket_is_wanted_again_once_it_is_promoted() {
    let bench = Bench::new();
    let (ticket, saw) = bench.ticket([Attempt::Cancelled], false);
    ticket.cancel();
    assert!(ticket.is_cancelled());
    assert!(ticket.promote(Instant::now()));
    assert!(!ticket.is_cancelled());
    ticket.start(Urgency::Guess);
    next(&saw);
    assert_eq!(next(&saw), Seen::End(End::Cancelled));
}

#[test]
fn system_clock_runs_tickets_too() {
    let timer = Timer::new(Arc::new(SystemClock));
    let running = Arc::clone(&timer);
    let thread = std::thread::spawn(move || running.run());
    let queue = JobQueue::start("test", 1, &timer).unwrap_or_else(|error| panic!("{error}"));
    let (seen, saw) = channel();
    let clock = Arc::new(StillClock { start: Instant::now(), passed: Mutex::default() });
    let script = Mutex::new([failed(FailureKind::Transient), Attempt::Done].into());
    let ticket = queue.ticket(Arc::new(Scripted { script, clock, seen, retries_guesses: false }), TIMEOUT);
    ticket.start(Urgency::Awaited(Instant::now() + TIMEOUT));
    next(&saw);
    next(&saw);
    timer.close();
    drop(thread.join());
}
