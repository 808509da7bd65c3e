//! Laws of the bench's line: what one direction does with packets, on a clock of its own; and, as root, what TCP meets on a real
//! one, and that nothing of it is left behind.

#[path = "../bench/line/mod.rs"]
mod line;

use line::{FAR, Line, LineSettings, Settings, Wire};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// A direction of 25 ms without anything else.
fn plain() -> Settings {
    Settings { delay: 25 * MS, rate: 0, queue: 0, loss: 0.0, seed: 1 }
}

#[test]
fn packet_arrives_after_the_delay_and_in_order() {
    let mut wire = Wire::new(plain());
    assert!(wire.offer(Duration::ZERO, 1500, || 'a') && wire.offer(MS, 40, || 'b'));
    assert_eq!((wire.arrived(24 * MS), wire.next_at()), (None, Some(25 * MS)));
    assert_eq!((wire.arrived(25 * MS), wire.arrived(25 * MS)), (Some('a'), None));
    assert_eq!((wire.arrived(26 * MS), wire.next_at()), (Some('b'), None));
    assert_eq!((wire.tally().packets, wire.tally().bytes), (2, 1540));
}

#[test]
fn bottleneck_passes_its_rate_and_drops_what_its_queue_has_no_room_for() {
    // 1 MB/s: a packet of 1,000 bytes takes a millisecond, and the queue holds five.
    let mut wire = Wire::new(Settings { rate: 1_000_000, queue: 5_000, ..plain() });
    let taken = (0..10).filter(|packet| wire.offer(Duration::ZERO, 1000, || *packet)).count();
    assert_eq!((taken, wire.tally().dropped), (5, 5), "five fit, the first of them goes at once");
    let at: Vec<_> = std::iter::from_fn(|| {
        let at = wire.next_at()?;
        wire.arrived(at).map(|_| at)
    })
    .collect();
    assert_eq!(at, [26 * MS, 27 * MS, 28 * MS, 29 * MS, 30 * MS]);
    assert!(
        wire.offer(Duration::from_secs(1), 64_000, || 11),
        "a packet that finds the bottleneck free needs no queue"
    );
}

#[test]
fn losses_are_as_many_as_told_and_the_same_with_the_same_seed() {
    let lost = |seed| {
        let mut wire = Wire::new(Settings { loss: 0.1, seed, ..plain() });
        (0..10_000).filter(|packet| !wire.offer(Duration::ZERO, 40, || *packet)).collect::<Vec<_>>()
    };
    assert!((800..1200).contains(&lost(1).len()), "{}", lost(1).len());
    assert_eq!(lost(1), lost(1));
    assert_ne!(lost(1), lost(2));
}

#[test]
fn reader_that_never_reads_cannot_take_all_memory() {
    let mut wire = Wire::new(plain());
    let taken: u64 = (0..2000).filter(|_| wire.offer(Duration::ZERO, 65_536, || ())).map(|_| 65_536).sum();
    assert_eq!(taken, 64 << 20);
    assert_eq!(wire.tally().overrun, 2000 - taken / 65_536);
}

/// Whether namespaces can be made here; says so if they cannot.
fn is_root() -> bool {
    // SAFETY: it only reads a number of this process.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("left out: network namespaces need root");
    }
    root
}

/// Whether a descriptor or a thread of this process is of the namespace with this number.
fn is_held(namespace: u64) -> bool {
    let wanted = format!("net:[{namespace}]");
    let names = |path: &std::path::Path| std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy() == wanted);
    let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten().map(|file| file.path());
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten().map(|thread| thread.path().join("ns/net"));
    files.chain(threads).any(|path| names(&path))
}

#[test]
fn tcp_on_a_line_meets_its_round_trip_and_every_byte_arrives() {
    if !is_root() {
        return;
    }
    for settings in [
        LineSettings { round_trip: 40 * MS, ..LineSettings::default() },
        LineSettings { round_trip: 4 * MS, rate: 10_000_000, queue: 200_000, loss: 0.02, seed: 7 },
    ] {
        let line = Line::start(&settings).unwrap();
        let listener = line.far(|| TcpListener::bind((FAR, 0)).unwrap());
        let port = listener.local_addr().unwrap().port();
        let sent: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| listener.accept().unwrap().0.write_all(&sent).unwrap());
            let started = Instant::now();
            let mut stream = line.near(|| TcpStream::connect((FAR, port)).unwrap());
            assert!(started.elapsed() >= settings.round_trip, "{:?}", started.elapsed());
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            assert!(started.elapsed() >= 2 * settings.round_trip, "{:?}", started.elapsed());
            assert!(got == sent, "{settings:?}: {} bytes came", got.len());
        });
        let [up, down] = line.tallies();
        assert!(up.packets > 0 && down.bytes > 1_000_000 && up.overrun + down.overrun == 0, "{up:?} {down:?}");
        assert_eq!(down.lost > 0, settings.loss > 0.0, "{down:?}");
    }
}

#[test]
fn line_is_seen_by_nobody_outside_and_gone_when_it_is_dropped() {
    if !is_root() {
        return;
    }
    let devices = || std::fs::read_to_string("/proc/self/net/dev").unwrap().lines().count();
    let devices_before = devices();
    let line = Line::start(&LineSettings::default()).unwrap();
    assert_eq!(devices(), devices_before, "its devices are in namespaces of their own");
    assert!(line.near(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap().contains("line0")));
    let number = |of: &OwnedFd| std::fs::File::from(of.try_clone().unwrap()).metadata().unwrap().ino();
    let namespaces = [number(&line.near), number(&line.far)];
    assert!(namespaces.into_iter().all(is_held) && namespaces[0] != namespaces[1]);
    let panic = std::panic::AssertUnwindSafe(|| line.far(|| panic!("a test inside fails")));
    assert!(std::panic::catch_unwind(panic).is_err());
    drop(line);
    assert!(!namespaces.into_iter().any(is_held), "what nobody holds, the kernel takes away");
}
