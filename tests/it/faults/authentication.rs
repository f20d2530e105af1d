//! Ways past a password.

use super::exporter::Context;
use super::secure::{PASSWORD, Secure};
use super::{Elsewhere, Group, Row};
use crate::web::tls_auth::basic;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A request and its headers, each with its line end.
pub(crate) struct Request(&'static str, fn() -> String);

const CLOSED: &str = "nothing is served but 401, 400 or 404";

static ROWS: [Row<Request>; 24] = [
    row("No password", "GET /metrics", String::new),
    row("An empty header", "GET /metrics", || header("")),
    row("A scheme alone", "GET /metrics", || header("Basic")),
    row("Another scheme", "GET /metrics", || header("Bearer wonder:land")),
    row("The password as it is, not encoded", "GET /metrics", || header("Basic alice:wonder:land")),
    row("Base64 that is none", "GET /metrics", || header("Basic %%%=")),
    row("Base64 of bytes that are no UTF-8", "GET /metrics", || header("Basic //79/Q==")),
    row("No colon", "GET /metrics", || encoded(b"alice")),
    row("No user", "GET /metrics", || encoded(b":wonder:land")),
    row("No password after the user", "GET /metrics", || encoded(b"alice:")),
    row("A user who is unknown", "GET /metrics", || header(&basic("mallory", PASSWORD))),
    row("A user in capital letters", "GET /metrics", || header(&basic("ALICE", PASSWORD))),
    row("NUL behind the password", "GET /metrics", || encoded(b"alice:wonder:land\0")),
    row("A space behind the password", "GET /metrics", || header(&basic("alice", "wonder:land "))),
    row("The hash as the password", "GET /metrics", || header(&basic("alice", "$2y$04$"))),
    row("A password of twenty kilobytes", "GET /metrics", || header(&basic("alice", &"x".repeat(14 << 10)))),
    row("Two headers, the second of which is right", "GET /metrics", || {
        format!("{}{}", header(&basic("alice", "wrong")), Secure::password())
    }),
    row("A password in the address", "GET https://alice:wonder%3Aland@localhost/metrics", String::new),
    row("A probe's path in front", "GET /healthz/../metrics", String::new),
    row("A probe's path behind", "GET /metrics/healthz", String::new),
    row("Two slashes", "GET //metrics", String::new),
    row("An encoded slash", "GET /%2fmetrics", String::new),
    row("A header that names another path", "GET /metrics", || {
        "x-original-url: /healthz\r\nx-forwarded-for: 127.0.0.1\r\n".into()
    }),
    row("The log filter without a password", "PUT /-/log-filter", || "content-length: 0\r\n".into()),
];

const fn row(fault: &'static str, request: &'static str, headers: fn() -> String) -> Row<Request> {
    Row { fault, holds: CLOSED, inject: Request(request, headers) }
}

fn header(value: &str) -> String {
    format!("authorization: {value}\r\n")
}

fn encoded(pair: &[u8]) -> String {
    header(&format!("Basic {}", STANDARD.encode(pair)))
}

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere(
        "Requests to reload and to change the log filter, which are not enabled",
        "there are no such pages",
        "host::exporter::endpoints_answer_and_the_end_is_orderly",
    ),
    Elsewhere(
        "The web configuration without its end, at every length",
        "no door opens",
        "crate::http::web_config::reload::tests::a_file_without_its_end_opens_nothing",
    ),
    Elsewhere(
        "Guesses of two hundred clients from elsewhere",
        "a right password waits for few checks",
        "web::guesses::guesses_from_elsewhere_delay_a_right_password_by_few_checks",
    ),
    Elsewhere(
        "More guesses than fit, from the same address",
        "a right password is let in at its second try",
        "web::guesses::more_guesses_than_fit_turn_a_right_password_away_once",
    ),
    Elsewhere(
        "Guesses use up tokens of the rate limit",
        "not those of others",
        "web::guesses::guesses_take_nobody_elses_tokens",
    ),
    Elsewhere(
        "Guesses at names of users",
        "an unknown user takes as long as a wrong password",
        "crate::http::auth::tests::a_remembered_password_is_quick_and_an_unknown_user_slow",
    ),
];

pub(crate) fn group() -> Group {
    Group::new("Authentication", &ROWS, ELSEWHERE)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_door_opens() {
    let server = Secure::start();
    server.is_closed().await;
    for row in &ROWS {
        let _context = Context(row.fault);
        let Request(request, headers) = &row.inject;
        let status = server.ask(request, &headers()).await;
        assert!([400, 401, 404].contains(&status), "{}: {status}", row.fault);
    }
    a_file_without_its_end_opens_nothing(&server).await;
    server.is_closed().await;
    server.stop();
}

/// Each beginning of the web configuration is read again by the running program.
async fn a_file_without_its_end_opens_nothing(server: &Secure) {
    for length in (0..server.usual.len()).step_by(5) {
        server.write("web.yml", &server.usual[..length]);
        let is_taken = server.reload().await;
        assert_eq!(server.ask("GET /metrics", "").await, 401, "{length} bytes, taken: {is_taken}");
        server.heal();
        assert!(server.reload().await, "after {length} bytes");
    }
}
