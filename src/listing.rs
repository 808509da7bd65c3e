//! `koofs ls`: a directory of a remote drive on standard output, page by page, under the names that the mount shows; and
//! the way to a directory by such names, for `--root`.
//!
//! Knows `Remote` and `policy::name`; no kernel, no threads. A page that fails is asked for again as the mount does.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use crate::clock::{Clock, patiently};
use crate::config::{ListConfig, ListFormat, Source};
use crate::policy::name::EntryName;
use crate::policy::printable::json_text;
use crate::policy::printable::printable;
use crate::policy::size::human_size;
use crate::remote::{Cursor, Endless, Node, NodeId, NodeKind, Pages, Remote, RemoteError, RemoteErrorKind};

/// A failed listing. What was printed before it is true, but not all there is.
#[derive(Debug)]
pub enum ListError {
    /// No such name in the directory above it: the path, and what kind of source it is not in.
    NotFound(String, &'static str),
    /// A file where the path goes on.
    NotADirectory(String),
    /// The service did not list the directory.
    Remote(String, RemoteError),
    /// The service lists so many entries in a way that cannot be read; which is the first, and why.
    Unreadable(usize, String, &'static str),
    /// The service's listing goes in circles, or on and on.
    Endless(String),
    /// Standard output does not take it.
    Output(io::Error),
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListError::NotFound(path, source) => write!(f, "there is no {path} in the {source}"),
            ListError::NotADirectory(path) => write!(f, "{path} is a file"),
            ListError::Remote(path, _) => write!(f, "cannot list {path}"),
            ListError::Endless(path) => write!(f, "the listing of {path} does not end; given up, incomplete"),
            ListError::Unreadable(count, name, why) => {
                write!(f, "{count} of the entries cannot be read, the first is {name}: {why}")
            }
            ListError::Output(_) => f.write_str("cannot write the listing"),
        }
    }
}

impl Error for ListError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ListError::Remote(_, cause) => Some(cause),
            ListError::Output(cause) => Some(cause),
            _ => None,
        }
    }
}

/// Prints what `config.path` names: the entries of a directory as their pages arrive, or one file. With `is_terminal`,
/// control characters in names are shown escaped.
///
/// # Errors
/// [`ListError`]; also after entries were printed.
pub fn list(
    remote: &dyn Remote,
    config: &ListConfig,
    clock: &dyn Clock,
    is_terminal: bool,
    out: &mut dyn Write,
) -> Result<(), ListError> {
    let walk = Walk { remote, clock, source: &config.source };
    let mut directory = match walk.resolve(&config.path)? {
        Found::Directory(directory) => directory,
        Found::File(name, node) => return print(&name, &node, config.format, is_terminal, out),
    };
    let (mut unreadable, mut first) = (0, None);
    while let Some(entries) = directory.next_page()? {
        for (name, node) in &entries {
            print(name, node, config.format, is_terminal, out)?;
            if let NodeKind::Unreadable(why) = node.kind {
                unreadable += 1;
                first.get_or_insert_with(|| (printable(name.as_str()).into_owned(), why));
            }
        }
        out.flush().map_err(ListError::Output)?;
    }
    first.map_or(Ok(()), |(name, why)| Err(ListError::Unreadable(unreadable, name, why)))
}

/// The directory that `path` names, or `None` if that is a file. Names are those that the mount shows.
///
/// # Errors
/// [`ListError`]
pub fn find_directory(
    remote: &dyn Remote,
    clock: &dyn Clock,
    source: &Source,
    path: &[String],
) -> Result<Option<NodeId>, ListError> {
    match (Walk { remote, clock, source }).resolve(path)? {
        Found::Directory(directory) => Ok(Some(directory.id)),
        Found::File(..) => Ok(None),
    }
}

/// How to walk the drive.
#[derive(Clone, Copy)]
struct Walk<'a> {
    remote: &'a dyn Remote,
    clock: &'a dyn Clock,
    source: &'a Source,
}

/// What a path names.
enum Found<'a> {
    Directory(Directory<'a>),
    File(EntryName, Node),
}

impl<'a> Walk<'a> {
    fn resolve(self, names: &[String]) -> Result<Found<'a>, ListError> {
        let mut directory = Directory::new(self, "/".to_owned(), self.remote.root());
        for (index, name) in names.iter().enumerate() {
            let path = format!("/{}", names[..=index].join("/"));
            let (entry, node) =
                directory.find(name)?.ok_or_else(|| ListError::NotFound(path.clone(), self.source.kind()))?;
            match node.kind {
                NodeKind::Directory => directory = Directory::new(self, path, node.id),
                NodeKind::File | NodeKind::Unsized if index + 1 == names.len() => return Ok(Found::File(entry, node)),
                NodeKind::File | NodeKind::Unsized => return Err(ListError::NotADirectory(path)),
                NodeKind::Unreadable(why) => return Err(ListError::Unreadable(1, path, why)),
            }
        }
        Ok(Found::Directory(directory))
    }
}

/// One directory on its way in.
struct Directory<'a> {
    walk: Walk<'a>,
    path: String,
    id: NodeId,
    /// The page to ask for: the first, one at a cursor, or none as the listing is complete.
    next: Option<Option<Cursor>>,
    pages: Pages,
    names: HashSet<EntryName>,
}

impl<'a> Directory<'a> {
    fn new(walk: Walk<'a>, path: String, id: NodeId) -> Self {
        Directory { walk, path, id, next: Some(None), pages: Pages::default(), names: HashSet::new() }
    }

    /// The entry `wanted`, looked for no further than its page.
    fn find(&mut self, wanted: &str) -> Result<Option<(EntryName, Node)>, ListError> {
        while let Some(entries) = self.next_page()? {
            if let Some(found) = entries.into_iter().find(|(name, _)| name.as_str() == wanted) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The next entries, perhaps none of them yet; `None` when the listing is complete.
    fn next_page(&mut self) -> Result<Option<Vec<(EntryName, Node)>>, ListError> {
        let Some(mut cursor) = self.next.take() else { return Ok(None) };
        let Walk { remote, clock, source } = self.walk;
        let deadline = clock.now() + source.connection().op_timeout;
        let page = loop {
            let list = || remote.list_page(&self.id, cursor.as_ref(), deadline);
            match patiently(clock, deadline, list, |error| (error.failure_kind(), error.retry_after())) {
                Ok(page) => break page,
                Err(error)
                    if error.kind() == RemoteErrorKind::CursorRefused && cursor.is_some() && self.pages.restart() =>
                {
                    log::debug!("{} is listed from its first page again: {error}", self.path);
                    cursor = None;
                }
                Err(error) => return Err(ListError::Remote(self.path.clone(), error)),
            }
        };
        let next = self.pages.go_on(page.next).map_err(|Endless| ListError::Endless(self.path.clone()))?;
        self.next = next.map(Some);
        let named = self.pages.name(page.nodes, |name| self.names.contains(name));
        self.names.extend(named.iter().map(|(name, _)| name.clone()));
        Ok(Some(named))
    }
}

fn print(
    name: &EntryName,
    node: &Node,
    format: ListFormat,
    is_terminal: bool,
    out: &mut dyn Write,
) -> Result<(), ListError> {
    let shown = if is_terminal { printable(name.as_str()) } else { name.as_str().into() };
    // Type, size where there is one, and what comes behind the name.
    let (kind, size, mark) = match node.kind {
        NodeKind::Directory => ("directory", None, "/"),
        NodeKind::File => ("file", Some(node.version.size_bytes), ""),
        NodeKind::Unsized => ("file", None, ""),
        NodeKind::Unreadable(_) => ("unreadable", None, "?"),
    };
    let time = modified(node.version.edited_ms);
    match format {
        ListFormat::Names => writeln!(out, "{shown}"),
        ListFormat::Long | ListFormat::LongForPeople => {
            let (width, text): (_, fn(u64) -> String) = match format {
                ListFormat::LongForPeople => (5, human_size),
                _ => (15, |size| size.to_string()),
            };
            let size = size.map_or("-".to_owned(), text);
            writeln!(out, "{size:>width$} {:20} {shown}{mark}", time.as_deref().unwrap_or("-"))
        }
        ListFormat::JsonLines => {
            let time = time.map_or("null".to_owned(), |time| json_text(&time));
            let size = match node.kind {
                NodeKind::Directory | NodeKind::File => node.version.size_bytes.to_string(),
                NodeKind::Unsized | NodeKind::Unreadable(_) => "null".to_owned(),
            };
            let name = json_text(name.as_str());
            writeln!(out, "{{\"name\":{name},\"type\":\"{kind}\",\"size\":{size},\"modified\":{time}}}")
        }
    }
    .map_err(ListError::Output)
}

/// The time as RFC 3339 in UTC with whole seconds; `None` where the service gave none (0), or one that no calendar has.
fn modified(edited_ms: i64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(edited_ms).ok().filter(|_| edited_ms != 0)?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_utc_or_absent() {
        assert_eq!(modified(1_736_163_718_806).as_deref(), Some("2025-01-06T11:41:58Z"));
        assert_eq!(modified(-1).as_deref(), Some("1969-12-31T23:59:59Z"));
        assert_eq!(modified(0), None);
        assert_eq!(modified(i64::MAX), None);
    }
}
