//! Mapped files, read-only.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// A file, mapped.
pub(crate) struct Mapping(*mut libc::c_void, usize);

impl Mapping {
    /// Maps the whole of a file that is not empty.
    pub(crate) fn of(file: &File) -> Mapping {
        let len = file.metadata().unwrap().len() as usize;
        // SAFETY: a new read-only mapping of an open file; checked below.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0) };
        assert_ne!(start, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        Mapping(start, len)
    }

    /// Its bytes. A page that cannot be read ends the process by SIGBUS.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is as long and lives as long as `self`; nobody can write to the file.
        unsafe { std::slice::from_raw_parts(self.0.cast(), self.1) }
    }

    /// How many of its pages are in the page cache, and how many there are.
    pub(crate) fn resident(&self) -> (usize, usize) {
        let pages = self.1.div_ceil(4096);
        let mut states = vec![0_u8; pages];
        // SAFETY: the vector has a byte for each page of the mapping.
        assert_eq!(unsafe { libc::mincore(self.0, self.1, states.as_mut_ptr()) }, 0);
        (states.iter().filter(|state| *state & 1 == 1).count(), pages)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and no reference into it is left.
        unsafe { libc::munmap(self.0, self.1) };
    }
}
