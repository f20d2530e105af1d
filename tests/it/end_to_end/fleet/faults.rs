//! An object store that hangs, and a leader that disappears.

use super::operator::{self, Operator, of};
use super::processes;
use crate::support::example::Example;
use crate::support::object_store::ObjectStore;

const COLLECTED: &str = "pgbackrest_repo_collected_timestamp_seconds";
const SUCCESS: &str = "pgbackrest_job_last_success_timestamp_seconds";

/// The other repo is asked as before, and never do two wait for the store.
pub(super) fn a_store_that_hangs(cluster: &Example<'_>, operator: &Operator<'_>, store: &ObjectStore) {
    let (pvc, s3) = (of(&[("repo_key", "1")]), of(&[("repo_key", "2")]));
    let hangs = [&s3[..], &[("state", "timeout")]].concat();
    store.pause();
    let since = operator.wait("the repo not to answer", |samples| {
        (samples.find("pgbackrest_repo_state", &hangs)? == 1.0).then(|| samples.value(COLLECTED, &s3))
    });
    // Four rounds, by the repo that answers.
    let mut most = 0;
    for _ in 0..4 {
        let before = operator.wait("facts", |samples| samples.find(COLLECTED, &pvc));
        operator.wait("newer facts of the repo on the volume", |samples| {
            most = most.max(asking(cluster));
            let newer = samples.find(COLLECTED, &pvc)?;
            samples.assert("pgbackrest_repo_up", &s3, 0.0);
            samples.assert(COLLECTED, &s3, since);
            // On a busy machine, it may be too slow once.
            (newer > before && samples.value("pgbackrest_repo_up", &pvc) == 1.0).then_some(())
        });
    }
    assert_eq!(most, 1, "so many ask the store that hangs");
    store.resume();
    operator.wait("the repo to be well again", |samples| {
        let is_up = samples.find("pgbackrest_repo_up", &s3)? == 1.0;
        (is_up && samples.find(COLLECTED, &s3)? > since).then_some(())
    });
}

/// How many `pgbackrest info` of the store run in the primary's pod.
fn asking(cluster: &Example<'_>) -> usize {
    let is_one = |line: &&str| line.starts_with("pgbackrest info ") && line.contains(" --repo=2 ");
    processes(cluster).lines().filter(is_one).count()
}

/// The next leader tells the same of the Jobs, from what Kubernetes keeps.
pub(super) fn a_leader_that_goes(cluster: &Example<'_>, operator: &Operator<'_>) {
    let (old, _) = operator.leader();
    let labels = |repo| of(&[("repo_key", repo), ("backup_type", "full")]);
    let before =
        ["1", "2"].map(|repo| operator.wait("a success", |samples| samples.find(SUCCESS, &labels(repo))));
    cluster.kubectl().run(&["--namespace", operator::NAMESPACE, "delete", "pod", &old, "--wait=false"]);
    let new = cluster.wait("another leader", || {
        let (leader, _) = operator.leader();
        (leader != old).then_some(leader)
    });
    for (repo, before) in ["1", "2"].into_iter().zip(before) {
        let after = operator.wait("the success of before", |samples| samples.find(SUCCESS, &labels(repo)));
        assert_eq!(after, before, "repo{repo} as {new} tells it");
        operator.wait("the repo to be up", |samples| {
            (samples.find("pgbackrest_repo_up", &of(&[("repo_key", repo)]))? == 1.0).then_some(())
        });
    }
    let failed = [&labels("2")[..], &[("reason", "config"), ("exit_code", "32")]].concat();
    operator.wait("the reason of the failed Job", |samples| {
        (samples.find("pgbackrest_job_last_failure_info", &failed)? == 1.0).then_some(())
    });
}
