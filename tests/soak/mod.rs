//! The soak: a real mount of an emulator that is used, changed, refreshed and made to fail for as long as one likes, in phases
//! that a seed chooses. All that is seen in the mount is compared with what the service had.
//!
//! ```text
//! run (this file): phase after phase, silence, audit -> plan (what the seed chooses)
//!     workers -> ops (a program or the checker, and what must be true of what it saw) -> checker (the child), model (what there was)
//!     conductor: changes, refreshes, expiries -> world (emulator and model together)
//!     mount: the koofs process;  tally: what is counted and told
//! rounds: mount and unmount, before all that
//! ```
//!
//! A finding ends the run: an error that cannot be, a wrong byte or name, a hang, the death of the process, requests while nobody
//! is there, growth. Whoever touches the mount is a child process: this one must be able to say what happened.

mod checker;
mod model;
mod mount;
mod ops;
mod plan;
mod rounds;
mod tally;
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::emulator::{Counters, Fault, FaultKind};
use crate::mounted::{Watched, koofs};
pub(crate) use checker::{ACT, child};
use checker::{Act, Hints};
use model::TOP;
use mount::{Mount, owned};
use ops::{Facts, Op, Operation, Outcome, Terms};
use plan::{Change, Event, FULL, Kind, Phase, RENEWALS, Run, SMOKE, Scale, SourceKind, stream};
pub(crate) use rounds::rounds;
use tally::{Lines, Tally};
use world::World;

/// By so much an operation may be late on a machine that does other things as well: beyond it, it hangs.
const LATE_MARGIN: Duration = Duration::from_secs(4);
/// What is under way when everybody has gone may take an operation's time, and this.
const SETTLE_MARGIN: Duration = Duration::from_secs(10);
/// No request for so long means that nothing is under way.
const SETTLED: Duration = Duration::from_millis(500);
/// How long errors may outlast the faults that caused them: what is remembered of a failure is remembered for a minute at most.
const RECOVERY: Duration = Duration::from_secs(90);
/// In a phase where nothing goes wrong and listings live long, there are at most so many listing calls for each that is needed,
/// and so many more.
const MAX_LISTINGS_RATIO: u64 = 3;
const MAX_LISTINGS_MORE: u64 = 60;
/// After these phases memory, threads and descriptors must not grow any more, but for the margins below. They go up and down: what
/// counts is the least of as many phases.
const WARM_PHASES: usize = 4;
/// Resident memory, beyond what it was when it was warm, or beyond the budget.
const RESIDENT_MARGIN_KIB: u64 = 48 * 1024;
const THREADS_MARGIN: u64 = 24;
const DESCRIPTORS_MARGIN: u64 = 64;
/// Renewals of a login and upkeep, which go on while nobody is there: at most so many calls after a phase.
const MAX_UPKEEP: u64 = 6;

/// What a run is asked to do.
pub(crate) struct Settings {
    /// How long; the phase that has begun is ended.
    pub(crate) duration: Duration,
    pub(crate) seed: u64,
    /// For the suite: little at a time.
    pub(crate) is_smoke: bool,
    /// This program as a child, which is told by [`ACT`] what to do.
    pub(crate) child: fn(&str) -> Command,
    /// Ends the run as soon as may be.
    pub(crate) stop: &'static AtomicBool,
    /// How much koofs logs.
    pub(crate) verbose: u8,
    /// Where the log goes if there is a finding.
    pub(crate) keep: Option<PathBuf>,
}

/// Everything that the threads of a run share.
pub(crate) struct Soak {
    world: World,
    /// Where the mount is.
    mount: PathBuf,
    work: PathBuf,
    run: Run,
    limit: Duration,
    phase_max: Duration,
    child: fn(&str) -> Command,
    stop: &'static AtomicBool,
    hints: Mutex<Hints>,
    /// Whether rg is installed; grep does its work if not.
    has_ripgrep: bool,
    lines: Lines,
    /// The number of changes when the last refresh of the whole mount began that has ended.
    refreshed: AtomicU64,
    tally: Mutex<Tally>,
    /// When the process was last looked after, and the longest time between two looks in this phase.
    watched: Mutex<Instant>,
    stall_ms: AtomicU64,
    /// What happened when.
    notes: Mutex<fs::File>,
    failure: Mutex<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs; the summary, or what was found.
///
/// # Errors
/// The finding, with what is needed to look into it.
pub(crate) fn run(settings: &Settings) -> Result<String, String> {
    let scale = if settings.is_smoke { &SMOKE } else { &FULL };
    let seed = settings.seed;
    let run = Run::choose(seed, scale);
    println!("soak: seed {seed}, {:.1} minutes: {run}", settings.duration.as_secs_f64() / 60.0);
    let world = World::start(&run, &mut stream(seed, "tree", 0));
    // More than everything takes; whoever forgets to end has a watchdog.
    let limit = settings.duration * 2 + Duration::from_secs(1800);
    let mut mount = Mount::start(&world, &run, settings.verbose, limit)?;
    let work = mount.beside("work");
    fs::create_dir(&work).unwrap();
    let refreshed = AtomicU64::new(world.model().now());
    let notes = Mutex::new(fs::File::create(mount.beside("notes")).unwrap());
    let soak = Soak {
        notes,
        watched: Mutex::new(Instant::now()),
        stall_ms: AtomicU64::new(0),
        mount: mount.path().to_owned(),
        work,
        limit,
        phase_max: Duration::from_millis(scale.phase_ms.1) + RECOVERY,
        child: settings.child,
        stop: settings.stop,
        hints: Mutex::default(),
        has_ripgrep: is_installed("rg"),
        lines: Lines::new(),
        refreshed,
        tally: Mutex::default(),
        failure: Mutex::default(),
        world,
        run,
    };
    let started = Instant::now();
    let mut number = 0;
    let result = loop {
        let phase = Phase::choose(seed, number, soak.run.source, scale);
        if let Err(error) = soak.phase(seed, &phase, scale, &mut mount) {
            break Err(error);
        }
        number += 1;
        if started.elapsed() >= settings.duration && number >= scale.first.len() as u64 {
            break Ok(());
        }
    };
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    let logs = [("log", mount.log()), ("notes", mount.beside("notes"))].map(|(name, path)| (name, fs::read(path)));
    let ended = result.and_then(|()| mount.end()).and_then(|()| soak.at_the_end());
    let summary = lock(&soak.tally).summary(&soak.world.emulator.totals());
    let Err(finding) = ended else {
        return Ok(format!("{summary}\nno finding in {number} phases, {minutes:.1} minutes; seed {seed}"));
    };
    if settings.stop.load(Ordering::SeqCst) {
        return Err(format!(
            "{summary}\nstopped by a signal after {minutes:.1} minutes, no finding so far; seed {seed}"
        ));
    }
    let mut text = format!("{summary}\nFINDING in phase {number} after {minutes:.1} minutes, seed {seed}: {finding}");
    for (name, log) in logs {
        let Some(keep) = &settings.keep else { continue };
        let file = keep.join(format!("koofs-soak-{seed}.{name}"));
        match log.and_then(|log| fs::write(&file, log)) {
            Ok(()) => text += &format!("\nkept: {}", file.display()),
            Err(error) => text += &format!("\n{}: {error}", file.display()),
        }
    }
    Err(text)
}

impl Soak {
    fn mount_path(&self) -> &Path {
        &self.mount
    }

    fn hints_file(&self) -> PathBuf {
        self.work.join("hints")
    }

    fn hint(&self, path: &str) -> Option<u64> {
        lock(&self.hints).get(path).copied()
    }

    fn child(&self, act: &Act) -> Command {
        (self.child)(&serde_json::to_string(act).unwrap())
    }

    /// Calls that take longer are counted.
    fn late_ms(&self) -> u64 {
        self.run.op_timeout.as_millis() as u64 + 500
    }

    /// Calls that take longer hang; such a call may be so many operations. For as long as this process itself was not run in this
    /// phase, nobody else was.
    fn hang_ms(&self, operations: u64) -> u64 {
        let stall_ms = self.stall_ms.load(Ordering::SeqCst);
        self.run.op_timeout.as_millis() as u64 * operations + LATE_MARGIN.as_millis() as u64 + stall_ms
    }

    /// A process that was killed may go on waiting for the operation that it is in, and for one more.
    fn kill_limit(&self) -> Duration {
        self.run.op_timeout * 2 + LATE_MARGIN
    }

    fn phase_max(&self) -> Duration {
        self.phase_max
    }

    /// Notes what happens, for whoever looks into a finding.
    fn note(&self, what: &str) {
        let time = jiff::Timestamp::now();
        // The notes are an aid: a disk that is full is told of by whatever else needs it.
        let _ = writeln!(lock(&self.notes), "{time:.3} {what}");
    }

    /// Notes a finding: the first one ends the run.
    fn fail(&self, what: &str) {
        self.note(&format!("FINDING {what}"));
        lock(&self.failure).get_or_insert_with(|| what.to_owned());
    }

    fn is_ending(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || lock(&self.failure).is_some()
    }

    fn check(&self) -> Result<(), String> {
        let failure = lock(&self.failure).clone();
        if let Some(failure) = failure {
            return Err(failure);
        }
        if self.stop.load(Ordering::SeqCst) { Err("stopped by a signal".to_owned()) } else { Ok(()) }
    }

    /// Looks after the process while others work, or nobody.
    fn watch(&self, mount: &mut Mount) -> Result<(), String> {
        if let Some(status) = mount.ended() {
            self.fail(&format!("koofs has ended: {status}"));
        }
        lock(&self.tally).sampled(mount.sample());
        let since = std::mem::replace(&mut *lock(&self.watched), Instant::now()).elapsed();
        self.stall_ms.fetch_max(since.as_millis() as u64, Ordering::SeqCst);
        let checked = self.check();
        if checked.is_err() {
            // Whoever hangs is answered by the kernel then.
            mount.kill();
        }
        checked
    }

    /// Does one thing while the process is looked after.
    fn watched<T: Send>(&self, mount: &mut Mount, what: impl FnOnce() -> T + Send) -> Result<T, String> {
        std::thread::scope(|scope| {
            let done = scope.spawn(what);
            while !done.is_finished() {
                self.watch(mount)?;
                std::thread::sleep(Duration::from_millis(20));
            }
            self.watch(mount)?;
            done.join().map_err(|_| "the soak itself panicked".to_owned())
        })
    }

    // ---- one phase ----

    fn phase(&self, seed: u64, phase: &Phase, scale: &Scale, mount: &mut Mount) -> Result<(), String> {
        println!("phase {:3}: {phase}", phase.number);
        self.note(&format!("phase {}: {phase}", phase.number));
        let random = &mut stream(seed, "renewal", phase.number);
        for _ in 0..phase.renewed {
            let how = *random.choice(&RENEWALS).unwrap();
            let said = self.world.change(Change::Replace(how), random);
            self.note(&said);
        }
        if phase.forgets {
            let terms = self.terms(Kind::Calm, Instant::now() + self.phase_max);
            self.watched(mount, || self.operation(&ops::forget(), terms, &self.work.join("forget")))?;
        }
        self.refresh(TOP)?;
        let facts = Facts::new(self.world.model().below(TOP));
        *lock(&self.hints) = self.world.hints();
        fs::write(self.hints_file(), serde_json::to_vec(&*lock(&self.hints)).unwrap()).unwrap();
        let before = self.world.emulator.totals();
        let emulator = &self.world.emulator;
        if let Some(lifetime) = phase.lifetime {
            emulator.knobs(|knobs| {
                knobs.link_lifetime = lifetime;
                knobs.kdstoken_lifetime = lifetime;
                knobs.token_lifetime = lifetime;
            });
        }
        for fault in &phase.faults {
            emulator.fault(fault.clone());
        }
        lock(&self.tally).begin();
        *lock(&self.watched) = Instant::now();
        self.stall_ms.store(0, Ordering::SeqCst);
        let ends = Instant::now() + phase.duration;
        let pid = mount.pid();
        let watched: Result<(), String> = std::thread::scope(|scope| {
            for worker in 0..phase.workers {
                let facts = &facts;
                scope.spawn(move || self.guarded(|| self.work(seed, phase, worker, ends, facts)));
            }
            let conductor = scope.spawn(|| self.guarded(|| self.conduct(seed, phase, &facts, ends, pid)));
            while lock(&self.tally).working > 0 || Instant::now() < ends || !conductor.is_finished() {
                self.watch(mount)?;
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        });
        watched?;
        emulator.clear_faults();
        emulator.knobs(|knobs| *knobs = self.run.knobs());
        let (quiet, late) = self.settle(phase, mount)?;
        let after = emulator.totals();
        let silent = self.silence(scale, mount)?;
        let sample = mount.sample();
        let line = lock(&self.tally).phase(phase.kind, &before, &after, sample, (quiet, late, silent));
        println!("           {line}");
        self.note(&line);
        self.judge_requests(phase, &before, &after)?;
        self.judge_growth()?;
        self.audit(seed, phase, scale, mount)
    }

    /// Runs what a thread does: a panic of ours is a finding too, and not a thread that is missing.
    fn guarded(&self, work: impl FnOnce()) {
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            self.fail(&format!("the soak itself panicked: {}", text.unwrap_or("?")));
        }
    }

    /// One operation after the other until the phase is over.
    fn work(&self, seed: u64, phase: &Phase, worker: usize, ends: Instant, facts: &Facts) {
        let random = &mut stream(seed, "worker", phase.number * 100 + worker as u64);
        lock(&self.tally).working += 1;
        let scratch = self.work.join(format!("worker-{worker}"));
        while Instant::now() < ends && !self.is_ending() {
            let op = Op::choose(random, facts);
            self.operation(
                &op,
                Terms { kind: phase.kind, ends, from: self.refreshed.load(Ordering::SeqCst) },
                &scratch,
            );
        }
        lock(&self.tally).working -= 1;
    }

    /// The terms of an operation that begins now.
    fn terms(&self, kind: Kind, ends: Instant) -> Terms {
        Terms { kind, ends, from: self.refreshed.load(Ordering::SeqCst) }
    }

    /// Does one operation, counts it, and notes what is wrong with it.
    fn operation(&self, op: &Op, terms: Terms, scratch: &Path) -> Outcome {
        let outcome = Operation::run(self, op, terms, scratch);
        // A killed process ends everybody's operations.
        if !self.is_ending() {
            lock(&self.tally).operation(terms.kind, &outcome);
            if let Some(wrong) = outcome.wrong.first() {
                let more = if outcome.wrong.len() > 1 {
                    format!(" (and {} more)", outcome.wrong.len() - 1)
                } else {
                    String::new()
                };
                self.fail(&format!("{wrong}{more}"));
            }
        }
        outcome
    }

    /// Has happen what the plan says, when it says.
    fn conduct(&self, seed: u64, phase: &Phase, facts: &Facts, ends: Instant, pid: libc::pid_t) {
        let random = &mut stream(seed, "conductor", phase.number);
        let started = ends - phase.duration;
        let emulator = &self.world.emulator;
        for (at, event) in &phase.events {
            while started.elapsed() < *at && !self.is_ending() {
                std::thread::sleep(Duration::from_millis(10));
            }
            if self.is_ending() {
                return;
            }
            if !matches!(event, Event::Change(_) | Event::Hot(_)) {
                self.note(&format!("{event:?}"));
            }
            match event {
                Event::Change(change) => {
                    let said = self.world.change(*change, random);
                    self.note(&said);
                }
                Event::Hot(same_time) => {
                    let said = self.world.change_hot(*same_time);
                    self.note(&said);
                }
                Event::RefreshAll | Event::RefreshSome => {
                    let folder = facts.any_folder(random);
                    let path = if *event == Event::RefreshAll { TOP } else { &folder };
                    if let Err(error) = self.refresh_under(path, phase.kind) {
                        self.fail(&error);
                    }
                }
                Event::Signal => {
                    // SAFETY: no memory is involved; the process is our child and not yet waited for.
                    unsafe { libc::kill(pid, libc::SIGHUP) };
                }
                Event::RevokeLinks => emulator.revoke_links(),
                Event::RevokeTokens => match self.run.source {
                    SourceKind::Share => emulator.revoke_tokens(),
                    SourceKind::Space => emulator.revoke_access_tokens(),
                },
                Event::RevokeRefreshTokens => emulator.revoke_refresh_tokens(),
                Event::Away(true) => {
                    emulator.fault(Fault::any_api(FaultKind::Reset));
                    emulator.fault(Fault::object(FaultKind::Reset));
                }
                Event::Away(false) => {
                    emulator.clear_faults();
                    for fault in &phase.faults {
                        emulator.fault(fault.clone());
                    }
                }
            }
        }
    }

    /// `koofs refresh`, which must do what it promises: what is asked for later is not older than now.
    fn refresh(&self, path: &str) -> Result<(), String> {
        self.refresh_under(path, Kind::Calm)
    }

    fn refresh_under(&self, path: &str, kind: Kind) -> Result<(), String> {
        let now = self.world.model().now();
        self.note(&format!("refresh {path:?} at change {now}"));
        let mut command = koofs(&["refresh"]);
        command.arg(self.mount.join(path));
        let error = self.work.join("refresh");
        command.stdout(fs::File::create(&error).unwrap()).stderr(fs::File::create(&error).unwrap());
        let mut child = Watched::start(owned(command, libc::SIGKILL), self.limit);
        let started = Instant::now();
        let limit = Duration::from_millis(self.hang_ms(path.split('/').count() as u64 + 2));
        let status = loop {
            if let Some(status) = child.ended() {
                break status;
            }
            if started.elapsed() > limit {
                self.fail(&format!("a hang: koofs refresh of {path:?} has taken {:?}", started.elapsed()));
            }
            if self.is_ending() {
                return self.check();
            }
            std::thread::sleep(Duration::from_millis(4));
        };
        self.note(&format!("refresh {path:?} has ended: {status}"));
        if status.success() {
            if path == TOP {
                self.refreshed.fetch_max(now, Ordering::SeqCst);
            }
            return Ok(());
        }
        // The way to a directory may be lost or blocked.
        if path != TOP && kind != Kind::Calm {
            return Ok(());
        }
        Err(format!(
            "koofs refresh of {path:?} ended with {status}: {}",
            fs::read_to_string(&error).unwrap_or_default()
        ))
    }

    // ---- when nobody is there ----

    /// Waits until nothing is under way; when the last request ended, and how many were made from the end of the phase on. What
    /// has failed may be tried again, after a pause, until the time of its operation is up.
    fn settle(&self, phase: &Phase, mount: &mut Mount) -> Result<(Duration, u64), String> {
        let emulator = &self.world.emulator;
        let started = Instant::now();
        let first = emulator.totals();
        let least = if phase.kind.has_faults() { self.run.op_timeout + SETTLED } else { SETTLED };
        let limit = self.run.op_timeout + SETTLE_MARGIN;
        let (mut last, mut since) = (first.clone(), started);
        while since.elapsed() < SETTLED || started.elapsed() < least {
            self.watch(mount)?;
            std::thread::sleep(Duration::from_millis(20));
            let now = emulator.totals();
            if now.api_current + now.object_current > 0 || !asked(&last, &now).is_empty() {
                since = Instant::now();
                last = now;
            }
            if started.elapsed() > limit {
                return Err(format!(
                    "a storm: requests go on {limit:?} after everybody has gone, {:?} so far; {} API calls and {} GETs under way",
                    asked(&first, &last),
                    last.api_current,
                    last.object_current
                ));
            }
        }
        let made = asked(&first, &last).iter().map(|(_, count)| count).sum();
        Ok((since - started, made))
    }

    /// Nobody is there: no request may be made. How many there were that keep a login alive.
    fn silence(&self, scale: &Scale, mount: &mut Mount) -> Result<u64, String> {
        let before = self.world.emulator.totals();
        let started = Instant::now();
        while started.elapsed() < scale.silence {
            self.watch(mount)?;
            std::thread::sleep(Duration::from_millis(50));
        }
        let after = self.world.emulator.totals();
        let made = asked(&before, &after);
        let upkeep = calls(&after) - calls(&before) - made.iter().map(|(_, count)| count).sum::<u64>();
        if made.is_empty() && (upkeep == 0 || self.run.source == SourceKind::Space && upkeep <= MAX_UPKEEP) {
            return Ok(upkeep);
        }
        Err(format!(
            "a storm: nobody was there for {:?}, and there were {made:?} and {upkeep} calls of upkeep",
            scale.silence
        ))
    }

    /// After a phase the mount shows what there is now, and nothing else; errors may outlast their cause for a while.
    fn audit(&self, seed: u64, phase: &Phase, scale: &Scale, mount: &mut Mount) -> Result<(), String> {
        self.refresh(TOP)?;
        let mut model = self.world.model();
        let now = model.now();
        model.forget_before(now);
        drop(model);
        *lock(&self.hints) = self.world.hints();
        fs::write(self.hints_file(), serde_json::to_vec(&*lock(&self.hints)).unwrap()).unwrap();
        let scratch = self.work.join("audit");
        let started = Instant::now();
        for attempt in 1.. {
            let recovers = phase.kind.has_faults() && started.elapsed() < RECOVERY;
            // As under faults: errors are told, and are tried again; a wrong byte or name is a finding all the same.
            let kind = if recovers { Kind::Faults } else { Kind::Calm };
            let terms = self.terms(kind, Instant::now() + self.phase_max);
            let op = ops::audit(seed ^ phase.number, scale.audit_one_of);
            let outcome = self.watched(mount, || self.operation(&op, terms, &scratch))?;
            // What was not allowed is a finding already. Stale files are open for the next one.
            if outcome.errors.keys().all(|errno| errno == "ESTALE") {
                if attempt > 1 {
                    let took = started.elapsed();
                    println!("           all is well after {:.0} s: {attempt} attempts", took.as_secs_f64());
                    lock(&self.tally).recovered(took);
                }
                return Ok(());
            }
            if !recovers {
                return Err(format!("errors {:?} after {:?} without a fault", outcome.errors, started.elapsed()));
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    // ---- what is judged after a phase ----

    fn judge_requests(&self, phase: &Phase, before: &Counters, after: &Counters) -> Result<(), String> {
        let tally = lock(&self.tally);
        if phase.kind.has_faults() {
            return Ok(());
        }
        let needed: u64 =
            tally.folders().iter().map(|folder| self.world.model().pages(folder, self.run.page)).sum::<u64>();
        let made = listings(after) - listings(before);
        println!(
            "           at least {needed} listing calls: {made} were made, {:.2} times as many; {} files read, {} of them for the first \
             time: {} GETs, {:.2} times as many",
            made as f64 / needed.max(1) as f64,
            tally.files().len(),
            tally.new_files(),
            gets(after) - gets(before),
            (gets(after) - gets(before)) as f64 / tally.files().len().max(1) as f64,
        );
        let most = needed * MAX_LISTINGS_RATIO + MAX_LISTINGS_MORE;
        if made > most && phase.kind == Kind::Calm && self.run.ttl > phase.duration * 4 {
            return Err(format!("a storm: {made} listing calls where {needed} are needed"));
        }
        Ok(())
    }

    fn judge_growth(&self) -> Result<(), String> {
        let budget_kib = self.run.memory.trim_end_matches('M').parse::<u64>().unwrap_or(0) * 1024;
        lock(&self.tally).growth(WARM_PHASES, budget_kib, RESIDENT_MARGIN_KIB, THREADS_MARGIN, DESCRIPTORS_MARGIN)
    }

    fn at_the_end(&self) -> Result<(), String> {
        let totals = self.world.emulator.totals();
        if totals.secret_leaks > 0 || totals.complaints_total > 0 || totals.views > 0 {
            return Err(format!(
                "the service complains {} times ({} secrets leaked): {:?}",
                totals.complaints_total, totals.secret_leaks, totals.complaints
            ));
        }
        Ok(())
    }
}

fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|place| place.join(program).is_file()))
}

/// All calls and GETs.
fn calls(counters: &Counters) -> u64 {
    counters.api_calls() + counters.calls_of("object")
}

/// GETs, those that are redirected and made again counted once.
fn gets(counters: &Counters) -> u64 {
    counters.calls_of("object") - counters.calls_with("object", 307)
}

/// Calls of listings.
fn listings(counters: &Counters) -> u64 {
    counters.calls_of("files") + counters.calls_of("spaceFiles")
}

/// Calls that somebody must have asked for, as endpoint and count: not those that keep a login alive.
fn asked(before: &Counters, after: &Counters) -> Vec<(String, u64)> {
    let upkeep = BTreeSet::from(["login", "refreshToken", "space", "spaceV2", "teamList", "shareFolderList"]);
    let endpoints = after.calls.keys().filter(|endpoint| !upkeep.contains(endpoint.as_str()));
    let counts = endpoints.map(|endpoint| (endpoint.clone(), after.calls_of(endpoint) - before.calls_of(endpoint)));
    counts.filter(|(_, count)| *count > 0).collect()
}
