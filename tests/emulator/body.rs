//! Answer bodies: whole, cut from an object without copying, or produced at a pace, and ended the way a fault wants.
//!
//! Owns: how bytes travel from a source to hyper, truncation, stalls. How fast is up to `pace.rs`. Knows nothing of requests or of OBS.
//! Disk is read on tokio's blocking threads; waiting is timers only, so thousands of stalled bodies cost no thread.

use super::counters::{GaugeGuard, LiveCounters};
use super::pace::{CHUNK, Outlet};
use super::pattern;
use super::server::Conn;
use super::tree::Source;
use hyper::body::{Body as HyperBody, Bytes, Frame, SizeHint};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// A piece of a body.
#[derive(Clone, Debug)]
pub enum Segment {
    /// These bytes.
    Literal(Bytes),
    /// `len` bytes of the object from `offset`.
    Part {
        /// First byte.
        offset: u64,
        /// How many.
        len: u64,
    },
}

impl Segment {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Literal(bytes) => bytes.len() as u64,
            Self::Part { len, .. } => *len,
        }
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As promised.
    Whole,
    /// After this many bytes the connection is closed.
    CloseAfter(u64),
    /// After this many bytes the connection is reset.
    ResetAfter(u64),
    /// After this many bytes nothing more comes, ever.
    StallAfter(u64),
}

/// An answer's body.
#[derive(Debug)]
pub struct Body {
    inner: Inner,
    guard: Option<GaugeGuard>,
}

#[derive(Debug)]
enum Inner {
    Full(Option<Bytes>),
    Direct { segments: VecDeque<Segment>, source: Source, counters: Arc<LiveCounters> },
    Produced(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body {
    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self { inner: Inner::Full(Some(bytes.into())), guard: None }
    }

    /// Nothing.
    pub fn empty() -> Self {
        Self { inner: Inner::Full(None), guard: None }
    }

    /// Counts as "in flight" until it was sent or given up.
    #[must_use]
    pub fn guarded(mut self, guard: GaugeGuard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// The segments of an object, with an ending. Must be called inside the runtime.
    pub fn object(segments: Vec<Segment>, source: Source, ending: Ending, outlet: Outlet) -> Self {
        let segments: VecDeque<Segment> = segments.into();
        if !outlet.pace.limits() && ending == Ending::Whole && !matches!(source, Source::File(_)) {
            return Self { inner: Inner::Direct { segments, source, counters: outlet.counters }, guard: None };
        }
        // One chunk waits while the one before is written: disk and socket overlap.
        let (to_hyper, chunks) = mpsc::channel(1);
        tokio::spawn(produce(segments, source, ending, outlet, to_hyper));
        Self { inner: Inner::Produced(chunks), guard: None }
    }
}

impl HyperBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.inner {
            Inner::Full(bytes) => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
            }
            Inner::Produced(chunks) => chunks.poll_recv(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data))),
            Inner::Direct { segments, source, counters } => {
                let Some(chunk) = next_chunk(segments, CHUNK) else {
                    return Poll::Ready(None);
                };
                let bytes = match chunk {
                    Segment::Literal(bytes) => bytes,
                    Segment::Part { offset, len } => in_memory(source, offset, len),
                };
                counters.sent(bytes.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.inner, Inner::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            _ => SizeHint::default(),
        }
    }
}

/// Cuts at most `max` bytes off the front.
fn next_chunk(segments: &mut VecDeque<Segment>, max: u64) -> Option<Segment> {
    loop {
        let first = segments.front_mut()?;
        match first {
            Segment::Part { len: 0, .. } => {}
            Segment::Part { offset, len } => {
                let take = (*len).min(max);
                let chunk = Segment::Part { offset: *offset, len: take };
                *offset += take;
                *len -= take;
                return Some(chunk);
            }
            Segment::Literal(bytes) if !bytes.is_empty() => {
                let take = bytes.len().min(usize::try_from(max).unwrap_or(usize::MAX));
                return Some(Segment::Literal(bytes.split_to(take)));
            }
            Segment::Literal(_) => {}
        }
        segments.pop_front();
    }
}

/// `len` bytes (at most one chunk) of a source that is not on disk.
fn in_memory(source: &Source, offset: u64, len: u64) -> Bytes {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    match source {
        Source::Pattern(seed) => pattern::slice(*seed, offset, len),
        Source::Bytes(bytes) => {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            bytes.slice(start..start.saturating_add(len).min(bytes.len()))
        }
        Source::File(file) => unreachable!("{file:?} is on disk"),
    }
}

/// Feeds hyper, at the outlet's pace, up to the ending.
async fn produce(
    mut segments: VecDeque<Segment>,
    source: Source,
    ending: Ending,
    outlet: Outlet,
    to_hyper: mpsc::Sender<io::Result<Bytes>>,
) {
    let written_before = outlet.conn.written.load(Ordering::SeqCst);
    let total: u64 = segments.iter().map(Segment::len).sum();
    let mut left = match ending {
        Ending::Whole => total,
        Ending::CloseAfter(bytes) | Ending::ResetAfter(bytes) | Ending::StallAfter(bytes) => bytes.min(total),
    };
    let mut sent = 0;
    let mut step = outlet.first_step();
    while left > 0 {
        let Some(chunk) = next_chunk(&mut segments, outlet.open(step.min(left)).await) else {
            break;
        };
        step = (2 * step).min(outlet.step());
        let bytes = match chunk {
            Segment::Literal(bytes) => Ok(bytes),
            Segment::Part { offset, len } => match &source {
                Source::File(file) => {
                    let file = Arc::clone(file);
                    let len = usize::try_from(len).unwrap_or(usize::MAX);
                    let read = tokio::task::spawn_blocking(move || file.read(offset, len));
                    read.await.unwrap_or_else(|error| Err(io::Error::other(error)))
                }
                source => Ok(in_memory(source, offset, len)),
            },
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                log::error!("an answer ends early: {error}");
                // The client sees a body that ends early; nobody is left to tell if even this fails.
                to_hyper.send(Err(error)).await.ok();
                return;
            }
        };
        let len = bytes.len() as u64;
        outlet.pass(len).await;
        if to_hyper.send(Ok(bytes)).await.is_err() {
            return;
        }
        outlet.counters.sent(len);
        sent += len;
        left -= len;
    }
    match ending {
        Ending::Whole => {}
        Ending::StallAfter(_) => to_hyper.closed().await,
        Ending::CloseAfter(_) | Ending::ResetAfter(_) => {
            flushed(&outlet.conn, written_before + sent, &to_hyper).await;
            if matches!(ending, Ending::ResetAfter(_)) {
                outlet.conn.reset.store(true, Ordering::SeqCst);
            }
            // An error makes hyper drop the connection; the receiver may already be gone.
            to_hyper.send(Err(io::Error::other("fault: the body ends here"))).await.ok();
        }
    }
}

/// Waits until the socket took `written` bytes and hyper has nothing left to write, or the client is gone.
async fn flushed(conn: &Conn, written: u64, to_hyper: &mpsc::Sender<io::Result<Bytes>>) {
    let mut last = u64::MAX;
    loop {
        let now = conn.written.load(Ordering::SeqCst);
        if to_hyper.is_closed() || (now >= written && now == last) {
            return;
        }
        last = now;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
