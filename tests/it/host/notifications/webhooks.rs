//! Webhooks: each change of state once, whatever the other side does.

use std::io::Write as _;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::trial::{DAY, KEY, TOKEN, Trial};
use crate::support::machine::{program, skip};
use crate::support::process::{call, wait_for};
use crate::support::sink::{Answer, Received, Sink};
use crate::support::web::Authority;

const FAILURES: &str = "pgbackrest_notification_failures_total";
const DELIVERIES: &str = "pgbackrest_notification_deliveries_total";

/// A heartbeat that shows that the states were judged.
fn clock(sink: &Sink) -> String {
    format!(
        "heartbeats:\n- name: clock\n  url: http://{}/clock\n  interval: 1s\n  services: [collection]\n",
        sink.address
    )
}

fn webhook(name: &str, url: &str, more: &str) -> String {
    format!("- {{name: {name}, url: \"{url}\", services: [backups], for: 0s, timeout: 2s{more}}}\n")
}

/// The states that were told, with those before: `CRITICAL after OK`.
fn told(requests: &[Received]) -> Vec<String> {
    let bodies = requests.iter().map(|request| serde_json::from_slice::<Value>(&request.body).unwrap());
    bodies
        .flat_map(|body| body["changes"].as_array().unwrap().clone())
        .map(|change| {
            assert_eq!(
                (&change["service"], &change["stanza"]),
                (&"backups".into(), &"demo".into()),
                "{change}"
            );
            let (status, previous) = (change["status"].as_str().unwrap(), change["previous"].as_str());
            format!("{status} after {}", previous.unwrap_or("nothing"))
        })
        .collect()
}

fn wait_for_told(sink: &Sink, path: &str, expected: &[&str]) {
    let what = format!("{expected:?}");
    wait_for(&what, || (told(&sink.at(path)) == expected).then_some(()));
}

#[test]
fn each_change_is_told_once_and_signed() {
    let (mut trial, sink) = (Trial::new(), Sink::start());
    let path = format!("/hook/{TOKEN}");
    let url = format!("http://{}{path}", sink.address);
    trial.start(&format!(
        "{}webhooks:\n{}{}",
        clock(&sink),
        webhook("pager", &url, ", hmac_key_file: key"),
        webhook("chat", &format!("http://{}/chat", sink.address), ", format: slack"),
    ));
    trial.wait_for_judgements();
    assert_eq!(told(&sink.at(&path)), [""; 0]);
    sink.answer(Answer::Status(500));
    trial.set_age(2 * DAY);
    trial.wait(FAILURES, &[("target", "pager"), ("reason", "status")], |failures| failures >= 2.0);
    trial.samples().assert("pgbackrest_notification_up", &[("target", "pager")], 0.0);
    trial.samples().assert("pgbackrest_notification_queue_length", &[("target", "pager")], 1.0);
    sink.answer(Answer::Status(204));
    trial.wait(DELIVERIES, &[("target", "pager")], |deliveries| deliveries >= 1.0);
    trial.wait(DELIVERIES, &[("target", "chat")], |deliveries| deliveries >= 1.0);
    trial.wait_for_judgements();
    // Those that were refused are the same message again.
    let requests = sink.at(&path);
    assert!(requests.len() >= 3 && requests.iter().all(|request| request.body == requests[0].body));
    assert_eq!(told(&requests[..1]), ["CRITICAL after OK"]);
    trial.samples().assert(DELIVERIES, &[("target", "pager")], 1.0);
    let body: Value = serde_json::from_slice(&requests[0].body).unwrap();
    let problem = &body["changes"][0]["problems"][0];
    assert_eq!(problem["alert"], "PgBackRestBackupStale", "{body}");
    assert!(problem["text"].as_str().unwrap().contains("demo repo1: the newest backup is 2 d old"), "{body}");
    let chat: Value = serde_json::from_slice(&sink.at("/chat").last().unwrap().body).unwrap();
    let text = chat["text"].as_str().unwrap();
    assert!(text.starts_with("CRITICAL backups of demo on ") && text.ends_with("(was OK)"), "{text}");
    assert_signed(requests.last().unwrap());
    trial.set_age(0);
    wait_for("the recovery", || (told(&sink.at(&path)).last()? == "OK after CRITICAL").then_some(()));
    trial.samples().assert("pgbackrest_notification_up", &[("target", "pager")], 1.0);
    trial.assert_no_secret();
    trial.end(Signal::SIGTERM);
}

/// By another implementation.
fn assert_signed(request: &Received) {
    let openssl = match program("openssl") {
        Ok(openssl) => openssl,
        Err(missing) => return skip("each_change_is_told_once_and_signed", missing),
    };
    let mut command = call(None, openssl);
    command.args(["dgst", "-sha256", "-hmac", KEY, "-r"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&request.body).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let expected = format!("sha256={}", printed.split(' ').next().unwrap());
    assert_eq!(request.headers["x-pgbackrest-keeper-signature"], expected);
}

#[test]
fn nobody_waits_for_a_target_that_misbehaves() {
    let (good, hanging, redirecting, endless) = (Sink::start(), Sink::start(), Sink::start(), Sink::start());
    let others = [
        ("cut-off", Answer::CutOff(200), None),
        ("stalled", Answer::Stalled(202), None),
        ("cut-off-error", Answer::CutOff(500), Some("status")),
        ("stalled-error", Answer::Stalled(404), Some("status")),
    ]
    .map(|(name, answer, failure)| {
        let sink = Sink::start();
        sink.answer(answer);
        (name, sink, failure)
    });
    let (authority, stranger) = (Authority::new(), Authority::new());
    let trusted = Sink::with_certificate(&authority.issue(&[&format!("{TOKEN}.example")]));
    let misnamed = Sink::with_certificate(&authority.issue(&["elsewhere.example"]));
    let untrusted = Sink::with_certificate(&stranger.issue(&["localhost"]));
    hanging.answer(Answer::Hang);
    redirecting.answer(Answer::Redirect(format!("http://{}/followed", good.address)));
    endless.answer(Answer::Endless);
    let mut trial = Trial::new();
    trial.write("ca.crt", &authority.certificate_pem());
    let ca = ", http_config: {tls_config: {ca_file: ca.crt}}";
    let plain = |sink: &Sink| format!("http://{}/{TOKEN}", sink.address);
    let secure = |sink: &Sink| format!("https://localhost:{}/{TOKEN}", sink.address.port());
    let refusing = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let all = [
        webhook("hanging", &plain(&hanging), ""),
        webhook("redirecting", &plain(&redirecting), ""),
        webhook("endless", &plain(&endless), ""),
        webhook("untrusted", &secure(&untrusted), ca),
        webhook("misnamed", &secure(&misnamed), ca),
        webhook("refusing", &format!("http://{refusing}/{TOKEN}"), ""),
        webhook(
            "trusted",
            &secure(&trusted),
            &ca.replace("}}", &format!(", server_name: {TOKEN}.example}}}}")),
        ),
        webhook("good", &format!("http://{}/good", good.address), ""),
    ];
    let more = others.iter().map(|(name, sink, _)| webhook(name, &plain(sink), "")).collect::<String>();
    trial.set_age(2 * DAY);
    trial.start(&format!("{}webhooks:\n{}{more}", clock(&good), all.concat()));
    // The first state is told, because it is a problem.
    wait_for_told(&good, "/good", &["CRITICAL after nothing"]);
    wait_for_told(&trusted, &format!("/{TOKEN}"), &["CRITICAL after nothing"]);
    for (target, reason) in [
        ("hanging", "timeout"),
        ("redirecting", "redirect"),
        ("untrusted", "tls"),
        ("misnamed", "tls"),
        ("refusing", "connect"),
    ] {
        trial.wait(FAILURES, &[("target", target), ("reason", reason)], |failures| failures >= 2.0);
        let samples = trial.samples();
        samples.assert(DELIVERIES, &[("target", target)], 0.0);
        let others = samples.all(FAILURES, &[("target", target)]);
        let sum: f64 = others.iter().map(|sample| sample.value).sum();
        samples.assert(FAILURES, &[("target", target), ("reason", reason)], sum);
    }
    // The status says whether it was accepted.
    trial.wait(DELIVERIES, &[("target", "endless")], |deliveries| deliveries >= 1.0);
    for (target, _, failure) in &others {
        match failure {
            None => trial.wait(DELIVERIES, &[("target", target)], |deliveries| deliveries >= 1.0),
            Some(reason) => {
                trial.wait(FAILURES, &[("target", target), ("reason", reason)], |failures| failures >= 1.0);
            }
        }
        let samples = trial.samples();
        for sample in samples.all(FAILURES, &[("target", target)]) {
            assert!(
                sample.value == 0.0 || failure.is_some_and(|reason| sample.labels["reason"] == *reason),
                "{sample:?}"
            );
        }
    }
    assert!(good.at("/followed").is_empty());
    assert!(untrusted.received().is_empty() && misnamed.received().is_empty());
    for words in ["unknown issuer", "another name", "redirects are not followed", "no response within 2s"] {
        assert!(trial.log().contains(words), "{words}: {}", trial.log());
    }
    assert!(!trial.log().contains("elsewhere.example"), "{}", trial.log());
    trial.wait_for_judgements();
    assert_eq!(told(&good.at("/good")).len(), 1);
    trial.assert_no_secret();
    trial.end(Signal::SIGTERM);
}

/// Waits until the problems that a webhook was told are in the record.
fn wait_for_record(trial: &Trial, expected: &str) {
    wait_for(expected, || {
        let text = std::fs::read_to_string(trial.path("state/exporter/notifications.json")).ok()?;
        let record: Value = serde_json::from_str(&text).unwrap();
        let expected: Value = serde_json::from_str(expected).unwrap();
        (record["webhooks"]["pager"] == expected).then_some(())
    });
}

#[test]
fn a_killed_exporter_loses_and_repeats_nothing() {
    let (mut trial, sink) = (Trial::new(), Sink::start());
    let config = format!(
        "{}webhooks:\n{}",
        clock(&sink),
        webhook("pager", &format!("http://{}/hook", sink.address), "")
    );
    let critical = r#"[{"service":"backups","stanza":"demo","state":2}]"#;
    trial.set_age(2 * DAY);
    sink.answer(Answer::Status(500));
    trial.start(&config);
    trial.wait(FAILURES, &[("target", "pager"), ("reason", "status")], |failures| failures >= 1.0);
    trial.end(Signal::SIGKILL);
    sink.answer(Answer::Status(200));
    let before = sink.at("/hook").len();
    trial.start(&config);
    wait_for("the problem", || (sink.at("/hook").len() > before).then_some(()));
    assert_eq!(told(&sink.at("/hook")[before..]), ["CRITICAL after nothing"]);
    wait_for_record(&trial, critical);
    trial.end(Signal::SIGKILL);
    // It was told and still is so.
    trial.start(&config);
    trial.wait_for_judgements();
    assert_eq!(sink.at("/hook").len(), before + 1);
    trial.end(Signal::SIGKILL);
    // It has ended meanwhile, and was not told before the next one was killed.
    sink.answer(Answer::Status(500));
    trial.set_age(0);
    trial.start(&config);
    wait_for("the end of the problem", || (sink.at("/hook").len() > before + 1).then_some(()));
    trial.end(Signal::SIGKILL);
    let refused = sink.at("/hook").len();
    sink.answer(Answer::Status(200));
    trial.start(&config);
    wait_for("the end of the problem", || (sink.at("/hook").len() > refused).then_some(()));
    assert_eq!(told(&sink.at("/hook")[refused..]), ["OK after CRITICAL"]);
    wait_for_record(&trial, "[]");
    trial.end(Signal::SIGKILL);
    trial.start(&config);
    trial.wait_for_judgements();
    assert_eq!(sink.at("/hook").len(), refused + 1);
    trial.end(Signal::SIGTERM);
}

/// Problems are told again, rather than not at all.
#[test]
fn a_record_that_cannot_be_used_loses_nothing() {
    let (mut trial, sink) = (Trial::new(), Sink::start());
    let config = format!("webhooks:\n{}", webhook("pager", &format!("http://{}/hook", sink.address), ""));
    trial.set_age(2 * DAY);
    // Neither can be written.
    for (name, is_directory, words) in [
        ("state", false, "Cannot keep what webhooks were told"),
        ("state/exporter/notifications.json", true, "Cannot use the record of what webhooks were told"),
    ] {
        let place = trial.path(name);
        if is_directory {
            std::fs::create_dir_all(place).unwrap();
        } else {
            std::fs::write(place, "").unwrap();
        }
        let before = sink.at("/hook").len();
        trial.start(&config);
        wait_for("the problem", || (sink.at("/hook").len() > before).then_some(()));
        wait_for(words, || trial.log().contains(words).then_some(()));
        trial.end(Signal::SIGTERM);
        if !is_directory {
            std::fs::remove_file(trial.path(name)).unwrap();
        }
    }
    assert_eq!(told(&sink.at("/hook")), ["CRITICAL after nothing"; 2]);
}

/// That pgBackRest cannot list its stanzas says nothing about whether they exist.
#[test]
fn a_stanza_that_cannot_be_listed_is_not_gone() {
    let (mut trial, sink) = (Trial::new(), Sink::start());
    let url = format!("http://{}/hook", sink.address);
    trial.set_age(2 * DAY);
    let config = format!("{}webhooks:\n{}", clock(&sink), webhook("pager", &url, ""));
    trial.start(&config);
    wait_for_told(&sink, "/hook", &["CRITICAL after nothing"]);
    wait_for_record(&trial, r#"[{"service":"backups","stanza":"demo","state":2}]"#);
    trial.end(Signal::SIGKILL);
    // The next process knows nothing but that pgBackRest fails.
    trial.fail();
    trial.start(&config);
    let of_all = |status: &str| {
        wait_for(status, || {
            let bodies = sink.at("/hook").into_iter().map(|request| request.body);
            let mut bodies = bodies.map(|body| serde_json::from_slice::<Value>(&body).unwrap());
            bodies.find_map(|body| {
                let changes = body["changes"].as_array().unwrap().clone();
                assert!(changes.iter().all(|change| change["status"] != "GONE"), "{body}");
                changes
                    .into_iter()
                    .find(|change| change["stanza"] == "all-stanzas" && change["status"] == status)
                    .map(|_| ())
            })
        });
    };
    of_all("UNKNOWN");
    trial.set_age(2 * DAY);
    of_all("OK");
    trial.end(Signal::SIGTERM);
}

#[test]
fn a_full_queue_loses_no_problem() {
    let (mut trial, sink, clocked) = (Trial::new(), Sink::start(), Sink::start());
    sink.answer(Answer::Status(503));
    let url = format!("http://{}/hook", sink.address);
    trial.start(&format!("{}webhooks:\n{}", clock(&clocked), webhook("pager", &url, ", queue: 1")));
    trial.wait_for_judgements();
    trial.set_age(2 * DAY);
    trial.wait("pgbackrest_notification_queue_length", &[("target", "pager")], |length| length == 1.0);
    // Its end finds the queue full, and so does what comes and goes.
    trial.set_age(0);
    wait_for("a full queue", || trial.log().contains("Queue of webhook is full").then_some(()));
    trial.set_age(2 * DAY);
    trial.wait_for_judgements();
    trial.set_age(0);
    trial.wait_for_judgements();
    trial.samples().assert("pgbackrest_notification_queue_length", &[("target", "pager")], 1.0);
    let refused = sink.at("/hook").len();
    sink.answer(Answer::Status(200));
    wait_for("the end of the problem", || {
        (told(&sink.at("/hook")).last()? == "OK after CRITICAL").then_some(())
    });
    trial.wait("pgbackrest_notification_queue_length", &[("target", "pager")], |length| length == 0.0);
    // An attempt may have been under way when the answer changed. What came and went meanwhile is not told.
    let accepted = told(&sink.at("/hook")[refused..]);
    assert_eq!(accepted[accepted.len() - 2..], ["CRITICAL after OK", "OK after CRITICAL"], "{accepted:?}");
    assert!(accepted[..accepted.len() - 2].iter().all(|told| told == "CRITICAL after OK"), "{accepted:?}");
    trial.end(Signal::SIGTERM);
}
