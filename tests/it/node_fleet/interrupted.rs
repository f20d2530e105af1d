//! Backups into the store, which run in the primary's pod, and what ends before them.

use serde_json::Value;

use super::operator::{Operator, of};
use super::{NAMESPACE, completed, processes, start};
use crate::support::example::Example;

/// What pgBackRest says when it has begun to copy.
const COPYING: &str = "backup start archive";

/// Enough that something can happen meanwhile.
pub(super) fn much_to_copy(cluster: &Example<'_>) {
    cluster.psql(
        "create table bulk as select md5(g::text) || md5((-g)::text) as entry from generate_series(1, 2000000) g",
    );
}

/// The Job tries again when the pod is back, and tells the truth.
pub(super) fn a_primary_that_goes(cluster: &Example<'_>, operator: &Operator<'_>) {
    begin(cluster, "bereft");
    cluster.kubectl().run(&["--namespace", NAMESPACE, "delete", "pod", "cluster-0", "--wait=false"]);
    cluster.wait_for_job("bereft", "Complete");
    is_made_and_told(cluster, operator, "bereft");
}

/// The job is told to end and ends what it has begun in the other pod: the next one finds no lock.
pub(super) fn a_job_that_goes(cluster: &Example<'_>, operator: &Operator<'_>) {
    begin(cluster, "halted");
    assert!(is_backing_up(cluster), "{}", cluster.state());
    cluster.kubectl().run(&["--namespace", NAMESPACE, "delete", "job", "halted", "--cascade=foreground"]);
    cluster.wait("the end of the backup in the primary's pod", || (!is_backing_up(cluster)).then_some(()));
    assert!(!makers(cluster).iter().any(|maker| maker.starts_with("halted/")), "it was ended, not made");
    start(cluster, "after", ("", ""));
    cluster.wait_for_job("after", "Complete");
    let job = cluster.kubectl().get(NAMESPACE, "job", "after").unwrap();
    assert_eq!(job["status"]["failed"].as_i64().unwrap_or(0), 0, "{job}");
    is_made_and_told(cluster, operator, "after");
}

fn begin(cluster: &Example<'_>, job: &str) {
    start(cluster, job, ("", ""));
    let name = format!("job/{job}");
    cluster.wait("the backup to copy", || {
        let output = cluster.kubectl().output(&["--namespace", NAMESPACE, "logs", &name]);
        String::from_utf8_lossy(&output.stdout).contains(COPYING).then_some(())
    });
}

/// The backup is the Job's, and the leader has the Job's own time.
fn is_made_and_told(cluster: &Example<'_>, operator: &Operator<'_>, job: &str) {
    let made = makers(cluster);
    assert!(made.iter().any(|maker| maker.starts_with(&format!("{job}/"))), "{job}: {made:?}");
    let ended = completed(cluster, job);
    operator.wait("the success of the Job", |samples| {
        let labels = of(&[("repo_key", "2"), ("backup_type", "full")]);
        let success = samples.find("pgbackrest_job_last_success_timestamp_seconds", &labels)?;
        let row = samples.find("pgbackrest_job_consecutive_failures", &labels)?;
        (success == ended && row == 0.0).then_some(())
    });
}

fn is_backing_up(cluster: &Example<'_>) -> bool {
    processes(cluster).lines().any(|line| line.starts_with("pgbackrest ") && line.contains(" backup "))
}

/// The Jobs and pods that have made the backups, by their annotations.
fn makers(cluster: &Example<'_>) -> Vec<String> {
    let info = cluster.info("cluster-0", "postgres");
    let maker = |backup: &Value| backup["annotation"]["pgbackrest-keeper.io-job"].as_str().map(str::to_owned);
    info[0]["backup"].as_array().unwrap().iter().filter_map(maker).collect()
}
