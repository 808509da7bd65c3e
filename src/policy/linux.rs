//! Sizes that the kernel's side and ours must agree on. Each stands once, here.

/// The longest request that the kernel makes, in bytes: 256 pages, its own default limit (`FUSE_DEFAULT_MAX_PAGES_LIMIT`,
/// fs/fuse/fuse_i.h, Linux 6.12), and the longest reply to a read.
pub const MAX_REQUEST_BYTES: u32 = 1 << 20;

/// How far the kernel reads ahead of a program by itself, in KiB: the fastest of those measured; 16 MiB was slower
/// (src/kernel/LINUX.md, section 6). Its requests are made all at once, and arrive in any order.
pub const READ_AHEAD_KIB: u32 = 4096;

/// How far it does where nobody has raised that, in bytes (`VM_READAHEAD_PAGES`, include/linux/mm.h).
pub const DEFAULT_READ_AHEAD_BYTES: u64 = 128 * 1024;

/// How many requests of that kind it may have under way. Its default of 16 stops read-ahead at 12 (src/kernel/LINUX.md, section 6).
pub const MAX_BACKGROUND: u16 = 64;
