//! What the content room needs of an object store: one ranged GET, and its body piece by piece.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ContentError, StoreError};
use crate::http::{HttpError, ObjectBody, ObjectClient};
use crate::policy::printable::one_line;
use crate::policy::range::{AnswerHead, ByteRange};
use crate::policy::retry::FailureKind;
use crate::remote::{Link, RemoteErrorKind};

/// Serves ranges of objects by signed links. Shared by all fetching threads; every call may block until `deadline`.
pub trait ObjectStore: Send + Sync + 'static {
    /// Asks for `range`, which is not empty. With `etag`, only of that version of the object.
    ///
    /// # Errors
    /// If there is no answer at all. An answer that refuses is an answer.
    fn get(
        &self,
        link: &Link,
        range: ByteRange,
        etag: Option<&str>,
        deadline: Instant,
    ) -> Result<StoreAnswer, StoreError>;
}

/// An object store's answer: its head, and the body yet to be read.
pub struct StoreAnswer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Range`, if sent.
    pub content_range: Option<String>,
    /// `Content-Length`, if sent.
    pub content_length: Option<u64>,
    /// `ETag` of the whole object, if sent.
    pub etag: Option<String>,
    /// `<Code>` of an error body, if there was one.
    pub error_code: Option<String>,
    /// The pause that the store asked for.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Box<dyn StoreBody>,
}

impl StoreAnswer {
    /// What `policy::range` needs to judge it.
    pub fn head(&self) -> AnswerHead<'_> {
        AnswerHead {
            status: self.status,
            content_range: self.content_range.as_deref(),
            content_length: self.content_length,
            error_code: self.error_code.as_deref(),
        }
    }
}

/// A body that arrives piece by piece. Dropping it ends the transfer.
pub trait StoreBody: Send {
    /// Reads what has arrived, at least one byte, into `buffer`; 0 at the end of the body. Blocks while nothing arrives,
    /// but not past the deadline of the request.
    ///
    /// # Errors
    /// If the connection breaks or stalls, or the body ends before its announced length.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError>;
}

impl ObjectStore for ObjectClient {
    fn get(
        &self,
        link: &Link,
        range: ByteRange,
        etag: Option<&str>,
        deadline: Instant,
    ) -> Result<StoreAnswer, StoreError> {
        let answer = self.get_range(link, range, etag, deadline)?;
        Ok(StoreAnswer {
            status: answer.status,
            content_range: answer.content_range,
            content_length: answer.content_length,
            etag: answer.etag,
            error_code: answer.error_code,
            retry_after: answer.retry_after,
            body: Box::new(answer.body),
        })
    }
}

impl StoreBody for ObjectBody {
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        Ok(ObjectBody::read_some(self, buffer)?)
    }
}

impl From<HttpError> for StoreError {
    fn from(error: HttpError) -> StoreError {
        let kind = error.kind().remote_kind();
        StoreError { kind, failure: kind.failure_kind(), retry_after: None, context: one_line(&error) }
    }
}

/// The failure that an answer is which `policy::range` calls throttled or unavailable: `kind`.
pub(super) fn busy(answer: &StoreAnswer, kind: RemoteErrorKind) -> ContentError {
    let context = format!(
        "the object store answered HTTP {} ({})",
        answer.status,
        answer.error_code.as_deref().unwrap_or("no code")
    );
    let failure = kind.failure_kind();
    ContentError::Store(Arc::new(StoreError { kind, failure, retry_after: answer.retry_after, context }))
}

/// The answer goes on past its deadline.
pub(super) fn timeout() -> StoreError {
    StoreError {
        kind: RemoteErrorKind::Timeout,
        failure: FailureKind::Permanent,
        retry_after: None,
        context: "the object store's answer did not end before the deadline".to_owned(),
    }
}

/// The answer has ended before its announced end.
pub(super) fn cut_short() -> StoreError {
    StoreError {
        kind: RemoteErrorKind::Unavailable,
        failure: FailureKind::Interrupted,
        retry_after: None,
        context: "the object store's answer ended too soon".to_owned(),
    }
}

/// Reads `count` bytes by `read`, and drops them.
///
/// # Errors
/// What `read` says.
pub(super) fn skip(
    mut count: u64,
    read: &mut impl FnMut(&mut [u8]) -> Result<usize, ContentError>,
) -> Result<(), ContentError> {
    let mut scratch = [0; 16 * 1024];
    while count > 0 {
        let len = usize::try_from(count).unwrap_or(usize::MAX).min(scratch.len());
        count -= read(&mut scratch[..len])? as u64;
    }
    Ok(())
}
