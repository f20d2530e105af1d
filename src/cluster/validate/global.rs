//! The options of `global`, which are stored in a ConfigMap: no secrets, and nothing that pgBackRest would reject.

use std::collections::BTreeMap;

use super::Checks;
use super::environment::Environment;
use super::parts::{self, Part};
use super::standby;
use crate::cluster::address::IpFamilies;
use crate::cluster::containers::{self, Container};
use crate::cluster::finding::{Code, codes};
use crate::cluster::line::Line;
use crate::cluster::names;
use crate::cluster::references::Lookup;
use crate::cluster::resource::{BACKUP, Pgbackrest};
use crate::cluster::validated::{RepoNumber, ValidatedRepo, need_repo_host};
use crate::pgbackrest::options::{self, Group, KnownOption, ValueType};

const SECRET: &str = "is a secret in plain text, and would end up in a ConfigMap";
const SECRET_REMEDY: &str = "remove it from the resource, replace it if it was exposed, and put it into a *.conf key of the Secret named in \
     configuration.secret";

const KEY_REMEDY: &str = "remove it from the resource, and replace it if it was exposed; put a token into a *.conf key of the \
     Secret named in configuration.secret, and a key file into a key of its own, whose name is `key` of the repo";

/// The options that can be passed on. An error in an option of a repo is about that repo: without the option, its backups
/// could be somewhere else, or not encrypted.
pub(super) fn look(
    section: &Pgbackrest,
    repos: &[ValidatedRepo],
    environment: &Environment,
    checks: &mut Checks<'_>,
) -> BTreeMap<String, Line> {
    let mut kept = BTreeMap::new();
    let mut seen = BTreeMap::new();
    for (name, value) in &section.global {
        let part = Part::from(repo_of(name));
        let line = checks.within(part, |checks| option(name, value, section, repos, &mut seen, checks));
        kept.extend(line.map(|line| (name.clone(), line)));
    }
    checks.within(Part::Field, |checks| contradictions(&mut kept, checks));
    retention(section, repos, &seen, environment, checks);
    kept
}

/// The value of one option, if it can be passed on. `seen` maps canonical names to those in the resource.
fn option<'name>(
    name: &'name str,
    value: &str,
    section: &Pgbackrest,
    repos: &[ValidatedRepo],
    seen: &mut BTreeMap<String, &'name str>,
    checks: &mut Checks<'_>,
) -> Option<Line> {
    let path = format!("{BACKUP}.global.{name}");
    let is_secret = options::is_secret(name) && !names_key_file(name, value, section);
    let line = name_and_value(name, value, is_secret, &path, checks)?;
    let Some(known) = options::find(name) else {
        let nearest = options::nearest(name);
        // A typo does not make it less of a secret.
        if nearest.as_deref().is_some_and(options::is_secret) {
            checks.note(&codes::SECRET_IN_RESOURCE, &path, SECRET, SECRET_REMEDY);
            return None;
        }
        let remedy = match nearest {
            Some(nearest) => format!("use {nearest}, or remove it"),
            None => "see https://pgbackrest.org/configuration.html, or remove it".to_owned(),
        };
        checks.note(&codes::OPTION_UNKNOWN, &path, "is not an option of pgBackRest up to 2.60", remedy);
        return Some(line);
    };
    if let Some(first) = seen.insert(known.canonical.clone(), name) {
        checks.note(
            &codes::OPTION_TWICE,
            &path,
            format!("is the same option as {first}; pgBackRest rejects duplicates (error 31)"),
            "remove one of them",
        );
        return None;
    }
    if !passes(&known, value, &path, section, checks) {
        return None;
    }
    agrees_with_repos(&known, value, &path, repos, checks);
    match known.kind {
        ValueType::Time(_) => {
            options::whole_seconds(value).map_or(Some(line), |seconds| Line::of(&seconds.to_string()))
        }
        _ => Some(line),
    }
}

/// Removes what pgBackRest rejects together with another option of `global`. A compression that is not set here may be set
/// elsewhere.
fn contradictions(global: &mut BTreeMap<String, Line>, checks: &mut Checks<'_>) {
    for ([name, _], why) in options::contradictions(|name| global.get(name).map(|line| &**line)) {
        checks.note(
            &codes::OPTION_CONTRADICTS,
            format!("{BACKUP}.global.{name}"),
            format!("is rejected by pgBackRest (error 32) and left out: {why}"),
            "change one of the two",
        );
        global.remove(name);
    }
}

/// Whether an option is the path of a key file for Google Cloud Storage, and not a token.
fn names_key_file(name: &str, value: &str, section: &Pgbackrest) -> bool {
    let Some(repo) = repo_of(name).filter(|_| options::is_key_path(name, value)) else { return false };
    let given = section.repos.iter().find(|given| given.name.as_deref() == Some(&*repo.to_string()));
    let key_type = section.global.get(&format!("{repo}-gcs-key-type"));
    let key_type = key_type.or_else(|| given?.key_type.as_ref());
    key_type.is_none_or(|key_type| key_type != "token")
}

/// The repo that an option is about, even if it is misspelled.
fn repo_of(name: &str) -> Option<RepoNumber> {
    let canonical = options::find(name).map(|known| known.canonical);
    let name = canonical.as_deref().unwrap_or(name).trim_start_matches('-').to_ascii_lowercase();
    let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
    RepoNumber::of_name(name.get(..end)?)
}

/// Notes options that are left out of a container's configuration, where they would fail.
pub(super) fn look_at_containers(
    instances: u32,
    repos: &[ValidatedRepo],
    global: &BTreeMap<String, Line>,
    checks: &mut Checks<'_>,
) {
    let on_volume = |repo: &&ValidatedRepo| repo.storage.is_volume();
    let volumes: Vec<RepoNumber> = repos.iter().filter(on_volume).map(|repo| repo.number).collect();
    let elsewhere: Vec<String> =
        repos.iter().filter(|repo| !repo.on_repo_host).map(|repo| repo.number.to_string()).collect();
    let in_database = (!elsewhere.is_empty()).then(|| {
        (
            Container::Database,
            format!("in PostgreSQL's containers, where {} is backed up", elsewhere.join(", ")),
        )
    });
    let on_repo_host = need_repo_host(repos)
        .then(|| (Container::RepoHost { instances, volumes: &volumes }, "on the repo host".to_owned()));
    for (container, place) in in_database.into_iter().chain(on_repo_host) {
        for (option, value) in global {
            let Some(why) = container.objection(option, value) else { continue };
            checks.note(
                &codes::OPTION_LEFT_OUT,
                format!("{BACKUP}.global.{option}"),
                format!("is left out {place}: {why}"),
                match option.as_str() {
                    "backup-standby" => standby::REMEDY.to_owned(),
                    _ => format!("remove it, or use a path below {}", containers::TEMPORARY),
                },
            );
        }
    }
}

/// Removes the options of repos that are not in `repos`: one of them could define such a repo on a local disk.
pub(super) fn without_other_repos(global: &mut BTreeMap<String, Line>, repos: &[ValidatedRepo]) {
    global
        .retain(|name, _| repo_of(name).is_none_or(|number| repos.iter().any(|repo| repo.number == number)));
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
fn name_and_value(
    name: &str,
    value: &str,
    is_secret: bool,
    path: &str,
    checks: &mut Checks<'_>,
) -> Option<Line> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        checks.note(
            &codes::OPTION_MALFORMED,
            path,
            "is not a valid option name",
            "use names as in pgBackRest's documentation, such as repo1-retention-full, without leading dashes",
        );
        return None;
    }
    if is_secret {
        let remedy = if options::find(name).is_some_and(|known| known.canonical.ends_with("-gcs-key")) {
            KEY_REMEDY
        } else {
            SECRET_REMEDY
        };
        checks.note(&codes::SECRET_IN_RESOURCE, path, SECRET, remedy);
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
        && !parts::declared(section).any(|declared| u32::from(declared.get()) == number)
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
    if known.canonical.starts_with("tls-server-") && need_repo_host(repos) {
        if known.canonical == "tls-server-address"
            && let Some(served) = IpFamilies::served_by(value)
        {
            serves_all_families(served, path, value, checks);
        } else {
            overrides(path, value, checks);
        }
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

/// An address for all interfaces is as good as the generated one, if it serves IPv6 where there is IPv6.
fn serves_all_families(served: IpFamilies, path: &str, value: &str, checks: &mut Checks<'_>) {
    let needed = checks.references.families.unwrap_or_default();
    if needed.has_ipv6 && !served.has_ipv6 {
        checks.note_value(
            &codes::OPTION_OVERRIDES,
            path,
            value,
            "serves only IPv4, but the names of the pods also stand for IPv6 addresses",
            "remove it: the generated address serves both",
        );
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

fn retention(
    section: &Pgbackrest,
    repos: &[ValidatedRepo],
    seen: &BTreeMap<String, &str>,
    environment: &Environment,
    checks: &mut Checks<'_>,
) {
    let mut numbers: Vec<RepoNumber> = parts::declared(section).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let option = format!("{number}-retention-full");
        let in_secret = match &checks.references.secret {
            Lookup::Found(facts) => {
                facts.is_veiled() || facts.options().any(|(_, given)| given.name == option)
            }
            Lookup::NotChecked | Lookup::Missing => false,
        };
        let repo = repos.iter().find(|repo| repo.number == number);
        let in_environment = repo.is_some_and(|repo| environment.of_repo(repo).contains_key(&option));
        if !seen.contains_key(&option) && !in_secret && !in_environment {
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
