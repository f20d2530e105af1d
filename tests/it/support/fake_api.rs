//! A fake API server on 127.0.0.1 with correct and incorrect responses, and our client for it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use pgbackrest_keeper::kubernetes::client::{ConnectOptions, connect};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A kubeconfig file for an API server without TLS. The directory holds it.
pub(crate) fn kubeconfig(address: SocketAddr) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kubeconfig");
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "fake", "user": {"token": "hunter2"}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake", "namespace": "shop"}}],
        "current-context": "fake",
    });
    std::fs::write(&file, text.to_string()).unwrap();
    (directory, file)
}

/// Our own client, made as the program makes it.
pub(crate) async fn client(address: SocketAddr) -> kube::Client {
    let (_directory, file) = kubeconfig(address);
    connect(&ConnectOptions { kubeconfig: Some(file), context: None }).await.unwrap()
}

/// What is sent as soon as a request is there, byte for byte.
#[derive(Clone)]
pub(crate) struct Answer {
    bytes: Vec<u8>,
    closes: bool,
}

impl Answer {
    /// A whole answer.
    pub(crate) fn http(code: u16, kind: &str, body: &str) -> Self {
        let head =
            format!("HTTP/1.1 {code} Code\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
        Self { bytes: (head + body).into_bytes(), closes: false }
    }

    /// `kind: Status`, as the real one refuses.
    pub(crate) fn status(code: u16, reason: &str, message: &str) -> Self {
        let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": reason, "message": message});
        Self::http(code, "application/json", &body.to_string())
    }

    /// The request is taken, and that is all.
    pub(crate) fn silence() -> Self {
        Self { bytes: Vec::new(), closes: false }
    }

    /// The connection is closed instead.
    pub(crate) fn closing() -> Self {
        Self { bytes: Vec::new(), closes: true }
    }

    /// The answer without its last byte.
    pub(crate) fn never_ending(mut self) -> Self {
        self.bytes.pop();
        self
    }

    /// The answer without its last bytes, then the connection is closed.
    pub(crate) fn cut_off(mut self, bytes: usize) -> Self {
        self.bytes.truncate(self.bytes.len() - bytes);
        Self { closes: true, ..self }
    }
}

/// Answers every request in the same way, and counts.
pub(crate) struct FakeApi {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    open: watch::Sender<usize>,
    accepting: JoinHandle<()>,
}

impl FakeApi {
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let open = watch::Sender::new(0);
        let (seen, counts) = (Arc::clone(&requests), open.clone());
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counts.send_modify(|open| *open += 1);
                let (answer, seen, counts) = (answer.clone(), Arc::clone(&seen), counts.clone());
                tokio::spawn(async move {
                    // A client that goes away is looked for by the tests, not an error of this server.
                    let _ = serve(stream, &answer, &seen).await;
                    counts.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { address, requests, open, accepting }
    }

    /// The heads of all requests, in lower case.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until nobody is connected.
    pub(crate) async fn is_left(&self) {
        self.open.subscribe().wait_for(|open| *open == 0).await.unwrap();
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, answer: &Answer, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await?;
        seen.lock().unwrap().push(head);
        stream.write_all(&answer.bytes).await?;
        if answer.closes {
            return Ok(());
        }
    }
}
