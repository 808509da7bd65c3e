//! Laws of the store on disks and beside processes that do it harm: killed, full, read-only, hanging, shared.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use koofs::store::identity::Identity;
use koofs::store::{Config, Store, upkeep};

use crate::blob_help::{
    PATIENCE, Place, block, bytes_of, config, du, file_of, has, keep, make_read_only, open, put, small_disk, timer,
};
use crate::mounted::c_path;

const MIB: u64 = 1 << 20;

/// The limit of those who work on one store together, and how many different blobs they have.
const LIMIT: u64 = 4 * MIB;
const BLOBS: u64 = 400;

fn any_block(random: &mut fastrand::Rng) -> Identity {
    let number = random.u64(..BLOBS);
    block(&number.to_string(), 1 + number * number * 7 % 100_000)
}

/// Puts and gets blobs, each byte compared. Says how many were found.
fn work(store: &Store, seed: u64, is_over: impl Fn() -> bool) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut found = 0;
    while !is_over() {
        put(store, &any_block(&mut random));
        found += u64::from(has(store, &any_block(&mut random)));
    }
    found
}

/// Not a law: works on a store until it is killed. Does nothing in the suite itself.
#[test]
fn child_works_on_a_store() {
    let Some(directory) = std::env::var_os("KOOFS_TEST_STORE") else { return };
    let store = open(&PathBuf::from(directory), LIMIT);
    println!("\n> working");
    std::io::stdout().flush().unwrap();
    work(&store, fastrand::u64(..), || false);
}

#[test]
fn killed_at_any_moment_a_writer_leaves_no_wrong_byte_and_no_leak() {
    let place = Place::new();
    let directory = place.path();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..200 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "blob_disk_laws::child_works_on_a_store", "--nocapture"])
            .env("KOOFS_TEST_STORE", &directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with("> working")));
        // Any moment will do: nothing depends on how long this is.
        std::thread::sleep(Duration::from_micros(random.u64(..30_000)));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL), "round {round}: a wrong byte");
        let du = du(&directory);
        assert!(du <= LIMIT + 2 * MIB, "round {round}: {du}");
        if round % 20 == 19 {
            let verified = upkeep::verify(&directory, |_| {}).unwrap();
            assert_eq!((verified.damaged, verified.unreadable), (0, 0), "round {round}");
            assert_eq!(std::fs::read_dir(directory.join("tmp")).unwrap().count(), 0, "round {round}");
        }
    }
    // All who were killed together have not taken a place for good.
    let store = open(&directory, LIMIT);
    let before = store.stats();
    (0..BLOBS).for_each(|number| keep(&store, &block(&format!("new {number}"), 20_000)));
    assert_eq!((before.dropped, store.stats().dropped), (0, 0));
    assert!(du(&directory) <= LIMIT);
    assert!(du(&directory) > LIMIT / 2);
}

#[test]
fn two_stores_in_one_directory_agree_under_eviction() {
    let place = Place::new();
    let directory = place.path();
    let start = Instant::now();
    let is_over = || start.elapsed() > Duration::from_secs(5);
    let (found, most) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let directory = directory.clone();
                // Two stores, as two processes have them, and two that come and go.
                scope.spawn(move || {
                    let mut found = 0;
                    while !is_over() {
                        let store = open(&directory, LIMIT);
                        let opened = Instant::now();
                        let is_short = worker >= 2;
                        found += work(&store, worker, || {
                            is_over() || is_short && opened.elapsed() > Duration::from_millis(100)
                        });
                    }
                    found
                })
            })
            .collect();
        let mut most = 0;
        while !is_over() {
            most = most.max(du(&directory));
            std::thread::sleep(Duration::from_millis(20));
        }
        (workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>(), most)
    });
    assert!(most <= LIMIT + 8 * MIB / 10, "{most}");
    assert!(found > 100, "{found}");
    let verified = upkeep::verify(&directory, |_| {}).unwrap();
    assert_eq!((verified.damaged, verified.unreadable), (0, 0));
}

#[test]
fn full_disk_stops_writing_and_no_read() {
    let Some(disk) = small_disk("size=8m") else { return };
    let directory = disk.path().join("koofs");
    let store = open(&directory, 100 * MIB);
    (0..4).for_each(|n| keep(&store, &block(&n.to_string(), MIB / 2)));
    // Somebody else takes all there is.
    let hog = disk.path().join("hog");
    let mut file = std::fs::File::create(&hog).unwrap();
    while file.write(&vec![1; 1 << 16]).is_ok_and(|count| count > 0) {}
    assert!((0..4).all(|n| has(&store, &block(&n.to_string(), MIB / 2))));
    // The store's own blobs make room, for one another and for others.
    (10..14).for_each(|n| keep(&store, &block(&n.to_string(), MIB / 2)));
    assert!(du(&directory) < 2 * MIB);
    // Until nothing of it is left to go.
    while file.write(&vec![1; 1 << 16]).is_ok_and(|count| count > 0) {}
    (20..24).for_each(|n| keep(&store, &block(&n.to_string(), MIB)));
    while file.write(&vec![1; 1 << 16]).is_ok_and(|count| count > 0) {}
    (30..60).for_each(|n| keep(&store, &block(&n.to_string(), MIB)));
    let stats = store.stats();
    assert!(stats.dropped > 25 && stats.scans < 20 && stats.late == 0, "{stats:?}");
    std::fs::remove_file(&hog).unwrap();
    // Another mount, which has not seen it full, writes at once, and leaves others a part.
    let store = open(&directory, 100 * MIB);
    (50..90).for_each(|n| keep(&store, &block(&n.to_string(), MIB / 2)));
    assert!(has(&store, &block("89", MIB / 2)));
    assert_eq!(store.stats().dropped, 0);
    assert!(du(&directory) <= 8 * MIB * 95 / 100, "{}", du(&directory));
}

#[test]
fn disk_without_inodes_is_left_some_and_reads_go_on() {
    let Some(disk) = small_disk("size=64m,nr_inodes=300") else { return };
    let directory = disk.path().join("koofs");
    let store = open(&directory, 50 * MIB);
    (0..500).for_each(|n| keep(&store, &block(&n.to_string(), 100)));
    assert!(has(&store, &block("499", 100)));
    assert_eq!(store.stats().late, 0);
    let left = free_files(disk.path());
    assert!(left >= 300 * 5 / 100 - 2, "{left}");
    // Somebody else takes the rest.
    let taken = (0..).take_while(|n| std::fs::File::create(disk.path().join(format!("hog {n}"))).is_ok()).count();
    assert!(taken > 0);
    assert!(has(&store, &block("499", 100)));
    keep(&store, &block("more", 100));
    assert_eq!(store.stats().late, 0);
}

#[test]
fn filesystem_that_counts_no_inodes_is_written_to() {
    let Some(disk) = small_disk("size=16m,nr_inodes=0") else { return };
    assert_eq!(free_files(disk.path()), 0);
    let store = open(&disk.path().join("koofs"), 5 * MIB);
    (0..5).for_each(|n| keep(&store, &block(&n.to_string(), 100_000)));
    assert!((0..5).all(|n| has(&store, &block(&n.to_string(), 100_000))));
}

fn free_files(path: &Path) -> u64 {
    let path = c_path(path);
    // SAFETY: plain numbers, for which zeros are good.
    let mut space: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: both outlive the call.
    assert_eq!(unsafe { libc::statvfs(path.as_ptr(), &mut space) }, 0);
    space.f_favail
}

#[test]
fn read_only_disk_is_read() {
    let Some(disk) = small_disk("size=8m") else { return };
    let directory = disk.path().join("koofs");
    {
        let store = open(&directory, 5 * MIB);
        (0..4).for_each(|n| keep(&store, &block(&n.to_string(), 10_000)));
    }
    make_read_only(&disk);
    let store = open(&directory, 5 * MIB);
    assert!((0..4).all(|n| has(&store, &block(&n.to_string(), 10_000))));
    assert!(!put(&store, &block("new", 10_000)));
    assert_eq!(upkeep::summaries(&directory).unwrap()[0].blobs, 4);
    // What was refused is not served, although it cannot be taken away.
    assert!(store.forget(&crate::blob_help::source("a")).is_err());
    assert!((0..4).all(|n| !has(&store, &block(&n.to_string(), 10_000))));
}

#[test]
fn directory_that_is_removed_under_a_store_is_a_miss() {
    let place = Place::new();
    let (directory, store) = (place.path(), place.open(5 * MIB));
    keep(&store, &block("n", 10_000));
    assert!(has(&store, &block("n", 10_000)));
    std::fs::remove_dir_all(&directory).unwrap();
    keep(&store, &block("m", 10_000));
    assert!(!has(&store, &block("m", 10_000)) && !has(&store, &block("n", 10_000)));
    assert_eq!(store.stats().late, 0);
}

#[test]
fn disk_that_hangs_costs_a_few_waits_and_then_nothing() {
    let place = Place::new();
    let directory = place.path();
    let patience = Duration::from_millis(50);
    let config = Config { patience, ..config(&directory, 50 * MIB) };
    let store = Store::open(config, &timer()).unwrap();
    let hanging = block("hanging", 1000);
    keep(&store, &hanging);
    keep(&store, &block("n", 1000));
    // To open a pipe that nobody writes to takes for ever, as it does to open a file of a server that is away.
    std::fs::remove_file(file_of(&directory, &hanging)).unwrap();
    let path = c_path(&file_of(&directory, &hanging));
    // SAFETY: the path outlives the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let start = Instant::now();
    (0..500).for_each(|_| assert!(!has(&store, &hanging)));
    let took = start.elapsed();
    assert_eq!(store.stats().late, 500);
    // 500 waits would be 25 s.
    assert!(took < 100 * patience, "{took:?}");
    assert!(!has(&store, &block("n", 1000)), "it is left alone");
    // Lets go of the threads that wait there.
    drop(std::fs::File::options().read(true).write(true).open(file_of(&directory, &hanging)).unwrap());
    assert_eq!(bytes_of(&hanging).len(), 1000);
    assert!(store.flush(PATIENCE));
}
