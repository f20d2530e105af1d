//! What is told about objects that are not as desired.

use super::kinds::Place;
use super::server::Trouble;
use crate::cluster::finding::{Finding, codes};
use crate::kubernetes::client::{CallError, CallFailure};

/// An object under a name of ours is somebody else's.
pub(super) fn taken(place: Place<'_>, cluster: &str, owner: &str) -> Finding {
    Finding::new(
        &codes::NAME_TAKEN,
        "metadata.name",
        format!("leads to {place}, which belongs to {owner}"),
        "remove that object, or annotate the resource with pgbackrest-keeper.io/adopt: \"true\"",
    )
    .with_value(cluster)
}

/// The same, and it cannot be taken over.
pub(super) fn of_another_cluster(place: Place<'_>, cluster: &str, owner: &str) -> Finding {
    Finding::new(
        &codes::NAME_TAKEN,
        "metadata.name",
        format!("leads to {place}, which belongs to {owner}"),
        "give one of the two clusters another name",
    )
    .with_value(cluster)
}

/// Somebody else's CronJob, under another name, backs up the same cluster.
pub(super) fn double(place: Place<'_>, cluster: &str, owner: &str) -> Finding {
    Finding::new(
        &codes::NAME_TAKEN,
        "metadata.name",
        format!("is the cluster of {place} too, which belongs to {owner}: both back it up"),
        "remove that CronJob, or annotate the resource with pgbackrest-keeper.io/adopt: \"true\"",
    )
    .with_value(cluster)
}

/// Something has to end first.
pub(super) fn waits(place: Place<'_>, why: &str, remedy: &str) -> Finding {
    Finding::new(&codes::OBJECT_WAITS, place.to_string(), why, remedy)
}

/// The API server does not take an object.
pub(super) fn refused(place: Place<'_>, error: &CallError) -> Finding {
    // What is said about a Secret may hold a part of it.
    let said = match (place.kind.name, error.failure) {
        ("Secret", CallFailure::Invalid | CallFailure::Other) => "the Secret is not valid",
        _ => error.message.as_str(),
    };
    let remedy = match error.failure {
        CallFailure::Forbidden => {
            "give the operator's ServiceAccount the right (see deploy/base), or see what admission or a quota forbids"
        }
        CallFailure::Invalid => {
            "correct what the message names in the resource; if it is a field that cannot be changed, delete the object, \
             which is made anew"
        }
        _ => "see what the message names; it is tried again",
    };
    Finding::new(&codes::OBJECT_REFUSED, place.to_string(), format!("is refused: {said}"), remedy)
}

/// What trouble with one object is told as, unless it is trouble with everything.
pub(super) fn of_trouble(place: Place<'_>, trouble: Trouble) -> Result<Finding, CallError> {
    match trouble {
        Trouble::Broken(error) => Err(error),
        Trouble::Refused(error) => Ok(refused(place, &error)),
        Trouble::Moved(error) => {
            let why = format!("changes while it is written: {}", error.message);
            Ok(waits(place, &why, "it is tried again; see who else writes it"))
        }
    }
}

/// A volume is to grow, and its class, which the resource does not name, has no growth.
pub(super) fn cannot_grow(place: Place<'_>, wanted: &str, has: &str, class: &str) -> Finding {
    Finding::new(
        &codes::VOLUME_CANNOT_GROW,
        place.to_string(),
        format!("is to grow from {has}, and its storage class {class} does not let it"),
        "set allowVolumeExpansion on the class if its driver can do it, or add a repo with a larger volume",
    )
    .with_value(wanted)
}

/// The resource asks for no backups any more, and nobody has said that everything may go.
pub(super) fn removal_not_authorized(suspended: usize) -> Finding {
    Finding::new(
        &codes::REMOVAL_NOT_AUTHORIZED,
        "spec.backup.pgbackrest.repos",
        format!(
            "names no repo any more; the CronJobs ({suspended}) are suspended, and configuration and repo host stay, since \
             without them archiving fails and WAL fills the primary's disk"
        ),
        "switch archiving off and annotate the resource with pgbackrest-keeper.io/authorize-removal: \"true\" (volumes stay \
         also then), or bring the section back",
    )
}
