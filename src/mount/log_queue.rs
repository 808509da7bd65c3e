//! Log lines on their way to a file or terminal, written by a thread of its own: whoever logs never waits for a terminal that
//! stands still, a full pipe or a disk that hangs.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// The most bytes of lines that wait to be written. What does not fit is dropped, and counted.
const MAX_WAITING_BYTES: usize = 256 * 1024;

/// How long a thread that logs waits for its line to be written, so that the log tells of something before others see its effect.
/// After one such wait in vain, nobody waits until all is written.
const MAX_LOGGING_WAIT: Duration = Duration::from_millis(20);

/// How long the end of the process waits for the last lines.
const MAX_FLUSH_WAIT: Duration = Duration::from_secs(1);

/// Where lines go in the end.
pub(super) type Sink = Box<dyn Write + Send>;

/// The lines, and who writes them. Clones share both.
#[derive(Clone)]
pub(super) struct LogQueue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    sink: Mutex<Sink>,
}

#[derive(Default)]
struct State {
    /// The thread runs: nobody else writes.
    has_thread: bool,
    waiting: Vec<u8>,
    dropped: u64,
    /// Lines that were taken in, and those that were written.
    taken_in: u64,
    written: u64,
    /// Somebody has waited for the sink in vain.
    is_stuck: bool,
}

impl LogQueue {
    /// Lines for `sink`. Until [`LogQueue::start_thread`] whoever logs writes them.
    pub(super) fn new(sink: Sink) -> LogQueue {
        LogQueue(Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), sink: Mutex::new(sink) }))
    }

    /// Starts a thread that writes the lines from now on.
    ///
    /// # Errors
    /// If the system has no more threads; whoever logs goes on to write then.
    pub(super) fn start_thread(&self) -> io::Result<()> {
        lock(&self.0.state).has_thread = true;
        let queue = self.clone();
        let started = thread::Builder::new().name("koofs-log".to_owned()).spawn(move || queue.write_forever());
        if let Err(error) = started {
            lock(&self.0.state).has_thread = false;
            return Err(error);
        }
        Ok(())
    }

    /// Waits until all lines are written, for a second at most.
    pub(super) fn flush(&self) {
        let last = lock(&self.0.state).taken_in;
        self.wait_for(last, MAX_FLUSH_WAIT);
    }

    fn take_in(&self, line: &[u8]) {
        let mut state = lock(&self.0.state);
        if !state.has_thread {
            drop(state);
            write(&self.0.sink, line);
            return;
        }
        if state.waiting.len() + line.len() > MAX_WAITING_BYTES {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        state.taken_in += 1;
        let (number, is_stuck) = (state.taken_in, state.is_stuck);
        drop(state);
        self.0.changed.notify_all();
        if !is_stuck && !self.wait_for(number, MAX_LOGGING_WAIT) {
            lock(&self.0.state).is_stuck = true;
        }
    }

    /// Whether so many lines are written within `patience`.
    fn wait_for(&self, number: u64, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = lock(&self.0.state);
        while state.has_thread && state.written < number {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        true
    }

    fn write_forever(&self) {
        let mut state = lock(&self.0.state);
        loop {
            if state.waiting.is_empty() && state.dropped == 0 {
                state.is_stuck = false;
                state = self.0.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
                continue;
            }
            let mut lines = std::mem::take(&mut state.waiting);
            let (dropped, last) = (std::mem::take(&mut state.dropped), state.taken_in);
            drop(state);
            if dropped > 0 {
                let now = jiff::Timestamp::now();
                let told = format!(
                    "{now:.3} WARN  koofs::log: {dropped} lines are missing here: they came faster than they could be written\n"
                );
                lines.extend_from_slice(told.as_bytes());
            }
            write(&self.0.sink, &lines);
            state = lock(&self.0.state);
            state.written = last;
            self.0.changed.notify_all();
        }
    }
}

/// A log that cannot be written is nobody's failure.
fn write(sink: &Mutex<Sink>, lines: &[u8]) {
    let mut sink = lock(sink);
    let _ = sink.write_all(lines).and_then(|()| sink.flush());
}

/// Each write is whole lines.
impl Write for LogQueue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take_in(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read;

    use super::*;

    fn log(queue: &LogQueue, line: &str) {
        writeln!(queue.clone(), "{line}").unwrap();
    }

    #[test]
    fn line_is_written_when_its_logger_goes_on() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let queue = LogQueue::new(Box::new(writer));
        let mut read = [0; 4];
        log(&queue, "one");
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"one\n");
        queue.start_thread().unwrap();
        log(&queue, "two");
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"two\n");
    }

    #[test]
    fn nobody_waits_for_a_sink_that_stands_still_and_what_is_lost_is_told() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let queue = LogQueue::new(Box::new(writer));
        queue.start_thread().unwrap();
        // Far more than pipe and queue hold. Each line that waited would wait for ever.
        let line = "x".repeat(999);
        for _ in 0..2000 {
            log(&queue, &line);
        }
        let mut text = String::new();
        let mut buffer = [0; 65536];
        while !text.contains("lines are missing here") {
            let count = reader.read(&mut buffer).unwrap();
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        assert!(text.lines().count() < 1000, "{}", text.lines().count());
        // And all is as before.
        queue.flush();
        log(&queue, "last");
        let count = reader.read(&mut buffer).unwrap();
        assert!(buffer[..count].ends_with(b"last\n"));
    }
}
