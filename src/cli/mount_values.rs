//! The settings of a mount that do not depend on its source.

use std::path::PathBuf;
use std::time::Duration;

use super::layers::Layers;
use super::{cache, quantities, settings, values};
use crate::config::{CacheConfig, DEFAULT_UMASK, MetricsAt, Rights};
use crate::policy::glob::{Glob, Shown};

/// The settings that do not belong to the source.
pub(super) struct MountValues {
    pub(super) root: Vec<String>,
    pub(super) foreground: bool,
    pub(super) allow_other: bool,
    pub(super) noexec: bool,
    pub(super) rights: Rights,
    pub(super) nonempty: bool,
    pub(super) ttl: Option<Duration>,
    pub(super) offline_for: Option<Duration>,
    pub(super) retry_mount: Option<Duration>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) log_file: Option<PathBuf>,
    pub(super) verbosity: u8,
    pub(super) cache: Option<CacheConfig>,
    pub(super) shown: Shown,
    pub(super) bandwidth: Option<u64>,
    pub(super) xattr: bool,
    pub(super) volume_info: bool,
    pub(super) metrics: Option<MetricsAt>,
}

impl MountValues {
    /// What `layers` say of them.
    pub(super) fn of(layers: &mut Layers<'_>) -> MountValues {
        MountValues {
            root: layers.value(&settings::ROOT, values::share_path).unwrap_or_default(),
            foreground: layers.switch(&settings::FOREGROUND),
            allow_other: layers.switch(&settings::ALLOW_OTHER),
            noexec: layers.switch(&settings::NOEXEC),
            rights: rights(layers),
            nonempty: layers.switch(&settings::NONEMPTY),
            ttl: layers.value(&settings::TTL, quantities::ttl),
            offline_for: layers.value(&settings::OFFLINE_FOR, quantities::offline_for),
            retry_mount: layers.value(&settings::RETRY_MOUNT, quantities::retry_mount),
            memory_bytes: layers.value(&settings::MEMORY, quantities::memory_size),
            log_file: layers.path(&settings::LOG_FILE),
            verbosity: verbosity(layers),
            cache: cache::config(layers),
            shown: Shown {
                exclude: layers.value(&settings::EXCLUDE, Glob::parse),
                include: layers.value(&settings::INCLUDE, Glob::parse),
            },
            bandwidth: layers.value(&settings::BWLIMIT, quantities::bandwidth).flatten(),
            xattr: layers.switch(&settings::XATTR),
            volume_info: layers.switch(&settings::VOLUME_INFO),
            metrics: metrics(layers),
        }
    }
}

/// Whose everything is, and with which rights. A mode that is given says it all; a mask takes rights from what there would be else.
fn rights(layers: &mut Layers<'_>) -> Rights {
    let umask = layers.value(&settings::UMASK, values::mode).unwrap_or(DEFAULT_UMASK);
    Rights {
        uid: layers.value(&settings::UID, values::user_or_group),
        gid: layers.value(&settings::GID, values::user_or_group),
        file_mode: layers.value(&settings::FILE_MODE, values::mode).unwrap_or(0o666 & !umask),
        dir_mode: layers.value(&settings::DIR_MODE, values::mode).unwrap_or(0o777 & !umask),
    }
}

/// Where metrics are served: on this machine, unless others may ask, too.
fn metrics(layers: &mut Layers<'_>) -> Option<MetricsAt> {
    let may_be_remote = layers.switch(&settings::ALLOW_REMOTE_METRICS);
    layers.value(&settings::METRICS, |text| values::metrics_at(text, may_be_remote))
}

/// How many times `-v` was given, or what stands for it.
pub(super) fn verbosity(layers: &mut Layers<'_>) -> u8 {
    layers.value(&settings::VERBOSE, values::verbosity).unwrap_or(0)
}
