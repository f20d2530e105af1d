//! Turns a resource and its references into a `ValidatedCluster`, or findings.
//!
//! Each module checks one subject, adds findings to `Checks`, and returns what is valid.

mod annotations;
mod global;
mod identity;
mod pods;
mod repos;
mod schedules;
mod secrets;
mod storage;
mod unknown;

use serde_json::Value;

use super::finding::{Code, Finding, codes};
use super::line::Line;
use super::names;
use super::references::References;
use super::resource::{self, BACKUP, Pgbackrest, Postgresql};
use super::settings::Settings;
use super::validated::{Suspension, ValidatedCluster};

pub use annotations::Conduct;

/// Validates any document: findings of `resource::read`, unknown fields, and the findings of `validate`.
#[must_use]
pub fn document(
    document: Value,
    references: &References,
    settings: &Settings,
) -> (Option<ValidatedCluster>, Vec<Finding>) {
    let (resource, findings) = read(document);
    judge(&resource, findings, references, settings)
}

/// Parses any document, with findings about unknown fields and wrong types.
#[must_use]
pub fn read(document: Value) -> (Postgresql, Vec<Finding>) {
    let mut findings = unknown::fields(&document);
    let (resource, wrong) = resource::read(document);
    findings.extend(wrong);
    (resource, findings)
}

/// Validates the result of `read`.
#[must_use]
pub fn judge(
    resource: &Postgresql,
    mut findings: Vec<Finding>,
    references: &References,
    settings: &Settings,
) -> (Option<ValidatedCluster>, Vec<Finding>) {
    let (cluster, more) = validate(resource, references, settings);
    findings.extend(more);
    without_echoes(&mut findings);
    sort(&mut findings);
    let valid = !findings.iter().any(Finding::is_error);
    (cluster.filter(|_| valid), findings)
}

/// Validates a resource. There is a cluster if no finding is an error and there is a backup to set up; without a
/// backup section, the only finding is `no-backup` or `no-repos`.
#[must_use]
pub fn validate(
    resource: &Postgresql,
    references: &References,
    settings: &Settings,
) -> (Option<ValidatedCluster>, Vec<Finding>) {
    let mut checks = Checks { settings, references, findings: Vec::new() };
    let cluster = look(resource, &mut checks);
    let mut findings = checks.findings;
    sort(&mut findings);
    let valid = !findings.iter().any(Finding::is_error);
    (cluster.filter(|_| valid), findings)
}

/// The annotations about this program. They apply to invalid resources too.
#[must_use]
pub fn conduct(resource: &Postgresql, settings: &Settings) -> Conduct {
    Conduct::of(resource, settings)
}

fn look(resource: &Postgresql, checks: &mut Checks<'_>) -> Option<ValidatedCluster> {
    let identity = identity::look(resource, checks);
    annotations::conduct(resource, checks);
    let Some(section) = resource.pgbackrest() else {
        checks.note(
            &codes::NO_BACKUP,
            BACKUP,
            "is missing, so no backups are set up",
            "add the section to back up this cluster",
        );
        return None;
    };
    restore(section, checks);
    if section.repos.is_empty() {
        checks.note(
            &codes::NO_REPOS,
            format!("{BACKUP}.repos"),
            "is empty, so no backups are set up",
            "add repo1 with its storage; existing objects are removed only with \
             pgbackrest-keeper.io/authorize-removal",
        );
        return None;
    }
    let repos = repos::look(section, checks);
    let global = global::look(section, &repos, checks);
    secrets::look(section, &repos, &global, checks);
    let jobs = annotations::jobs(resource, checks);
    schedules::collisions(&repos, jobs.time_zone.as_deref(), checks);
    let requests = annotations::requests(resource, &repos, checks);
    let image = identity::image(section, &repos, checks);
    let suspension = suspension(resource, checks);
    let pods = pods::look(resource, section, checks);
    identity::names(&identity, &repos, checks);
    Some(ValidatedCluster {
        name: identity.name,
        namespace: identity.namespace,
        uid: resource.metadata.uid.clone(),
        team: resource.spec.team_id.clone().filter(|team| !team.is_empty()),
        instances: identity.instances,
        encrypted_data_directory: identity::encrypted_data_directory(resource, checks),
        repos,
        image,
        global,
        secret: secrets::name(section),
        suspension,
        jobs: crate::cluster::validated::JobTemplate { pod: pods.job, ..jobs },
        repo_host: pods.repo_host,
        backup_now: requests.backup_now,
        stanza_upgrade: requests.stanza_upgrade,
    })
}

/// The context of all checks, which collects findings.
struct Checks<'given> {
    settings: &'given Settings,
    references: &'given References,
    findings: Vec<Finding>,
}

impl Checks<'_> {
    fn note(
        &mut self,
        code: &'static Code,
        field: impl AsRef<str>,
        message: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) {
        self.findings.push(Finding::new(code, field, message, remedy));
    }

    /// Like `note`, with the value of the field, which must not be a secret.
    fn note_value(
        &mut self,
        code: &'static Code,
        field: impl AsRef<str>,
        value: impl AsRef<str>,
        message: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) {
        self.findings.push(Finding::new(code, field, message, remedy).with_value(value));
    }
}

fn suspension(resource: &Postgresql, checks: &mut Checks<'_>) -> Option<Suspension> {
    if resource.spec.standby.as_ref().is_some_and(|standby| !standby.is_null()) {
        checks.note(
            &codes::SUSPENDED,
            "spec.standby",
            "makes this a standby cluster, which cannot be backed up; its jobs are suspended",
            "back up the primary cluster; when this one is promoted, remove spec.standby",
        );
        return Some(Suspension::Standby);
    }
    if resource.spec.number_of_instances == Some(0) {
        checks.note_value(
            &codes::SUSPENDED,
            "spec.numberOfInstances",
            "0",
            "means that there is nothing to back up; the jobs are suspended",
            "the jobs resume when there are instances again",
        );
        return Some(Suspension::NoInstances);
    }
    None
}

fn restore(section: &Pgbackrest, checks: &mut Checks<'_>) {
    let asked =
        section.restore.as_ref().and_then(|restore| restore.id.as_deref()).filter(|id| !id.is_empty());
    if let Some(id) = asked {
        checks.note_value(
            &codes::RESTORE_NOT_EXECUTED,
            format!("{BACKUP}.restore.id"),
            id,
            "requests a restore, which pgbackrest-keeper does not execute",
            "run `pgbackrest-keeper info --restore-command` to get the restore command",
        );
    }
}

/// A secret must be moved, so quoting it is no remedy, and a field of the wrong type is not also missing.
fn without_echoes(findings: &mut Vec<Finding>) {
    for (told, echo) in [
        (&codes::SECRET_IN_RESOURCE, &codes::WRONG_TYPE),
        (&codes::WRONG_TYPE, &codes::REQUIRED_FIELD_MISSING),
    ] {
        let fields: Vec<String> = findings
            .iter()
            .filter(|finding| finding.code == told)
            .map(|finding| finding.field.clone())
            .collect();
        findings.retain(|finding| finding.code != echo || !fields.contains(&finding.field));
    }
}

/// Errors first, then by field, so that the order is stable.
fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| (a.severity, &a.field, a.code.word).cmp(&(b.severity, &b.field, b.code.word)));
}

/// A value that fits on a line of pgBackRest's configuration.
fn one_line(text: &str, path: &str, field: &str, checks: &mut Checks<'_>) -> Option<Line> {
    if let Some(line) = Line::of(text) {
        return Some(line);
    }
    checks.note(
        &codes::FIELD_MALFORMED,
        format!("{path}.{field}"),
        "contains control characters, or leading or trailing whitespace",
        "write it on one line, without surrounding whitespace",
    );
    None
}

/// The name of another object, as Kubernetes takes it.
fn object_name(name: &str, field: &str, checks: &mut Checks<'_>) -> Option<String> {
    if names::is_object_name(name) {
        return Some(name.to_owned());
    }
    checks.note(
        &codes::FIELD_MALFORMED,
        field,
        "is not a valid name in Kubernetes",
        "use lower-case letters, digits, '-' and '.', starting and ending with a letter or digit",
    );
    None
}

#[cfg(test)]
mod tests;
