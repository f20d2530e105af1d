//! Backups to the object store, which run in the primary's pod, and interruptions.

use super::operator::{Operator, of};
use super::{NAMESPACE, S3_FULL, completed, processes};
use crate::support::example::Example;

const PRIMARY: &str = "cluster-0";

/// The Job tries again when the pod is back, and tells the truth.
pub(super) fn a_primary_that_goes(cluster: &Example<'_>, operator: &Operator<'_>) {
    begin(cluster, "bereft");
    cluster.kubectl().run(&["--namespace", NAMESPACE, "delete", "pod", PRIMARY]);
    cluster.wait_for_job("bereft", "Complete");
    // Usually the Job needs it as well.
    cluster.kubectl().wait(NAMESPACE, "pod/cluster-0", "condition=Ready");
    is_made_and_told(cluster, operator, "bereft");
}

/// The job is told to end and ends what it has begun in the other pod: the next one finds no lock.
pub(super) fn a_job_that_goes(cluster: &Example<'_>, operator: &Operator<'_>) {
    let archiver = cluster.stop_archiver();
    begin(cluster, "halted");
    assert!(is_backing_up(cluster), "{}", cluster.state());
    cluster.kubectl().run(&["--namespace", NAMESPACE, "delete", "job", "halted", "--cascade=foreground"]);
    cluster.wait("the end of the backup in the primary's pod", || (!is_backing_up(cluster)).then_some(()));
    assert!(
        !cluster.makers(PRIMARY, "postgres").iter().any(|maker| maker.starts_with("halted/")),
        "it was ended, not made"
    );
    drop(archiver);
    cluster.start_job("after", S3_FULL, &[]);
    cluster.wait_for_job("after", "Complete");
    let job = cluster.kubectl().get(NAMESPACE, "job", "after").unwrap();
    assert_eq!(job["status"]["failed"].as_i64().unwrap_or(0), 0, "{job}\n{}", cluster.state());
    is_made_and_told(cluster, operator, "after");
}

fn begin(cluster: &Example<'_>, job: &str) {
    cluster.start_job(job, S3_FULL, &[]);
    cluster.wait_until_it_copies(job);
}

/// The backup is the Job's, and the leader has the Job's own time.
fn is_made_and_told(cluster: &Example<'_>, operator: &Operator<'_>, job: &str) {
    let made = cluster.makers(PRIMARY, "postgres");
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
    // Its workers, which hold its lock as well, call themselves `backup:local`.
    let is_part = |line: &str| {
        line.starts_with("pgbackrest ") && (line.contains(" backup ") || line.contains(" backup:local "))
    };
    processes(cluster).lines().any(is_part)
}
