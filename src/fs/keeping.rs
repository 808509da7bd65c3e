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
use crate::content::Content;

/// Has the piece of the file that holds byte `offset` kept; answers with the most bytes that the disk keeps in all.
pub(super) fn keep_piece(
    content: &Arc<Content>,
    handle: &Arc<FileHandle>,
    offset: u64,
    deadline: Instant,
    owed: Owed<u64>,
) {
    let (content, handle) = (Arc::clone(content), Arc::clone(handle));
    let jobs = Arc::clone(&content);
    jobs.soon(move || {
        let Some(limit_bytes) = content.kept_limit() else { return owed.answer_with(|| Err(FsError::NothingIsKept)) };
        if handle.reader.is_kept(offset, deadline) {
            return owed.answer_with(|| Ok(limit_bytes));
        }
        let (reading, range) = (Arc::clone(&handle), handle.reader.piece(offset));
        let read = move |result| match result {
            Err(error) => owed.answer_with(|| Err(FsError::Content(error))),
            Ok(data) => {
                let jobs = Arc::clone(&content);
                jobs.soon(move || {
                    let is_kept = handle.reader.keep(offset, &data, deadline);
                    owed.answer_with(|| if is_kept { Ok(limit_bytes) } else { Err(FsError::NotKept) });
                });
            }
        };
        reading.reader.read(range, deadline, Box::new(read));
    });
}

/// Has a listing kept, once it is complete; answers as [`keep_piece`].
pub(super) fn keep_listing(lister: &Arc<Lister>, listing: &Arc<Listing>, deadline: Instant, owed: Owed<u64>) {
    let (lister, ended) = (Arc::clone(lister), Arc::clone(listing));
    let keep = move || {
        if let Some(error) = ended.failure() {
            return owed.answer_with(|| Err(error));
        }
        let jobs = Arc::clone(&lister);
        jobs.soon(move || {
            let kept = lister.keep(&ended, deadline);
            owed.answer_with(|| kept);
        });
    };
    listing.when_ended(Box::new(keep));
}
