//! The cluster itself: name, size, fields that the API server requires, and the image of the repo host.

use super::Checks;
use super::parts::Part;
use crate::cluster::finding::codes;
use crate::cluster::references::Lookup;
use crate::cluster::resource::{BACKUP, Pgbackrest, Postgresql};
use crate::cluster::validated::{PostgresVersion, RepoNumber, ValidatedRepo, need_repo_host};
use crate::cluster::{labels, names};

/// The identity of the cluster.
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) instances: u32,
    pub(super) team: Option<String>,
}

pub(super) fn look(resource: &Postgresql, checks: &mut Checks<'_>) -> Identity {
    let name = resource.metadata.name.clone().unwrap_or_default();
    name_is_good(&name, checks);
    let namespace = resource.metadata.namespace.clone().filter(|namespace| !namespace.is_empty());
    if namespace.as_deref().is_some_and(|namespace| !names::is_dns_label(namespace, 63)) {
        checks.note_value(
            &codes::NAME_INVALID,
            "metadata.namespace",
            namespace.as_deref().unwrap_or_default(),
            "is not a valid namespace name",
            "use lower-case letters, digits and dashes",
        );
    }
    required_fields(resource, checks);
    Identity {
        name,
        namespace: namespace.unwrap_or_else(|| checks.settings.default_namespace.clone()),
        instances: instances(resource, checks),
        team: checks.within(Part::Field, |checks| team(resource, checks)),
    }
}

/// The value of a label.
fn team(resource: &Postgresql, checks: &mut Checks<'_>) -> Option<String> {
    let team = resource.spec.team_id.as_deref().filter(|team| !team.is_empty())?;
    if labels::is_value(team) {
        return Some(team.to_owned());
    }
    checks.note_value(
        &codes::FIELD_MALFORMED,
        "spec.teamId",
        team,
        "is not a valid value of a label; the objects get none",
        "use up to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
    );
    None
}

fn name_is_good(name: &str, checks: &mut Checks<'_>) {
    // The name of a Service must start with a letter (DNS-1035), and `<cluster>-clusterpods` is one.
    if !names::is_dns_label(name, 253) || name.starts_with(|c: char| c.is_ascii_digit()) {
        checks.note_value(
            &codes::NAME_INVALID,
            "metadata.name",
            name,
            "is not valid as a prefix for the names of Services and pods",
            "use lower-case letters, digits and dashes; start with a letter, and do not end with a dash",
        );
    } else if name.len() > names::LONGEST_CLUSTER {
        checks.note_value(
            &codes::NAME_INVALID,
            "metadata.name",
            name,
            format!("has {} characters, too many for {}", name.len(), names::pods_service("<name>")),
            format!("use at most {} characters", names::LONGEST_CLUSTER),
        );
    }
}

/// The schema of the resource requires these (CPO 0.9); a manifest without them cannot be applied.
fn required_fields(resource: &Postgresql, checks: &mut Checks<'_>) {
    let spec = &resource.spec;
    let version = spec.postgresql.as_ref().and_then(|postgresql| postgresql.version.as_ref());
    for (field, is_there) in [
        ("spec.numberOfInstances", spec.number_of_instances.is_some()),
        ("spec.teamId", spec.team_id.is_some()),
        ("spec.postgresql.version", version.is_some()),
        ("spec.volume", spec.volume.is_some()),
    ] {
        if !is_there {
            checks.note(
                &codes::REQUIRED_FIELD_MISSING,
                field,
                "is not set, but the API server requires it in every postgresql resource",
                "add it, unless another tool adds it before the manifest is applied",
            );
        }
    }
}

fn instances(resource: &Postgresql, checks: &mut Checks<'_>) -> u32 {
    let Some(given) = resource.spec.number_of_instances else { return 1 };
    match u32::try_from(given) {
        // pgBackRest supports 256 hosts.
        Ok(instances) if instances <= 256 => instances,
        _ => {
            checks.note_value(
                &codes::FIELD_MALFORMED,
                "spec.numberOfInstances",
                given.to_string(),
                "is not a number of pods that pgBackRest supports",
                "use a number from 0 to 256",
            );
            1
        }
    }
}

/// The version of PostgreSQL that pgBackRest has to be told, if the data directory is encrypted.
pub(super) fn encrypted_data_directory(
    resource: &Postgresql,
    checks: &mut Checks<'_>,
) -> Option<PostgresVersion> {
    let spec = &resource.spec;
    if spec.tde.as_ref().and_then(|tde| tde.enable) != Some(true) {
        return None;
    }
    let given = spec.postgresql.as_ref().and_then(|postgresql| postgresql.version.as_deref());
    let version = PostgresVersion::of(given.unwrap_or_default());
    if version.is_none() {
        checks.note(
            &codes::FIELD_MALFORMED,
            "spec.postgresql.version",
            "is not a version of PostgreSQL, which pgBackRest needs for an encrypted data directory",
            "set the major version, such as 17",
        );
    }
    version
}

/// The image of the repo host. Repos on volumes need it, and backups from a standby (see `standby`).
pub(super) fn image(
    section: &Pgbackrest,
    repos: &[ValidatedRepo],
    checks: &mut Checks<'_>,
) -> Option<String> {
    let on_volumes: Vec<RepoNumber> =
        repos.iter().filter(|repo| repo.storage.is_volume()).map(|repo| repo.number).collect();
    let is_needed = !on_volumes.is_empty();
    checks.within(Part::Repos(on_volumes), |checks| image_for(is_needed, section, checks))
}

fn image_for(is_needed: bool, section: &Pgbackrest, checks: &mut Checks<'_>) -> Option<String> {
    let path = format!("{BACKUP}.image");
    let image = section.image.clone().filter(|image| !image.is_empty());
    match &image {
        Some(given) if !names::is_image(given) => {
            checks.note_value(
                &codes::FIELD_MALFORMED,
                path,
                given,
                "is not a valid image reference",
                "use registry/name:tag, without spaces or quotes",
            );
            return None;
        }
        Some(_) => {}
        None if is_needed => checks.note(
            &codes::IMAGE_MISSING,
            path,
            "is not set, but the repo host needs an image with pgBackRest",
            "set an image with the same version of pgBackRest as in the PostgreSQL pods",
        ),
        None => checks.note(
            &codes::REQUIRED_FIELD_MISSING,
            path,
            "is not set, but the API server requires it in every backup section",
            "set an image with pgBackRest",
        ),
    }
    image
}

/// Names that are shortened, or belong to another owner.
pub(super) fn names(identity: &Identity, repos: &[ValidatedRepo], checks: &mut Checks<'_>) {
    let with_repo_host = need_repo_host(repos);
    if identity.name.len() <= names::LONGEST_CLUSTER && names::shortens(&identity.name, with_repo_host) {
        checks.note_value(
            &codes::NAME_SHORTENED,
            "metadata.name",
            &identity.name,
            "is too long for the names of CronJobs or the repo host, which are shortened with a hash",
            "find these objects by their labels, such as pgbackrest-keeper.io/cluster",
        );
    }
    match &checks.references.taken {
        Lookup::NotChecked => checks.note(
            &codes::NAMES_NOT_CHECKED,
            "metadata.name",
            "was not checked: objects with the same names may exist",
            "check with `kubectl get cronjob,statefulset,configmap,secret,service`",
        ),
        Lookup::Missing => {}
        Lookup::Found(taken) => {
            for object in taken {
                checks.note_value(
                    &codes::NAME_TAKEN,
                    "metadata.name",
                    &identity.name,
                    format!(
                        "conflicts with {} {}, which belongs to {}",
                        object.kind, object.name, object.owner
                    ),
                    "delete that object, or annotate the resource with pgbackrest-keeper.io/adopt: \"true\"",
                );
            }
        }
    }
}
