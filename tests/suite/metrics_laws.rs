//! Laws of `--metrics`: what Prometheus is told is what `koofs status` says, on this machine alone.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::emulator::{Emulator, Entry};
use crate::mount_bench::{AGENT, Bench, run, tool};
use crate::mounted::{koofs, mounts_are_allowed};

/// More than a question may take: whoever is not answered by then never will be.
const PATIENCE: Duration = Duration::from_secs(30);

const QUESTION: &str = "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// A share with a file of a telling name.
fn emulator() -> Emulator {
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::file("telling-name", 2 << 20));
    emulator
}

/// A port that is free, as far as can be known.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn over_tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The whole answer to `question`.
fn answer(mut stream: impl Read + Write, question: &str) -> String {
    stream.write_all(question.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The samples of an answer, by name and labels.
fn samples(answer: &str) -> BTreeMap<String, f64> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("version=0.0.4"), "{head}");
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

fn status(bench: &Bench) -> Value {
    serde_json::from_str(&run(koofs(&["status", "--json", bench.mountpoint.path().to_str().unwrap()])).well()).unwrap()
}

#[test]
fn metrics_are_what_status_says_and_name_no_file() {
    if !mounts_are_allowed() {
        return;
    }
    let port = free_port();
    let bench = Bench::with(emulator(), &["--metrics", &port.to_string()], &[]);
    tool("sum", [bench.path("telling-name").to_str().unwrap()]).well();
    let told = status(&bench);
    let text = answer(over_tcp(port), QUESTION);
    let got = samples(&text);
    for (name, path) in [
        ("koofs_requests_total{purpose=\"content\"}", "/requests/content/count"),
        ("koofs_received_bytes_total{purpose=\"content\"}", "/requests/content/bytes"),
        ("koofs_requests_total{purpose=\"listing\"}", "/requests/listing/count"),
        ("koofs_reads_total{answered=\"from_memory\"}", "/reads/from_memory"),
        ("koofs_memory_used_bytes", "/memory/used_bytes"),
        ("koofs_memory_budget_bytes", "/memory/budget_bytes"),
        ("koofs_cache_limit_bytes", "/cache/limit_bytes"),
    ] {
        assert_eq!(got.get(name).copied(), told.pointer(path).and_then(Value::as_f64), "{name}: {text}\n{told:#}");
    }
    assert!(got["koofs_received_bytes_total{purpose=\"content\"}"] >= f64::from(2 << 20), "{text}");
    let duration = "koofs_request_duration_seconds";
    let count = got[&format!("{duration}_count{{purpose=\"content\"}}")];
    assert!(count >= 1.0 && got[&format!("{duration}_bucket{{purpose=\"content\",le=\"+Inf\"}}")] == count, "{text}");
    assert!(got.keys().any(|name| name.starts_with("koofs_info{version=\"")), "{text}");
    // Every family that status has figures of is there: what is new in one is new in the other.
    for family in told.as_object().unwrap().keys() {
        let is_left_to_status =
            ["format", "pid", "mountpoint", "state", "users", "fetching"].contains(&family.as_str());
        let stem = family.trim_end_matches('s');
        let named = ["inode", "open_file"].iter().filter(|_| family == "tree").any(|name| text.contains(name));
        assert!(is_left_to_status || named || text.contains(stem), "{family} is not told: {text}");
    }
    for secret in ["telling-name", bench.emulator.share_code(), bench.emulator.share_id(), "Signature"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    bench.end();
}

#[test]
fn socket_is_private_and_one_that_was_left_is_replaced() {
    if !mounts_are_allowed() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sock");
    // Nobody listens on it any more.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let bench = Bench::with(emulator(), &["--metrics", path.to_str().unwrap()], &[]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let asked = |question| answer(UnixStream::connect(&path).unwrap(), question);
    assert!(samples(&asked("GET /metrics HTTP/1.1\r\nHost: any.name\r\n\r\n")).len() > 20);
    assert!(asked("GET /other HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    bench.end();
}

#[test]
fn slow_and_wrong_questions_do_not_keep_others_from_asking() {
    if !mounts_are_allowed() {
        return;
    }
    let port = free_port();
    let bench = Bench::with(emulator(), &["--metrics", &format!("localhost:{port}")], &[]);
    // One says nothing, one begins and goes away, one says far too much.
    let silent = over_tcp(port);
    over_tcp(port).write_all(b"GET /met").unwrap();
    let mut loud = over_tcp(port);
    let _ = loud.write_all(&[b'x'; 100_000]);
    assert!(answer(over_tcp(port), "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n").contains("403 Forbidden"));
    assert!(samples(&answer(over_tcp(port), QUESTION)).contains_key("koofs_uptime_seconds"));
    drop(silent);
    tool("ls", [bench.mountpoint.path().to_str().unwrap()]).well();
    bench.end();
}

#[test]
fn taken_address_is_no_mount_and_one_of_another_machine_is_refused() {
    let emulator = emulator();
    let mountpoint = tempfile::tempdir().unwrap();
    let mount = |address: &str| {
        let fixed = ["mount", "--endpoint", &emulator.url(), "--agent", AGENT, "--metrics", address];
        let source = format!("share:{}", emulator.share_code());
        run(koofs(&[&fixed[..], &[&source, mountpoint.path().to_str().unwrap()]].concat()))
    };
    for address in ["0.0.0.0:9500", "192.0.2.1:9500", "[::]:9500"] {
        let said = mount(address);
        assert!(said.code == Some(2) && said.error.contains("--allow-remote-metrics"), "{address}: {}", said.error);
    }
    for address in ["127.0.0.1", "somewhere:9500", "127.0.0.1:0"] {
        assert!(mount(address).error.contains("--metrics: "), "{address}");
    }
    if !mounts_are_allowed() {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let said = mount(&taken.local_addr().unwrap().to_string());
    assert!(said.code != Some(0) && said.error.contains("cannot serve metrics at 127.0.0.1:"), "{}", said.error);
    assert_eq!(emulator.counters().api_calls(), 0, "it is known before the service is asked");
}

#[test]
fn dashboard_asks_for_families_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("scripts/grafana-dashboard.json")).unwrap();
    let families = std::fs::read_to_string(root.join("src/metrics/families.rs")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let expressions = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut names = 0;
    for expression in expressions.map(|target| target["expr"].as_str().unwrap()) {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("koofs_")) {
            assert!(families.contains(&format!("\"{}\"", name.trim_end_matches("_bucket"))), "{name}");
            names += 1;
        }
    }
    assert!(names >= 10);
}
