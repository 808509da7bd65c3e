//! Whether a process whose number came with a request still runs.

use std::io;

/// Whether the thread or process `pid`, as a request names it, is still there. 0 stands for one of another pid namespace, of which
/// nothing can be known: it counts as being there.
pub fn is_alive(pid: u32) -> bool {
    let Some(pid) = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0) else { return true };
    // SAFETY: signal 0 only asks whether a signal could be sent (kill(2)); no memory is involved.
    let failed = unsafe { libc::kill(pid, 0) } != 0;
    // Not permitted means that it is there, and another user's.
    !failed || io::Error::last_os_error().kind() == io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_is_alive_and_one_that_was_reaped_is_not() {
        assert!(is_alive(std::process::id()) && is_alive(0) && is_alive(1));
        let child = std::process::Command::new("true").spawn();
        let mut child = child.unwrap_or_else(|error| panic!("true: {error}"));
        let pid = child.id();
        assert!(is_alive(pid), "not reaped yet");
        let _ = child.wait();
        assert!(!is_alive(pid));
    }
}
