//! Secrets in this process's memory: only root can read them there.

use std::io;

/// From now on this process leaves no core dump, and no other process reads its memory or its environment, unless it is
/// root's. To be called before anything else, as the environment is in memory from the start. Forks inherit this; programs
/// that are started inherit that they leave no core dump, so a token command leaves none either.
///
/// Two settings are needed. A limit of 0 is not obeyed where core dumps go to a program (core(5)); a process that is not dumpable
/// is dumped all the same, to a file for root, where `fs.suid_dumpable` is 2 (proc_sys_fs(5)). The second also makes what is in
/// /proc/PID root's (proc_pid(5)), which does not hinder the process itself: it can still read its own mount table, maps and
/// descriptors, FUSE checks who uses a mount and not who serves it, and signals, helpers and exit codes
/// work as before (measured on Linux 6.18 for a mount of uid 65534 by fusermount3). Debuggers need root.
///
/// # Errors
/// The system's error. The manuals name no case in which either setting is refused.
pub fn protect_process() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` outlives the call, which only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let no: libc::c_ulong = 0;
    // SAFETY: takes numbers only, and touches no memory of ours.
    if unsafe { libc::prctl(libc::PR_SET_DUMPABLE, no) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
