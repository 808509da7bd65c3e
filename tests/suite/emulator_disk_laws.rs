//! Laws of the emulator where it serves a directory on disk: answers of one version, memory that does not grow, ids that
//! outlive a restart.

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::emulator::counters::LiveCounters;
use crate::emulator::{Emulator, EmulatorConfig, Tree};
use crate::emulator_laws::{Bench, header, target};
use crate::mount_bench::{Bench as MountBench, tool};
use crate::mount_child::{stamped, versions_in};
use crate::mounted::mounts_are_allowed;

const MIB: usize = 1 << 20;

/// Writes a file anew under its name, as editors do: another file takes the place of the old one.
fn replace(path: &Path, bytes: &[u8]) {
    let aside = path.with_extension("aside");
    fs::write(&aside, bytes).unwrap();
    fs::rename(&aside, path).unwrap();
}

#[test]
fn etag_of_a_file_that_is_replaced_all_the_time_is_that_of_the_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    replace(&path, &stamped(0, MIB));
    let bench = Bench::of(Emulator::serving(directory.path()));
    let id = bench.emulator.tree().find("file").unwrap().id.clone();
    let link = bench.link(&id);
    let done = AtomicBool::new(false);
    let seen: Mutex<HashMap<String, u64>> = Mutex::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut version = 0;
            while !done.load(Ordering::SeqCst) {
                version += 1;
                replace(&path, &stamped(version, MIB));
            }
        });
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..40 {
                        let response = bench.get(&link, &[]);
                        let etag = header(&response, "etag").to_owned();
                        let bytes = response.bytes().expect("a file that was replaced is served to its end");
                        let versions: Vec<u64> = versions_in(&bytes).into_iter().collect();
                        let [version] = versions[..] else { panic!("{versions:?} in one answer") };
                        let known = *seen.lock().unwrap().entry(etag.clone()).or_insert(version);
                        assert_eq!(version, known, "two versions with the tag {etag}");
                    }
                })
            })
            .collect();
        let ended: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        done.store(true, Ordering::SeqCst);
        assert!(ended.iter().all(Result::is_ok));
    });
}

#[test]
fn file_that_is_rewritten_while_it_is_served_ends_the_connection_and_is_never_mixed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, stamped(1, 16 * MIB)).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let bench = Bench::of(Emulator::serving(directory.path()));
    // So slow that most of it is to come when the file is rewritten.
    bench.emulator.knobs(|knobs| knobs.bandwidth = 4_000_000);
    let id = bench.emulator.tree().find("file").unwrap().id.clone();
    let link = bench.link(&id);
    // Once with its time set back, too: then only the time of the change itself tells.
    for (old, keeps_time) in [(1, false), (2, true)] {
        let mut stream = TcpStream::connect(bench.emulator.object_host()).unwrap();
        let host = bench.emulator.object_host();
        let request = format!("GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", target(&link));
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        while answer.len() < 200_000 {
            let count = stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0);
            answer.extend_from_slice(&buffer[..count]);
        }
        // In place: the same file, as long as before.
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all(&stamped(old + 1, 16 * MIB)).unwrap();
        if keeps_time {
            file.set_modified(modified).unwrap();
        }
        drop(file);
        // The end may be a reset as well.
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..count]);
        }
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let body = &answer[head..];
        assert!(String::from_utf8_lossy(&answer[..head]).contains(&format!("content-length: {}", 16 * MIB)));
        assert!(body.len() < 16 * MIB, "the whole file was sent");
        let versions: Vec<u64> = versions_in(body).into_iter().collect();
        assert_eq!(versions, [old], "of {} bytes", body.len());
        if !keeps_time {
            fs::OpenOptions::new().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        }
    }
}

#[test]
fn listings_that_are_begun_again_and_again_are_kept_once_and_within_a_bound() {
    let directory = tempfile::tempdir().unwrap();
    let pad = "x".repeat(230);
    for number in 0..4000 {
        fs::write(directory.path().join(format!("{number:04}{pad}")), "").unwrap();
    }
    let bench = Bench::of(Emulator::serving(directory.path()));
    let begin = || assert_eq!(bench.files(&json!({"pageSize": 1})).code(), 0);
    begin();
    let (listings, once) = bench.emulator.kept_listings();
    assert_eq!(listings, 1);
    for _ in 0..20 {
        begin();
    }
    assert_eq!(bench.emulator.kept_listings(), (1, once), "the directory is the same");
    for change in 0..80 {
        fs::write(directory.path().join(format!("0000{pad}")), vec![0; change + 1]).unwrap();
        begin();
    }
    let (listings, bytes) = bench.emulator.kept_listings();
    assert!(bytes <= crate::emulator::listing::MAX_SNAPSHOT_BYTES && listings < 80, "{listings}, {bytes}");
}

#[test]
fn listing_that_is_not_kept_goes_on_if_the_directory_is_as_it_was_and_is_refused_if_not() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "d"] {
        fs::write(directory.path().join(name), name).unwrap();
    }
    let by_name = json!({"sortType": 1, "sortDirection": 1, "pageSize": 2});
    let first = Bench::of(Emulator::serving(directory.path())).files(&by_name);
    let mut more = by_name.clone();
    more["pageCursor"] = first.json["nextCursor"].clone();
    more["shortUrl"] = json!(EmulatorConfig::default().share_code);
    // Another emulator knows nothing of the first one's listings.
    let names: Vec<String> = Bench::of(Emulator::serving(directory.path()))
        .list(&more)
        .0
        .iter()
        .map(|entry| entry["fileName"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["c", "d"]);
    fs::write(directory.path().join("aa"), "").unwrap();
    let refused = Bench::of(Emulator::serving(directory.path())).files(&more);
    assert_eq!(refused.code(), 13_000_102, "pages of two directories make no listing: {refused:?}");
}

#[test]
fn ranges_of_requests_are_remembered_within_a_bound_for_all_files_together() {
    let counters = LiveCounters::default();
    for file in 0..400 {
        for request in 0..4000 {
            counters.file(&file.to_string(), "name", |file| {
                file.gets += 1;
                file.ranges.push_back(format!("bytes={request}-"));
            });
        }
    }
    let all = counters.snapshot();
    let kept: usize = all.files.values().map(|file| file.ranges.len()).sum();
    assert!(kept <= crate::emulator::counters::RANGES, "{kept}");
    assert_eq!(all.files["0"].ranges.back().unwrap(), "bytes=3999-");
    assert!(all.files.values().all(|file| file.gets == 4000), "requests are counted all the same");
    counters.reset();
    counters.file("0", "name", |file| file.ranges.push_back("-".to_owned()));
    assert_eq!(counters.snapshot().files["0"].ranges.len(), 1);
}

/// A directory of so many folders with ten files each, and the paths of the files from there.
fn folders(count: usize) -> (tempfile::TempDir, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for folder in 0..count {
        let below = format!("folder-{:02}/{folder:04}", folder % 10);
        fs::create_dir_all(directory.path().join(&below)).unwrap();
        for file in 0..10 {
            let path = format!("{below}/file-{file}");
            fs::write(directory.path().join(&path), &path).unwrap();
            files.push(path);
        }
    }
    (directory, files)
}

#[test]
fn ids_of_an_earlier_run_are_found_by_all_who_ask_at_once() {
    let (directory, files) = folders(300);
    let earlier = Tree::directory(directory.path()).unwrap();
    let wanted: Vec<(String, &String)> =
        files.iter().step_by(60).map(|path| (earlier.find(path).unwrap().id.clone(), path)).collect();
    let bench = Bench::of(Emulator::serving(directory.path()));
    std::thread::scope(|scope| {
        for (id, path) in &wanted {
            let bench = &bench;
            scope.spawn(move || {
                let answer = bench.download(id);
                assert_eq!(answer.code(), 0, "{path}: {answer:?}");
                let link = answer.json["downloadUrl"].as_str().unwrap();
                assert_eq!(bench.get(link, &[]).text().unwrap(), **path);
            });
        }
    });
}

#[test]
fn ids_are_found_although_only_a_few_are_remembered() {
    let (directory, files) = folders(12);
    let earlier = Tree::directory(directory.path()).unwrap();
    let few = Tree::directory_remembering(directory.path(), 30).unwrap();
    for path in &files {
        let id = &earlier.find(path).unwrap().id;
        let node = few.node(id).unwrap_or_else(|| panic!("{path} is not found"));
        assert!(few.object(&node.object).is_some(), "{path}");
    }
    assert!(few.node("Fnothing").is_none());
}

#[test]
fn mount_outlives_a_restart_of_the_service() {
    if !mounts_are_allowed() {
        return;
    }
    let (directory, files) = folders(200);
    let mut bench = MountBench::new(Emulator::serving(directory.path()));
    let mount = bench.mountpoint.path().to_str().unwrap().to_owned();
    let source = directory.path().to_str().unwrap();
    assert_eq!(tool("find", [&mount, "-type", "f", "-printf", "."]).well().len(), files.len());
    let (listen, listen_objects) = (bench.emulator.api_address(), bench.emulator.object_address());
    // The addresses are free again once the first one is gone.
    bench.emulator = Emulator::synthetic();
    let tree = Tree::directory(directory.path()).unwrap();
    bench.emulator = Emulator::start(EmulatorConfig { tree, listen, listen_objects, ..EmulatorConfig::default() });
    std::thread::scope(|scope| {
        for part in 0..10 {
            let (source, mount) = (format!("{source}/folder-{part:02}"), format!("{mount}/folder-{part:02}"));
            scope.spawn(move || assert_eq!(tool("diff", ["-r", &source, &mount]).well(), ""));
        }
    });
    bench.end();
}
