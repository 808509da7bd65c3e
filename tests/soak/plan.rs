//! What a run does, chosen by its seed: the mount and its service, then phase after phase. The same seed makes the same choices;
//! what comes of them also depends on the machine.

use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::emulator::faults::FAULT_HELP;
use crate::emulator::knobs::{BatchRefusal, DownloadLinks, LastCursor, NumberShape};
use crate::emulator::sign::LinkStyle;
use crate::emulator::{Fault, FaultKind, Knobs, Replacement};

/// The access code of the share.
pub(crate) const ACCESS_CODE: &str = "a1B2c3D4";

/// How much a run does at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) folders: usize,
    pub(crate) files: usize,
    /// Entries of the largest directory.
    pub(crate) many: usize,
    pub(crate) big_files: &'static [u64],
    /// How long a phase lasts, in ms: at least, at most.
    pub(crate) phase_ms: (u64, u64),
    /// How long nobody is there after each phase.
    pub(crate) silence: Duration,
    /// After each phase one of so many files is read whole.
    pub(crate) audit_one_of: u64,
    /// The kinds of the first phases; later ones are chosen.
    pub(crate) first: &'static [Kind],
}

/// What `scripts/soak` does.
pub(crate) const FULL: Scale = Scale {
    folders: 60,
    files: 1200,
    many: 1500,
    big_files: &[600 << 20, 40 << 20, 40 << 20, 12 << 20],
    phase_ms: (8_000, 15_000),
    silence: Duration::from_secs(4),
    audit_one_of: 12,
    first: &[Kind::Calm, Kind::Everything, Kind::Changes, Kind::Faults, Kind::Expiries],
};

/// For the suite: does it work at all?
pub(crate) const SMOKE: Scale = Scale {
    folders: 20,
    files: 200,
    many: 300,
    big_files: &[40 << 20],
    phase_ms: (3_000, 4_000),
    silence: Duration::from_secs(2),
    audit_one_of: 3,
    first: &[Kind::Calm, Kind::Everything],
};

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// A share with an access code.
    Share,
    /// The own space behind a login.
    Space,
}

/// What stays the same for a whole run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) source: SourceKind,
    pub(crate) ttl: Duration,
    pub(crate) op_timeout: Duration,
    pub(crate) memory: &'static str,
    pub(crate) folders: usize,
    pub(crate) files: usize,
    pub(crate) many: usize,
    pub(crate) big_files: &'static [u64],
    pub(crate) page: u32,
    latency: Duration,
    link_style: LinkStyle,
    listing_links: bool,
    links_shape: DownloadLinks,
    shape: NumberShape,
    batch_refusal: BatchRefusal,
    redirects: bool,
}

impl Run {
    pub(crate) fn choose(seed: u64, scale: &Scale) -> Run {
        let random = &mut stream(seed, "run", 0);
        let seconds = |random: &mut fastrand::Rng, all: &[u64]| Duration::from_secs(*random.choice(all).unwrap());
        Run {
            source: *random.choice(&[SourceKind::Share, SourceKind::Space]).unwrap(),
            ttl: seconds(random, &[300, 300, 60, 2]),
            op_timeout: seconds(random, &[4, 6, 9]),
            memory: random.choice(&["16M", "16M", "64M", "256M"]).unwrap(),
            folders: scale.folders,
            files: scale.files,
            many: scale.many,
            big_files: scale.big_files,
            page: *random.choice(&[9, 40, 100]).unwrap(),
            latency: Duration::from_millis(*random.choice(&[0, 0, 3, 15]).unwrap()),
            link_style: *random.choice(&[LinkStyle::V4, LinkStyle::ObsV2, LinkStyle::S3V2, LinkStyle::Opaque]).unwrap(),
            listing_links: random.bool(),
            links_shape: *random.choice(&[DownloadLinks::Array, DownloadLinks::MapOfObjects]).unwrap(),
            shape: *random.choice(&[NumberShape::Number, NumberShape::String]).unwrap(),
            redirects: random.u8(..4) == 0,
            batch_refusal: *random
                .choice(&[BatchRefusal::Entries, BatchRefusal::Code, BatchRefusal::Parameter])
                .unwrap(),
        }
    }

    /// The service when nothing goes wrong.
    pub(crate) fn knobs(&self) -> Knobs {
        Knobs {
            access_code: Some(ACCESS_CODE.to_owned()),
            page_cap: self.page,
            api_latency: self.latency,
            object_latency: self.latency,
            jitter: self.latency / 2,
            link_style: self.link_style,
            listing_links: self.listing_links,
            download_links: self.links_shape,
            size_shape: self.shape,
            batch_refusal: self.batch_refusal,
            last_cursor: LastCursor::Cycle,
            redirect_objects: self.redirects,
            ..Knobs::default()
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} with --ttl {} --op-timeout {} --memory {}; pages of {}, latency {} ms, links {:?}{}{}",
            if self.source == SourceKind::Share { "a share" } else { "a space" },
            self.ttl.as_secs(),
            self.op_timeout.as_secs(),
            self.memory,
            self.page,
            self.latency.as_millis(),
            self.link_style,
            if self.listing_links { " in listings" } else { "" },
            if self.redirects { ", redirected" } else { "" },
        )
    }
}

/// What happens to a file that gets other content.
pub(crate) const RENEWALS: [Replacement; 3] = [Replacement::SameObject, Replacement::NewObject, Replacement::NewId];

/// What a phase is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing goes wrong and nothing changes: requests are compared with the least possible.
    Calm,
    /// Links and tokens live for seconds, and are revoked.
    Expiries,
    /// The tree changes.
    Changes,
    /// Requests fail.
    Faults,
    /// All of it.
    Everything,
}

impl Kind {
    pub(crate) fn has_faults(self) -> bool {
        matches!(self, Kind::Faults | Kind::Everything)
    }

    pub(crate) fn has_changes(self) -> bool {
        matches!(self, Kind::Changes | Kind::Everything)
    }

    pub(crate) fn has_expiries(self) -> bool {
        matches!(self, Kind::Expiries | Kind::Everything)
    }
}

/// A change of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    AddFile,
    AddFolder,
    Remove,
    Recycle,
    Rename,
    Move,
    Replace(Replacement),
    /// As long as before, and of the same time: only the tag tells.
    Overwrite,
}

const CHANGES: [Change; 11] = [
    Change::AddFile,
    Change::AddFolder,
    Change::Remove,
    Change::Recycle,
    Change::Rename,
    Change::Move,
    Change::Replace(Replacement::SameObject),
    Change::Replace(Replacement::NewObject),
    Change::Replace(Replacement::NewObjectOldStays),
    Change::Replace(Replacement::NewId),
    Change::Overwrite,
];

/// Something that happens in the middle of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Change(Change),
    /// The file that changes often gets other content; `true`: of the same time.
    Hot(bool),
    /// `koofs refresh` of the whole mount.
    RefreshAll,
    /// `koofs refresh` of some directory.
    RefreshSome,
    /// SIGHUP.
    Signal,
    RevokeLinks,
    RevokeTokens,
    RevokeRefreshTokens,
    /// No request is answered any more, or all are again.
    Away(bool),
}

/// One phase.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) duration: Duration,
    pub(crate) workers: usize,
    pub(crate) faults: Vec<Fault>,
    /// So many files have other content when it begins, so that there is something to ask for.
    pub(crate) renewed: usize,
    /// The kernel gives up its pages before it begins.
    pub(crate) forgets: bool,
    /// What happens when, in order.
    pub(crate) events: Vec<(Duration, Event)>,
    /// How long links and tokens live; `None` is long.
    pub(crate) lifetime: Option<Duration>,
}

impl Phase {
    pub(crate) fn choose(seed: u64, number: u64, source: SourceKind, scale: &Scale) -> Phase {
        let random = &mut stream(seed, "phase", number);
        let later = [Kind::Calm, Kind::Expiries, Kind::Changes, Kind::Faults, Kind::Everything, Kind::Everything];
        let kind = usize::try_from(number).ok().and_then(|nth| scale.first.get(nth)).copied();
        let kind = kind.unwrap_or_else(|| *random.choice(&later).unwrap());
        let duration = Duration::from_millis(random.u64(scale.phase_ms.0..=scale.phase_ms.1));
        let mut events = Vec::new();
        let mut some =
            |random: &mut fastrand::Rng, count: usize, event: &mut dyn FnMut(&mut fastrand::Rng) -> Event| {
                for _ in 0..count {
                    events.push((duration.mul_f64(random.f64() * 0.9), event(random)));
                }
            };
        if kind.has_changes() {
            let count = random.usize(4..40);
            some(random, count, &mut |random| Event::Change(*random.choice(&CHANGES).unwrap()));
        }
        if kind.has_changes() {
            let count = random.usize(..60);
            some(random, count, &mut |random| Event::Hot(random.u8(..3) == 0));
        }
        if kind.has_expiries() {
            let revocations = [Event::RevokeLinks, Event::RevokeTokens, Event::RevokeRefreshTokens];
            let count = random.usize(1..6);
            some(random, count, &mut |random| *random.choice(&revocations).unwrap());
        }
        if kind != Kind::Calm {
            let refreshes = [Event::RefreshAll, Event::RefreshSome, Event::Signal];
            let count = random.usize(..6);
            some(random, count, &mut |random| *random.choice(&refreshes).unwrap());
        }
        if kind.has_faults() && random.u8(..3) == 0 {
            let start = duration.mul_f64(0.1 + 0.5 * random.f64());
            events.push((start, Event::Away(true)));
            events.push((start + Duration::from_millis(random.u64(200..4000)), Event::Away(false)));
        }
        events.sort_by_key(|(at, _)| *at);
        let faults = if kind.has_faults() { faults(random, source) } else { Vec::new() };
        let lifetime = kind.has_expiries().then(|| Duration::from_millis(random.u64(1500..5000)));
        let renewed = if number == 0 { 0 } else { random.usize(..scale.files / 5) };
        let workers = random.usize(2..=5);
        Phase { number, kind, duration, workers, faults, renewed, forgets: random.bool(), events, lifetime }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{:?}, {} workers, {:.1} s", self.kind, self.workers, self.duration.as_secs_f64());
        // Writing to a String cannot fail.
        if let Some(lifetime) = self.lifetime {
            let _ = write!(text, ", links and tokens live {:.1} s", lifetime.as_secs_f64());
        }
        let _ = write!(text, ", {} files renewed, {} events", self.renewed, self.events.len());
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        if !faults.is_empty() {
            let _ = write!(text, "; {}", faults.join(" "));
        }
        f.write_str(&text)
    }
}

/// Some faults of some kinds, some often and some seldom.
fn faults(random: &mut fastrand::Rng, source: SourceKind) -> Vec<Fault> {
    let endpoints: &[&str] = match source {
        SourceKind::Share => &["files", "download", "verify"],
        SourceKind::Space => &["spaceFiles", "spaceDownload", "login", "refreshToken"],
    };
    (0..random.usize(1..=6))
        .map(|_| {
            let (name, place, _) = FAULT_HELP[random.usize(..FAULT_HELP.len())];
            let kind: FaultKind = name.parse().unwrap();
            let on_api = place == "api" || (place == "both" && random.bool());
            let fault = match kind {
                // These two are about one call only.
                FaultKind::PartialBatch | FaultKind::BatchGap => Fault::api("spaceDownload", kind),
                _ if !on_api => Fault::object(kind),
                _ if random.bool() => Fault::any_api(kind),
                _ => Fault::api(random.choice(endpoints).unwrap(), kind),
            };
            let chance = *random.choice(&[0.02, 0.05, 0.1, 0.2, 0.5, 0.9]).unwrap();
            let fault = fault.probability(chance, random.u64(..));
            let fault = if random.u8(..3) == 0 { fault.limit(random.u64(1..30)) } else { fault };
            match kind {
                FaultKind::Throttle | FaultKind::SlowDown | FaultKind::Unavailable => {
                    let after = [None, None, Some(Duration::from_secs(1)), Some(Duration::from_secs(2))];
                    fault.retry_after(*random.choice(&after).unwrap())
                }
                FaultKind::Stall | FaultKind::Truncate | FaultKind::ResetBody if random.bool() => {
                    fault.after_bytes(random.u64(..70_000))
                }
                _ => fault,
            }
        })
        .collect()
}

/// A generator of its own for each purpose, so that one more choice here does not change those there.
pub(crate) fn stream(seed: u64, purpose: &str, number: u64) -> fastrand::Rng {
    let mut mixed = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in purpose.bytes() {
        mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    fastrand::Rng::with_seed(mixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_chooses_the_same() {
        let all = |seed: u64| {
            let run = Run::choose(seed, &FULL);
            let phases: Vec<String> =
                (0..30).map(|number| format!("{:?}", Phase::choose(seed, number, run.source, &FULL))).collect();
            (run.to_string(), phases)
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
    }

    #[test]
    fn every_kind_of_fault_and_change_comes_in_a_few_hours() {
        let phases: Vec<Phase> = (0..800).map(|number| Phase::choose(3, number, SourceKind::Space, &FULL)).collect();
        let faults: std::collections::BTreeSet<&str> =
            phases.iter().flat_map(|phase| phase.faults.iter().map(|fault| fault.kind.name())).collect();
        assert_eq!(faults.len(), FAULT_HELP.len());
        for change in CHANGES {
            assert!(phases.iter().any(|phase| phase.events.iter().any(|(_, event)| *event == Event::Change(change))));
        }
        assert!(phases.iter().flat_map(|phase| &phase.faults).all(|fault| fault.check().is_ok()));
    }
}
