//! A door between a client and a server on this machine: it can be shut, and something else can stand behind it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use koofs::sync::lock;

use crate::mounted::await_that;

/// What stands behind the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// The server.
    Server,
    /// Nobody who ever says anything.
    Silence,
    /// A page in HTML for every request, as a network has it that wants a login.
    LoginPage,
}

/// A door. Dropping it shuts it.
pub(crate) struct Gate {
    address: SocketAddr,
    server: SocketAddr,
    door: Mutex<Option<Door>>,
}

struct Door {
    is_open: Arc<AtomicBool>,
    passing: Arc<Mutex<Vec<TcpStream>>>,
    porter: JoinHandle<()>,
}

impl Gate {
    /// An open door to the server at `http://HOST:PORT`.
    pub(crate) fn to(url: &str) -> Gate {
        let server = url.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = Gate { address: listener.local_addr().unwrap(), server, door: Mutex::new(None) };
        *lock(&gate.door) = Some(gate.opened(listener, Behind::Server));
        gate
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Opens the door, to what stands behind it now.
    pub(crate) fn open(&self, behind: Behind) {
        self.shut();
        // Another process of the suite may have been given the port for a moment.
        let mut listener = None;
        await_that("the port to be free", || {
            listener = TcpListener::bind(self.address).ok();
            listener.is_some()
        });
        *lock(&self.door) = Some(self.opened(listener.unwrap(), behind));
    }

    /// Breaks what passes, and refuses what comes.
    pub(crate) fn shut(&self) {
        let Some(Door { is_open, passing, porter }) = lock(&self.door).take() else { return };
        is_open.store(false, Ordering::SeqCst);
        porter.join().unwrap();
        for stream in lock(&passing).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn opened(&self, listener: TcpListener, behind: Behind) -> Door {
        listener.set_nonblocking(true).unwrap();
        let (is_open, passing) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
        let (open, streams, server) = (Arc::clone(&is_open), Arc::clone(&passing), self.server);
        let porter = thread::spawn(move || {
            while open.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((client, _)) => {
                        client.set_nonblocking(false).unwrap();
                        lock(&streams).push(client.try_clone().unwrap());
                        match behind {
                            Behind::Server => {
                                let Ok(server) = TcpStream::connect(server) else { continue };
                                lock(&streams).push(server.try_clone().unwrap());
                                let (client_too, server_too) =
                                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                                thread::spawn(move || pass_on(client, server));
                                thread::spawn(move || pass_on(server_too, client_too));
                            }
                            Behind::Silence => {}
                            Behind::LoginPage => drop(thread::spawn(move || show_login_page(client))),
                        }
                    }
                    // Nobody there. A pause between looks.
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Door { is_open, passing, porter }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shut();
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

fn show_login_page(mut client: TcpStream) {
    let page = "<html><body>Welcome! Log in to this network.</body></html>";
    let mut request = [0; 16 * 1024];
    while client.read(&mut request).is_ok_and(|count| count > 0) {
        let length = page.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let _ = client.write_all(format!("{head}{page}").as_bytes());
        let _ = client.shutdown(Shutdown::Both);
    }
}
