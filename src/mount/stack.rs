//! Puts the rooms on top of each other: the remote side, the content, the filesystem, the kernel's adapter.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::built::Built;
use super::cache::Cache;
use super::error::MountError;
use super::figures;
use crate::clock::{Clock, SystemClock, Timer, patiently};
use crate::config::{MountConfig, Rights, Source};
use crate::content::{Content, ContentConfig, KeptBlocks, LinkStore};
use crate::fs::{DriveFs, FsConfig};
use crate::http::{HttpConfig, ObjectClient};
use crate::jobs::JobQueue;
use crate::kernel::adapter::{Adapter, Extras};
use crate::kernel::attr::Owner;
use crate::kernel::process;
use crate::koodrive;
use crate::listing;
use crate::metrics::Endpoint;
use crate::offline::{self, Event, Failed, Meaning, Plan, Reconnecting};
use crate::policy::budget::{Budget, LISTING_THREADS};
use crate::policy::printable::one_line;
use crate::policy::retry::FailureKind;
use crate::remote::{Filtered, Remote, RemoteErrorKind, Rooted};

/// Opens what is to be mounted or listed. Blocks until it is known to be open, or the time limit of one operation.
///
/// # Errors
/// [`MountError::Open`].
pub fn open_source(source: &Source) -> Result<Arc<dyn Remote>, MountError> {
    koodrive::open(source, &HttpConfig::of(source.connection()), Arc::new(SystemClock)).map_err(MountError::Open)
}

/// From this size on, the allocator takes memory from the system and gives it back, in bytes: above the largest buffers of the
/// HTTP client (hyper reads up to 408 KiB at a time, its `DEFAULT_MAX_BUFFER_SIZE`), which cost a page fault for each 4 KiB
/// otherwise. Fixed, as it is raised to 32 MiB by the allocator itself otherwise. Blocks are no business of the allocator
/// (content/buffers.rs).
const RETURNED_FROM_BYTES: libc::c_int = 1024 * 1024;

/// So much may be free at the end of the allocator's heap before it is given back, in bytes.
const KEPT_FREE_BYTES: libc::c_int = 4 * 1024 * 1024;

/// The most arenas of the allocator; by default each of the threads may have its own, with its own leftovers.
const MAX_ARENAS: libc::c_int = 4;

/// Keeps the allocator from holding on to what the budget has given up.
fn bound_allocator() {
    // SAFETY: mallopt takes two numbers and changes the allocator's settings only; glibc ignores what it does not know.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, RETURNED_FROM_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_FREE_BYTES);
        libc::mallopt(libc::M_ARENA_MAX, MAX_ARENAS);
    }
}

/// The whole stack. Starts threads; signals are blocked already.
///
/// # Errors
/// If the share cannot be opened, `--root` is not in it, or a thread cannot be started.
pub(super) fn build_filesystem(config: &MountConfig) -> Result<Built<Adapter>, MountError> {
    bound_allocator();
    // First: whether the address is free is known at once.
    let metrics = config
        .metrics
        .as_ref()
        .map(|at| Endpoint::bind(at).map_err(|error| MountError::Metrics(at.to_string(), error)));
    let metrics = metrics.transpose()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let http = HttpConfig::of(config.source.connection());
    let requests = Arc::clone(&http.requests);
    let timer = Timer::new(Arc::clone(&clock));
    let running = Arc::clone(&timer);
    std::thread::Builder::new().name("koofs-timer".to_owned()).spawn(move || running.run()).map_err(no_thread)?;

    let budget = Budget::new(config.memory_bytes);
    let cache = config.cache.as_ref().and_then(|cache| {
        Cache::open(cache, &config.source, &config.root, &config.shown, budget.unwritten_bytes(), &timer).map(Arc::new)
    });
    let opened = open_with_patience(config, &http, &clock, cache.as_ref())?;
    let remote = rooted(&opened, config, clock.as_ref())?;
    let remote = if config.shown.is_all() { remote } else { Arc::new(Filtered::new(remote, config.shown.clone())) };
    let op_timeout = config.source.connection().op_timeout;
    let store = Arc::new(ObjectClient::new(http, Arc::clone(&clock)).map_err(MountError::Http)?);
    let links = Arc::new(LinkStore::new(Arc::clone(&remote), Arc::clone(&clock)));

    let jobs = start_jobs("koofs-content", budget.content_threads(), &timer)?;
    let kept = cache
        .as_ref()
        .map(|cache| KeptBlocks::new(Arc::clone(&cache.store), cache.blocks.clone(), budget.unfinished_bytes()));
    let content_config = ContentConfig { budget, op_timeout, bytes_per_second: config.bandwidth };
    let content = Arc::new(Content::new(content_config, store, links, jobs, clock, kept));

    let remembered = cache.as_deref().map(Cache::remembered);
    let jobs = start_jobs("koofs-list", LISTING_THREADS, &timer)?;
    let fs_config = FsConfig {
        ttl: config.ttl,
        offline_for: config.offline_for,
        op_timeout,
        is_alive: process::is_alive,
        is_killed: process::is_killed,
        process_of: process::of_thread,
    };
    let fs = DriveFs::new(fs_config, remote, content, jobs, timer, remembered);
    let drive = Arc::new(fs);
    let told = Arc::downgrade(&drive);
    opened.listen(move |event| {
        if let Some(drive) = told.upgrade() {
            match event {
                Event::Back => drive.service_is_back(),
                Event::TakenAway => drive.forget_everything(),
            }
        }
    });
    let store = cache.map(|cache| Arc::clone(&cache.store));
    let (tell_status, tell_metrics) = figures::tellers(config, requests, store.clone(), Arc::clone(&drive));
    if let Some(metrics) = metrics {
        metrics.serve(Arc::new(SystemClock), tell_metrics).map_err(no_thread)?;
    }
    let volume_info = config.volume_info.then(|| config.name.clone());
    let extras = Extras { xattrs: config.xattr, volume_info };
    let filesystem = Adapter::new(Arc::clone(&drive), owner(config.rights), tell_status, extras);
    let kernel_abi = Arc::clone(filesystem.kernel_abi());
    Ok(Built { filesystem, drive: Some(drive), kernel_abi, store })
}

fn owner(rights: Rights) -> Owner {
    let Rights { uid, gid, file_mode, dir_mode } = rights;
    Owner::of_this_process(uid, gid, file_mode, dir_mode)
}

/// [`open_or_know`], again and again for the time of `--retry-mount` while the service is not reached. Says so once.
fn open_with_patience(
    config: &MountConfig,
    http: &HttpConfig,
    clock: &Arc<dyn Clock>,
    cache: Option<&Arc<Cache>>,
) -> Result<Arc<Reconnecting>, MountError> {
    let is_told = Cell::new(false);
    let judge = |error: &MountError| match error {
        MountError::Open(cause) if cause.may_pass() => {
            if !config.retry_mount.is_zero() && !is_told.replace(true) {
                let seconds = config.retry_mount.as_secs();
                let notice = format!("{}: tried again, for {seconds} s in all (--retry-mount)", one_line(error));
                log::warn!("{notice}");
                if config.log_file.is_some() {
                    eprintln!("koofs: {notice}");
                }
            }
            (FailureKind::Transient, None)
        }
        _ => (FailureKind::Permanent, None),
    };
    let deadline = clock.now() + config.retry_mount;
    patiently(clock.as_ref(), deadline, || open_or_know(config, http, clock, cache), judge)
}

/// Opens what is to be mounted; if the service cannot be reached, goes on with what `cache` knows of it.
fn open_or_know(
    config: &MountConfig,
    http: &HttpConfig,
    clock: &Arc<dyn Clock>,
    cache: Option<&Arc<Cache>>,
) -> Result<Arc<Reconnecting>, MountError> {
    let may_be_offline = !config.offline_for.is_zero();
    let answered = Arc::clone(&http.has_answered);
    let (keeping, forgetting) = (cache.cloned(), cache.cloned());
    let plan = Plan {
        clock: Arc::clone(clock),
        op_timeout: config.source.connection().op_timeout,
        may_be_offline,
        known: cache.filter(|_| may_be_offline).and_then(|cache| cache.known(config.offline_for, clock.utc())),
        has_answered: Box::new(move || answered.load(Ordering::Relaxed)),
        keep: Box::new(move |facts, answered_at| {
            if let Some(cache) = &keeping {
                cache.keep(facts, answered_at);
            }
        }),
        take_away: Box::new(move || {
            if let Some(cache) = &forgetting {
                cache.forget_all();
            }
        }),
    };
    let (source, http, clock) = (config.source.clone(), http.clone(), Arc::clone(clock));
    let open = move || {
        koodrive::open(&source, &http, Arc::clone(&clock)).map_err(|error| Failed {
            meaning: match error.outage() {
                Some(how) => Meaning::Unreached(how),
                None if error.refuses_credentials() => Meaning::Refused(RemoteErrorKind::NeedsLogin),
                None if error.is_refusal() => Meaning::Refused(RemoteErrorKind::Denied),
                None => Meaning::Other,
            },
            error: Box::new(MountError::Open(error)),
        })
    };
    let opened = offline::open(plan, open, |error| Box::new(no_thread(error))).map_err(|error| *error)?;
    if let Some(how) = opened.notice() {
        let notice =
            format!("offline: {how}: what was read before is shown, and the service is tried in the background");
        log::warn!("{notice}");
        if config.log_file.is_some() {
            eprintln!("koofs: {notice}");
        }
    }
    Ok(opened)
}

/// The remote as seen from `--root`.
fn rooted(opened: &Arc<Reconnecting>, config: &MountConfig, clock: &dyn Clock) -> Result<Arc<dyn Remote>, MountError> {
    let remote: Arc<dyn Remote> = Arc::clone(opened) as _;
    let is_known = opened.notice().is_some();
    let root = match config.root.is_empty() {
        true => remote.root(),
        false if is_known => opened.known_root(),
        false => {
            let found = listing::find_directory(remote.as_ref(), clock, &config.source, &config.root);
            found.map_err(MountError::Root)?.ok_or_else(|| MountError::RootIsAFile(config.root.join("/")))?
        }
    };
    opened.set_shown_root(root.clone());
    Ok(if root == remote.root() { remote } else { Arc::new(Rooted::new(remote, root)) })
}

fn start_jobs(name: &str, threads: usize, timer: &Arc<Timer>) -> Result<JobQueue, MountError> {
    JobQueue::start(name, threads, timer).map_err(no_thread)
}

fn no_thread(error: io::Error) -> MountError {
    MountError::System("starting a thread", error)
}
