//! Laws of links that are asked for together: a file that has none fails alone, whatever the service does to the call that
//! names it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use koofs::clock::{BootTime, Clock, SystemClock};
use koofs::config::SpaceSource;
use koofs::content::{ContentError, LinkStore};
use koofs::remote::{Link, NodeId, Remote, RemoteErrorKind, Revision};

use crate::emulator::knobs::BatchRefusal;
use crate::emulator::{Emulator, Entry};
use crate::fakes::{Bench, FakeRemote, file};
use crate::space_client::{config, open, soon};

const HOUR: Duration = Duration::from_secs(3600);

/// A clock whose pauses last until all threads that are expected have come to pause: what is wanted at the same time is wanted
/// together, on the slowest machine.
#[derive(Default)]
pub(crate) struct Gathering {
    expected: AtomicUsize,
    paused: AtomicUsize,
}

impl Gathering {
    /// So many more threads will come.
    pub(crate) fn expect(&self, threads: usize) {
        self.expected.fetch_add(threads, Ordering::SeqCst);
    }
}

impl Clock for Gathering {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn boot(&self) -> BootTime {
        SystemClock.boot()
    }

    fn utc(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, _: Duration) {
        self.paused.fetch_add(1, Ordering::SeqCst);
        let patience = Instant::now() + Duration::from_secs(10);
        while self.paused.load(Ordering::SeqCst) < self.expected.load(Ordering::SeqCst) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn ids(numbers: std::ops::Range<usize>) -> Vec<Revision> {
    numbers.map(|number| revision(&NodeId::new(&format!("F{number}")), 0)).collect()
}

fn revision(id: &NodeId, edited_ms: i64) -> Revision {
    Revision { id: id.clone(), edited_ms }
}

/// Asks for all links at the same time, each on a thread of its own; how each fails.
fn get_together(remote: &Arc<dyn Remote>, ids: &[Revision]) -> (LinkStore, Vec<Option<RemoteErrorKind>>) {
    // Who completes a batch does not pause.
    assert!(ids.len() < remote.max_links_per_call());
    let clock = Arc::new(Gathering::default());
    clock.expect(ids.len());
    let links = LinkStore::new(Arc::clone(remote), clock);
    let failures = get_all(&links, ids);
    (links, failures)
}

fn get_all(links: &LinkStore, ids: &[Revision]) -> Vec<Option<RemoteErrorKind>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = ids.iter().map(|id| scope.spawn(|| links.get(id, soon()).err())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().map(|error: ContentError| error.kind())).collect()
    })
}

/// A drive that gives a hundred links for one call, but none for a call that names one of `bad`.
fn drive(bad: &[&str], kind: RemoteErrorKind) -> Arc<FakeRemote> {
    let remote = FakeRemote::new([]);
    remote.batch.store(100, Ordering::SeqCst);
    remote.change(|state| {
        state.refuses_links = Some(kind);
        state.refused_ids = bad.iter().map(|id| (*id).to_owned()).collect();
    });
    remote
}

#[test]
fn one_bad_id_of_a_hundred_fails_alone_and_costs_few_calls() {
    for kind in [RemoteErrorKind::NotFound, RemoteErrorKind::Denied, RemoteErrorKind::Changed] {
        let remote = drive(&["F61"], kind);
        let (links, failures) = get_together(&(Arc::clone(&remote) as _), &ids(0..99));
        let failed: Vec<_> = failures.iter().enumerate().filter_map(|(n, kind)| kind.map(|kind| (n, kind))).collect();
        assert_eq!(failed, [(61, kind)]);
        let calls = remote.link_calls.load(Ordering::SeqCst);
        assert!(calls <= 1 + 2 * 7, "{calls} calls");
        // It is asked for alone from then on, and spoils no other call.
        for number in 0..10 {
            let more = [&ids(61..62)[..], &ids(1000 + number * 40..1040 + number * 40)].concat();
            let failures = get_all(&links, &more);
            assert!(failures[0].is_some() && failures[1..].iter().all(Option::is_none), "{failures:?}");
        }
        // And given as soon as there is one.
        remote.change(|state| state.refused_ids.clear());
        assert!(links.get(&ids(61..62)[0], soon()).is_ok());
    }
}

#[test]
fn link_of_a_file_as_it_was_is_not_given_out_for_the_file_as_it_is() {
    let remote = drive(&[], RemoteErrorKind::Denied);
    let links = LinkStore::new(Arc::clone(&remote) as Arc<dyn Remote>, Arc::new(SystemClock));
    let id = NodeId::new("F1");
    let before = Link::new("http://old.invalid/", SystemTime::now() + HOUR, HOUR);
    links.offer(&revision(&id, 1), before.clone());
    assert_eq!(links.get(&revision(&id, 1), soon()).unwrap(), before);
    assert_ne!(links.get(&revision(&id, 2), soon()).unwrap(), before);
    assert_eq!(remote.link_calls.load(Ordering::SeqCst), 1);
    // Who still reads the old content keeps its link.
    assert_eq!(links.get(&revision(&id, 1), soon()).unwrap(), before);
}

#[test]
fn bad_ids_cost_at_most_two_calls_each_however_many_there_are() {
    for every in [1, 2, 7] {
        let bad: Vec<String> = (0..99).step_by(every).map(|number| format!("F{number}")).collect();
        let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
        let remote = drive(&bad, RemoteErrorKind::NotFound);
        let (_, failures) = get_together(&(Arc::clone(&remote) as _), &ids(0..99));
        for (number, failure) in failures.iter().enumerate() {
            assert_eq!(failure.is_some(), number % every == 0, "{number}");
        }
        let calls = remote.link_calls.load(Ordering::SeqCst);
        assert!(calls < 2 * 99, "{calls} calls");
    }
}

#[test]
fn call_that_fails_for_no_id_of_its_own_is_not_made_again_in_parts() {
    use RemoteErrorKind::{NeedsLogin, Throttled, Timeout, Unavailable};
    for kind in [NeedsLogin, Throttled, Timeout, Unavailable] {
        let remote = drive(&["F61"], kind);
        let (_, failures) = get_together(&(Arc::clone(&remote) as _), &ids(0..99));
        assert_eq!(failures, [Some(kind); 99]);
        assert_eq!(remote.link_calls.load(Ordering::SeqCst), 1, "{kind:?}");
    }
}

#[test]
fn reader_of_one_file_after_the_other_loses_only_the_bad_one_and_no_guess_comes_in_its_way() {
    let nodes = (0..400).map(|number| file(&format!("F{number}"), &format!("f{number:03}"), 300)).collect();
    let bench = Bench::new(FakeRemote::new([("root", nodes)]));
    bench.remote.batch.store(100, Ordering::SeqCst);
    bench.remote.change(|state| state.refused_ids = ["F20", "F333"].map(str::to_owned).into());
    bench.names(koofs::fs::Ino::ROOT, 1000).unwrap();
    for round in 0..2 {
        for number in 0..400 {
            let fh = bench.open(&format!("f{number:03}"));
            assert_eq!(bench.read(fh, 0, 4096).is_err(), [20, 333].contains(&number), "{number}, round {round}");
            bench.fs.release(fh);
        }
    }
    let calls = bench.remote.link_calls.load(Ordering::SeqCst);
    assert!(calls <= 4 + 2 * (2 * 7 + 10), "{calls} calls for 400 files");
}

#[test]
fn file_without_a_link_fails_alone_however_the_service_refuses_its_batch() {
    for refusal in [BatchRefusal::Entries, BatchRefusal::Code, BatchRefusal::Parameter] {
        for status in [200, 400] {
            let emulator = Emulator::synthetic();
            emulator.knobs(|knobs| (knobs.batch_refusal, knobs.business_status) = (refusal, status));
            let tree = &emulator.own().tree;
            let ids = tree.add_many("", (0..40).map(|number| Entry::file(format!("f{number:02}"), 10)));
            tree.recycle(&ids[7]);
            tree.remove(&ids[23]);
            let ids: Vec<Revision> = ids.iter().map(|id| revision(&NodeId::new(id), 0)).collect();
            let client = open(&config(&emulator, SpaceSource::Own)).unwrap();
            let (links, failures) = get_together(&client, &ids);
            for (number, failure) in failures.iter().enumerate() {
                assert_eq!(failure.is_some(), [7, 23].contains(&number), "{refusal:?}, HTTP {status}: {number}");
            }
            let calls = emulator.counters().batches();
            assert!(calls <= 1 + 2 * 2 * 6, "{refusal:?}, HTTP {status}: {calls} calls");
            assert_eq!(get_all(&links, &ids[..7]), [None; 7]);
            emulator.assert_polite();
        }
    }
}
