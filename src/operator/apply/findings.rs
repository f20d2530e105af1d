//! What is told about objects that are not as desired.

use super::server::Trouble;
use crate::cluster::finding::{Finding, codes};
use crate::kubernetes::client::{CallError, CallFailure};
use crate::operator::kinds::ObjectPath;

/// An object under a name of ours is somebody else's.
pub(super) fn taken(place: ObjectPath<'_>, cluster: &str, owner: &str) -> Finding {
    Finding::new(
        &codes::NAME_TAKEN,
        "metadata.name",
        format!("conflicts with {place}, which belongs to {owner}"),
        "delete that object, or annotate the resource with pgbackrest-keeper.io/adopt: \"true\"",
    )
    .with_value(cluster)
}

/// The same, and it cannot be taken over.
pub(super) fn of_another_cluster(place: ObjectPath<'_>, cluster: &str, owner: &str) -> Finding {
    Finding::new(
        &codes::NAME_TAKEN,
        "metadata.name",
        format!("conflicts with {place}, which belongs to {owner}"),
        "rename one of the two clusters",
    )
    .with_value(cluster)
}

/// Somebody else's CronJob, under another name, backs up the same cluster.
pub(super) fn double(place: ObjectPath<'_>, cluster: &str, owner: &str) -> Finding {
    Finding::new(
        &codes::NAME_TAKEN,
        "metadata.name",
        format!("is also backed up by {place}, which belongs to {owner}"),
        "delete that CronJob, or annotate the resource with pgbackrest-keeper.io/adopt: \"true\"",
    )
    .with_value(cluster)
}

/// Something has to end first.
pub(super) fn waits(place: ObjectPath<'_>, why: &str, remedy: &str) -> Finding {
    Finding::new(&codes::OBJECT_WAITS, place.to_string(), why, remedy)
}

/// The API server does not take an object.
pub(super) fn refused(place: ObjectPath<'_>, error: &CallError) -> Finding {
    // What is said about a Secret may hold a part of it.
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

/// What trouble with one object is told as, unless it is trouble with everything.
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

/// A volume is to grow, and its class, which the resource does not name, has no growth.
pub(super) fn cannot_grow(place: ObjectPath<'_>, wanted: &str, has: &str, class: &str) -> Finding {
    Finding::new(
        &codes::VOLUME_CANNOT_GROW,
        place.to_string(),
        format!("should grow from {has}, but its storage class {class} does not allow expansion"),
        "set allowVolumeExpansion on the class if its driver supports it, or add a repo with a larger volume",
    )
    .with_value(wanted)
}

/// The resource asks for no backups any more, and nobody has said that everything may go.
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
