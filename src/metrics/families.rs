//! A report as Prometheus reads it: the text format, version 0.0.4.
//!
//! One table says which line of a report is a sample of which family. What would be a new series for each process or file (who reads,
//! what is being fetched) is left to `koofs status`.

use std::fmt::Write;

use crate::stats::Latency;

/// The lines of a report that belong to one family, and the labels of their samples. A `*` is any one word, the value of the label; a
/// label with `=` has that value.
type Samples = &'static [(&'static str, &'static [&'static str])];

struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: Samples,
}

const fn counter(name: &'static str, help: &'static str, samples: Samples) -> Family {
    Family { name, kind: "counter", help, samples }
}

const fn gauge(name: &'static str, help: &'static str, samples: Samples) -> Family {
    Family { name, kind: "gauge", help, samples }
}

const FAMILIES: &[Family] = &[
    gauge("koofs_uptime_seconds", "Time since the mount began.", &[("uptime_seconds", &[])]),
    counter("koofs_requests_total", "Requests sent, by what for.", &[("requests.*.count", &["purpose"])]),
    gauge("koofs_requests_in_flight", "Requests under way.", &[("requests.*.running", &["purpose"])]),
    counter("koofs_received_bytes_total", "Bytes of answers.", &[("requests.*.bytes", &["purpose"])]),
    counter("koofs_request_errors_total", "Requests that failed.", &[("requests.*.errors.*", &["purpose", "kind"])]),
    counter("koofs_throttles_total", "How often fewer requests were asked for.", &[("throttles", &[])]),
    counter(
        "koofs_retries_total",
        "What was tried again.",
        &[("retries.content", &["purpose=content"]), ("retries.listing", &["purpose=listing"])],
    ),
    counter("koofs_links_renewed_total", "Links that ended before their file was read.", &[("links.renewed", &[])]),
    counter(
        "koofs_reads_total",
        "Reads of programs, by whether they were answered from memory.",
        &[("reads.from_memory", &["answered=from_memory"]), ("reads.waited", &["answered=later"])],
    ),
    counter(
        "koofs_lookups_total",
        "Names that programs looked for, by whether they were answered from memory.",
        &[("lookups.from_memory", &["answered=from_memory"]), ("lookups.waited", &["answered=later"])],
    ),
    counter("koofs_errors_total", "Errors that programs were answered.", &[("errors.*", &["kind"])]),
    gauge("koofs_memory_used_bytes", "Content that is held in memory.", &[("memory.used_bytes", &[])]),
    gauge("koofs_memory_peak_bytes", "The most that ever was.", &[("memory.peak_bytes", &[])]),
    gauge("koofs_memory_budget_bytes", "The most that may be.", &[("memory.budget_bytes", &[])]),
    gauge("koofs_cache_used_bytes", "What is kept on the disk.", &[("cache.used_bytes", &[])]),
    gauge("koofs_cache_limit_bytes", "The most that is kept.", &[("cache.limit_bytes", &[])]),
    counter(
        "koofs_cache_lookups_total",
        "What the disk was asked for; late is what it did not answer in time.",
        &[("cache.hits", &["result=hit"]), ("cache.misses", &["result=miss"]), ("cache.late", &["result=late"])],
    ),
    counter("koofs_cache_damaged_total", "Pieces that were not as they were written.", &[("cache.damaged", &[])]),
    counter("koofs_cache_written_bytes_total", "Written to the disk.", &[("cache.written_bytes", &[])]),
    counter("koofs_cache_dropped_bytes_total", "Not kept, as the disk was slow.", &[("cache.dropped_bytes", &[])]),
    counter("koofs_cache_evictions_total", "Pieces that made room for others.", &[("cache.evicted", &[])]),
    gauge("koofs_inodes", "Entries that are known.", &[("tree.inodes", &[])]),
    gauge("koofs_open_files", "Files that programs have open.", &[("tree.open_files", &[])]),
    gauge("koofs_open_directories", "Directories that programs have open.", &[("tree.open_directories", &[])]),
];

/// The text for `report`, lines of a name, a tabulator and JSON, and for how long requests took.
pub fn exposition(report: &str, latencies: &[Latency]) -> String {
    let lines: Vec<(&str, &str)> = report.lines().filter_map(|line| line.split_once('\t')).collect();
    let mut text = String::new();
    // A String takes what it is given, here and below.
    let _ = writeln!(text, "# HELP koofs_info The mount.\n# TYPE koofs_info gauge");
    let text_of = |wanted: &str| {
        let value = lines.iter().find(|(name, _)| *name == wanted).map_or("\"\"", |(_, value)| value);
        value.trim_matches('"').to_owned()
    };
    let _ = writeln!(text, "koofs_info{{version=\"{}\",source=\"{}\"}} 1", text_of("version"), text_of("source"));
    for Family { name, kind, help, samples } in FAMILIES {
        let mut written = String::new();
        for (pattern, labels) in *samples {
            for (line, value) in &lines {
                if let Some(words) = matched(pattern, line) {
                    let _ = writeln!(written, "{name}{} {value}", labelled(labels, &words));
                }
            }
        }
        if !written.is_empty() {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{written}");
        }
    }
    write_latencies(&mut text, latencies);
    text
}

/// The words that the stars of `pattern` stand for in `line`; `None` if it is another line.
fn matched<'a>(pattern: &str, line: &'a str) -> Option<Vec<&'a str>> {
    let (wanted, words) = (pattern.split('.'), line.split('.').collect::<Vec<_>>());
    let wanted: Vec<&str> = wanted.collect();
    let is_it =
        wanted.len() == words.len() && wanted.iter().zip(&words).all(|(wanted, word)| *wanted == "*" || wanted == word);
    let stars = wanted.iter().zip(words).filter(|(wanted, _)| **wanted == "*");
    is_it.then(|| stars.map(|(_, word)| word).collect())
}

/// `{purpose="listing",kind="timeout"}`; nothing without labels.
fn labelled(labels: &[&str], words: &[&str]) -> String {
    let mut words = words.iter();
    let pairs = labels.iter().filter_map(|label| match label.split_once('=') {
        Some((label, value)) => Some(format!("{label}=\"{value}\"")),
        None => words.next().map(|word| format!("{label}=\"{word}\"")),
    });
    let pairs = pairs.collect::<Vec<_>>().join(",");
    if pairs.is_empty() { pairs } else { format!("{{{pairs}}}") }
}

fn write_latencies(text: &mut String, latencies: &[Latency]) {
    let name = "koofs_request_duration_seconds";
    let _ = writeln!(text, "# HELP {name} Time to the answer; of content to its first byte.\n# TYPE {name} histogram");
    for Latency { purpose, buckets, count, sum_micros } in latencies {
        for (end_micros, below) in buckets {
            let _ = writeln!(text, "{name}_bucket{{purpose=\"{purpose}\",le=\"{}\"}} {below}", seconds(*end_micros));
        }
        let _ = writeln!(text, "{name}_bucket{{purpose=\"{purpose}\",le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "{name}_sum{{purpose=\"{purpose}\"}} {}", seconds(*sum_micros));
        let _ = writeln!(text, "{name}_count{{purpose=\"{purpose}\"}} {count}");
    }
}

/// Without rounding.
fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_becomes_families_with_their_samples_together() {
        let report = "format\t1\nversion\t\"1.2\"\nsource\t\"koofs:a\\\"b\"\nrequests.listing.count\t7\nrequests.links.count\t2\n\
                      requests.listing.errors.timeout\t3\nreads.waited\t5\nusers.0.pid\t17\nfetching.0.path\t\"/secret\"\n";
        let latency =
            Latency { purpose: "listing", buckets: vec![(1024, 1), (4096, 2)], count: 3, sum_micros: 1_500_000 };
        let text = exposition(report, &[latency]);
        for want in [
            "koofs_info{version=\"1.2\",source=\"koofs:a\\\"b\"} 1\n",
            "# TYPE koofs_requests_total counter\nkoofs_requests_total{purpose=\"listing\"} 7\nkoofs_requests_total{purpose=\"links\"} 2\n",
            "koofs_request_errors_total{purpose=\"listing\",kind=\"timeout\"} 3\n",
            "koofs_reads_total{answered=\"later\"} 5\n",
            "koofs_request_duration_seconds_bucket{purpose=\"listing\",le=\"0.004096\"} 2\n",
            "koofs_request_duration_seconds_bucket{purpose=\"listing\",le=\"+Inf\"} 3\n",
            "koofs_request_duration_seconds_sum{purpose=\"listing\"} 1.500000\n",
        ] {
            assert!(text.contains(want), "no {want} in\n{text}");
        }
        for without in ["17", "secret", "koofs_errors_total", "koofs_cache"] {
            assert!(!text.contains(without), "{without} in\n{text}");
        }
    }

    #[test]
    fn names_are_by_the_conventions_and_each_star_has_a_label() {
        for Family { name, kind, samples, .. } in FAMILIES {
            assert!(name.starts_with("koofs_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
            for (pattern, labels) in *samples {
                let open = labels.iter().filter(|label| !label.contains('=')).count();
                assert_eq!(pattern.matches('*').count(), open, "{name}: {pattern}");
            }
        }
    }
}
