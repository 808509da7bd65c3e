//! Tells the service manager how the mount is: the protocol of sd_notify(3), which is one datagram of lines `NAME=value` for each
//! message, to the socket that `NOTIFY_SOCKET` names. Nobody waits for an answer, and a manager that does not listen is no error.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::sync::Arc;

use log::debug;

use crate::clock::monotonic_usec;
use crate::policy::printable::printable;

/// The variable that names the socket: a path, or a name of the abstract kind behind `@`.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Whoever has started this process and wants to know how it is; often nobody.
#[derive(Clone, Debug, Default)]
pub(super) struct Supervisor {
    line: Option<Arc<(UnixDatagram, SocketAddr)>>,
}

impl Supervisor {
    /// The one that the environment names. The variable is removed: what this process starts is not what is waited for.
    ///
    /// # Safety
    /// The process must have one thread only: nobody else may be reading the environment.
    pub(super) unsafe fn take() -> Supervisor {
        let Some(name) = env::var_os(SOCKET) else { return Supervisor::default() };
        // SAFETY: the caller's promise.
        unsafe { env::remove_var(SOCKET) };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        let line = address.and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            // A manager that hangs holds up nothing here.
            socket.set_nonblocking(true)?;
            Ok(Arc::new((socket, address)))
        });
        Supervisor { line: line.inspect_err(|error| debug!("{SOCKET} is not usable: {error}")).ok() }
    }

    /// The mount answers; `status` says which, in one line.
    pub(super) fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nMAINPID={}\nSTATUS={}", process::id(), printable(status)));
    }

    /// What happens now, for people, in one line.
    pub(super) fn status(&self, status: &str) {
        self.say(&format!("STATUS={}", printable(status)));
    }

    /// What was remembered is being forgotten.
    pub(super) fn reloading(&self) {
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_usec()));
    }

    /// It is forgotten.
    pub(super) fn reloaded(&self) {
        self.say("READY=1");
    }

    /// The mount ends. May be said twice.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=unmounting");
    }

    fn say(&self, message: &str) {
        let Some((socket, address)) = self.line.as_deref() else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            debug!("the service manager was not told: {error}");
        }
    }
}
