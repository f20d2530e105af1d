//! What is told about pods and repos, each with what to do.

use crate::cluster::finding::{Finding, codes};
use crate::cluster::resource::BACKUP;
use crate::cluster::validated::RepoNumber;

pub(super) fn unreachable(repo: RepoNumber, said: &str) -> Finding {
    Finding::new(
        &codes::REPO_UNREACHABLE,
        repos(),
        format!(
            "leads to a repo that PostgreSQL's pod cannot read: {said}. Until it can, archiving fails for every repo, and \
             WAL fills the primary's disk"
        ),
        "mend address, credentials or network, or take the repo out of the resource until it works",
    )
    .with_value(repo.to_string())
}

pub(super) fn foreign(repo: RepoNumber, said: &str) -> Finding {
    Finding::new(
        &codes::STANZA_FOREIGN,
        repos(),
        format!("leads to a stanza of another PostgreSQL cluster, or of this one before an upgrade: {said}"),
        "give the repo a path of its own (repoN-path in global); after pg_upgrade annotate the resource with \
         pgbackrest-keeper.io/stanza-upgrade: and the new version",
    )
    .with_value(repo.to_string())
}

pub(super) fn not_created(repo: RepoNumber, said: &str) -> Finding {
    Finding::new(
        &codes::STANZA_NOT_CREATED,
        repos(),
        format!("leads to a repo whose stanza could not be made or checked: {said}"),
        "see what the message names; it is tried again",
    )
    .with_value(repo.to_string())
}

pub(super) fn not_upgraded(said: &str) -> Finding {
    Finding::new(
        &codes::STANZA_NOT_CREATED,
        repos(),
        format!("have a stanza that could not be upgraded: {said}"),
        "see what the message names; it is tried again",
    )
}

pub(super) fn pod_failed(pod: &str, what: &str, said: &str) -> Finding {
    Finding::new(
        &codes::POD_COMMAND_FAILED,
        format!("pod {pod}"),
        format!("could not run {what}: {said}"),
        "see that the image has pgbackrest, timeout, head, sha256sum, od and sh, and that nothing forbids exec",
    )
}

/// The kubelet needs up to two minutes; only after that there is anything to do.
pub(super) fn not_visible(pod: &str, what: &str, is_late: bool) -> Finding {
    let (code, message, remedy) = if is_late {
        (
            &codes::CONFIGURATION_NOT_MOUNTED,
            format!("still does not show the newest {what}"),
            "see what the pod mounts: deploy/examples/complete shows a pod that is right; a file mounted with subPath \
             never changes",
        )
    } else {
        (
            &codes::CONFIGURATION_NOT_VISIBLE,
            format!("does not show the newest {what} yet"),
            "wait: the kubelet needs up to two minutes",
        )
    };
    Finding::new(code, format!("pod {pod}"), message, remedy)
}

pub(super) fn no_primary(reason: &str, is_late: bool) -> Finding {
    let (code, remedy) = if is_late {
        (
            &codes::PRIMARY_MISSING,
            "see why no pod of the cluster becomes a ready primary, and that its labels are those that the operator \
             looks for; until then no stanza is made and no CronJob of a new repo runs",
        )
    } else {
        (&codes::NO_PRIMARY, "wait: stanzas are made and CronJobs go on once a primary is ready")
    };
    Finding::new(code, "spec.numberOfInstances", format!("asks for PostgreSQL, and {reason}"), remedy)
}

pub(super) fn no_repo_host(reason: &str) -> Finding {
    Finding::new(
        &codes::REPO_HOST_NOT_READY,
        repos(),
        format!(
            "leads to a volume of the repo host, and {reason}. Until it is, archiving fails for every repo"
        ),
        "see the Events and the log of the repo host's pod",
    )
}

pub(super) fn server_missing(pod: &str) -> Finding {
    Finding::new(
        &codes::SERVER_MISSING,
        format!("pod {pod}"),
        "runs no `pgbackrest server`, without which the repo host cannot reach PostgreSQL",
        "add the server as deploy/examples/complete shows",
    )
}

pub(super) fn versions_differ(ours: &str, theirs: &str) -> Finding {
    Finding::new(
        &codes::VERSIONS_DIFFER,
        "spec.backup.pgbackrest.image",
        format!("brings pgBackRest {theirs} for the repo host, and PostgreSQL's pod has {ours}"),
        "use images with the same version of pgBackRest: others refuse to speak to each other",
    )
}

fn repos() -> String {
    format!("{BACKUP}.repos")
}
