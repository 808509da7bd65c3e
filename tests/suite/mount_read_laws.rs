//! Laws of reading through a mount: every byte is right whatever the way it is read, and what was read is not requested again.

use std::time::{Duration, Instant};

use crate::emulator::{Emulator, Entry};
use crate::mount_bench::{Bench, do_act, emulator_with, seed_of, tool};
use crate::mount_laws::text;
use crate::mounted::mounts_are_allowed;

#[test]
fn big_file_is_right_to_the_byte_while_links_live_two_seconds() {
    if !mounts_are_allowed() {
        return;
    }
    let size: u64 = 192 << 20;
    let emulator = emulator_with(|knobs| {
        knobs.link_lifetime = Duration::from_secs(2);
        knobs.total_bandwidth = 24 << 20;
    });
    let id = emulator.tree().add("", Entry::file("big", size));
    let seed = seed_of(&emulator, &id);
    // With little memory, what is fetched ahead stays a small part of the file: requests begin all along.
    let bench = Bench::with(emulator, &["--op-timeout", "20", "--memory", "32M"], &[]);
    let start = Instant::now();
    let said = do_act("stream", &bench.path("big"), &[&seed]);
    assert_eq!(said[0], size.to_string());
    let links = bench.emulator.counters().files[&id].links;
    let seconds = start.elapsed().as_secs();
    eprintln!("{size} bytes in {seconds} s by {links} links; longest wait {} ms", said[1]);
    assert!(seconds >= 6 && links >= 3, "the links were to die under the stream: {links} in {seconds} s");
    bench.end();
}

#[test]
fn rereading_takes_no_request() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let size = (8 << 20) + 123;
    let id = emulator.tree().add("", Entry::file("file", size));
    let seed = seed_of(&emulator, &id);
    let bench = Bench::with(emulator, &["--memory", "64M"], &[]);
    do_act("stream", &bench.path("file"), &[&seed]);
    let first = bench.emulator.counters();
    assert!(first.object_bytes_sent <= size + (1 << 20), "{} bytes for {size}", first.object_bytes_sent);
    // From the kernel's pages, and then, as they are gone, from the mount's blocks.
    let said = do_act("read, drop pages, read", &bench.path("file"), &[&seed]);
    assert_eq!([&said[0], &said[2]], [&size.to_string(); 2]);
    let then = bench.emulator.counters();
    assert_eq!((then.calls_of("object"), then.api_calls()), (first.calls_of("object"), first.api_calls()));
    bench.end();
}

#[test]
fn reopening_keeps_the_page_cache() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::file("file", 3 << 20));
    let bench = Bench::new(emulator);
    let said = do_act("resident", &bench.path("file"), &[]);
    assert_eq!(said, ["768", "768"]);
    bench.end();
}

/// Four files of which each byte is known, mounted with little memory; and their seeds.
fn pattern_bench(size: u64) -> (Bench, Vec<String>) {
    let emulator = Emulator::synthetic();
    let ids = emulator.tree().add_many("", (0..4).map(|number| Entry::file(format!("file-{number}"), size + number)));
    let seeds = ids.iter().map(|id| seed_of(&emulator, id)).collect();
    (Bench::with(emulator, &["--memory", "16M"], &[]), seeds)
}

#[test]
fn mapped_file_is_right_to_the_byte() {
    if !mounts_are_allowed() {
        return;
    }
    let (bench, seeds) = pattern_bench(9_000_001);
    assert_eq!(do_act("map", &bench.path("file-0"), &[&seeds[0]]), ["9000001"]);
    bench.end();
}

#[test]
fn reads_at_every_border_in_strides_and_at_random_are_right() {
    if !mounts_are_allowed() {
        return;
    }
    let (bench, seeds) = pattern_bench(20_000_003);
    let said = do_act("preads", &bench.path("file-0"), &[&seeds[0]]);
    assert!(said[0].parse::<u32>().unwrap() > 400);
    // A byte at a time, the way that shells do it.
    let id = bench.emulator.tree().find("file-1").unwrap().id.clone();
    for skip in [0, 131_071, 131_072, 20_000_003] {
        let byte = format!("dd if=\"$0\" bs=1 count=1 skip={skip} status=none | od -An -tu1");
        let said = tool("sh", ["-c", &byte, text(&bench.path("file-1"))]).well();
        assert_eq!(said.trim(), bench.emulator.tree().expected(&id, skip, 1)[0].to_string(), "byte {skip}");
    }
    bench.end();
}

#[test]
fn eight_readers_of_four_files_get_every_byte_right() {
    if !mounts_are_allowed() {
        return;
    }
    // More than fits into the memory of this mount.
    let size = 12_000_001;
    let (bench, seeds) = pattern_bench(size);
    let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
    let said = do_act("together", bench.mountpoint.path(), &seeds);
    assert!(said[0].parse::<u64>().unwrap() >= 8 * size);
    bench.end();
}
