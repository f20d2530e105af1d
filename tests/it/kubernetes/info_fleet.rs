//! `info` for clusters in Kubernetes: with the real API server, and with pods that return recorded output of pgBackRest.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use chrono::Utc;
use kube::core::DynamicObject;
use pgbackrest_keeper::cli::fleet_report::{self, ClusterReport};
use pgbackrest_keeper::cli::info_fleet::{ask, restore_advice, secrets};
use pgbackrest_keeper::cli::info_table::Terminal;
use pgbackrest_keeper::cli::restore_command::{Commands, Wish};
use pgbackrest_keeper::cluster::key::Key;
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::target::Pod;
use pgbackrest_keeper::collect::fleet::Pace;
use pgbackrest_keeper::kubernetes::client::{self, ConnectOptions};
use pgbackrest_keeper::pgbackrest::command::CopyPaths;
use pgbackrest_keeper::source::pod::NoEnd;
use pgbackrest_keeper::source::process::Limits;
use pgbackrest_keeper::state::restore::RestoreTarget;
use serde_json::{Value, json};

use crate::support::control_plane::ControlPlane;
use crate::support::fake_pods::{Does, FakePods, pod, primary_labels, ran};
use crate::support::operator::Installation;
use crate::support::process::{command, output, wait_for};

const NAMESPACE: &str = "info-fleet";
const TARGET: &str = "--target=2026-11-23T05:00:00Z";

/// A cluster with repositories in buckets, as many as are asked for.
fn resource(name: &str, repos: u8) -> Value {
    let repo = |number| {
        json!({"name": format!("repo{number}"), "storage": "s3", "endpoint": "s3.example", "region": "eu",
            "resource": "bucket", "schedule": {"full": format!("0 {number} * * 0")}})
    };
    let repos: Vec<Value> = (1..=repos).map(repo).collect();
    json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1",
        "kind": "postgresql",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"teamId": "team", "numberOfInstances": 1, "postgresql": {"version": "15"}, "volume": {"size": "1Gi"},
            "backup": {"pgbackrest": {"image": "registry.example/pgbackrest:2",
                "configuration": {"secret": "bucket"}, "repos": repos}}},
    })
}

fn without_backup(name: &str) -> Value {
    let mut resource = resource(name, 1);
    resource["spec"].as_object_mut().unwrap().remove("backup");
    resource
}

fn invalid(name: &str) -> Value {
    let mut resource = resource(name, 1);
    resource["spec"]["numberOfInstances"] = 999.into();
    resource
}

/// What the service account of whoever asks may do: what `info` needs, as docs/operator.md says.
fn rights() -> String {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
    "metadata": {"name": "asker", "namespace": NAMESPACE},
    "rules": [
        {"apiGroups": ["cpo.opensource.cybertec.at"], "resources": ["postgresqls"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create", "get"]},
    ]});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "asker", "namespace": NAMESPACE}});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "asker", "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "asker"},
        "subjects": [{"kind": "ServiceAccount", "name": "asker", "namespace": NAMESPACE}]});
    [role, account, binding].map(|object| object.to_string()).join("\n---\n")
}

fn info(kubeconfig: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    command.arg("info").arg(format!("--kubeconfig={}", kubeconfig.display())).args(arguments);
    let Output { status, stdout, stderr } = output(&mut command);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// Verb and resource of everything that the service account has asked for.
fn asked_for(plane: &ControlPlane) -> Vec<(String, String)> {
    let user = format!("system:serviceaccount:{NAMESPACE}:asker");
    let log = fs::read_to_string(plane.audit_log()).unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines
        .filter(|line| line["user"]["username"] == user.as_str())
        .map(|line| (text(&line["verb"]), text(&line["objectRef"]["resource"])))
        .collect()
}

#[test]
fn a_fleet_is_told_from_its_resources() {
    let Some(plane) = ControlPlane::shared("a_fleet_is_told_from_its_resources") else { return };
    Installation::whole(plane);
    let kubectl = plane.kubectl();
    kubectl.create_restricted_namespace(NAMESPACE);
    let resources = [resource("ledger", 1), without_backup("plain"), invalid("wrong")];
    kubectl.apply(&resources.map(|resource| resource.to_string()).join("\n---\n"), &[]);
    kubectl.apply(&rights(), &[]);
    let kubeconfig = plane.service_account(NAMESPACE, "asker");
    let here = format!("--namespaces={NAMESPACE}");

    let (code, text, said) = info(&kubeconfig, &[&here]);
    assert_eq!(code, Some(1), "{text}{said}");
    for part in [
        "info-fleet/ledger\n✕ db: ",
        "no pod to query about repo1: no pod has the labels",
        "info-fleet/plain\nnothing to query: spec.backup.pgbackrest is missing",
        "info-fleet/wrong\n▲ its resource is invalid: spec.numberOfInstances",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}{said}");
    }
    assert!(text.find("ledger") < text.find("plain"), "the worst first:\n{text}");

    let (code, text, said) = info(&kubeconfig, &[&here, "--output=json"]);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    let json: Value = serde_json::from_str(&text).unwrap();
    let name = |report: &Value| (report["namespace"].clone(), report["cluster"].clone());
    let names: Vec<_> = json.as_array().unwrap().iter().map(name).collect();
    assert_eq!(names, ["ledger", "plain", "wrong"].map(|cluster| (json!(NAMESPACE), json!(cluster))));
    assert_eq!(json[0]["snapshot"]["collection"]["scopes"]["db"]["failure"]["reason"], "no_pod");
    assert_eq!(json[1]["findings"][0]["code"], "no-backup");
    assert_eq!(json[2]["findings"][0]["severity"], "error");
    assert_eq!(json[2]["snapshot"]["collection"]["scopes"]["db"]["failure"]["reason"], "no_pod");

    // Where there is nothing to ask, nothing is missing.
    let (code, text, said) = info(&kubeconfig, &["info-fleet/plain"]);
    assert_eq!((code, text.lines().count()), (Some(0), 2), "{text}{said}");

    for (arguments, remedy) in [
        (&[&here, "nobody"][..], "no postgresql resource nobody in namespace info-fleet"),
        (&[], "limit the query to namespaces that you may read with --namespaces"),
        (&["ledger"], "--namespaces"),
        (&[&here, "--restore-command", TARGET], "specify one: NAMESPACE/NAME"),
        (&["info-fleet/wrong", "--restore-command", TARGET], "no pod to query about repo1"),
        (&["info-fleet/ledger", "--restore-command", TARGET], "no pod to query about repo1"),
    ] {
        let (code, text, said) = info(&kubeconfig, arguments);
        assert_eq!((code, text.as_str()), (Some(1), ""), "{said}");
        assert!(said.contains(remedy), "{remedy:?} is missing in {said}");
    }
    let asked_for = asked_for(plane);
    assert!(asked_for.contains(&("list".to_owned(), "pods".to_owned())), "{asked_for:?}");
    let read = |asked: &(String, String)| asked.0 == "get" && ["secrets", "configmaps"].contains(&&*asked.1);
    assert!(asked_for.iter().all(|asked| asked.0 == "list" || read(asked)), "{asked_for:?}");

    // Without that right nothing fails; with it the options in the Secret count.
    assert_eq!(retention(&kubeconfig), Value::Null, "nothing is there");
    let text = "[global]\nrepo1-retention-full=7\nrepo1-s3-key-secret=hunter2\n";
    let secret = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "bucket", "namespace": NAMESPACE}, "stringData": {"bucket.conf": text}});
    kubectl.apply(&secret.to_string(), &[]);
    assert_eq!(retention(&kubeconfig), Value::Null, "it may not be read");
    kubectl.apply(&right_to_read("bucket"), &[]);
    wait_for("the right", || (retention(&kubeconfig) == json!({"count": 7})).then_some(()));
}

/// A Role for one Secret alone.
fn right_to_read(secret: &str) -> String {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "reader", "namespace": NAMESPACE},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret], "verbs": ["get"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "reader", "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "asker", "namespace": NAMESPACE}]});
    format!("{role}\n---\n{binding}")
}

/// How many full backups are kept of `ledger`, with what the API server lets this account read.
fn retention(kubeconfig: &Path) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = ConnectOptions { kubeconfig: Some(kubeconfig.to_owned()), context: None };
        let object: DynamicObject = serde_json::from_value(resource("ledger", 1)).unwrap();
        let resources = vec![(Key::of(&object).unwrap(), object)];
        let client = client::connect(&place).await.unwrap();
        let secrets = secrets(&client, &resources, 1).await;
        assert!(!format!("{secrets:?}").contains("hunter2"));
        let report = ask(&recorded(), resources, &secrets, &Settings::default(), Pace::default()).await;
        let json: Value = serde_json::from_str(&fleet_report::json(&report, Utc::now()).unwrap()).unwrap();
        json[0]["snapshot"]["stanzas"][0]["repos"][0]["settings"]["retention_full"].clone()
    })
}

#[test]
fn flags_about_this_host_go_with_no_cluster() {
    let nowhere = Path::new("/nonexistent/kubeconfig");
    let (code, _, said) = info(nowhere, &["--backrest.stanza-include=demo"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--backrest.stanza-include"), "{said}");
    let (code, _, said) = info(nowhere, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--kubeconfig"), "{said}");
    assert_eq!(info(nowhere, &["a/b/c"]).0, Some(2));
}

/// Pods in which pgBackRest prints what it has printed elsewhere. The repositories of `hangs` do not answer.
fn recorded() -> FakePods<'static> {
    let primary = |cluster: &str| Pod {
        labels: primary_labels(cluster, &Settings::default()),
        ..pod(&format!("{cluster}-0"), &[])
    };
    let file = "fixtures/info/2.60.0/two_repos_filter_repo1.json";
    let info = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    FakePods::new(["hangs", "ledger"].map(primary).into())
        .when("hangs-0", [Does::End(Err(NoEnd::TimedOut(Duration::from_mins(1))))])
        .when("archive_status", [ran(0, "4096 1767225600 archive_status\n")])
        .when(" info", [ran(0, info.replace("\"demo\"", "\"db\""))])
        .when("", [ran(0, "pgBackRest 2.60.0\n")])
}

async fn asked(resources: &[Value]) -> Vec<ClusterReport> {
    let object = |resource: &Value| -> (Key, DynamicObject) {
        let object: DynamicObject = serde_json::from_value(resource.clone()).unwrap();
        (Key::of(&object).unwrap(), object)
    };
    let resources = resources.iter().map(object).collect();
    ask(&recorded(), resources, &BTreeMap::new(), &Settings::default(), Pace::default()).await
}

#[tokio::test]
async fn facts_of_a_fleet_are_printed_as_those_of_a_host() {
    let fleet = asked(&[resource("ledger", 1), without_backup("plain"), resource("hangs", 1)]).await;
    let whole: Vec<_> = fleet.iter().map(|report| (report.key.name.as_str(), report.is_whole())).collect();
    assert_eq!(whole, [("hangs", false), ("ledger", true), ("plain", true)]);

    let text = fleet_report::text(&fleet, Utc::now(), Terminal { width: 100, has_colours: false });
    let headings: Vec<_> = text.lines().filter(|line| line.starts_with(NAMESPACE)).collect();
    assert_eq!(headings[0], "info-fleet/hangs", "the worst first");
    for part in [
        "info-fleet/ledger\n✓ db: ok, restorable from 2026-11-22 ",
        "(repo1, not verified), newest backup ",
        "storage: s3",
        "nothing to query: ",
        "000000010000000000000001",
        "✕ db: ",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let coloured = fleet_report::text(&fleet, Utc::now(), Terminal { width: 100, has_colours: true });
    assert!(coloured.contains("\u{1b}[1minfo-fleet/ledger\u{1b}[0m\n"), "{coloured}");

    let json: Value = serde_json::from_str(&fleet_report::json(&fleet, Utc::now()).unwrap()).unwrap();
    assert_eq!(json[1]["snapshot"]["stanzas"][0]["name"], "db");
    assert_eq!(json[1]["snapshot"]["version"], "2.60.0");
    assert_eq!(json[1]["snapshot"]["assessments"][0]["restorable"]["repo_key"], 1);
    assert_eq!(json[0]["snapshot"]["collection"]["scopes"]["db"]["failure"]["reason"], "timeout");
    assert_eq!(json[2].get("snapshot"), None);
}

#[tokio::test]
async fn a_command_to_restore_comes_with_its_place() {
    let fleet = asked(&[resource("ledger", 1), resource("hangs", 1)]).await;
    let settings = Settings::default();
    let advice = async |report, target: &str| {
        let target = RestoreTarget { time: target.parse().unwrap(), timeline: None };
        let copy = CopyPaths { directory: "/srv/copy".to_owned() };
        let limits = Limits::with_timeout(Duration::from_secs(5));
        restore_advice(&recorded(), report, &settings, &Wish { target, copy }, &limits, Utc::now()).await
    };
    let reached = advice(&fleet[1], "2026-11-22T10:00:00Z").await;
    let Commands { recover: command, copy } = reached.commands.unwrap();
    assert!(
        copy.starts_with("mkdir -p -m 0700 /srv/copy ") && copy.contains(" --archive-mode=off "),
        "{copy}"
    );
    assert!(command.starts_with("pgbackrest --stanza=db --repo=1 --set=20261122-"), "{command}");
    assert!(
        command.ends_with(
            " '--target=2026-11-22 10:00:00+00' --target-timeline=current --target-action=promote restore\n"
        ),
        "{command}"
    );
    let place = "in namespace info-fleet, in container postgres of pod ledger-0, the current primary";
    assert!(reached.remarks.contains(place), "{}", reached.remarks);

    for (report, target, why) in [
        (&fleet[1], "2026-11-01T00:00:00Z", "cannot be reached"),
        (&fleet[0], "2026-11-22T10:00:00Z", "no response within the timeout"),
    ] {
        let advice = advice(report, target).await;
        assert_eq!(advice.commands, None);
        assert!(advice.remarks.contains(why) && !advice.remarks.contains("container"), "{}", advice.remarks);
    }
}

#[tokio::test]
async fn no_cluster_is_said_too() {
    let text = fleet_report::text(&asked(&[]).await, Utc::now(), Terminal { width: 80, has_colours: false });
    assert_eq!(text, "no clusters found: there are no postgresql resources\n");
    assert_eq!(fleet_report::json(&[], Utc::now()).unwrap(), "[]\n");
}
