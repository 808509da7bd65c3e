//! What the service and the object store send besides JSON, made up at random and by changing what is right: never a panic, and never
//! more than what was asked for.

use std::time::{Duration, SystemTime};

use koofs::policy::link_expiry::{LONGEST_LIFETIME, link_life, renew_at};
use koofs::policy::name::{EntryName, MAX_NAME_BYTES};
use koofs::policy::range::{AnswerHead, ByteRange, MAX_SKIP_BYTES, SizeVerdict, Verdict, judge, judge_size};
use koofs::policy::retry::parse_retry_after;
use koofs::policy::server_time::{ServerOffset, parse_http_date};

/// How many inputs each law tries: a second of an unoptimised build.
const INPUTS: usize = 20_000;

/// Inputs of one law, from a seed that it prints.
struct Inputs(fastrand::Rng);

impl Inputs {
    fn new(law: &str) -> Inputs {
        let seed = fastrand::u64(..);
        println!("{law}: seed {seed}");
        Inputs(fastrand::Rng::with_seed(seed))
    }

    /// One of `right`, with up to three pieces of it removed, doubled, or replaced by something odd.
    fn changed(&mut self, right: &[&str]) -> String {
        const ODD: [&str; 14] = [
            "",
            "0",
            "-1",
            "+7",
            "18446744073709551615",
            "9223372036854775808",
            "%",
            "%zz",
            "\0",
            "é",
            "=",
            "&",
            "/",
            "\u{202e}",
        ];
        let mut text: Vec<char> = self.0.choice(right).copied().unwrap_or_default().chars().collect();
        for _ in 0..self.0.usize(..4) {
            let (from, to) = (self.0.usize(..=text.len()), self.0.usize(..=text.len()));
            let piece = from.min(to)..from.max(to);
            match self.0.u8(..3) {
                0 => drop(text.drain(piece)),
                1 => {
                    let twice: Vec<char> = text[piece.clone()].to_vec();
                    text.splice(piece.start..piece.start, twice);
                }
                _ => drop(text.splice(piece, self.0.choice(ODD).unwrap_or_default().chars())),
            }
        }
        text.into_iter().take(4096).collect()
    }

    /// A number near the ones that matter.
    fn number(&mut self) -> u64 {
        let near = *self.0.choice(&[0, 1, 131_072, 1 << 20, MAX_SKIP_BYTES, 1 << 40, 1 << 63, u64::MAX]).unwrap_or(&0);
        near.wrapping_add(self.0.u64(..4)).wrapping_sub(2)
    }
}

#[test]
fn life_of_a_link_is_bounded_whatever_its_url_says() {
    let mut inputs = Inputs::new("links");
    let right = [
        "https://obs.example/o?X-Amz-Date=20231227T072939Z&X-Amz-Expires=300&X-Amz-Signature=aa",
        "https://obs.example/o?Expires=1703662179&Signature=aa%3D",
        "https://obs.example/o",
    ];
    let received_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_703_662_000);
    for _ in 0..INPUTS {
        let url = inputs.changed(&right);
        let server = ServerOffset { millis: inputs.0.i64(..) >> inputs.0.u32(..63) };
        let life = link_life(&url, received_at, server);
        assert!(life.lifetime <= LONGEST_LIFETIME, "{url}");
        assert!(life.expires_at <= received_at + LONGEST_LIFETIME, "{url}");
        assert!(renew_at(life.expires_at, life.lifetime) <= life.expires_at, "{url}");
    }
}

#[test]
fn answer_is_used_only_if_it_is_what_was_asked_for() {
    let mut inputs = Inputs::new("ranges");
    let mut used = 0;
    for _ in 0..INPUTS {
        let size = inputs.number().min(1 << 62);
        let asked = ByteRange::clamped(inputs.number(), inputs.number(), size);
        if asked.is_empty() {
            continue;
        }
        let right = format!("bytes {}-{}/{size}", asked.start, asked.end - 1);
        let content_range = inputs.changed(&[&right, "bytes */100", "bytes 0-0/1"]);
        let content_length =
            *inputs.0.choice(&[None, Some(asked.len()), Some(size), Some(0), Some(u64::MAX)]).unwrap_or(&None);
        let status = *inputs.0.choice(&[200, 206, 301, 403, 404, 412, 416, 429, 503, 999]).unwrap_or(&0);
        let head = AnswerHead { status, content_range: Some(&content_range), content_length, error_code: None };
        if let Verdict::Use { skip } = judge(asked, size, head) {
            used += 1;
            match status {
                206 => {
                    let said: Vec<u64> =
                        content_range.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
                    assert_eq!(said, [asked.start, asked.end - 1, size], "{content_range}");
                    assert_eq!(skip, 0);
                }
                200 => assert!(content_length == Some(size) && skip == asked.start && skip <= MAX_SKIP_BYTES),
                _ => panic!("{status} is no answer"),
            }
        }
        if let SizeVerdict::Is(told) = judge_size(head) {
            assert!(i64::try_from(told).is_ok(), "no file of Linux is so long: {told}");
        }
    }
    assert!(used > INPUTS / 200, "too few answers were right: {used}");
}

#[test]
fn dates_and_pauses_of_headers_never_panic() {
    let mut inputs = Inputs::new("headers");
    let right = ["Wed, 27 Dec 2023 07:29:39 GMT", "120", "Sun, 06 Nov 1994 08:49:37 GMT", "0"];
    for _ in 0..INPUTS {
        let (date, pause) = (inputs.changed(&right), inputs.changed(&right));
        let date = parse_http_date(&date);
        let _ = parse_retry_after(&pause, date);
        if let Some(date) = date {
            let sent = SystemTime::UNIX_EPOCH + Duration::from_secs(inputs.0.u64(..1 << 33));
            let offset = ServerOffset::measure(date, sent, sent + Duration::from_millis(inputs.0.u64(..100_000)));
            let _ = (offset.to_local(date), offset.to_server(sent), offset.updated(date, sent, sent));
        }
    }
}

#[test]
fn every_remote_name_becomes_one_that_linux_can_hold() {
    let mut inputs = Inputs::new("names");
    let long = "x".repeat(300);
    let right = ["report.pdf", "..", ".", "", "a/b", "/", &long, "Ünï.tar.gz", "nul\0"];
    for _ in 0..INPUTS / 4 {
        let name = inputs.changed(&right);
        let is_taken = inputs.0.bool();
        let mut asked = 0;
        let assigned = EntryName::assign(&name, "F1", |_| {
            asked += 1;
            is_taken && asked < 3
        });
        let assigned = assigned.as_str();
        assert!((1..=MAX_NAME_BYTES).contains(&assigned.len()), "{name:?}");
        assert!(!assigned.contains(['/', '\0']) && assigned != "." && assigned != "..", "{name:?}");
    }
}
