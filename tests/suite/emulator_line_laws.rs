//! Laws of the emulator's lines: how bytes are spread over time by each make, on a clock that only moves when all wait; and of
//! compressed answers of the API.

use crate::emulator::body::{Body, Ending, Segment};
use crate::emulator::counters::LiveCounters;
use crate::emulator::gzip::MIN_GZIP;
use crate::emulator::pace::{Outlet, Pace, Pacer};
use crate::emulator::server::Conn;
use crate::emulator::tree::Source;
use crate::emulator::{Emulator, EmulatorConfig, Entry, Fault, FaultKind, Knobs};
use crate::emulator_laws::{Bench, header};
use flate2::read::GzDecoder;
use http_body_util::BodyExt as _;
use reqwest::blocking::Response;
use serde_json::{Value, json};
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

/// A million bytes.
const MB: u64 = 1_000_000;

/// Lines of the emulator without the emulator.
struct Lines {
    knobs: Knobs,
    counters: Arc<LiveCounters>,
}

/// Pieces of a body: when each came, and its length.
type Arrivals = Vec<(Duration, u64)>;

impl Lines {
    fn new(turn: impl FnOnce(&mut Knobs)) -> Self {
        let mut knobs = Knobs::default();
        turn(&mut knobs);
        knobs.check().unwrap();
        Self { knobs, counters: Arc::default() }
    }

    /// A body of so many bytes on its way to a connection.
    fn body(&self, shared_line: &Arc<Pacer>, conn: &Arc<Conn>, len: u64) -> Body {
        let outlet = Outlet {
            conn: Arc::clone(conn),
            shared_line: Arc::clone(shared_line),
            pace: Pace::from(&self.knobs),
            counters: Arc::clone(&self.counters),
        };
        let guard = self.counters.object.enter();
        Body::object(vec![Segment::Part { offset: 0, len }], Source::Pattern(1), Ending::Whole, outlet).guarded(guard)
    }

    /// What comes of bodies of so many bytes on so many connections that begin at the same time.
    fn arrivals(&self, connections: u64, len: u64) -> Vec<Arrivals> {
        on_a_still_clock(async {
            let shared = Arc::default();
            let bodies: Vec<_> =
                (0..connections).map(|number| self.body(&shared, &Arc::new(Conn::new(number)), len)).collect();
            let readers: Vec<_> = bodies.into_iter().map(|body| tokio::spawn(read(body))).collect();
            let mut all = Vec::new();
            for reader in readers {
                all.push(reader.await.unwrap());
            }
            all
        })
    }

    /// Bytes per second of all connections together.
    fn goodput(&self, connections: u64) -> f64 {
        let all = self.arrivals(connections, MB);
        let took = all.iter().map(ended).max().unwrap();
        (connections * MB) as f64 / took.as_secs_f64()
    }
}

fn on_a_still_clock<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(work)
}

async fn read(mut body: Body) -> Arrivals {
    let start = tokio::time::Instant::now();
    let mut arrivals = Vec::new();
    while let Some(frame) = body.frame().await {
        arrivals.push((start.elapsed(), frame.unwrap().into_data().unwrap().len() as u64));
    }
    arrivals
}

fn ended(arrivals: &Arrivals) -> Duration {
    arrivals.last().unwrap().0
}

/// Arrivals at the same time as one.
fn together(arrivals: &Arrivals) -> Arrivals {
    let mut all: Arrivals = Vec::new();
    for (at, len) in arrivals {
        match all.last_mut() {
            Some((last, sum)) if last == at => *sum += len,
            _ => all.push((*at, *len)),
        }
    }
    all
}

/// Whether two numbers are within 3 %: timers count milliseconds.
fn close(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() < 0.03
}

#[test]
fn body_in_bursts_comes_in_buckets_at_the_rate_of_the_line() {
    let lines = Lines::new(|k| (k.bandwidth, k.burst) = (25 * MB, MB));
    let bucket = |nth: u64| (Duration::from_millis(40 * nth), MB);
    assert_eq!(together(&lines.arrivals(1, 4 * MB)[0]), [bucket(0), bucket(1), bucket(2), bucket(3)]);
}

#[test]
fn bucket_belongs_to_the_connection_and_a_pause_fills_one() {
    let lines = Lines::new(|k| (k.bandwidth, k.burst) = (25 * MB, MB));
    on_a_still_clock(async {
        let (shared, conn) = (Arc::default(), Arc::new(Conn::new(0)));
        read(lines.body(&shared, &conn, MB)).await;
        let next = read(lines.body(&shared, &conn, MB / 2)).await;
        assert_eq!(together(&next), [(Duration::from_millis(40), MB / 2)], "the second request waits for the next");
        tokio::time::sleep(Duration::from_secs(10)).await;
        let rest = together(&read(lines.body(&shared, &conn, 2 * MB)).await);
        assert_eq!(rest[0], (Duration::ZERO, MB / 2 + MB), "what was left, and one more");
        assert_eq!(rest[1], (Duration::from_millis(40), MB / 2));
    });
}

#[test]
fn connections_that_differ_have_a_fourth_each_down_to_the_slowest() {
    let lines = Lines::new(|k| (k.bandwidth, k.bandwidth_spread) = (10 * MB, 10));
    let took: Vec<f64> = lines.arrivals(8, 4 * MB).iter().map(|one| ended(one).as_secs_f64()).collect();
    for (number, took) in took.iter().enumerate() {
        let slower = 10_f64.powf((number % 4) as f64 / 3.0);
        assert!(close(*took, 0.4 * slower), "connection {number} took {took} s");
    }
}

#[test]
fn store_that_slows_down_brings_less_with_every_request_beyond_its_best() {
    let lines = Lines::new(|k| (k.bandwidth, k.slow_beyond) = (10 * MB, 8));
    let goodputs: Vec<f64> = [4, 8, 9, 16, 56].into_iter().map(|requests| lines.goodput(requests)).collect();
    assert!(close(goodputs[0], 40e6) && close(goodputs[1], 80e6), "{goodputs:?}");
    assert!(goodputs[1..].is_sorted_by(|more, less| more > less), "{goodputs:?}");
    assert!(goodputs[3] > 35e6 && goodputs[4] < 20e6, "{goodputs:?}");
}

#[test]
fn bottleneck_brings_the_same_to_any_number_and_first_bytes_wait_for_each_other() {
    let lines = Lines::new(|k| k.total_bandwidth = 10 * MB);
    let mut first_waits = Vec::new();
    for connections in [1, 4, 16, 56] {
        assert!(close(lines.goodput(connections), 10e6), "{connections}: {}", lines.goodput(connections));
        let all = lines.arrivals(connections, MB);
        first_waits.push(all.iter().map(|one| one[0].0).max().unwrap());
    }
    assert!(first_waits.is_sorted_by(|less, more| less < more), "{first_waits:?}");
}

#[test]
fn connection_that_stops_does_so_as_often_as_told_and_the_same_in_every_run() {
    let lines = Lines::new(|k| (k.bandwidth, k.stop_every) = (25 * MB, MB));
    let stops = |one: &Arrivals| {
        let gaps = one.windows(2).filter(|pair| pair[1].0 - pair[0].0 >= Duration::from_millis(200));
        gaps.map(|pair| pair[0].0).collect::<Vec<_>>()
    };
    let runs = [lines.arrivals(2, 40 * MB), lines.arrivals(2, 40 * MB)];
    let [first, second] = [&runs[0][0], &runs[0][1]].map(stops);
    assert!((20..=60).contains(&first.len()), "{} stops in 40 MB", first.len());
    assert_ne!(first, second, "connections stop at different places");
    assert_eq!(first, stops(&runs[1][0]));
}

#[test]
fn line_of_every_make_brings_the_bytes_that_were_asked_for() {
    let bench = Bench::of(Emulator::synthetic());
    let id = bench.emulator.tree().add("", Entry::file("a", 300_000));
    let link = bench.link(&id);
    let makes: [fn(&mut Knobs); 5] = [
        |k| (k.bandwidth, k.burst) = (50 * MB, 70_001),
        |k| (k.bandwidth, k.bandwidth_spread) = (100 * MB, 10),
        |k| (k.bandwidth, k.slow_beyond) = (50 * MB, 1),
        |k| (k.stop_every, k.stop_time) = (100_000, Duration::from_millis(5)),
        |k| {
            (k.bandwidth, k.burst, k.total_bandwidth, k.stop_every, k.stop_time) =
                (50 * MB, 9, 50 * MB, 100_000, Duration::ZERO)
        },
    ];
    for (nth, make) in makes.into_iter().enumerate() {
        bench.emulator.knobs(|k| {
            *k = Knobs::default();
            make(k);
        });
        let got = bench.get(&link, &[("Range", "bytes=100-204999")]).bytes().unwrap();
        assert_eq!(got, bench.emulator.tree().expected(&id, 100, 204_900), "make {nth}");
    }
}

#[test]
fn line_that_needs_a_bandwidth_is_refused_without_one() {
    for wrong in [
        json!({"burst": "1M"}),
        json!({"bandwidth_spread": 10}),
        json!({"slow_beyond": 8}),
        json!({"bandwidth_spread": 0}),
    ] {
        assert!(Knobs::default().with_json(&wrong).is_err(), "{wrong}");
    }
    let bursts = Knobs::default().with_json(&json!({"bandwidth": 25_000_000, "burst": 1_000_000})).unwrap();
    assert_eq!((bursts.bandwidth, bursts.burst), (25 * MB, MB));
}

#[test]
fn certificate_is_good_for_the_address_that_is_listened_on() {
    let listen = "127.0.0.9:0".parse().unwrap();
    let config = EmulatorConfig { listen, listen_objects: listen, tls: true, ..EmulatorConfig::default() };
    let emulator = Emulator::start(config);
    let trust = reqwest::Certificate::from_pem(emulator.ca_pem().unwrap().as_bytes()).unwrap();
    let http = reqwest::blocking::Client::builder().no_gzip().no_proxy().tls_certs_only([trust]).build().unwrap();
    assert!(emulator.url().starts_with("https://127.0.0.9:"));
    assert_eq!(http.get(format!("{}/emulator", emulator.url())).send().unwrap().status(), 200);
}

// ---- compressed answers ----

/// An emulator with a directory that fills a page.
fn full_page() -> Bench {
    let bench = Bench::of(Emulator::synthetic());
    bench.emulator.tree().add_many("", (0..100).map(|index| Entry::file(format!("file-{index:03}.txt"), 10)));
    bench
}

fn listing(bench: &Bench, accept: Option<&str>) -> Response {
    let url = format!("{}/koodrive/ose/v1/share/public/files", bench.emulator.url());
    let body = json!({"shortUrl": bench.emulator.share_code(), "sortType": 1, "sortDirection": 1});
    let mut request = bench.http.post(url).header("X-Hw-Agentname", "carrier").body(body.to_string());
    if let Some(accept) = accept {
        request = request.header("Accept-Encoding", accept);
    }
    request.send().unwrap()
}

fn names(json: &[u8]) -> Vec<String> {
    let json: Value = serde_json::from_slice(json).unwrap();
    json["files"].as_array().unwrap().iter().map(|file| file["fileName"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn api_compresses_for_whoever_allows_gzip_and_for_nobody_else() {
    let bench = full_page();
    let plain = listing(&bench, None);
    assert_eq!((header(&plain, "content-encoding"), plain.status().as_u16()), ("", 200));
    let plain = plain.bytes().unwrap();
    for accept in ["gzip", "GZIP", "deflate, gzip;q=0.5", "*", "x-gzip"] {
        let answer = listing(&bench, Some(accept));
        assert_eq!(
            (header(&answer, "content-encoding"), header(&answer, "vary")),
            ("gzip", "Accept-Encoding"),
            "{accept}"
        );
        let sent: usize = header(&answer, "content-length").parse().unwrap();
        assert!(sent * 3 < plain.len(), "{accept}: {sent} bytes for {}", plain.len());
        let mut text = Vec::new();
        GzDecoder::new(&answer.bytes().unwrap()[..]).read_to_end(&mut text).unwrap();
        assert_eq!(names(&text), names(&plain), "{accept}");
    }
    assert_eq!(bench.emulator.counters().api_compressed, 5);
    for accept in ["identity", "deflate, br", "gzip;q=0", "gzip; q=nonsense", ""] {
        let answer = listing(&bench, Some(accept));
        assert_eq!(header(&answer, "content-encoding"), "", "{accept:?}");
        assert_eq!(names(&answer.bytes().unwrap()), names(&plain), "{accept:?}");
    }
    bench.emulator.knobs(|k| k.gzip = false);
    assert_eq!(header(&listing(&bench, Some("gzip")), "content-encoding"), "");
    bench.emulator.assert_polite();
}

#[test]
fn short_answer_is_not_compressed() {
    let bench = Bench::of(Emulator::synthetic());
    let answer = listing(&bench, Some("gzip"));
    assert_eq!(header(&answer, "content-encoding"), "");
    let len = answer.bytes().unwrap().len();
    assert!(len < MIN_GZIP, "{len}");
    assert_eq!(bench.emulator.counters().api_bytes_sent, len as u64);
}

#[test]
fn compressed_answer_is_broken_or_a_bomb_on_demand_only_for_whoever_allows_it() {
    let bench = full_page();
    bench.emulator.fault(Fault::api("files", FaultKind::BrokenGzip).limit(2));
    assert_eq!(names(&listing(&bench, None).bytes().unwrap()).len(), 100);
    let answer = listing(&bench, Some("gzip")).bytes().unwrap();
    let mut text = Vec::new();
    assert!(GzDecoder::new(&answer[..]).read_to_end(&mut text).is_err());
    assert_eq!(names(&text).len(), 100, "all came before it shows");
    bench.emulator.clear_faults();
    bench.emulator.fault(Fault::api("files", FaultKind::GzipBomb));
    let answer = listing(&bench, Some("gzip")).bytes().unwrap();
    let unpacked = std::io::copy(&mut GzDecoder::new(&answer[..]), &mut std::io::sink()).unwrap();
    assert!(unpacked == 256 << 20 && answer.len() < 1 << 20, "{unpacked} in {}", answer.len());
}
