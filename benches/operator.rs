//! The operator with a real API server: how long a fleet takes to converge, the costs when nothing changes, and how memory grows
//! with the fleet; then the same fleet with restore tests of all clusters.
//!
//! `make bench` runs it. Each cluster has two repos and three schedules. There are no pods: that every repo has its stanza
//! is written where the operator remembers it. `OPERATOR_CLUSTERS=2500,5000,10000` sets how large the fleet is at each measurement.
//! Absolute figures depend on the machine.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a program that measures prints, and may stop at the first thing that is off"
)]

mod report;
#[path = "../tests/it/support/mod.rs"]
mod support;
mod usage;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use pgbackrest_keeper::cluster::record::Record;
use pgbackrest_keeper::cluster::references::References;
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::{desired, names, validate};
use serde_json::{Value, json};

use report::{Figure, Report};
use support::control_plane::ControlPlane;
use support::operator::{Installation, Operator};
use usage::Usage;

/// How large the fleet is at each measurement.
const STEPS: &str = "250,500,1000";
const SCHEDULES_EACH: usize = 3;
/// Clusters of a restore test. The status of one with many more is larger than an object may be.
const CLUSTERS_OF_TEST: usize = 100;
const NAMESPACE: &str = "fleet";
const SECRET: &str = "repos";
/// How long nothing changes while requests are counted.
const QUIET: Duration = Duration::from_mins(3);
const LONGEST: Duration = Duration::from_hours(2);
/// CronJobs in one page of a list.
const PAGE: u32 = 500;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Some(plane) = ControlPlane::start("bench") else { return };
    let installation = Installation::whole(&plane);
    plane.kubectl().run(&["create", "namespace", NAMESPACE]);
    plane.kubectl().apply(&secret().to_string(), &[]);
    let client = client(plane.kubeconfig()).await;
    let of_namespace = format!("--namespaces={NAMESPACE}");
    // What asking the clusters costs, benches/fleet.rs measures.
    let operator = installation.start(&[&of_namespace, "--collector.pgbackrest=false"]);

    let mut report = Report::new("operator");
    let steps = std::env::var("OPERATOR_CLUSTERS").unwrap_or_else(|_| STEPS.to_owned());
    let mut clusters = 0;
    let mut memory = Vec::new();
    for step in steps.split(',').map(|step| step.parse::<usize>().unwrap()) {
        let (began, before, cpu) = (Instant::now(), requests(&installation).0, used(&operator).cpu_seconds);
        let new: Vec<Value> = (clusters..step).map(cluster).collect();
        create(&client, &new).await;
        let wanted = step * SCHEDULES_EACH;
        until(|| async { count(&client).await == wanted }).await;
        remember_stanzas(&client, &new).await;
        until(|| async { unsuspended(&client).await == wanted }).await;
        let converged = began.elapsed();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let now = used(&operator);
        memory.push((step, now.settled_mib));
        let case = format!("to {step} clusters");
        let figures = vec![
            figure("time to converge", "s", converged.as_secs_f64()),
            figure("requests to converge", "", (requests(&installation).0 - before) as f64),
            figure("CPU to converge", "s", now.cpu_seconds - cpu),
            figure("memory", "MiB", now.settled_mib),
        ];
        report.add(&case, figures);
        clusters = step;
    }
    let (first, last) = (memory[0], memory[memory.len() - 1]);
    let per_cluster = (last.1 - first.1) * 1024.0 / (last.0 - first.0) as f64;

    let mut figures = vec![figure("memory per cluster", "KiB", per_cluster)];
    figures.extend(steady_state(&installation, &operator).await);
    report.add(&format!("{clusters} clusters, nothing changes"), figures);

    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
    let figures = with_restore_tests(&installation, &client, &of_namespace, clusters).await;
    let tests = clusters.div_ceil(CLUSTERS_OF_TEST);
    report.add(&format!("{clusters} clusters with {tests} restore tests, after a restart"), figures);
    report.write().unwrap();
}

/// What it costs when nothing changes.
async fn steady_state(installation: &Installation, operator: &Operator) -> Vec<Figure> {
    let (before, cpu) = (requests(installation), used(operator).cpu_seconds);
    tokio::time::sleep(QUIET).await;
    let after = requests(installation);
    let per_hour = 3600.0 / QUIET.as_secs_f64();
    vec![
        figure("requests per hour", "", (after.0 - before.0) as f64 * per_hour),
        figure("requests per hour for the lease", "", (after.1 - before.1) as f64 * per_hour),
        figure("CPU per hour", "s", (used(operator).cpu_seconds - cpu) * per_hour),
    ]
}

/// The same fleet, with ten results of each repo that the statuses have from before: the operator starts once without restore tests, and
/// once with them.
async fn with_restore_tests(
    installation: &Installation,
    client: &kube::Client,
    of_namespace: &str,
    clusters: usize,
) -> Vec<Figure> {
    let arguments = [of_namespace, "--collector.pgbackrest=false"];
    let operator = installation.start(&arguments);
    settle(&operator).await;
    let without = used(&operator).settled_mib;
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");

    installation.add_restore_tests();
    let kind = GroupVersionKind::gvk("pgbackrest-keeper.io", "v1alpha1", "RestoreTest");
    let resource = ApiResource::from_gvk_with_plural(&kind, "restoretests");
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    for number in 0..clusters.div_ceil(CLUSTERS_OF_TEST) {
        let first = number * CLUSTERS_OF_TEST;
        let selected = first..clusters.min(first + CLUSTERS_OF_TEST);
        let test: DynamicObject = serde_json::from_value(restore_test(number, selected.clone())).unwrap();
        api.create(&PostParams::default(), &test).await.unwrap();
        let status = Patch::Merge(json!({"status": {"results": results(selected)}}));
        api.patch_status(&test.metadata.name.unwrap(), &PatchParams::default(), &status).await.unwrap();
    }
    let before = requests(installation).0;
    let operator = installation.start(&[&arguments[..], &["--restore-tests=true"]].concat());
    let began = Instant::now();
    let is_ready = |test: &DynamicObject| {
        let conditions = test.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    while !api.list(&ListParams::default()).await.unwrap().iter().all(is_ready) {
        assert!(began.elapsed() < LONGEST, "not converged within {LONGEST:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let converged = began.elapsed();
    settle(&operator).await;
    let mut figures = vec![
        figure("time to converge", "s", converged.as_secs_f64()),
        figure("requests to converge", "", (requests(installation).0 - before) as f64),
        figure("memory", "MiB", used(&operator).settled_mib),
        figure("memory on top of that without restore tests", "MiB", used(&operator).settled_mib - without),
    ];
    figures.extend(steady_state(installation, &operator).await);
    figures
}

fn figure(name: &str, unit: &'static str, value: f64) -> Figure {
    Figure::new(name, unit, &[value])
}

/// Until all clusters were looked at, and what that took is free again.
async fn settle(operator: &Operator) {
    let began = Instant::now();
    let is_busy = || {
        operator.wait_until_ready();
        operator.samples().find("pgbackrest_operator_queue_depth", &[]) != Some(0.0)
    };
    while aside(is_busy) {
        assert!(began.elapsed() < LONGEST, "not converged within {LONGEST:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
}

/// On a thread that may wait.
fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap())
}

fn restore_test(number: usize, selected: std::ops::Range<usize>) -> Value {
    let names: Vec<String> = selected.map(|cluster| format!("cluster-{cluster}")).collect();
    json!({
        "apiVersion": "pgbackrest-keeper.io/v1alpha1",
        "kind": "RestoreTest",
        "metadata": {"name": format!("test-{number}"), "namespace": NAMESPACE},
        "spec": {"clusters": {"names": names}, "schedule": "0 3 1 1 *", "duringBackups": true,
            "pod": {"image": "postgres:15"}},
    })
}

/// As many as the status of a resource holds.
fn results(selected: std::ops::Range<usize>) -> Value {
    let test = |day: usize| {
        json!({
            "start": format!("2026-11-{day:02}T03:00:00Z"), "stop": format!("2026-11-{day:02}T03:40:00Z"), "outcome": "passed",
            "backup": "20261101-010000F", "backupStop": "2026-11-01T01:20:00Z", "target": "latest",
            "reachedLSN": "1F/4C0001A8", "lastCommit": format!("2026-11-{day:02}T02:59:40Z"), "bytes": 500_000_000_000_u64,
            "walBytes": 3_000_000_000_u64, "restoreSeconds": 1800, "replaySeconds": 400,
        })
    };
    let of_cluster = |cluster: usize| {
        ["repo1", "repo2"].map(|repo| {
            let tests: Vec<Value> = (1..=10).rev().map(test).collect();
            json!({"cluster": format!("cluster-{cluster}"), "repo": repo, "lastPassed": "2026-11-10T03:00:00Z", "tests": tests})
        })
    };
    selected.flat_map(of_cluster).collect()
}

fn cluster(number: usize) -> Value {
    let repo = |name: &str, schedule: Value| {
        json!({
            "name": name, "storage": "s3", "resource": format!("bucket-{number}"), "endpoint": "s3.example.com",
            "region": "eu-central-1", "schedule": schedule,
        })
    };
    json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1",
        "kind": "postgresql",
        "metadata": {"name": format!("cluster-{number}"), "namespace": NAMESPACE},
        "spec": {
            "teamId": "bench", "numberOfInstances": 2, "postgresql": {"version": "15"}, "volume": {"size": "1Gi"},
            "backup": {"pgbackrest": {
                "image": "pgbackrest:1",
                "configuration": {"secret": SECRET},
                "global": {"repo1-retention-full": "7", "repo2-retention-full": "2", "repo2-path": "/repo2"},
                "repos": [
                    repo("repo1", json!({"full": "0 1 * * 0", "incr": "30 2 * * *"})),
                    repo("repo2", json!({"full": "0 5 * * 6"})),
                ],
            }},
        },
    })
}

/// What all repos of all clusters need.
fn secret() -> Value {
    let options = "[global]\nrepo1-s3-key=a\nrepo1-s3-key-secret=b\nrepo2-s3-key=a\nrepo2-s3-key-secret=b\n";
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": NAMESPACE},
        "stringData": {"repos.conf": options},
    })
}

/// Requests of the operator that the API server has noted, watches among them: those of its work, and those that hold
/// the lease.
fn requests(installation: &Installation) -> (usize, usize) {
    let requests = installation.requests();
    let of_lease = requests.iter().filter(|request| request.resource == "leases").count();
    (requests.len() - of_lease, of_lease)
}

async fn client(kubeconfig: &Path) -> kube::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

async fn create(client: &kube::Client, clusters: &[Value]) {
    let kind = GroupVersionKind::gvk("cpo.opensource.cybertec.at", "v1", "postgresql");
    let resource = ApiResource::from_gvk_with_plural(&kind, "postgresqls");
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    stream::iter(clusters)
        .map(|cluster| {
            let api = api.clone();
            async move {
                let object: DynamicObject = serde_json::from_value(cluster.clone()).unwrap();
                api.create(&PostParams::default(), &object).await
            }
        })
        .buffer_unordered(8)
        .try_for_each(|_| async { Ok(()) })
        .await
        .unwrap();
}

/// Writes what the operator would have found in the pods.
async fn remember_stanzas(client: &kube::Client, clusters: &[Value]) {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    stream::iter(clusters)
        .map(|cluster| {
            let api = api.clone();
            async move {
                let (cluster, findings) =
                    validate::document(cluster.clone(), &References::default(), &Settings::default());
                let cluster = cluster.unwrap_or_else(|| panic!("{findings:?}"));
                let stanzas = desired::repo_hashes(&cluster, &Settings::default());
                let annotations = Record { stanzas, ..Record::default() }.annotations();
                let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
                api.patch(&names::instance_configuration(&cluster.name), &PatchParams::default(), &patch)
                    .await
            }
        })
        .buffer_unordered(8)
        .try_for_each(|_| async { Ok(()) })
        .await
        .unwrap();
}

async fn until<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < LONGEST, "not converged within {LONGEST:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn cron_jobs(client: &kube::Client) -> Api<CronJob> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// Without reading them, which would cost the API server more than the operator does.
async fn count(client: &kube::Client) -> usize {
    let page = cron_jobs(client).list_metadata(&ListParams::default().limit(1)).await.unwrap();
    let rest = page.metadata.remaining_item_count.unwrap_or(0);
    page.items.len() + usize::try_from(rest).unwrap()
}

/// CronJobs before the first suspended one.
async fn unsuspended(client: &kube::Client) -> usize {
    let (mut found, mut params) = (0, ListParams::default().limit(PAGE));
    loop {
        let page = cron_jobs(client).list(&params).await.unwrap();
        let is_active = |job: &&CronJob| !job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or_default();
        let active = page.items.iter().take_while(is_active).count();
        found += active;
        match page.metadata.continue_ {
            Some(next) if active == page.items.len() && !next.is_empty() => {
                params = params.continue_token(&next);
            }
            _ => return found,
        }
    }
}

fn used(operator: &Operator) -> Usage {
    Usage::of(operator.id()).unwrap()
}
