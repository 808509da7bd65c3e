//! Laws of the store over real directories: what was put comes back, whatever is wrong is a miss, and others see none of it.

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use koofs::store::identity::{BLOB_BYTES, FileVersion, Identity};
use koofs::store::upkeep::{self, Verified};
use koofs::store::{Config, Part, Store, StoreError};

use crate::blob_help::{
    PATIENCE, Place, block, block_of, bytes_of, config, du, file_of, has, keep, last_used, put, source, timer,
};
use crate::mounted::{await_that, c_path};

const MIB: u64 = 1 << 20;

/// Far more than any law keeps.
const LARGE: u64 = 1 << 40;

#[test]
fn blob_outlives_its_store_with_etag_and_time() {
    let place = Place::new();
    let version = FileVersion { size_bytes: 5 * MIB / 2, edited_ms: 7, sha256: Some([3; 32]) };
    let blocks: Vec<_> =
        (0..3).map(|index| Identity::block(&source("a"), "n", &version, index, BLOB_BYTES).unwrap()).collect();
    let before = SystemTime::now() - Duration::from_millis(1);
    {
        let store = place.open(10 * MIB);
        assert!(blocks.iter().all(|block| store.get(block).is_none()));
        assert!(blocks.iter().all(|block| put(&store, block)));
        assert!(store.flush(PATIENCE));
        assert_eq!((store.stats().written, store.stats().dropped), (3, 0));
        // A second time, nothing is written.
        assert!(put(&store, &blocks[0]) && store.flush(PATIENCE));
        assert_eq!(store.stats().written, 3);
    }
    let store = place.open(10 * MIB);
    for block in &blocks {
        let blob = store.get(block).unwrap();
        assert_eq!(blob.data(), bytes_of(block));
        assert_eq!(blob.etag.as_deref(), Some("\"etag\""));
        assert!((before..=SystemTime::now()).contains(&blob.complete_at));
    }
    assert_eq!((store.stats().hits, store.stats().misses, store.stats().late), (3, 0, 0));
}

#[test]
fn later_listing_takes_the_place_of_an_earlier_one() {
    let place = Place::new();
    let store = place.open(10 * MIB);
    let listing = Identity::listing(&source("a"), "who", "dir").unwrap();
    for (seconds, text) in [(1, "first and longer"), (2, "second"), (3, "")] {
        let complete_at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(store.put_listing(&listing, complete_at, text.into()) && store.flush(PATIENCE));
        let blob = store.get(&listing).unwrap();
        assert_eq!((blob.data(), blob.complete_at, blob.etag.as_deref()), (text.as_bytes(), complete_at, None));
    }
    let other = Identity::listing(&source("a"), "who else", "dir").unwrap();
    assert!(store.get(&other).is_none());
}

#[test]
fn block_of_another_length_than_its_identity_says_is_not_kept() {
    let place = Place::new();
    let store = place.open(10 * MIB);
    for len in [0, 99, 101] {
        let parts: Vec<Part> = vec![Arc::new(vec![0_u8; len])];
        assert!(!store.put_block(&block("n", 100), None, parts));
    }
    let listing = Identity::listing(&source("a"), "", "n").unwrap();
    assert!(!store.put_block(&listing, None, Vec::new()));
    assert!(!store.put_listing(&block("n", 100), SystemTime::now(), vec![0; 100]));
    assert!(store.flush(PATIENCE) && store.get(&block("n", 100)).is_none());
}

/// Damages the blob of `identity` by `damage`; that has to be a miss, and the file has to go.
#[track_caller]
fn damaged_is_a_miss(store: &Store, directory: &Path, identity: &Identity, damage: impl FnOnce(&Path)) {
    let file = file_of(directory, identity);
    keep(store, identity);
    assert!(has(store, identity));
    damage(&file);
    let damaged = store.stats().damaged;
    assert!(store.get(identity).is_none());
    assert_eq!(store.stats().damaged, damaged + 1);
    assert!(!file.exists());
}

#[test]
fn every_damage_to_a_blob_is_a_miss_and_takes_it_away() {
    let place = Place::new();
    let (directory, store) = (place.path(), place.open(10 * MIB));
    let (identity, other) = (block("n", 3000), block("other", 3000));
    keep(&store, &identity);
    let len = file_of(&directory, &identity).metadata().unwrap().len();
    let header = len - 3000;
    for at in (0..header).chain((header..len).step_by(97)).chain([len - 1]) {
        damaged_is_a_miss(&store, &directory, &identity, |file| {
            let file = std::fs::File::options().read(true).write(true).open(file).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ (1 << (at % 8))], at).unwrap();
        });
    }
    for short in [0, 1, 47, 48, header - 1, header, len - 1, len + 1, 2 * MIB] {
        damaged_is_a_miss(&store, &directory, &identity, |file| {
            std::fs::File::options().write(true).open(file).unwrap().set_len(short).unwrap();
        });
    }
    keep(&store, &other);
    damaged_is_a_miss(&store, &directory, &identity, |file| {
        std::fs::copy(file_of(&directory, &other), file).unwrap();
    });
    assert!(has(&store, &other));
    let swap = directory.join("swap");
    damaged_is_a_miss(&store, &directory, &identity, |file| {
        std::fs::rename(file, &swap).unwrap();
        std::fs::rename(file_of(&directory, &other), file).unwrap();
        std::fs::rename(&swap, file_of(&directory, &other)).unwrap();
    });
    assert!(store.get(&other).is_none());
}

#[test]
fn blob_that_is_no_file_is_a_miss() {
    let place = Place::new();
    let (directory, store) = (place.path(), place.open(10 * MIB));
    let (identity, other) = (block("n", 3000), block("other", 3000));
    keep(&store, &identity);
    keep(&store, &other);
    let file = file_of(&directory, &identity);
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(file_of(&directory, &other), &file).unwrap();
    assert!(store.get(&identity).is_none());
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(store.get(&identity).is_none());
}

#[test]
fn directory_that_is_not_ours_alone_is_refused_with_the_remedy() {
    let place = Place::new();
    let open = |directory: &Path| Store::open(config(directory, MIB), &timer()).map(|_| ());
    drop(place.open(MIB));
    let mode = |mode| std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    for open_to_others in [0o755, 0o710, 0o701, 0o770] {
        mode(open_to_others);
        let error = open(&place.path()).unwrap_err();
        assert!(matches!(error, StoreError::TooOpen { .. }) && error.to_string().contains("chmod 700"), "{error}");
    }
    mode(0o700);
    assert!(open(&place.path()).is_ok());

    let full = tempfile::tempdir().unwrap();
    std::fs::write(full.path().join("thesis.txt"), "years").unwrap();
    std::fs::set_permissions(full.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let error = open(full.path()).unwrap_err();
    assert!(matches!(error, StoreError::NotEmpty(_)) && error.to_string().contains("--cache-dir"), "{error}");

    let error = open(&full.path().join("thesis.txt")).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }) && error.to_string().contains("--cache-dir"), "{error}");

    // Only root can give a directory away.
    if std::os::unix::fs::chown(place.path(), Some(65_534), None).is_ok() {
        let error = open(&place.path()).unwrap_err();
        assert!(matches!(error, StoreError::NotOurs { owner: 65_534, .. }), "{error}");
    }
}

#[test]
fn others_can_neither_list_nor_read_what_is_kept() {
    let place = Place::new();
    let store = place.open(10 * MIB);
    keep(&store, &block("n", 3000));
    let mut left = vec![place.path()];
    let mut files = 0;
    while let Some(path) = left.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let want = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, want, "{}", path.display());
        files += u32::from(metadata.is_file());
        if metadata.is_dir() {
            left.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert_eq!(files, 4);
}

#[test]
fn what_was_used_least_recently_goes_first_also_after_a_restart() {
    let place = Place::new();
    let (directory, blocks) = (place.path(), (0..8).map(|n| block(&n.to_string(), 100_000)).collect::<Vec<_>>());
    {
        let store = place.open(100 * MIB);
        blocks.iter().for_each(|block| keep(&store, block));
        // The last is the oldest.
        (0..8).for_each(|n| last_used(&directory, &blocks[n as usize], Duration::from_secs(10_000 * (n + 1))));
        // Its use is written down.
        assert!(has(&store, &blocks[7]));
    }
    let store = place.open(du(&directory));
    keep(&store, &block("new", 150_000));
    let there: Vec<bool> = blocks.iter().map(|block| file_of(&directory, block).exists()).collect();
    assert_eq!(there, [true, true, true, true, true, false, false, true]);
    assert!(has(&store, &block("new", 150_000)));
    assert_eq!(store.stats().evicted, 2);
}

#[test]
fn blob_that_was_used_since_it_was_looked_at_stays() {
    let place = Place::new();
    let (directory, blocks) = (place.path(), (0..6).map(|n| block(&n.to_string(), 100_000)).collect::<Vec<_>>());
    drop({
        let store = place.open(100 * MIB);
        blocks.iter().for_each(|block| keep(&store, block));
        store
    });
    (0..6).for_each(|n| last_used(&directory, &blocks[n as usize], Duration::from_secs(100_000 - 10_000 * n)));
    let store = place.open(du(&directory));
    keep(&store, &block("new", 50_000));
    assert!(!file_of(&directory, &blocks[0]).exists());
    // Another mount uses the next one.
    assert!(has(&place.open(100 * MIB), &blocks[1]));
    keep(&store, &block("newer", 100_000));
    assert!(file_of(&directory, &blocks[1]).exists() && !file_of(&directory, &blocks[2]).exists());
}

#[test]
fn du_never_exceeds_the_limit_whatever_the_sizes_are() {
    let place = Place::new();
    let limit = 8 * MIB;
    let store = place.open(limit);
    let mut random = fastrand::Rng::with_seed(12);
    for number in 0..600 {
        let len = if number % 7 == 0 { random.u64(1..MIB) } else { random.u64(1..20_000) };
        put(&store, &block(&number.to_string(), len));
        if number % 10 == 0 {
            assert!(store.flush(PATIENCE));
            let du = du(&place.path());
            assert!(du <= limit + 2 * MIB, "{du}");
        }
    }
    assert!(store.flush(PATIENCE));
    let (du, stats) = (du(&place.path()), store.stats());
    assert!(du <= limit + 2 * MIB && du > limit / 2, "{du}");
    assert_eq!((stats.written, stats.dropped), (600, 0), "{stats:?}");
    // Not even counting wrong: a new scan finds what is counted.
    assert!(stats.evicted > 100 && stats.scans < 60, "{stats:?}");
}

#[test]
fn blob_longer_than_the_limit_is_dropped_and_empties_nothing() {
    let place = Place::new();
    let store = place.open(MIB / 2);
    keep(&store, &block("small", 1000));
    keep(&store, &block("large", MIB));
    assert!(has(&store, &block("small", 1000)) && !has(&store, &block("large", MIB)));
    keep(&store, &block("another", 1000));
    assert!(has(&store, &block("another", 1000)), "and no rest begins");
}

#[test]
fn forgotten_source_is_found_by_nobody_and_others_stay() {
    let place = Place::new();
    let (store, other) = (place.open(500 * MIB), place.open(500 * MIB));
    let (a, b) = (source("a"), source("b"));
    for node in 0..50 {
        put(&store, &block_of(&a, &node.to_string(), 5000));
        put(&store, &block_of(&b, &node.to_string(), 5000));
    }
    assert!(store.flush(PATIENCE));
    let waiting: Vec<_> = (50..100).map(|node| block_of(&a, &node.to_string(), MIB)).collect();
    waiting.iter().for_each(|block| _ = put(&store, block));
    store.forget(&a).unwrap();
    assert!(store.flush(PATIENCE));
    for store in [&store, &other] {
        assert!((0..50).all(|node| !has(store, &block_of(&a, &node.to_string(), 5000))));
        assert!((0..50).all(|node| has(store, &block_of(&b, &node.to_string(), 5000))));
        assert!(waiting.iter().all(|block| !has(store, block)));
    }
    // What is fetched afterwards is kept.
    keep(&store, &block_of(&a, "again", 5000));
    assert!(has(&other, &block_of(&a, "again", 5000)));
}

#[test]
fn what_does_not_fit_into_the_queue_is_dropped_and_counted() {
    let place = Place::new();
    let config = Config { queue_bytes: 5 * MIB / 2, ..config(&place.path(), 50 * MIB) };
    let store = Store::open(config, &timer()).unwrap();
    keep(&store, &block("first", 1000));
    let usage = std::fs::File::options().read(true).write(true).open(place.path().join("usage")).unwrap();
    lock_count(&usage);
    let part: Part = Arc::new(vec![1_u8; MIB as usize]);
    let blocks: Vec<_> = (0..50).map(|n| block(&n.to_string(), MIB)).collect();
    let accepted = blocks.iter().filter(|block| store.put_block(block, None, vec![Arc::clone(&part)])).count();
    assert!((1..=2).contains(&accepted), "{accepted}");
    assert!(store.flush(PATIENCE));
    let stats = store.stats();
    assert_eq!((stats.written, stats.dropped), (1, 50), "{stats:?}");
    assert!(stats.dropped_bytes >= 50 * MIB);
    assert!(has(&store, &block("first", 1000)), "reads need no lock");
}

/// Locks the count as a mount does that was stopped.
fn lock_count(file: &std::fs::File) {
    use std::os::fd::AsRawFd;
    // SAFETY: the file is open.
    assert_eq!(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) }, 0);
}

#[test]
fn commands_say_what_there_is_and_clear_and_verify_it() {
    let place = Place::new();
    let directory = place.path();
    assert_eq!(upkeep::summaries(&directory).unwrap(), []);
    assert_eq!(upkeep::clear(&directory, None).unwrap(), 0);
    assert!(!directory.exists(), "asking makes nothing");
    let store = place.open(50 * MIB);
    let (a, b) = (source("a"), source("b"));
    for (source, count) in [(&a, 3), (&b, 5)] {
        (0..count).for_each(|node| keep(&store, &block_of(source, &node.to_string(), 5000)));
    }
    last_used(&directory, &block_of(&b, "2", 5000), Duration::from_secs(86_400));
    let mut summaries = upkeep::summaries(&directory).unwrap();
    summaries.sort_by_key(|summary| summary.blobs);
    let labels: Vec<_> = summaries.iter().map(|summary| (summary.label.as_deref().unwrap(), summary.blobs)).collect();
    assert_eq!(labels, [("the share a", 3), ("the share b", 5)]);
    assert!(summaries[1].oldest.unwrap() < SystemTime::now() - Duration::from_secs(80_000));
    assert!(summaries[1].bytes >= 5 * 5000);

    let mut seen = Vec::new();
    let good = upkeep::verify(&directory, |so_far| seen.push(so_far.blobs)).unwrap();
    assert!(seen.is_sorted() && seen.last() == Some(&good.blobs) && seen.len() as u64 == good.blobs, "{seen:?}");
    assert_eq!((good.blobs, good.damaged, good.unreadable), (8, 0, 0));
    std::fs::write(file_of(&directory, &block_of(&a, "1", 5000)), "junk").unwrap();
    std::fs::copy(file_of(&directory, &block_of(&b, "1", 5000)), file_of(&directory, &block_of(&b, "2", 5000)))
        .unwrap();
    let verified = upkeep::verify(&directory, |_| {}).unwrap();
    assert_eq!((verified.blobs, verified.damaged, verified.unreadable), (6, 2, 0));
    assert_eq!(upkeep::verify(&directory, |_| {}).unwrap(), Verified { damaged: 0, ..verified });

    assert!(upkeep::clear(&directory, Some(b.key())).unwrap() > 4 * 5000);
    assert_eq!(upkeep::summaries(&directory).unwrap().len(), 1);
    assert!(has(&store, &block_of(&a, "0", 5000)) && !has(&store, &block_of(&b, "0", 5000)));
    upkeep::clear(&directory, None).unwrap();
    assert_eq!(upkeep::summaries(&directory).unwrap(), []);
    assert!(du(&directory) < 64 << 10);
    // A mount that runs meanwhile goes on.
    keep(&store, &block_of(&a, "0", 5000));
    assert!(has(&store, &block_of(&a, "0", 5000)));
}

#[test]
fn store_remembers_less_than_a_hundred_bytes_of_each_blob_and_answers_before_it_has_looked_at_them() {
    const COUNT: u64 = 20_000;
    let place = Place::new();
    let directory = place.path();
    let store = place.open(LARGE);
    keep(&store, &block("first", 100));
    drop(store);
    let blobs = directory.join(source("a").key().to_string());
    for shard in 0..256 {
        std::fs::create_dir_all(blobs.join(format!("{shard:02x}"))).unwrap();
    }
    // A scan looks at names and attributes only.
    for number in 0..COUNT {
        let name = format!("{:02x}{number:030x}", number % 256);
        std::fs::write(blobs.join(&name[..2]).join(&name), b"x").unwrap();
    }
    // What a source is called stands in a file: a pipe there that nobody writes to holds whoever looks through the directory.
    let held = directory.join("0".repeat(32));
    std::fs::create_dir(&held).unwrap();
    let path = c_path(&held.join("source"));
    // SAFETY: the path outlives the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let store = place.open(LARGE);
    assert!(has(&store, &block("first", 100)));
    assert_eq!((store.stats().scans, store.stats().index_bytes), (0, 0));
    drop(std::fs::File::options().read(true).write(true).open(held.join("source")).unwrap());
    await_that("the scan", || store.stats().scans > 0);
    let index_bytes = store.stats().index_bytes;
    assert!((8 * COUNT..100 * COUNT).contains(&index_bytes), "{index_bytes}");
}
