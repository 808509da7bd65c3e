//! What a read costs that finds its bytes in memory: no kernel, no network, one thread, then four.
//!
//! `cargo run --release --example hits`

#![expect(clippy::unwrap_used, reason = "a benchmark that fails shows where")]

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime};

use koofs::clock::{SystemClock, Timer};
use koofs::content::{Content, ContentConfig, LinkStore, ObjectStore, StoreAnswer, StoreBody, StoreError};
use koofs::jobs::JobQueue;
use koofs::policy::budget::Budget;
use koofs::policy::range::ByteRange;
use koofs::remote::{Capacity, Child, Cursor, Link, LinkResults, NodeId, Page, Remote, RemoteError, Version};

const FILE_BYTES: u64 = 8 << 20;
const READ_BYTES: u64 = 128 << 10;
const READS: u64 = 2_000_000;
const HOUR: Duration = Duration::from_secs(3600);

/// A drive that gives a link to any file, and a store that has eight MiB of zeros under it.
struct Zeros;

impl Remote for Zeros {
    fn root(&self) -> NodeId {
        NodeId::new("root")
    }

    fn list_page(&self, _: &NodeId, _: Option<&Cursor>, _: Instant) -> Result<Page, RemoteError> {
        Ok(Page { nodes: Vec::new(), next: None })
    }

    fn page_from_end(&self, _: &NodeId, _: Option<&Cursor>, _: Instant) -> Result<Page, RemoteError> {
        Err(RemoteError::new(koofs::remote::RemoteErrorKind::Unusable, "not offered"))
    }

    fn find_child(&self, _: &NodeId, _: &str, _: Instant) -> Result<Child, RemoteError> {
        Ok(Child::NotOffered)
    }

    fn max_links_per_call(&self) -> usize {
        1
    }

    fn resolve_links(&self, ids: &[NodeId], _: Instant) -> Result<LinkResults, RemoteError> {
        Ok(ids.iter().map(|_| Ok(Link::new("http://127.0.0.1/", SystemTime::now() + HOUR, HOUR))).collect())
    }

    fn capacity(&self) -> Option<Capacity> {
        None
    }
}

impl ObjectStore for Zeros {
    fn get(&self, _: &Link, range: ByteRange, _: Option<&str>, _: Instant) -> Result<StoreAnswer, StoreError> {
        Ok(StoreAnswer {
            status: 206,
            content_range: Some(format!("bytes {}-{}/{FILE_BYTES}", range.start, range.end - 1)),
            content_length: Some(range.len()),
            etag: None,
            error_code: None,
            retry_after: None,
            body: Box::new(Body(range.len())),
        })
    }
}

struct Body(u64);

impl StoreBody for Body {
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let count = buffer.len().min(usize::try_from(self.0).unwrap());
        buffer[..count].fill(0);
        self.0 -= count as u64;
        Ok(count)
    }
}

fn main() {
    let timer = Timer::new(Arc::new(SystemClock));
    let running = Arc::clone(&timer);
    std::thread::spawn(move || running.run());
    let links = Arc::new(LinkStore::new(Arc::new(Zeros), Arc::new(SystemClock)));
    let jobs = JobQueue::start("content", 16, &timer).unwrap();
    let config = ContentConfig { budget: Budget::new(256 << 20), op_timeout: HOUR, bytes_per_second: None };
    let content = Arc::new(Content::new(config, Arc::new(Zeros), links, jobs, Arc::new(SystemClock), None));
    let file = content.of(&NodeId::new("f"), Version { size_bytes: FILE_BYTES, edited_ms: 1 });
    for threads in [1, 4] {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let reader = content.open(&file);
                    for index in 0..READS / threads {
                        let range = ByteRange::clamped(index * READ_BYTES % FILE_BYTES, READ_BYTES, FILE_BYTES);
                        if reader.read_cached(range).is_none() {
                            let (sender, done) = channel();
                            reader.read(range, Instant::now() + HOUR, Box::new(move |data| drop(sender.send(data))));
                            assert!(done.recv().unwrap().is_ok());
                        }
                    }
                });
            }
        });
        println!("{threads} threads: {} ns a hit", began.elapsed().as_nanos() / u128::from(READS));
    }
}
