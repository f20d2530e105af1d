//! Clients that are slow, greedy, many or broken, against a real server: none of them may harm the others.

use std::process::Stdio;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use futures_util::future::join_all;
use pgbackrest_keeper::http::limits::ServerLimits;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::web::{HOUR, PATIENCE, Server, Session, ask, raw, rest};

/// None is reached here. Each test shortens the one that it is about, which so is what ends things within [`PATIENCE`].
fn limits() -> ServerLimits {
    ServerLimits {
        connections: 64,
        admission: HOUR,
        handshake: HOUR,
        idle: HOUR,
        request: HOUR,
        write_stall: HOUR,
        response: HOUR,
        drain: HOUR,
        config_check: HOUR,
        ..ServerLimits::default()
    }
}

#[tokio::test]
async fn a_header_that_never_ends_is_cut() {
    let server = Server::start(None, ServerLimits { idle: Duration::from_millis(500), ..limits() }).await;
    assert_eq!(raw(server.address, b"").await, "");
    assert_eq!(raw(server.address, b"GET /metrics HTTP/1.1\r\nhost: x\r\n").await, "");
    // A byte now and then does not buy more time.
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    stream.write_all(b"GET /metrics HTTP/1.1\r\n").await.expect("written");
    let dripping = async {
        while stream.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, dripping).await.expect("it is cut");
    server.stop().await;
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let server = Server::start(None, limits()).await;
    let stream = TcpStream::connect(server.address).await.expect("connected");
    let mut session = Session::http1(stream).await.expect("session");
    for _ in 0..3 {
        assert_eq!(session.ask("/metrics", &[]).await.expect("answer").body, "up 1\n");
    }
    server.stop().await;
    let server = Server::start(None, ServerLimits { idle: Duration::from_millis(500), ..limits() }).await;
    // It is closed after an answer. A busy machine may need several tries to ask before that.
    let usual = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    let answered =
        async { while !raw(server.address, usual.as_bytes()).await.starts_with("HTTP/1.1 200") {} };
    timeout(PATIENCE, answered).await.expect("an answer");
    server.stop().await;
}

#[tokio::test]
async fn a_request_names_one_host() {
    let server = Server::start(None, limits()).await;
    for (request, status) in [
        ("GET /metrics HTTP/1.1\r\nconnection: close\r\n\r\n", "400"),
        ("GET /metrics HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n", "400"),
        ("GET /metrics HTTP/1.0\r\n\r\n", "200"),
    ] {
        let answer = raw(server.address, request.as_bytes()).await;
        assert_eq!(answer.get(9..12), Some(status), "{request:?}: {answer:.80}");
    }
    server.stop().await;
}

#[tokio::test]
async fn huge_headers_are_answered_with_431() {
    let server = Server::start(None, limits()).await;
    let long = format!("GET /metrics HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(1024 * 1024));
    let answer = raw(server.address, long.as_bytes()).await;
    // The rest of what was sent may meet a closed socket and take the answer with it.
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let fitting = format!("GET /metrics HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(40 * 1024));
    assert!(raw(server.address, fitting.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let many = format!("GET /metrics HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    assert!(raw(server.address, many.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let usual = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(raw(server.address, usual.as_bytes()).await.starts_with("HTTP/1.1 200"));
    server.stop().await;
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_time() {
    let server = Server::start(None, limits()).await;
    let post = |length: usize, body: &str| {
        format!(
            "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    assert!(raw(server.address, post(3, "abc").as_bytes()).await.ends_with("\r\n\r\nabc"));
    assert!(raw(server.address, post(1 << 30, "abc").as_bytes()).await.starts_with("HTTP/1.1 413"));
    // Without a length, counted as it comes.
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(2)
    );
    let answer = raw(server.address, chunked.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    server.stop().await;
    let request = Duration::from_millis(500);
    let server = Server::start(None, ServerLimits { request, ..limits() }).await;
    let start = Instant::now();
    assert!(raw(server.address, post(100, "slow").as_bytes()).await.starts_with("HTTP/1.1 503"));
    assert!(start.elapsed() >= request);
    server.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_hangs_or_panics_is_answered_for() {
    // What answers at once is looked at before the time is.
    let server = Server::start(None, ServerLimits { request: Duration::from_millis(500), ..limits() }).await;
    assert_eq!(ask(server.address, "/endless", &[]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(server.address, "/panic", &[]).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(ask(server.address, "/no-such-page", &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask(server.address, "/metrics", &[]).await.status, StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_place() {
    let one = ServerLimits { connections: 1, write_stall: Duration::from_millis(300), ..limits() };
    let server = Server::start(None, one).await;
    let mut deaf = TcpStream::connect(server.address).await.expect("connected");
    deaf.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("asked");
    timeout(PATIENCE, deaf.read_u8()).await.expect("in time").expect("the answer begins");
    assert_eq!(ask(server.address, "/metrics", &[]).await.status, StatusCode::OK);
    drop(deaf);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_drop_by_drop_loses_its_place() {
    let one = ServerLimits { connections: 1, response: Duration::from_millis(400), ..limits() };
    let server = Server::start(None, one).await;
    let start = Instant::now();
    let mut slow = TcpStream::connect(server.address).await.expect("connected");
    slow.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("asked");
    timeout(PATIENCE, slow.read_u8()).await.expect("in time").expect("the answer begins");
    let hurry = CancellationToken::new();
    let reading = tokio::spawn({
        let hurry = hurry.clone();
        async move {
            let mut some = vec![0; 128 * 1024];
            let mut total = 0;
            while let Ok(read @ 1..) = slow.read(&mut some).await {
                total += read;
                // For the whole response this takes longer than anybody waits.
                let _ = timeout(Duration::from_millis(200), hurry.cancelled()).await;
            }
            total
        }
    });
    assert_eq!(ask(server.address, "/metrics", &[]).await.status, StatusCode::OK);
    assert!(start.elapsed() > Duration::from_millis(300), "the reader had its time: {:?}", start.elapsed());
    hurry.cancel();
    let total = timeout(PATIENCE, reading).await.expect("ended").expect("no panic");
    assert!(total < 2_000 * 64 * 1024, "the response was cut");
    server.stop().await;
}

#[tokio::test]
async fn where_all_work_one_more_is_turned_away() {
    let two = ServerLimits { connections: 2, admission: Duration::from_millis(200), ..limits() };
    let server = Server::start(None, two).await;
    let address = server.address;
    let working = [tokio::spawn(ask(address, "/slow", &[])), tokio::spawn(ask(address, "/slow", &[]))];
    server.until_working(2).await;
    assert_eq!(raw(address, b"").await, "", "closed without an answer");
    server.let_go();
    for done in working {
        assert_eq!(done.await.expect("no panic").body, "done\n");
    }
    // Now there is room, though a busy machine may not make it within the limit at the first try.
    let usual = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answered = async { while !raw(address, usual.as_bytes()).await.starts_with("HTTP/1.1 200") {} };
    timeout(PATIENCE, answered).await.expect("an answer");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_connections_do_not_keep_a_scrape_out() {
    let server = Server::start(None, limits()).await;
    let connections = join_all((0..2_000).map(|_| TcpStream::connect(server.address)));
    let opening = tokio::spawn(timeout(PATIENCE, connections));
    // One that rests before it asks may be pushed out itself.
    let scrape = async || {
        let stream = TcpStream::connect(server.address).await.ok()?;
        Session::http1(stream).await.ok()?.ask("/metrics", &[]).await.ok()
    };
    for _ in 0..5 {
        let answered = async { while scrape().await.is_none() {} };
        timeout(PATIENCE, answered).await.expect("a scrape gets through");
    }
    let opened = opening.await.expect("no panic").expect("opened in time");
    assert!(opened.iter().filter(|stream| stream.is_ok()).count() > 1_000);
    // With all of them still open, and with none.
    assert_eq!(ask(server.address, "/metrics", &[]).await.status, StatusCode::OK);
    drop(opened);
    assert_eq!(ask(server.address, "/metrics", &[]).await.status, StatusCode::OK);
    server.stop().await;
}

/// Runs itself again as a process with few file descriptors, which serves while this one connects too often.
#[tokio::test]
async fn running_out_of_file_descriptors_ends_nothing() {
    const ROLE: &str = "KEEPER_TEST_FEW_DESCRIPTORS";
    const DESCRIPTORS: usize = 48;
    if std::env::var_os(ROLE).is_some() {
        let many = ServerLimits { connections: 10_000, ..limits() };
        let server = Server::start(None, many).await;
        println!("\naddress {}", server.address);
        // Standard input ends when the other process has seen enough, or is gone.
        let wait = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        tokio::task::spawn_blocking(wait).await.expect("no panic").expect("standard input");
        server.stop().await;
        return;
    }
    // Without the name of the crate.
    let name =
        concat!(module_path!(), "::running_out_of_file_descriptors_ends_nothing").split_once("::").unwrap().1;
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$0\" --exact \"$1\" --nocapture")])
        .arg(std::env::current_exe().expect("own path"))
        .arg(name)
        .env(ROLE, "server")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let address = loop {
        let line =
            timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("read").expect("address");
        if let Some(address) = line.strip_prefix("address ") {
            break address.parse().expect("address");
        }
    };
    let greedy = join_all((0..300).map(|_| TcpStream::connect(address))).await;
    assert!(greedy.iter().all(Result::is_ok), "the system keeps them until they are accepted");
    let open = format!("/proc/{}/fd", child.id().expect("it runs"));
    let used_up = async {
        while std::fs::read_dir(&open).expect("it runs").count() < DESCRIPTORS {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, used_up).await.expect("it has run out");
    drop(greedy);
    for _ in 0..3 {
        assert_eq!(ask(address, "/metrics", &[]).await.status, StatusCode::OK);
    }
    drop(child.stdin.take());
    let ended = timeout(PATIENCE, child.wait()).await.expect("in time").expect("waited for");
    assert!(ended.success(), "the server ended by itself: {ended}");
}

#[tokio::test]
async fn requests_in_flight_are_answered_at_shutdown() {
    let server = Server::start(None, limits()).await;
    let address = server.address;
    let idle = TcpStream::connect(address).await.expect("connected");
    let in_flight = tokio::spawn(ask(address, "/slow", &[]));
    server.until_working(1).await;
    server.stop_before_it_answers().await;
    assert_eq!(in_flight.await.expect("no panic").body, "done\n");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    drop(idle);
}

#[tokio::test]
async fn shutdown_waits_only_so_long() {
    let server = Server::start(None, ServerLimits { drain: Duration::from_millis(200), ..limits() }).await;
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("asked");
    server.until_working(1).await;
    server.stop().await;
    assert_eq!(rest(&mut stream).await, "", "the connection is cut");
}

#[tokio::test]
async fn http2_needs_tls() {
    let server = Server::start(None, limits()).await;
    let stream = TcpStream::connect(server.address).await.expect("connected");
    let answer = match Session::http2(stream).await {
        Ok(mut session) => session.ask("/metrics", &[]).await,
        Err(error) => Err(error),
    };
    assert!(answer.is_err(), "{answer:?}");
    server.stop().await;
}
