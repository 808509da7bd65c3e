//! Work on threads of its own: a bounded queue with two classes, and tickets for work that is tried until it succeeds.
//!
//! Owns the threads, the order, the attempts, their pauses and deadlines; knows nothing of what is done. The listing and the
//! content rooms have one queue each, so that stalled downloads cannot keep directories waiting.
//!
//! Locks: a ticket's, then its queue's, never the other way; neither is held while work runs.

mod queue;
mod ticket;

pub use queue::{Class, JobQueue};
pub use ticket::{Attempt, End, Failure, Task, Ticket, Urgency};
