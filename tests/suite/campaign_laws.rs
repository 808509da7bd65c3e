//! Every fault of the emulator, alone and in mixtures, through real mounts: each operation ends in the right bytes or in an errno, in its
//! time. `tests/soak` does so for long, with programs and changes; this goes through all faults in a minute.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use crate::campaign_child::LATE_MARGIN;
use crate::emulator::faults::FAULT_HELP;
use crate::emulator::tree::{Lookup, Source};
use crate::emulator::{Content, Emulator, Entry, Fault, FaultKind, Replacement, Tree, spaces};
use crate::mount_bench::{AGENT, LIMIT, act, mount_command, run};
use crate::mounted::{Mountpoint, Watched, koofs, mounts_are_allowed};

const OP_TIMEOUT: Duration = Duration::from_secs(2);
/// Threads of the child that uses the mount under a fault, and operations of each.
const THREADS: u64 = 8;
const OPERATIONS: u64 = 5;
/// Mixtures of faults for each mount, after each fault alone.
const MIXTURES: usize = 8;
/// A fault alone fires so often at most: one that hangs costs its reader an operation's time.
const MAX_FIRED: u64 = 12;
/// What the operations of both mounts come to, at least.
const LEAST_OPERATIONS: u64 = 2000;
/// What is remembered of a failure is remembered for a minute at most.
const RECOVERY: Duration = Duration::from_secs(90);
/// The most that the process may ever have taken: its budget of 16 MiB, and what threads, buffers of lines and answers of the service take.
const MAX_PEAK_KIB: u64 = 192 * 1024;

/// A mounted source, the service behind it and the files there are.
struct Side {
    name: &'static str,
    daemon: Watched,
    mountpoint: Mountpoint,
    emulator: Emulator,
    is_space: bool,
    options: &'static [&'static str],
    /// Path, id, length.
    files: Vec<(String, String, u64)>,
}

/// What came of some operations.
#[derive(Debug, Default)]
struct Outcome {
    operations: u64,
    well: u64,
    bytes: u64,
    slowest_ms: u64,
    errors: BTreeMap<String, u64>,
}

impl Outcome {
    fn add(&mut self, other: Outcome) {
        self.operations += other.operations;
        self.well += other.well;
        self.bytes += other.bytes;
        self.slowest_ms = self.slowest_ms.max(other.slowest_ms);
        other.errors.into_iter().for_each(|(errno, count)| *self.errors.entry(errno).or_default() += count);
    }
}

impl Side {
    fn start(name: &'static str, is_space: bool, options: &'static [&'static str]) -> Side {
        let emulator = Emulator::synthetic();
        // Several pages in each directory.
        emulator.knobs(|knobs| knobs.page_cap = 7);
        let mountpoint = Mountpoint::new();
        let daemon = mounted(&emulator, &mountpoint, is_space, options);
        let mut side = Side { name, daemon, mountpoint, emulator, is_space, options, files: Vec::new() };
        side.fill();
        side
    }

    fn tree(&self) -> &Tree {
        if self.is_space { &self.emulator.own().tree } else { self.emulator.tree() }
    }

    /// Files of sizes around the borders that the mount knows, in directories of up to three levels.
    fn fill(&mut self) {
        const SIZES: [u64; 8] = [1, 4097, 131_071, 131_073, 300_000, 1 << 20, 2_500_001, 77];
        let mut files = Vec::new();
        let tree = self.tree();
        for top in 0..5 {
            let mut folder = String::new();
            let mut path = String::new();
            for level in 0..1 + top % 3 {
                let name = format!("d{top}-{level}");
                folder = tree.add(&folder, Entry::folder(name.as_str()));
                path = format!("{path}{name}/");
                for number in 0..9 {
                    let (name, size) = (format!("f{number}"), SIZES[(number + top) % SIZES.len()]);
                    let id = tree.add(&folder, Entry::file(name.as_str(), size));
                    files.push((format!("{path}{name}"), id, size));
                }
            }
        }
        self.files = files;
    }

    /// Other content everywhere, so that nothing that was fetched is an answer; the mount is told.
    fn renew(&mut self) {
        self.emulator.clear_faults();
        let ids = self
            .files
            .iter()
            .map(|(_, id, size)| self.tree().replace(id, Content::Pattern(*size), Replacement::NewObject));
        let ids: Vec<String> = ids.collect();
        ids.into_iter().zip(&mut self.files).for_each(|(id, file)| file.1 = id);
        let known: String =
            self.files.iter().map(|(path, id, size)| format!("{path}\t{size}\t{}\n", self.seed(id))).collect();
        fs::write(self.mountpoint.beside("known"), known).unwrap();
        let began = Instant::now();
        loop {
            let mut refresh = koofs(&["refresh"]);
            refresh.arg(self.mountpoint.path());
            let said = run(refresh);
            if said.code == Some(0) {
                break;
            }
            assert!(began.elapsed() < RECOVERY, "{}: no refresh after the faults: {said:?}", self.name);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn seed(&self, id: &str) -> u64 {
        let Lookup::Found(node) = self.tree().lookup(id) else { panic!("no file {id}") };
        let Source::Pattern(seed) = self.tree().object(&node.object).unwrap().source else { panic!("a pattern") };
        seed
    }

    /// Has a child use the mount.
    #[track_caller]
    fn operate(&self, seed: u64, what: &str) -> Outcome {
        let known = self.mountpoint.beside("known");
        let numbers = [seed, THREADS, OPERATIONS, OP_TIMEOUT.as_millis() as u64].map(|number| number.to_string());
        let mut arguments = vec![known.to_str().unwrap()];
        arguments.extend(numbers.iter().map(String::as_str));
        let (status, out, error) = Watched::start(act("campaign", self.mountpoint.path(), &arguments), LIMIT).output();
        assert!(status.success(), "{} under {what}: {status}\n{out}\n{error}\n{}", self.name, self.log_end());
        let said: Vec<&str> = out.lines().filter_map(|line| line.split_once("> ").map(|(_, said)| said)).collect();
        let number = |index: usize| said[index].parse::<u64>().unwrap();
        let errors = said[4..].iter().map(|line| {
            let (errno, count) = line.split_once(' ').unwrap();
            (errno.to_owned(), count.parse().unwrap())
        });
        let errors = errors.collect();
        Outcome { operations: number(0), well: number(1), bytes: number(2), slowest_ms: number(3), errors }
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.mountpoint.beside("log")).unwrap_or_default();
        let start = (log.len().saturating_sub(6000)..=log.len()).find(|at| log.is_char_boundary(*at));
        log[start.unwrap_or(0)..].to_owned()
    }

    /// All works again, within the time that a failure is remembered.
    fn recover(&self, seed: u64) -> Outcome {
        self.emulator.clear_faults();
        let began = Instant::now();
        loop {
            let outcome = self.operate(seed, "no fault");
            if outcome.errors.is_empty() {
                return outcome;
            }
            assert!(began.elapsed() < RECOVERY, "{}: errors without a fault: {outcome:?}", self.name);
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Every fault alone, then mixtures, then none; what came of it, and which faults fired.
    fn campaign(mut self, seed: u64) -> (Outcome, BTreeMap<String, u64>) {
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut phases: Vec<Vec<Fault>> = self.faults_alone(random).into_iter().map(|fault| vec![fault]).collect();
        phases.extend((0..MIXTURES).map(|_| self.mixture(random)));
        let mut all = Outcome::default();
        for faults in phases {
            let what: Vec<String> = faults.iter().map(ToString::to_string).collect();
            let what = what.join(" ");
            self.renew();
            faults.into_iter().for_each(|fault| self.emulator.fault(fault));
            let began = Instant::now();
            let outcome = self.operate(random.u64(..), &what);
            println!("{}: {what}: {:.1} s, {outcome:?}", self.name, began.elapsed().as_secs_f64());
            all.add(outcome);
        }
        all.add(self.recover(random.u64(..)));
        let peak_kib = self.peak_kib();
        assert!(peak_kib < MAX_PEAK_KIB, "{}: {peak_kib} KiB", self.name);
        // What lies on the disk is what there is.
        self.remount();
        let before = self.emulator.counters().calls_of("object");
        all.add(self.recover(random.u64(..)));
        let gets = self.emulator.counters().calls_of("object") - before;
        println!("{}: {peak_kib} KiB at most, {gets} GETs after the remount; {all:?}", self.name);
        let totals = self.emulator.totals();
        assert_eq!((totals.secret_leaks, totals.complaints_total), (0, 0), "{:?}", totals.complaints);
        self.end();
        (all, totals.faults)
    }

    fn faults_alone(&self, random: &mut fastrand::Rng) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (name, place, _) in FAULT_HELP {
            let kind: FaultKind = name.parse().unwrap();
            let here = [
                (*place != "object").then(|| self.api_fault(kind, random)),
                (*place != "api").then(|| Fault::object(kind)),
            ];
            for fault in here.into_iter().flatten() {
                faults.push(fault.probability(0.6, random.u64(..)).limit(MAX_FIRED));
            }
        }
        faults
    }

    /// On a call that a mount makes for somebody: a login is refused in other laws, as a password is sent only so often.
    fn api_fault(&self, kind: FaultKind, random: &mut fastrand::Rng) -> Fault {
        let endpoints = match (kind, self.is_space) {
            (FaultKind::PartialBatch | FaultKind::BatchGap, _) => ["spaceDownload", "spaceDownload"],
            (FaultKind::CursorLoop | FaultKind::PageSizeIgnored, true) => ["spaceFiles", "spaceFiles"],
            (FaultKind::CursorLoop | FaultKind::PageSizeIgnored, false) => ["files", "files"],
            (_, true) => ["spaceFiles", "spaceDownload"],
            (_, false) => ["files", "download"],
        };
        Fault::api(random.choice(&endpoints).unwrap(), kind)
    }

    fn mixture(&self, random: &mut fastrand::Rng) -> Vec<Fault> {
        let all = self.faults_alone(random);
        let count = random.usize(2..=6);
        let some = random.choose_multiple(all, count).into_iter();
        some.map(|fault| {
            let chance = *random.choice(&[0.05, 0.2, 0.5, 0.9]).unwrap();
            fault.probability(chance, random.u64(..)).limit(*random.choice(&[4, 20, 60]).unwrap())
        })
        .collect()
    }

    fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn remount(&mut self) {
        self.daemon.signal(libc::SIGTERM);
        assert_eq!(self.daemon.wait().code(), Some(0), "{}: {}", self.name, self.log_end());
        self.daemon = mounted(&self.emulator, &self.mountpoint, self.is_space, self.options);
    }

    fn end(mut self) {
        self.daemon.signal(libc::SIGTERM);
        assert_eq!(self.daemon.wait().code(), Some(0), "{}: {}", self.name, self.log_end());
        assert_eq!(self.mountpoint.types(), [""; 0]);
    }
}

fn mounted(emulator: &Emulator, mountpoint: &Mountpoint, is_space: bool, options: &[&str]) -> Watched {
    let mut command = if is_space {
        let knobs = emulator.current_knobs();
        let password = mountpoint.beside("password");
        fs::write(&password, knobs.password).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        let mut command =
            koofs(&["mount", "--endpoint", &emulator.url(), "--agent", AGENT, "--account", &knobs.account]);
        command.arg("--password-file").arg(password).arg(format!("space:{}", spaces::OWN));
        command.env("KOOFS_NO_CACHE", "false").env("KOOFS_CACHE_DIR", mountpoint.beside("cache"));
        command.arg(mountpoint.path());
        command
    } else {
        mount_command(emulator, mountpoint.path(), &[])
    };
    let op_timeout = OP_TIMEOUT.as_secs().to_string();
    command.args(["-f", "--memory", "16M", "--op-timeout", &op_timeout, "--log-file"]).arg(mountpoint.beside("log"));
    let daemon = Watched::start(
        {
            command.args(options);
            command
        },
        LIMIT * 4,
    );
    mountpoint.await_types(&["fuse.koofs"]);
    daemon
}

#[test]
fn every_fault_and_mixtures_of_faults_end_in_right_bytes_or_an_errno() {
    if !mounts_are_allowed() {
        return;
    }
    let seed = std::env::var("KOOFS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("KOOFS_SEED={seed}; a call may take {OP_TIMEOUT:?} for each operation in it, and {LATE_MARGIN:?}");
    let sides = [("a share without a store", false, &["--no-cache"][..]), ("a space with a store", true, &[][..])];
    let sides = sides.map(|(name, is_space, options)| {
        std::thread::spawn(move || Side::start(name, is_space, options).campaign(seed))
    });
    // Both are waited for before one may fail: a mount is taken away by the thread that has it.
    let sides = sides.map(std::thread::JoinHandle::join);
    let mut fired: BTreeMap<String, u64> = BTreeMap::new();
    let mut all = Outcome::default();
    for side in sides {
        let (outcome, faults) = side.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        all.add(outcome);
        faults.into_iter().for_each(|(name, count)| *fired.entry(name).or_default() += count);
    }
    println!("{all:?}; {fired:?}");
    assert!(all.operations >= LEAST_OPERATIONS, "{all:?}");
    assert!(all.well > all.operations / 4, "a mount that only fails is no mount: {all:?}");
    let missing: Vec<&str> = FAULT_HELP.iter().map(|help| help.0).filter(|name| !fired.contains_key(*name)).collect();
    assert!(missing.is_empty(), "these faults were never met: {missing:?}");
}
