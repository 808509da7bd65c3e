//! What must hold of everything that a service, a store or a stranger can send, for the parsers that are public. Each target takes
//! bytes and panics if something is wrong. Those of private parsers stand beside them (`fuzzed.rs` in their rooms).
//!
//! Run by `fuzz_laws` in the suite for a second, and by `scripts/fuzz` with libFuzzer for as long as one likes.

use std::str::Split;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use koofs::policy::link_expiry::{LONGEST_LIFETIME, link_life, renew_at};
use koofs::policy::name::{EntryName, MAX_NAME_BYTES};
use koofs::policy::range::{AnswerHead, ByteRange, MAX_SKIP_BYTES, SizeVerdict, Verdict, judge, judge_size};
use koofs::policy::retry::parse_retry_after;
use koofs::policy::server_time::{ServerOffset, parse_http_date};

/// When everything here is received: 2023-12-27, the day of the service's own samples.
const NOW_SECONDS: u64 = 1_703_662_000;

/// The next line as a number; 0 if it is none.
fn number<T: std::str::FromStr + Default>(lines: &mut Split<'_, char>) -> T {
    lines.next().and_then(|line| line.parse().ok()).unwrap_or_default()
}

/// A link: the service's clock in ms against ours, then the URL. Its life is bounded whatever it says.
pub fn link_expiry(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let server = ServerOffset { millis: number(&mut lines) };
    let url = lines.next().unwrap_or_default();
    let received_at = UNIX_EPOCH + Duration::from_secs(NOW_SECONDS);
    let life = link_life(url, received_at, server);
    assert!(life.lifetime <= LONGEST_LIFETIME, "{life:?}");
    assert!(life.expires_at <= received_at + LONGEST_LIFETIME, "{life:?}");
    assert!(renew_at(life.expires_at, life.lifetime) <= life.expires_at, "{life:?}");
    // A fragment is not sent, and says nothing.
    if !url.contains('#') {
        let longer = format!("{url}#?X-Amz-Expires=1&Expires=1");
        assert_eq!(link_life(&longer, received_at, server), life);
    }
}

/// A name: how many names are taken, the id, then the name. Linux can hold what becomes of it, and it is not one that is taken.
pub fn name(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let most_taken = lines.next().and_then(|line| line.parse::<usize>().ok()).unwrap_or_default().min(8);
    let (id, remote) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let assign = |remote: &str| {
        let mut refused: Vec<String> = Vec::new();
        let name = EntryName::assign(remote, id, |name| {
            let is_taken = refused.iter().any(|taken| taken == name);
            if !is_taken && refused.len() < most_taken {
                refused.push(name.to_owned());
                return true;
            }
            is_taken
        });
        assert!(!refused.iter().any(|taken| taken == name.as_str()), "{name:?} was taken");
        name
    };
    let assigned = assign(remote);
    let shown = assigned.as_str();
    assert!((1..=MAX_NAME_BYTES).contains(&shown.len()), "{remote:?}: {} bytes", shown.len());
    assert!(!shown.contains(['/', '\0']) && shown != "." && shown != "..", "{remote:?}: {shown:?}");
    assert_eq!(assign(remote), assigned, "the same on every mount");
    // A listing that was kept on the disk has the names as they were assigned.
    assert_eq!(EntryName::assign(shown, id, |_| false), assigned, "its own name when it is assigned again");
}

/// An answer to a range: status, offset, length and size that were asked for, Content-Length (or nothing), Content-Range (or nothing),
/// error code. It is used only if it is what was asked for.
pub fn range(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let status = number(&mut lines);
    let (offset, len): (u64, u64) = (number(&mut lines), number(&mut lines));
    // No file of Linux is longer; a listing with such a size is refused.
    let size = number::<u64>(&mut lines) & (u64::MAX >> 1);
    let content_length: Option<u64> = lines.next().and_then(|line| line.parse().ok());
    let content_range = lines.next().filter(|line| !line.is_empty());
    let error_code = lines.next().filter(|line| !line.is_empty());
    let asked = ByteRange::clamped(offset, len, size);
    assert!(asked.end <= size && asked.len() <= len);
    if asked.is_empty() {
        return;
    }
    let blocks = asked.blocks();
    assert!(ByteRange::of_block(blocks.start, size).start <= asked.start);
    assert!(ByteRange::of_block(blocks.end - 1, size).end >= asked.end);
    let head = AnswerHead { status, content_range, content_length, error_code };
    if let Verdict::Use { skip } = judge(asked, size, head) {
        match status {
            206 => {
                let said = content_range.unwrap_or_default();
                assert_eq!(numbers(said), [asked.start, asked.end - 1, size], "{said}");
                assert!(skip == 0 && content_length.is_none_or(|length| length == asked.len()), "{content_length:?}");
            }
            200 => assert!(content_length == Some(size) && skip == asked.start && skip <= MAX_SKIP_BYTES),
            _ => panic!("{status} is no answer"),
        }
    }
}

/// A Content-Range by itself: a size that is believed is one that it says and that a file can have.
pub fn content_range(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for status in [206, 416] {
        let head = AnswerHead { status, content_range: Some(&text), content_length: Some(7), error_code: None };
        if let SizeVerdict::Is(size) = judge_size(head) {
            assert!(i64::try_from(size).is_ok(), "{size}");
            assert_eq!(numbers(&text).last(), Some(&size), "{text:?}");
        }
    }
}

/// Date and Retry-After, a line each, and when the request was sent in seconds since 1970: no panic, no time before it.
pub fn headers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let (date, pause) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let sent = UNIX_EPOCH + Duration::from_secs(number::<u64>(&mut lines) >> 20);
    let date = parse_http_date(date);
    let _ = parse_retry_after(pause, date);
    let Some(date) = date else { return };
    let received: SystemTime = sent + Duration::from_millis(number::<u64>(&mut lines) >> 32);
    let offset = ServerOffset::measure(date, sent, received);
    assert!(offset.to_local(date) >= UNIX_EPOCH && offset.to_server(sent) >= UNIX_EPOCH);
    let _ = offset.updated(date, sent, received);
}

/// All runs of digits that are a number.
fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}
