//! What is restored, how PostgreSQL runs, and what is checked.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};

use super::{Checks, named};
use crate::cluster::finding::codes;
use crate::cluster::restore_test::resource::{self, Spec};
use crate::cluster::restore_test::validated::{self, Assertions, Postgresql, RepoWish};
use crate::cluster::validate::storage::is_secret_key;
use crate::cluster::validated::RepoNumber;
use crate::pgbackrest::label::BackupLabel;
use crate::pgbackrest::options;

const ASSERTIONS: &str = "assertions.yaml";
/// Bytes of a name in PostgreSQL.
const LONGEST_NAME: usize = 63;
/// What pgBackRest takes for `process-max`.
const MOST_PROCESSES: i64 = 999;

pub(super) struct What {
    /// These three are None with a finding.
    pub(super) repo: Option<RepoWish>,
    pub(super) backup: Option<String>,
    pub(super) target: Option<String>,
    pub(super) databases: Vec<String>,
    pub(super) process_max: Option<u16>,
    pub(super) postgresql: Postgresql,
    pub(super) checks: validated::Checks,
}

pub(super) fn look(spec: &Spec, checks: &mut Checks<'_>) -> What {
    What {
        repo: word(spec.repo.as_deref().unwrap_or("any"), "spec.repo", repo, checks),
        backup: word(spec.backup.as_deref().unwrap_or("latest"), "spec.backup", backup, checks),
        target: word(spec.target.as_deref().unwrap_or("latest"), "spec.target", target, checks),
        databases: databases(&spec.databases, checks),
        process_max: process_max(spec.process_max, checks),
        postgresql: postgresql(&spec.postgresql, checks),
        checks: validated::Checks {
            amcheck: spec.checks.amcheck.unwrap_or_default(),
            assertions: spec.checks.assertions.as_ref().and_then(|given| assertions(given, checks)),
        },
    }
}

/// One of the words of a field, or why not.
fn word<T>(
    given: &str,
    field: &str,
    read: impl FnOnce(&str) -> Result<T, &'static str>,
    checks: &mut Checks<'_>,
) -> Option<T> {
    read(given)
        .map_err(|remedy| {
            checks.note_value(&codes::FIELD_MALFORMED, field, given, "is not a valid value", remedy);
        })
        .ok()
}

fn repo(given: &str) -> Result<RepoWish, &'static str> {
    match given {
        "any" => Ok(RepoWish::Any),
        name => RepoNumber::of_name(name).map(RepoWish::Repo).ok_or("use any, repo1, repo2, repo3 or repo4"),
    }
}

fn backup(given: &str) -> Result<String, &'static str> {
    let is_known = matches!(given, "latest" | "oldest" | "random") || BackupLabel::parse(given).is_some();
    let remedy = "use latest, oldest, random, or a label such as 20261122-092719F";
    is_known.then(|| given.to_owned()).ok_or(remedy)
}

fn target(given: &str) -> Result<String, &'static str> {
    if matches!(given, "latest" | "random" | "immediate") {
        return Ok(given.to_owned());
    }
    let time = DateTime::parse_from_rfc3339(given).map(|time| time.with_timezone(&Utc));
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        .map_err(|_| "use latest, random, immediate, or a time such as 2026-11-23T05:00:00Z")
}

/// The program takes a list, which is separated by commas.
fn databases(given: &[String], checks: &mut Checks<'_>) -> Vec<String> {
    for (index, name) in given.iter().enumerate() {
        let is_wrong = |letter: char| letter == ',' || letter.is_control();
        if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(is_wrong) {
            checks.note_value(
                &codes::FIELD_MALFORMED,
                format!("spec.databases[{index}]"),
                name,
                "is not a name of a database that can be given here",
                "use a name of at most 63 bytes, without commas and control characters",
            );
        }
    }
    given.to_vec()
}

fn process_max(given: Option<i64>, checks: &mut Checks<'_>) -> Option<u16> {
    let given = given?;
    let number = u16::try_from(given).ok().filter(|_| (1..=MOST_PROCESSES).contains(&given));
    if number.is_none() {
        checks.note_value(
            &codes::FIELD_MALFORMED,
            "spec.processMax",
            given.to_string(),
            "is not a number of processes that pgBackRest takes",
            "use a number from 1 to 999",
        );
    }
    number
}

fn postgresql(given: &resource::Postgresql, checks: &mut Checks<'_>) -> Postgresql {
    let path = "spec.postgresql";
    let bin_directory = given.bin_directory.as_deref().filter(|directory| !directory.is_empty());
    if bin_directory.is_some_and(|directory| !options::is_plain_path(directory)) {
        checks.note_value(
            &codes::FIELD_MALFORMED,
            format!("{path}.binDirectory"),
            bin_directory.unwrap_or_default(),
            "is not an absolute path",
            "use a path in the image, such as /usr/lib/postgresql/17/bin",
        );
    }
    let user = given.user.as_deref().filter(|user| !user.is_empty());
    if user.is_some_and(|user| user.len() > LONGEST_NAME || user.chars().any(char::is_control)) {
        checks.note(
            &codes::FIELD_MALFORMED,
            format!("{path}.user"),
            "is not a name of a user in PostgreSQL",
            "use the name of a superuser",
        );
    }
    Postgresql {
        bin_directory: bin_directory.map(str::to_owned),
        user: user.map(str::to_owned),
        parameters: parameters(&given.parameters, checks),
    }
}

fn parameters(given: &BTreeMap<String, String>, checks: &mut Checks<'_>) -> BTreeMap<String, String> {
    let is_of_a_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.');
    for (name, value) in given {
        let is_good = !name.is_empty() && name.chars().all(is_of_a_name);
        if !is_good || value.chars().any(char::is_control) {
            checks.note(
                &codes::FIELD_MALFORMED,
                format!("spec.postgresql.parameters.{name}"),
                "is not a setting of PostgreSQL on one line",
                "use a name such as shared_preload_libraries, and a value without line breaks",
            );
        }
    }
    given.clone()
}

fn assertions(given: &resource::Assertions, checks: &mut Checks<'_>) -> Option<Assertions> {
    let path = "spec.checks.assertions";
    let key = given.key.as_deref().filter(|key| !key.is_empty()).unwrap_or(ASSERTIONS);
    if !is_secret_key(key) {
        checks.note_value(
            &codes::FIELD_MALFORMED,
            format!("{path}.key"),
            key,
            "is not a key of a ConfigMap",
            "use letters, digits, '-', '_' and '.'",
        );
    }
    let field = format!("{path}.configMap");
    let Some(name) = given.config_map.as_deref().filter(|name| !name.is_empty()) else {
        checks.note(
            &codes::FIELD_EMPTY,
            field,
            "is not set",
            "set the name of the ConfigMap with the assertions",
        );
        return None;
    };
    Some(Assertions { config_map: named(Some(name), &field, checks)?, key: key.to_owned() })
}
