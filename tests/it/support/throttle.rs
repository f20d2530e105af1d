//! A network between a client and a server that lets only so many bytes per second through to the client.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Bytes that are passed on at once.
const CHUNK: usize = 32 << 10;
/// As fast as the machine is.
pub(crate) const UNLIMITED: u64 = u64::MAX;

pub(crate) struct Throttle {
    /// On 127.0.0.1.
    pub(crate) port: u16,
    pace: Arc<Pace>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What all connections share.
struct Pace {
    bytes_per_second: AtomicU64,
    /// When the next bytes are due.
    next: Mutex<Instant>,
}

impl Throttle {
    /// In front of a port on 127.0.0.1, without a limit at first.
    pub(crate) fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let pace =
            Arc::new(Pace { bytes_per_second: AtomicU64::new(UNLIMITED), next: Mutex::new(Instant::now()) });
        let ended = Arc::new(AtomicBool::new(false));
        let (shared, told) = (Arc::clone(&pace), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            for client in listener.incoming() {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let server = TcpStream::connect(("127.0.0.1", server));
                // Whoever is cut off tries again.
                let _ = client.and_then(|client| connect(client, server?, &shared));
            }
        });
        Self { port, pace, ended, thread: Some(thread) }
    }

    pub(crate) fn limit(&self, bytes_per_second: u64) {
        self.pace.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The thread waits for a connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Both directions end when one of the peers goes.
fn connect(client: TcpStream, server: TcpStream, pace: &Arc<Pace>) -> io::Result<()> {
    let (mut asks, mut answers) = (client.try_clone()?, server.try_clone()?);
    let (mut asked, mut answered, pace) = (server, client, Arc::clone(pace));
    thread::spawn(move || {
        let _ = io::copy(&mut asks, &mut asked);
        let _ = asked.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let _ = pace.copy(&mut answers, &mut answered);
        let _ = answered.shutdown(Shutdown::Both);
    });
    Ok(())
}

impl Pace {
    fn copy(&self, from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = from.read(&mut chunk)?;
            if length == 0 {
                return Ok(());
            }
            thread::sleep(self.reserve(length).saturating_duration_since(Instant::now()));
            to.write_all(&chunk[..length])?;
        }
    }

    /// When these bytes are due.
    fn reserve(&self, length: usize) -> Instant {
        let rate = self.bytes_per_second.load(Ordering::Relaxed);
        let mut next = self.next.lock();
        let due = (*next).max(Instant::now());
        *next = due + Duration::from_secs_f64(length as f64 / rate as f64);
        due
    }
}
