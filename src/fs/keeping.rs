//! What is to be on the disk for sure: looked for there, had from the service if it is not, and written while somebody waits.
//!
//! What is read is written behind its readers, and dropped if too much waits to be written. Here whoever asks waits instead, so that
//! it never asks for more than the disk takes. Each step is a job of its own: no thread waits for another's.

use std::sync::Arc;
use std::time::Instant;

use super::FsError;
use super::dir::Listing;
use super::handle::FileHandle;
use super::lister::Lister;
use super::owed::Owed;
use crate::content::{Content, NotPinned};
use crate::remote::NodeId;

/// How long something is to be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// As long as there is room for it.
    WhileThereIsRoom,
    /// Until somebody says otherwise.
    Pinned,
}

impl From<NotPinned> for FsError {
    fn from(why: NotPinned) -> FsError {
        match why {
            NotPinned::TooMuch => FsError::TooMuchPinned,
            NotPinned::NotThere => FsError::NotKept,
            NotPinned::Io(error) => {
                log::debug!("it is not pinned: {error}");
                FsError::NotKept
            }
        }
    }
}

/// Has the piece of the file that holds byte `offset` kept, and pinned if that is asked for; answers with the most bytes that the disk keeps
/// in all.
pub(super) fn keep_piece(
    content: &Arc<Content>,
    handle: &Arc<FileHandle>,
    offset: u64,
    keep: Keep,
    deadline: Instant,
    owed: Owed<u64>,
) {
    let pinned = move |handle: &FileHandle| match keep {
        Keep::WhileThereIsRoom => Ok(()),
        Keep::Pinned => handle.reader.pin(offset),
    };
    let (content, handle) = (Arc::clone(content), Arc::clone(handle));
    let jobs = Arc::clone(&content);
    jobs.soon(move || {
        let Some(limit_bytes) = content.kept_limit() else { return owed.answer_with(|| Err(FsError::NothingIsKept)) };
        if handle.reader.is_kept(offset, deadline) {
            let pinned = pinned(&handle);
            return owed.answer_with(|| Ok(pinned.map(|()| limit_bytes)?));
        }
        let (reading, range) = (Arc::clone(&handle), handle.reader.piece(offset));
        let read = move |result| match result {
            Err(error) => owed.answer_with(|| Err(FsError::Content(error))),
            Ok(data) => {
                let jobs = Arc::clone(&content);
                jobs.soon(move || {
                    let is_kept = handle.reader.keep(offset, &data, deadline);
                    let is_worth_it = is_kept || keep == Keep::Pinned;
                    let pinned = if is_worth_it { pinned(&handle) } else { Err(NotPinned::NotThere) };
                    owed.answer_with(|| Ok(pinned.map(|()| limit_bytes)?));
                });
            }
        };
        reading.reader.read(range, deadline, Box::new(read));
    });
}

/// Has a listing kept, once it is complete; answers as [`keep_piece`].
pub(super) fn keep_listing(
    lister: &Arc<Lister>,
    listing: &Arc<Listing>,
    keep: Keep,
    deadline: Instant,
    owed: Owed<u64>,
) {
    let (lister, ended) = (Arc::clone(lister), Arc::clone(listing));
    let keep_it = move || {
        if let Some(error) = ended.failure() {
            return owed.answer_with(|| Err(error));
        }
        let jobs = Arc::clone(&lister);
        jobs.soon(move || {
            let kept = lister.keep(&ended, deadline).and_then(|limit_bytes| {
                if keep == Keep::Pinned {
                    lister.remembered()?.pin(&ended.id)?;
                }
                Ok(limit_bytes)
            });
            owed.answer_with(|| kept);
        });
    };
    listing.when_ended(Box::new(keep_it));
}

/// What pins are to be taken off.
pub(super) enum Pinned {
    /// Of the listing of a directory.
    Listing(NodeId),
    /// Of the piece of a file that holds a byte.
    Piece(Arc<FileHandle>, u64),
    /// All of the source, also of versions that nobody asks for any more.
    All,
}

/// Lets what was pinned go like others again, without a look at the service.
pub(super) fn unpin(content: &Arc<Content>, lister: &Arc<Lister>, what: Pinned, owed: Owed<u64>) {
    let lister = Arc::clone(lister);
    content.soon(move || {
        let done = lister.remembered().and_then(|remembered| {
            let done = match &what {
                Pinned::Listing(dir) => remembered.unpin(dir),
                Pinned::Piece(handle, offset) => handle.reader.unpin(*offset),
                Pinned::All => remembered.unpin_all(),
            };
            done.map_err(|error| NotPinned::Io(error).into())
        });
        owed.answer_with(|| done.map(|()| 0));
    });
}
