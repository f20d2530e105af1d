//! Requests that are none, byte for byte.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::exporter::{Context, Exporter};
use super::{Elsewhere, Group, Row};

/// What is sent, and the beginnings of what may be answered; an empty one stands for a connection that is closed.
pub(crate) struct Sent(fn() -> Vec<u8>, &'static [&'static str]);

const OK: &str = "HTTP/1.1 200 ";
const BAD: &str = "HTTP/1.1 400 ";
const NOT_FOUND: &str = "HTTP/1.1 404 ";
const WRONG_METHOD: &str = "HTTP/1.1 405 ";
const TOO_LONG: &str = "HTTP/1.1 414 ";
const TOO_LARGE: &str = "HTTP/1.1 431 ";
/// A server may close where it answers that a request is none.
const NO: &[&str] = &[BAD, ""];

static ROWS: [Row<Sent>; 29] = [
    row("Bytes at random", "it is refused", || (0..=255).rev().cycle().take(4096).collect(), NO),
    row("A request line alone", "it is refused", || b"GET\r\n\r\n".to_vec(), NO),
    row("A version that is none", "it is refused", || b"GET / HTTP/9.9\r\nhost: x\r\n\r\n".to_vec(), NO),
    row("HTTP/0.9", "it is refused", || b"GET /metrics\r\n\r\n".to_vec(), NO),
    row(
        "A preface of HTTP/2 without TLS",
        "it is refused",
        || b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        NO,
    ),
    row("A method that is none", "it is refused", || request("BREW /metrics", ""), &[WRONG_METHOD]),
    row("A method in small letters", "it is refused", || request("get /metrics", ""), &[WRONG_METHOD]),
    row("`DELETE`", "it is refused", || request("DELETE /metrics", ""), &[WRONG_METHOD]),
    row(
        "`TRACE`",
        "it is refused, and nothing is echoed",
        || request("TRACE /metrics", "x-secret: s\r\n"),
        &[WRONG_METHOD],
    ),
    row(
        "`CONNECT`",
        "it is no proxy",
        || b"CONNECT other:443 HTTP/1.1\r\nhost: other:443\r\nconnection: close\r\n\r\n".to_vec(),
        &[NOT_FOUND, WRONG_METHOD, BAD, ""],
    ),
    row(
        "The address of another server",
        "it is no proxy: its own page",
        || request("GET http://other.example/metrics", ""),
        &[OK, BAD, NOT_FOUND],
    ),
    row("`..` in the path", "no file is served", || request("GET /../../../etc/passwd", ""), &[NOT_FOUND]),
    row(
        "Encoded `..` in the path",
        "no file is served",
        || request("GET /%2e%2e/%2e%2e/etc/passwd", ""),
        &[NOT_FOUND],
    ),
    row("NUL in the path", "it is refused", || request("GET /\0", ""), NO),
    row(
        "Bytes that are no UTF-8, encoded, in the query",
        "it is refused or a page",
        || request("GET /?stanza=%ff%00%c3", ""),
        &[OK, BAD],
    ),
    row(
        "Markup in the query",
        "the page has it as text",
        || request("GET /?stanza=<script>x</script>", ""),
        &[OK, BAD],
    ),
    row(
        "A path of a megabyte",
        "it is refused",
        || request(&format!("GET /{}", "x".repeat(1 << 20)), ""),
        &[TOO_LONG, TOO_LARGE, ""],
    ),
    row(
        "A header of a megabyte",
        "it is refused",
        || request("GET /metrics", &format!("x: {}\r\n", "x".repeat(1 << 20))),
        &[TOO_LARGE, ""],
    ),
    row(
        "A thousand headers",
        "it is refused",
        || request("GET /metrics", &"x: y\r\n".repeat(1000)),
        &[TOO_LARGE, ""],
    ),
    row("A header without a name", "it is refused", || request("GET /metrics", ": x\r\n"), NO),
    row(
        "A header that goes on in the next line",
        "it is refused or read",
        || request("GET /metrics", "x: y\r\n z\r\n"),
        &[OK, BAD, ""],
    ),
    row("NUL in a header", "it is refused", || request("GET /metrics", "x: a\0b\r\n"), NO),
    row(
        "Two lengths that differ",
        "it is refused",
        || request("POST /-/reload", "content-length: 1\r\ncontent-length: 2\r\n"),
        NO,
    ),
    row(
        "A length that is negative",
        "it is refused",
        || request("POST /-/reload", "content-length: -1\r\n"),
        NO,
    ),
    row(
        "A length beyond 64 bits",
        "it is refused",
        || request("POST /-/reload", "content-length: 99999999999999999999999\r\n"),
        &[BAD, "HTTP/1.1 413 ", ""],
    ),
    row(
        "A chunk whose size is no number",
        "it is refused",
        || {
            [request("PUT /-/log-filter", "transfer-encoding: chunked\r\n"), b"zz\r\nx\r\n0\r\n\r\n".to_vec()]
                .concat()
        },
        NO,
    ),
    row(
        "A chunk whose size is beyond 64 bits",
        "it is refused",
        || {
            [
                request("PUT /-/log-filter", "transfer-encoding: chunked\r\n"),
                b"fffffffffffffffff1\r\nx\r\n".to_vec(),
            ]
            .concat()
        },
        NO,
    ),
    row(
        "A length and chunks, with a request within (smuggling)",
        "what is within is no request",
        || {
            let hidden = b"0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: x\r\n\r\n";
            let head = format!(
                "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n",
                hidden.len()
            );
            [head.as_bytes(), hidden].concat()
        },
        &[WRONG_METHOD, BAD, ""],
    ),
    row(
        "An upgrade to something else",
        "it is an answer as always",
        || request("GET /healthz", "upgrade: h2c, websocket\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"),
        &[OK],
    ),
];

const fn row(
    fault: &'static str,
    holds: &'static str,
    bytes: fn() -> Vec<u8>,
    answers: &'static [&'static str],
) -> Row<Sent> {
    Row { fault, holds, inject: Sent(bytes, answers) }
}

/// A whole request, after which the server closes.
fn request(line: &str, headers: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n").into()
}

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere(
        "A header byte by byte, without end",
        "it is cut",
        "web::http_limits::a_header_that_never_ends_is_cut",
    ),
    Elsewhere(
        "Bodies that are too long or too slow",
        "they are refused",
        "web::http_limits::bodies_are_bounded_in_size_and_time",
    ),
    Elsewhere(
        "A client that does not read",
        "it loses its place",
        "web::http_limits::a_client_that_does_not_read_loses_its_place",
    ),
    Elsewhere(
        "A client that reads a drop at a time",
        "it loses its place",
        "web::http_limits::a_client_that_reads_drop_by_drop_loses_its_place",
    ),
    Elsewhere(
        "Two thousand connections",
        "a scrape is answered",
        "web::http_limits::two_thousand_connections_do_not_keep_a_scrape_out",
    ),
    Elsewhere("No Host, or two", "it is refused", "web::http_limits::a_request_names_one_host"),
    Elsewhere(
        "An endpoint hangs or panics",
        "it is answered for",
        "web::http_limits::an_endpoint_that_hangs_or_panics_is_answered_for",
    ),
    Elsewhere(
        "Requests are in flight at the end",
        "they are answered",
        "web::http_limits::requests_in_flight_are_answered_at_shutdown",
    ),
    Elsewhere(
        "Hostile text in every name",
        "pages show it as text",
        "web::page::hostile_text_is_shown_as_text",
    ),
    Elsewhere(
        "A webhook that hangs, redirects, refuses connections, sends an endless body or only a part of it, or has a certificate that cannot be verified",
        "other targets are still called, and no other URL is; only the status counts",
        "host::notifications::webhooks::nobody_waits_for_a_target_that_misbehaves",
    ),
    Elsewhere(
        "A webhook that answers with 500",
        "the same message is sent again until it is accepted",
        "host::notifications::webhooks::each_change_is_told_once_and_signed",
    ),
    Elsewhere(
        "More changes of state than the queue of a webhook holds",
        "no problem that lasts is lost: it is told once there is room",
        "host::notifications::webhooks::a_full_queue_loses_no_problem",
    ),
    Elsewhere(
        "A notification configuration that is reloaded again and again",
        "heartbeats are called and webhooks are told as usual",
        "host::notifications::refused::frequent_reloads_silence_nobody",
    ),
    Elsewhere(
        "An exporter that is killed before or after a webhook has accepted a message",
        "the next one tells what was not accepted, and nothing twice",
        "host::notifications::webhooks::a_killed_exporter_loses_and_repeats_nothing",
    ),
    Elsewhere(
        "Two exporters with one state directory that notify",
        "the second one does not start",
        "host::notifications::refused::a_state_directory_is_one_exporters",
    ),
    Elsewhere(
        "A stanza whose name has 70,000 characters",
        "heartbeats and webhooks about other stanzas are not affected",
        "host::notifications::heartbeats::a_name_that_is_too_long_affects_nobody_else",
    ),
    Elsewhere(
        "A record of what webhooks were told that cannot be read or written",
        "problems are told again",
        "host::notifications::webhooks::a_record_that_cannot_be_used_loses_nothing",
    ),
    Elsewhere(
        "A pgBackRest that no longer lists its stanzas",
        "no webhook is told that they are gone",
        "host::notifications::webhooks::a_stanza_that_cannot_be_listed_is_not_gone",
    ),
];

pub(crate) fn group() -> Group {
    Group::new("HTTP", &ROWS, ELSEWHERE)
}

#[test]
fn requests_that_are_none_harm_nobody() {
    let mut exporter = Exporter::start(&["--collect.timeout=1m"]);
    exporter.heal();
    thread::scope(|scope| {
        for row in &ROWS {
            scope.spawn(|| {
                let _context = Context(row.fault);
                let Sent(bytes, answers) = &row.inject;
                let answer = sent(exporter.address, &bytes());
                let fits = |begin: &&str| {
                    if begin.is_empty() { answer.is_empty() } else { answer.starts_with(begin) }
                };
                assert!(answers.iter().any(fits), "{}: {answer:.300}", row.fault);
                for never in ["root:", "<script>x", "x-secret"] {
                    assert!(!answer.contains(never), "{}: {answer:.300}", row.fault);
                }
                assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{}: {answer:.600}", row.fault);
            });
        }
        scope.spawn(|| many_answers_at_once(exporter.address));
        scope.spawn(|| connections_that_go_at_once(exporter.address));
    });
    exporter.heal();
    exporter.stop();
}

/// What a server answers until it closes, or pauses for long after an answer.
fn sent(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(2))).unwrap();
    // It may have answered and closed before it has all.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A thousand requests are sent before the first answer is read.
fn many_answers_at_once(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let sending = thread::spawn(move || {
        let _ = writer.write_all(&b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(999));
        let _ = writer.write_all(&request("GET /healthz", ""));
    });
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers);
    sending.join().unwrap();
    assert_eq!(String::from_utf8_lossy(&answers).matches(OK).count(), 1000);
}

fn connections_that_go_at_once(address: SocketAddr) {
    for _ in 0..300 {
        drop(TcpStream::connect(address).unwrap());
    }
}
