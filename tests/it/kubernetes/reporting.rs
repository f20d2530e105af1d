//! Reporting by the operator: requests for Events and statuses, and what happens if they fail.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use http_body_util::BodyExt;
use hyper::{Request, Response};
use kube::client::Body;
use kube::core::DynamicObject;
use pgbackrest_keeper::cluster::finding::{Finding, codes};
use pgbackrest_keeper::metrics::OperatorMetrics;
use pgbackrest_keeper::operator::action::Action;
use pgbackrest_keeper::operator::report::{JobsStatus, ReconcileFailure, Report, Reporter, Status};
use pgbackrest_keeper::pgbackrest::label::BackupType;
use pgbackrest_keeper::state::jobs::{JobFailure, RunResult, RunResults, Slot};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::golden::snapshots as golden;

const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";
const STATUS: &str = "/apis/cpo.opensource.cybertec.at/v1/namespaces/shop/postgresqls/orders/status";

/// A request as it came.
#[derive(Debug, Clone)]
struct Asked {
    method: String,
    path: String,
    content: String,
    body: Value,
}

type Judge = dyn Fn(&Asked) -> Option<u16> + Send + Sync;

/// An API server that takes everything, unless it is told to answer with a code, or, with 0, not at all.
struct ReportTest {
    asked: Arc<Mutex<Vec<Asked>>>,
    judge: Arc<Mutex<Arc<Judge>>>,
    metrics: Arc<OperatorMetrics>,
    reporter: Reporter,
    /// The resource as a watch shows it.
    object: DynamicObject,
}

impl ReportTest {
    fn new() -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let judge: Arc<Mutex<Arc<Judge>>> = Arc::new(Mutex::new(Arc::new(|_: &Asked| None)));
        let (seen, judged) = (Arc::clone(&asked), Arc::clone(&judge));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (seen, judged) = (Arc::clone(&seen), Arc::clone(&judged));
            async move { Ok::<_, Infallible>(answer(request, &seen, &judged).await) }
        });
        let metrics = Arc::new(OperatorMetrics::new(&["apply"]));
        let client = kube::Client::new(service, "default");
        let reporter = Reporter::new(client, "operator-7", Arc::clone(&metrics));
        let object = json!({
            "apiVersion": "cpo.opensource.cybertec.at/v1", "kind": "postgresql",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "3f0c", "resourceVersion": "7"},
            "status": {"PostgresClusterStatus": "Running"},
        });
        Self { asked, judge, metrics, reporter, object: serde_json::from_value(object).unwrap() }
    }

    fn fails(&self, judge: impl Fn(&Asked) -> Option<u16> + Send + Sync + 'static) {
        *self.judge.lock().unwrap() = Arc::new(judge);
    }

    /// One report, and what was asked for it. What was written to the status is seen at the next one.
    async fn report(&mut self, report: Report<'_>) -> Vec<Asked> {
        self.reporter.report(&self.object, report).await;
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        for patch in asked.iter().filter(|asked| asked.path == STATUS) {
            for (key, value) in patch.body["status"].as_object().unwrap() {
                self.object.data["status"][key] = value.clone();
            }
            self.object.metadata.resource_version = Some("8".to_owned());
        }
        asked
    }

    /// The process ends, and another one goes on with what stands in Kubernetes.
    fn restarted(self) -> Self {
        Self { object: self.object, ..Self::new() }
    }

    fn exposition(&self) -> String {
        golden::operator_exposition(&self.metrics)
    }
}

async fn answer(
    request: Request<Body>,
    seen: &Mutex<Vec<Asked>>,
    judge: &Mutex<Arc<Judge>>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let content = head.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        content: content.to_owned(),
        body: serde_json::from_slice(&body).unwrap(),
    };
    seen.lock().unwrap().push(asked.clone());
    let judge = Arc::clone(&judge.lock().unwrap());
    let (code, answer) = match judge(&asked) {
        Some(0) => std::future::pending().await,
        Some(code) => (
            code,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": "x", "message": "not you"}),
        ),
        None if asked.path == EVENTS => (201, asked.body),
        None => (
            200,
            json!({"apiVersion": "cpo.opensource.cybertec.at/v1", "kind": "postgresql",
            "metadata": {"name": "orders", "namespace": "shop"}}),
        ),
    };
    let answer = Body::from(serde_json::to_vec(&answer).unwrap());
    Response::builder().status(code).header("content-type", "application/json").body(answer).unwrap()
}

fn findings() -> [Finding; 3] {
    [
        Finding::new(&codes::RETENTION_UNSET, "spec.a", "is not set", "set it"),
        Finding::new(&codes::DEFAULT_USED, "spec.b", "is not set", "leave it"),
        Finding::new(&codes::SECRET_MISSING, "spec.c", "names nothing", "make it"),
    ]
}

fn about(findings: &[Finding]) -> Report<'_> {
    Report { findings, ..Report::default() }
}

fn failed(message: &str) -> Report<'_> {
    Report { failure: Some(ReconcileFailure { phase: "apply", message }), ..Report::default() }
}

fn reasons(asked: &[Asked]) -> Vec<&str> {
    asked
        .iter()
        .filter(|asked| asked.path == EVENTS)
        .map(|asked| asked.body["reason"].as_str().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn events_and_status_have_the_shape_that_kubernetes_takes() {
    let mut reporting = ReportTest::new();
    let actions = [Action::new("BackupStarted", "Job a"), Action::new("BackupStarted", "Job b")];
    let asked = reporting.report(Report { actions: &actions, ..about(&findings()) }).await;
    let [status, missing, unset, started] = asked.as_slice() else { panic!("{asked:#?}") };
    assert_eq!((status.method.as_str(), status.path.as_str()), ("PATCH", STATUS));
    assert_eq!(status.content, "application/merge-patch+json");
    let message = "error secret-missing: spec.c names nothing; make it | \
        warning retention-unset: spec.a is not set; set it";
    let expected = json!({
        "metadata": {"uid": "3f0c"},
        "status": {"BackupStatus": "Error", "BackupMessage": message},
    });
    assert_eq!(status.body, expected, "no other key is touched");
    for event in [missing, unset, started] {
        assert_eq!((event.method.as_str(), event.path.as_str()), ("POST", EVENTS));
        assert_eq!(event.body["reportingController"], "pgbackrest-keeper");
        assert_eq!(event.body["reportingInstance"], "operator-7");
        let about = &event.body["regarding"];
        assert_eq!((&about["kind"], &about["uid"]), (&json!("postgresql"), &json!("3f0c")));
        assert_eq!((&about["name"], &about["namespace"]), (&json!("orders"), &json!("shop")));
        assert!(event.body["series"].is_null() && event.body["eventTime"].is_string());
    }
    let report = |event: &Asked| {
        ["type", "reason", "action", "note"].map(|key| event.body[key].as_str().unwrap().to_owned())
    };
    let missing_note = "error secret-missing: spec.c names nothing; make it";
    assert_eq!(report(missing), ["Warning", "SecretMissing", "Check", missing_note]);
    assert_eq!(report(unset)[..3], ["Warning", "RetentionUnset", "Check"]);
    assert_eq!(report(started), ["Normal", "BackupStarted", "Reconcile", "Job a\nJob b"]);
}

#[tokio::test(start_paused = true)]
async fn what_stays_as_it_is_costs_no_request() {
    let mut reporting = ReportTest::new();
    assert_eq!(reporting.report(about(&findings())).await.len(), 3);
    assert!(reporting.report(about(&findings())).await.is_empty());
    let asked = reporting.report(about(&findings()[..2])).await;
    assert_eq!(reasons(&asked), ["Resolved"]);
    assert_eq!(asked[0].body["status"]["BackupStatus"], "Warning");
    assert_eq!(asked[1].body["note"], "error secret-missing: spec.c names nothing; make it");
    assert_eq!(reasons(&reporting.report(about(&[])).await), ["Resolved"]);
    assert!(reporting.report(about(&[])).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_findings_of_one_code_soon_after_each_other_keep_their_own_words() {
    let mut reporting = ReportTest::new();
    let late = Finding::new(&codes::RETENTION_UNSET, "spec.z", "is not set", "set it");
    reporting.report(about(&findings()[..1])).await;
    let asked = reporting.report(about(&[findings()[0].clone(), late])).await;
    let event = asked.iter().find(|asked| asked.path == EVENTS).unwrap();
    assert_eq!(
        (event.method.as_str(), &event.body["note"]),
        ("POST", &json!("warning retention-unset: spec.z is not set; set it"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_tells_nothing_twice() {
    let mut reporting = ReportTest::new();
    reporting.report(about(&findings())).await;
    let mut reporting = reporting.restarted();
    assert!(reporting.report(about(&findings())).await.is_empty());
    let mut reporting = reporting.restarted();
    let asked = reporting.report(about(&findings()[..2])).await;
    assert_eq!(asked.iter().map(|asked| asked.path.as_str()).collect::<Vec<_>>(), [STATUS]);
    let mut reporting = reporting.restarted();
    assert_eq!(reasons(&reporting.report(about(&[])).await), ["Resolved"]);
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_was_made_anew_is_told_of_anew() {
    let mut reporting = ReportTest::new();
    reporting.report(about(&findings()[..1])).await;
    reporting.object.metadata.uid = Some("4a1d".to_owned());
    reporting.object.data["status"] = json!({});
    let asked = reporting.report(about(&findings()[..1])).await;
    assert_eq!(reasons(&asked), ["RetentionUnset"]);
    assert_eq!(asked[0].body["metadata"]["uid"], "4a1d");
}

#[tokio::test(start_paused = true)]
async fn notes_and_messages_are_bounded() {
    let mut reporting = ReportTest::new();
    let many: Vec<Finding> = (0..50)
        .map(|number| {
            let field = format!("spec.{}[{number}]", "é".repeat(500));
            Finding::new(codes::ALL[number % codes::ALL.len()], field, "ü".repeat(500), "ö")
        })
        .collect();
    let asked = reporting.report(about(&many)).await;
    assert!(asked.len() <= 11, "{}", asked.len());
    for asked in &asked {
        let texts = [&asked.body["note"], &asked.body["status"]["BackupMessage"]];
        let note = texts.iter().find_map(|text| text.as_str()).unwrap();
        assert!(note.len() <= 1024 && note.len() > 900 && note.ends_with('…'), "{}", note.len());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_where_nothing_may_be() {
    let mut reporting = ReportTest::new();
    let findings = findings();
    let hands_off = Report { hands_off: true, ..about(&findings) };
    reporting.metrics.reconciled("shop", "orders", Ok(()), Duration::ZERO, DateTime::UNIX_EPOCH);
    assert!(reporting.report(hands_off).await.is_empty());
    assert!(!reporting.exposition().contains("orders"), "nor is it measured");
    let none = [Finding::new(&codes::NO_BACKUP, "spec.backup", "is not there", "add it")];
    assert!(reporting.report(about(&none)).await.is_empty(), "who asks for no backups hears nothing");
    reporting.object.data["status"]["BackupStatus"] = json!("Ok");
    let asked = reporting.report(about(&none)).await;
    assert_eq!(asked[0].body["status"]["BackupStatus"], "NotConfigured");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_when_it_stays() {
    let mut reporting = ReportTest::new();
    reporting.report(about(&findings()[..1])).await;
    assert!(reporting.report(failed("no answer")).await.is_empty());
    assert!(reporting.report(failed("refused")).await.is_empty());
    let asked = reporting.report(failed("no answer")).await;
    assert_eq!(reasons(&asked), ["ReconcileFailed"]);
    assert_eq!(
        asked[0].body["status"],
        json!({
            "BackupStatus": "Failing", "BackupMessage": "reconcile failed (apply): no answer",
        })
    );
    assert!(reporting.report(failed("refused this time")).await.is_empty(), "the same phase is no news");
    let findings_of = "pgbackrest_operator_findings{code=\"retention-unset\"";
    assert!(reporting.exposition().contains(findings_of), "what was found before still holds");
    let asked = reporting.report(about(&findings()[..1])).await;
    assert_eq!(reasons(&asked), ["Resolved"]);
    assert_eq!(asked[0].body["status"]["BackupStatus"], "Warning");
}

#[tokio::test(start_paused = true)]
async fn refusals_fail_nothing_and_are_counted() {
    for (code, reason, told_of_next_time) in [(403, "forbidden", 2), (409, "conflict", 0)] {
        let mut reporting = ReportTest::new();
        reporting.fails(move |_| Some(code));
        let asked = reporting.report(about(&findings())).await;
        // Who may not publish one Event may not publish another either.
        assert_eq!(asked.len(), if code == 403 { 2 } else { 3 }, "{code}: {asked:#?}");
        let exposition = reporting.exposition();
        for what in ["event", "status"] {
            let series =
                format!("pgbackrest_operator_tell_errors_total{{reason=\"{reason}\",what=\"{what}\"}}");
            assert!(exposition.contains(&series), "{series}\n{exposition}");
        }
        reporting.fails(|_| None);
        reporting.object.data["status"] = json!({});
        let asked = reporting.report(about(&findings())).await;
        assert_eq!(reasons(&asked).len(), told_of_next_time, "{code}");
        assert_eq!(asked.iter().filter(|asked| asked.path == STATUS).count(), 1, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_bound_in_sum() {
    let mut reporting = ReportTest::new();
    reporting.fails(|_| Some(0));
    let began = Instant::now();
    let asked = reporting.report(about(&findings())).await;
    assert_eq!(asked.len(), 2, "one status and one Event were tried");
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
    assert!(reporting.exposition().contains("tell_errors_total{reason=\"timeout\",what=\"event\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_lags_behind_brings_no_second_write() {
    let mut reporting = ReportTest::new();
    let stale = reporting.object.clone();
    reporting.report(about(&findings())).await;
    reporting.object = stale;
    assert!(reporting.report(about(&findings())).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_the_generation_and_how_jobs_have_ended() {
    let mut reporting = ReportTest::new();
    reporting.object.metadata.generation = Some(3);
    let slot = Slot { repo_key: 2, backup_type: BackupType::Full };
    let results = |last_success: Option<&str>, failing: Option<JobFailure>| RunResults {
        runs: [(slot, RunResult { last_success: last_success.map(|at| at.parse().unwrap()), failing })]
            .into(),
    };
    let status = |asked: &[Asked]| {
        let patch = asked.iter().find(|asked| asked.path == STATUS);
        let mut keys = patch?.body["status"].clone();
        keys.as_object_mut().unwrap().remove("BackupMessage");
        Some(keys)
    };
    let with = |results| Report { results: Some(results), ..Report::default() };

    let nothing = RunResults::default();
    let asked = reporting.report(with(&nothing)).await;
    let mut expected =
        json!({"BackupStatus": "Ok", "BackupObservedGeneration": "3", "BackupJobs": Value::Null});
    assert_eq!(status(&asked), Some(expected.clone()));
    assert!(reporting.report(with(&nothing)).await.is_empty());
    let good = results(Some("2026-11-23T02:10:00Z"), None);
    let asked = reporting.report(with(&good)).await;
    expected["BackupJobs"] = json!("Succeeded");
    expected["BackupLastSuccess"] = json!("2026-11-23T02:10:00Z");
    assert_eq!(status(&asked), Some(expected.clone()));
    assert!(reporting.report(with(&good)).await.is_empty());

    // The spec changes; it is not known yet how jobs have ended.
    reporting.object.metadata.generation = Some(4);
    let asked = reporting.report(Report::default()).await;
    assert_eq!(status(&asked), Some(json!({"BackupStatus": "Ok", "BackupObservedGeneration": "4"})));
    assert!(reporting.report(with(&good)).await.is_empty());

    let bad =
        results(Some("2026-11-23T02:10:00Z"), Some(JobFailure { reason: "config", exit_code: Some(32) }));
    let asked = reporting.report(with(&bad)).await;
    expected["BackupJobs"] = json!("Failed");
    expected["BackupObservedGeneration"] = json!("4");
    assert_eq!(status(&asked), Some(expected.clone()));
    // The only Job that has succeeded was deleted meanwhile, and the process ends.
    let mut reporting = reporting.restarted();
    reporting.object.metadata.generation = Some(4);
    let earlier = results(Some("2026-11-20T02:10:00Z"), None);
    let asked = reporting.report(with(&earlier)).await;
    expected["BackupJobs"] = json!("Succeeded");
    assert_eq!(status(&asked), Some(expected.clone()), "a later success remains true");
    let asked = reporting.report(with(&nothing)).await;
    assert_eq!(status(&asked).unwrap()["BackupJobs"], Value::Null);
}

#[test]
fn the_documents_name_every_status_and_every_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = ["docs/operator.md", "docs/restore-tests.md"];
    let document = documents.map(|file| fs::read_to_string(root.join(file)).unwrap()).concat();
    let mut words: Vec<String> = Status::ALL.iter().map(|status| status.as_str().to_owned()).collect();
    words.extend(JobsStatus::ALL.iter().map(|status| status.as_str().to_owned()));
    words.extend(["Resolved", "ReconcileFailed", "BackupFailed"].map(str::to_owned));
    let reasons = reasons_in(&root.join("src/operator"));
    assert!(reasons.len() > 15, "{reasons:?}");
    words.extend(reasons);
    let missing: Vec<_> = words.iter().filter(|word| !document.contains(&format!("`{word}`"))).collect();
    assert!(missing.is_empty(), "{documents:?} do not name {missing:?}");
}

/// What follows `Action::new(`, and constants in CamelCase.
fn reasons_in(directory: &Path) -> Vec<String> {
    let mut reasons = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            reasons.extend(reasons_in(&path));
        } else if path.file_name().unwrap() != "tests.rs" {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let literals = code.split("Action::new(").skip(1).chain(code.split(": &str = ").skip(1));
            let words = literals.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
            let camel_case = |word: &&str| {
                word.starts_with(|c: char| c.is_ascii_uppercase())
                    && word.chars().all(|c| c.is_ascii_alphabetic())
                    && word.contains(|c: char| c.is_ascii_lowercase())
            };
            reasons.extend(words.filter(camel_case).map(str::to_owned));
        }
    }
    reasons
}
