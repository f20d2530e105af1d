//! What the operator reports about a cluster's backups from real pods and Jobs during failures.

mod faults;
mod interrupted;
mod operator;
mod registry;
mod stopped;
mod wal;

use crate::support::example::{Example, install_operator, node_with_operator};
use crate::support::kubernetes::images::KEEPER;
use crate::support::machine::skip;
use crate::support::object_store::{Kind, ObjectStore};
use crate::support::process::{call, successful};
use crate::support::prometheus::Prometheus;
use crate::support::web::Authority;
use operator::{Operator, of};

const NAMESPACE: &str = "fleet";
/// The CronJob of full backups into the store.
const S3_FULL: &str = "pgbackrest-cluster-repo2-full";

#[test]
fn a_fleet_is_told_whatever_happens() {
    let test = "a_fleet_is_told_whatever_happens";
    let Some(node) = node_with_operator(test) else { return };
    let authority = Authority::new();
    let directory = node.directory().join("stores-of-fleet");
    let store = match ObjectStore::start(Kind::S3, node.host("s3-fleet"), &authority, &directory) {
        Ok(store) => store,
        Err(missing) => return skip(test, missing),
    };
    let pace = [
        "--namespaces=fleet",
        "--collect.interval=10",
        "--collect.timeout=8",
        "--collect.wal-interval=10",
        "--collect.wal-timeout=30",
    ];
    let images = registry::start(node);
    let arguments = images.as_ref().map(registry::JobImages::arguments).unwrap_or_default();
    let arguments: Vec<&str> = pace.into_iter().chain(arguments.iter().map(String::as_str)).collect();
    install_operator(node.kubectl(), KEEPER, operator::NAMESPACE, &arguments);
    let cluster = Example::apply(node, NAMESPACE);
    if let Some(images) = &images {
        images.give_credentials(&cluster);
    }
    let operator = Operator { cluster: &cluster };
    cluster.kubectl().wait(NAMESPACE, "pod/cluster-0", "condition=Ready");
    cluster.add_repos(std::slice::from_ref(&store), &authority);

    both_repos_are_backed_up(&cluster, &operator);
    the_repo_host_is_replaced(&cluster);
    info_tells_the_same(&cluster);
    prometheus_scrapes_it(&operator);
    wal::a_hole_is_seen(&cluster, &operator);
    stopped::a_stop_file_keeps_wal_waiting(&cluster, &operator);
    faults::a_store_that_hangs(&cluster, &operator, &store);
    a_failed_job_has_its_reason(&cluster, &operator);
    if let Some(images) = &images {
        images.were_pulled_only_with_credentials(&cluster, &operator);
    }
    faults::a_leader_that_goes(&cluster, &operator);
    cluster.have_much_to_copy();
    interrupted::a_job_that_goes(&cluster, &operator);
    interrupted::a_primary_that_goes(&cluster, &operator);
    // It asks every few seconds.
    cluster.kubectl().delete_namespaces(&[operator::NAMESPACE]);
}

fn both_repos_are_backed_up(cluster: &Example<'_>, operator: &Operator<'_>) {
    for repo in ["1", "2"] {
        let start = format!("pgbackrest-cluster-repo{repo}-full-");
        let job = cluster.wait("the Job of the first full backup", || {
            cluster.jobs().into_iter().find(|job| job.starts_with(&start))
        });
        cluster.wait_for_job(&job, "Complete");
        let ended = completed(cluster, &job);
        let labels = of(&[("repo_key", repo), ("backup_type", "full")]);
        let success = "pgbackrest_job_last_success_timestamp_seconds";
        operator.wait("the success of the Job", |samples| {
            (samples.find(success, &labels)? == ended).then_some(())
        });
        operator.wait("the backup in its repo", |samples| {
            (samples.find("pgbackrest_backups", &labels)? == 1.0).then_some(())
        });
        operator.wait("a repo that is up", |samples| {
            (samples.find("pgbackrest_repo_up", &of(&[("repo_key", repo)]))? == 1.0).then_some(())
        });
        // A suspended schedule has none: the CronJob is woken by the first backup.
        let next = operator.wait("the next run of the schedule", |samples| {
            samples.find("pgbackrest_schedule_next_timestamp_seconds", &labels)
        });
        assert!(next > ended, "{next} is before {ended}");
    }
}

/// By one with the Secret of the added repo, once no backup runs. Until then it may lose what tests put there.
fn the_repo_host_is_replaced(cluster: &Example<'_>) {
    let pod = "cluster-pgbackrest-repo-host-0";
    cluster.wait("another repo host", || {
        let pod = cluster.kubectl().get(NAMESPACE, "pod", pod)?;
        pod["spec"].to_string().contains("cluster-s3-credential").then_some(())
    });
    cluster.kubectl().wait(NAMESPACE, &format!("pod/{pod}"), "condition=Ready");
}

/// Unix seconds at which the Job was completed.
fn completed(cluster: &Example<'_>, job: &str) -> f64 {
    let job = cluster.kubectl().get(NAMESPACE, "job", job).unwrap();
    let time = job["status"]["completionTime"].as_str().unwrap();
    let seconds = chrono::DateTime::parse_from_rfc3339(time).unwrap().timestamp();
    f64::from(i32::try_from(seconds).unwrap())
}

/// By hand, with the rights of an administrator and without the operator.
fn info_tells_the_same(cluster: &Example<'_>) {
    let kubeconfig = format!("--kubeconfig={}", cluster.node.plane().kubeconfig().display());
    let text = cluster.node.in_network(|| {
        let mut command = call(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        successful(command.args(["info", &kubeconfig, "--namespaces=fleet"]))
    });
    assert!(text.starts_with("fleet/cluster\n"), "{text}");
    assert_eq!(text.matches("✓ ok").count(), 2, "{text}");
    for part in ["storage: posix", "storage: s3"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

fn prometheus_scrapes_it(operator: &Operator<'_>) {
    let address = operator.leader().1;
    // It listens on 127.0.0.1 of the node, and ends with the thread that starts it.
    let missing = operator.cluster.node.in_network(|| {
        let prometheus = match Prometheus::start(&[("operator", &address)]) {
            Ok(prometheus) => prometheus,
            Err(missing) => return Some(missing),
        };
        let value = |query: &str| {
            prometheus.wait_for_value(&query.replace("OURS", r#"namespace="fleet",pg_cluster="cluster""#))
        };
        for repo in ["1", "2"] {
            // On a busy machine, a repo may be too slow once.
            value(&format!(r#"pgbackrest_repo_up{{OURS,repo_key="{repo}"}} == 1"#));
            assert_eq!(
                value(&format!(r#"pgbackrest_backups{{OURS,repo_key="{repo}",backup_type="full"}}"#)),
                1.0
            );
            let name = "pgbackrest_job_last_success_timestamp_seconds";
            let age = value(&format!(r#"time() - {name}{{OURS,repo_key="{repo}",backup_type="full"}}"#));
            assert!((0.0..3600.0).contains(&age), "the Job of repo{repo} succeeded {age} s ago");
            let name = "pgbackrest_schedule_next_timestamp_seconds";
            assert!(value(&format!(r#"{name}{{OURS,repo_key="{repo}",backup_type="full"}} - time()"#)) > 0.0);
        }
        None
    });
    if let Some(missing) = missing {
        skip("prometheus_scrapes_it", missing);
    }
}

/// The command lines in PostgreSQL's container, one a line.
fn processes(cluster: &Example<'_>) -> String {
    let script = r"for file in /proc/[0-9]*/cmdline; do tr '\0' ' ' <$file; echo; done 2>/dev/null";
    cluster.said("cluster-0", "postgres", &["sh", "-c", script])
}

/// A wrong configuration is not tried again: one pod, and its reason.
fn a_failed_job_has_its_reason(cluster: &Example<'_>, operator: &Operator<'_>) {
    cluster.start_job("wrong", S3_FULL, &[("--repo=2", "--repo=4")]);
    assert_eq!(cluster.wait_for_job("wrong", "Failed"), "PodFailurePolicy");
    let labels = of(&[("repo_key", "2"), ("backup_type", "full")]);
    let why = [&labels[..], &[("reason", "config"), ("exit_code", "32")]].concat();
    operator.wait("the reason of the failed Job", |samples| {
        (samples.find("pgbackrest_job_last_failure_info", &why)? == 1.0).then_some(())
    });
    operator.wait("one failure in a row", |samples| {
        (samples.find("pgbackrest_job_consecutive_failures", &labels)? == 1.0).then_some(())
    });
}
