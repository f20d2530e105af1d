//! Findings about pods and repos with their remedies.

use crate::cluster::finding::{Finding, codes};
use crate::cluster::resource::BACKUP;
use crate::cluster::validated::RepoNumber;

pub(super) fn unreachable(repo: RepoNumber, said: &str) -> Finding {
    Finding::new(
        &codes::REPO_UNREACHABLE,
        repos(),
        format!(
            "contains a repo that the PostgreSQL pod cannot read: {said}. Until it can, archiving fails for all \
             repos, and WAL fills the disk of the primary"
        ),
        "fix the address, credentials or network, or remove the repo from the resource until it works",
    )
    .with_value(repo.to_string())
}

pub(super) fn foreign(repo: RepoNumber, said: &str) -> Finding {
    Finding::new(
        &codes::STANZA_FOREIGN,
        repos(),
        format!("contains a repo with the stanza of another PostgreSQL cluster, or of this one before an upgrade: \
             {said}"),
        "give the repo a separate path (repoN-path in global); after pg_upgrade, annotate the resource with \
         pgbackrest-keeper.io/stanza-upgrade: and the new version",
    )
    .with_value(repo.to_string())
}

pub(super) fn not_created(repo: RepoNumber, said: &str) -> Finding {
    Finding::new(
        &codes::STANZA_NOT_CREATED,
        repos(),
        format!("contains a repo whose stanza could not be created or checked: {said}"),
        "fix the problem in the message; it is retried",
    )
    .with_value(repo.to_string())
}

pub(super) fn not_upgraded(said: &str) -> Finding {
    Finding::new(
        &codes::STANZA_NOT_CREATED,
        repos(),
        format!("contains a repo whose stanza could not be upgraded: {said}"),
        "fix the problem in the message; it is retried",
    )
}

pub(super) fn pod_failed(pod: &str, what: &str, said: &str) -> Finding {
    Finding::new(
        &codes::POD_COMMAND_FAILED,
        format!("pod {pod}"),
        format!("could not run {what}: {said}"),
        "check that the image has pgbackrest, timeout, head, sha256sum, od and sh, and that exec is allowed",
    )
}

/// The kubelet needs up to two minutes; before that, no action is required.
pub(super) fn not_visible(pod: &str, what: &str, is_late: bool) -> Finding {
    let (code, message, remedy) = if is_late {
        (
            &codes::CONFIGURATION_NOT_MOUNTED,
            format!("still does not have the latest {what}"),
            "check what the pod mounts, see deploy/examples/complete; a file mounted with subPath is never updated",
        )
    } else {
        (
            &codes::CONFIGURATION_NOT_VISIBLE,
            format!("does not have the latest {what} yet"),
            "wait; the kubelet needs up to two minutes",
        )
    };
    Finding::new(code, format!("pod {pod}"), message, remedy)
}

pub(super) fn no_primary(reason: &str, is_late: bool) -> Finding {
    let (code, remedy) = if is_late {
        (
            &codes::PRIMARY_MISSING,
            "check why no pod of the cluster becomes a ready primary, and that the operator selects its labels; \
             until then, no stanza is created and no CronJob of a new repo runs",
        )
    } else {
        (&codes::NO_PRIMARY, "wait; stanzas are created and CronJobs resume once a primary is ready")
    };
    Finding::new(code, "spec.numberOfInstances", format!("requires a primary, but {reason}"), remedy)
}

pub(super) fn no_repo_host(reason: &str, has_volumes: bool) -> Finding {
    let what = if has_volumes { "archiving fails for all repos" } else { "no backup can be made" };
    Finding::new(
        &codes::REPO_HOST_NOT_READY,
        repos(),
        format!("needs the repo host, but {reason}. Until it is ready, {what}"),
        "check the Events and the log of the repo host's pod",
    )
}

pub(super) fn server_missing(pod: &str) -> Finding {
    Finding::new(
        &codes::SERVER_MISSING,
        format!("pod {pod}"),
        "does not run `pgbackrest server`, so the repo host cannot reach PostgreSQL",
        "add the server as in deploy/examples/complete",
    )
}

pub(super) fn versions_differ(ours: &str, theirs: &str) -> Finding {
    Finding::new(
        &codes::VERSIONS_DIFFER,
        "spec.backup.pgbackrest.image",
        format!("has {theirs} for the repo host, but the PostgreSQL pod has {ours}"),
        "use images with the same version of pgBackRest; different versions do not work together",
    )
}

fn repos() -> String {
    format!("{BACKUP}.repos")
}
