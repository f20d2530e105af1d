//! TLS and HTTP/2 as nobody should speak them, and certificates that break while they are in use.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::exporter::{Context, remove};
use super::secure::{Secure, TLS};
use super::{Elsewhere, Group, Row};
use crate::support::web::{PATIENCE, rest, tls_client, tls_connect};

/// What a client does.
pub(crate) enum Client {
    /// It sends these bytes instead of a handshake.
    Handshake(fn() -> Vec<u8>),
    /// After a handshake for HTTP/2 and the preface, it sends these bytes so many times, and does not read.
    Frames(fn() -> Vec<u8>, usize),
    /// It changes files, and lets them be read again.
    Reload(fn(&Secure)),
}

const CLOSED: &str = "the connection is closed, and others are served";
const KEPT: &str = "the reload is refused, and the certificate before it is served";

static ROWS: [Row<Client>; 27] = [
    shake("Bytes at random in place of a handshake", || (0..=255).cycle().take(8192).collect()),
    shake("A hello of SSL 2", || [&[0x80, 0x2e, 1, 0, 2][..], &[0; 43]].concat()),
    shake("A hello of TLS 1.0", || hello([3, 1])),
    shake("A hello of a version that is none", || hello([9, 9])),
    shake("A record that claims 65535 bytes", || [&[0x16, 3, 1, 0xff, 0xff][..], &[1; 70_000]].concat()),
    shake("A thousand empty records", || [0x16, 3, 1, 0, 0].repeat(1000)),
    shake("An alert at once", || vec![0x15, 3, 1, 0, 2, 2, 40]),
    shake("A heartbeat (Heartbleed)", || vec![0x18, 3, 2, 0, 3, 1, 0x40, 0]),
    shake("Data before the handshake", || [&[0x17, 3, 3, 0x10, 0][..], &[7; 4096]].concat()),
    frames("Ten thousand streams that are reset at once (rapid reset)", reset_streams, 1),
    frames("Headers that go on without end (CONTINUATION flood)", || frame(9, 0, 1, &[0; 16_384]), 2000),
    frames("A hundred thousand pings", || frame(6, 0, 0, &[0; 8]).repeat(1000), 100),
    frames("A hundred thousand settings", || frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(1000), 100),
    frames("Fifty thousand priorities", || frame(2, 0, 3, &[0, 0, 0, 0, 16]).repeat(1000), 50),
    frames("Fifty thousand frames that are unknown", || frame(99, 0, 0, &[0; 8]).repeat(1000), 50),
    frames("A window beyond 31 bits", || frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), 3),
    frames(
        "A frame that claims 16 MiB",
        || [&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1][..], &[0; 100_000]].concat(),
        1,
    ),
    frames("Headers on an even stream", || headers(2), 2),
    frames("Data on a stream that was never opened", || frame(0, 0, 77, b"x"), 2),
    frames("Headers that refer to a long one a thousand times (HPACK bomb)", bomb, 1),
    frames("A preface in the middle", || PREFACE.to_vec(), 2),
    reload("The certificate is cut off", |it| it.write("server.crt", "-----BEGIN CERTIFICATE-----\nMIIB")),
    reload("The key is of another certificate", |it| {
        it.write("server.key", it.authority.issue(&["localhost"]).key_pem);
    }),
    reload("The key is empty", |it| it.write("server.key", "")),
    reload("The certificate disappears", |it| remove(&it.directory.path().join("server.crt"))),
    reload("The list of client certificates is none", |it| {
        it.write(
            "web.yml",
            it.usual.replace(
                TLS,
                &format!("{TLS}  client_ca_file: web.yml\n  client_auth_type: RequireAndVerifyClientCert\n"),
            ),
        );
    }),
    reload("TLS is taken out of the configuration", |it| it.write("web.yml", it.usual.replace(TLS, ""))),
];

const fn shake(fault: &'static str, bytes: fn() -> Vec<u8>) -> Row<Client> {
    Row { fault, holds: CLOSED, inject: Client::Handshake(bytes) }
}

const fn frames(fault: &'static str, bytes: fn() -> Vec<u8>, times: usize) -> Row<Client> {
    let holds = "others are served, memory stays below the limit, and nothing of it is left";
    Row { fault, holds, inject: Client::Frames(bytes, times) }
}

const fn reload(fault: &'static str, change: fn(&Secure)) -> Row<Client> {
    Row { fault, holds: KEPT, inject: Client::Reload(change) }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// `GET https://localhost/`, whole.
fn headers(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, b"\x82\x87\x84\x41\x09localhost")
}

/// Ten thousand requests, each of which is taken back.
fn reset_streams() -> Vec<u8> {
    (0..10_000)
        .flat_map(|number| [headers(2 * number + 1), frame(3, 0, 2 * number + 1, &[0, 0, 0, 8])].concat())
        .collect()
}

/// One long value for the table of the connection, which then is referred to.
fn bomb() -> Vec<u8> {
    let long =
        [b"\x82\x87\x84\x41\x09localhost\x40\x01x\x7f\xa1\x1e".as_slice(), &[b'y'; 4000], &[0xbe; 1000]]
            .concat();
    (0..100).flat_map(|number| frame(1, 5, 2 * number + 1, &long)).collect()
}

fn hello(version: [u8; 2]) -> Vec<u8> {
    let body = [&version[..], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
    let length = u8::try_from(body.len()).unwrap();
    [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
}

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere(
        "HTTP without TLS to a port with TLS",
        "it is told what to do",
        "web::tls_auth::plain_http_to_a_tls_port_is_explained",
    ),
    Elsewhere(
        "A handshake stops half way",
        "it is cut",
        "web::tls_auth::a_handshake_that_stops_half_way_is_cut",
    ),
    Elsewhere(
        "A client of HTTP/2 that stays awake but does not read",
        "it loses its place",
        "web::tls_auth::an_http2_client_that_stays_awake_but_does_not_read_loses_its_place",
    ),
    Elsewhere(
        "Client certificates of another authority, or none",
        "no one is let in",
        "web::tls_auth::client_certificates_are_asked_for_as_configured",
    ),
    Elsewhere(
        "A client certificate with another name",
        "no one is let in",
        "web::tls_auth::client_certificates_need_an_allowed_name",
    ),
    Elsewhere(
        "Old versions and suites",
        "they are not spoken",
        "web::tls_auth::versions_and_suites_are_as_configured",
    ),
    Elsewhere(
        "Every kind of certificate that the Go exporter takes",
        "the same are let in",
        "web::certificates::clients_are_let_in_with_every_certificate_that_go_lets_in",
    ),
];

pub(crate) fn group() -> Group {
    Group::new("TLS", &ROWS, ELSEWHERE)
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_handshakes_and_frames_harm_nobody() {
    let server = Arc::new(Secure::start());
    server.is_closed().await;
    let files = server.metric("process_open_fds").await;
    let mut clients = JoinSet::new();
    for row in &ROWS {
        let server = Arc::clone(&server);
        clients.spawn(async move {
            let _context = Context(row.fault);
            match &row.inject {
                Client::Handshake(bytes) => is_closed_for(&server, &bytes()).await,
                Client::Frames(bytes, times) => flood(&server, &bytes(), *times).await,
                Client::Reload(_) => {}
            }
        });
    }
    // Meanwhile others are served.
    while !clients.is_empty() {
        server.is_closed().await;
        while let Some(ended) = clients.try_join_next() {
            ended.unwrap();
        }
        sleep(Duration::from_millis(20)).await;
    }
    server.has_left(files + 4.0).await;
    for row in &ROWS {
        let Client::Reload(change) = &row.inject else { continue };
        let _context = Context(row.fault);
        change(&server);
        assert!(!server.reload().await, "{} is taken", row.fault);
        server.is_closed().await;
        server.heal();
        assert!(server.reload().await, "after {}", row.fault);
    }
    server.is_closed().await;
    Arc::into_inner(server).expect("no client is left").stop();
}

async fn is_closed_for(server: &Secure, bytes: &[u8]) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let answer = rest(&mut stream).await;
    assert!(!answer.contains("200"), "{answer:?}");
}

async fn flood(server: &Secure, bytes: &[u8], times: usize) {
    let client = tls_client(&server.authority, None, &["h2"]);
    let mut stream = tls_connect(server.address, client).await.expect("a handshake");
    let begin = [PREFACE, &frame(4, 0, 0, &[]), &frame(1, 1, 1, b"\x82\x87\x84\x41\x09localhost")];
    // With the first headers open, only some frames may follow.
    let begin = if bytes[3] == 9 { begin.concat() } else { begin[..2].concat() };
    let flooding = async {
        stream.write_all(&begin).await?;
        for _ in 0..times {
            stream.write_all(bytes).await?;
        }
        stream.flush().await
    };
    // What the server does not read any more holds up the client alone.
    let _ = timeout(Duration::from_secs(10), flooding).await;
    drop(stream);
    timeout(PATIENCE, server.is_closed()).await.expect("others are served");
}
