//! `koofs doctor`: goes step by step through what a mount relies on, and says of each what was seen and what follows.
//!
//! What is known of the service is its documentation (src/koodrive/API.md), which leaves much open; each line names the sections that
//! it settles. Opens and reads by the code of a mount, below its public doors, within limits that hold whatever happens.
//!
//! ```text
//! steps (name, section, run) -> opening, listing, walk, content -> examination (what is known, how is asked) -> finding
//! ```
//!
//! No line has a name, an id, a link or a message of the service: lines are of our own words, numbers, and codes that look like the
//! service's. One thread; no locks.

mod content;
mod examination;
mod finding;
mod listing;
mod opening;
mod report;
mod steps;
mod walk;

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{DoctorConfig, Edition, Source};
use crate::koodrive::OpenError;
use examination::Examination;
pub use examination::{MAX_BYTES, MAX_REQUESTS};
use finding::{Finding, Mark};
use steps::STEPS;

/// Why a mount will not work, or the examination did not.
#[derive(Debug)]
pub enum Failed {
    /// The source cannot be opened.
    Opening(OpenError),
    /// So many steps say that a mount does not work.
    Steps(usize),
    /// The report's file cannot be made or written.
    Report(PathBuf, io::Error),
    /// Standard output does not take it.
    Output(io::Error),
}

/// Examines the source and prints a line for each step as soon as it is known; writes them to the report too.
///
/// # Errors
/// [`Failed`]; the lines are printed, and the report written, if it is a matter of the source.
pub fn run(config: &DoctorConfig, clock: &Arc<dyn Clock>, out: &mut dyn Write) -> Result<(), Failed> {
    let path = config.report.as_deref();
    let failed = |error| Failed::Report(path.map(PathBuf::from).unwrap_or_default(), error);
    // Before anything is asked: it may be there already.
    let mut report = path.map(report::create).transpose().map_err(failed)?;
    let mut note = |line: &str| report.as_mut().map_or(Ok(()), |report| writeln!(report, "{line}")).map_err(failed);
    let version = env!("CARGO_PKG_VERSION");
    note(&format!("koofs doctor {version}: {}", described(&config.source)))?;
    note("Columns: mark, step, sections of src/koodrive/API.md, what was seen and what follows.")?;

    let mut run = Examination::new(&config.source, Arc::clone(clock));
    let mut bad = 0;
    for step in STEPS {
        let Finding { mark, text } = if clock.now() < run.end {
            (step.run)(&mut run).unwrap_or_else(|finding| finding)
        } else {
            Finding::left_out("the time of this command is over")
        };
        bad += usize::from(mark == Mark::Bad);
        let line = format!("{} {:<12} {:<10} {text}", mark.sign(), step.name, step.section);
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Failed::Output)?;
        note(&line)?;
    }
    let (requests, bytes) = (run.meter.requests(), run.meter.bytes());
    let verdict = if bad == 0 { "a mount will work" } else { "a mount will not work, or not for all files" };
    let line = format!("{requests} requests, {bytes} bytes: {verdict}");
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Failed::Output)?;
    note(&line)?;
    match (run.opened, bad) {
        (Some(Err(error)), _) => Err(Failed::Opening(error)),
        (_, 0) => Ok(()),
        (_, bad) => Err(Failed::Steps(bad)),
    }
}

/// What kind of source, without its name.
fn described(source: &Source) -> String {
    match source {
        Source::Share(share) => {
            let edition = if matches!(share.edition, Edition::Carrier { .. }) { "carrier" } else { "enterprise" };
            let code = if share.access_code.is_some() { "with" } else { "without" };
            format!("a share of the {edition} edition, {code} an access code")
        }
        Source::Space(_) => format!("a {}", source.kind()),
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Opening(_) => f.write_str("the source cannot be opened"),
            Failed::Steps(1) => f.write_str("one step does not work: see the line with \u{2717}"),
            Failed::Steps(count) => write!(f, "{count} steps do not work: see the lines with \u{2717}"),
            Failed::Report(path, error) if error.kind() == io::ErrorKind::AlreadyExists => {
                write!(f, "{} exists already: give --report another name", path.display())
            }
            Failed::Report(path, _) => write!(f, "cannot write the report {}", path.display()),
            Failed::Output(_) => f.write_str("cannot write what was seen"),
        }
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Failed::Opening(error) => Some(error),
            Failed::Report(_, error) if error.kind() == io::ErrorKind::AlreadyExists => None,
            Failed::Report(_, error) | Failed::Output(error) => Some(error),
            Failed::Steps(_) => None,
        }
    }
}
