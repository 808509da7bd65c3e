//! A remote drive, an object store and a clock in memory: they count calls, fail on demand and hold still.

mod remote;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use koofs::clock::{BootTime, Clock, SystemClock, Timer};
use koofs::content::{Content, ContentConfig, LinkStore, ObjectStore, ReadData, StoreAnswer, StoreBody, StoreError};
use koofs::fs::{DirItem, DirSink, DriveFs, Fh, FsConfig, FsError, Ino, Lookup, Process};
use koofs::jobs::JobQueue;
use koofs::policy::budget::Budget;
use koofs::policy::hash::stable_hash;
use koofs::policy::range::ByteRange;
use koofs::policy::retry::FailureKind;
use koofs::remote::{Link, Remote, RemoteErrorKind};
use koofs::sync::lock;

pub use remote::{FakeRemote, FromEnd, Names, RemoteState, Subtrees, dir, file};

/// Nothing in a test waits longer for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A clock that moves only when told to.
pub struct ManualClock {
    start: (Instant, SystemTime),
    passed_ms: AtomicU64,
    /// For how long the machine was suspended.
    suspended_ms: AtomicU64,
    /// By so many seconds the civil clock was set, in all.
    set_by_s: AtomicI64,
}

impl Default for ManualClock {
    fn default() -> ManualClock {
        ManualClock {
            start: (Instant::now(), SystemTime::now()),
            passed_ms: AtomicU64::new(0),
            suspended_ms: AtomicU64::new(0),
            set_by_s: AtomicI64::new(0),
        }
    }
}

impl ManualClock {
    pub fn advance(&self, by: Duration) {
        self.passed_ms.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }

    /// The machine was suspended for so long.
    pub fn suspend(&self, time: Duration) {
        self.suspended_ms.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }

    /// Somebody sets the civil clock by so many seconds. No other clock knows of it.
    pub fn set_by(&self, seconds: i64) {
        self.set_by_s.fetch_add(seconds, Ordering::SeqCst);
    }

    fn passed(&self) -> Duration {
        Duration::from_millis(self.passed_ms.load(Ordering::SeqCst))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.start.0 + self.passed()
    }

    fn boot(&self) -> BootTime {
        let suspended = Duration::from_millis(self.suspended_ms.load(Ordering::SeqCst));
        BootTime::new(Duration::from_secs(1000) + self.passed() + suspended)
    }

    fn utc(&self) -> SystemTime {
        let (time, set_by) = (self.start.1 + self.passed(), self.set_by_s.load(Ordering::SeqCst));
        let by = Duration::from_secs(set_by.unsigned_abs());
        if set_by < 0 { time - by } else { time + by }
    }

    fn sleep(&self, _pause: Duration) {}

    fn time_until(&self, when: Instant) -> Duration {
        when.saturating_duration_since(self.now()).min(Duration::from_millis(1))
    }
}

/// Lets nobody through while it is closed, and holds everybody up for a while.
#[derive(Default)]
pub struct Gate {
    pub pause_ms: AtomicU64,
    closed: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub fn close(&self) {
        *lock(&self.closed) = true;
    }

    pub fn open(&self) {
        *lock(&self.closed) = false;
        self.changed.notify_all();
    }

    pub fn pass(&self) {
        std::thread::sleep(Duration::from_millis(self.pause_ms.load(Ordering::SeqCst)));
        let mut closed = lock(&self.closed);
        while *closed {
            closed = self.changed.wait(closed).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The content of every file: a function of its id and the offset, so that a wrong file or a wrong offset shows.
pub fn content(id: &str, range: ByteRange) -> Vec<u8> {
    let seed = stable_hash(&[id.as_bytes()]);
    (range.start..range.end)
        .map(|offset| ((seed ^ (offset / 8)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (offset % 8 * 8)) as u8)
        .collect()
}

/// How the object store misbehaves, once.
#[derive(Clone, Copy, Debug)]
pub enum StoreFault {
    /// Answers this status without a body.
    Status(u16),
    /// Ends the body after so many bytes.
    CutAfter(u64),
    /// The body passes [`FakeStore::body_gate`] after so many bytes.
    StopsAfter(u64),
    /// Sends the whole object with 200.
    IgnoreRange,
    /// Claims and sends another range.
    WrongRange,
    /// Claims another total size.
    WrongTotal,
    /// Carries another version tag.
    OtherEtag,
    /// Breaks the fetching thread.
    Panic,
}

/// An object store in memory: serves [`content`] of whatever id the link names.
pub struct FakeStore {
    pub sizes: Mutex<HashMap<String, u64>>,
    /// The version tag of every object.
    pub etag: Mutex<String>,
    pub faults: Mutex<VecDeque<StoreFault>>,
    pub gets: Mutex<Vec<(String, ByteRange)>>,
    pub bytes_sent: AtomicU64,
    pub gate: Gate,
    /// Bodies pass here after their first `free_bytes` bytes.
    pub body_gate: Arc<Gate>,
    pub free_bytes: AtomicU64,
}

impl FakeStore {
    pub fn new() -> Arc<FakeStore> {
        Arc::new(FakeStore {
            sizes: Mutex::default(),
            etag: Mutex::new("\"one\"".to_owned()),
            faults: Mutex::default(),
            gets: Mutex::default(),
            bytes_sent: AtomicU64::new(0),
            gate: Gate::default(),
            body_gate: Arc::default(),
            free_bytes: AtomicU64::new(u64::MAX),
        })
    }

    pub fn fault(&self, faults: impl IntoIterator<Item = StoreFault>) {
        lock(&self.faults).extend(faults);
    }

    /// All objects are other ones from now on.
    pub fn etag(&self, etag: &str) {
        *lock(&self.etag) = etag.to_owned();
    }

    pub fn gets(&self) -> Vec<(String, ByteRange)> {
        lock(&self.gets).clone()
    }
}

struct FakeBody {
    id: String,
    range: ByteRange,
    cut: Option<u64>,
    sent: u64,
    gate: Arc<Gate>,
    free_bytes: u64,
}

impl StoreBody for FakeBody {
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        if self.sent >= self.free_bytes {
            self.gate.pass();
        }
        if self.cut.is_some_and(|cut| self.sent >= cut) {
            return Err(store_error(FailureKind::Interrupted, "cut"));
        }
        // Odd pieces: 10,007 bytes fit no block.
        let left = ByteRange::new(self.range.start + self.sent, self.range.end);
        let count = (buffer.len() as u64).min(left.len()).min(10_007);
        let piece = content(&self.id, ByteRange::new(left.start, left.start + count));
        buffer[..piece.len()].copy_from_slice(&piece);
        self.sent += count;
        Ok(piece.len())
    }
}

fn store_error(failure: FailureKind, context: &str) -> StoreError {
    StoreError { kind: RemoteErrorKind::Unavailable, failure, retry_after: None, context: context.to_owned() }
}

impl ObjectStore for FakeStore {
    fn get(
        &self,
        link: &Link,
        range: ByteRange,
        etag: Option<&str>,
        _deadline: Instant,
    ) -> Result<StoreAnswer, StoreError> {
        let id = link.secret_url().trim_start_matches("http://127.0.0.1/").split('?').next().unwrap().to_owned();
        lock(&self.gets).push((id.clone(), range));
        self.gate.pass();
        let (size, current) = (lock(&self.sizes)[&id], lock(&self.etag).clone());
        let mut answer = StoreAnswer {
            status: 206,
            content_range: Some(format!("bytes {}-{}/{size}", range.start, range.end - 1)),
            content_length: Some(range.len()),
            etag: Some(current.clone()),
            error_code: None,
            retry_after: None,
            body: Box::new(FakeBody {
                id: id.clone(),
                range,
                cut: None,
                sent: 0,
                gate: Arc::clone(&self.body_gate),
                free_bytes: self.free_bytes.load(Ordering::SeqCst),
            }),
        };
        let body = |range, cut| -> Box<dyn StoreBody> {
            Box::new(FakeBody {
                id: id.clone(),
                range,
                cut,
                sent: 0,
                gate: Arc::clone(&self.body_gate),
                free_bytes: u64::MAX,
            })
        };
        let changed = etag.is_some_and(|etag| etag != current).then_some(StoreFault::Status(412));
        let fault = changed.or_else(|| lock(&self.faults).pop_front());
        match fault {
            None => {}
            Some(StoreFault::Status(status)) => {
                answer = StoreAnswer {
                    status,
                    content_range: None,
                    content_length: Some(0),
                    etag: None,
                    body: body(ByteRange::new(0, 0), None),
                    ..answer
                };
            }
            Some(StoreFault::StopsAfter(bytes)) => {
                answer.body = Box::new(FakeBody {
                    id,
                    range,
                    cut: None,
                    sent: 0,
                    gate: Arc::clone(&self.body_gate),
                    free_bytes: bytes,
                });
            }
            Some(StoreFault::CutAfter(bytes)) => answer.body = body(range, Some(bytes)),
            Some(StoreFault::IgnoreRange) => {
                answer = StoreAnswer {
                    status: 200,
                    content_range: None,
                    content_length: Some(size),
                    body: body(ByteRange::new(0, size), None),
                    ..answer
                };
            }
            Some(StoreFault::WrongRange) => {
                answer.content_range = Some(format!("bytes {}-{}/{size}", range.start + 1, range.end));
                answer.body = body(ByteRange::new(range.start + 1, range.end + 1), None);
            }
            Some(StoreFault::WrongTotal) => {
                answer.content_range = Some(format!("bytes {}-{}/{}", range.start, range.end - 1, size + 1))
            }
            Some(StoreFault::OtherEtag) => answer.etag = Some("\"two\"".to_owned()),
            Some(StoreFault::Panic) => panic!("scripted panic"),
        }
        self.bytes_sent.fetch_add(range.len(), Ordering::SeqCst);
        Ok(answer)
    }
}

/// Entries that a readdir showed: name, inode number, cookie of the next.
pub type Items = Vec<(String, Ino, u64)>;

/// A filesystem over the fakes.
pub struct Bench {
    pub remote: Arc<FakeRemote>,
    pub store: Arc<FakeStore>,
    pub timer: Arc<Timer>,
    pub fs: Arc<DriveFs>,
}

pub struct BenchConfig {
    pub ttl: Duration,
    pub op_timeout: Duration,
    pub memory_bytes: u64,
    pub clock: Arc<dyn Clock>,
    pub is_alive: fn(u32) -> bool,
    pub listing_threads: usize,
}

impl Default for BenchConfig {
    fn default() -> BenchConfig {
        let (ttl, op_timeout) = (Duration::from_secs(300), PATIENCE);
        let (memory_bytes, listing_threads) = (64 << 20, 4);
        BenchConfig { ttl, op_timeout, memory_bytes, clock: Arc::new(SystemClock), is_alive: |_| true, listing_threads }
    }
}

impl Bench {
    pub fn new(remote: Arc<FakeRemote>) -> Bench {
        Bench::with(remote, BenchConfig::default())
    }

    pub fn with(remote: Arc<FakeRemote>, config: BenchConfig) -> Bench {
        let store = FakeStore::new();
        let timer = Timer::new(Arc::clone(&config.clock));
        let running = Arc::clone(&timer);
        std::thread::spawn(move || running.run());
        let links = Arc::new(LinkStore::new(Arc::clone(&remote) as Arc<dyn Remote>, Arc::clone(&config.clock)));
        let jobs = JobQueue::start("content", 16, &timer).unwrap();
        let budget = Budget::new(config.memory_bytes);
        let content_config = ContentConfig { budget, op_timeout: config.op_timeout, bytes_per_second: None };
        let content =
            Content::new(content_config, Arc::clone(&store) as _, links, jobs, Arc::clone(&config.clock), None);
        let fs_config = FsConfig {
            ttl: config.ttl,
            offline_for: config.ttl,
            op_timeout: config.op_timeout,
            is_alive: config.is_alive,
            is_killed: |_| false,
            process_of: |pid| Process { pid, name: String::new() },
        };
        let jobs = JobQueue::start("listing", config.listing_threads, &timer).unwrap();
        let fs = DriveFs::new(fs_config, Arc::clone(&remote) as _, Arc::new(content), jobs, Arc::clone(&timer), None);
        let bench = Bench { remote, store, timer, fs: Arc::new(fs) };
        bench.sync_sizes();
        bench
    }

    /// Tells the object store of the sizes that the remote lists.
    pub fn sync_sizes(&self) {
        let state = lock(&self.remote.state);
        let nodes = state.dirs.values().flatten();
        *lock(&self.store.sizes) = nodes.map(|node| (node.id.as_str().to_owned(), node.version.size_bytes)).collect();
    }

    pub fn lookup_later(&self, parent: Ino, name: &str) -> Receiver<Result<Lookup, FsError>> {
        let (sender, receiver) = channel();
        self.fs.lookup(parent, name.as_bytes(), 0, Box::new(move |result| drop(sender.send(result))));
        receiver
    }

    pub fn lookup(&self, parent: Ino, name: &str) -> Result<Lookup, FsError> {
        self.lookup_later(parent, name).recv_timeout(PATIENCE).unwrap()
    }

    /// The inode number of a name that must be there.
    pub fn ino(&self, parent: Ino, name: &str) -> Ino {
        match self.lookup(parent, name).unwrap() {
            Lookup::Found(attr, _) => attr.ino,
            Lookup::Absent(_) => panic!("{name:?} is absent"),
        }
    }

    pub fn readdir_later(&self, fh: Fh, cookie: u64, room: usize) -> Receiver<Result<Items, FsError>> {
        let (sender, receiver) = channel();
        self.fs.readdir(fh, cookie, 0, Box::new(ListSink { room, items: Vec::new(), finished: sender }));
        receiver
    }

    pub fn readdir(&self, fh: Fh, cookie: u64, room: usize) -> Result<Items, FsError> {
        self.readdir_later(fh, cookie, room).recv_timeout(PATIENCE).unwrap()
    }

    /// For how long the entries from `cookie` on may be believed.
    pub fn validities(&self, fh: Fh, cookie: u64) -> Vec<Duration> {
        struct Validities(Vec<Duration>, std::sync::mpsc::Sender<Vec<Duration>>);
        impl DirSink for Validities {
            fn add(&mut self, item: DirItem<'_>) -> bool {
                self.0.push(item.validity);
                true
            }
            fn counts_lookups(&self) -> bool {
                false
            }
            fn finish(self: Box<Self>, result: Result<(), FsError>) {
                result.unwrap();
                self.1.send(self.0).unwrap();
            }
        }
        let (sender, receiver) = channel();
        self.fs.readdir(fh, cookie, 0, Box::new(Validities(Vec::new(), sender)));
        receiver.recv_timeout(PATIENCE).unwrap()
    }

    /// All names of a directory but the dots, read `room` entries at a time; the lookups are given back.
    pub fn names(&self, dir: Ino, room: usize) -> Result<Vec<String>, FsError> {
        let fh = self.fs.opendir(dir, 1)?;
        let (mut names, mut cookie) = (Vec::new(), 0);
        loop {
            let items = self.readdir(fh, cookie, room)?;
            let Some(last) = items.last() else { break };
            cookie = last.2;
            for (name, ino, _) in items {
                if name != "." && name != ".." {
                    self.fs.forget([(ino, 1)]);
                    names.push(name);
                }
            }
        }
        self.fs.releasedir(fh);
        Ok(names)
    }

    pub fn read_later(&self, fh: Fh, offset: u64, len: u32) -> Receiver<Result<Vec<u8>, FsError>> {
        let (sender, receiver) = channel();
        let done = move |result: Result<ReadData, FsError>| drop(sender.send(result.map(|data| data.bytes().to_vec())));
        self.fs.read(fh, offset, len, 0, Box::new(done));
        receiver
    }

    pub fn read(&self, fh: Fh, offset: u64, len: u32) -> Result<Vec<u8>, FsError> {
        self.read_later(fh, offset, len).recv_timeout(PATIENCE).unwrap()
    }

    /// What comes from `receiver`, while time goes by on `clock`: pauses between tries are on it.
    pub fn receive<T>(&self, clock: &ManualClock, receiver: &Receiver<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match receiver.recv_timeout(Duration::from_millis(2)) {
                Ok(received) => return received,
                Err(_) if Instant::now() < deadline => clock.advance(Duration::from_millis(20)),
                Err(error) => panic!("{error}"),
            }
            self.timer.run_due();
        }
    }

    /// Opens the file `name` of the root.
    pub fn open(&self, name: &str) -> Fh {
        self.fs.open(self.ino(Ino::ROOT, name), 1).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for gate in [
            &self.remote.list_gate,
            &self.remote.later_page_gate,
            &self.remote.name_gate,
            &self.remote.subtree_gate,
            &self.remote.link_gate,
            &self.store.gate,
            &*self.store.body_gate,
        ] {
            gate.open();
        }
        self.timer.close();
    }
}

struct ListSink {
    room: usize,
    items: Vec<(String, Ino, u64)>,
    finished: std::sync::mpsc::Sender<Result<Items, FsError>>,
}

impl DirSink for ListSink {
    fn add(&mut self, item: DirItem<'_>) -> bool {
        let has_room = self.items.len() < self.room;
        if has_room {
            self.items.push((item.name.to_owned(), item.attr.ino, item.next_cookie));
        }
        has_room
    }

    fn counts_lookups(&self) -> bool {
        true
    }

    fn finish(self: Box<Self>, result: Result<(), FsError>) {
        let ListSink { items, finished, .. } = *self;
        let _ = finished.send(result.map(|()| items));
    }
}
