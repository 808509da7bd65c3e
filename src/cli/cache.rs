//! Where the cache on the disk is.

use std::path::PathBuf;

use super::environment::Environment;
use super::file;
use super::layers::Layers;
use super::{quantities, settings};
use crate::config::CacheConfig;

/// What was said of the cache; `None` if there is to be none, or if there is no place for one.
pub(super) fn config(layers: &mut Layers<'_>) -> Option<CacheConfig> {
    let is_off = layers.switch(&settings::NO_CACHE);
    let limit_bytes = layers.value(&settings::CACHE_SIZE, quantities::cache_size);
    let directory = directory(layers);
    if is_off { None } else { directory.map(|directory| CacheConfig { directory, limit_bytes }) }
}

/// Where it is: as it was said, or by convention. `None` without a home directory.
pub(super) fn directory(layers: &mut Layers<'_>) -> Option<PathBuf> {
    if layers.find(&settings::CACHE_DIR).is_some() {
        return layers.path(&settings::CACHE_DIR);
    }
    by_convention(layers.environment, rustix::process::geteuid().is_root())
}

/// The directory that systemd has made for the service, in which ours is; else XDG's (a relative path is to be ignored, says the
/// XDG Base Directory Specification); else that of the system for root.
fn by_convention(environment: &Environment, is_root: bool) -> Option<PathBuf> {
    let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    // Several are separated by colons (systemd.exec(5)).
    let of_service = environment.variable("CACHE_DIRECTORY").and_then(|paths| std::env::split_paths(paths).next());
    if let Some(directory) = of_service.and_then(absolute) {
        return Some(directory.join("blobs"));
    }
    let xdg = environment.variable("XDG_CACHE_HOME").map(PathBuf::from).and_then(absolute);
    let system = is_root.then(|| PathBuf::from("/var/cache"));
    let parent = xdg.or(system).or_else(|| Some(file::home(environment)?.join(".cache")));
    parent.map(|parent| parent.join("koofs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_is_where_the_service_the_user_or_the_system_keeps_caches() {
        let home = ("HOME", "/home/u");
        for (variables, is_root, want) in [
            (vec![home], false, Some("/home/u/.cache/koofs")),
            (vec![home], true, Some("/var/cache/koofs")),
            (vec![home, ("XDG_CACHE_HOME", "/x")], true, Some("/x/koofs")),
            (vec![home, ("XDG_CACHE_HOME", "x")], false, Some("/home/u/.cache/koofs")),
            (vec![home, ("XDG_CACHE_HOME", "/x"), ("CACHE_DIRECTORY", "/s:/t")], false, Some("/s/blobs")),
            (vec![], false, None),
        ] {
            let environment = Environment::of(variables);
            assert_eq!(by_convention(&environment, is_root), want.map(PathBuf::from));
        }
    }
}
