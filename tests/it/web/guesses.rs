//! Floods of guesses at the real program: none delays a right password that it has not seen before by more than a few checks.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::process::{Running, command};
use crate::support::web::{Answer, PATIENCE, Session};
use crate::web::tls_auth::basic;

/// Each check takes some milliseconds, so that guesses are faster.
const COST: u32 = 8;

/// An exporter that requires a password, and its address.
fn start(directory: &Path, more: &str) -> (Running, SocketAddr) {
    let hash = bcrypt::hash("wonder:land", COST).unwrap();
    let web = directory.join("web.yml");
    std::fs::write(&web, format!("basic_auth_users:\n  alice: {hash}\n{more}")).unwrap();
    let mut exporter = command(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    exporter
        .args([
            "exporter",
            "--web.listen-address=127.0.0.1:0",
            "--log.format=json",
            "--backrest.binary=/nonexistent",
        ])
        .arg(format!("--web.config.file={}", web.display()));
    let mut process = Running::start("exporter", exporter, &directory.join("log"), Signal::SIGTERM);
    let address = process.wait_in_log("the exporter's address", |log| {
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.find_map(|line| line.get("address")?.as_str()?.parse().ok())
    });
    (process, address)
}

/// A connection of a client with this address.
async fn connect(from: &str, to: SocketAddr) -> Option<Session> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    Session::http1(socket.connect(to).await.ok()?).await.ok()
}

async fn ask(session: &mut Session, password: &str) -> Option<Answer> {
    let header = basic("alice", password);
    session.ask("/metrics", &[("authorization", &header)]).await.ok()
}

/// Clients that guess without end, until dropped.
struct Flood {
    _tasks: JoinSet<()>,
    /// Guesses that were checked.
    refused: Arc<AtomicUsize>,
}

impl Flood {
    async fn start(from: &'static str, to: SocketAddr, clients: usize) -> Self {
        let refused = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let refused = Arc::clone(&refused);
            tasks.spawn(async move {
                let mut guess = 0_usize;
                loop {
                    let Some(mut session) = connect(from, to).await else { continue };
                    while let Some(answer) = ask(&mut session, &format!("{client}-{guess}")).await {
                        guess += 1;
                        assert_ne!(answer.status, StatusCode::OK);
                        if answer.status == StatusCode::UNAUTHORIZED {
                            refused.fetch_add(1, Ordering::Relaxed);
                        } else {
                            // One that was turned away leaves the processor to others.
                            sleep(Duration::from_millis(20)).await;
                        }
                    }
                }
            });
        }
        let flood = Self { _tasks: tasks, refused };
        flood.until(8).await;
        flood
    }

    fn checked(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Waits until so many guesses were checked.
    async fn until(&self, checked: usize) {
        timeout(PATIENCE, async {
            while self.checked() < checked {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("guesses are checked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_elsewhere_delay_a_right_password_by_few_checks() {
    let directory = TempDir::new().unwrap();
    let (_exporter, address) = start(directory.path(), "");
    let flood = Flood::start("127.0.0.1", address, 200).await;
    let mut session = connect("127.0.0.2", address).await.unwrap();
    let before = flood.checked();
    let answer = ask(&mut session, "wonder:land").await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    // One may be under way, one may take its turn, and answers are counted later than they are given.
    assert!(flood.checked() - before <= 8, "{} guesses came first", flood.checked() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_the_same_address_wait_in_the_same_line() {
    let directory = TempDir::new().unwrap();
    let (_exporter, address) = start(directory.path(), "");
    let flood = Flood::start("127.0.0.1", address, 64).await;
    let mut session = connect("127.0.0.1", address).await.unwrap();
    let before = flood.checked();
    let answer = ask(&mut session, "wonder:land").await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert!(flood.checked() - before <= 64 + 8, "{} guesses came first", flood.checked() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_guesses_than_fit_turn_a_right_password_away_once() {
    let directory = TempDir::new().unwrap();
    let (_exporter, address) = start(directory.path(), "");
    let flood = Flood::start("127.0.0.1", address, 300).await;
    let mut tries = 0;
    let accepted = loop {
        tries += 1;
        let mut session = connect("127.0.0.1", address).await.unwrap();
        let before = flood.checked();
        let answer = ask(&mut session, "wonder:land").await.unwrap();
        match answer.status {
            StatusCode::OK => break flood.checked() - before,
            StatusCode::SERVICE_UNAVAILABLE => assert!(answer.headers.contains_key("retry-after")),
            other => panic!("{other}"),
        }
    };
    assert!(tries <= 3 && accepted <= 128 + 8, "{tries} tries, {accepted} guesses came first");
    // From now on it costs nothing.
    let mut session = connect("127.0.0.1", address).await.unwrap();
    let before = flood.checked();
    assert_eq!(ask(&mut session, "wonder:land").await.unwrap().status, StatusCode::OK);
    assert!(flood.checked() - before <= 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_take_nobody_elses_tokens() {
    let directory = TempDir::new().unwrap();
    let (_exporter, address) = start(directory.path(), "rate_limit:\n  interval: 1h\n  burst: 4\n");
    let mut guesser = connect("127.0.0.1", address).await.unwrap();
    for number in 0..8 {
        let status = ask(&mut guesser, &number.to_string()).await.unwrap().status;
        assert_eq!(status, if number < 4 { StatusCode::UNAUTHORIZED } else { StatusCode::TOO_MANY_REQUESTS });
    }
    let mut session = connect("127.0.0.2", address).await.unwrap();
    assert_eq!(ask(&mut session, "wonder:land").await.unwrap().status, StatusCode::OK);
}
