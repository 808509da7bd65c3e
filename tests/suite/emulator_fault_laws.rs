//! Laws of the emulator's faults, delays and limits: each does what its name says, as often as it says.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::emulator::faults::{FAULT_HELP, FaultOn};
use crate::emulator::{Fault, FaultKind, sign};
use crate::emulator_laws::{Bench, header, raw, target, xml_code};

// ---- faults ----

#[test]
fn api_fault_answers_as_its_name_says() {
    let bench = Bench::new();
    bench.file("a", 1);
    let try_once = |fault: Fault| {
        bench.emulator.clear_faults();
        bench.emulator.fault(fault);
        let response = bench
            .http
            .post(bench.api("files"))
            .header("X-Hw-Agentname", "c")
            .body(json!({"shortUrl": bench.emulator.share_code()}).to_string())
            .send()
            .expect("an answer");
        let retry_after = header(&response, "retry-after").to_owned();
        (response.status().as_u16(), retry_after, response.text().expect("a body"))
    };
    let (status, after, text) =
        try_once(Fault::api("files", FaultKind::Throttle).retry_after(Some(Duration::from_secs(3))));
    assert_eq!((status, after.as_str()), (429, "3"));
    assert!(text.contains("APIGW.0308"), "{text}");
    for (kind, status, part) in [
        (FaultKind::Internal, 500, "13000201"),
        (FaultKind::Unavailable, 503, "APIGW"),
        (FaultKind::BadGateway, 502, "APIGW.0202"),
        (FaultKind::GatewayTimeout, 504, "APIGW.0203"),
        (FaultKind::Unauthorized, 401, "APIGW.0303"),
        (FaultKind::Html, 200, "<html>"),
    ] {
        let (got, _, text) = try_once(Fault::api("files", kind));
        assert!(got == status && text.contains(part), "{kind:?}: {got} {text}");
    }
    for kind in [FaultKind::Garbage, FaultKind::TruncatedJson, FaultKind::Html] {
        let (status, _, text) = try_once(Fault::any_api(kind));
        assert!(status == 200 && serde_json::from_str::<Value>(&text).is_err(), "{kind:?}: {text}");
    }
    let (status, _, text) = try_once(Fault::api("download", FaultKind::Internal));
    assert!(status == 200 && text.contains("files"), "a fault of another endpoint does nothing");
}

#[test]
fn cursor_loop_never_ends() {
    let bench = Bench::new();
    bench.file("a", 1);
    bench.emulator.fault(Fault::api("files", FaultKind::CursorLoop));
    let first = bench.files(&json!({})).json["nextCursor"].clone();
    let second = bench.files(&json!({"pageCursor": first})).json["nextCursor"].clone();
    assert!(first.is_string() && first == second);
}

#[test]
fn reset_is_a_reset_and_no_orderly_end() {
    let bench = Bench::new();
    let id = bench.file("a", 100_000);
    let link = bench.link(&id);
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", target(&link), bench.emulator.object_host());
    bench.emulator.fault(Fault::object(FaultKind::Reset));
    let (bytes, error) = bench.raw_objects(&request);
    assert_eq!((bytes.len(), error), (0, Some(std::io::ErrorKind::ConnectionReset)));
    bench.emulator.clear_faults();
    bench.emulator.fault(Fault::object(FaultKind::ResetBody).after_bytes(1000));
    let (_, error) = bench.raw_objects(&request);
    assert_eq!(error, Some(std::io::ErrorKind::ConnectionReset));
    bench.emulator.fault(Fault::any_api(FaultKind::Reset));
    let host = bench.emulator.url().replace("http://", "");
    let (bytes, error) = raw(
        &host,
        &format!("POST /koodrive/ose/v1/share/public/files HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"),
    );
    assert_eq!((bytes.len(), error), (0, Some(std::io::ErrorKind::ConnectionReset)));
    assert_eq!(bench.emulator.counters().calls_with("object", 0), 1, "a reset before the answer is no answer");
}

/// The body after the header of a raw answer.
fn raw_body(answer: &[u8]) -> &[u8] {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a header");
    &answer[end + 4..]
}

#[test]
fn truncated_body_is_right_as_far_as_it_goes_and_promised_more() {
    let bench = Bench::new();
    let id = bench.file("a", 1_000_000);
    let link = bench.link(&id);
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", target(&link), bench.emulator.object_host());
    for (fault, len) in [
        (Fault::object(FaultKind::Truncate), 500_000),
        (Fault::object(FaultKind::Truncate).after_bytes(123), 123),
        (Fault::object(FaultKind::Truncate).after_bytes(0), 0),
    ] {
        bench.emulator.clear_faults();
        bench.emulator.fault(fault);
        let (answer, error) = bench.raw_objects(&request);
        assert_eq!(error, None, "an orderly end");
        assert!(String::from_utf8_lossy(&answer[..300]).contains("content-length: 1000000\r\n"));
        assert_eq!(raw_body(&answer), bench.emulator.tree().expected(&id, 0, len));
    }
}

#[test]
fn stalled_body_stays_open_and_silent() {
    let bench = Bench::new();
    let id = bench.file("a", 1_000_000);
    let link = bench.link(&id);
    bench.emulator.fault(Fault::object(FaultKind::Stall).after_bytes(70_000));
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", target(&link), bench.emulator.object_host());
    let (answer, error) = bench.raw_objects(&request);
    assert_eq!(error, Some(std::io::ErrorKind::WouldBlock), "silence");
    assert_eq!(raw_body(&answer), bench.emulator.tree().expected(&id, 0, 70_000));
}

#[test]
fn object_fault_refuses_as_its_name_says() {
    let bench = Bench::new();
    let id = bench.file("a", 1000);
    let link = bench.link(&id);
    for (kind, status, code) in [
        (FaultKind::Forbidden, 403, "SignatureDoesNotMatch"),
        (FaultKind::NotFound, 404, "NoSuchKey"),
        (FaultKind::Gone, 410, "Gone"),
        (FaultKind::SlowDown, 503, "SlowDown"),
        (FaultKind::Throttle, 429, "TooManyRequests"),
        (FaultKind::Internal, 500, "InternalError"),
        (FaultKind::Unavailable, 503, "ServiceUnavailable"),
    ] {
        bench.emulator.clear_faults();
        bench.emulator.fault(Fault::object_of("a", kind));
        assert_eq!(xml_code(bench.get(&link, &[])), (status, code.to_owned()), "{kind:?}");
    }
    bench.emulator.clear_faults();
    bench.emulator.fault(Fault::object_of("other", FaultKind::NotFound));
    assert_eq!(bench.get(&link, &[]).status(), 200, "a fault of another file does nothing");
}

#[test]
fn object_fault_answers_another_range_than_asked() {
    let bench = Bench::new();
    let tree = bench.emulator.tree();
    let id = bench.file("a", 1000);
    let link = bench.link(&id);
    let ask = |kind: FaultKind, range: &str| {
        bench.emulator.clear_faults();
        bench.emulator.fault(Fault::object_of(&id, kind));
        let response = bench.get_range(&link, range);
        let content_range = header(&response, "content-range").to_owned();
        let etag = header(&response, "etag").to_owned();
        (response.status().as_u16(), content_range, etag, response.bytes().expect("a body"))
    };
    let etag = header(&bench.get(&link, &[]), "etag").to_owned();
    let (status, _, _, body) = ask(FaultKind::IgnoredRange, "bytes=100-199");
    assert!(status == 200 && body == tree.expected(&id, 0, 1000));
    let (_, range, _, body) = ask(FaultKind::WrongRange, "bytes=100-199");
    assert!(range == "bytes 200-299/1000" && body == tree.expected(&id, 200, 100));
    let (_, range, _, body) = ask(FaultKind::WrongRange, "bytes=900-999");
    assert!(range == "bytes 800-899/1000" && body == tree.expected(&id, 800, 100));
    let (_, range, _, body) = ask(FaultKind::WrongRange, "bytes=0-999");
    assert!(range == "bytes 1-999/1000" && body == tree.expected(&id, 1, 999));
    let (_, range, _, body) = ask(FaultKind::WrongTotal, "bytes=100-199");
    assert!(range == "bytes 100-199/5096" && body == tree.expected(&id, 100, 100));
    let (_, range, _, body) = ask(FaultKind::ShortRange, "bytes=100-199");
    assert!(range == "bytes 100-149/1000" && body == tree.expected(&id, 100, 50));
    let (_, range, _, body) = ask(FaultKind::WrongLength, "bytes=100-199");
    assert!(range == "bytes 100-199/1000" && body == tree.expected(&id, 100, 99));
    let (_, _, other, _) = ask(FaultKind::OtherEtag, "bytes=100-199");
    assert!(other.len() == etag.len() && other != etag);
    let (_, _, none, _) = ask(FaultKind::NoEtag, "bytes=100-199");
    assert_eq!(none, "");
}

#[test]
fn redirect_leads_to_the_same_object_once() {
    let bench = Bench::new();
    let id = bench.file("a", 1000);
    let link = bench.link(&id);
    let follow = |response: &Response| header(response, "location").to_owned();
    bench.emulator.knobs(|k| k.redirect_objects = true);
    let first = bench.get(&link, &[]);
    assert_eq!(first.status(), 307);
    assert_eq!(bench.get_range(&follow(&first), "bytes=0-9").status(), 206);
    bench.emulator.knobs(|k| k.redirect_objects = false);
    bench.emulator.fault(Fault::object(FaultKind::Redirect));
    let first = bench.get(&link, &[]);
    let second = bench.get(&follow(&first), &[]);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (307, 307), "a fault of every call is a loop");
}

#[test]
fn fault_fires_as_often_as_it_says() {
    let bench = Bench::new();
    bench.emulator.fault(Fault::api("userInfo", FaultKind::Internal).skip(2).every(3).limit(2));
    let statuses: Vec<u16> = (0..12)
        .map(|_| {
            let url = format!("{}?shortUrl={}", bench.api("userInfo"), bench.emulator.share_code());
            bench.http.get(url).header("X-Hw-Agentname", "c").send().expect("an answer").status().as_u16()
        })
        .collect();
    assert_eq!(statuses, [200, 200, 200, 200, 500, 200, 200, 500, 200, 200, 200, 200]);
    assert_eq!(bench.emulator.counters().faults["internal"], 2);
}

#[test]
fn fault_by_chance_is_the_same_for_the_same_seed() {
    let fires = |seed: u64| -> Vec<bool> {
        let faults = crate::emulator::faults::Faults::default();
        faults.add(Fault::any_api(FaultKind::Internal).probability(0.3, seed));
        (0..200).map(|_| faults.fire(crate::emulator::faults::Call::Api("files")).is_some()).collect()
    };
    assert_eq!(fires(1), fires(1));
    assert_ne!(fires(1), fires(2));
    let count = fires(3).into_iter().filter(|fired| *fired).count();
    assert!((30..90).contains(&count), "{count} of 200 at 0.3");
}

#[test]
fn fault_is_read_as_it_is_written() {
    for text in [
        "object:stall,every=7,limit=3",
        "object/big.bin:truncate,every=1,after=65536",
        "api/files:throttle,every=2,skip=5,retry_after=2",
        "api:reset,probability=0.25,seed=9",
    ] {
        let fault: Fault = text.parse().expect("a fault");
        assert_eq!(fault.to_string(), text);
    }
    for (name, place, _) in FAULT_HELP {
        let place = if *place == "api" { "api" } else { "object" };
        let fault: Fault = format!("{place}:{name}").parse().expect("a fault");
        assert_eq!(fault.kind.name(), *name);
        assert!(matches!((fault.on, place), (FaultOn::Api(None), "api") | (FaultOn::Object(None), "object")));
    }
    for wrong in [
        "stall",
        "object:nothing",
        "api:stall",
        "object:html",
        "disk:stall",
        "object:stall,every=x",
        "object:stall,x=1",
    ] {
        assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
    }
}

// ---- delays, limits, many clients ----

#[test]
fn emulator_with_a_thousand_stalled_connections_answers_and_stops_promptly() {
    let bench = Bench::new();
    let id = bench.file("a", 1_000_000);
    let other = bench.file("b", 10);
    let link = bench.link(&id);
    bench.emulator.fault(Fault::object_of("a", FaultKind::Stall).after_bytes(10));
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", target(&link), bench.emulator.object_host());
    let streams: Vec<TcpStream> = (0..1000)
        .map(|_| {
            let mut stream = TcpStream::connect(bench.emulator.object_host()).expect("a connection");
            stream.write_all(request.as_bytes()).expect("sent");
            stream
        })
        .collect();
    for stream in &streams {
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket option");
        let mut first = [0; 12];
        (&mut &*stream).read_exact(&mut first).expect("a header");
        assert_eq!(&first, b"HTTP/1.1 200");
    }
    assert_eq!(bench.get(&bench.link(&other), &[]).status(), 200);
    let counters = bench.emulator.counters();
    assert!(counters.object_peak >= 1000 && counters.object_current >= 1000, "{}", counters.object_peak);
    let started = Instant::now();
    drop(bench);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn latency_of_many_calls_passes_at_the_same_time() {
    let bench = Bench::new();
    let id = bench.file("a", 10);
    let link = bench.link(&id);
    bench.emulator.knobs(|k| k.object_latency = Duration::from_millis(300));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert_eq!(bench.get(&link, &[]).status(), 200));
        }
    });
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < Duration::from_secs(8), "50 calls of 300 ms took {took:?}");
}

#[test]
fn bandwidth_is_per_connection_and_smooth() {
    let bench = Bench::new();
    let id = bench.file("a", 200_000);
    let link = bench.link(&id);
    bench.emulator.knobs(|k| k.bandwidth = 400_000);
    let started = Instant::now();
    let mut response = bench.get(&link, &[]);
    let mut first = vec![0; 20_000];
    response.read_exact(&mut first).expect("bytes");
    let early = started.elapsed();
    let mut rest = Vec::new();
    response.read_to_end(&mut rest).expect("bytes");
    let took = started.elapsed();
    assert_eq!(first.len() + rest.len(), 200_000);
    assert!(took >= Duration::from_millis(450), "half a second of bytes took {took:?}");
    assert!(early < took / 2, "a tenth of the bytes took {early:?} of {took:?}");
}

#[test]
fn held_call_waits_until_it_is_released() {
    let bench = Bench::new();
    let id = bench.file("a", 10);
    let link = bench.link(&id);
    bench.emulator.knobs(|k| k.hold = vec!["object".to_owned()]);
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..3).map(|_| scope.spawn(|| bench.get(&link, &[]).status().as_u16())).collect();
        bench.emulator.wait_until("three held calls", |all| all.object_current == 3);
        assert_eq!(bench.info().code(), 0, "other endpoints go on");
        assert_eq!(bench.emulator.counters().calls_of("object"), 0);
        bench.emulator.knobs(|k| k.hold.clear());
        for call in calls {
            assert_eq!(call.join().expect("an answer"), 200);
        }
    });
}

#[test]
fn call_that_hangs_ends_when_its_client_leaves() {
    let bench = Bench::new();
    bench.emulator.fault(Fault::any_api(FaultKind::Hang));
    let host = bench.emulator.url().replace("http://", "");
    let path = target(&bench.api("visit")).to_owned();
    let mut stream = TcpStream::connect(&host).expect("a connection");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("sent");
    bench.emulator.wait_until("a hanging call", |all| all.api_current == 1);
    drop(stream);
    bench.emulator.wait_until("its end", |all| all.api_current == 0 && all.calls_with("visit", 0) == 1);
}

#[test]
fn polite_client_has_nothing_to_fear() {
    let bench = Bench::new();
    let id = bench.file("a", 10);
    bench.get(&bench.link(&id), &[]);
    bench.emulator.assert_polite();
    bench.files(&json!({"refreshCount": true}));
    assert_eq!(bench.emulator.totals().views, 1);
    let impolite = std::panic::AssertUnwindSafe(|| bench.emulator.assert_polite());
    assert!(std::panic::catch_unwind(impolite).is_err());
}

#[test]
fn limits_refuse_what_is_too_much() {
    let bench = Bench::new();
    bench.emulator.knobs(|k| k.api_rate_limit = 3);
    let status = || {
        bench.http.get(bench.api("visit")).header("X-Hw-Agentname", "c").send().expect("an answer").status().as_u16()
    };
    let statuses: Vec<u16> = (0..6).map(|_| status()).collect();
    assert!(statuses.contains(&429) && statuses[0] == 200, "{statuses:?}");
    bench.emulator.knobs(|k| {
        k.api_rate_limit = 0;
        k.api_parallel_limit = 2;
        k.api_latency = Duration::from_millis(200);
    });
    let statuses: BTreeSet<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..6).map(|_| scope.spawn(status)).collect();
        calls.into_iter().map(|call| call.join().expect("an answer")).collect()
    });
    assert_eq!(statuses, BTreeSet::from([200, 429]));
}

#[test]
fn connection_ends_after_the_requests_it_is_good_for() {
    let bench = Bench::new();
    bench.emulator.knobs(|k| k.requests_per_connection = 2);
    for _ in 0..6 {
        bench.info();
    }
    assert_eq!(bench.emulator.counters().api_connections, 3);
}

#[test]
fn idle_connection_is_closed_unannounced() {
    let bench = Bench::new();
    bench.emulator.knobs(|k| k.idle_timeout = Duration::from_millis(50));
    let host = bench.emulator.url().replace("http://", "");
    let request = format!("GET /emulator HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let (answer, error) = raw(&host, &request);
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    assert_eq!(error, None, "closed before the reader's patience of 300 ms ends");
}

#[test]
fn clock_offset_shows_in_date_and_in_links() {
    let bench = Bench::new();
    let id = bench.file("a", 10);
    bench.emulator.knobs(|k| k.clock_offset_seconds = -86_400);
    let link = bench.link(&id);
    let yesterday = sign::basic_date(
        jiff::Timestamp::now().saturating_sub(jiff::SignedDuration::from_secs(86_400)).expect("a date"),
    );
    assert!(link.contains(&format!("X-Amz-Date={}", &yesterday[..8])), "{link}");
    let response = bench.get(&link, &[]);
    assert_eq!(response.status(), 200);
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header(&response, "date")).expect("a date");
    let behind = jiff::Timestamp::now().as_second() - date.as_second();
    assert!((86_390..86_410).contains(&behind), "{behind}");
}
