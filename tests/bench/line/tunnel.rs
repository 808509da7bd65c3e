//! One end of a line: a network namespace with a TUN device in it, and the system calls to make, enter and use them.
//!
//! Owns: both, by descriptors. Nothing of it has a name outside of its namespace and nothing is persistent: when the last
//! descriptor is closed and the last process has left, the kernel takes device and namespace away, however this process ended.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

/// The device's name in each of the namespaces.
pub const DEVICE: &str = "line0";
/// Packets that the kernel holds for us while we are busy with others. Those of 64 KiB are made of 44; 500, the usual number, are
/// soon full.
const DEVICE_QUEUE: i32 = 10_000;
/// What precedes each packet (`struct virtio_net_hdr`): whether it is to be cut into segments, and of what size.
pub const PACKET_HEADER: usize = 10;

/// One end.
#[derive(Debug)]
pub struct End {
    /// The namespace, as `setns` takes it.
    pub namespace: OwnedFd,
    /// The device; reads and writes packets, each behind a [`PACKET_HEADER`], and does not block.
    pub device: File,
    /// This end's address in it.
    pub address: Ipv4Addr,
}

impl End {
    /// Makes a namespace with the two devices `lo` and [`DEVICE`], both up; the network of `address` (24 bits) is behind the latter.
    ///
    /// # Errors
    /// The step that failed: mostly that this is not root.
    pub fn new(address: Ipv4Addr, large_segments: bool) -> io::Result<Self> {
        // A namespace belongs to a thread: this one is left behind with it.
        let made = std::thread::spawn(move || {
            // SAFETY: no memory is involved, and this thread has done and will do nothing else.
            check(unsafe { libc::unshare(libc::CLONE_NEWNET) }, "unshare(CLONE_NEWNET)")?;
            let namespace = File::open("/proc/thread-self/ns/net").map_err(told("/proc/thread-self/ns/net"))?;
            // No router is to be asked for; a connection starts as if it were the first one to this host.
            set("net/ipv6/conf/default/disable_ipv6", "1").or_else(missing)?;
            set("net/ipv4/tcp_no_metrics_save", "1")?;
            let device = open_device(large_segments)?;
            let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(told("a socket"))?;
            up(&socket, "lo")?;
            set_address(&socket, libc::SIOCSIFADDR, address)?;
            set_address(&socket, libc::SIOCSIFNETMASK, Ipv4Addr::new(255, 255, 255, 0))?;
            let mut request = request(DEVICE);
            request.ifr_ifru.ifru_metric = DEVICE_QUEUE;
            ioctl(&socket, libc::SIOCSIFTXQLEN, &mut request, "SIOCSIFTXQLEN")?;
            up(&socket, DEVICE)?;
            Ok(Self { namespace: namespace.into(), device, address })
        });
        made.join().unwrap_or_else(|_| Err(io::Error::other("the thread that makes a namespace panicked")))
    }
}

/// Moves the calling thread, and the threads and processes that it starts from now on, into a namespace.
///
/// # Errors
/// The kernel's.
pub fn enter(namespace: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, "setns")
}

/// Waits until `device` can be read, `stop` is written to, or the time is over; whether `stop` was.
///
/// # Errors
/// The kernel's.
pub fn wait(device: &File, stop: &File, at_most: Option<std::time::Duration>) -> io::Result<bool> {
    let of = |file: &File| libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut files = [of(device), of(stop)];
    let limit = at_most.map(|time| libc::timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `files` and `limit` live until the call returns; the number is that of the files.
    let ready = unsafe { libc::ppoll(files.as_mut_ptr(), 2, limit, std::ptr::null()) };
    match check(ready, "ppoll") {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(files[1].revents != 0),
    }
}

/// Lets waits of the calling thread end when they should, not up to 50 µs later.
pub fn wake_on_time() {
    // SAFETY: sets a number of this thread; there is nothing to be done if it cannot be.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}

/// Opens a new TUN device in this thread's namespace.
fn open_device(large_segments: bool) -> io::Result<File> {
    let device = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .map_err(told("/dev/net/tun"))?;
    let mut request = request(DEVICE);
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = flags.try_into().map_err(io::Error::other)?;
    ioctl(&device, libc::TUNSETIFF, &mut request, "TUNSETIFF")?;
    // Segments of 64 KiB come and go in one piece, with checksums that nobody need make: what makes it fast.
    let offload = if large_segments { libc::TUN_F_CSUM | libc::TUN_F_TSO4 } else { 0 };
    // SAFETY: this request takes its argument by value.
    check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETOFFLOAD, offload) }, "TUNSETOFFLOAD")?;
    Ok(device)
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: all zeros are a name without characters and any of the plain numbers of the union.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request
}

fn up(socket: &impl AsRawFd, name: &str) -> io::Result<()> {
    let mut request = request(name);
    request.ifr_ifru.ifru_flags = libc::IFF_UP.try_into().map_err(io::Error::other)?;
    ioctl(socket, libc::SIOCSIFFLAGS, &mut request, "SIOCSIFFLAGS")
}

fn set_address(socket: &impl AsRawFd, what: libc::Ioctl, address: Ipv4Addr) -> io::Result<()> {
    let mut request = request(DEVICE);
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET.try_into().map_err(io::Error::other)?,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
        sin_zero: [0; 8],
    };
    // SAFETY: both structures have 16 bytes, and this is what a sockaddr holds for this family.
    request.ifr_ifru.ifru_addr = unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(address) };
    ioctl(socket, what, &mut request, "SIOCSIFADDR")
}

fn ioctl(file: &impl AsRawFd, what: libc::Ioctl, request: &mut libc::ifreq, name: &str) -> io::Result<()> {
    // SAFETY: all the calls used here take an ifreq, which lives until the call returns.
    check(unsafe { libc::ioctl(file.as_raw_fd(), what, std::ptr::from_mut(request)) }, name)
}

/// Writes a setting of this thread's namespace.
fn set(name: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/{name}");
    std::fs::write(&path, value).map_err(told(&path))
}

/// Well if there is no such setting: then there is nothing to be turned off.
fn missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn told(what: &str) -> impl Fn(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn check(returned: i32, what: &str) -> io::Result<()> {
    if returned < 0 { Err(told(what)(io::Error::last_os_error())) } else { Ok(()) }
}

/// A pair of descriptors: what is written to the second wakes those who wait for the first.
///
/// # Errors
/// The kernel's.
pub fn stop_pipe() -> io::Result<(File, File)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, "pipe2")?;
    // SAFETY: the call has just opened both, for nobody else.
    Ok(unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) })
}
