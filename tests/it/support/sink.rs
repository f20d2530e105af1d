//! A server of webhooks and heartbeats on a free port of 127.0.0.1, which answers as it is told.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::web::Issued;

/// How long a client may take to send its request.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is answered from now on.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Status(u16),
    /// 302 to this URL.
    Redirect(String),
    /// Nothing, on a connection that stays open.
    Hang,
    /// 200, and a body that does not end.
    Endless,
    /// This status, and a body of which only a part arrives before the connection is reset.
    CutOff(u16),
    /// This status, and a body of which only a part arrives, on a connection that stays open.
    Stalled(u16),
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
struct Shared {
    answer: Mutex<Answer>,
    received: Mutex<Vec<Received>>,
    stops: AtomicBool,
}

pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Answers with 200.
    pub(crate) fn start() -> Self {
        Self::with(None)
    }

    /// The same with TLS.
    pub(crate) fn with_certificate(issued: &Issued) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(vec![issued.certificate()], issued.key());
        Self::with(Some(Arc::new(config.unwrap())))
    }

    fn with(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answer: Mutex::new(Answer::Status(200)),
            received: Mutex::default(),
            stops: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(&listener, tls.as_ref(), &own));
        Self { address, shared, thread: Some(thread) }
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.shared.answer.lock() = answer;
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().clone()
    }

    /// Those to one path.
    pub(crate) fn at(&self, path: &str) -> Vec<Received> {
        self.received().into_iter().filter(|request| request.path == path).collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::Release);
        // Wakes up who waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, tls: Option<&Arc<ServerConfig>>, shared: &Arc<Shared>) {
    let mut held: Vec<TcpStream> = Vec::new();
    for stream in listener.incoming() {
        if shared.stops.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        held.extend(stream.try_clone());
        let socket = stream.try_clone();
        // Whatever goes wrong is the client's doing, such as not to trust the certificate.
        let ended = match tls {
            None => exchange(stream, shared),
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                exchange(StreamOwned::new(connection, stream), shared)
            }
        };
        if matches!(ended, Ok(Answer::Hang | Answer::Stalled(_))) {
            continue;
        }
        if let (Ok(Answer::CutOff(_)), Ok(socket)) = (ended, socket) {
            socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        }
        held.pop();
    }
}

fn exchange(stream: impl Read + Write, shared: &Shared) -> io::Result<Answer> {
    let mut stream = BufReader::new(stream);
    let request = request(&mut stream)?;
    shared.received.lock().push(request);
    let answer = shared.answer.lock().clone();
    let stream = stream.get_mut();
    match &answer {
        Answer::Status(code) => {
            write!(stream, "HTTP/1.1 {code} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
        }
        Answer::Redirect(url) => {
            write!(
                stream,
                "HTTP/1.1 302 Found\r\nlocation: {url}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )?;
        }
        Answer::Hang => return Ok(answer),
        Answer::CutOff(code) | Answer::Stalled(code) => {
            write!(stream, "HTTP/1.1 {code} X\r\ncontent-length: 100\r\n\r\nx")?;
        }
        Answer::Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            // Until the client has enough.
            while stream.write_all(&[b'x'; 8192]).is_ok() {}
        }
    }
    stream.flush()?;
    Ok(answer)
}

fn request(stream: &mut impl io::BufRead) -> io::Result<Received> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, path) = (word(), word());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    if method.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let length = headers.get("content-length").map_or(0, |length: &String| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Received { method, path, headers, body })
}
