//! An exporter with TLS and passwords, and clients that know what to send.

use std::fs;
use std::net::SocketAddr;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use super::MEMORY_LIMIT;
use crate::support::process::{Running, command};
use crate::support::web::{Authority, Issued, PATIENCE, rest, tls_client, tls_connect};
use crate::web::tls_auth::{basic, user};

/// What the fixtures of the web configuration are called there.
pub(crate) const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
pub(crate) const PASSWORD: &str = "wonder:land";

pub(crate) struct Secure {
    process: Running,
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) directory: TempDir,
    /// The whole web configuration.
    pub(crate) usual: String,
    issued: Issued,
}

impl Secure {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let issued = authority.issue(&["localhost"]);
        let usual = format!("{}{TLS}", user("alice", PASSWORD));
        let web = directory.path().join("web.yml");
        write_files(&directory, &usual, &issued);
        let mut command = command(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        command
            .args([
                "exporter",
                "--web.listen-address=127.0.0.1:0",
                "--log.format=json",
                "--web.enable-lifecycle",
            ])
            .args(["--backrest.binary=/nonexistent", "--collect.interval=1h"])
            .arg(format!("--web.config.file={}", web.display()));
        let mut process = Running::start("exporter", command, &directory.path().join("log"), Signal::SIGTERM);
        let address = process.wait_in_log("the exporter's address", |log| {
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find_map(|line| line.get("address")?.as_str()?.parse().ok())
        });
        Self { process, address, authority, directory, usual, issued }
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let draft = self.directory.path().join(format!("{name}.new"));
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.directory.path().join(name)).unwrap();
    }

    /// All files as at the start.
    pub(crate) fn heal(&self) {
        write_files(&self.directory, &self.usual, &self.issued);
    }

    /// Sends bytes over TLS and reads until the server closes.
    pub(crate) async fn send(&self, bytes: &[u8]) -> String {
        let client = tls_client(&self.authority, None, &["http/1.1"]);
        let mut stream = tls_connect(self.address, client).await.expect("a handshake");
        // It may have answered and closed before it has all.
        let _ = stream.write_all(bytes).await;
        rest(&mut stream).await
    }

    /// The status of the answer to a request with these headers, each with its line end; 0 if there is none.
    pub(crate) async fn ask(&self, request: &str, headers: &str) -> u16 {
        let text = format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
        let answer = self.send(text.as_bytes()).await;
        answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The header with the right password.
    pub(crate) fn password() -> String {
        format!("authorization: {}\r\n", basic("alice", PASSWORD))
    }

    /// Whether it took what is in the files.
    pub(crate) async fn reload(&self) -> bool {
        self.ask("POST /-/reload", &Self::password()).await == 200
    }

    /// With the password everything is served, and without it nothing but the probes.
    pub(crate) async fn is_closed(&self) {
        assert_eq!(self.ask("GET /metrics", &Self::password()).await, 200);
        assert_eq!(self.ask("GET /healthz", "").await, 200);
        for request in ["GET /", "GET /metrics", "POST /-/reload"] {
            assert_eq!(self.ask(request, "").await, 401, "{request}");
        }
    }

    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = format!(
            "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}\r\n",
            Self::password()
        );
        let answer = self.send(text.as_bytes()).await;
        let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name}: {answer:.300}"))
    }

    /// Waits until it has no more files open than so many.
    pub(crate) async fn has_left(&self, files: f64) {
        let closed = async {
            while self.metric("process_open_fds").await > files {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.expect("connections are closed");
    }

    /// Ends it, and checks that it never took too much memory and never panicked.
    pub(crate) fn stop(mut self) {
        let process = procfs::process::Process::new(self.process.id().cast_signed()).unwrap();
        let peak = process.status().unwrap().vmhwm.unwrap() << 10;
        assert!(peak < MEMORY_LIMIT, "{peak} bytes of memory");
        self.process.signal_group(Signal::SIGTERM);
        assert_eq!(self.process.wait().code(), Some(0), "{}", self.process.log());
        assert!(!self.process.log().contains("panicked"), "{}", self.process.log());
    }
}

fn write_files(directory: &TempDir, web: &str, issued: &Issued) {
    for (name, text) in
        [("server.crt", &*issued.certificate_pem), ("server.key", &*issued.key_pem), ("web.yml", web)]
    {
        let path = directory.path().join(name);
        super::exporter::remove(&path);
        fs::write(path, text).unwrap();
    }
}
