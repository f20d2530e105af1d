//! Findings about objects that are not as desired.

use super::Owner;
use super::server::Trouble;
use crate::cluster::finding::{Finding, codes};
use crate::cluster::resource::KIND;
use crate::kubernetes::client::{CallError, CallFailure};
use crate::operator::kinds::ObjectPath;

/// An object with one of our names has another owner.
pub(super) fn taken(place: ObjectPath<'_>, of: Owner<'_>, owner: &str) -> Finding {
    let remedy = if of.kind == KIND {
        "delete that object, or annotate the resource with pgbackrest-keeper.io/adopt: \"true\""
    } else {
        "delete that object, or rename the resource"
    };
    let problem = format!("conflicts with {place}, which belongs to {owner}");
    Finding::new(&codes::NAME_TAKEN, "metadata.name", problem, remedy).with_value(of.name)
}

/// The same, but it cannot be taken over.
pub(super) fn of_another_cluster(place: ObjectPath<'_>, cluster: &str, owner: &str) -> Finding {
    Finding::new(
        &codes::NAME_TAKEN,
        "metadata.name",
        format!("conflicts with {place}, which belongs to {owner}"),
        "rename one of the two clusters",
    )
    .with_value(cluster)
}

/// A CronJob with another owner and name backs up the same cluster.
pub(super) fn double(place: ObjectPath<'_>, cluster: &str, owner: &str) -> Finding {
    Finding::new(
        &codes::NAME_TAKEN,
        "metadata.name",
        format!("is also backed up by {place}, which belongs to {owner}"),
        "delete that CronJob, or annotate the resource with pgbackrest-keeper.io/adopt: \"true\"",
    )
    .with_value(cluster)
}

/// Something must finish first.
pub(super) fn waits(place: ObjectPath<'_>, why: &str, remedy: &str) -> Finding {
    Finding::new(&codes::OBJECT_WAITS, place.to_string(), why, remedy)
}

/// The API server rejects an object.
pub(super) fn refused(place: ObjectPath<'_>, error: &CallError) -> Finding {
    // A message about a Secret may contain a part of it.
    let said = match (place.kind.name, error.failure) {
        ("Secret", CallFailure::Invalid | CallFailure::Other) => "the Secret is invalid",
        _ => error.message.as_str(),
    };
    let remedy = match error.failure {
        CallFailure::Forbidden => {
            "grant the permission to the operator's ServiceAccount (see deploy/base), or check admission policies \
             and quotas"
        }
        CallFailure::Invalid => {
            "fix the resource according to the message; if a field is immutable, delete the object so that it is \
             created again"
        }
        _ => "fix the problem in the message; it is retried",
    };
    Finding::new(&codes::OBJECT_REFUSED, place.to_string(), format!("is rejected: {said}"), remedy)
}

/// The finding for an error with one object, unless it affects all of them.
pub(super) fn of_trouble(place: ObjectPath<'_>, trouble: Trouble) -> Result<Finding, CallError> {
    match trouble {
        Trouble::Broken(error) => Err(error),
        Trouble::Refused(error) => Ok(refused(place, &error)),
        Trouble::Moved(error) => {
            let why = format!("changed while it was being written: {}", error.message);
            Ok(waits(place, &why, "it is retried; check which other client writes it"))
        }
    }
}

/// A volume must be expanded, but its storage class, which the resource does not name, does not allow it.
pub(super) fn cannot_grow(place: ObjectPath<'_>, wanted: &str, has: &str, class: &str) -> Finding {
    Finding::new(
        &codes::VOLUME_CANNOT_GROW,
        place.to_string(),
        format!("should grow from {has}, but its storage class {class} does not allow expansion"),
        "set allowVolumeExpansion on the class if its driver supports it, or add a repo with a larger volume",
    )
    .with_value(wanted)
}

/// The resource no longer configures backups, and removal is not authorized.
pub(super) fn removal_not_authorized(suspended: usize) -> Finding {
    Finding::new(
        &codes::REMOVAL_NOT_AUTHORIZED,
        "spec.backup.pgbackrest.repos",
        format!(
            "has no repos anymore; the CronJobs ({suspended}) are suspended, while configuration and repo host are \
             kept, because without them archiving fails and WAL fills the disk of the primary"
        ),
        "turn off archiving and annotate the resource with pgbackrest-keeper.io/authorize-removal: \"true\" (volumes \
         are kept even then), or restore the section",
    )
}
