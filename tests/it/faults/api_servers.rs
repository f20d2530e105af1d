//! API servers that refuse, hang or say something else. `info` and the operator ask each.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::exporter::Context;
use super::program::{limited, run};
use super::{Elsewhere, Group, MEMORY_LIMIT, Row};
use crate::support::fake_api::{Answer, FakeApi, kubeconfig};
use crate::support::http;
use crate::support::process::{Running, command, is_alive, wait_for};
use crate::support::web::PATIENCE;

/// What each request is answered with.
pub(crate) struct Answers(fn() -> Answer);

const TOLD: &str =
    "`info` ends with the reason; the operator is alive, not ready, and ends when it is told to";

static ROWS: [Row<Answers>; 20] = [
    row("It closes each connection", Answer::closing),
    row("It takes each request and is silent", Answer::silence),
    row("It sends everything but the last byte", || list("postgresqlList").never_ending()),
    row("It closes in the middle of an answer", || list("postgresqlList").cut_off(20)),
    row("It has an internal error (500)", || {
        Answer::status(500, "InternalError", "etcdserver: request timed out")
    }),
    row("It is overloaded (429)", || {
        Answer::status(429, "TooManyRequests", "too many requests, please try again later")
    }),
    row("It is not available (503)", || Answer::status(503, "ServiceUnavailable", "not yet")),
    row("It does not know who we are (401)", || Answer::status(401, "Unauthorized", "Unauthorized")),
    row("It forbids everything (403)", || Answer::status(403, "Forbidden", "forbidden: no")),
    row("It has no such kind (404)", || Answer::http(404, "text/plain", "404 page not found\n")),
    row("The version is gone (410)", || Answer::status(410, "Expired", "The resourceVersion is too old")),
    row("Everything is a conflict (409)", || Answer::status(409, "Conflict", "the object has been modified")),
    row("It is a proxy with a page of HTML", || {
        Answer::http(200, "text/html", "<html><body>Sign in</body></html>")
    }),
    row("It leads elsewhere (302)", || Answer::http(302, "text/plain", "elsewhere")),
    row("It answers with nothing", || Answer::http(200, "application/json", "")),
    row("It answers with another kind", || list("PodList")),
    row("It answers with JSON that is cut off", || {
        Answer::http(200, "application/json", "{\"kind\":\"postgresqlList\",\"items\":[{")
    }),
    row("It answers with JSON that is nested without end", || {
        Answer::http(200, "application/json", &"[".repeat(1 << 20))
    }),
    row("It answers with terminal escapes", || Answer::status(500, "\u{1b}[2J", "\u{1b}]0;x\u{7}\u{202e}")),
    row("It answers with a megabyte of reason", || {
        Answer::status(500, "InternalError", &"x".repeat(1 << 20))
    }),
];

const fn row(fault: &'static str, answer: fn() -> Answer) -> Row<Answers> {
    Row { fault, holds: TOLD, inject: Answers(answer) }
}

/// Items that are nothing, without a version of the list.
fn list(kind: &str) -> Answer {
    Answer::http(
        200,
        "application/json",
        &json!({"kind": kind, "apiVersion": "v1", "items": [{}, {"metadata": null}]}).to_string(),
    )
}

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere(
        "A refusal of any kind",
        "it is asked once, and told by its name",
        "kubernetes::client::every_refusal_has_its_name_and_is_asked_for_once",
    ),
    Elsewhere(
        "It is silent after a write",
        "the pass ends within its deadline",
        "kubernetes::apply_faults::silence_ends_the_pass_within_the_deadline",
    ),
    Elsewhere(
        "The connection to a command is lost",
        "this is no exit code",
        "kubernetes::exec::a_lost_connection_is_no_exit_code",
    ),
    Elsewhere(
        "The status of a command is missing, cut off or of another kind",
        "only a status tells an exit code",
        "kubernetes::exec::only_the_status_tells_an_exit_code",
    ),
    Elsewhere(
        "A command is silent",
        "it ends at the deadline",
        "kubernetes::exec::silence_ends_at_the_deadline_and_the_connection_with_it",
    ),
    Elsewhere(
        "The leader cannot renew its Lease",
        "it stops before another starts",
        "kubernetes::lease::a_leader_that_cannot_renew_stops_before_another_starts",
    ),
    Elsewhere(
        "A real API server is killed and comes back",
        "another replica goes on",
        "operator::process::replicas::another_replica_goes_on_and_outlives_the_api_server",
    ),
    Elsewhere(
        "A real API server is gone when the operator is to end",
        "it ends",
        "operator::process::replicas::it_ends_while_the_api_server_is_gone",
    ),
    Elsewhere(
        "A webhook is down for one object",
        "all others are written",
        "kubernetes::apply_faults::a_webhook_that_is_down_for_one_object_stops_no_other",
    ),
    Elsewhere(
        "A watch lags behind",
        "it causes no request and no second write",
        "kubernetes::apply_faults::keeping::a_watch_that_is_behind_causes_no_request",
    ),
];

pub(crate) fn group() -> Group {
    Group::new("API servers", &ROWS, ELSEWHERE)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_api_server_says_is_told() {
    if limited("whatever_an_api_server_says_is_told").is_none() {
        return;
    }
    let mut rows = JoinSet::new();
    // A few at a time: each starts two programs.
    let permits = Arc::new(tokio::sync::Semaphore::new(6));
    for row in &ROWS {
        let permits = Arc::clone(&permits);
        rows.spawn(async move {
            let _permit = permits.acquire_owned().await.unwrap();
            let _context = Context(row.fault);
            hold(row).await;
        });
    }
    while let Some(ended) = rows.join_next().await {
        ended.unwrap();
    }
}

async fn hold(row: &'static Row<Answers>) {
    let api = Arc::new(FakeApi::start((row.inject.0)()).await);
    let (directory, file) = kubeconfig(api.address);
    let of_info = file.clone();
    let told = spawn_blocking(move || {
        let mut info: Command = limited(row.fault).expect("it was there before");
        run(info.args(["info", "--namespaces=shop"]).arg(format!("--kubeconfig={}", of_info.display())))
    });
    let told = timeout(PATIENCE, told).await.expect("an end of info").unwrap();
    assert_eq!(told.code, Some(1), "{}: {told:?}", row.fault);
    let all = told.stdout + &told.stderr;
    assert!(!all.is_empty() && all.len() < 4000, "{}: {all:.2000}", row.fault);
    assert!(!all.contains("hunter2") && !all.contains('\u{1b}'), "{}: {all:.2000}", row.fault);
    // The operator gets SIGTERM when the thread that started it ends.
    let operator = spawn_blocking(move || {
        let before = api.requests().len();
        let (operator, address) = start_operator(directory.path(), &file);
        wait_for("requests", || (api.requests().len() > before).then_some(()));
        end_operator(operator, &address);
    });
    operator.await.unwrap();
}

fn start_operator(directory: &Path, kubeconfig: &Path) -> (Running, String) {
    let mut program = command(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    program
        .args(["operator", "--web.listen-address=127.0.0.1:0", "--log.format=json"])
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .envs([("POD_NAME", "pgbackrest-keeper-operator-1-2"), ("POD_NAMESPACE", "shop")]);
    let mut operator = Running::start("operator", program, &directory.join("log"), Signal::SIGTERM);
    let address = operator.wait_in_log("the operator's address", |log| {
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find_map(|line| Some(line.get("address")?.as_str()?.to_owned()))
    });
    (operator, address)
}

fn end_operator(mut operator: Running, address: &str) {
    let status = |path: &str| http::get(&format!("http://{address}{path}"), &[]).unwrap().status.as_u16();
    assert_eq!(
        (status("/healthz"), status("/readyz"), status("/metrics")),
        (200, 503, 200),
        "{}",
        operator.log()
    );
    let id = operator.id().cast_signed();
    let peak = procfs::process::Process::new(id).unwrap().status().unwrap().vmhwm.unwrap() << 10;
    assert!(peak < MEMORY_LIMIT, "{peak} bytes of memory");
    operator.signal_group(Signal::SIGTERM);
    assert_eq!(operator.wait().code(), Some(0), "{}", operator.log());
    assert!(!is_alive(id));
    let log = operator.log();
    assert!(!log.contains("panicked") && !log.contains("hunter2") && !log.contains('\u{1b}'), "{log:.4000}");
}
