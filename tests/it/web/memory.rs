//! Clients that ask for much and take nothing, at an exporter with the memory that a container has: it lives, and a
//! scraper that reads has its answer.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::host::fake::script;
use crate::support::exposition::Samples;
use crate::support::machine::skip;
use crate::support::memory::{MemoryGroup, SHIPPED, peak};
use crate::support::process::{Running, command};
use crate::support::web::{Authority, PATIENCE, Session, tls_client, tls_connect};

/// As many as make an exposition of more than 10 MB.
pub(crate) const BACKUPS: u64 = 7000;
const EXPOSITION: usize = 10_000_000;

/// What pgBackRest prints for one stanza with many backups.
pub(crate) fn info() -> String {
    let mut backups = String::new();
    for number in 0..BACKUPS {
        let at = 1_700_000_000 + number * 3600;
        let label = chrono::DateTime::from_timestamp(at.cast_signed(), 0).unwrap().format("%Y%m%d-%H%M%SF");
        let comma = if number == 0 { "" } else { "," };
        write!(
            backups,
            r#"{comma}{{"archive":{{"start":"0000000100000000{number:08X}","stop":"0000000100000000{number:08X}"}},
            "backrest":{{"format":5,"version":"2.55.1"}},"database":{{"id":1,"repo-key":1}},"error":false,
            "info":{{"delta":1,"repository":{{"delta":1,"size":1}},"size":1}},"label":"{label}","prior":null,"reference":null,
            "timestamp":{{"start":{at},"stop":{at}}},"type":"full"}}"#
        )
        .unwrap();
    }
    let status = r#"{"code":0,"lock":{"backup":{"held":false}},"message":"ok"}"#;
    format!(
        r#"[{{"archive":[],"backup":[{backups}],"cipher":"none","db":[{{"id":1,"repo-key":1,"system-id":7,"version":"15"}}],
        "name":"db","repo":[{{"cipher":"none","key":1,"status":{{"code":0,"message":"ok"}}}}],"status":{status}}}]"#
    )
}

struct Exporter {
    process: Running,
    group: MemoryGroup,
    address: SocketAddr,
    _directory: TempDir,
}

impl Exporter {
    /// None where memory cannot be limited.
    fn start(test: &str, web_config: Option<&str>) -> Option<Self> {
        let group = MemoryGroup::create(SHIPPED).map_err(|missing| skip(test, missing)).ok()?;
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("info.json"), info()).unwrap();
        let body = format!(
            "case \"$*\" in *version*) echo pgBackRest 2.55.1 ;; *) exec cat {} ;; esac",
            path("info.json").display()
        );
        let fake = script(directory.path(), "pgbackrest", &body);
        let mut program = command(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        program
            .args(["exporter", "--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .args(["--collect.interval=1h", "--collector.wal=false"])
            .arg(format!("--backrest.binary={}", fake.display()));
        if let Some(text) = web_config {
            fs::write(path("web.yml"), text).unwrap();
            program.arg(format!("--web.config.file={}", path("web.yml").display()));
        }
        let log = path("log");
        let mut process = Running::start("exporter", group.wrap(&program), &log, Signal::SIGTERM);
        let address = process.wait_in_log("the exporter's address", |log| {
            let mut lines =
                log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            lines.find_map(|line| line.get("address")?.as_str()?.parse().ok())
        });
        process.wait_in_log("a collection", |log| log.contains("Detected pgBackRest version").then_some(()));
        Some(Self { process, group, address, _directory: directory })
    }

    fn assert_alive(mut self, what: &str) {
        assert!(self.process.ended().is_none(), "{}", self.process.log());
        assert_eq!(self.group.kills(), 0);
        let peak = peak(self.process.id());
        println!("{what}: {peak} MiB at most");
        assert!(peak < SHIPPED >> 20, "{peak} MiB");
    }
}

/// A scrape from an address of this host. Only a whole exposition counts.
async fn scrape(address: SocketAddr, from: &str) -> Option<String> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let stream = socket.connect(address).await.ok()?;
    let answer = Session::http1(stream).await.ok()?.ask("/metrics", &[]).await.ok()?;
    (answer.status == StatusCode::OK && answer.body.len() > EXPOSITION).then_some(answer.body)
}

/// The same until it succeeds.
async fn served(address: SocketAddr, from: &str) -> String {
    let until_served = async {
        loop {
            if let Some(exposition) = scrape(address, from).await {
                return exposition;
            }
        }
    };
    timeout(PATIENCE, until_served).await.expect("a scrape gets through")
}

/// Begins to read an answer, and then stops. None if the connection was closed for another one.
async fn ask_without_reading(address: SocketAddr, encoding: &str) -> Option<(StatusCode, TcpStream)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: x\r\naccept-encoding: {encoding}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut line = [0; "HTTP/1.1 200".len()];
    timeout(PATIENCE, stream.read_exact(&mut line)).await.expect("an answer or an end").ok()?;
    Some((StatusCode::from_bytes(&line["HTTP/1.1 ".len()..]).unwrap(), stream))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_that_do_not_read_keep_nobody_out() {
    let test = "two_hundred_clients_that_do_not_read_keep_nobody_out";
    let Some(exporter) = Exporter::start(test, None) else { return };
    let address = exporter.address;
    served(address, "127.0.0.1").await;
    for encoding in ["identity", "gzip"] {
        let answered = join_all((0..200).map(|_| ask_without_reading(address, encoding))).await;
        let mut deaf: Vec<_> = answered.into_iter().flatten().collect();
        deaf.retain(|(status, _)| *status == StatusCode::OK);
        assert!(deaf.len() > 20, "some have begun");
        // A request that was refused does not mean that the memory is full: requests that come together keep each other out,
        // and connections that are closing still use some.
        let full = async {
            loop {
                for _ in 0..200 {
                    match ask_without_reading(address, encoding).await {
                        Some(answer) if answer.0 == StatusCode::OK => deaf.push(answer),
                        _ => break,
                    }
                }
                let other = served(address, "127.0.0.2").await;
                if Samples::parse(&other).value("pgbackrest_exporter_responses_cut_total", &[]) > 0.0 {
                    break;
                }
            }
        };
        timeout(PATIENCE, full).await.expect("some make room for another address");
        // One from the same address is served when one that does not read has been cut.
        let began = Instant::now();
        served(address, "127.0.0.1").await;
        println!("{encoding}: served after {:?}", began.elapsed());
        drop(deaf);
    }
    exporter.assert_alive("200 clients that do not read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_without_a_window_keep_nobody_out() {
    let test = "streams_without_a_window_keep_nobody_out";
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let keys = tempfile::tempdir().unwrap();
    fs::write(keys.path().join("server.crt"), &issued.certificate_pem).unwrap();
    fs::write(keys.path().join("server.key"), &issued.key_pem).unwrap();
    let place = |name: &str| keys.path().join(name).display().to_string();
    let config = format!(
        "tls_server_config:\n  cert_file: {}\n  key_file: {}\n",
        place("server.crt"),
        place("server.key")
    );
    let Some(exporter) = Exporter::start(test, Some(&config)) else { return };
    let address = exporter.address;
    let client = || tls_client(&authority, None, &["h2"]);
    let whole = async || {
        let stream = tls_connect(address, client()).await.ok()?;
        let answer = Session::http2(stream).await.ok()?.ask("/metrics", &[]).await.ok()?;
        (answer.status == StatusCode::OK).then_some(answer.body.len())
    };
    let ready = async { while whole().await.is_none_or(|length| length < EXPOSITION) {} };
    timeout(PATIENCE, ready).await.expect("an exposition of 10 MB");
    let mut deaf = Vec::new();
    for number in 0..100 {
        let stream = tls_connect(address, client()).await.unwrap();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(0).initial_connection_window_size(65_535);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let encoding = if number % 2 == 0 { "gzip" } else { "identity" };
        let responses = (0..32).map(|_| {
            let mut sender = sender.clone();
            async move {
                let request = Request::get("https://localhost/metrics").header("accept-encoding", encoding);
                let request = request.body(Empty::<Bytes>::new()).unwrap();
                timeout(PATIENCE, sender.send_request(request)).await.expect("an answer or an end").ok()
            }
        });
        let answered = join_all(responses).await;
        deaf.push((sender, answered));
    }
    let begun = deaf.iter().flat_map(|(_, answered)| answered.iter().flatten());
    let begun = begun.filter(|response| response.status() == StatusCode::OK).count();
    assert!(begun > 100, "{begun} have begun");
    let served = async { while whole().await.is_none() {} };
    timeout(PATIENCE, served).await.expect("a scrape gets through");
    println!("{begun} of 3200 had begun");
    // Those that are left take the rest of what they asked for, or its end.
    if let Some((_, answered)) = deaf.pop() {
        for response in answered.into_iter().flatten() {
            drop(response.into_body().frame());
        }
    }
    exporter.assert_alive("100 connections with 32 streams that do not read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_requests_that_do_not_end_keep_nobody_out() {
    let test = "huge_requests_that_do_not_end_keep_nobody_out";
    let Some(exporter) = Exporter::start(test, None) else { return };
    let address = exporter.address;
    let filler = format!("x-filler: {}\r\n", "a".repeat(30_000));
    let head = format!("POST /-/reload HTTP/1.1\r\nhost: x\r\n{filler}");
    let slow = join_all((0..500).map(|number| {
        let head = &head;
        async move {
            let mut stream = TcpStream::connect(address).await.ok()?;
            // Headers without an end, and bodies without one.
            let rest = if number % 2 == 0 { "" } else { "content-length: 60000\r\n\r\nx" };
            stream.write_all(format!("{head}{rest}").as_bytes()).await.ok()?;
            Some(stream)
        }
    }));
    let slow = slow.await;
    served(address, "127.0.0.1").await;
    drop(slow);
    exporter.assert_alive("500 requests that do not end");
}
