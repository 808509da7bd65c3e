//! A loopback HTTP/1.1 server that answers as a test tells it, well or badly, and keeps what it was asked.
//!
//! One thread per connection; all end when the server is dropped and the clients have gone.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use koofs::sync::lock;

/// What a busy machine may add to a time limit that must have ended a call; without the limit these calls take longer.
pub(crate) const BUSY: Duration = Duration::from_secs(15);

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Byte for byte what stood between the verb and the version.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What to answer, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    head: String,
    body: Vec<u8>,
    no_head: bool,
    /// Stop after so many bytes of the body.
    cut_at: Option<usize>,
    /// Then do not close but wait for the client to go.
    stall: bool,
    /// One byte at a time, so far apart.
    trickle: Option<Duration>,
    /// Close after the answer, without having said so.
    close_after: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        let body = body.into();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        Answer { head, body, ..Answer::default() }
    }

    pub(crate) fn json(json: &serde_json::Value) -> Answer {
        Answer::new(200, json.to_string()).header("Content-Type", "application/json")
    }

    /// The connection is closed without a word.
    pub(crate) fn hang_up() -> Answer {
        Answer { no_head: true, ..Answer::default() }
    }

    /// Nothing is ever answered.
    pub(crate) fn silence() -> Answer {
        Answer { no_head: true, stall: true, ..Answer::default() }
    }

    pub(crate) fn redirect(status: u16, location: &str) -> Answer {
        Answer::new(status, "").header("Location", location)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Answer {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    /// Closes the connection after `len` bytes of the body.
    pub(crate) fn cut_at(mut self, len: usize) -> Answer {
        self.cut_at = Some(len);
        self
    }

    /// Falls silent after `len` bytes of the body.
    pub(crate) fn stall_at(self, len: usize) -> Answer {
        Answer { stall: true, ..self.cut_at(len) }
    }

    pub(crate) fn trickle(mut self, pause: Duration) -> Answer {
        self.trickle = Some(pause);
        self
    }

    pub(crate) fn close_after(mut self) -> Answer {
        self.close_after = true;
        self
    }

    /// Whether the connection can go on afterwards.
    fn send(&self, stream: &mut TcpStream) -> std::io::Result<bool> {
        if !self.no_head {
            stream.write_all(format!("{}\r\n", self.head).as_bytes())?;
        }
        let body = &self.body[..self.cut_at.unwrap_or(self.body.len())];
        match self.trickle {
            None => stream.write_all(body)?,
            Some(pause) => {
                for byte in body {
                    stream.write_all(&[*byte])?;
                    std::thread::sleep(pause);
                }
            }
        }
        if self.stall {
            // Until the client has had enough.
            let _ = stream.read(&mut [0; 1])?;
        }
        Ok(!(self.no_head || self.stall || self.close_after || self.cut_at.is_some()))
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

pub(crate) struct ScriptedServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    queue: Arc<Mutex<VecDeque<Answer>>>,
}

struct Shared {
    handler: Box<Handler>,
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    stopped: AtomicBool,
}

impl ScriptedServer {
    /// Answers with what was pushed, in that order; 500 and no KooDrive answer when nothing is left.
    pub(crate) fn new() -> ScriptedServer {
        let queue = Arc::new(Mutex::new(VecDeque::<Answer>::new()));
        let mut server = ScriptedServer::with_handler({
            let queue = Arc::clone(&queue);
            move |_| lock(&queue).pop_front().unwrap_or_else(|| Answer::new(500, "script has ended"))
        });
        server.queue = queue;
        server
    }

    /// Answers what `handler` says.
    pub(crate) fn with_handler(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> ScriptedServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(stream.unwrap()));
            }
        });
        ScriptedServer { address, shared, queue: Arc::default() }
    }

    pub(crate) fn push(&self, answer: Answer) -> &ScriptedServer {
        lock(&self.queue).push_back(answer);
        self
    }

    /// `http://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// How many requests came for `path`.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.requests().iter().filter(|request| request.path() == path).count()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    /// Serves one connection until either side closes it. Errors are the client's business.
    fn serve(&self, mut stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(request) = read_request(&mut reader) {
            lock(&self.requests).push(request.clone());
            match (self.handler)(&request).send(&mut stream) {
                Ok(true) => {}
                Ok(false) | Err(_) => break,
            }
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|len| *len > 0).map(|_| line.trim_end().to_owned())
    };
    let first = line()?;
    let (method, rest) = first.split_once(' ')?;
    let (target, _version) = rest.rsplit_once(' ')?;
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, len)| len.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).unwrap();
    Some(Request { method: method.to_owned(), target: target.to_owned(), headers, body })
}
