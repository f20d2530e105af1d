//! The options of `global`, which are stored in a ConfigMap: no secrets, and nothing that pgBackRest would reject.

use std::collections::BTreeMap;

use super::Checks;
use crate::cluster::finding::{Code, codes};
use crate::cluster::line::Line;
use crate::cluster::names;
use crate::cluster::references::Lookup;
use crate::cluster::resource::{BACKUP, Pgbackrest};
use crate::cluster::validated::{RepoNumber, ValidatedRepo};
use crate::pgbackrest::options::{self, Group, KnownOption};

const SECRET: &str = "is a secret in plain text, and would end up in a ConfigMap";
const SECRET_REMEDY: &str = "remove it from the resource, replace it if it was exposed, and put it into a *.conf key of the Secret named in \
     configuration.secret";

/// The options that can be passed on.
pub(super) fn look(
    section: &Pgbackrest,
    repos: &[ValidatedRepo],
    checks: &mut Checks<'_>,
) -> BTreeMap<String, Line> {
    let mut kept = BTreeMap::new();
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, value) in &section.global {
        let path = format!("{BACKUP}.global.{name}");
        let Some(line) = name_and_value(name, value, &path, checks) else { continue };
        let Some(known) = options::find(name) else {
            let nearest = options::nearest(name);
            // A typo does not make it less of a secret.
            if nearest.as_deref().is_some_and(options::is_secret) {
                checks.note(&codes::SECRET_IN_RESOURCE, &path, SECRET, SECRET_REMEDY);
                continue;
            }
            let remedy = match nearest {
                Some(nearest) => format!("use {nearest}, or remove it"),
                None => "see https://pgbackrest.org/configuration.html, or remove it".to_owned(),
            };
            checks.note(&codes::OPTION_UNKNOWN, &path, "is not an option of pgBackRest up to 2.60", remedy);
            kept.insert(name.clone(), line);
            continue;
        };
        if let Some(first) = seen.insert(known.canonical.clone(), name) {
            checks.note(
                &codes::OPTION_TWICE,
                &path,
                format!("is the same option as {first}; pgBackRest rejects duplicates (error 31)"),
                "remove one of them",
            );
        }
        if passes(&known, value, &path, section, checks) {
            agrees_with_repos(&known, value, &path, repos, checks);
            kept.insert(name.clone(), line);
        }
    }
    retention(section, &seen, checks);
    kept
}

/// Adds a finding about an option. Its value may be a secret in the wrong place, unless it is a plain path or the name of a host.
fn note(
    checks: &mut Checks<'_>,
    code: &'static Code,
    path: &str,
    value: &str,
    message: impl AsRef<str>,
    remedy: impl AsRef<str>,
) {
    let is_path =
        value.starts_with('/') && value.chars().all(|c| c.is_ascii_lowercase() || "/.-".contains(c));
    let is_host = value.contains('.')
        && value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c));
    if options::is_harmless(value) || is_path || is_host {
        checks.note_value(code, path, value, message, remedy);
    } else {
        checks.note(code, path, message, remedy);
    }
}

/// The value, if both are as pgBackRest takes them and no secret.
fn name_and_value(name: &str, value: &str, path: &str, checks: &mut Checks<'_>) -> Option<Line> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        checks.note(
            &codes::OPTION_MALFORMED,
            path,
            "is not a valid option name",
            "use names as in pgBackRest's documentation, such as repo1-retention-full, without leading dashes",
        );
        return None;
    }
    if options::is_secret(name) {
        checks.note(&codes::SECRET_IN_RESOURCE, path, SECRET, SECRET_REMEDY);
        return None;
    }
    if value.trim().is_empty() {
        note(
            checks,
            &codes::OPTION_EMPTY,
            path,
            value,
            "has no value; every pgBackRest command would fail (error 32)",
            "set a value, or remove it",
        );
        return None;
    }
    let line = Line::of(value);
    if line.is_none() {
        checks.note(
            &codes::OPTION_MALFORMED,
            path,
            "contains control characters, or leading or trailing whitespace",
            "write the value on one line, without surrounding whitespace",
        );
    }
    line
}

/// Whether an option is written to the configuration.
fn passes(
    known: &KnownOption,
    value: &str,
    path: &str,
    section: &Pgbackrest,
    checks: &mut Checks<'_>,
) -> bool {
    if known.number_missing {
        checks.note(
            &codes::OPTION_MALFORMED,
            path,
            "needs a repo number; pgBackRest rejects it without one (error 31)",
            "add the number of the repo to the name, such as repo1-retention-full",
        );
        return false;
    }
    let ignored = match known.group {
        Group::CommandLine => Some("is valid only on the command line; pgBackRest ignores it in a file"),
        Group::Stanza => {
            Some("belongs in the stanza section, which is generated; pgBackRest ignores it in [global]")
        }
        Group::Global | Group::Repo => None,
    };
    if let Some(why) = ignored {
        checks.note(&codes::OPTION_IGNORED, path, why, "remove it");
        return false;
    }
    if let Some(number) = known.repo
        && !declared(section).any(|declared| u32::from(declared.get()) == number)
    {
        checks.note(
            &codes::OPTION_WITHOUT_REPO,
            path,
            format!("is for repo{number}, which this cluster does not have; it is ignored"),
            "remove it, or add the repo",
        );
        return false;
    }
    if let Some(wanted) = options::complaint(known.kind, value) {
        note(
            checks,
            &codes::OPTION_VALUE_INVALID,
            path,
            value,
            "is rejected by pgBackRest (error 32)",
            format!("use {wanted}"),
        );
        return false;
    }
    true
}

fn agrees_with_repos(
    known: &KnownOption,
    value: &str,
    path: &str,
    repos: &[ValidatedRepo],
    checks: &mut Checks<'_>,
) {
    if known.canonical.starts_with("tls-server-") && repos.iter().any(|repo| repo.storage.is_volume()) {
        overrides(path, value, checks);
    }
    let repo = repos.iter().find(|repo| Some(u32::from(repo.number.get())) == known.repo);
    let Some(repo) = repo else { return };
    let option = known.canonical.strip_prefix(&format!("{}-", repo.number)).unwrap_or_default();
    let volume = repo.storage.is_volume();
    match option {
        "type"
            if volume && !matches!(value, "posix" | "cifs") || !volume && value != repo.storage.as_str() =>
        {
            note(
                checks,
                &codes::OPTION_CONTRADICTS,
                path,
                value,
                format!("contradicts the storage of the repo, which is {}", repo.storage.as_str()),
                "remove it; the type is derived from storage",
            );
        }
        "path" if volume => {
            let mount = names::volume_mount(repo.number);
            let inside = value.trim_end_matches('/') == mount || value.starts_with(&format!("{mount}/"));
            if !inside || value.split('/').any(|part| part == "..") {
                note(
                    checks,
                    &codes::OPTION_CONTRADICTS,
                    path,
                    value,
                    format!(
                        "is not on the volume of the repo, which is mounted at {mount}; backups would be stored in \
                         the container"
                    ),
                    "remove it; the path is derived from storage pvc",
                );
            }
        }
        _ if volume && (option == "host" || option.starts_with("host-")) => overrides(path, value, checks),
        _ => {}
    }
}

fn overrides(path: &str, value: &str, checks: &mut Checks<'_>) {
    note(
        checks,
        &codes::OPTION_OVERRIDES,
        path,
        value,
        "overrides the generated connection between PostgreSQL and the repo host",
        "remove it, unless you set up this connection yourself",
    );
}

fn retention(section: &Pgbackrest, seen: &BTreeMap<String, &str>, checks: &mut Checks<'_>) {
    let mut numbers: Vec<RepoNumber> = declared(section).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let option = format!("{number}-retention-full");
        let in_secret = match &checks.references.secret {
            Lookup::Found(facts) => facts.options().any(|(_, given)| given.name == option),
            Lookup::NotChecked | Lookup::Missing => false,
        };
        if !seen.contains_key(&option) && !in_secret {
            checks.note(
                &codes::RETENTION_UNSET,
                format!("{BACKUP}.global.{option}"),
                "is not set: full backups never expire, and the storage fills up",
                format!(
                    "set {option}, such as '7' (with {number}-retention-full-type: time, it counts days)"
                ),
            );
        }
    }
}

/// The repos in the resource, even if they are otherwise invalid.
pub(super) fn declared(section: &Pgbackrest) -> impl Iterator<Item = RepoNumber> {
    section.repos.iter().filter_map(|repo| RepoNumber::of_name(repo.name.as_deref()?))
}
