//! Laws of a cache directory that is in use: it is removed, slow, or shared under eviction, and real mounts give right bytes all the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::blob_help::du;
use crate::emulator::{Emulator, Entry};
use crate::mount_bench::{Bench, do_act, run, seed_of, tool};
use crate::mounted::{c_path, koofs, mounts_are_allowed};

const MIB: u64 = 1 << 20;

/// Far more than a busy machine needs; reads that wait for each blob would never end.
const NO_HANG: Duration = Duration::from_secs(40);

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn cache_of(bench: &Bench) -> PathBuf {
    bench.mountpoint.beside("cache")
}

/// The blobs of files.
fn blobs_below(directory: &Path) -> Vec<PathBuf> {
    let mut blobs = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            blobs.extend(blobs_below(&path));
        } else if fs::read(&path).is_ok_and(|bytes| bytes.starts_with(b"koofs\r\n\0") && bytes.get(48) == Some(&b'B')) {
            blobs.push(path);
        }
    }
    blobs
}

/// `count` files of `size` bytes with a pattern, and their seeds.
fn patterns(count: usize, size: u64) -> (Emulator, Vec<String>) {
    let emulator = Emulator::synthetic();
    let ids: Vec<String> = (0..count).map(|at| emulator.tree().add("", Entry::file(format!("f{at}"), size))).collect();
    let seeds = ids.iter().map(|id| seed_of(&emulator, id)).collect();
    (emulator, seeds)
}

/// Reads a file and compares every byte; then the kernel forgets it, so that the next reading asks the mount again.
fn check(mountpoint: &Path, at: usize, seed: &str, size: u64) {
    let path = mountpoint.join(format!("f{at}"));
    assert_eq!(do_act("stream", &path, &[seed])[0], size.to_string());
    let input = format!("if={}", text(&path));
    assert_eq!(tool("dd", [&input, "iflag=nocache", "count=0", "status=none"]).code, Some(0));
}

#[test]
fn cache_directory_that_is_removed_under_a_mount_costs_requests_and_no_byte() {
    if !mounts_are_allowed() {
        return;
    }
    let size = 3 * MIB;
    let (emulator, seeds) = patterns(6, size);
    let mut bench = Bench::with(emulator, &["--memory", "16M"], &[]);
    let (is_over, cache) = (AtomicBool::new(false), cache_of(&bench));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // Whatever is written meanwhile may keep a directory from going.
                let _ = fs::remove_dir_all(&cache);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        for _ in 0..3 {
            for (at, seed) in seeds.iter().enumerate() {
                check(bench.mountpoint.path(), at, seed, size);
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    bench.remount(&[]);
    for (at, seed) in seeds.iter().enumerate() {
        check(bench.mountpoint.path(), at, seed, size);
    }
    bench.end();
}

#[test]
fn disk_that_does_not_answer_costs_a_read_no_more_than_a_few_moments_in_all() {
    if !mounts_are_allowed() {
        return;
    }
    let count = 60;
    let (emulator, seeds) = patterns(count, 20_000);
    let mut bench = Bench::new(emulator);
    for (at, seed) in seeds.iter().enumerate() {
        check(bench.mountpoint.path(), at, seed, 20_000);
    }
    bench.remount(&[]);
    let blobs = blobs_below(&cache_of(&bench));
    assert!(blobs.len() >= count / 2, "{}", blobs.len());
    for blob in &blobs {
        // To open a pipe that nobody writes to takes for ever, as it does to open a file of a server that is away.
        fs::remove_file(blob).unwrap();
        let path = c_path(blob);
        // SAFETY: the path outlives the call.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    }
    let start = Instant::now();
    for (at, seed) in seeds.iter().enumerate() {
        check(bench.mountpoint.path(), at, seed, 20_000);
    }
    assert!(start.elapsed() < NO_HANG, "{:?}", start.elapsed());
    assert!(bench.emulator.counters().calls_of("object") >= blobs.len() as u64);
    assert!(bench.log().contains("the cache directory is not read for"), "{}", bench.log());
    // Lets go of the threads that wait there.
    for blob in &blobs {
        drop(fs::File::options().read(true).write(true).open(blob));
    }
    bench.end();
}

#[test]
fn mount_and_its_first_answers_wait_for_no_look_through_the_directory() {
    if !mounts_are_allowed() {
        return;
    }
    let (emulator, seeds) = patterns(3, 20_000);
    let mut bench = Bench::new(emulator);
    for (at, seed) in seeds.iter().enumerate() {
        check(bench.mountpoint.path(), at, seed, 20_000);
    }
    // What a source is called stands in a file: a pipe there that nobody writes to holds whoever looks through the directory.
    let held = cache_of(&bench).join("0".repeat(32));
    fs::create_dir(&held).unwrap();
    let path = c_path(&held.join("source"));
    // SAFETY: the path outlives the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    bench.remount(&[]);
    for (at, seed) in seeds.iter().enumerate() {
        check(bench.mountpoint.path(), at, seed, 20_000);
    }
    assert_eq!(bench.emulator.counters().calls_of("object"), 0);
    drop(fs::File::options().read(true).write(true).open(held.join("source")).unwrap());
    bench.end();
}

#[test]
fn two_mounts_on_one_directory_give_right_bytes_under_eviction_and_keep_to_the_limit() {
    if !mounts_are_allowed() {
        return;
    }
    let (size, limit) = (4 * MIB, 16 * MIB);
    let (emulator, seeds) = patterns(12, size);
    let shared = tempfile::tempdir().unwrap();
    let cache = shared.path().join("cache");
    let options = ["--cache-dir", text(&cache), "--cache-size", "16M", "--memory", "16M"];
    let one = Bench::with(emulator, &options, &[]);
    let other = one.beside(&options);
    let start = Instant::now();
    let is_over = || start.elapsed() > Duration::from_secs(6);
    let most = std::thread::scope(|scope| {
        for mountpoint in [one.mountpoint.path(), other.mountpoint()] {
            let seeds = &seeds;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(7);
                while !is_over() {
                    let at = random.usize(..seeds.len());
                    check(mountpoint, at, &seeds[at], size);
                }
            });
        }
        let mut most = 0;
        while !is_over() {
            most = most.max(du(&cache));
            std::thread::sleep(Duration::from_millis(20));
        }
        most
    });
    // One blob for each of two threads of each mount, and the directories of the sources.
    assert!(most <= limit + 4 * MIB + 2 * MIB, "{most}");
    assert!(most > limit / 2, "{most}");
    other.end();
    let verified = koofs_verify(&cache);
    assert!(verified.contains("are as they were written") && !verified.contains("damaged"), "{verified}");
    one.end();
}

fn koofs_verify(cache: &Path) -> String {
    run(koofs(&["cache", "--cache-dir", text(cache), "verify"])).well()
}
