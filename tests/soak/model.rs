//! What the service had, and when: every version of every file, every state of every directory since the last refresh. Judges
//! what was seen in a mount by it.
//!
//! Time is the number of changes so far. An operation may see what was there between the last refresh of the whole mount that
//! ended before it began, and its own end ([`Window`]): each listing and each file as it was at some moment of that time,
//! never a mixture of two. Plain memory; knows neither the service nor the mount.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::emulator::pattern;

/// How many names a complaint shows.
const NAMES_SHOWN: usize = 8;

/// The id of the top.
pub(crate) const TOP: &str = "";

/// The changes that an operation may have seen: `from` and all that came until `to`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// One version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) size: u64,
    /// Where its bytes begin in the pattern's table.
    pub(crate) shift: u64,
    /// Modification time in ms since 1970.
    pub(crate) edited_ms: i64,
}

/// The states that something has been in, each with the change it came with.
#[derive(Clone, Debug)]
struct Timeline<T>(Vec<(u64, T)>);

impl<T> Timeline<T> {
    fn set(&mut self, at: u64, state: T) {
        // What one change makes of it in several steps was never there.
        if self.0.last().is_some_and(|(from, _)| *from == at) {
            self.0.pop();
        }
        self.0.push((at, state));
    }

    fn latest(&self) -> &T {
        &self.0[self.0.len() - 1].1
    }

    /// The states that were there at some moment of the window.
    fn during(&self, window: Window) -> impl Iterator<Item = &T> {
        self.0.iter().enumerate().filter_map(move |(nth, (from, state))| {
            let ended = self.0.get(nth + 1).map_or(u64::MAX, |(next, _)| *next);
            (*from <= window.to && ended > window.from).then_some(state)
        })
    }

    fn forget_before(&mut self, at: u64) {
        let keep = self.0.iter().rposition(|(from, _)| *from <= at).unwrap_or(0);
        self.0.drain(..keep);
    }
}

/// Names in a directory and the ids behind them.
type Children = Arc<BTreeMap<String, String>>;

#[derive(Clone, Debug)]
enum Entry {
    Folder(Timeline<Children>),
    File(Timeline<Version>),
}

/// A path as it is now.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) id: String,
    /// `None` for a folder.
    pub(crate) file: Option<Version>,
}

/// All that the service had since the last refresh.
#[derive(Debug)]
pub(crate) struct Model {
    entries: BTreeMap<String, Entry>,
    /// By id, versions that others of the same size and time took the place of: a mount that has all of one in memory asks for
    /// nothing, and cannot know. They are counted ([`Model::is_overwritten`]) and never forgotten.
    overwritten: BTreeMap<String, Vec<Version>>,
    now: u64,
}

impl Model {
    pub(crate) fn new() -> Model {
        let top = Entry::Folder(Timeline(vec![(0, Children::default())]));
        Model { entries: BTreeMap::from([(TOP.to_owned(), top)]), overwritten: BTreeMap::new(), now: 0 }
    }

    /// The number of changes so far.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    // ---- changes ----

    fn children_mut(&mut self, folder: &str, change: impl FnOnce(&mut BTreeMap<String, String>)) {
        let Some(Entry::Folder(states)) = self.entries.get_mut(folder) else { panic!("no folder {folder}") };
        let mut children = (**states.latest()).clone();
        change(&mut children);
        states.set(self.now, Arc::new(children));
    }

    /// Adds an entry, a folder if it has no version.
    pub(crate) fn add(&mut self, folder: &str, name: &str, id: &str, version: Option<Version>) {
        self.now += 1;
        let entry = match version {
            Some(version) => Entry::File(Timeline(vec![(self.now, version)])),
            None => Entry::Folder(Timeline(vec![(self.now, Children::default())])),
        };
        assert!(self.entries.insert(id.to_owned(), entry).is_none(), "{id} is there already");
        self.children_mut(folder, |children| assert!(children.insert(name.to_owned(), id.to_owned()).is_none()));
    }

    /// Removes the entry `name` of a folder, with all that is in it.
    pub(crate) fn remove(&mut self, folder: &str, name: &str) {
        self.now += 1;
        self.children_mut(folder, |children| assert!(children.remove(name).is_some()));
    }

    /// Gives an entry another name, or another place.
    pub(crate) fn rename(&mut self, folder: &str, name: &str, to_folder: &str, to_name: &str) {
        self.now += 1;
        let mut id = None;
        self.children_mut(folder, |children| id = children.remove(name));
        let Some(id) = id else { panic!("no entry {name}") };
        self.children_mut(to_folder, |children| assert!(children.insert(to_name.to_owned(), id).is_none()));
    }

    /// Gives a file another version under the same id.
    pub(crate) fn replace(&mut self, id: &str, version: Version) {
        self.now += 1;
        let Some(Entry::File(states)) = self.entries.get_mut(id) else { panic!("no file {id}") };
        let old = *states.latest();
        if (old.size, old.edited_ms) == (version.size, version.edited_ms) {
            self.overwritten.entry(id.to_owned()).or_default().push(old);
        }
        states.set(self.now, version);
    }

    /// Gives a name another entry, a file with an id of its own.
    pub(crate) fn replace_id(&mut self, folder: &str, name: &str, id: &str, version: Version) {
        self.now += 1;
        self.entries.insert(id.to_owned(), Entry::File(Timeline(vec![(self.now, version)])));
        self.children_mut(folder, |children| assert!(children.insert(name.to_owned(), id.to_owned()).is_some()));
    }

    /// Forgets what was no longer so at the change `at`.
    pub(crate) fn forget_before(&mut self, at: u64) {
        let mut known = BTreeSet::from([TOP.to_owned()]);
        for entry in self.entries.values_mut() {
            match entry {
                Entry::Folder(states) => {
                    states.forget_before(at);
                    known.extend(states.0.iter().flat_map(|(_, children)| children.values().cloned()));
                }
                Entry::File(states) => states.forget_before(at),
            }
        }
        self.entries.retain(|id, _| known.contains(id));
        self.overwritten.retain(|id, _| known.contains(id));
    }

    // ---- what there is now ----

    /// Everything below a path, the path itself first.
    pub(crate) fn below(&self, path: &str) -> Vec<Place> {
        let window = Window { from: self.now, to: self.now };
        let Some(id) = self.candidates(path, window).into_iter().next() else { return Vec::new() };
        let mut found = Vec::new();
        let mut left = vec![(path.to_owned(), id.to_owned())];
        while let Some((path, id)) = left.pop() {
            let file = match self.entries.get(&id) {
                Some(Entry::Folder(states)) => {
                    left.extend(states.latest().iter().map(|(name, id)| (join(&path, name), id.clone())));
                    None
                }
                Some(Entry::File(states)) => Some(*states.latest()),
                None => continue,
            };
            found.push(Place { path, id, file });
        }
        found
    }

    /// How many calls a listing of this directory takes at least.
    pub(crate) fn pages(&self, path: &str, page: u32) -> u64 {
        let window = Window { from: self.now, to: self.now };
        let entries = self.candidates(path, window).into_iter().find_map(|id| match self.entries.get(id) {
            Some(Entry::Folder(states)) => Some(states.latest().len() as u64),
            _ => None,
        });
        entries.map_or(0, |entries| entries.div_ceil(u64::from(page)).max(1))
    }

    // ---- what may be seen ----

    /// The ids that a path may have led to.
    fn candidates(&self, path: &str, window: Window) -> BTreeSet<&str> {
        let mut ids = BTreeSet::from([TOP]);
        for name in names(path) {
            let mut next = BTreeSet::new();
            for id in ids {
                if let Some(Entry::Folder(states)) = self.entries.get(id) {
                    next.extend(states.during(window).filter_map(|children| children.get(name)).map(String::as_str));
                }
            }
            ids = next;
        }
        ids
    }

    /// Whether there may have been something at a path.
    pub(crate) fn may_be_there(&self, path: &str, window: Window) -> bool {
        !self.candidates(path, window).is_empty()
    }

    /// Whether there may have been nothing at a path.
    pub(crate) fn may_be_absent(&self, path: &str, window: Window) -> bool {
        let mut ids = BTreeSet::from([TOP]);
        for name in names(path) {
            let mut next = BTreeSet::new();
            for id in ids {
                let Some(Entry::Folder(states)) = self.entries.get(id) else { return true };
                for children in states.during(window) {
                    let Some(child) = children.get(name) else { return true };
                    next.insert(child.as_str());
                }
            }
            ids = next;
        }
        false
    }

    /// The versions that there were, and those that they took the place of unseen.
    fn versions(&self, path: &str, window: Window) -> Vec<Version> {
        let mut versions = Vec::new();
        for id in self.candidates(path, window) {
            let Some(Entry::File(states)) = self.entries.get(id) else { continue };
            versions.extend(states.during(window).copied());
            let overwritten = self.overwritten.get(id).into_iter().flatten();
            let unseen = overwritten.filter(|old| {
                states.during(window).any(|version| (version.size, version.edited_ms) == (old.size, old.edited_ms))
            });
            versions.extend(unseen.copied());
        }
        versions
    }

    /// Whether content that was seen is a version that was overwritten before the window.
    pub(crate) fn is_overwritten(&self, path: &str, shift: u64, window: Window) -> bool {
        let mut files = self.candidates(path, window).into_iter().filter_map(|id| match self.entries.get(id) {
            Some(Entry::File(states)) => Some(states),
            _ => None,
        });
        files.all(|states| states.during(window).all(|version| version.shift != shift))
    }

    /// Whether a file at a path, or any file, was overwritten: its first reader after that may be told that it has changed.
    pub(crate) fn was_overwritten(&self, path: Option<&str>, window: Window) -> bool {
        let Some(path) = path else { return !self.overwritten.is_empty() };
        self.candidates(path, window).into_iter().any(|id| self.overwritten.contains_key(id))
    }

    /// Judges a listing: names, and whether each is a folder. One that is not `whole` ended with an error.
    pub(crate) fn judge_listing(
        &self,
        path: &str,
        seen: &BTreeMap<String, bool>,
        whole: bool,
        window: Window,
    ) -> Result<(), String> {
        let is_folder = |id: &String| matches!(self.entries.get(id), Some(Entry::Folder(_)));
        let states: Vec<&Children> = self
            .candidates(path, window)
            .into_iter()
            .filter_map(|id| match self.entries.get(id) {
                Some(Entry::Folder(states)) => Some(states.during(window)),
                _ => None,
            })
            .flatten()
            .collect();
        if states.is_empty() {
            return Err(format!("{path:?} was listed, and there was no such folder"));
        }
        let fits = |children: &Children| {
            let known = seen.iter().all(|(name, folder)| children.get(name).is_some_and(|id| is_folder(id) == *folder));
            known && (!whole || children.len() == seen.len())
        };
        if states.iter().any(|children| fits(children)) {
            return Ok(());
        }
        let ever = |name: &String, folder: bool| {
            states.iter().any(|children| children.get(name).is_some_and(|id| is_folder(id) == folder))
        };
        let foreign: Vec<&String> =
            seen.iter().filter(|(name, folder)| !ever(name, **folder)).map(|(name, _)| name).collect();
        let always = states[0].keys().filter(|name| states.iter().all(|children| children.contains_key(*name)));
        let missing: Vec<&String> = always.filter(|name| !seen.contains_key(*name)).collect();
        let sizes: Vec<usize> = states.iter().map(|children| children.len()).collect();
        let mut text = format!("{path:?}: a listing of {} names", seen.len());
        // Writing to a String cannot fail.
        let _ = if !foreign.is_empty() {
            write!(text, " has {} that were not there: {}", foreign.len(), some(&foreign))
        } else if !missing.is_empty() && whole {
            write!(text, " lacks {} that were there all the time: {}", missing.len(), some(&missing))
        } else {
            write!(text, " is a mixture of several states")
        };
        let _ = write!(text, " (it had {sizes:?} names between changes {} and {})", window.from, window.to);
        Err(text)
    }

    /// Judges attributes: a folder, or a file's size and time if they were asked for.
    pub(crate) fn judge_attributes(
        &self,
        path: &str,
        file: Option<(u64, Option<i64>)>,
        window: Window,
    ) -> Result<(), String> {
        let Some((size, edited_ms)) = file else {
            let folder =
                self.candidates(path, window).iter().any(|id| matches!(self.entries.get(*id), Some(Entry::Folder(_))));
            return if folder { Ok(()) } else { Err(format!("{path:?} is shown as a folder, and was none")) };
        };
        let versions = self.versions(path, window);
        let fits = |version: &Version| {
            version.size == size && edited_ms.is_none_or(|edited_ms| version.edited_ms == edited_ms)
        };
        if versions.iter().any(fits) {
            return Ok(());
        }
        Err(format!("{path:?} has size {size} and time {edited_ms:?}; it had {}", some_versions(&versions, window)))
    }

    /// Judges content that was found to be that of one version: where it begins in the pattern's table, if it has enough bytes
    /// to tell, and all of them if not.
    pub(crate) fn judge_content(
        &self,
        path: &str,
        size: u64,
        shift: Option<u64>,
        head: &[u8],
        window: Window,
    ) -> Result<(), String> {
        let versions = self.versions(path, window);
        let fits = |version: &Version| {
            let begins = || head == pattern::expected(version.shift, 0, head.len());
            version.size == size && shift.map_or_else(begins, |shift| version.shift == shift)
        };
        if versions.iter().any(fits) {
            return Ok(());
        }
        Err(format!(
            "{path:?} has {size} bytes of the version at {shift:?} ({head:02x?}); it had {}",
            some_versions(&versions, window)
        ))
    }

    /// Judges the first or the last bytes of a file, at most `len` of them.
    pub(crate) fn judge_part(
        &self,
        path: &str,
        last: bool,
        len: u64,
        seen: &[u8],
        window: Window,
    ) -> Result<(), String> {
        let versions = self.versions(path, window);
        let fits = |version: &Version| {
            let count = len.min(version.size);
            let start = if last { version.size - count } else { 0 };
            count == seen.len() as u64 && pattern::expected(version.shift, start, seen.len()) == seen
        };
        if versions.iter().any(fits) {
            return Ok(());
        }
        let which = if last { "last" } else { "first" };
        Err(format!("the {which} {len} bytes of {path:?} are wrong; it had {}", some_versions(&versions, window)))
    }

    /// Judges a count of lines, as `grep -c ''` gives it.
    pub(crate) fn judge_lines(
        &self,
        path: &str,
        lines: u64,
        count: impl Fn(&Version) -> u64,
        window: Window,
    ) -> Result<(), String> {
        let versions = self.versions(path, window);
        if versions.iter().any(|version| count(version) == lines) {
            return Ok(());
        }
        let counts: Vec<u64> = versions.iter().map(count).collect();
        Err(format!("{path:?} has {lines} lines; it had {counts:?}, as {}", some_versions(&versions, window)))
    }
}

/// A path of names.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// The path of the folder that something is in, and its name there.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((TOP, path))
}

fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

fn some(names: &[&String]) -> String {
    let more = if names.len() > NAMES_SHOWN { ", …" } else { "" };
    format!("{:?}{more}", &names[..names.len().min(NAMES_SHOWN)])
}

fn some_versions(versions: &[Version], window: Window) -> String {
    let texts: Vec<String> = versions
        .iter()
        .map(|version| format!("{} bytes at {} of {}", version.size, version.shift, version.edited_ms))
        .collect();
    format!("[{}] between changes {} and {}", texts.join(", "), window.from, window.to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Version = Version { size: 100, shift: 5, edited_ms: 1000 };
    const NEW: Version = Version { size: 100, shift: 9, edited_ms: 1000 };
    const LATER: Version = Version { size: 100, shift: 3, edited_ms: 3000 };

    fn listed(names: &[(&str, bool)]) -> BTreeMap<String, bool> {
        names.iter().map(|(name, folder)| ((*name).to_owned(), *folder)).collect()
    }

    fn model() -> Model {
        let mut model = Model::new();
        model.add(TOP, "d", "D", None);
        model.add("D", "a", "A", Some(OLD));
        model.add("D", "b", "B", Some(OLD));
        model
    }

    #[test]
    fn listing_is_one_state_of_its_window_and_no_mixture() {
        let mut model = model();
        let from = model.now();
        model.rename("D", "a", "D", "c");
        model.remove("D", "b");
        let window = Window { from, to: model.now() };
        let judge = |names: &[(&str, bool)], whole| model.judge_listing("d", &listed(names), whole, window);
        for good in [&[("a", false), ("b", false)][..], &[("b", false), ("c", false)], &[("c", false)]] {
            assert_eq!(judge(good, true), Ok(()));
        }
        assert!(judge(&[("a", false)], true).unwrap_err().contains("mixture"));
        assert_eq!(judge(&[("a", false)], false), Ok(()), "an error came before the rest");
        assert!(judge(&[("a", true), ("b", false)], true).unwrap_err().contains("not there"));
        assert!(judge(&[("x", false)], false).unwrap_err().contains("not there"));
        let now = Window { from: model.now(), to: model.now() };
        assert!(model.judge_listing("d", &listed(&[]), true, now).unwrap_err().contains("lacks 1"));
        assert!(model.judge_listing("e", &listed(&[]), true, now).unwrap_err().contains("no such folder"));
    }

    #[test]
    fn content_and_attributes_are_those_of_a_version_of_the_window() {
        let mut model = model();
        let from = model.now();
        model.replace("A", LATER);
        let (all, new) = (Window { from, to: model.now() }, Window { from: model.now(), to: model.now() });
        assert_eq!(model.judge_content("d/a", 100, Some(OLD.shift), &[], all), Ok(()));
        assert_eq!(model.judge_content("d/a", 100, Some(LATER.shift), &[], new), Ok(()));
        assert!(model.judge_content("d/a", 100, Some(OLD.shift), &[], new).is_err());
        assert!(model.judge_content("d/a", 99, Some(LATER.shift), &[], new).is_err());
        assert_eq!(model.judge_attributes("d/a", Some((100, Some(3000))), new), Ok(()));
        assert!(model.judge_attributes("d/a", Some((100, Some(1001))), new).is_err());
        assert!(model.judge_attributes("d/a", None, new).is_err());
        assert_eq!(model.judge_attributes("d", None, new), Ok(()));
    }

    #[test]
    fn version_that_was_overwritten_unseen_may_be_seen_and_is_known_as_such() {
        let mut model = model();
        model.replace("A", NEW);
        let newest = Version { edited_ms: 2000, ..NEW };
        let now = |model: &Model| Window { from: model.now(), to: model.now() };
        assert_eq!(model.judge_content("d/a", 100, Some(OLD.shift), &[], now(&model)), Ok(()));
        assert!(model.is_overwritten("d/a", OLD.shift, now(&model)));
        assert!(!model.is_overwritten("d/a", NEW.shift, now(&model)));
        model.replace("A", newest);
        assert!(model.judge_content("d/a", 100, Some(OLD.shift), &[], now(&model)).is_err(), "its time tells");
    }

    #[test]
    fn path_may_be_absent_only_if_it_was_at_some_moment() {
        let mut model = model();
        let before = Window { from: model.now(), to: model.now() };
        model.remove(TOP, "d");
        let during = Window { from: before.from, to: model.now() };
        assert!(!model.may_be_absent("d/a", before) && model.may_be_absent("d/a", during));
        assert!(model.may_be_absent("d/x", before));
        model.forget_before(model.now());
        assert_eq!(model.below(TOP).len(), 1);
    }
}
