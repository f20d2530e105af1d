//! Our client with an API server that rejects requests, disconnects or does not respond.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, PostParams};
use pgbackrest_keeper::kubernetes::client::{
    CALL_DEADLINE, CallError, CallFailure, ConnectOptions, call, connect,
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::fake_api::{Answer, FakeApi, client, kubeconfig};
use crate::support::web::PATIENCE;

/// What reading a ConfigMap leads to.
async fn read(api: &FakeApi) -> Result<ConfigMap, CallError> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client(api.address).await);
    call("get ConfigMap a", CALL_DEADLINE, maps.get("a")).await
}

#[tokio::test]
async fn every_refusal_has_its_name_and_is_asked_for_once() {
    let plain = |code, text| Answer::http(code, "text/plain", text);
    let cases = [
        (Answer::status(400, "BadRequest", "no such field"), CallFailure::Invalid, false),
        (Answer::status(401, "Unauthorized", "Unauthorized"), CallFailure::Forbidden, false),
        (Answer::status(403, "Forbidden", "cannot get resource"), CallFailure::Forbidden, false),
        (Answer::status(404, "NotFound", "not found"), CallFailure::NotFound, false),
        (plain(404, "404 page not found\n"), CallFailure::NotFound, false),
        (Answer::status(405, "MethodNotAllowed", "no"), CallFailure::Other, false),
        (Answer::status(409, "Conflict", "has been modified"), CallFailure::Conflict, true),
        (Answer::status(409, "AlreadyExists", "there is one"), CallFailure::AlreadyExists, false),
        (Answer::status(422, "Invalid", "spec.schedule: Invalid value"), CallFailure::Invalid, false),
        (Answer::status(429, "TooManyRequests", "later"), CallFailure::Throttled, true),
        (plain(429, "slow down"), CallFailure::Throttled, true),
        (Answer::status(500, "InternalError", "etcdserver: no leader"), CallFailure::Unavailable, true),
        (plain(502, "<html>Bad Gateway</html>"), CallFailure::Unavailable, true),
        (Answer::status(503, "ServiceUnavailable", "later"), CallFailure::Unavailable, true),
        (plain(503, ""), CallFailure::Unavailable, true),
        (Answer::status(504, "Timeout", "request did not complete"), CallFailure::Unavailable, true),
        (Answer::closing(), CallFailure::Transport, true),
        (Answer::http(200, "application/json", "{}").cut_off(1), CallFailure::Transport, true),
        (Answer::http(200, "application/json", "{}").cut_off(10), CallFailure::Transport, true),
        (Answer::http(200, "text/html", "<html>log in</html>"), CallFailure::Other, false),
    ];
    for (number, (answer, failure, retryable)) in cases.into_iter().enumerate() {
        let api = FakeApi::start(answer).await;
        let error = timeout(PATIENCE, read(&api)).await.unwrap().unwrap_err();
        assert_eq!(error.failure, failure, "{number}: {error}");
        assert_eq!(error.is_retryable(), retryable, "{number}: {error}");
        assert_eq!(error.is_not_found(), failure == CallFailure::NotFound);
        assert!(error.to_string().starts_with("get ConfigMap a: "), "{number}: {error}");
        assert_eq!(api.requests().len(), 1, "{number}: {:?}", api.requests());
    }
}

#[tokio::test]
async fn a_write_is_sent_once_too() {
    for answer in [
        Answer::closing(),
        Answer::status(429, "TooManyRequests", "later"),
        Answer::status(503, "ServiceUnavailable", "later"),
    ] {
        let api = FakeApi::start(answer).await;
        let maps: Api<ConfigMap> = Api::default_namespaced(client(api.address).await);
        let map = ConfigMap::default();
        let params = PostParams::default();
        let error = call("create ConfigMap", CALL_DEADLINE, maps.create(&params, &map)).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert_eq!(api.requests().len(), 1);
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline_and_the_connection_with_it() {
    // Nothing at all, and a body that never comes to its end.
    let half = Answer::http(200, "application/json", "{}");
    for answer in [Answer::silence(), half.never_ending()] {
        let api = FakeApi::start(answer).await;
        let maps: Api<ConfigMap> = Api::default_namespaced(client(api.address).await);
        let (began, deadline) = (Instant::now(), Duration::from_secs(2));
        let asked = timeout(PATIENCE, call("get ConfigMap a", deadline, maps.get("a")));
        let error = asked.await.expect("an end").unwrap_err();
        assert!(began.elapsed() >= deadline);
        assert_eq!((error.failure, error.is_retryable()), (CallFailure::Timeout, true));
        assert_eq!(error.to_string(), "get ConfigMap a: no response within 2s");
        assert_eq!(api.requests().len(), 1);
        timeout(PATIENCE, api.is_left()).await.expect("the connection is closed");
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_a_transport_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let maps: Api<ConfigMap> = Api::default_namespaced(client(address).await);
    let error = call("get ConfigMap a", CALL_DEADLINE, maps.get("a")).await.unwrap_err();
    assert_eq!(error.failure, CallFailure::Transport);
    assert!(error.message.to_lowercase().contains("refused"), "the cause is told: {error}");
}

#[tokio::test]
async fn the_program_says_who_it_is_and_what_it_may() {
    let api = FakeApi::start(Answer::http(200, "application/json", "{}")).await;
    read(&api).await.unwrap();
    let requests = api.requests();
    let agent = format!("user-agent: pgbackrest-keeper/{}\r\n", env!("CARGO_PKG_VERSION"));
    assert!(requests[0].contains(&agent), "{requests:?}");
    assert!(requests[0].contains("authorization: bearer hunter2\r\n"), "{requests:?}");
    assert!(requests[0].starts_with("get /api/v1/namespaces/shop/configmaps/a "), "{requests:?}");
}

#[tokio::test]
async fn what_a_server_says_is_told_on_one_short_line() {
    let endless = "Grüße\r\n\t\u{1b}[31m".repeat(10_000);
    for answer in [Answer::status(422, "Invalid", &endless), Answer::http(502, "text/html", &endless)] {
        let api = FakeApi::start(answer).await;
        let error = read(&api).await.unwrap_err().to_string();
        assert!(error.contains("Grüße"), "{error}");
        assert!(!error.contains(char::is_control), "{error:?}");
        assert!(error.chars().count() <= 600, "{}", error.len());
    }
}

#[tokio::test]
async fn what_cannot_be_understood_is_not_quoted() {
    // As a Secret may look that another version of Kubernetes answers.
    let body = json!({"data": {"key": "hunter2, which is no base64"}}).to_string();
    let api = FakeApi::start(Answer::http(200, "application/json", &body)).await;
    let secrets: Api<Secret> = Api::default_namespaced(client(api.address).await);
    let error = call("get Secret a", CALL_DEADLINE, secrets.get("a")).await.unwrap_err();
    assert_eq!(error.failure, CallFailure::Other);
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_kubeconfig_that_is_of_no_use_is_told_without_what_is_in_it() {
    let (directory, file) = kubeconfig(([127, 0, 0, 1], 1).into());
    let absent = connect_to(directory.path().join("absent"), None).await.unwrap_err();
    assert!(absent.contains("absent") && absent.contains("No such file"), "{absent}");
    let other = connect_to(file.clone(), Some("other")).await.unwrap_err();
    assert!(other.ends_with(": failed to load current context: other"), "{other}");

    let written = |text: &str| {
        let file = directory.path().join("written");
        std::fs::write(&file, text).unwrap();
        connect_to(file, None)
    };
    let broken = written("users: [{name: a, user: {token: hunter2, impersonate: [}}]\n").await.unwrap_err();
    assert!(broken.ends_with(": the kubeconfig is invalid at line 1, column 55"), "{broken}");
    for user in ["[token, hunter2]", "hunter2", "{token: {hunter2: 1}}", "{exec: hunter2}"] {
        let wrong = written(&format!("users: [{{name: a, user: {user}}}]\n")).await.unwrap_err();
        assert!(wrong.contains("the kubeconfig is invalid at line 1"), "{wrong}");
        assert!(!wrong.contains("hunter2") && !wrong.contains('\n'), "{wrong}");
    }
}

#[tokio::test]
async fn what_a_credential_plugin_printed_is_not_told() {
    let (directory, file) = kubeconfig(([127, 0, 0, 1], 1).into());
    let text = std::fs::read_to_string(&file).unwrap();
    for (script, told) in [
        ("echo '{\"status\": {\"token\": hunter2'", "the credential plugin printed invalid output"),
        ("echo hunter2; exit 3", "the credential plugin exited with exit status: 3"),
    ] {
        let exec = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh",
            "args": ["-c", script], "interactiveMode": "Never"}});
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config["users"][0]["user"] = exec;
        let file = directory.path().join("with-plugin");
        std::fs::write(&file, config.to_string()).unwrap();
        let error = connect_to(file, None).await.unwrap_err();
        assert!(error.contains(told), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn the_password_of_a_proxy_is_not_told() {
    let (directory, file) = kubeconfig(([127, 0, 0, 1], 1).into());
    let text = std::fs::read_to_string(file).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["clusters"][0]["cluster"]["proxy-url"] = json!("http://me:hunter2@proxy.example:3128");
    let file = directory.path().join("with-proxy");
    std::fs::write(&file, config.to_string()).unwrap();
    let error = connect_to(file, None).await.unwrap_err();
    assert!(error.contains("proxy.example") && error.contains("not supported"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

async fn connect_to(file: PathBuf, context: Option<&str>) -> Result<(), String> {
    let options = ConnectOptions { kubeconfig: Some(file), context: context.map(str::to_owned) };
    connect(&options).await.map(drop).map_err(|error| error.to_string())
}
