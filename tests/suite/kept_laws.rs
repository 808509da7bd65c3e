//! Laws of what outlives a mount, seen through real mounts: what was read once is read from the disk, and is right.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::emulator::{Content, Counters, Emulator, Entry, Fault, FaultKind, Knobs, Replacement};
use crate::mount_bench::{Bench, Said, do_act, mount_command, run, seed_of, tool};
use crate::mounted::{Mountpoint, await_that, koofs, mounts_are_allowed};

const MIB: u64 = 1 << 20;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn gets(bench: &Bench) -> u64 {
    bench.emulator.counters().calls_of("object")
}

/// What lies in the cache directory of the mount, every file of it.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files
}

fn cache_of(bench: &Bench) -> PathBuf {
    bench.mountpoint.beside("cache")
}

/// The blobs of files and listings, as told by their magic and the first letter of what they say they are.
fn blobs_of(bench: &Bench) -> Vec<PathBuf> {
    let unfinished = cache_of(bench).join("tmp");
    files_below(&cache_of(bench))
        .into_iter()
        .filter(|path| {
            let is_one =
                |bytes: Vec<u8>| bytes.starts_with(b"koofs\r\n\0") && matches!(bytes.get(48), Some(b'B' | b'L'));
            fs::read(path).is_ok_and(is_one) && !path.starts_with(&unfinished)
        })
        .collect()
}

/// 300 small files in ten folders, mounted.
fn small_files() -> Bench {
    let emulator = Emulator::synthetic();
    for folder in 0..10 {
        let folder = emulator.tree().add("", Entry::folder(format!("d{folder}")));
        let files =
            (0..30).map(|file| Entry::bytes(format!("f{file}"), format!("needle {folder} {file}\n").repeat(300)));
        emulator.tree().add_many(&folder, files);
    }
    Bench::with(emulator, &["-v"], &[])
}

/// Waits until all that was read of [`small_files`] is on the disk: 300 files and the listings of 11 directories. A disk that is busy
/// may take longer than the end of a mount waits for it.
fn await_kept(bench: &Bench) {
    await_blobs(bench, 311);
}

fn await_blobs(bench: &Bench, count: usize) {
    await_that("all that was read to be kept", || blobs_of(bench).len() == count);
}

fn grep(bench: &Bench) -> String {
    let said = tool("grep", ["-rc", "needle", text(bench.mountpoint.path())]).well();
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn second_grep_after_a_remount_requests_no_content() {
    if !mounts_are_allowed() {
        return;
    }
    let mut bench = small_files();
    let first = grep(&bench);
    assert_eq!(first.lines().count(), 300);
    assert!(gets(&bench) >= 300);
    await_kept(&bench);
    bench.remount(&[]);
    assert_eq!(grep(&bench), first);
    let Counters { calls, object_bytes_sent, .. } = bench.emulator.counters();
    assert_eq!(object_bytes_sent, 0);
    assert!(!calls.contains_key("object"), "{calls:?}");
    bench.end();
}

#[test]
fn second_sequential_read_after_a_remount_requests_no_content() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let size = 40 * MIB + 12_345;
    let id = emulator.tree().add("", Entry::file("file", size));
    let seed = seed_of(&emulator, &id);
    // All of the file may wait to be written.
    let mut bench = Bench::with(emulator, &["--memory", "1G"], &[]);
    assert_eq!(do_act("stream", &bench.path("file"), &[&seed])[0], size.to_string());
    await_blobs(&bench, 42);
    bench.remount(&[]);
    assert_eq!(do_act("stream", &bench.path("file"), &[&seed])[0], size.to_string());
    assert_eq!(gets(&bench), 0);
    do_act("preads", &bench.path("file"), &[&seed]);
    assert_eq!(gets(&bench), 0);
    bench.end();
}

#[test]
fn sequential_read_is_kept_as_a_whole_however_fast_it_comes_and_little_memory_there_is() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.knobs(|knobs| (knobs.object_latency, knobs.bandwidth) = (Duration::from_millis(50), 2_000_000));
    let size = 96 * MIB;
    let id = emulator.tree().add("", Entry::file("file", size));
    let seed = seed_of(&emulator, &id);
    // As many connections as there may be with so little memory, each of which fills a piece of its own.
    let options = ["--memory", "64M"];
    let mut bench = Bench::with(emulator, &options, &[]);
    assert_eq!(do_act("stream", &bench.path("file"), &[&seed])[0], size.to_string());
    await_blobs(&bench, 97);
    bench.remount(&options);
    assert_eq!(do_act("stream", &bench.path("file"), &[&seed])[0], size.to_string());
    assert_eq!(gets(&bench), 0);
    bench.end();
}

#[test]
fn file_that_was_changed_between_two_mounts_is_read_anew() {
    if !mounts_are_allowed() {
        return;
    }
    for how in [Replacement::SameObject, Replacement::NewObject, Replacement::NewId] {
        let emulator = Emulator::synthetic();
        let id = emulator.tree().add("", Entry::bytes("file", vec![b'a'; 3_000_000]));
        let mut bench = Bench::new(emulator);
        assert_eq!(fs::read(bench.path("file")).unwrap(), vec![b'a'; 3_000_000]);
        bench.emulator.tree().replace(&id, Content::Bytes(vec![b'b'; 3_000_000].into()), how);
        bench.remount(&[]);
        run(koofs(&["refresh", text(bench.mountpoint.path())])).well();
        assert!(fs::read(bench.path("file")).unwrap().iter().all(|byte| *byte == b'b'));
        bench.end();
    }
}

#[test]
fn damaged_blobs_are_read_from_the_line() {
    if !mounts_are_allowed() {
        return;
    }
    let mut bench = small_files();
    let first = grep(&bench);
    await_kept(&bench);
    bench.remount(&[]);
    let blobs = blobs_of(&bench);
    assert!(blobs.len() >= 300, "{}", blobs.len());
    let mut random = fastrand::Rng::with_seed(7);
    for blob in &blobs {
        let mut bytes = fs::read(blob).unwrap();
        let at = random.usize(..bytes.len());
        match random.u8(..3) {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes.truncate(at),
            _ => bytes = fs::read(&blobs[random.usize(..blobs.len())]).unwrap(),
        }
        fs::write(blob, bytes).unwrap();
    }
    assert_eq!(grep(&bench), first);
    for folder in 0..10 {
        for file in 0..30 {
            let got = fs::read_to_string(bench.path(&format!("d{folder}/f{file}"))).unwrap();
            assert!(got.lines().all(|line| line.starts_with("needle ") && line.ends_with(&format!(" {file}"))));
        }
    }
    assert!(gets(&bench) > 200);
    bench.end();
}

#[test]
fn nothing_is_left_on_disk_without_a_cache() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::bytes("file", "content"));
    let mut bench = Bench::with(emulator, &["--no-cache"], &[]);
    assert_eq!(fs::read(bench.path("file")).unwrap(), b"content");
    bench.remount(&["--no-cache"]);
    assert_eq!(fs::read(bench.path("file")).unwrap(), b"content");
    assert_eq!(gets(&bench), 1);
    assert!(!cache_of(&bench).exists());
    bench.end();
}

#[test]
fn directory_that_cannot_be_used_costs_a_warning_and_no_mount() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::bytes("file", "content"));
    let bench = Bench::with(emulator, &["--cache-dir", "/proc/nope"], &[]);
    assert_eq!(fs::read(bench.path("file")).unwrap(), b"content");
    let log = bench.log();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("choose another by --cache-dir"), "{log}");
    bench.end();
}

#[test]
fn object_that_was_overwritten_between_two_mounts_is_never_mixed() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let id = emulator.tree().add("", Entry::bytes("file", vec![b'a'; 3 << 20]));
    let mut bench = Bench::new(emulator);
    assert_eq!(fs::read(bench.path("file")).unwrap().len(), 3 << 20);
    await_blobs(&bench, 4);
    // One MiB of three is lost, and the service has other bytes under the same version.
    bench.remount(&[]);
    let lost = blobs_of(&bench).into_iter().find(|blob| fs::metadata(blob).unwrap().len() > MIB).unwrap();
    fs::remove_file(lost).unwrap();
    bench.emulator.tree().overwrite(&id, Content::Bytes(vec![b'b'; 3 << 20].into()));
    let mut attempts = 0;
    let bytes = loop {
        attempts += 1;
        match fs::read(bench.path("file")) {
            Ok(bytes) => break bytes,
            Err(error) => assert!(error.raw_os_error() == Some(libc::ESTALE) && attempts < 4, "{error}"),
        }
    };
    assert!(bytes.iter().all(|byte| *byte == b'b'), "after {attempts} attempts");
    bench.remount(&[]);
    assert!(fs::read(bench.path("file")).unwrap().iter().all(|byte| *byte == b'b'));
    bench.end();
}

/// The blob of the first MiB of a file that is longer.
fn first_of_many(bench: &Bench) -> PathBuf {
    let is_first = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        let identity_end = 48 + usize::from(bytes[12]) + 256 * usize::from(bytes[13]);
        // The index of the block, and its size.
        bytes[48] == b'B' && bytes[identity_end - 16..identity_end - 8] == [0; 8]
    };
    blobs_of(bench).into_iter().find(is_first).unwrap()
}

#[test]
fn kept_bytes_that_disagree_before_one_was_returned_are_read_from_the_line() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let id = emulator.tree().add("", Entry::bytes("file", vec![b'a'; 6 << 20]));
    let mut bench = Bench::with(emulator, &["-v"], &[]);
    assert_eq!(fs::read(bench.path("file")).unwrap().len(), 6 << 20);
    await_blobs(&bench, 7);
    bench.remount(&["-v"]);
    // What is read first has to come from the store, which has other bytes; what comes next is on the disk, and is found before.
    fs::remove_file(first_of_many(&bench)).unwrap();
    bench.emulator.tree().overwrite(&id, Content::Bytes(vec![b'b'; 6 << 20].into()));
    bench.emulator.knobs(|knobs| knobs.object_latency = Duration::from_millis(300));
    let read = tool("sh", ["-c", "cat \"$0\" | tr -d b | wc -c; cat \"$0\" | wc -c", text(&bench.path("file"))]).well();
    assert_eq!(read.split_whitespace().collect::<Vec<_>>(), ["0", &(6 << 20).to_string()]);
    assert!(bench.log().contains("it is read anew"), "{}", bench.log());
    bench.end();
}

fn find(bench: &Bench) -> Vec<String> {
    let said = tool("find", [text(bench.mountpoint.path()), "-printf", "%P %s %T@ %i\n"]).well();
    // The root's own time is that of the mount.
    let mut lines: Vec<String> = said.lines().filter(|line| !line.starts_with(' ')).map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn second_find_after_a_remount_asks_for_no_page() {
    if !mounts_are_allowed() {
        return;
    }
    let mut bench = small_files();
    let first = find(&bench);
    assert_eq!(first.len(), 310);
    await_that("the listings to be kept", || blobs_of(&bench).len() >= 11);
    bench.remount(&[]);
    assert_eq!(find(&bench), first);
    assert_eq!(bench.emulator.counters().api_calls(), 0, "{:?}", bench.emulator.counters().calls);
    bench.end();
}

#[test]
fn listing_past_its_time_is_shown_at_once_and_refreshed_behind_its_reader() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let folder = emulator.tree().add("", Entry::folder("folder"));
    let id = emulator.tree().add(&folder, Entry::file("old", 1));
    let mut bench = Bench::with(emulator, &["--ttl", "1"], &[]);
    let names = |bench: &Bench| tool("ls", [text(&bench.path("folder"))]).well();
    assert_eq!(names(&bench), "old\n");
    bench.emulator.tree().rename(&id, "new");
    bench.remount(&["--ttl", "1"]);
    let began = Instant::now();
    await_that("the time of the listing to be over", || began.elapsed() > Duration::from_secs(1));
    // Nobody would get an answer from the service.
    bench.emulator.fault(Fault::any_api(FaultKind::Hang));
    assert_eq!(names(&bench), "old\n");
    bench.emulator.clear_faults();
    await_that("the new listing", || names(&bench) == "new\n");
    bench.end();
}

#[test]
fn refresh_forgets_listings_on_disk_too() {
    if !mounts_are_allowed() {
        return;
    }
    for by_signal in [false, true] {
        let mut bench = small_files();
        find(&bench);
        // Nothing but the root is in memory from now on.
        bench.remount(&[]);
        let folder = bench.emulator.tree().find("d3").unwrap().id.clone();
        bench.emulator.tree().add(&folder, Entry::file("new", 1));
        if by_signal {
            bench.daemon.signal(libc::SIGHUP);
            await_that("the refresh", || bench.path("d3/new").exists());
        } else {
            run(koofs(&["refresh", text(bench.mountpoint.path())])).well();
            assert!(bench.path("d3/new").exists());
        }
        assert_eq!(find(&bench).len(), 311);
        bench.remount(&[]);
        assert_eq!(find(&bench).len(), 311);
        assert_eq!(grep(&bench).lines().count(), 301);
        bench.end();
    }
}

#[test]
fn share_that_has_ended_is_not_on_disk_any_more() {
    if !mounts_are_allowed() {
        return;
    }
    for end in [
        |knobs: &mut Knobs| knobs.share_status = 1,
        |knobs: &mut Knobs| knobs.expire_time = "-60".to_owned(),
        |knobs: &mut Knobs| knobs.access_code = Some("a1B2c3D4".to_owned()),
    ] {
        let mut bench = small_files();
        grep(&bench);
        await_kept(&bench);
        bench.remount(&[]);
        assert!(blobs_of(&bench).len() >= 310);
        bench.emulator.knobs(end);
        let elsewhere = Mountpoint::new();
        let cache = cache_of(&bench);
        let said = run(mount_command(&bench.emulator, elsewhere.path(), &["--cache-dir", text(&cache)]));
        assert_eq!((said.code == Some(0), said.error.is_empty()), (false, false), "{said:?}");
        let sources = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name());
        let kept: Vec<_> = sources.filter(|name| name.len() == 32).collect();
        assert_eq!(kept, Vec::<std::ffi::OsString>::new());
        bench.daemon.kill();
    }
}

#[test]
fn service_that_cannot_be_reached_takes_nothing_away() {
    if !mounts_are_allowed() {
        return;
    }
    let mut bench = small_files();
    grep(&bench);
    await_kept(&bench);
    bench.remount(&[]);
    let before = blobs_of(&bench).len();
    bench.emulator.fault(Fault::any_api(FaultKind::Reset));
    let elsewhere = Mountpoint::new();
    let said = run(mount_command(
        &bench.emulator,
        elsewhere.path(),
        &["--cache-dir", text(&cache_of(&bench)), "--op-timeout", "1"],
    ));
    assert_eq!(said.code, Some(1), "{said:?}");
    bench.emulator.clear_faults();
    assert_eq!(blobs_of(&bench).len(), before);
    grep(&bench);
    assert_eq!(gets(&bench), 0);
    bench.end();
}

#[test]
fn what_another_source_has_kept_is_not_used() {
    if !mounts_are_allowed() {
        return;
    }
    let of = |byte: u8| {
        let emulator = Emulator::synthetic();
        let time = "2025-01-01T00:00:00Z".parse().unwrap();
        emulator.tree().add("", Entry::bytes("file", vec![byte; 1000]).edited(time));
        emulator
    };
    let shared = tempfile::tempdir().unwrap();
    let cache = shared.path().join("cache");
    for byte in [b'a', b'b'] {
        let bench = Bench::with(of(byte), &["--cache-dir", text(&cache)], &[]);
        assert_eq!(fs::read(bench.path("file")).unwrap(), vec![byte; 1000]);
        bench.end();
    }
    // Two sources of blocks and two of listings.
    let sources = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(sources.filter(|name| name.len() == 32).count(), 4);
}

/// `koofs cache ARGUMENTS` for the cache of this mount.
fn cache(bench: &Bench, arguments: &[&str]) -> Said {
    let mut command = koofs(&["cache", "--cache-dir", text(&cache_of(bench))]);
    command.args(arguments);
    run(command)
}

#[test]
fn cache_command_shows_what_there_is_by_source() {
    if !mounts_are_allowed() {
        return;
    }
    let mut bench = small_files();
    grep(&bench);
    await_kept(&bench);
    bench.remount(&[]);
    let shown = cache(&bench, &[]).well();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with(&format!(" in {}", cache_of(&bench).display())), "{shown}");
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    // 300 files, the listings of 11 directories, and what the opening told.
    assert_eq!(words[1], "312", "{shown}");
    assert!(words[3].starts_with("koofs:share-"), "{shown}");
    assert!(!shown.contains(bench.emulator.share_code()));
    let nothing = koofs(&["cache", "--cache-dir", text(&bench.mountpoint.beside("none"))]);
    assert!(run(nothing).well().starts_with("0 in "));
    bench.end();
}

#[test]
fn cache_clear_removes_one_source_or_all_below_a_mount() {
    if !mounts_are_allowed() {
        return;
    }
    let share = |bench: &Bench| format!("share:{}", bench.emulator.share_code());
    for by_name in [false, true] {
        let mut bench = small_files();
        let first = grep(&bench);
        await_kept(&bench);
        bench.remount(&[]);
        let other = cache(&bench, &["clear", "share:1"]);
        assert!(other.code == Some(1) && other.out.starts_with("nothing is kept of koofs:share-"), "{other:?}");
        assert_eq!(blobs_of(&bench).len(), 311);
        let removed = match by_name {
            true => cache(&bench, &["clear", &share(&bench)]).well(),
            false => cache(&bench, &["clear"]).well(),
        };
        assert!(removed.ends_with(" removed\n") && !removed.starts_with("0 "), "{removed}");
        assert_eq!(blobs_of(&bench), Vec::<PathBuf>::new());
        assert_eq!(grep(&bench), first);
        bench.remount(&[]);
        assert_eq!(grep(&bench), first);
        assert_eq!(gets(&bench), 0, "kept again");
        bench.end();
    }
}

#[test]
fn cache_verify_removes_what_is_damaged_and_says_so() {
    if !mounts_are_allowed() {
        return;
    }
    let mut bench = small_files();
    grep(&bench);
    await_kept(&bench);
    bench.remount(&[]);
    assert!(cache(&bench, &["verify"]).well().starts_with("312 blobs, "));
    let blobs = blobs_of(&bench);
    for blob in &blobs[..3] {
        let mut bytes = fs::read(blob).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(blob, bytes).unwrap();
    }
    let said = cache(&bench, &["verify"]);
    assert_eq!(said.code, Some(1));
    assert!(said.out.starts_with("309 blobs, ") && said.out.contains("; 3 were not, and are removed"), "{said:?}");
    assert!(cache(&bench, &["verify"]).well().starts_with("309 blobs, "));
    bench.end();
}
