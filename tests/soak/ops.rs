//! The operations of a run: which there are, how one is done by a child process, and what must be true of what it saw.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::Soak;
use super::checker::{self, Act, Seen, What};
use super::model::{Place, TOP, Version, Window, join, split};
use super::mount::owned;
use super::plan::Kind;
use super::world::HOT;
use crate::mounted::Watched;

/// Whole trees are copied and read up to so many bytes.
const MAX_COPY: u64 = 6 << 20;
const MAX_GREP: u64 = 30 << 20;
/// Single files are read whole up to so many bytes.
const MAX_WHOLE: u64 = 16 << 20;
/// How long an operation may take while nothing goes wrong.
const WELL_LIMIT: Duration = Duration::from_secs(120);

/// The tree as it was when a phase began: what operations are chosen from.
pub(crate) struct Facts {
    /// Directories, with the bytes and the entries below.
    folders: Vec<(String, u64, usize)>,
    files: Vec<(String, Version)>,
    places: Vec<Place>,
}

impl Facts {
    pub(crate) fn new(mut places: Vec<Place>) -> Facts {
        places.sort_by(|a, b| a.path.cmp(&b.path));
        let files: Vec<(String, Version)> =
            places.iter().filter_map(|place| place.file.map(|file| (place.path.clone(), file))).collect();
        let folders = places.iter().filter(|place| place.file.is_none());
        let folders = folders
            .map(|folder| {
                let below = places.iter().filter(|place| is_in(&place.path, &folder.path));
                let (mut bytes, mut entries) = (0, 0);
                for place in below {
                    bytes += place.file.map_or(0, |file| file.size);
                    entries += 1;
                }
                (folder.path.clone(), bytes, entries)
            })
            .collect();
        Facts { folders, files, places }
    }

    fn folder(&self, random: &mut fastrand::Rng, bytes_max: u64) -> String {
        let fit: Vec<&(String, u64, usize)> = self.folders.iter().filter(|(_, bytes, _)| *bytes <= bytes_max).collect();
        random.choice(fit).map_or_else(String::new, |(path, ..)| path.clone())
    }

    /// Any directory.
    pub(crate) fn any_folder(&self, random: &mut fastrand::Rng) -> String {
        self.folder(random, u64::MAX)
    }

    fn file(&self, random: &mut fastrand::Rng, bytes_max: u64) -> String {
        let fit: Vec<&(String, Version)> = self.files.iter().filter(|(_, file)| file.size <= bytes_max).collect();
        random.choice(fit).map_or_else(String::new, |(path, _)| path.clone())
    }

    /// One of the largest files.
    fn large(&self, random: &mut fastrand::Rng) -> String {
        let mut largest: Vec<&(String, Version)> = self.files.iter().collect();
        largest.sort_by_key(|(_, file)| std::cmp::Reverse(file.size));
        largest.truncate(8);
        random.choice(largest).map_or_else(String::new, |(path, _)| path.clone())
    }
}

fn is_in(path: &str, folder: &str) -> bool {
    folder.is_empty() || path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Something that a program does to a path.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Find(String),
    List {
        path: String,
        sorted: bool,
    },
    Grep {
        path: String,
        ripgrep: bool,
    },
    Copy(String),
    Tar(String),
    Cat(String),
    /// `head -c` or `tail -c`.
    End {
        path: String,
        tail: bool,
        len: u64,
    },
    Check {
        path: String,
        what: What,
        seed: u64,
    },
}

impl Op {
    pub(crate) fn choose(random: &mut fastrand::Rng, facts: &Facts) -> Op {
        let seed = random.u64(..);
        let check = |path, what| Op::Check { path, what, seed };
        match random.u8(..20) {
            0..2 => Op::Find(facts.folder(random, u64::MAX)),
            2 => Op::List { path: facts.folder(random, u64::MAX), sorted: random.bool() },
            3 => Op::Grep { path: facts.folder(random, MAX_GREP), ripgrep: random.bool() },
            4 => Op::Copy(facts.folder(random, MAX_COPY)),
            5 => Op::Tar(facts.folder(random, MAX_COPY)),
            6..8 => Op::Cat(facts.file(random, MAX_WHOLE)),
            8 => Op::End { path: facts.large(random), tail: random.bool(), len: random.u64(1..100_000) },
            9..11 => {
                let names = probed(random, facts);
                check(String::new(), What::Probe { names })
            }
            11..13 => check(facts.file(random, MAX_WHOLE), What::Stream),
            13 => check(HOT.to_owned(), What::Stream),
            14..16 => {
                let (count, pause_ms) = (random.u32(1..60), *random.choice(&[0, 0, 5, 100]).unwrap());
                let path = if random.u8(..3) == 0 { HOT.to_owned() } else { facts.large(random) };
                check(path, What::Places { count, pause_ms })
            }
            16 => check(facts.large(random), What::Map { count: random.u32(1..40) }),
            17 => check(facts.folder(random, u64::MAX), What::Walk { attributes: random.bool(), read_one_of: 0 }),
            _ => check(facts.folder(random, MAX_GREP), What::Walk { attributes: true, read_one_of: random.u64(1..10) }),
        }
    }

    fn path(&self) -> &str {
        match self {
            Op::Find(path) | Op::Copy(path) | Op::Tar(path) | Op::Cat(path) => path,
            Op::List { path, .. } | Op::Grep { path, .. } | Op::End { path, .. } | Op::Check { path, .. } => path,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Op::Find(_) => "find",
            Op::List { .. } => "ls -R",
            Op::Grep { ripgrep: false, .. } => "grep -r",
            Op::Grep { ripgrep: true, .. } => "rg",
            Op::Copy(_) => "cp -r",
            Op::Tar(_) => "tar",
            Op::Cat(_) => "cat",
            Op::End { .. } => "head/tail",
            Op::Check { what: What::Walk { .. }, .. } => "walk",
            Op::Check { what: What::Stream, .. } => "stream",
            Op::Check { what: What::Places { .. }, .. } => "pread",
            Op::Check { what: What::Map { .. }, .. } => "mmap",
            Op::Check { what: What::Forget, .. } => "fadvise",
            Op::Check { what: What::Probe { .. }, .. } => "stat",
        }
    }
}

/// Paths that are there, that were never there, and that are like those that are.
fn probed(random: &mut fastrand::Rng, facts: &Facts) -> Vec<String> {
    (0..random.usize(1..30))
        .map(|_| {
            let path = &random.choice(&facts.places).unwrap().path;
            match random.u8(..4) {
                0 => join(path, "nothing"),
                1 => format!("{path}~"),
                _ => path.clone(),
            }
        })
        .collect()
}

/// What an operation came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// How often each error was told.
    pub(crate) errors: BTreeMap<String, u64>,
    /// System calls of the checker.
    pub(crate) calls: u64,
    pub(crate) slowest_ms: u64,
    pub(crate) late: u64,
    /// Bytes that were compared.
    pub(crate) bytes: u64,
    /// Directories that had to be listed for it, and files that had to be read.
    pub(crate) folders: BTreeSet<String>,
    pub(crate) files: BTreeSet<String>,
    /// Files that were shown as they had been before a refresh, as only their tag has changed.
    pub(crate) overwritten: u64,
    /// Ended before its end, as its phase was over.
    pub(crate) cut: bool,
    /// What must not be.
    pub(crate) wrong: Vec<String>,
}

impl Outcome {
    fn error(&mut self, errno: i32) {
        *self.errors.entry(errno_name(errno)).or_default() += 1;
    }

    fn judged(&mut self, verdict: Result<(), String>) {
        self.wrong.extend(verdict.err());
    }
}

/// When an operation is given up, and what may come of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) kind: Kind,
    /// When its phase ends.
    pub(crate) ends: Instant,
    /// The number of changes at the last refresh before it.
    pub(crate) from: u64,
}

/// One operation, done and judged.
pub(crate) struct Operation<'a> {
    soak: &'a Soak,
    op: &'a Op,
    terms: Terms,
    /// A directory of its own, removed afterwards.
    scratch: &'a Path,
    outcome: Outcome,
}

/// How a child ended.
enum End {
    Exited(ExitStatus),
    /// Its phase was over, or the run is.
    Cut,
}

impl<'a> Operation<'a> {
    pub(crate) fn run(soak: &'a Soak, op: &'a Op, terms: Terms, scratch: &'a Path) -> Outcome {
        let mut this = Operation { soak, op, terms, scratch, outcome: Outcome::default() };
        fs::create_dir_all(scratch).unwrap();
        this.act();
        remove_all(scratch);
        for wrong in &mut this.outcome.wrong {
            *wrong = format!("{} of {:?}: {wrong}", op.name(), op.path());
        }
        this.outcome
    }

    fn act(&mut self) {
        let op = self.op;
        let full = self.soak.mount_path().join(op.path());
        let copy = self.scratch.join("copy");
        let command = match op {
            Op::Find(_) => tool("find", &[&full], &["-printf", "%y\\t%s\\t%T@\\t%p\\0"]),
            Op::List { sorted, .. } => {
                let options = if *sorted { "-AR1p" } else { "-ARU1p" };
                let mut command = tool("ls", &[], &[options, "--quoting-style=literal", "--"]);
                command.arg(&full);
                command
            }
            Op::Grep { ripgrep, .. } => {
                let mut command = if *ripgrep && self.soak.has_ripgrep {
                    tool("rg", &[], &["--no-config", "-uuu", "-a", "--encoding=none", "-c", "-e", "", "--"])
                } else {
                    tool("grep", &[], &["-rac", "-e", "", "--"])
                };
                command.arg(&full);
                command
            }
            Op::Copy(_) => tool("cp", &[&full, &copy], &["-r"]),
            Op::Tar(_) => {
                let mut command = tool("tar", &[], &["-cf"]);
                command.arg(self.scratch.join("tar")).arg("-C").arg(&full).arg(".");
                command
            }
            Op::Cat(_) => {
                let mut command = tool("cat", &[], &["--"]);
                command.arg(&full);
                command
            }
            Op::End { tail, len, .. } => {
                let mut command = tool(if *tail { "tail" } else { "head" }, &[], &["-c", &len.to_string(), "--"]);
                command.arg(&full);
                command
            }
            Op::Check { what, seed, .. } => {
                let act = Act {
                    root: self.soak.mount_path().to_owned(),
                    path: op.path().to_owned(),
                    what: what.clone(),
                    seed: *seed,
                    hints: self.soak.hints_file(),
                    late_ms: self.soak.late_ms(),
                };
                self.soak.child(&act)
            }
        };
        let out = if matches!(op, Op::Cat(_)) { copy.clone() } else { self.scratch.join("out") };
        let error = self.scratch.join("error");
        let end = self.wait(command, &out, &error);
        let window = self.soak.world.window(self.terms.from);
        let out = if matches!(op, Op::Cat(_)) { Vec::new() } else { fs::read(&out).unwrap_or_default() };
        let error = String::from_utf8_lossy(&fs::read(&error).unwrap_or_default()).into_owned();
        if let Op::Check { .. } = op {
            return self.judge_reports(&String::from_utf8_lossy(&out), end, &error, window);
        }
        let End::Exited(status) = end else {
            self.outcome.cut = true;
            return;
        };
        self.judge_errors(&error);
        // What says nothing ended well; grep and rg say with 1 that nothing matched.
        let is_quiet = matches!(op, Op::Grep { .. }) && status.code() == Some(1);
        if !status.success() && error.is_empty() && !is_quiet {
            self.outcome.wrong.push(format!("ended with {status} and said nothing"));
        }
        self.touch();
        let whole = error.is_empty();
        match op {
            Op::Find(_) => self.judge_find(&out, whole, window),
            Op::List { .. } => self.judge_list(&out, whole, window),
            Op::Grep { .. } => self.judge_grep(&out, &error, window),
            Op::Copy(_) => self.judge_copies(&copy, &error, window),
            Op::Tar(_) => {
                fs::create_dir(&copy).unwrap();
                let mut unpack = tool("tar", &[], &["-xf"]);
                unpack.arg(self.scratch.join("tar")).arg("-C").arg(&copy);
                // Beside the mount. What was packed in pieces is said to be so.
                let _ = Watched::start(unpack, WELL_LIMIT).wait();
                self.judge_copies(&copy, &error, window);
            }
            Op::Cat(path) if whole => self.judge_copy(&copy, path, window),
            Op::End { path, tail, len } if whole => {
                self.outcome.bytes += out.len() as u64;
                let verdict = self.soak.world.model().judge_part(path, *tail, *len, &out, window);
                self.outcome.judged(verdict);
            }
            Op::Cat(_) | Op::End { .. } | Op::Check { .. } => {}
        }
    }

    /// Runs a child to its end, or to the end of its phase.
    fn wait(&mut self, mut command: Command, out: &Path, error: &Path) -> End {
        let file = |path: &Path| Stdio::from(fs::File::create(path).unwrap());
        command.stdout(file(out)).stderr(file(error));
        let started = Instant::now();
        let kill_limit = self.soak.kill_limit();
        let mut child = Watched::start(owned(command, libc::SIGKILL), self.soak.limit);
        let mut killed: Option<Instant> = None;
        loop {
            if let Some(status) = child.ended() {
                return if killed.is_some() { End::Cut } else { End::Exited(status) };
            }
            let is_over = self.terms.kind.has_faults() && Instant::now() > self.terms.ends;
            match killed {
                None if is_over || self.soak.is_ending() => {
                    child.kill();
                    killed = Some(Instant::now());
                }
                None if started.elapsed() > WELL_LIMIT.max(self.soak.phase_max()) => {
                    self.soak.fail(&format!(
                        "a hang: {} of {:?} has taken {:?}",
                        self.op.name(),
                        self.op.path(),
                        started.elapsed()
                    ));
                }
                Some(at) if at.elapsed() > kill_limit => {
                    self.soak.fail(&format!(
                        "a hang: {} of {:?} was killed {:?} ago and still waits for the mount",
                        self.op.name(),
                        self.op.path(),
                        at.elapsed()
                    ));
                }
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(4));
        }
    }

    /// What had to be listed and read for this.
    fn touch(&mut self) {
        let path = self.op.path();
        let mut at = split(path).0.to_owned();
        loop {
            self.outcome.folders.insert(at.clone());
            if at.is_empty() {
                break;
            }
            at = split(&at).0.to_owned();
        }
        let reads = matches!(self.op, Op::Grep { .. } | Op::Copy(_) | Op::Tar(_) | Op::Cat(_) | Op::End { .. });
        let places = self.soak.world.model().below(path);
        for place in places {
            match place.file {
                None => self.outcome.folders.insert(place.path),
                Some(version) if reads && version.size > 0 => self.outcome.files.insert(place.path),
                Some(_) => continue,
            };
        }
    }

    // ---- errors ----

    /// Whether this error may be told of a path, if it is known which.
    fn may_fail(&self, errno: i32, path: Option<&str>, window: Window) -> bool {
        let kind = self.terms.kind;
        match errno {
            libc::ENOENT | libc::ENOTDIR => match path {
                Some(path) => self.soak.world.model().may_be_absent(path, window),
                None => kind.has_changes(),
            },
            libc::ESTALE => {
                kind.has_changes() || kind.has_faults() || self.soak.world.model().was_overwritten(path, window)
            }
            libc::EIO | libc::ETIMEDOUT | libc::EACCES => kind.has_faults(),
            // A page in the service's place, which some faults are.
            libc::EHOSTUNREACH | libc::ENETUNREACH => kind.has_faults(),
            _ => false,
        }
    }

    fn failed(&mut self, errno: i32, path: Option<&str>, said: &str, window: Window) {
        // What was never there is no error.
        if path.is_none_or(|path| self.soak.world.model().may_be_there(path, window)) {
            self.outcome.error(errno);
        }
        if !self.may_fail(errno, path, window) {
            let name = errno_name(errno);
            self.outcome.wrong.push(format!("{name} while that cannot be: {said}"));
        }
    }

    /// Lines of a program's standard error, each with its errno's words at the end.
    fn judge_errors(&mut self, text: &str) {
        let window = self.soak.world.window(self.terms.from);
        for line in text.lines() {
            let errno = ERRORS.iter().find(|(_, words)| line.contains(words)).map(|(errno, _)| *errno);
            match errno {
                Some(errno) => self.failed(errno, None, line, window),
                // cp has looked at the file before it opened it by its name anew: what a reader would be told as ESTALE.
                None if line.ends_with("as it was replaced while being copied") => {
                    self.failed(libc::ESTALE, None, line, window);
                }
                // tar and cp say what became of their own work; grep and rg have lines without an errno.
                None if self.terms.kind.has_changes() || self.terms.kind.has_faults() => {}
                None => self.outcome.wrong.push(format!("said {line:?}")),
            }
        }
    }

    // ---- what programs say ----

    fn below_mount(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix(self.soak.mount_path().to_str()?)?;
        Some(rest.trim_matches('/').to_owned())
    }

    fn judge_listings(&mut self, listings: &BTreeMap<String, BTreeMap<String, bool>>, whole: bool, window: Window) {
        let model = self.soak.world.model();
        let verdicts: Vec<Result<(), String>> =
            listings.iter().map(|(path, names)| model.judge_listing(path, names, whole, window)).collect();
        drop(model);
        for verdict in verdicts {
            self.outcome.judged(verdict);
        }
    }

    fn judge_find(&mut self, out: &[u8], whole: bool, window: Window) {
        let mut listings: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
        for line in out.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let line = String::from_utf8_lossy(line);
            let mut parts = line.splitn(4, '\t');
            let (Some(kind), Some(size), Some(time), Some(path)) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                self.outcome.wrong.push(format!("said {line:?}"));
                continue;
            };
            let Some(path) = self.below_mount(path) else { continue };
            let folder = kind == "d";
            if folder {
                listings.entry(path.clone()).or_default();
            }
            if path != self.op.path() {
                let (parent, name) = split(&path);
                if listings.entry(parent.to_owned()).or_default().insert(name.to_owned(), folder).is_some() {
                    self.outcome.wrong.push(format!("{path:?} came twice"));
                }
            }
            let (seconds, fraction) = time.split_once('.').unwrap_or((time, "000"));
            let edited_ms = seconds.parse::<i64>().unwrap_or(0) * 1000
                + fraction[..3.min(fraction.len())].parse::<i64>().unwrap_or(0);
            let file = (!folder).then(|| (size.parse().unwrap_or(u64::MAX), Some(edited_ms)));
            let verdict = self.soak.world.model().judge_attributes(&path, file, window);
            self.outcome.judged(verdict);
        }
        self.judge_listings(&listings, whole, window);
    }

    fn judge_list(&mut self, out: &[u8], whole: bool, window: Window) {
        let mut listings: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
        let mut at = None;
        for line in String::from_utf8_lossy(out).lines() {
            if let Some(path) = line.strip_suffix(':').and_then(|path| self.below_mount(path)) {
                listings.entry(path.clone()).or_default();
                at = Some(path);
            } else if let Some(names) = at.as_ref().and_then(|path| listings.get_mut(path))
                && !line.is_empty()
            {
                let folder = line.ends_with('/');
                names.insert(line.trim_end_matches('/').to_owned(), folder);
            }
        }
        self.judge_listings(&listings, whole, window);
    }

    /// Judges counts of lines; of a file that could not be read to its end, grep gives what it had.
    fn judge_grep(&mut self, out: &[u8], error: &str, window: Window) {
        for line in String::from_utf8_lossy(out).lines() {
            let found = line.rsplit_once(':').and_then(|(path, count)| {
                let path = self.below_mount(path)?;
                Some((path, count.parse::<u64>().ok()?))
            });
            let Some((path, count)) = found else {
                self.outcome.wrong.push(format!("said {line:?}"));
                continue;
            };
            if error.contains(split(&path).1) {
                continue;
            }
            let lines = |version: &Version| self.soak.lines.count(version.shift, version.size);
            let verdict = self.soak.world.model().judge_lines(&path, count, lines, window);
            self.outcome.judged(verdict);
        }
    }

    /// Judges a tree that was copied out; files that a line of `error` names are left out: they are known to be in pieces.
    fn judge_copies(&mut self, copy: &Path, error: &str, window: Window) {
        let mut listings: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
        let mut left = vec![(copy.to_owned(), self.op.path().to_owned())];
        while let Some((directory, path)) = left.pop() {
            let names = listings.entry(path.clone()).or_default();
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            let mut files = Vec::new();
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                names.insert(name.clone(), folder);
                if folder {
                    left.push((entry.path(), join(&path, &name)));
                } else if !error.contains(&name) {
                    files.push((entry.path(), join(&path, &name)));
                }
            }
            for (copy, path) in files {
                self.judge_copy(&copy, &path, window);
            }
        }
        if fs::metadata(copy).is_ok() {
            self.judge_listings(&listings, error.is_empty(), window);
        }
    }

    fn judge_copy(&mut self, copy: &Path, path: &str, window: Window) {
        let hint = self.soak.hint(path);
        match checker::check_copy(copy, path, hint) {
            Some(seen) => self.judge_seen(seen, window),
            None => self.outcome.wrong.push(format!("{}: the copy cannot be read", copy.display())),
        }
    }

    // ---- what the checker says ----

    fn judge_reports(&mut self, out: &str, end: End, error: &str, window: Window) {
        let mut is_done = false;
        for seen in checker::reports(out) {
            is_done |= matches!(seen, Seen::Done { .. });
            self.judge_seen(seen, window);
        }
        match end {
            End::Cut => self.outcome.cut = true,
            End::Exited(status) if status.signal() == Some(libc::SIGBUS) => {
                *self.outcome.errors.entry("SIGBUS".to_owned()).or_default() += 1;
                if !self.terms.kind.has_faults() && !self.terms.kind.has_changes() {
                    self.outcome.wrong.push("SIGBUS while that cannot be".to_owned());
                }
            }
            End::Exited(status) if !status.success() || !is_done => {
                self.outcome.wrong.push(format!("the checker ended with {status}: {error}{out}"));
            }
            End::Exited(_) => self.touch_path(),
        }
    }

    fn touch_path(&mut self) {
        if !matches!(self.op, Op::Check { what: What::Probe { .. }, .. }) {
            let was = std::mem::take(&mut self.outcome.files);
            self.touch();
            self.outcome.files.extend(was);
        }
    }

    fn judge_seen(&mut self, seen: Seen, window: Window) {
        match seen {
            Seen::Listing { path, names, errno } => {
                if errno != 0 {
                    self.failed(errno, Some(&path), &format!("listing {path:?}"), window);
                }
                if errno == 0 || !names.is_empty() {
                    let verdict = self.soak.world.model().judge_listing(&path, &names, errno == 0, window);
                    self.outcome.judged(verdict);
                }
            }
            Seen::Attributes { path, errno: 0, file } => {
                let file = file.map(|(size, edited_ms)| (size, Some(edited_ms)));
                let verdict = self.soak.world.model().judge_attributes(&path, file, window);
                self.outcome.judged(verdict);
            }
            Seen::Attributes { path, errno, .. } => {
                self.failed(errno, Some(&path), &format!("attributes of {path:?}"), window);
            }
            Seen::Content { path, errno, size, shift, head, bytes } => {
                if errno != 0 {
                    self.failed(errno, Some(&path), &format!("reading {path:?}"), window);
                }
                // What could not even be opened, or not be read at all, has shown nothing.
                if errno == 0 || bytes > 0 {
                    self.outcome.bytes += bytes;
                    if size > 0 {
                        self.outcome.files.insert(path.clone());
                    }
                    let model = self.soak.world.model();
                    let verdict = model.judge_content(&path, size, shift, &head, window);
                    let is_overwritten = shift.is_some_and(|shift| model.is_overwritten(&path, shift, window));
                    drop(model);
                    self.outcome.overwritten += u64::from(is_overwritten && verdict.is_ok());
                    self.outcome.judged(verdict);
                }
            }
            Seen::Wrong { path, what } => self.outcome.wrong.push(format!("{path:?}: {what}")),
            Seen::Late { path, call, ms } => {
                self.outcome.late += 1;
                // Each name of a path that is not known is an operation with a time of its own.
                let names = if call == "pread" || call == "readdir" { 1 } else { path.split('/').count() as u64 + 1 };
                if ms > self.soak.hang_ms(names) {
                    self.outcome.wrong.push(format!("late: {call} of {path:?} took {ms} ms"));
                }
            }
            Seen::Done { calls, slowest_ms } => {
                self.outcome.calls += calls;
                self.outcome.slowest_ms = self.outcome.slowest_ms.max(slowest_ms);
            }
        }
    }
}

/// The words of strerror(3) in the C locale.
const ERRORS: [(i32, &str); 13] = [
    (libc::ENOENT, "No such file or directory"),
    (libc::ENOTDIR, "Not a directory"),
    (libc::ESTALE, "Stale file handle"),
    (libc::EIO, "Input/output error"),
    (libc::ETIMEDOUT, "Connection timed out"),
    (libc::EACCES, "Permission denied"),
    (libc::EHOSTUNREACH, "No route to host"),
    (libc::ENETUNREACH, "Network is unreachable"),
    (libc::ENOTCONN, "Transport endpoint is not connected"),
    (libc::ECONNABORTED, "Software caused connection abort"),
    (libc::EBADF, "Bad file descriptor"),
    (libc::EINVAL, "Invalid argument"),
    (libc::ELOOP, "Too many levels of symbolic links"),
];

fn errno_name(errno: i32) -> String {
    match errno {
        libc::ENOENT => "ENOENT".to_owned(),
        libc::ENOTDIR => "ENOTDIR".to_owned(),
        libc::ESTALE => "ESTALE".to_owned(),
        libc::EIO => "EIO".to_owned(),
        libc::ETIMEDOUT => "ETIMEDOUT".to_owned(),
        libc::EACCES => "EACCES".to_owned(),
        libc::EHOSTUNREACH => "EHOSTUNREACH".to_owned(),
        libc::ENETUNREACH => "ENETUNREACH".to_owned(),
        libc::ENOTCONN => "ENOTCONN".to_owned(),
        other => format!("errno {other}"),
    }
}

/// One of the system's programs: options after the paths, as find has them.
fn tool(program: &str, paths: &[&PathBuf], arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    if program == "cp" {
        command.args(arguments).arg("--").args(paths);
    } else {
        command.args(paths).args(arguments);
    }
    command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    command
}

/// Removes a tree of copies: directories of a mount come without the right to write, and go along with `cp -r`.
fn remove_all(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o700));
        let entries = fs::read_dir(&path).into_iter().flatten().flatten();
        left.extend(
            entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()),
        );
    }
    if let Err(error) = fs::remove_dir_all(directory) {
        eprintln!("soak: {}: {error}", directory.display());
    }
}

/// The whole tree, as an audit after each phase walks it.
pub(crate) fn audit(seed: u64, read_one_of: u64) -> Op {
    Op::Check { path: TOP.to_owned(), what: What::Walk { attributes: true, read_one_of }, seed }
}

/// Has the kernel give up all pages.
pub(crate) fn forget() -> Op {
    Op::Check { path: TOP.to_owned(), what: What::Forget, seed: 0 }
}
