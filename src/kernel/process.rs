//! What is known of a process whose number came with a request: whether it still runs, and what it is called.

use std::fs;
use std::io;

use crate::fs::Process;

/// Whether the thread or process `pid`, as a request names it, is still there. 0 stands for one of another pid namespace, of which
/// nothing can be known: it counts as being there.
pub fn is_alive(pid: u32) -> bool {
    let Some(pid) = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0) else { return true };
    // SAFETY: signal 0 only asks whether a signal could be sent (kill(2)); no memory is involved.
    let failed = unsafe { libc::kill(pid, 0) } != 0;
    // Not permitted means that it is there, and another user's.
    !failed || io::Error::last_os_error().kind() == io::ErrorKind::PermissionDenied
}

/// Whether the thread `thread`, as a request names it, is being killed: SIGKILL is pending for it. That is so, too, for every other
/// signal that ends a process by default and without a core dump: Linux makes SIGKILL of it (`complete_signal`, kernel/signal.c). One
/// small read in /proc, which is answered from memory and takes no lock that a process holds while it waits.
pub fn is_killed(thread: u32) -> bool {
    const SIGKILL_BIT: u64 = 1 << (libc::SIGKILL - 1);
    let Ok(status) = fs::read_to_string(format!("/proc/{thread}/status")) else { return false };
    let pending = |line: &str| {
        let digits = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(digits.trim(), 16).ok()
    };
    status.lines().filter_map(pending).any(|signals| signals & SIGKILL_BIT != 0)
}

/// The process of the thread `thread`, as a request names it. Two small reads in /proc, which are answered from memory. What cannot be
/// learned is left as the request has it, without a name.
pub fn of_thread(thread: u32) -> Process {
    let unknown = || Process { pid: thread, name: String::new() };
    if thread == 0 {
        return unknown();
    }
    let Ok(status) = fs::read_to_string(format!("/proc/{thread}/status")) else { return unknown() };
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    let pid: u32 = group.unwrap_or(thread);
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Process { pid, name: name.trim_end_matches('\n').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_is_traced_to_its_process_and_its_name() {
        // SAFETY: gettid(2) takes nothing and cannot fail.
        let own = std::thread::spawn(|| of_thread(unsafe { libc::gettid() }.cast_unsigned()));
        let own = own.join().unwrap_or_else(|_| panic!("the thread"));
        assert_eq!(own, of_thread(std::process::id()));
        assert!(own.pid == std::process::id() && !own.name.is_empty(), "{own:?}");
        assert_eq!(of_thread(u32::MAX), Process { pid: u32::MAX, name: String::new() });
    }

    #[test]
    fn thread_that_runs_is_not_being_killed_nor_is_one_that_is_not_there() {
        assert!(!is_killed(std::process::id()) && !is_killed(0) && !is_killed(u32::MAX));
    }

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
