//! The suite's only logger: keeps every line that anything in this process logs, once a test has asked for it. Not those of the
//! emulator, which is the service: it may repeat what it was sent.

use std::sync::{Mutex, Once};

use koofs::sync::lock;

static LOG: Mutex<String> = Mutex::new(String::new());
static START: Once = Once::new();

struct LogKeeper;

impl log::Log for LogKeeper {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("suite::emulator") {
            return;
        }
        // Written first: what is logged may panic while it is written.
        let line = format!("{} {}\n", record.target(), record.args());
        *lock(&LOG) += &line;
    }

    fn flush(&self) {}
}

/// Keeps all lines from now on, of all levels.
pub(crate) fn keep_log() {
    START.call_once(|| {
        log::set_logger(&LogKeeper).expect("this is the suite's only logger");
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// What was logged so far, by all tests.
pub(crate) fn kept_log() -> String {
    lock(&LOG).clone()
}
