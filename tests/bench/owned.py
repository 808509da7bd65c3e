"""Processes and mounts that this run has started: ended on every way out, and nothing else is.

Children die with us even if we are killed (PR_SET_PDEATHSIG), are told by process id, and have a session of their own, so
that Ctrl-C reaches the driver alone, which then unmounts before it ends anything.
"""

import ctypes
import os
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_us():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def start(words, **more):
    """Starts a process in a session of its own."""
    more.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(words, start_new_session=True, preexec_fn=die_with_us, **more)


def end(process, patience=10):
    """Asks a process to end, and its whole session at last."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
    kill(process)


def kill(process):
    """Ends a process and what it started."""
    if process.returncode is None or group_lives(process.pid):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        pass


def group_lives(pid):
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        return any(line.split()[4].replace("\\040", " ") == path for line in table)


def unmount(path):
    """Takes a mount away, dead or alive."""
    for words in (["fusermount3", "-u", "-z", path], ["umount", "-l", path]):
        if not is_mounted(path):
            return
        subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


class Mounted:
    """A daemon in the foreground of its session, and what it has mounted."""

    def __init__(self, words, path, log, wait=30):
        self.path = path
        os.makedirs(path, exist_ok=True)
        with open(log, "wb") as output:
            self.process = start(words, stdout=output, stderr=subprocess.STDOUT)
        self.pid = self.process.pid
        end_at = time.monotonic() + wait
        while not is_mounted(path):
            if self.process.poll() is not None or time.monotonic() > end_at:
                self.close()
                with open(log, encoding="utf-8", errors="replace") as said:
                    raise RuntimeError(f"no mount by {' '.join(words)}: {said.read()[-600:]}")
            time.sleep(0.01)

    def close(self):
        end(self.process)
        unmount(self.path)
        try:
            os.rmdir(self.path)
        except OSError:
            pass

    def abort(self):
        """For a reader that hangs: without its daemon, every call in the mount fails."""
        kill(self.process)
        self.close()
