//! What `koofs warm` is asked for.

use std::path::PathBuf;

/// Everything that `koofs warm` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmCommand {
    /// Directories and files of mounts: absolute paths.
    pub paths: Vec<PathBuf>,
    /// Files too, not only the listings of directories.
    pub with_data: bool,
    /// Whether it stays when there is no more room.
    pub pin: Pinning,
}

/// What `koofs warm` does about pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinning {
    /// Nothing: what is fetched is kept like everything else.
    None,
    /// What is fetched stays until its pin is taken off.
    Pin,
    /// Nothing is fetched: pins are taken off.
    Unpin,
}

impl Pinning {
    /// What is meant by the options, of which one is given at most.
    pub fn of(pin: bool, unpin: bool) -> Pinning {
        match (pin, unpin) {
            (_, true) => Pinning::Unpin,
            (true, false) => Pinning::Pin,
            (false, false) => Pinning::None,
        }
    }
}
