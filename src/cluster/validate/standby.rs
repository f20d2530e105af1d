//! Backups from a standby, which an annotation asks for: pgBackRest must reach the primary and a standby from the place where it makes
//! the backup. That is the repo host, also for repos in object stores.

use super::Checks;
use super::annotations::{self, field, given};
use super::environment::Environment;
use super::versions::Versions;
use crate::cluster::containers::Container;
use crate::cluster::finding::codes;
use crate::cluster::names;
use crate::cluster::references::{Lookup, file_beside_configuration};
use crate::cluster::resource::{BACKUP, Pgbackrest, Postgresql};
use crate::cluster::validated::{BackupStandby, GcsCredentials, KeyFile, Storage, ValidatedRepo};

const ANNOTATION: &str = "backup-standby";

/// For an option that is left out, because pgBackRest knows no standby.
pub(super) const REMEDY: &str = "remove it, and use the annotation pgbackrest-keeper.io/backup-standby with two or more \
     instances";

/// What the annotation asks for, if it can work. Then all backups are made on the repo host. Otherwise it counts as not set, and
/// backups are made as without it.
pub(super) fn look(
    resource: &Postgresql,
    section: &Pgbackrest,
    instances: u32,
    repos: &mut [ValidatedRepo],
    environment: &Environment,
    checks: &mut Checks<'_>,
) -> Option<BackupStandby> {
    let value = given(resource, ANNOTATION)?;
    let asked = match value {
        "n" => return None,
        "y" => BackupStandby::Required,
        "prefer" => BackupStandby::Preferred,
        _ => {
            let remedy = "use y, prefer or n, as for the option of pgBackRest";
            annotations::invalid(ANNOTATION, value, "is not a value of backup-standby", remedy, checks);
            return None;
        }
    };
    if let Some((why, remedy)) = obstacle(section, repos, environment, checks) {
        annotations::invalid(ANNOTATION, value, &format!("cannot be followed: {why}"), &remedy, checks);
        return None;
    }
    let versions = Versions::of(resource, section, true, checks.references);
    if !versions.take_backup_standby(value, &field(ANNOTATION), checks) {
        return None;
    }
    if section.global.get(ANNOTATION).is_some_and(|option| option != value) {
        checks.note(
            &codes::OPTION_OVERRIDES,
            format!("{BACKUP}.global.{ANNOTATION}"),
            format!("overrides the annotation {ANNOTATION}, which is {value}"),
            "remove it",
        );
    }
    let repo_host = Container::RepoHost { instances, volumes: &[] };
    if let Some(why) = repo_host.objection(ANNOTATION, value) {
        checks.note_value(
            &codes::OPTION_LEFT_OUT,
            field(ANNOTATION),
            value,
            format!("is left out on the repo host: {why}; backups are made from the primary"),
            "run two or more instances, or use prefer",
        );
    }
    for repo in repos {
        repo.on_repo_host = true;
    }
    Some(asked)
}

/// What the repo host would lack, and the remedy.
fn obstacle(
    section: &Pgbackrest,
    repos: &[ValidatedRepo],
    environment: &Environment,
    checks: &Checks<'_>,
) -> Option<(String, String)> {
    if !section.image.as_deref().is_some_and(names::is_image) {
        return Some((
            "backups from a standby are made on the repo host, which needs an image".to_owned(),
            format!(
                "set {BACKUP}.image to an image with the same version of pgBackRest as in the PostgreSQL pods"
            ),
        ));
    }
    if checks.references.secret_has(ANNOTATION) {
        return Some((
            "the Secret contains backup-standby, and pgBackRest rejects duplicate options (error 31)"
                .to_owned(),
            "remove it from the Secret".to_owned(),
        ));
    }
    for repo in repos.iter().filter(|repo| !repo.storage.is_volume()) {
        let number = repo.number;
        let start = format!("{number}-");
        let missing = environment
            .database()
            .keys()
            .find(|option| option.starts_with(&start) && !environment.repo_host().contains_key(*option));
        if let Some(option) = missing {
            return Some((
                format!(
                    "the repo host, where the backups of {number} would be made, does not get {option} from the environment"
                ),
                format!(
                    "add the variable of spec.env to {BACKUP}.env as well, or put the option into the Secret"
                ),
            ));
        }
        if let Some(path) = key_elsewhere(repo, section, checks) {
            return Some((
                format!(
                    "the repo host, where the backups of {number} would be made, does not mount the key file{path}"
                ),
                format!("put the key file into the Secret, and its name into key of {number}"),
            ));
        }
    }
    None
}

/// The path of a key file that only PostgreSQL's pods mount, for a message; empty if the Secret names it.
fn key_elsewhere(repo: &ValidatedRepo, section: &Pgbackrest, checks: &Checks<'_>) -> Option<String> {
    let Storage::Gcs { credentials: GcsCredentials::Service(key), .. } = &repo.storage else { return None };
    let option = format!("{}-gcs-key", repo.number);
    match key {
        KeyFile::InSecret(_) => None,
        KeyFile::Mounted(path) => Some(format!(" {path}")),
        KeyFile::Named => {
            if let Some(path) = section.global.get(&option) {
                return file_beside_configuration(path).is_none().then(|| format!(" {path}"));
            }
            let Lookup::Found(facts) = &checks.references.secret else { return None };
            let (_, given) = facts.options().find(|(_, given)| given.name == option)?;
            given.file.is_none().then(String::new)
        }
    }
}
