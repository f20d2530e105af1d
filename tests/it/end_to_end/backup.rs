//! Backup jobs in Kubernetes: CronJobs, Jobs and pods of a real node, with a repo on a volume.

mod cable;

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::backup_jobs::COPYING;
use crate::support::example::{CLUSTER, Example, node_with_operator};
use crate::support::process::{Running, command};
use cable::Cable;

const REPO_HOST: &str = "cluster-pgbackrest-repo-host-0";
/// The CronJob of full backups.
const FULL: &str = "pgbackrest-cluster-repo1-full";

/// A cluster with its first backup, whose schedules never fire by themselves.
fn cluster(test: &str, namespace: &'static str) -> Option<Example<'static>> {
    let cluster = Example::apply(node_with_operator(test)?, namespace);
    cluster.kubectl().wait(namespace, "pod/cluster-0", "condition=Ready");
    cluster.kubectl().wait(namespace, &format!("pod/{REPO_HOST}"), "condition=Ready");
    let first = cluster.wait("the Job of the first full backup", || cluster.jobs().pop());
    cluster.wait_for_job(&first, "Complete");
    Some(cluster)
}

/// Exit code and termination message.
fn end(pod: &Value) -> (i64, String) {
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    let message = ended["message"].as_str().unwrap_or_default().to_owned();
    (ended["exitCode"].as_i64().unwrap_or(-1), message)
}

#[test]
fn jobs_make_backups_and_outlive_what_happens_meanwhile() {
    let Some(cluster) = cluster("jobs_make_backups_and_outlive_what_happens_meanwhile", "backups") else {
        return;
    };
    a_wrong_configuration_fails_at_once(&cluster);
    cluster.have_much_to_copy();
    a_cut_connection_is_followed(&cluster);
    a_deleted_repo_host_is_waited_for(&cluster);
    annotate(&cluster, "backup-options.full=--process-max=2 --annotation=kind='every minute'");
    two_schedules_of_a_minute_are_both_made(&cluster);
    a_requested_backup_has_options_of_its_own(&cluster);
}

fn annotate(cluster: &Example<'_>, annotation: &str) {
    let annotation = format!("pgbackrest-keeper.io/{annotation}");
    let annotate = ["annotate", "--overwrite", "postgresql", CLUSTER, &annotation];
    cluster.kubectl().run(&[&["--namespace", cluster.namespace][..], &annotate].concat());
}

fn a_requested_backup_has_options_of_its_own(cluster: &Example<'_>) {
    annotate(
        cluster,
        "backup-now=incr@repo1 --process-max=3 --no-resume --annotation=why='asked for: $(POD_NAME) $$'",
    );
    let with_letters = |job: &String| {
        let end = job.strip_prefix("pgbackrest-cluster-repo1-incr-")?;
        end.bytes().any(|byte| byte.is_ascii_lowercase()).then(|| job.clone())
    };
    let job = cluster.wait("the requested Job", || cluster.jobs().iter().find_map(with_letters));
    cluster.wait_for_job(&job, "Complete");
    let log = cluster.log_of_job(&job);
    assert!(log.contains("--process-max=3") && log.contains("--no-resume"), "{log}");
    let info = cluster.info(REPO_HOST, "pgbackrest");
    let backups = info[0]["backup"].as_array().unwrap();
    let asked: Vec<&Value> =
        backups.iter().filter(|backup| backup["annotation"]["why"] == "asked for: $(POD_NAME) $$").collect();
    assert_eq!(asked.len(), 1, "{info}");
    assert_eq!(asked[0]["type"], "incr");
    let every_minute = backups.iter().filter(|backup| backup["annotation"]["kind"] == "every minute").count();
    assert!(every_minute > 0, "{info}");
    let so = "jsonpath={.status.BackupJobs}=Succeeded";
    cluster.kubectl().wait(cluster.namespace, &format!("postgresql/{CLUSTER}"), so);
}

fn a_wrong_configuration_fails_at_once(cluster: &Example<'_>) {
    cluster.start_job("wrong", FULL, &[("--repo=1", "--repo=4")]);
    assert_eq!(cluster.wait_for_job("wrong", "Failed"), "PodFailurePolicy");
    let pods = cluster.pods("wrong");
    assert_eq!(pods.len(), 1, "{}", cluster.state());
    let (code, message) = end(&pods[0]);
    assert_eq!(code, 32, "{message}");
    assert!(message.starts_with("config (32): pgBackRest ended with exit code 32"), "{message}");
}

fn two_schedules_of_a_minute_are_both_made(cluster: &Example<'_>) {
    let mut repos = cluster.resource()["spec"]["backup"]["pgbackrest"]["repos"].clone();
    let schedule = |repos: &mut Value, schedule: Value| {
        repos[0]["schedule"] = schedule;
        let patch = json!({"spec": {"backup": {"pgbackrest": {"repos": repos}}}}).to_string();
        let resource = ["patch", "postgresql", CLUSTER, "--type=merge", "--patch", &patch];
        cluster.kubectl().run(&[&["--namespace", cluster.namespace][..], &resource[..]].concat());
    };
    schedule(&mut repos, json!({"full": "* * * * *", "incr": "* * * * *"}));
    // The minute is all digits; an order of the operator has letters as well.
    let minute = |job: &String| {
        let (name, minute) = job.rsplit_once('-')?;
        minute.bytes().all(|byte| byte.is_ascii_digit()).then(|| (name.to_owned(), minute.to_owned()))
    };
    let both = |minutes: &[(String, String)]| {
        let (_, full) = minutes.iter().find(|(name, _)| name == FULL)?;
        minutes.iter().find(|(name, at)| name == "pgbackrest-cluster-repo1-incr" && at == full)?;
        Some(full.clone())
    };
    let at = cluster.wait("both Jobs of a minute", || {
        both(&cluster.jobs().iter().filter_map(minute).collect::<Vec<_>>())
    });
    schedule(&mut repos, json!({"full": "0 0 1 1 *", "incr": "0 0 1 1 *"}));
    for backup_type in ["full", "incr"] {
        let job = format!("pgbackrest-cluster-repo1-{backup_type}-{at}");
        cluster.wait_for_job(&job, "Complete");
        let pods = cluster.pods(&job);
        assert_eq!(pods.len(), 1, "{}", cluster.state());
        let (code, message) = end(&pods[0]);
        assert_eq!(code, 0, "{message}");
        assert!(
            message.starts_with("backup ") && message.ends_with(" is in repo1 of cluster cluster"),
            "{message}"
        );
        let log = cluster.log_of_job(&job);
        assert!(log.contains("pgBackRest: backup command begin") && log.contains(&message), "{log}");
        assert_eq!(log.contains("--process-max=2"), backup_type == "full", "{log}");
        let makers = cluster.makers(REPO_HOST, "pgbackrest");
        assert!(makers.iter().any(|maker| maker.starts_with(&format!("{job}/"))), "{job}: {makers:?}");
    }
}

/// By hand, with the rights of the job, and through a connection that is cut in the middle.
fn a_cut_connection_is_followed(cluster: &Example<'_>) {
    let node = cluster.node;
    let direct = node.plane().service_account(cluster.namespace, "cluster-pgbackrest-backup");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(direct).unwrap()).unwrap();
    let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned();
    let port: u16 = server.rsplit_once(':').unwrap().1.parse().unwrap();
    let directory = tempfile::tempdir_in(node.directory()).unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let archiver = cluster.stop_archiver();
    // What is started there ends with it.
    let (code, log) = node.in_network(|| {
        let cable = Cable::lay(port);
        config["clusters"][0]["cluster"]["server"] = json!(format!("https://127.0.0.1:{}", cable.port));
        fs::write(&kubeconfig, config.to_string()).unwrap();
        let mut command = command(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        command
            .args(["backup", "--cluster=cluster", "--repo=1", "--type=full", "--target=repo-host"])
            .arg(format!("--namespace={}", cluster.namespace))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .envs([("JOB_NAME", "by-hand"), ("POD_NAME", "cut")]);
        let log = directory.path().join("log");
        let mut job = Running::start("pgbackrest-keeper backup", command, &log, Signal::SIGTERM);
        cluster.wait_closely("the backup to copy", || {
            let log = job.log();
            assert!(job.ended().is_none(), "it ended before it copied: {log}");
            log.contains(COPYING).then_some(())
        });
        cable.cut();
        drop(archiver);
        let code = cluster.wait("the end of the backup", || job.ended()).code();
        (code, job.log())
    });
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("Connection lost; following the backup"), "{log}");
    assert_eq!(log.matches("backup command begin").count(), 1, "it was made once: {log}");
    assert!(cluster.makers(REPO_HOST, "pgbackrest").contains(&"by-hand/cut".to_owned()), "{log}");
}

fn a_deleted_repo_host_is_waited_for(cluster: &Example<'_>) {
    cluster.start_job("interrupted", FULL, &[]);
    cluster.wait_until_it_copies("interrupted");
    cluster.kubectl().run(&["--namespace", cluster.namespace, "delete", "pod", REPO_HOST]);
    cluster.wait_for_job("interrupted", "Complete");
    // Usually the Job needs it as well.
    cluster.kubectl().wait(cluster.namespace, &format!("pod/{REPO_HOST}"), "condition=Ready");
    let made = cluster.makers(REPO_HOST, "pgbackrest");
    assert!(
        made.iter().any(|maker| maker.starts_with("interrupted/")),
        "{made:?}\n{}",
        cluster.log_of_job("interrupted")
    );
}

/// The back-off between the pods takes more than five minutes.
#[test]
fn a_repo_that_fails_has_six_pods() {
    let Some(cluster) = cluster("a_repo_that_fails_has_six_pods", "failures") else { return };
    let mode = |mode: &str| {
        cluster.said(REPO_HOST, "pgbackrest", &["chmod", mode, "/data/pgbackrest/repo1/backup/db"]);
    };
    // What can be listed is judged at once; each pod of a repo that cannot be would try to for a while.
    mode("500");
    cluster.start_job("fails", FULL, &[]);
    cluster.wait_in(std::time::Duration::from_mins(30), "the Job to fail", || {
        (cluster.kubectl().get(cluster.namespace, "job", "fails")?["status"]["failed"] == 6).then_some(())
    });
    assert_eq!(cluster.wait_for_job("fails", "Failed"), "BackoffLimitExceeded");
    let pods = cluster.pods("fails");
    assert_eq!(pods.len(), 6, "{}", cluster.state());
    for pod in pods {
        let (code, message) = end(&pod);
        assert!(
            code > 24 && message.contains(&format!("pgBackRest ended with exit code {code}")),
            "{message}"
        );
    }
    mode("750");
}
