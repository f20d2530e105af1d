//! Stands between Prometheus and the exporter and asks for the classic format, which Prometheus before 2.49 cannot
//! be told to ask for.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::{io, thread};

use super::exporter::CLASSIC;
use super::http;

pub(crate) struct Relay {
    pub(crate) address: String,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Answers every request with what `exporter` serves on /metrics in the classic format.
    pub(crate) fn start(exporter: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let url = format!("http://{exporter}/metrics");
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            for connection in listener.incoming() {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                // Prometheus sees an answer that breaks off as a failed scrape, which the test would find.
                let _ = connection.and_then(|connection| answer(connection, &url));
            }
        });
        Self { address, ended, thread: Some(thread) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The thread waits for a connection.
        let _ = TcpStream::connect(&self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn answer(mut connection: TcpStream, url: &str) -> io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && connection.read(&mut byte)? == 1 {
        request.push(byte[0]);
    }
    let scraped = http::get(url, &[("accept", CLASSIC)]).map_err(io::Error::other)?;
    write!(
        connection,
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        scraped.status,
        scraped.header("content-type"),
        scraped.body.len()
    )?;
    connection.write_all(&scraped.body)
}
