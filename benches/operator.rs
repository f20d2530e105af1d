//! The operator with a real API server: how long a fleet takes to converge, the costs when nothing changes, and how memory grows
//! with the fleet; then the same fleet with restore tests of all clusters.
//!
//! `make bench` runs it. Each cluster has two repos and four schedules. There are no pods: that every repo has its stanza
//! is written where the operator remembers it. Absolute figures depend on the machine.

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

use support::control_plane::ControlPlane;
use support::operator::{Installation, Operator};
use usage::Usage;

/// How large the fleet is at each measurement.
const STEPS: [usize; 3] = [250, 500, 1000];
const SCHEDULES_EACH: usize = 4;
/// Resources that share the clusters between them.
const RESTORE_TESTS: usize = 10;
const NAMESPACE: &str = "fleet";
const SECRET: &str = "repos";
/// How long nothing changes while requests are counted.
const QUIET: Duration = Duration::from_mins(3);
const LONGEST: Duration = Duration::from_mins(20);

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

    println!("\n## operator, {SCHEDULES_EACH} schedules per cluster\n");
    println!("| clusters | seconds to converge | requests to converge | memory, MiB | CPU, s |");
    println!("|---|---|---|---|---|");
    let mut clusters = 0;
    let mut memory = Vec::new();
    for step in STEPS {
        let (began, before, cpu) = (Instant::now(), requests(&installation).0, used(&operator).cpu_seconds);
        let new: Vec<Value> = (clusters..step).map(cluster).collect();
        create(&client, &new).await;
        until(&client, |jobs| jobs.len() == step * SCHEDULES_EACH).await;
        remember_stanzas(&client, &new).await;
        until(&client, |jobs| jobs.iter().all(|job| !suspended(job))).await;
        let converged = began.elapsed();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let now = used(&operator);
        memory.push((step, now.settled_mib));
        println!(
            "| {step} | {:.1} | {} | {:.1} | {:.1} |",
            converged.as_secs_f64(),
            requests(&installation).0 - before,
            now.settled_mib,
            now.cpu_seconds - cpu,
        );
        clusters = step;
    }
    let (first, last) = (memory[0], memory[memory.len() - 1]);
    let per_cluster = (last.1 - first.1) * 1024.0 / (last.0 - first.0) as f64;
    println!("\nmemory per cluster: {per_cluster:.1} KiB");

    steady_state(&installation, &operator, clusters).await;

    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
    with_restore_tests(&installation, &client, &of_namespace, clusters).await;
}

/// What it costs when nothing changes.
async fn steady_state(installation: &Installation, operator: &Operator, clusters: usize) {
    let (before, cpu) = (requests(installation), used(operator).cpu_seconds);
    tokio::time::sleep(QUIET).await;
    let after = requests(installation);
    let per_hour = |count: usize| count as f64 * 3600.0 / QUIET.as_secs_f64();
    let (work, lease) = (per_hour(after.0 - before.0), per_hour(after.1 - before.1));
    println!(
        "steady state of {clusters} clusters, from {} s: {work:.0} requests per hour ({:.3} per cluster) \
         beside {lease:.0} for the lease, {:.2} s of CPU per hour",
        QUIET.as_secs(),
        work / clusters as f64,
        (used(operator).cpu_seconds - cpu) * 3600.0 / QUIET.as_secs_f64(),
    );
}

/// The same fleet, with ten results of each repo that the statuses have from before: the operator starts once without restore tests, and
/// once with them.
async fn with_restore_tests(
    installation: &Installation,
    client: &kube::Client,
    of_namespace: &str,
    clusters: usize,
) {
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
    let each = clusters / RESTORE_TESTS;
    for number in 0..RESTORE_TESTS {
        let selected = number * each..(number + 1) * each;
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
    println!(
        "\nafter a restart: {without:.1} MiB; with {RESTORE_TESTS} restore tests of {each} clusters each, ready after {:.1} s and {} \
         requests: {:.1} MiB",
        converged.as_secs_f64(),
        requests(installation).0 - before,
        used(&operator).settled_mib,
    );
    steady_state(installation, &operator, clusters).await;
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
                    repo("repo1", json!({"full": "0 1 * * 0", "diff": "0 1 * * 3", "incr": "30 2 * * *"})),
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

async fn until(client: &kube::Client, is_so: impl Fn(&[CronJob]) -> bool) {
    let api: Api<CronJob> = Api::namespaced(client.clone(), NAMESPACE);
    let began = Instant::now();
    while !is_so(&api.list(&ListParams::default()).await.unwrap().items) {
        assert!(began.elapsed() < LONGEST, "not converged within {LONGEST:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn suspended(job: &CronJob) -> bool {
    job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or_default()
}

fn used(operator: &Operator) -> Usage {
    Usage::of(operator.id()).unwrap()
}
