//! What a store of a million blobs costs: memory for each, and how long the opening and the first answer take while it is looked through.
//!
//! `cargo run --release --example blobs [COUNT [DIRECTORY]]`; a million in a directory of its own below DIRECTORY (/dev/shm).

#![expect(clippy::unwrap_used, reason = "a benchmark that fails shows where")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use koofs::clock::{SystemClock, Timer};
use koofs::store::identity::{BLOB_BYTES, FileVersion, Identity, Source};
use koofs::store::{Config, Store};

const MINUTE: Duration = Duration::from_secs(60);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().map_or(1_000_000, |count| count.parse().unwrap());
    let parent = arguments.next().unwrap_or_else(|| "/dev/shm".to_owned());
    let place = tempfile::tempdir_in(parent).unwrap();
    let directory = place.path().join("koofs");
    let (source, timer) = (Source::new("https://h", "a", "a"), Timer::new(Arc::new(SystemClock)));
    let open = || {
        let (directory, limit_bytes) = (directory.clone(), Some(1 << 40));
        let config = Config { directory, limit_bytes, queue_bytes: 64 << 20, patience: MINUTE };
        Store::open(config, &timer).unwrap()
    };
    let version = FileVersion { size_bytes: 100, edited_ms: 1, sha256: None };
    let first = Identity::block(&source, "first", &version, 0, BLOB_BYTES).unwrap();
    let store = open();
    store.put_block(&first, None, vec![Arc::new(vec![7; 100])]);
    assert!(store.flush(MINUTE));
    drop(store);
    // A scan looks at names and attributes only.
    let blobs = directory.join(source.key().to_string());
    make(&blobs, count);

    let before = resident_bytes();
    let start = Instant::now();
    let store = open();
    let opened = start.elapsed();
    assert!(store.get(&first).is_some());
    let answered = start.elapsed();
    let is_scanned = store.stats().scans > 0;
    while store.stats().scans == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let scanned = start.elapsed();
    let (index, resident) = (store.stats().index_bytes, resident_bytes().saturating_sub(before));
    println!(
        "{count} blobs: opened after {opened:?}, first answer after {answered:?}, looked through after {scanned:?}"
    );
    println!("the answer came {} that", if is_scanned { "after" } else { "before" });
    println!(
        "index {index} bytes, {:.1} a blob; resident memory grew by {resident} bytes, {:.1} a blob",
        part(index, count),
        part(resident, count)
    );
}

fn make(blobs: &Path, count: u64) {
    for shard in 0..256 {
        fs::create_dir_all(blobs.join(format!("{shard:02x}"))).unwrap();
    }
    for number in 0..count {
        let name = format!("{:02x}{number:030x}", number % 256);
        fs::write(blobs.join(&name[..2]).join(&name), b"x").unwrap();
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn part(bytes: u64, count: u64) -> f64 {
    bytes as f64 / count as f64
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
