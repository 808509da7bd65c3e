//! What mount(8) asks its helper for beside a mount: what is there already is no failure, and what is there cannot be changed.

use std::path::Path;

use super::error::MountError;
use super::preflight;
use crate::config::MountConfig;
use crate::kernel::mountinfo;
use crate::kernel::session::source_name;

/// Whether what `config` says is mounted already, and answers. `mount -a` cannot tell it for shares, whose code the mount table does
/// not show.
///
/// # Errors
/// [`MountError::Missing`], [`MountError::NotADirectory`], [`MountError::Inspect`].
pub fn is_mounted(config: &MountConfig) -> Result<bool, MountError> {
    let mountpoint = preflight::without_links(&config.mountpoint)?;
    let mounts = mountinfo::mounts().map_err(|error| MountError::Inspect(mountpoint.clone(), error))?;
    let newest = mountinfo::newest_at(&mounts, &mountpoint);
    let same = newest.filter(|mount| mount.is_koofs() && mount.source == source_name(&config.name));
    Ok(same.is_some_and(|_| !preflight::is_dead(&mountpoint)))
}

/// `mount -o remount`: whether the mount at `mountpoint` may be told to have been remounted, which changes nothing of it.
///
/// # Errors
/// [`MountError::ReadOnly`] if it is to be writable; [`MountError::NotMounted`], [`MountError::NotOurs`].
pub fn remount(mountpoint: &Path, wants_writing: bool) -> Result<(), MountError> {
    let mountpoint = preflight::without_links(mountpoint)?;
    let mounts = mountinfo::mounts().map_err(|error| MountError::Inspect(mountpoint.clone(), error))?;
    match mountinfo::newest_at(&mounts, &mountpoint) {
        None => Err(MountError::NotMounted(mountpoint)),
        Some(mount) if !mount.is_koofs() => Err(MountError::NotOurs(mount.clone())),
        Some(_) if wants_writing => Err(MountError::ReadOnly(mountpoint)),
        Some(_) => Ok(()),
    }
}
