//! Reads that wait for their bytes, and the bytes of a read.
//!
//! Locks: a read's, for the length of a delivery; its completion runs outside.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use super::ContentError;
use super::buffers::{Buffer, Joined};
use crate::sync::lock;

/// Some bytes of a read's result.
pub(super) enum Piece {
    /// Part of a whole block.
    Shared { bytes: Arc<Buffer>, from: usize, to: usize },
    /// Copied out of a block that is still being filled.
    Copied(Box<[u8]>),
}

impl Piece {
    pub(super) fn shared(bytes: &Arc<Buffer>, from: usize, to: usize) -> Piece {
        Piece::Shared { bytes: Arc::clone(bytes), from, to }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Shared { bytes, from, to } => &bytes[*from..*to],
            Piece::Copied(bytes) => bytes,
        }
    }
}

/// The bytes that a read asked for: exactly as many as it asked for.
pub struct ReadData {
    pieces: Vec<Piece>,
}

impl ReadData {
    /// No bytes: the end of the file.
    pub fn empty() -> ReadData {
        ReadData::of(Vec::new())
    }

    /// The bytes of `pieces`, one after the other.
    pub(super) fn of(pieces: Vec<Piece>) -> ReadData {
        ReadData { pieces }
    }

    /// The bytes as one slice: without a copy where they lie in one block.
    pub fn bytes(&self) -> ReadBytes<'_> {
        match &self.pieces[..] {
            [] => ReadBytes::Slice(&[]),
            [piece] => ReadBytes::Slice(piece.bytes()),
            pieces => ReadBytes::Joined(Joined::of(pieces.iter().map(Piece::bytes))),
        }
    }
}

/// The bytes of a read as one slice.
pub enum ReadBytes<'a> {
    /// Part of one block.
    Slice(&'a [u8]),
    /// Put together from several.
    Joined(Joined),
}

impl Deref for ReadBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            ReadBytes::Slice(bytes) => bytes,
            ReadBytes::Joined(bytes) => bytes,
        }
    }
}

/// What is to be done with a read's result.
pub type ReadDone = Box<dyn FnOnce(Result<ReadData, ContentError>) + Send>;

/// A read that waits for one or more blocks. Answered once: with all its parts, or with the first failure.
pub(super) struct ParkedRead {
    state: Mutex<ParkedState>,
}

struct ParkedState {
    parts: Vec<Option<Piece>>,
    missing: usize,
    done: Option<ReadDone>,
}

impl ParkedRead {
    /// A read in so many parts.
    pub(super) fn new(parts: usize, done: ReadDone) -> Arc<ParkedRead> {
        let state = ParkedState {
            parts: std::iter::repeat_with(|| None).take(parts).collect(),
            missing: parts,
            done: Some(done),
        };
        Arc::new(ParkedRead { state: Mutex::new(state) })
    }

    /// Takes one part of the read in; with the last one, the read is answered.
    pub(super) fn deliver(&self, part: usize, piece: Piece) {
        let mut state = lock(&self.state);
        if state.parts[part].replace(piece).is_none() {
            state.missing -= 1;
        }
        if state.missing > 0 {
            return;
        }
        let done = state.done.take();
        let pieces = std::mem::take(&mut state.parts).into_iter().flatten().collect();
        drop(state);
        if let Some(done) = done {
            done(Ok(ReadData { pieces }));
        }
    }

    /// Answers with `error`, unless it is answered already.
    pub(super) fn fail(&self, error: ContentError) {
        let done = lock(&self.state).done.take();
        if let Some(done) = done {
            done(Err(error));
        }
    }

    /// Takes the completion back, so that the read can be tried anew.
    pub(super) fn take_back(&self) -> Option<ReadDone> {
        lock(&self.state).done.take()
    }
}
