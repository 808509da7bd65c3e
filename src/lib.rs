//! KooFS: a read-only Linux filesystem over a KooDrive share or space.
//!
//! Requests go down one staircase; nothing calls up. An answer comes back through the completion that went down with the
//! request.
//!
//! ```text
//! kernel -> fs -> remote (a trait) <- koodrive -> http        the service: listings, links
//!            |  -> content -------------------> http           the object store: bytes
//!            |     content/links -> remote
//!            |
//!            +-- ahead     what comes next in a tree: directories and small files fetched ahead
//!            +-- fresh     listings loaded anew behind their readers, or forgotten on demand
//!            +-- probe     known names in long directories, asked for by themselves
//!            +-- subtrees  all that is below a directory at once, where a walk begins
//!            +-- killed    whoever was killed while it waits is answered, so that it can end
//!            +-- retried   reads that have only just failed: further tries share the first one's time
//!
//! beside the stairs    policy (pace, readahead, retry, …: arithmetic), jobs (threads), clock (time and deadlines),
//!                      single_flight (one thread works, others wait), sync (how locks are taken)
//!                      stats (counters that the rooms keep of themselves), metrics (tells them to Prometheus)
//! between them         offline (a drive that may be out of reach: fails at once, tries in the background, is known from before)
//! above them           cli -> config, mount (puts it together), listing (`koofs ls`), spaces (`koofs spaces`), stored (`koofs cache`),
//!                      status (`koofs status`), warm (`koofs warm`), bars (how far long work has come), doctor (`koofs doctor`)
//! below koodrive       secrets (files and commands that hold them)
//! on the disk          store (blobs that outlive a mount: blocks of files, complete listings)
//! ```
//!
//! # Four promises
//!
//! 1. **The kernel's threads never wait.** A thread of [`kernel`] translates, calls [`fs`] and returns. What is in memory is
//!    answered at once; for anything else the reply moves into a completion, which runs when the bytes or the page are in.
//!    A panic in one request is EIO for that request.
//! 2. **Every operation has a deadline**, the time in the queue included. One timer ([`clock::Timer`]) owns the pending
//!    completions and answers those that are overdue, each exactly once. `statfs`, known attributes, known directories and
//!    names known to be absent touch no network.
//! 3. **Never a wrong byte, never a shorter directory.** An answer to a range is used only after it was found to be that range
//!    of that version of that object ([`policy::range`]). A listing that failed half way is an error. A network failure is
//!    never "no such file".
//! 4. **Every queue, cache, loop, wait and retry has a named bound**, and one budget covers all cached and prefetched bytes.
//!
//! # Invariants
//!
//! - The kernel room sees no [`remote::NodeId`], the remote side no [`fs::Ino`].
//! - Serialisable types stop at `koodrive/wire.rs`; fuser at [`kernel`], reqwest at [`http`], clap at [`cli`].
//! - No lock is held across IO, a reply or a completion.
//! - A guess never goes before a request: what is fetched or listed ahead waits behind whatever somebody waits for, and its
//!   failure is nobody's answer.
//! - A changed file is a new inode number, so pages and names that the kernel keeps are never another version's.
//! - What may block while it tells the kernel something does so on a thread of its own ([`kernel::notify`]).
//! - Secrets and links have a `Debug` that shows nothing; none reaches a log, an error, the process list or a child.
//! - [`kernel::errno`] is the only table of errno, and names every kind of failure.
//! - Nothing above [`content::blocks`] knows where a block lives, nothing above [`fs::dir`] where a page came from.
//!
//! `tests/suite/layers.rs` reads the sources and fails if a room names what it must not know. What a user may rely on stands
//! in tests/PROMISES.md, each promise with the test that holds it.
//!
//! # Reading order
//!
//! The modules stand below as they are best read.

// What was asked for, as checked values.
pub mod config;

pub mod cli;

// How it is put together, and how it lives.
pub mod mount;

// Down the stairs.
pub mod kernel;

pub mod fs;

pub mod remote;

pub mod content;

// What outlives the mount.
pub mod store;

// What may be out of reach.
pub mod offline;

// The service.
pub mod koodrive;

pub mod secrets;

pub mod http;

// Beside the stairs.
pub mod policy;

pub mod jobs;

pub mod single_flight;

pub mod sync;

pub mod clock;

pub mod stats;

pub mod metrics;

// The commands that do without a mount.
pub mod listing;

pub mod stored;

pub mod warm;

pub mod bars;

pub mod doctor;

pub mod spaces;

pub mod status;
