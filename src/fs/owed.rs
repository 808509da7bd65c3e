//! The reply that an operation owes the kernel: sent exactly once, with the result or at the deadline, whichever comes first.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use super::FsError;
use super::killed::Killed;
use crate::clock::{Timer, TimerKey};
use crate::sync::lock;

/// Called with an operation's result; usually sends a reply.
pub type Done<T> = Box<dyn FnOnce(Result<T, FsError>) + Send>;

/// The right to answer one operation. Clones share it; the first to answer wins.
pub struct Owed<T>(Arc<Shared<T>>);

struct Shared<T> {
    done: Mutex<Option<Done<T>>>,
    timer: Arc<Timer>,
    deadline: OnceLock<TimerKey>,
    watched: OnceLock<(Arc<Killed>, u64)>,
}

impl<T> Clone for Owed<T> {
    fn clone(&self) -> Owed<T> {
        Owed(Arc::clone(&self.0))
    }
}

impl<T: 'static> Owed<T> {
    /// Will call `done` with [`FsError::DeadlinePassed`] at `deadline`, if nobody has answered by then.
    pub fn new(timer: &Arc<Timer>, deadline: Instant, done: Done<T>) -> Owed<T> {
        let (done, timer_of_it) = (Mutex::new(Some(done)), Arc::clone(timer));
        let shared = Shared { done, timer: timer_of_it, deadline: OnceLock::new(), watched: OnceLock::new() };
        let owed = Owed(Arc::new(shared));
        let at_deadline = owed.clone();
        let key = timer.at(deadline, move || at_deadline.answer_with(|| Err(FsError::DeadlinePassed)));
        let _ = owed.0.deadline.set(key);
        if owed.is_answered() {
            timer.cancel(key);
        }
        owed
    }

    /// The same, answered with [`FsError::Killed`] if `thread`, which waits for it, is killed.
    pub(super) fn of_thread(self, thread: u32, killed: &Arc<Killed>) -> Owed<T> {
        let at_kill = self.clone();
        let end = move || at_kill.answer_with(|| Err(FsError::Killed));
        if let Some(number) = killed.add(thread, Box::new(end)) {
            let _ = self.0.watched.set((Arc::clone(killed), number));
            if self.is_answered() {
                killed.remove(number);
            }
        }
        self
    }

    /// Answers with what `result` gives. If the operation is answered already, `result` is not even asked: what it would
    /// count or take, it must not.
    pub fn answer_with(&self, result: impl FnOnce() -> Result<T, FsError>) {
        let Some(done) = lock(&self.0.done).take() else { return };
        if let Some(key) = self.0.deadline.get() {
            self.0.timer.cancel(*key);
        }
        if let Some((killed, number)) = self.0.watched.get() {
            killed.remove(*number);
        }
        done(result());
    }

    /// Whether it has been answered: then nobody waits any more.
    pub fn is_answered(&self) -> bool {
        lock(&self.0.done).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn first_answer_wins_and_the_deadline_comes_too_late() {
        let timer = Timer::new(Arc::new(SystemClock));
        let (sender, receiver) = mpsc::channel();
        let owed = Owed::new(&timer, Instant::now(), Box::new(move |result| drop(sender.send(result))));
        owed.answer_with(|| Ok(1));
        owed.answer_with(|| unreachable!("answered already"));
        timer.run_due();
        assert_eq!(receiver.try_iter().map(Result::ok).collect::<Vec<_>>(), [Some(1)]);
    }

    #[test]
    fn deadline_answers_what_nobody_has_answered() {
        let timer = Timer::new(Arc::new(SystemClock));
        let (sender, receiver) = mpsc::channel();
        let past = Instant::now() - Duration::from_millis(1);
        let owed: Owed<u32> = Owed::new(&timer, past, Box::new(move |result| drop(sender.send(result))));
        timer.run_due();
        assert!(owed.is_answered());
        assert!(matches!(receiver.try_recv(), Ok(Err(FsError::DeadlinePassed))));
    }
}
