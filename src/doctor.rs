//! `koofs doctor`: tries step by step what a mount of a source would need, and says what was seen and what follows.
//!
//! What is known of the service is its documentation (src/koodrive/API.md), which leaves some things open: each line names the section
//! that it settles. By the same clients as a mount, so what works here works there. One call after the other, each once.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::config::Source;
use crate::content::{ObjectStore, StoreAnswer, StoreError};
use crate::http::{HttpConfig, ObjectClient};
use crate::koodrive::{self, OpenError};
use crate::policy::printable::one_line;
use crate::policy::range::ByteRange;
use crate::remote::{Child, Cursor, Link, Node, NodeId, NodeKind, Page, Remote};

/// The most directories that are looked into for a file.
const MAX_LOOKED_INTO: usize = 4;

/// A link that lives shorter than this is renewed within most reads of a large file.
const SHORT_LIFE: Duration = Duration::from_secs(60);

/// No version of any object has this tag.
const NO_ETAG: &str = "\"koofs-doctor\"";

/// Why the examination ended badly.
#[derive(Debug)]
pub enum Failed {
    /// The source cannot be opened.
    Opening(OpenError),
    /// So many of the steps do not work.
    Steps(usize),
    /// Standard output does not take it.
    Output(io::Error),
}

/// What a step comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Good,
    Lacking,
    Bad,
    LeftOut,
}

/// The examination of one source.
struct Examination<'a> {
    remote: Arc<dyn Remote>,
    store: ObjectClient,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    bad: usize,
    out: &'a mut dyn Write,
}

/// Examines `source` and prints a line for each step.
///
/// # Errors
/// [`Failed`]; lines of the steps before it are printed.
pub fn run(source: &Source, clock: &Arc<dyn Clock>, out: &mut dyn Write) -> Result<(), Failed> {
    let http = HttpConfig::of(source.connection());
    let began = clock.now();
    let remote = koodrive::open(source, &http, Arc::clone(clock)).map_err(Failed::Opening)?;
    let took = clock.now().saturating_duration_since(began);
    let store = ObjectClient::new(http, Arc::clone(clock)).map_err(|error| Failed::Output(io::Error::other(error)))?;
    let timeout = source.connection().op_timeout;
    let mut examination = Examination { remote, store, clock: Arc::clone(clock), timeout, bad: 0, out };
    examination.say(Mark::Good, "opening", "5, 6", &format!("the source opens, in {} ms", took.as_millis()))?;
    examination.examine()?;
    match examination.bad {
        0 => Ok(()),
        bad => Err(Failed::Steps(bad)),
    }
}

impl Examination<'_> {
    fn examine(&mut self) -> Result<(), Failed> {
        let root = self.remote.root();
        let Some(page) = self.first_page(&root)? else { return Ok(()) };
        self.cursors(&root, &page)?;
        let (file, place) = self.find_file(&root, &page);
        self.names(&place)?;
        self.subtrees(&root)?;
        self.space()?;
        match file {
            Some(file) => self.content(&file),
            None => {
                self.say(Mark::LeftOut, "links", "10.1", "no file was found in the first directories: nothing to read")
            }
        }
    }

    fn first_page(&mut self, root: &NodeId) -> Result<Option<Page>, Failed> {
        let began = self.clock.now();
        let listed = self.remote.list_page(root, None, self.deadline());
        let took = self.clock.now().saturating_duration_since(began).as_millis();
        match listed {
            Ok(page) => {
                let odd = page.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Unreadable(_))).count();
                let rest = if page.next.is_some() { "and more" } else { "all there are" };
                let seen = format!("{} entries, {rest}, in {took} ms", page.nodes.len());
                match odd {
                    0 => self.say(Mark::Good, "a page", "5.4, 6.1", &seen)?,
                    _ => self.say(
                        Mark::Lacking,
                        "a page",
                        "5.4, 6.1",
                        &format!("{seen}; {odd} cannot be read, and answer EIO"),
                    )?,
                }
                Ok(Some(page))
            }
            Err(error) => {
                self.say(
                    Mark::Bad,
                    "a page",
                    "5.4, 6.1",
                    &format!("the directory cannot be listed: {}", one_line(&error)),
                )?;
                Ok(None)
            }
        }
    }

    /// Whether the second page is another one, and the third has another place.
    fn cursors(&mut self, root: &NodeId, first: &Page) -> Result<(), Failed> {
        let Some(cursor) = &first.next else {
            return self.say(Mark::LeftOut, "cursors", "5.4, 6.1", "the first directory has one page");
        };
        match self.remote.list_page(root, Some(cursor), self.deadline()) {
            Ok(second) => {
                let again = second.nodes.iter().filter(|node| first.nodes.iter().any(|one| one.id == node.id)).count();
                let same: Option<&Cursor> = second.next.as_ref().filter(|next| *next == cursor);
                match (same, again) {
                    (Some(_), _) => {
                        let seen = "the second page names itself as the next: long directories end in an error (EIO)";
                        self.say(Mark::Bad, "cursors", "5.4, 6.1", seen)
                    }
                    (None, 0) => self.say(
                        Mark::Good,
                        "cursors",
                        "5.4, 6.1",
                        &format!("the second page has {} others", second.nodes.len()),
                    ),
                    (None, _) => {
                        let seen = format!("{again} entries are on both pages: they are shown once");
                        self.say(Mark::Lacking, "cursors", "5.4, 6.1", &seen)
                    }
                }
            }
            Err(error) => self.say(
                Mark::Bad,
                "cursors",
                "5.4, 6.1",
                &format!("the second page cannot be had: {}", one_line(&error)),
            ),
        }
    }

    /// A file with content in the first page of `root` or of some directories in it, and the place to look for names in: the directory
    /// and the entry.
    fn find_file(&self, root: &NodeId, page: &Page) -> (Option<Node>, Option<(NodeId, Node)>) {
        let is_file = |node: &&Node| node.kind == NodeKind::File && node.version.size_bytes > 2;
        let is_plain = |node: &&Node| matches!(node.kind, NodeKind::File | NodeKind::Directory);
        // Among several, so that an answer with all of them tells.
        let place_in = |dir: &NodeId, page: &Page| {
            let node = page.nodes.iter().find(is_plain).filter(|_| page.nodes.len() > 1)?;
            Some((dir.clone(), node.clone()))
        };
        let (mut place, mut is_below) = (place_in(root, page), false);
        let mut file = page.nodes.iter().find(is_file).cloned();
        let dirs = page.nodes.iter().filter(|node| node.kind == NodeKind::Directory);
        for dir in dirs.take(MAX_LOOKED_INTO) {
            let Ok(page) = self.remote.list_page(&dir.id, None, self.deadline()) else { continue };
            file = file.or_else(|| page.nodes.iter().find(is_file).cloned());
            // Not the top level of a share, which is never asked.
            if let Some(below) = place_in(&dir.id, &page).filter(|_| !is_below) {
                (place, is_below) = (Some(below), true);
            }
            if file.is_some() && is_below {
                break;
            }
        }
        (file, place)
    }

    fn names(&mut self, place: &Option<(NodeId, Node)>) -> Result<(), Failed> {
        let Some((dir, node)) = place else {
            return self.say(
                Mark::LeftOut,
                "fileName",
                "5.4, 6.1",
                "no directory with several entries was found to try it in",
            );
        };
        match self.remote.find_child(dir, &node.name, self.deadline()) {
            Ok(Child::Only(found)) if found.id == node.id => self.say(
                Mark::Good,
                "fileName",
                "5.4, 6.1",
                "names are looked for: a known path needs no whole listing",
            ),
            Ok(Child::Unclear) if *dir == self.remote.root() => {
                let seen = "cannot be told at the top level alone: no directory is on its first page";
                self.say(Mark::LeftOut, "fileName", "5.4, 6.1", seen)
            }
            Ok(Child::Only(_) | Child::Unclear) => {
                let seen = "the answer is not this entry alone: a known path waits for the page it is on";
                self.say(Mark::Lacking, "fileName", "5.4, 6.1", seen)
            }
            Ok(Child::NotOffered) => {
                let seen = "names are not looked for: a known path waits for the page it is on";
                self.say(Mark::Lacking, "fileName", "5.4, 6.1", seen)
            }
            Err(error) => {
                let seen = format!("asking for a name fails: a known path waits for its page: {}", one_line(&error));
                self.say(Mark::Lacking, "fileName", "5.4, 6.1", &seen)
            }
        }
    }

    fn subtrees(&mut self, root: &NodeId) -> Result<(), Failed> {
        if !self.remote.may_have_subtrees() {
            return self.say(Mark::LeftOut, "walkFile", "6.6", "not for this kind of source");
        }
        match self.remote.subtree_size(root, self.deadline()) {
            Ok(Some(size)) => {
                let seen = format!(
                    "{} directories and {} files are counted: a walk may come in large pages",
                    size.directories, size.files
                );
                self.say(Mark::Good, "walkFile", "6.6", &seen)
            }
            Ok(None) => self.say(Mark::Lacking, "walkFile", "6.6", "not offered: a walk lists each directory"),
            Err(error) => {
                let seen = format!("a walk lists each directory, as counting fails: {}", one_line(&error));
                self.say(Mark::Lacking, "walkFile", "6.6", &seen)
            }
        }
    }

    fn space(&mut self) -> Result<(), Failed> {
        match self.remote.capacity() {
            Some(_) => self.say(Mark::Good, "df", "8.2", "the service tells used and total size"),
            None => self.say(Mark::LeftOut, "df", "8.2", "the service tells no size: df shows 1 TiB, all of it in use"),
        }
    }

    /// Links to `file`, and what the object store does with ranges and versions.
    fn content(&mut self, file: &Node) -> Result<(), Failed> {
        let links = self.remote.resolve_links(std::slice::from_ref(&file.id), self.deadline());
        let link = match links.map(|mut links| links.pop()) {
            Ok(Some(Ok(link))) => link,
            Ok(Some(Err(error))) | Err(error) => {
                return self.say(Mark::Bad, "links", "10.2", &format!("no link to a file: {}", one_line(&error)));
            }
            Ok(None) => return self.say(Mark::Bad, "links", "10.2", "the answer has no link"),
        };
        let came = if file.link.is_some() { "come with a listing" } else { "are asked for file by file or together" };
        let left = link.expires_at.duration_since(self.clock.utc()).unwrap_or_default();
        let seen = format!("links {came}, and live for {} s", left.as_secs());
        match left {
            Duration::ZERO => {
                self.say(
                    Mark::Bad,
                    "links",
                    "10.2",
                    "a link is over when it comes: is the clock of this machine right?",
                )?;
            }
            left if left < SHORT_LIFE => {
                self.say(Mark::Lacking, "links", "10.2", &format!("{seen}: they are renewed often"))?
            }
            _ => self.say(Mark::Good, "links", "10.2", &seen)?,
        }
        self.ranges(&link, file.version.size_bytes)
    }

    fn ranges(&mut self, link: &Link, size: u64) -> Result<(), Failed> {
        let first = ByteRange::new(0, 2);
        let whole = format!("bytes 0-1/{size}");
        let etag = match self.get(link, first, None) {
            Ok(answer) if answer.status == 206 && answer.content_range.as_deref() == Some(whole.as_str()) => {
                self.say(Mark::Good, "ranges", "10.3", "a range is answered with that range")?;
                answer.etag
            }
            Ok(answer) if answer.status == 200 => {
                let seen =
                    "ranges are ignored: only the first 4 MiB of a file can be read. Is there a proxy on the way?";
                return self.say(Mark::Bad, "ranges", "10.3", seen);
            }
            Ok(answer) => {
                let range = answer
                    .content_range
                    .map_or_else(String::new, |_| ", another range or length than listed".to_owned());
                return self.say(
                    Mark::Bad,
                    "ranges",
                    "10.3",
                    &format!("HTTP {}{range}: files cannot be read", answer.status),
                );
            }
            Err(error) => {
                return self.say(Mark::Bad, "ranges", "10.3", &format!("files cannot be read: {}", one_line(&error)));
            }
        };
        match etag {
            Some(_) => self.say(Mark::Good, "ETag", "10.3", "versions are told apart by their tags")?,
            None => {
                self.say(Mark::Lacking, "ETag", "10.3", "no tag: versions are told apart by size and time alone")?
            }
        }
        match self.get(link, first, Some(NO_ETAG)) {
            Ok(answer) if answer.status == 412 => {
                self.say(Mark::Good, "If-Match", "10.3", "the store refuses another version by itself")
            }
            Ok(answer) => {
                let seen = format!("HTTP {} for a version that does not exist: tags are compared here", answer.status);
                self.say(Mark::Lacking, "If-Match", "10.3", &seen)
            }
            Err(error) => self.say(Mark::Lacking, "If-Match", "10.3", &one_line(&error)),
        }
    }

    fn get(&self, link: &Link, range: ByteRange, etag: Option<&str>) -> Result<StoreAnswer, StoreError> {
        ObjectStore::get(&self.store, link, range, etag, self.deadline())
    }

    fn deadline(&self) -> Instant {
        self.clock.now() + self.timeout
    }

    fn say(&mut self, mark: Mark, step: &str, section: &str, seen: &str) -> Result<(), Failed> {
        let sign = match mark {
            Mark::Good => "\u{2713}",
            Mark::Lacking => "!",
            Mark::Bad => "\u{2717}",
            Mark::LeftOut => "-",
        };
        self.bad += usize::from(mark == Mark::Bad);
        writeln!(self.out, "{sign} {step:<9} {seen} [{section}]")
            .and_then(|()| self.out.flush())
            .map_err(Failed::Output)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Opening(_) => f.write_str("the source cannot be opened"),
            Failed::Steps(1) => f.write_str("one step does not work: see the line with \u{2717}"),
            Failed::Steps(count) => write!(f, "{count} steps do not work: see the lines with \u{2717}"),
            Failed::Output(_) => f.write_str("cannot write what was seen"),
        }
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Failed::Opening(error) => Some(error),
            Failed::Output(error) => Some(error),
            Failed::Steps(_) => None,
        }
    }
}
