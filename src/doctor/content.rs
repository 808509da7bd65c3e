//! Steps about links, and about what the object store does with them.

use super::examination::{Examination, FULL_PAGE, MAX_READ, MAX_TRIED_FILE, Part, Tried};
use super::finding::{Finding, Found};
use super::opening::roughly;
use crate::koodrive::Question;
use crate::policy::link_expiry::DatedBy;
use crate::policy::range::{AnswerHead, ByteRange, SizeVerdict, Verdict, judge, judge_size};
use crate::remote::{Node, NodeKind};

use std::time::Duration;

/// A link that lives shorter than this is renewed within most reads of a long file.
const SHORT_LIFE: Duration = Duration::from_secs(60);

/// No version of any object has this tag.
const NO_ETAG: &str = "\"koofs-doctor\"";

/// Bytes of the suffix that is asked for.
const SUFFIX: u64 = 16;

/// An answer shorter than this may be one that no service compresses, in bytes.
const MIN_COMPRESSED: u64 = 2048;

fn is_file(node: &Node) -> bool {
    matches!(node.kind, NodeKind::File | NodeKind::Unsized)
}

pub(super) fn listed_links(run: &mut Examination<'_>) -> Found {
    let root = run.root()?;
    let mut files = run.known.iter().flat_map(|known| &known.nodes).filter(|node| is_file(node)).peekable();
    if files.peek().is_none() {
        return Err(Finding::left_out("no file was found in the first folders"));
    }
    let linked = files.any(|node| node.link.is_some());
    // Folders have none.
    let is_telling = |shape: &&'static str| root.shapes.links.len() == 1 || *shape != "absent";
    let shape = root.shapes.links.iter().copied().filter(is_telling).collect::<Vec<_>>().join(" or ");
    let shape = if shape.is_empty() { "no entry at the top".to_owned() } else { shape };
    Ok(match (linked, run.is_space()) {
        (true, _) => Finding::good(format!("{shape}, with links to content: a file's first read needs no other call")),
        (false, true) => Finding::good(format!("{shape}, without links to content: asked for 100 at a time")),
        (false, false) => Finding::lacking(format!("{shape}, without links to content: one more call for each file")),
    })
}

pub(super) fn links(run: &mut Examination<'_>) -> Found {
    let probe = run.probe()?;
    let size = |node: &Node| (node.kind == NodeKind::File).then_some(node.version.size_bytes);
    let files = run.known.iter().flat_map(|known| &known.nodes);
    let files = files.filter(|node| is_file(node) && size(node).is_none_or(|size| size >= 2));
    // Long enough to have an inside, short enough to come as a whole; else what is closest to it.
    let rank = |node: &&Node| match size(node) {
        Some(size @ 64..=MAX_TRIED_FILE) => (0, size),
        Some(size @ ..64) => (2, 64 - size),
        Some(size) => (3, size),
        None => (1, 0),
    };
    let Some(node) = files.min_by_key(rank).cloned() else {
        return Err(Finding::left_out("no file with content was found in the first folders"));
    };
    let link = match probe.link(&node.id, run.deadline()) {
        Ok(link) => link,
        Err(error) => return Ok(Finding::bad(format!("no link to a file ({error}): files cannot be read"))),
    };
    let left = link.expires_at.duration_since(run.clock.utc()).unwrap_or_default();
    let style = match link.dated_by() {
        DatedBy::V4 => "dated by X-Amz-Date",
        DatedBy::V2 => "dated by Expires",
        DatedBy::Nothing => "without a date that is known",
    };
    let (size, is_short) = (size(&node), link.lifetime < SHORT_LIFE);
    run.tried = Some(Tried { link, size, etag: None, has_ranges: false });
    let seen = format!("{style}, good for {}", roughly(left));
    Ok(match is_short {
        true => Finding::lacking(format!("{seen}: renewed often")),
        false => Finding::good(seen),
    })
}

pub(super) fn ranges(run: &mut Examination<'_>) -> Found {
    let tried = run.tried()?;
    let (link, listed) = (tried.link.clone(), tried.size);
    let asked = ByteRange::new(0, listed.unwrap_or(2).clamp(1, MAX_READ));
    let redirects = run.meter.redirects();
    let got = match run.get(&link, Part::Range(asked, None)) {
        Ok(got) => got,
        Err(shown) => return Ok(Finding::bad(format!("{shown}: files cannot be read"))),
    };
    let head = AnswerHead {
        status: got.answer.status,
        content_range: got.answer.content_range.as_deref(),
        content_length: got.answer.content_length,
        error_code: got.answer.error_code.as_deref(),
    };
    let size = match (listed, judge_size(head)) {
        (Some(size), _) | (None, SizeVerdict::Is(size)) => size,
        (None, SizeVerdict::Unknown(_)) => return Ok(Finding::bad(refused(head.status))),
    };
    let asked = ByteRange::clamped(0, asked.len(), size);
    let verdict = judge(asked, size, head);
    let is_partial = head.status == 206;
    let after = if run.meter.redirects() > redirects { ", after a redirect" } else { "" };
    if verdict == (Verdict::Use { skip: 0 }) && is_partial && got.bytes.len() as u64 == asked.len() {
        if let Some(tried) = &mut run.tried {
            (tried.size, tried.etag, tried.has_ranges) = (Some(size), got.answer.etag, true);
        }
        return Ok(Finding::good(format!("a range is answered with just that range{after}")));
    }
    Ok(Finding::bad(match verdict {
        Verdict::Use { .. } if is_partial => "fewer bytes than announced: files cannot be read".to_owned(),
        Verdict::Use { .. } | Verdict::RangeIgnored(_) => {
            "ranges are ignored: files beyond 4 MiB cannot be read; is there a proxy on the way?".to_owned()
        }
        Verdict::RefusedLink => {
            format!("the store refuses a link that has just come (HTTP {}): files cannot be read", head.status)
        }
        Verdict::OtherSize(_) => "the object has another length than its listing: reading it is EIO".to_owned(),
        Verdict::Malformed if is_partial => "another range than was asked for: files cannot be read".to_owned(),
        _ => refused(head.status),
    }))
}

fn refused(status: u16) -> String {
    format!("HTTP {status}: files cannot be read")
}

pub(super) fn suffix(run: &mut Examination<'_>) -> Found {
    let (tried, size) = run.small_with_ranges()?;
    let link = tried.link.clone();
    let len = SUFFIX.min(size);
    let want = format!("bytes {}-{}/{size}", size - len, size.saturating_sub(1));
    Ok(match run.get(&link, Part::Suffix(len)) {
        Ok(got) if got.answer.status == 206 && got.answer.content_range.as_deref() == Some(want.as_str()) => {
            Finding::good("the last bytes can be asked for without the length; a mount does not")
        }
        Ok(got) if got.answer.status == 200 => {
            Finding::lacking("ignored: the whole file comes; a mount does not ask so")
        }
        Ok(got) => Finding::lacking(format!("HTTP {} or another range; a mount does not ask so", got.answer.status)),
        Err(shown) => Finding::lacking(shown),
    })
}

pub(super) fn one_byte(run: &mut Examination<'_>) -> Found {
    let (tried, size) = run.small_with_ranges()?;
    let link = tried.link.clone();
    if size < 3 {
        return Err(Finding::left_out("the file is too short"));
    }
    Ok(match run.get(&link, Part::Range(ByteRange::new(1, 2), None)) {
        Ok(got) if got.answer.status == 206 => Finding::good("one byte comes alone; a mount asks for two all the same"),
        Ok(got) if got.answer.status == 200 => Finding::lacking("ignored, the whole file comes: a mount asks for two"),
        Ok(got) => Finding::lacking(format!("HTTP {}: a mount asks for two", got.answer.status)),
        Err(shown) => Finding::lacking(shown),
    })
}

pub(super) fn etag(run: &mut Examination<'_>) -> Found {
    let tried = run.tried()?;
    match (&tried.etag, tried.has_ranges) {
        (_, false) => Err(Finding::left_out("ranges do not work")),
        (Some(_), true) => Ok(Finding::good("versions are told apart by it")),
        (None, true) => Ok(Finding::lacking("there is none: versions are told apart by length and time alone")),
    }
}

pub(super) fn if_match(run: &mut Examination<'_>) -> Found {
    let tried = run.tried()?;
    let (link, size) = (tried.link.clone(), tried.size.unwrap_or(0));
    let Some(etag) = tried.etag.clone() else { return Err(Finding::left_out("there is no ETag")) };
    let range = ByteRange::clamped(0, 2, size);
    match run.get(&link, Part::Range(range, Some(&etag))) {
        Ok(got) if matches!(got.answer.status, 200 | 206) => {}
        Ok(got) => {
            let status = got.answer.status;
            return Ok(Finding::bad(format!("HTTP {status} for the tag it has just given: long reads are ESTALE")));
        }
        Err(shown) => return Ok(Finding::bad(shown)),
    }
    Ok(match run.get(&link, Part::Range(range, Some(NO_ETAG))) {
        Ok(got) if got.answer.status == 412 => Finding::good("the store refuses another version by itself"),
        Ok(got) => {
            Finding::lacking(format!("HTTP {} for a version that is not: a mount compares itself", got.answer.status))
        }
        Err(shown) => Finding::lacking(shown),
    })
}

pub(super) fn gzip(run: &mut Examination<'_>) -> Found {
    run.root()?;
    let probe = run.probe()?;
    let before = run.meter.bytes();
    run.meter.keep_compression(true);
    // What comes compressed cannot be read, which is what is looked for.
    let answered = probe.list(Question { page_size: FULL_PAGE, ..Question::default() }, run.deadline());
    run.meter.keep_compression(false);
    let came = run.meter.bytes() - before;
    match (run.meter.came_compressed(), answered) {
        (Some(true), _) => Ok(Finding::good(format!("a full page comes compressed, in {came} bytes"))),
        (Some(false), Ok(_)) if came < MIN_COMPRESSED => {
            Err(Finding::left_out(format!("a page of {came} bytes is too short to tell")))
        }
        (Some(false), Ok(_)) => Ok(Finding::lacking(format!("not compressed: a full page takes {came} bytes"))),
        (_, Err(error)) => Ok(Finding::lacking(format!("not told: {error}"))),
        (None, Ok(_)) => Err(Finding::left_out("there is no answer")),
    }
}

pub(super) fn thumbnail(run: &mut Examination<'_>) -> Found {
    run.root()?;
    let Some(link) = run.thumbnail.clone() else {
        return Ok(Finding::lacking("listings have no link to one: pictures are shown from their files"));
    };
    Ok(match run.get(&link, Part::Range(ByteRange::new(0, MAX_READ), None)) {
        Ok(got) if matches!(got.answer.status, 200 | 206) => match picture(&got.bytes) {
            Some(kind) => Finding::good(format!("listings have links to them: {kind}")),
            None => Finding::lacking("listings have links to them, but what comes is no picture that is known"),
        },
        Ok(got) => Finding::lacking(format!("HTTP {} for the link that a listing had", got.answer.status)),
        Err(shown) => Finding::lacking(shown),
    })
}

/// By its first bytes.
fn picture(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("JPEG"),
        [0x89, b'P', b'N', b'G', ..] => Some("PNG"),
        [b'G', b'I', b'F', b'8', ..] => Some("GIF"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("WebP"),
        _ => None,
    }
}

pub(super) fn throttling(run: &mut Examination<'_>) -> Found {
    run.probe()?;
    let (requests, throttled) = (run.meter.requests(), run.meter.throttled());
    let headers = run.meter.limit_headers();
    let told = if headers.is_empty() { "no header tells of limits".to_owned() } else { headers.join(", ") };
    Ok(match throttled {
        0 => Finding::good(format!("none of {requests} requests was too many; {told}")),
        _ => Finding::lacking(format!("{throttled} of {requests} requests were too many: a mount slows down; {told}")),
    })
}
