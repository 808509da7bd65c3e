//! Whose everything in a mount is, and who may do what with it.

/// What nobody may by default: to write, but for the owner. The mount is read-only whatever the rights say; they go along with a copy
/// (`cp -r`), whose owner shall be able to change and delete it.
pub const DEFAULT_UMASK: u16 = 0o022;

/// Whose everything in a mount is, and with which rights: the service tells neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The user; `None` for who mounts.
    pub uid: Option<u32>,
    /// The group; `None` for who mounts.
    pub gid: Option<u32>,
    /// Of files: 9 bits.
    pub file_mode: u16,
    /// Of directories: 9 bits.
    pub dir_mode: u16,
}

impl Default for Rights {
    fn default() -> Rights {
        Rights { uid: None, gid: None, file_mode: 0o666 & !DEFAULT_UMASK, dir_mode: 0o777 & !DEFAULT_UMASK }
    }
}
