//! What the operator tells of a cluster's backups in two repos, from real pods and Jobs.

mod operator;

use crate::support::example::{Example, install_operator, node_with_operator};
use crate::support::machine::skip;
use crate::support::object_store::{Kind, ObjectStore};
use crate::support::process::{call, successful};
use crate::web_client::Authority;
use operator::{Operator, of};

const NAMESPACE: &str = "fleet";

#[test]
fn a_cluster_is_told_as_its_jobs_have_backed_it_up() {
    let test = "a_cluster_is_told_as_its_jobs_have_backed_it_up";
    let Some(node) = node_with_operator(test) else { return };
    let authority = Authority::new();
    let directory = node.directory().join("stores-of-fleet");
    let store = match ObjectStore::start(Kind::S3, node.host("s3-fleet"), &authority, &directory) {
        Ok(store) => store,
        Err(missing) => return skip(test, missing),
    };
    let pace = ["--namespaces=fleet", "--collect.interval=10", "--collect.timeout=8"];
    install_operator(node, operator::NAMESPACE, &pace);
    let cluster = Example::apply(node, NAMESPACE);
    let operator = Operator { cluster: &cluster };
    cluster.kubectl().wait(NAMESPACE, "pod/cluster-0", "condition=Ready");
    cluster.add_repos(std::slice::from_ref(&store), &authority);

    both_repos_are_backed_up(&cluster, &operator);
    info_tells_the_same(&cluster);
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
