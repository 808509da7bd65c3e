//! Laws of entries that the service describes as nothing can be: each is an error of its own, and its directory is listed.

use koofs::config::SpaceSource;
use koofs::fs::{FsError, Ino, Lookup};
use koofs::remote::{Node, NodeKind};
use koofs::sync::lock;
use serde_json::{Value, json};

use crate::emulator::tree::LONE_SURROGATE;
use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::fakes::{self, FakeRemote, dir, file};
use crate::log_keeper::{keep_log, kept_log};
use crate::mount_bench::{Bench, do_act, run, tool};
use crate::mounted::{koofs, mounts_are_allowed};
use crate::space_client::{config, open, soon};

/// Sizes that no file has.
const NO_SIZES: [fn() -> Value; 6] = [
    || json!(1.5),
    || json!("abc"),
    || json!(1_u64 << 63),
    || json!("99999999999999999999999999999999999999999"),
    || json!([7]),
    || json!({"bytes": 7}),
];

/// An emulator whose share holds a directory and files that are described well, and one for each of [`NO_SIZES`].
fn odd_emulator() -> Emulator {
    let emulator = Emulator::synthetic();
    let tree = emulator.tree();
    let folder = tree.add("", Entry::folder("folder"));
    tree.add(&folder, Entry::bytes("inner", "inner"));
    for (number, size) in NO_SIZES.into_iter().enumerate() {
        tree.add("", Entry::bytes(format!("good-{number}"), format!("{number}")));
        let odd = tree.add("", Entry::bytes(format!("odd-{number}"), "odd"));
        tree.describe(&odd, "size", size());
    }
    let nameless = tree.add("", Entry::bytes("odd-id", "odd"));
    tree.describe(&nameless, "id", Value::Null);
    let half = tree.add("", Entry::bytes("half", "half a pair"));
    tree.describe(&half, "fileName", json!(format!("half {LONE_SURROGATE}.txt")));
    emulator
}

#[test]
fn odd_entries_are_names_that_answer_eio_among_files_that_are_read() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = odd_emulator();
    emulator.knobs(|knobs| knobs.page_cap = 4);
    let bench = Bench::new(emulator);
    let root = bench.mountpoint.path().to_str().unwrap();
    let listed = tool("ls", ["-f", root]).well();
    let mut names: Vec<&str> = listed.lines().filter(|name| !name.starts_with('.')).collect();
    names.sort_unstable();
    let mut want: Vec<String> = ["folder", "half \u{fffd}.txt", "odd-id"].map(str::to_owned).into();
    want.extend((0..NO_SIZES.len()).flat_map(|number| [format!("good-{number}"), format!("odd-{number}")]));
    want.sort_unstable();
    assert_eq!(names, want, "no name is missing");
    for number in 0..NO_SIZES.len() {
        let path = bench.path(&format!("good-{number}"));
        assert_eq!(tool("cat", [path]).well(), number.to_string());
    }
    assert_eq!(tool("cat", [bench.path("half \u{fffd}.txt")]).well(), "half a pair");
    assert_eq!(tool("cat", [bench.path("folder/inner")]).well(), "inner");
    for odd in (0..NO_SIZES.len()).map(|number| format!("odd-{number}")).chain(["odd-id".to_owned()]) {
        // stat, open, readlink, a path below it, and stat again: nothing of it is remembered.
        assert_eq!(do_act("errors", &bench.path(&odd), &[]), ["5"; 5], "{odd}");
    }
    let long = tool("ls", ["-l", root]);
    assert_eq!(long.code, Some(1), "{long:?}");
    assert_eq!(long.error.lines().count(), NO_SIZES.len() + 1, "{}", long.error);
    let shown = long.out.lines().filter(|line| line.starts_with("-????????? ? ?")).count();
    assert_eq!(shown, NO_SIZES.len() + 1, "{}", long.out);
    let log = bench.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("cannot be read")).collect();
    assert!((1..=4).contains(&told.len()), "once a page: {told:?}");
    assert!(told[0].contains("its size"), "{told:?}");
    bench.end();
}

#[test]
fn odd_entries_of_a_space_do_not_keep_it_from_being_opened_and_listed() {
    let emulator = Emulator::synthetic();
    let tree = &emulator.own().tree;
    for (number, size) in NO_SIZES.into_iter().enumerate() {
        let odd = tree.add("", Entry::file(format!("odd-{number}"), 1));
        tree.describe(&odd, "size", size());
    }
    let good = tree.add("", Entry::file("good", 1));
    tree.describe(&good, "mimeType", json!(LONE_SURROGATE));
    let client = open(&config(&emulator, SpaceSource::Own)).unwrap();
    let page = client.list_page(&client.root(), None, soon()).unwrap();
    assert_eq!(page.nodes.len(), NO_SIZES.len() + 1);
    for node in page.nodes {
        assert_eq!(matches!(node.kind, NodeKind::Unreadable(_)), node.name != "good", "{node:?}");
    }
}

#[test]
fn unreadable_entry_is_listed_is_an_error_to_whoever_asks_for_it_and_is_told_once() {
    keep_log();
    let odd = |id: &str, name: &str| Node { kind: NodeKind::Unreadable("its size is odd"), ..file(id, name, 0) };
    let nodes = vec![dir("D1", "entry-laws-dir"), odd("F2", "b"), file("F3", "c", 3), odd("F4", "d")];
    let remote = FakeRemote::new([("root", nodes.clone()), ("D1", nodes[1..].to_vec())]);
    let bench = fakes::Bench::new(remote);
    assert_eq!(bench.names(Ino::ROOT, 10).unwrap(), ["entry-laws-dir", "b", "c", "d"]);
    let below = bench.ino(Ino::ROOT, "entry-laws-dir");
    for dir in [Ino::ROOT, below, below] {
        let names = bench.names(dir, 1).unwrap();
        assert!(names.ends_with(&["b", "c", "d"].map(str::to_owned)), "{names:?}");
        assert!(matches!(bench.lookup(dir, "b"), Err(FsError::Unreadable("its size is odd"))));
        assert!(matches!(bench.lookup(dir, "none"), Ok(Lookup::Absent(_))));
        assert!(matches!(bench.lookup(dir, "c"), Ok(Lookup::Found(..))));
        let fh = bench.fs.opendir(dir, 1).unwrap();
        for (name, ino, _) in bench.readdir(fh, 0, 10).unwrap() {
            let is_odd = ["b", "d"].contains(&name.as_str());
            assert_eq!(matches!(bench.fs.getattr(ino), Err(FsError::Unreadable(_))), is_odd, "{name}");
            assert_eq!(matches!(bench.fs.open(ino, 1), Err(FsError::Unreadable(_))), is_odd, "{name}");
            assert_eq!(matches!(bench.fs.opendir(ino, 1), Err(FsError::Unreadable(_))), is_odd, "{name}");
        }
    }
    // Files after and before it are read as ever.
    let fh = bench.open("c");
    assert_eq!(bench.read(fh, 0, 10).unwrap().len(), 3);
    let log = kept_log();
    let told: Vec<&str> =
        log.lines().filter(|line| line.contains("/entry-laws-dir: 2 of the entries cannot")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("the first is b: its size is odd"), "{told:?}");
}

#[test]
fn entry_that_becomes_readable_is_another_inode() {
    let odd = Node { kind: NodeKind::Unreadable("its size is odd"), ..file("F", "f", 0) };
    let bench = fakes::Bench::new(FakeRemote::new([("root", vec![odd])]));
    assert!(bench.lookup(Ino::ROOT, "f").is_err());
    let fh = bench.fs.opendir(Ino::ROOT, 1).unwrap();
    let before = bench.readdir(fh, 2, 1).unwrap()[0].1;
    bench.remote.change(|state| drop(state.dirs.insert("root".to_owned(), vec![file("F", "f", 0)])));
    bench.fs.refresh(Ino::ROOT, Box::new(|_| ()));
    assert_ne!(bench.ino(Ino::ROOT, "f"), before);
}

#[test]
fn ls_shows_unreadable_entries_marked_and_ends_with_one_line_and_1() {
    let emulator = odd_emulator();
    let source = format!("share:{}", emulator.share_code());
    let url = emulator.url();
    let ls = |more: &[&str]| run(koofs(&[&["ls", "--endpoint", &url, "--agent", "carrier", &source], more].concat()));
    let count = NO_SIZES.len() + 1;
    for more in [&[][..], &["-l"], &["--json"]] {
        let said = ls(more);
        assert_eq!((said.code, said.out.lines().count()), (Some(1), 2 * NO_SIZES.len() + 3), "{said:?}");
        assert_eq!(said.error.lines().count(), 1, "{}", said.error);
        assert!(said.error.contains(&format!("{count} of the entries cannot be read")), "{}", said.error);
    }
    assert_eq!(ls(&["-l"]).out.lines().filter(|line| line.ends_with('?')).count(), count);
    let unreadable = r#""type":"unreadable","size":null"#;
    assert_eq!(ls(&["--json"]).out.lines().filter(|line| line.contains(unreadable)).count(), count);
    let one = ls(&["odd-1"]);
    assert!(one.code == Some(1) && one.error.contains("odd-1: its size"), "{one:?}");
    assert_eq!(ls(&["folder"]).well(), "inner\n");
}

/// What a service may say of a length that it does not know.
const UNKNOWN_SIZES: [fn() -> Value; 4] = [|| Value::Null, || json!(-1), || json!("-5"), || json!("")];

#[test]
fn file_without_a_size_is_as_long_as_the_store_says_and_never_empty() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let tree = emulator.tree();
    let mut wanted = String::new();
    for (number, size) in UNKNOWN_SIZES.into_iter().enumerate() {
        let text = "0123456789".repeat(number * 100);
        let id = tree.add("", Entry::bytes(format!("file-{number}"), text.clone()));
        tree.describe(&id, "size", size());
        wanted.push_str(&text);
    }
    let large = tree.add("", Entry::file("large", 3 << 20));
    tree.describe(&large, "size", Value::Null);
    let bench = Bench::new(emulator);
    let root = bench.mountpoint.path().to_str().unwrap();
    assert_eq!(tool("ls", [root]).well().lines().count(), 5, "all names show");
    assert_eq!(bench.emulator.counters().calls_of("object"), 0, "listing asks for no length");
    let sizes = tool("sh", ["-c", "stat -c %s \"$0\"/file-* \"$0\"/large", root]).well();
    assert_eq!(sizes, format!("0\n1000\n2000\n3000\n{}\n", 3 << 20));
    let asked = bench.emulator.counters().calls_of("object");
    assert_eq!(asked, 5);
    assert_eq!(tool("sh", ["-c", "stat -c %s \"$0\"/file-* \"$0\"/large", root]).well(), sizes);
    assert_eq!(bench.emulator.counters().calls_of("object"), asked, "each length is asked for once");
    let text = tool("sh", ["-c", "cat \"$0\"/file-*", root]).well();
    assert_eq!(text, wanted);
    assert_eq!(tool("sh", ["-c", "wc -c < \"$0\"/large", root]).well().trim(), (3 << 20).to_string());
    bench.end();
}

#[test]
fn file_whose_size_cannot_be_had_is_an_error_and_not_an_empty_file() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let id = emulator.tree().add("", Entry::bytes("file", "hello"));
    emulator.tree().describe(&id, "size", Value::Null);
    emulator.fault(Fault::object(FaultKind::Forbidden));
    let bench = Bench::with(emulator, &["--op-timeout", "5"], &[]);
    let (file, copy) = (bench.path("file"), bench.mountpoint.beside("copy"));
    let said = tool("cp", [&file, &copy]);
    assert!(said.code == Some(1) && said.error.contains("Permission denied"), "{said:?}");
    assert!(!copy.exists());
    assert_eq!(tool("ls", [bench.mountpoint.path()]).well(), "file\n");
    bench.emulator.clear_faults();
    tool("cp", [&file, &copy]).well();
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), "hello");
    bench.end();
}

#[test]
fn length_that_is_asked_for_by_many_at_once_is_one_request() {
    let mut unsized_file = file("F", "f", 0);
    unsized_file.kind = NodeKind::Unsized;
    let bench = fakes::Bench::new(FakeRemote::new([("root", vec![unsized_file])]));
    lock(&bench.store.sizes).insert("F".to_owned(), 777);
    bench.store.gate.close();
    let lookups: Vec<_> = (0..5).map(|_| bench.lookup_later(Ino::ROOT, "f")).collect();
    bench.store.gate.open();
    for lookup in lookups {
        let Ok(Lookup::Found(attr, _)) = lookup.recv_timeout(fakes::PATIENCE).unwrap() else { panic!("not found") };
        assert_eq!((attr.size, attr.kind), (777, NodeKind::File));
    }
    assert_eq!(bench.store.gets().len(), 1);
}
