//! Turns a resource and its references into a `ValidatedCluster` or a `ValidatedRestoreTest`, or findings.
//!
//! Each module checks one subject, adds findings to `Checks`, and returns what is valid.

mod annotations;
mod backup_options;
mod environment;
mod fields;
mod global;
mod identity;
mod locations;
mod parts;
mod pods;
mod repos;
mod requests;
mod restore_test;
mod schedules;
mod scope;
mod secrets;
mod standby;
mod storage;
mod unknown;
mod verifications;
mod versions;
mod volumes;

use chrono::DateTime;
use serde_json::Value;

use super::finding::{Code, Finding, codes};
use super::line::Line;
use super::names;
use super::references::References;
use super::resource::{self, BACKUP, Pgbackrest, Postgresql};
use super::settings::Settings;
use super::validated::{Suspension, ValidatedCluster, need_repo_host};
use environment::Environment;
use parts::{LeftOut, Part};
use versions::Versions;

pub use annotations::Conduct;
pub use locations::locations;
pub use restore_test::restore_test;

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

/// Validates the result of `read`. The API server does not accept a resource with a wrong type, so there is no cluster
/// then.
#[must_use]
pub fn judge(
    resource: &Postgresql,
    mut findings: Vec<Finding>,
    references: &References,
    settings: &Settings,
) -> (Option<ValidatedCluster>, Vec<Finding>) {
    let is_readable = !findings.iter().any(Finding::is_error);
    let (cluster, more) = validate(resource, references, settings);
    findings.extend(more);
    without_echoes(&mut findings);
    sort(&mut findings);
    (cluster.filter(|_| is_readable), findings)
}

/// Validates a resource. There is a cluster if there is a backup to set up. Repos, schedules and other parts with errors
/// are left out of it; some errors affect everything. Without a backup section, the only finding is `no-backup` or
/// `no-repos`.
#[must_use]
pub fn validate(
    resource: &Postgresql,
    references: &References,
    settings: &Settings,
) -> (Option<ValidatedCluster>, Vec<Finding>) {
    let mut checks = Checks::new(references, settings);
    let cluster = look(resource, &mut checks);
    let Checks { mut findings, left_out, .. } = checks;
    sort(&mut findings);
    (cluster.filter(|_| !left_out.cluster), findings)
}

/// The annotations about this program. They apply to invalid resources too.
#[must_use]
pub fn conduct(resource: &Postgresql, settings: &Settings) -> Conduct {
    Conduct::of(resource, settings)
}

fn look(resource: &Postgresql, checks: &mut Checks<'_>) -> Option<ValidatedCluster> {
    let identity = identity::look(resource, checks);
    checks.within(Part::Field, |checks| annotations::conduct(resource, checks));
    let Some(section) = resource.pgbackrest() else {
        checks.note(
            &codes::NO_BACKUP,
            BACKUP,
            "is missing, so no backups are set up",
            "add the section to back up this cluster",
        );
        return None;
    };
    restore(resource, section, checks);
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
    let environment = Environment::of(resource, section);
    let mut repos = repos::look(section, &environment, checks);
    checks.within(Part::Field, |checks| volumes::access_modes(resource, section, &mut repos, checks));
    let backup_standby = checks.within(Part::Field, |checks| {
        standby::look(resource, section, identity.instances, &mut repos, &environment, checks)
    });
    environment::look(resource, section, &repos, &environment, checks);
    let mut global = global::look(section, &repos, &environment, checks);
    secrets::look(section, &repos, &global, &environment, checks);
    secrets::ciphers(&repos, &global, &environment, checks);
    let jobs = checks.within(Part::Field, |checks| annotations::jobs(resource, checks));
    if annotations::time_zone_is_wrong(resource, &jobs) {
        schedules::hold_all(&mut repos);
    }
    let versions = Versions::of(resource, section, need_repo_host(&repos), checks.references);
    versions::look(&repos, &mut global, &versions, checks);
    global::look_at_containers(identity.instances, &repos, &global, checks);
    schedules::collisions(&repos, jobs.time_zone.as_deref(), &versions, checks);
    let configured =
        backup_options::Configured { global: &global, environment: &environment, versions: &versions };
    let requests = checks.within(Part::Field, |checks| {
        backup_options::look(resource, section, &mut repos, configured, checks);
        requests::look(resource, section, &repos, configured, checks)
    });
    let verifications = checks.within(Part::Field, |checks| {
        verifications::look(resource, &identity.namespace, &identity.name, &jobs, checks)
    });
    let image = identity::image(section, &repos, checks);
    let suspension = suspension(resource, checks);
    let pods = checks.within(Part::Field, |checks| pods::look(resource, section, checks));
    let encrypted_data_directory = identity::encrypted_data_directory(resource, checks);
    let adopts = conduct(resource, checks.settings).adopt;
    let mut repos = parts::good_repos(section, repos, adopts, checks);
    for repo in &mut repos {
        repo.environment = environment.of_repo(repo).clone();
    }
    global::without_other_repos(&mut global, &repos);
    identity::names(&identity, &repos, checks);
    let is_there = |number| repos.iter().any(|repo| repo.number == number);
    Some(ValidatedCluster {
        name: identity.name,
        namespace: identity.namespace,
        uid: resource.metadata.uid.clone(),
        created: {
            let created = resource.metadata.creation_timestamp.as_ref();
            created.and_then(|time| DateTime::from_timestamp(time.0.as_second(), 0))
        },
        team: identity.team,
        instances: identity.instances,
        encrypted_data_directory,
        image,
        global,
        secret: secrets::name(section),
        suspension,
        jobs: crate::cluster::validated::JobTemplate { pod: pods.job, ..jobs },
        repo_host: pods.repo_host,
        database: pods.database,
        backup_standby,
        backup_now: requests.backup_now.filter(|order| is_there(order.repo)),
        stanza_upgrade: requests.stanza_upgrade,
        verifications,
        repos,
    })
}

/// The context of all checks, which collects findings.
struct Checks<'given> {
    settings: &'given Settings,
    references: &'given References,
    findings: Vec<Finding>,
    /// What errors are about now.
    part: Part,
    left_out: LeftOut,
}

impl<'given> Checks<'given> {
    fn new(references: &'given References, settings: &'given Settings) -> Self {
        let (findings, part, left_out) = (Vec::new(), Part::default(), LeftOut::default());
        Self { settings, references, findings, part, left_out }
    }

    /// Errors that `look` notes are about this part alone.
    fn within<T>(&mut self, part: Part, look: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.part, part);
        let found = look(self);
        self.part = outer;
        found
    }

    fn add(&mut self, finding: Finding) {
        if finding.is_error() {
            self.left_out.add(&self.part);
        }
        self.findings.push(finding);
    }

    fn note(
        &mut self,
        code: &'static Code,
        field: impl AsRef<str>,
        message: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) {
        self.add(Finding::new(code, field, message, remedy));
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
        self.add(Finding::new(code, field, message, remedy).with_value(value));
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

/// CPO executes a restore once, and records it in the status of the resource (restore.go).
fn restore(resource: &Postgresql, section: &Pgbackrest, checks: &mut Checks<'_>) {
    let done = resource.status.restore_id.as_deref();
    let asked = section.restore.as_ref().and_then(|restore| restore.id.as_deref());
    let asked = asked.filter(|id| !id.is_empty() && Some(*id) != done);
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
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| (a.severity, &a.field, a.code.word).cmp(&(b.severity, &b.field, b.code.word)));
}

/// Notes an empty field that counts as not set, as charts write it. `otherwise`: what CPO makes of it.
fn empty(field: &str, otherwise: &str, checks: &mut Checks<'_>) {
    checks.note(
        &codes::FIELD_UNSET,
        field,
        format!("is empty and counts as not set; {otherwise}"),
        "omit the field, or set a value",
    );
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
