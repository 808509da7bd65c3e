//! Half-open byte ranges, their blocks, and the verdict on an object store's answer to a range request.

use std::fmt;

/// The unit of the block cache, in bytes. A power of two so that the kernel's aligned read-ahead requests (128 KiB by
/// default: src/kernel/LINUX.md, section 6) fall on whole blocks; small enough that a random 4 KiB read costs one request of 5 ms
/// at 25 MB/s, large enough that a cached GiB is 8,192 entries.
pub const BLOCK_BYTES: u64 = 128 * 1024;

/// The bytes from `start` up to, not including, `end`. `start <= end` always.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// First byte, counted from the start of the file.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// The bytes `start..end`; empty where `end` is not past `start`.
    pub fn new(start: u64, end: u64) -> ByteRange {
        ByteRange { start, end: end.max(start) }
    }

    /// `len` bytes from `offset`, cut at the end of a file of `size` bytes; empty at or past its end. Never overflows.
    pub fn clamped(offset: u64, len: u64, size: u64) -> ByteRange {
        ByteRange::new(offset.min(size), offset.saturating_add(len).min(size))
    }

    /// How many bytes.
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether there is not one byte in it.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The indices of the blocks that hold any byte of it: `first..end`, empty for an empty range.
    pub fn blocks(self) -> std::ops::Range<u64> {
        if self.is_empty() {
            return 0..0;
        }
        self.start / BLOCK_BYTES..self.end.div_ceil(BLOCK_BYTES)
    }

    /// The bytes of block `index` in a file of `size` bytes; the last block may be short.
    pub fn of_block(index: u64, size: u64) -> ByteRange {
        ByteRange::clamped(index.saturating_mul(BLOCK_BYTES), BLOCK_BYTES, size)
    }
}

impl fmt::Debug for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// `wanted`, or one byte more where it is a single byte of a longer object: OBS's text says that a range whose end is not
/// greater than its start is ignored and the whole object sent (src/koodrive/API.md, section 10.3). The extra byte
/// comes before it, or behind it at the very start.
pub fn never_one_byte(wanted: ByteRange, size: u64) -> ByteRange {
    match wanted {
        ByteRange { start, end } if end - start != 1 || size <= 1 => wanted,
        ByteRange { start: 0, .. } => ByteRange::new(0, 2),
        ByteRange { start, end } => ByteRange::new(start - 1, end),
    }
}

/// The most of a body that is read only to be thrown away, in bytes: where a store ignores the range and sends the whole
/// object, this is how far into it a read may be. A new connection costs about four round trips (TCP, TLS, request), 200 ms
/// on a far line, in which an open one brings 5 MB at 25 MB/s: up to here, reading on is no dearer than asking another store
/// would be. Beyond, one read of 4 KiB at the end of a long file would cost the whole file.
pub const MAX_SKIP_BYTES: u64 = 4 * 1024 * 1024;

/// Why the whole object, sent where a range was asked for, is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeIgnored {
    /// The range begins more than [`MAX_SKIP_BYTES`] into it.
    TooFar,
    /// Its length is not told, so that it cannot be checked to be the version that the listing promised.
    NoLength,
}

impl fmt::Display for RangeIgnored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object store ignores ranges: it sends the whole file, ")?;
        match self {
            RangeIgnored::TooFar => write!(f, "which is read up to {} MiB only", MAX_SKIP_BYTES >> 20),
            RangeIgnored::NoLength => f.write_str("and does not tell its length"),
        }
    }
}

/// What the head of an object store's answer says, as far as a range request is concerned.
#[derive(Clone, Copy, Debug)]
pub struct AnswerHead<'a> {
    /// HTTP status.
    pub status: u16,
    /// `Content-Range`, if sent.
    pub content_range: Option<&'a str>,
    /// `Content-Length`, if sent.
    pub content_length: Option<u64>,
    /// `<Code>` of the XML error body, if the status is an error and there was one.
    pub error_code: Option<&'a str>,
}

/// What to do with an answer to a range request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The body starts `skip` bytes before the range that was asked for; then `take` bytes of it follow.
    Use {
        /// Bytes of the body to throw away first.
        skip: u64,
    },
    /// The whole object, which is not used: the body is not to be read.
    RangeIgnored(RangeIgnored),
    /// The link is no good (expired, revoked, moved): get another and ask again, once.
    RefusedLink,
    /// The pinned version of the object is gone.
    Changed,
    /// The object is not as long as it must be; the length it has, if the store says so.
    OtherSize(Option<u64>),
    /// The store asks for fewer requests.
    Throttled,
    /// The store does not work at the moment: ask again later.
    Unavailable,
    /// The store cannot serve this object, now or with another link.
    Refused,
    /// The answer contradicts the request or itself.
    Malformed,
}

/// What an answer without any of the object says: the one table of the statuses and error codes of object stores.
///
/// Statuses and codes: OBS API reference, "downloading an object" and "error codes" (src/koodrive/API.md, section 10.3).
fn failure(head: AnswerHead<'_>) -> Verdict {
    match (head.status, head.error_code) {
        // Archived, in arrears, not signed up: no link of this object will do.
        (403, Some("InvalidObjectState" | "InArrearOrInsufficientBalance" | "NotSignedUp" | "DeregisterUserId")) => {
            Verdict::Refused
        }
        // 400: TooManyWrongSignature and its like.
        (400 | 401 | 403 | 404 | 410, _) => Verdict::RefusedLink,
        (412, _) => Verdict::Changed,
        // We never ask past the size that the listing gave, so the object has become shorter.
        (416, _) => Verdict::OtherSize(None),
        (429, _) | (503, Some("SlowDown")) => Verdict::Throttled,
        (408 | 500..=599, _) => Verdict::Unavailable,
        _ => Verdict::Malformed,
    }
}

/// Whether a refusal with this status, with a fresh link too, means that there is no such object (any more).
pub fn means_gone(status: u16) -> bool {
    matches!(status, 404 | 410)
}

/// Judges the answer to a request for `asked` of an object that must have `size` bytes.
///
/// A 206 must carry exactly the asked range and the whole size; a 200 must be the whole object, and is skipped into as far as
/// [`MAX_SKIP_BYTES`].
pub fn judge(asked: ByteRange, size: u64, head: AnswerHead<'_>) -> Verdict {
    match head.status {
        206 => judge_partial(asked, size, head),
        200 => match head.content_length {
            None => Verdict::RangeIgnored(RangeIgnored::NoLength),
            Some(length) if length != size => Verdict::OtherSize(Some(length)),
            Some(_) if asked.start > MAX_SKIP_BYTES => Verdict::RangeIgnored(RangeIgnored::TooFar),
            Some(_) => Verdict::Use { skip: asked.start },
        },
        _ => failure(head),
    }
}

/// What an answer to a request for the first bytes of an object says about its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeVerdict {
    /// It is so many bytes.
    Is(u64),
    /// Nothing that can be believed: for the reason that a range would not be served, or as [`Verdict::Malformed`].
    Unknown(Verdict),
}

/// Judges the answer to a request for the first bytes of an object of unknown length. An empty object has no bytes to answer with,
/// which is a 416 (OBS API reference; RFC 9110, 15.5.17).
pub fn judge_size(head: AnswerHead<'_>) -> SizeVerdict {
    let size = match head.status {
        206 => head.content_range.and_then(parse_content_range).and_then(|(_, total)| total),
        416 => head.content_range.and_then(|range| parse_decimal(range.trim().strip_prefix("bytes */")?)),
        200 => head.content_length,
        _ => return SizeVerdict::Unknown(failure(head)),
    };
    // Offsets of files are signed 64 bit in Linux.
    let size = size.filter(|size| i64::try_from(*size).is_ok());
    size.map_or(SizeVerdict::Unknown(Verdict::Malformed), SizeVerdict::Is)
}

fn judge_partial(asked: ByteRange, size: u64, head: AnswerHead<'_>) -> Verdict {
    let Some((range, total)) = head.content_range.and_then(parse_content_range) else {
        return Verdict::Malformed;
    };
    if total.is_some_and(|total| total != size) {
        return Verdict::OtherSize(total);
    }
    let length_fits = head.content_length.is_none_or(|length| length == asked.len());
    if range == asked && total.is_some() && length_fits { Verdict::Use { skip: 0 } } else { Verdict::Malformed }
}

/// `bytes 0-99/1234` as the half-open range and the total; the total is `None` for `*` (RFC 9110, 14.4).
fn parse_content_range(text: &str) -> Option<(ByteRange, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (parse_decimal(first)?, parse_decimal(last)?);
    let total = if total == "*" { None } else { Some(parse_decimal(total)?) };
    if last < first || total.is_some_and(|total| last >= total) {
        return None;
    }
    Some((ByteRange::new(first, last.checked_add(1)?), total))
}

/// Digits only: `u64::from_str` would take a leading `+`.
fn parse_decimal(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, content_range: Option<&str>, content_length: Option<u64>) -> AnswerHead<'_> {
        AnswerHead { status, content_range, content_length, error_code: None }
    }

    #[test]
    fn range_is_clamped_to_the_file_without_overflow() {
        assert_eq!(ByteRange::clamped(10, 20, 100), ByteRange::new(10, 30));
        assert_eq!(ByteRange::clamped(90, 20, 100), ByteRange::new(90, 100));
        assert!(ByteRange::clamped(100, 1, 100).is_empty());
        assert!(ByteRange::clamped(u64::MAX, u64::MAX, 100).is_empty());
        assert_eq!(ByteRange::clamped(1, u64::MAX, u64::MAX), ByteRange::new(1, u64::MAX));
    }

    #[test]
    fn blocks_of_a_range_cover_it_and_no_more() {
        assert_eq!(ByteRange::new(0, 1).blocks(), 0..1);
        assert_eq!(ByteRange::new(0, BLOCK_BYTES).blocks(), 0..1);
        assert_eq!(ByteRange::new(BLOCK_BYTES - 1, BLOCK_BYTES + 1).blocks(), 0..2);
        assert!(ByteRange::new(5, 5).blocks().is_empty());
        assert_eq!(ByteRange::of_block(1, BLOCK_BYTES + 7), ByteRange::new(BLOCK_BYTES, BLOCK_BYTES + 7));
        assert!(ByteRange::of_block(u64::MAX, 10).is_empty());
    }

    #[test]
    fn single_byte_is_asked_for_with_a_neighbour() {
        assert_eq!(never_one_byte(ByteRange::new(5, 6), 100), ByteRange::new(4, 6));
        assert_eq!(never_one_byte(ByteRange::new(0, 1), 100), ByteRange::new(0, 2));
        assert_eq!(never_one_byte(ByteRange::new(0, 1), 1), ByteRange::new(0, 1));
        assert_eq!(never_one_byte(ByteRange::new(5, 7), 100), ByteRange::new(5, 7));
    }

    #[test]
    fn partial_answer_is_used_only_if_it_is_exactly_what_was_asked() {
        let asked = ByteRange::new(10, 20);
        let verdict = |range, length| judge(asked, 100, answer(206, range, length));
        assert_eq!(verdict(Some("bytes 10-19/100"), Some(10)), Verdict::Use { skip: 0 });
        assert_eq!(verdict(Some("bytes 10-19/100"), None), Verdict::Use { skip: 0 });
        for wrong in ["bytes 10-18/100", "bytes 9-19/100", "bytes 11-19/100", "bytes 10-20/100", "bytes 10-19/*"] {
            assert_eq!(verdict(Some(wrong), None), Verdict::Malformed, "{wrong}");
        }
        for nonsense in ["", "bytes", "bytes */100", "bytes 19-10/100", "bytes +10-19/100", "bytes 10-19/", "10-19/100"]
        {
            assert_eq!(verdict(Some(nonsense), None), Verdict::Malformed, "{nonsense}");
        }
        assert_eq!(verdict(None, Some(10)), Verdict::Malformed);
        assert_eq!(verdict(Some("bytes 10-19/100"), Some(11)), Verdict::Malformed);
    }

    #[test]
    fn answer_for_an_object_of_another_size_is_a_change() {
        let asked = ByteRange::new(10, 20);
        let partial = answer(206, Some("bytes 10-19/101"), Some(10));
        assert_eq!(judge(asked, 100, partial), Verdict::OtherSize(Some(101)));
        assert_eq!(judge(asked, 100, answer(200, None, Some(99))), Verdict::OtherSize(Some(99)));
        assert_eq!(judge(asked, 100, answer(416, None, None)), Verdict::OtherSize(None));
        assert_eq!(judge(asked, 100, answer(412, None, None)), Verdict::Changed);
    }

    #[test]
    fn whole_object_is_skipped_into_as_far_as_a_new_connection_costs_and_only_with_its_length() {
        let asked = ByteRange::new(10, 20);
        assert_eq!(judge(asked, 100, answer(200, None, Some(100))), Verdict::Use { skip: 10 });
        for asked in [asked, ByteRange::new(0, 10)] {
            let verdict = judge(asked, 100, answer(200, None, None));
            assert_eq!(verdict, Verdict::RangeIgnored(RangeIgnored::NoLength));
        }
        let size = 1 << 40;
        let from = |start| judge(ByteRange::new(start, start + 10), size, answer(200, None, Some(size)));
        assert_eq!(from(0), Verdict::Use { skip: 0 });
        assert_eq!(from(MAX_SKIP_BYTES), Verdict::Use { skip: MAX_SKIP_BYTES });
        for start in [MAX_SKIP_BYTES + 1, size - 10] {
            assert_eq!(from(start), Verdict::RangeIgnored(RangeIgnored::TooFar), "{start}");
        }
        assert_eq!(
            judge(asked, 100, answer(200, None, Some(101))),
            Verdict::OtherSize(Some(101)),
            "before anything else"
        );
    }

    #[test]
    fn length_is_told_by_any_answer_that_has_it_and_by_no_other() {
        let size = |status, range, length| judge_size(answer(status, range, length));
        assert_eq!(size(206, Some("bytes 0-1/1234"), Some(2)), SizeVerdict::Is(1234));
        assert_eq!(size(206, Some("bytes 0-0/1"), Some(1)), SizeVerdict::Is(1));
        assert_eq!(size(416, Some("bytes */0"), Some(300)), SizeVerdict::Is(0));
        assert_eq!(size(200, None, Some(77)), SizeVerdict::Is(77));
        for (status, range, length) in [
            (206, Some("bytes 0-1/*"), Some(2)),
            (206, None, Some(2)),
            (416, None, Some(0)),
            (416, Some("bytes */x"), None),
            (200, None, None),
            (200, None, Some(u64::MAX)),
            (302, None, Some(5)),
        ] {
            let want = SizeVerdict::Unknown(Verdict::Malformed);
            assert_eq!(size(status, range, length), want, "{status} {range:?}");
        }
        for status in [400, 403, 404, 408, 412, 429, 503] {
            let as_for_a_range = judge(ByteRange::new(0, 2), 100, answer(status, None, None));
            assert_eq!(size(status, None, None), SizeVerdict::Unknown(as_for_a_range), "{status}");
        }
    }

    #[test]
    fn refusals_are_told_apart_by_what_helps() {
        let asked = ByteRange::new(0, 2);
        for status in [400, 401, 403, 404, 410] {
            assert_eq!(judge(asked, 2, answer(status, None, None)), Verdict::RefusedLink, "{status}");
        }
        for status in [408, 500, 503] {
            assert_eq!(judge(asked, 2, answer(status, None, None)), Verdict::Unavailable, "{status}");
        }
        let slow_down = AnswerHead { error_code: Some("SlowDown"), ..answer(503, None, None) };
        for throttled in [answer(429, None, None), slow_down] {
            assert_eq!(judge(asked, 2, throttled), Verdict::Throttled, "{throttled:?}");
        }
        let archived = AnswerHead { error_code: Some("InvalidObjectState"), ..answer(403, None, None) };
        assert_eq!(judge(asked, 2, archived), Verdict::Refused);
        assert_eq!(judge(asked, 2, answer(302, None, None)), Verdict::Malformed);
    }
}
