//! Mounting and unmounting again and again: what stays behind is counted. Run by the suite a few times and by the soak 200 times.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::emulator::{Emulator, Entry};
use crate::mounted::{Mountpoint, Watched, koofs};

/// A command here ends in less, or hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a process may take to be gone after its mount is.
const END: Duration = Duration::from_secs(20);
/// The rounds until everything there is to be kept is kept.
const WARM: usize = 3;
/// What a process may have more of than in the first rounds: threads start when there is work, and end after it.
const THREADS_MARGIN: u64 = 12;
const DESCRIPTORS_MARGIN: u64 = 12;
const RESIDENT_MARGIN_KIB: u64 = 16 * 1024;
/// The store notes in small files who uses it and how much there is.
const DISK_MARGIN_BYTES: u64 = 16 * 1024;

/// What there is in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    threads: u64,
    descriptors: u64,
    resident_kib: u64,
    files: u64,
    bytes: u64,
}

/// Mounts in the background, reads, unmounts, `count` times, or until `is_over`. Says what was counted.
///
/// # Errors
/// What went wrong or stayed behind.
pub(crate) fn rounds(count: usize, is_over: impl Fn() -> bool) -> Result<String, String> {
    let emulator = Emulator::synthetic();
    emulator.tree().add_many("", (0..4).map(|number| Entry::file(format!("file-{number}"), 300_000)));
    let mountpoint = Mountpoint::new();
    let source = format!("share:{}", emulator.share_code());
    let mut seen: Vec<Round> = Vec::with_capacity(count);
    let began = Instant::now();
    for number in (0..count).take_while(|_| !is_over()) {
        let at = |what: &str| format!("round {number}: {what}");
        let mut mount = koofs(&["mount", "--endpoint", &emulator.url(), "--agent", "rounds", &source]);
        mount.env("KOOFS_NO_CACHE", "false").arg("--cache-dir").arg(mountpoint.beside("cache")).arg(mountpoint.path());
        succeeds(mount).map_err(|error| at(&error))?;
        for number in 0..4 {
            let mut cat = Command::new("cat");
            cat.arg(mountpoint.path().join(format!("file-{number}")));
            succeeds(cat).map_err(|error| at(&error))?;
        }
        let [pid] = processes(mountpoint.path())[..] else {
            return Err(at(&format!("these processes serve the mount: {:?}", processes(mountpoint.path()))));
        };
        let process = Path::new("/proc").join(pid.to_string());
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let descriptors = fs::read_dir(process.join("fd")).map_or(0, |files| files.count() as u64);
        let mut unmount = koofs(&["unmount"]);
        unmount.arg(mountpoint.path());
        succeeds(unmount).map_err(|error| at(&error))?;
        let left = mountpoint.types();
        if !left.is_empty() {
            return Err(at(&format!("{left:?} is mounted after the unmount")));
        }
        let ends = Instant::now() + END;
        while !processes(mountpoint.path()).is_empty() {
            if Instant::now() > ends {
                return Err(at(&format!("{:?} live on without a mount", processes(mountpoint.path()))));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let (files, bytes) = below(mountpoint.path().parent().unwrap_or(Path::new("/nonexistent")));
        seen.push(Round { threads: field("Threads:"), descriptors, resident_kib: field("VmRSS:"), files, bytes });
    }
    let took = began.elapsed().as_secs_f64();
    let warm = seen.get(..WARM.min(seen.len())).unwrap_or_default();
    let last = seen.last().copied().unwrap_or_default();
    let most = |of: fn(&Round) -> u64| warm.iter().map(of).max().unwrap_or(0);
    let checks = [
        ("threads", last.threads, most(|round| round.threads) + THREADS_MARGIN),
        ("descriptors", last.descriptors, most(|round| round.descriptors) + DESCRIPTORS_MARGIN),
        ("KiB", last.resident_kib, most(|round| round.resident_kib) + RESIDENT_MARGIN_KIB),
        ("files", last.files, most(|round| round.files)),
        ("bytes on the disk", last.bytes, most(|round| round.bytes) + DISK_MARGIN_BYTES),
    ];
    for (what, now, most) in checks {
        if now > most {
            let count = seen.len();
            return Err(format!(
                "after {count} rounds {now} {what}, at most {most} were expected; the first: {warm:?}"
            ));
        }
    }
    let (count, first) = (seen.len(), seen.first().copied().unwrap_or_default());
    Ok(format!("{count} rounds of mount and unmount in {took:.0} s; the first {first:?}, the last {last:?}"))
}

/// Runs it to its end; what it says if that is no good one.
fn succeeds(mut command: Command) -> Result<(), String> {
    let text = format!("{command:?}");
    // A daemon keeps no end of these: it has a standard error of its own.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let (status, _, error) = Watched::start(command, LIMIT).output();
    if status.success() { Ok(()) } else { Err(format!("{text}: {status}: {error}")) }
}

/// The koofs processes with this mountpoint on their command line.
fn processes(mountpoint: &Path) -> Vec<u32> {
    let wanted = mountpoint.to_str().unwrap_or_default();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let serves = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == wanted.as_bytes())
    };
    pids.filter(serves).collect()
}

/// Files below `path`, and the bytes that they take.
fn below(path: &Path) -> (u64, u64) {
    let mut sum = (0, 0);
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let (files, bytes) = if metadata.is_dir() { below(&entry.path()) } else { (1, metadata.len()) };
        sum = (sum.0 + files, sum.1 + bytes);
    }
    sum
}
