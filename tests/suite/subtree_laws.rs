//! The laws of subtrees that are had at once where a walk begins: over a fake remote, and through real mounts of spaces.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use koofs::config::SpaceSource;
use koofs::fs::{Ino, Lookup};
use koofs::remote::{Node, NodeId, Remote, RemoteErrorKind, SubtreePage};
use serde_json::{Value, json};

use crate::emulator::knobs::WalkFile;
use crate::emulator::spaces::SHARED_FOLDER_ID;
use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::fakes::{Bench as CoreBench, BenchConfig, FakeRemote, ManualClock, PATIENCE, Subtrees, dir, file};
use crate::mount_bench::{Bench, tool};
use crate::mounted::{await_that, mounts_are_allowed};
use crate::scripted_server::{Answer, ScriptedServer};
use crate::space_client::{config, open, scripted_config, soon};

/// Long enough for anything that is not held back to happen; what must *not* happen is looked for this long.
const A_WHILE: Duration = Duration::from_millis(100);

const PID: u32 = 7;

// ---- The core ----

/// A tree: the root holds a file and ten directories `a0` to `a9`, each ten `b0` to `b9`, each two files.
fn tree() -> BTreeMap<String, Vec<Node>> {
    let mut dirs = BTreeMap::new();
    let tops: Vec<Node> = (0..10).map(|a| dir(&format!("A{a}"), &format!("a{a}"))).collect();
    dirs.insert("root".to_owned(), [tops, vec![file("Z", "z", 1)]].concat());
    for a in 0..10 {
        dirs.insert(format!("A{a}"), (0..10).map(|b| dir(&format!("A{a}B{b}"), &format!("b{b}"))).collect());
        for b in 0..10 {
            let files = (0..2).map(|f| file(&format!("A{a}B{b}F{f}"), &format!("f{f}"), 5));
            dirs.insert(format!("A{a}B{b}"), files.collect());
        }
    }
    dirs
}

const DIRECTORIES: usize = 1 + 10 + 100;

fn bench_of(subtrees: Subtrees) -> CoreBench {
    // Time stands still: a busy machine must not be too late for the subtree.
    let clock = Arc::new(ManualClock::default());
    bench_with(subtrees, BenchConfig { clock, ..BenchConfig::default() })
}

fn bench_with(subtrees: Subtrees, config: BenchConfig) -> CoreBench {
    let bench = CoreBench::with(FakeRemote::new([]), config);
    bench.remote.change(|state| (state.dirs, state.subtrees) = (tree(), subtrees));
    bench.sync_sizes();
    bench
}

/// Reads a directory as process `pid`; its names with their inode numbers.
fn read(bench: &CoreBench, ino: Ino, pid: u32) -> Vec<(String, Ino)> {
    let fh = bench.fs.opendir(ino, pid).unwrap();
    let items = bench.readdir(fh, 0, 1000).unwrap();
    bench.fs.releasedir(fh);
    items.into_iter().map(|(name, ino, _)| (name, ino)).filter(|(name, _)| name != "." && name != "..").collect()
}

/// Walks the whole tree as `find` does; all paths.
fn walk(bench: &CoreBench, pid: u32) -> Vec<String> {
    let mut paths = Vec::new();
    let mut left = vec![(String::new(), Ino::ROOT)];
    while let Some((path, ino)) = left.pop() {
        let mut entries = read(bench, ino, pid);
        entries.reverse();
        for (name, child) in entries {
            let path = format!("{path}/{name}");
            if bench.fs.getattr(child).unwrap().0.kind == koofs::remote::NodeKind::Directory {
                left.push((path.clone(), child));
            }
            paths.push(path);
        }
    }
    paths.sort();
    paths
}

fn expected() -> Vec<String> {
    let mut paths = vec!["/z".to_owned()];
    for a in 0..10 {
        paths.push(format!("/a{a}"));
        for b in 0..10 {
            paths.push(format!("/a{a}/b{b}"));
            paths.extend((0..2).map(|f| format!("/a{a}/b{b}/f{f}")));
        }
    }
    paths.sort();
    paths
}

#[test]
fn walk_of_many_directories_takes_few_calls() {
    let bench = bench_of(Subtrees::Works);
    assert_eq!(walk(&bench, PID), expected());
    let pages = bench.remote.subtree_pages.load(Ordering::SeqCst);
    assert_eq!(pages, 1);
    // The root, the first directory, and what the walker has opened before the subtree was begun: no time passes in this service.
    assert!(bench.remote.lists() < DIRECTORIES / 2, "{} listings", bench.remote.lists());
    assert_eq!(walk(&bench, PID), expected());
    assert_eq!((bench.remote.subtree_pages.load(Ordering::SeqCst), bench.remote.counted.lock().unwrap().len()), (1, 1));
}

#[test]
fn walk_shows_the_same_whatever_comes_of_its_subtree_and_asks_for_no_other_after_an_odd_one() {
    let odd = [
        Subtrees::NotCounted,
        Subtrees::CountedOnly,
        Subtrees::Orphans,
        Subtrees::Short,
        Subtrees::NotAsListed,
        Subtrees::Fails(RemoteErrorKind::Unavailable),
        Subtrees::Fails(RemoteErrorKind::Malformed),
    ];
    let numbers = |bench: &CoreBench| read(bench, Ino::ROOT, PID);
    let usual = numbers(&bench_of(Subtrees::Works));
    for subtrees in odd {
        let clock = Arc::new(ManualClock::default());
        let bench = bench_with(subtrees, BenchConfig { clock: Arc::clone(&clock) as _, ..BenchConfig::default() });
        // Two pages, so that the second can fail.
        bench.remote.page_size.store(16, Ordering::SeqCst);
        assert_eq!(walk(&bench, PID), expected(), "{subtrees:?}");
        assert_eq!(numbers(&bench), usual);
        assert!(bench.remote.lists() >= DIRECTORIES, "directory by directory: {subtrees:?}");
        await_that("its count", || bench.remote.counted.lock().unwrap().len() == 1);
        // Also when all is listed anew, and all that was opened has been looked at.
        std::thread::sleep(A_WHILE);
        clock.advance(Duration::from_secs(400));
        assert_eq!(walk(&bench, PID), expected(), "{subtrees:?}");
        assert_eq!(bench.remote.counted.lock().unwrap().len(), 1, "{subtrees:?}");
    }
}

#[test]
fn subtree_that_fails_for_a_moment_is_asked_for_again_after_the_time_of_a_listing() {
    let clock = Arc::new(ManualClock::default());
    let config = BenchConfig { clock: Arc::clone(&clock) as _, ..BenchConfig::default() };
    let bench = bench_with(Subtrees::Fails(RemoteErrorKind::Interrupted), config);
    bench.remote.page_size.store(16, Ordering::SeqCst);
    assert_eq!(walk(&bench, PID), expected());
    assert_eq!(walk(&bench, PID), expected());
    assert_eq!(bench.remote.counted.lock().unwrap().len(), 1);
    bench.remote.change(|state| state.subtrees = Subtrees::Works);
    std::thread::sleep(A_WHILE);
    clock.advance(Duration::from_secs(400));
    assert_eq!(walk(&bench, PID), expected());
    assert_eq!(bench.remote.counted.lock().unwrap()[..], ["root", "root"]);
}

#[test]
fn name_that_a_subtree_does_not_have_is_absent_only_if_its_directory_says_so() {
    let bench = bench_of(Subtrees::Works);
    walk(&bench, PID);
    let before = bench.remote.lists();
    let a9 = bench.ino(Ino::ROOT, "a9");
    let b9 = bench.ino(a9, "b9");
    assert_eq!(bench.remote.lists(), before, "what is there is known");
    // It has come meanwhile: the subtree does not have it, the directory does.
    bench.remote.change(|state| state.dirs.get_mut("A9B9").unwrap().push(file("NEW", "new", 3)));
    bench.sync_sizes();
    assert!(matches!(bench.lookup(b9, "new"), Ok(Lookup::Found(..))));
    assert_eq!(bench.remote.lists(), before + 1);
    assert!(matches!(bench.lookup(b9, "absent"), Ok(Lookup::Absent(_))));
    assert_eq!(bench.remote.lists(), before + 1, "its own listing is known now");
    assert_eq!(read(&bench, b9, PID).len(), 3);
    // A failure of that listing is no absence.
    let b8 = bench.ino(a9, "b8");
    bench.remote.change(|state| state.list_failures.push_back(RemoteErrorKind::Denied));
    assert!(bench.lookup(b8, "absent").is_err());
}

#[test]
fn programs_that_look_for_what_is_not_there_have_directories_listed_ahead_again() {
    let bench = bench_of(Subtrees::Works);
    walk(&bench, PID);
    for b in 0..4 {
        let a0 = bench.ino(Ino::ROOT, "a5");
        let ino = bench.ino(a0, &format!("b{b}"));
        assert!(matches!(bench.lookup(ino, ".ignore"), Ok(Lookup::Absent(_))));
    }
    let before = bench.remote.lists();
    assert_eq!(walk(&bench, PID), expected());
    // Of 111 directories, those that the first walk had come to before the subtree was there are known by themselves.
    assert!(bench.remote.lists() > before + 20, "listed one by one, and ahead: {}", bench.remote.lists() - before);
}

#[test]
fn walker_waits_for_its_subtree_and_nobody_else_does() {
    let bench = bench_of(Subtrees::Works);
    bench.remote.subtree_gate.close();
    let root = read(&bench, Ino::ROOT, PID);
    let a0 = read(&bench, root[0].1, PID);
    await_that("a page", || bench.remote.subtree_pages.load(Ordering::SeqCst) == 1);
    let fh = bench.fs.opendir(a0[0].1, PID).unwrap();
    let walker = bench.readdir_later(fh, 0, 1000);
    assert_eq!(walker.recv_timeout(A_WHILE).unwrap_err(), RecvTimeoutError::Timeout);
    // Another reads another directory, and yet another looks a name up where the walker waits.
    assert_eq!(read(&bench, a0[5].1, PID + 1).len(), 2);
    assert!(matches!(bench.lookup(a0[0].1, "f1"), Ok(Lookup::Found(..))));
    assert_eq!(walker.recv_timeout(PATIENCE).unwrap().unwrap().len(), 4, "and with that, the walker goes on too");
    let fh = bench.fs.opendir(a0[1].1, PID).unwrap();
    let walker = bench.readdir_later(fh, 0, 1000);
    assert_eq!(walker.recv_timeout(A_WHILE).unwrap_err(), RecvTimeoutError::Timeout);
    assert_eq!(read(&bench, a0[1].1, PID + 1).len(), 2, "the same directory as another process");
    assert_eq!(walker.recv_timeout(PATIENCE).unwrap().unwrap().len(), 4);
}

#[test]
fn walker_waits_for_some_seconds_at_most() {
    let clock = Arc::new(ManualClock::default());
    let bench = bench_with(Subtrees::Works, BenchConfig { clock: Arc::clone(&clock) as _, ..BenchConfig::default() });
    bench.remote.subtree_gate.close();
    let root = read(&bench, Ino::ROOT, PID);
    let a0 = read(&bench, root[0].1, PID);
    await_that("a page", || bench.remote.subtree_pages.load(Ordering::SeqCst) == 1);
    let fh = bench.fs.opendir(a0[0].1, PID).unwrap();
    let walker = bench.readdir_later(fh, 0, 1000);
    assert_eq!(walker.recv_timeout(A_WHILE).unwrap_err(), RecvTimeoutError::Timeout);
    clock.advance(Duration::from_secs(5));
    bench.timer.run_due();
    assert_eq!(walker.recv_timeout(PATIENCE).unwrap().unwrap().len(), 4);
    assert_eq!(read(&bench, a0[1].1, PID).len(), 2, "nor for the next one");
    bench.remote.subtree_gate.open();
    assert_eq!(walk(&bench, PID), expected());
}

#[test]
fn refresh_makes_a_subtree_that_is_on_its_way_worthless() {
    let bench = bench_of(Subtrees::Works);
    bench.remote.subtree_gate.close();
    let root = read(&bench, Ino::ROOT, PID);
    read(&bench, root[0].1, PID);
    await_that("a page", || bench.remote.subtree_pages.load(Ordering::SeqCst) == 1);
    let (sender, refreshed) = std::sync::mpsc::channel();
    drop(bench.fs.take_changes());
    bench.fs.refresh(Ino::ROOT, Box::new(move |result| drop(sender.send(result))));
    refreshed.recv_timeout(PATIENCE).unwrap().unwrap();
    bench.remote.subtree_gate.open();
    std::thread::sleep(A_WHILE);
    bench.remote.change(|state| state.subtrees = Subtrees::NotOffered);
    bench.remote.change(|state| state.dirs.get_mut("A9B9").unwrap().push(file("NEW", "new", 3)));
    let paths = walk(&bench, PID);
    assert!(paths.contains(&"/a9/b9/new".to_owned()), "nothing is shown as it was before");
}

#[test]
fn few_or_large_directories_and_huge_trees_are_listed_one_by_one() {
    let few = |count: usize| -> BTreeMap<String, Vec<Node>> {
        let mut dirs = BTreeMap::new();
        dirs.insert("root".to_owned(), vec![dir("A", "a"), dir("B", "b"), dir("C", "c")]);
        for id in ["A", "B", "C"] {
            dirs.insert(id.to_owned(), (0..count).map(|n| file(&format!("{id}{n}"), &format!("f{n}"), 1)).collect());
        }
        dirs
    };
    for dirs in [few(1), few(3000)] {
        let bench = bench_of(Subtrees::Works);
        bench.remote.change(|state| state.dirs = dirs);
        bench.sync_sizes();
        let root = read(&bench, Ino::ROOT, PID);
        for (_, ino) in root {
            read(&bench, ino, PID);
        }
        await_that("a count", || bench.remote.counted.lock().unwrap().len() == 1);
        std::thread::sleep(A_WHILE);
        assert_eq!(bench.remote.subtree_pages.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn one_opened_directory_and_a_directory_in_the_middle_have_no_subtree_fetched() {
    let bench = bench_of(Subtrees::Works);
    let root = read(&bench, Ino::ROOT, PID);
    read(&bench, root[4].1, PID);
    std::thread::sleep(A_WHILE);
    assert_eq!(bench.remote.counted.lock().unwrap().len(), 0);
    // A second one, by whomever, is a walk.
    read(&bench, root[5].1, PID + 1);
    await_that("a count", || bench.remote.counted.lock().unwrap().len() == 1);
}

#[test]
fn names_that_depend_on_the_order_of_a_listing_are_not_taken_from_a_subtree() {
    let change = |state: &mut crate::fakes::RemoteState| {
        let twins = vec![file("T2", "twin", 2), file("T1", "twin", 1), file("T3", "a/b", 3)];
        state.dirs.get_mut("A7B7").unwrap().extend(twins);
    };
    let told = |subtrees: Subtrees| {
        let bench = bench_of(subtrees);
        bench.remote.change(change);
        bench.sync_sizes();
        let paths = walk(&bench, PID);
        let a7 = bench.ino(Ino::ROOT, "a7");
        let b7 = bench.ino(a7, "b7");
        (paths, read(&bench, b7, PID))
    };
    assert_eq!(told(Subtrees::Works), told(Subtrees::NotOffered));
}

// ---- The client ----

/// A service with a space whose `walkFile` answers `files`, and whose `statsDir` counts one directory and one file.
fn walked(files: Value, next: Value) -> ScriptedServer {
    ScriptedServer::with_handler(move |request| match request.path() {
        "/koodrive/ose/v1/space/7" => Answer::json(&json!({"data": {"containerId": "IAAD1"}, "code": 0})),
        "/koodrive/ose/v1/files/0" => Answer::json(&json!({
            "files": [{"id": "F1", "fileName": "d", "fileType": "10", "parentFolder": ["DROOT"]}], "code": 0})),
        "/koodrive/ose/v1/file/walkFile" => Answer::json(&json!({"files": files, "nextCursor": next})),
        "/koodrive/ose/v1/files/statsDir" => {
            Answer::json(&json!({"data": {"totalSize": "9", "subDirCount": "1", "subFileCount": 1}, "code": 0}))
        }
        _ => Answer::new(404, ""),
    })
}

fn first_page(client: &dyn Remote, directory: &str) -> Option<SubtreePage> {
    client.subtree_page(&NodeId::new(directory), None, soon()).unwrap()
}

#[test]
fn page_of_a_subtree_says_which_directory_holds_each_entry() {
    let rows = json!([
        {"id": "F1", "fileName": "d", "fileType": "10", "parentFolder": ["DROOT"]},
        {"id": "F2", "fileName": "f", "fileType": "45", "size": 3, "parentFolder": ["F1", "x"]},
        {"id": "F3", "fileName": "gone", "fileType": "45", "size": 3, "parentFolder": ["F1"], "recycled": true},
        {"id": "DROOT", "fileName": "root", "fileType": "10", "parentFolder": ["above"]},
    ]);
    let server = walked(rows, json!("more"));
    let client = open(&scripted_config(&server, SpaceSource::Own)).unwrap();
    let page = first_page(&*client, "root").unwrap();
    let told: Vec<_> = page.rows.iter().map(|(node, parent)| (node.id.as_str(), parent.as_str())).collect();
    assert_eq!(told, [("F1", "root"), ("F2", "F1")]);
    assert_eq!(page.next.as_ref().map(|next| next.as_str()), Some("more"));
    client.subtree_page(&NodeId::new("root"), page.next.as_ref(), soon()).unwrap().unwrap();
    let asked = server.requests();
    let body = asked.iter().rfind(|request| request.path().ends_with("walkFile")).unwrap().json();
    assert_eq!(
        body,
        json!({"pageInfo": {"pageSize": 1000, "pageCursor": "more"}, "sortInfo": {"sortType": 3, "sortDirection": 1},
            "containerId": "IAAD1", "parentFileId": "root"})
    );
    let size = client.subtree_size(&NodeId::new("F9"), soon()).unwrap().unwrap();
    assert_eq!((size.directories, size.files), (1, 1));
    let asked = server.requests();
    let asked = asked.iter().rfind(|request| request.path().ends_with("statsDir")).unwrap();
    assert_eq!(asked.target, "/koodrive/ose/v1/files/statsDir?fileId=F9&containerId=IAAD1&recursive=true");
}

#[test]
fn page_whose_entries_do_not_say_what_holds_them_is_none() {
    for parent in [json!([]), Value::Null, json!(""), json!([{}])] {
        let rows = json!([{"id": "F2", "fileName": "f", "fileType": "45", "size": 3, "parentFolder": parent}]);
        let server = walked(rows, json!(""));
        let client = open(&scripted_config(&server, SpaceSource::Own)).unwrap();
        assert!(first_page(&*client, "root").is_none());
    }
}

#[test]
fn page_in_the_place_of_the_service_does_not_say_that_it_has_no_subtrees() {
    for (status, is_no_call) in [(200, false), (302, false), (400, false), (404, true), (405, true)] {
        let server = ScriptedServer::with_handler(move |request| match request.path() {
            "/koodrive/ose/v1/space/7" => Answer::json(&json!({"data": {"containerId": "IAAD1"}, "code": 0})),
            "/koodrive/ose/v1/files/0" => Answer::json(&json!({"files": [], "code": 0})),
            _ => Answer::new(status, "<html>Log in</html>"),
        });
        let client = open(&scripted_config(&server, SpaceSource::Own)).unwrap();
        let root = NodeId::new("root");
        let counted = client.subtree_size(&root, soon()).map(|size| size.is_none()).map_err(|error| error.kind());
        let paged = client.subtree_page(&root, None, soon()).map(|page| page.is_none()).map_err(|error| error.kind());
        let want = if is_no_call { Ok(true) } else { Err(RemoteErrorKind::Foreign) };
        assert_eq!((counted, paged), (want, want), "{status}");
    }
}

#[test]
fn shares_and_shared_folders_have_no_subtrees() {
    let emulator = Emulator::synthetic();
    let source = SpaceSource::SharedFolder(SHARED_FOLDER_ID.to_owned());
    let client = open(&config(&emulator, source)).unwrap();
    assert!(!client.may_have_subtrees());
    assert!(open(&config(&emulator, SpaceSource::Own)).unwrap().may_have_subtrees());
    let config = crate::space_client::enterprise_share(&emulator, None);
    let share = crate::space_client::open_on(koofs::config::Source::Share(config), Arc::new(koofs::clock::SystemClock));
    assert!(!share.unwrap().may_have_subtrees());
}

// ---- Real mounts ----

/// A space of 6,500 entries in 500 directories, mounted.
fn forest(walk_file: WalkFile, change: impl FnOnce(&mut crate::emulator::Knobs)) -> Bench {
    let emulator = Emulator::synthetic();
    emulator.knobs(|knobs| {
        knobs.walk_file = walk_file;
        change(knobs);
    });
    let tree = &emulator.own().tree;
    let tops = tree.add_many("", (0..20).map(|top| Entry::folder(format!("top-{top:02}"))));
    for top in &tops {
        let mut folders = tree.add_many(top, (0..24).map(|number| Entry::folder(format!("folder-{number:02}"))));
        folders.push(top.clone());
        for folder in &folders {
            tree.add_many(folder, (0..12).map(|number| Entry::file(format!("file-{number:02}"), number)));
        }
    }
    Bench::of_space(emulator, &[])
}

fn found(bench: &Bench) -> usize {
    tool("find", [bench.mountpoint.path()]).well().lines().count()
}

#[test]
fn find_over_a_space_of_thousands_of_entries_takes_ten_listing_calls() {
    if !mounts_are_allowed() {
        return;
    }
    let bench = forest(WalkFile::Works, |knobs| knobs.api_latency = Duration::from_millis(50));
    assert_eq!(found(&bench), 6501);
    let counters = bench.emulator.counters();
    let (lists, walks) = (counters.calls_of("spaceFiles"), counters.calls_of("walkFile"));
    assert_eq!(walks, 7);
    assert!(lists + walks <= 10, "{lists} of directories, {walks} of the subtree");
    assert_eq!(found(&bench), 6501);
    let counters = bench.emulator.counters();
    assert_eq!(counters.calls_of("spaceFiles") + counters.calls_of("walkFile"), lists + walks);
    let said = tool("stat", [bench.path("top-07/folder-07/absent")]);
    assert!(said.error.contains("No such file"), "{said:?}");
    assert_eq!(bench.emulator.counters().calls_of("spaceFiles"), lists + 1, "confirmed by its directory");
    bench.end();
}

#[test]
fn find_after_a_remount_asks_for_nothing_and_an_absent_name_for_its_directory() {
    if !mounts_are_allowed() {
        return;
    }
    let mut bench = forest(WalkFile::Works, |_| {});
    assert_eq!(found(&bench), 6501);
    let cache = bench.mountpoint.beside("cache");
    let kept = || tool("find", [cache.to_str().unwrap(), "-type", "f"]).out.lines().count();
    await_that("the listings to be kept", || kept() >= 501);
    std::thread::sleep(Duration::from_millis(500));
    bench.remount_space(&[]);
    assert_eq!(found(&bench), 6501);
    let calls = |bench: &Bench| {
        let counters = bench.emulator.counters();
        ["spaceFiles", "walkFile", "statsDir"].map(|call| counters.calls_of(call))
    };
    assert_eq!(calls(&bench), [0, 0, 0]);
    let said = tool("stat", [bench.path("top-07/folder-07/absent")]);
    assert!(said.error.contains("No such file"), "{said:?}");
    assert_eq!(calls(&bench), [1, 0, 0], "the directory's own listing");
    bench.end();
}

#[test]
fn find_shows_the_same_whatever_the_service_makes_of_subtrees() {
    if !mounts_are_allowed() {
        return;
    }
    for walk_file in [
        WalkFile::WithRoot,
        WalkFile::Missing,
        WalkFile::NoParents,
        WalkFile::NoFolders,
        WalkFile::ChildrenOnly,
        WalkFile::Orphans,
        WalkFile::Breaks,
    ] {
        let bench = forest(walk_file, |knobs| knobs.recycled_in_listings = walk_file == WalkFile::WithRoot);
        assert_eq!(found(&bench), 6501, "{walk_file:?}");
        let walks = bench.emulator.counters().calls_of("walkFile");
        let lists = bench.emulator.counters().calls_of("spaceFiles");
        match walk_file {
            WalkFile::WithRoot => assert!(walks == 7 && lists < 100, "{lists} and {walks}"),
            // Two where the second fails, as many as there are where the whole is odd.
            _ => assert!(lists >= 501 && walks <= 7, "{walk_file:?}: {lists} and {walks}"),
        }
        // Not asked for again, also after all is forgotten.
        tool("sh", ["-c", "kill -HUP \"$0\"", &bench.daemon.pid().to_string()]).well();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(found(&bench), 6501, "{walk_file:?}");
        let again = bench.emulator.counters().calls_of("walkFile");
        assert_eq!(again - walks, if walk_file == WalkFile::WithRoot { 7 } else { 0 }, "{walk_file:?}");
        bench.end();
    }
}

#[test]
fn throttled_subtree_is_listed_directory_by_directory() {
    if !mounts_are_allowed() {
        return;
    }
    let bench = forest(WalkFile::Works, |_| {});
    bench.emulator.fault(Fault::api("walkFile", FaultKind::Throttle).skip(2).limit(1));
    assert_eq!(found(&bench), 6501);
    assert_eq!(bench.emulator.counters().calls_of("walkFile"), 3);
    bench.end();
}
