//! Required contents of the Secret `configuration.secret`. Only names are checked, never values.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checks, global, object_name};
use crate::cluster::finding::codes;
use crate::cluster::line::Line;
use crate::cluster::references::{Lookup, SecretFacts, SecretOption, is_configuration_file};
use crate::cluster::resource::{BACKUP, Pgbackrest};
use crate::cluster::validated::{GcsCredentials, Storage, ValidatedRepo};
use crate::pgbackrest::options;

/// The Secret's name, if one is given.
pub(super) fn name(section: &Pgbackrest) -> Option<String> {
    section.configuration.as_ref()?.secret.clone().filter(|name| !name.is_empty())
}

/// Compares the required contents with the existing ones.
pub(super) fn look(
    section: &Pgbackrest,
    repos: &[ValidatedRepo],
    global: &BTreeMap<String, Line>,
    checks: &mut Checks<'_>,
) {
    let path = format!("{BACKUP}.configuration.secret");
    let found = match &checks.references.secret {
        Lookup::Found(facts) => Some(facts),
        Lookup::NotChecked | Lookup::Missing => None,
    };
    let needs = Needs::of(section, repos, global, found);
    let Some(name) = name(section) else {
        if !needs.is_empty() {
            checks.note(
                &codes::SECRET_NOT_NAMED,
                path,
                format!("is not set, but the repos need {needs}"),
                "create a Secret in the cluster's namespace with a key such as repos.conf that contains these \
                 options under [global], and set its name here",
            );
        }
        return;
    };
    if object_name(&name, &path, checks).is_none() {
        return;
    }
    match &checks.references.secret {
        Lookup::NotChecked => checks.note_value(
            &codes::SECRET_NOT_CHECKED,
            path,
            name,
            "was not checked",
            if needs.is_empty() {
                "make sure that it exists and has a *.conf key".to_owned()
            } else {
                format!("make sure that it contains {needs}")
            },
        ),
        Lookup::Missing => checks.note_value(
            &codes::SECRET_MISSING,
            path,
            name,
            "does not exist in the cluster's namespace",
            "create it, or fix the name; pgBackRest would run without credentials",
        ),
        Lookup::Found(facts) => contents(facts, &needs, section, global, &path, checks),
    }
}

/// The required contents of the Secret.
#[derive(Debug, Default)]
struct Needs {
    options: Vec<String>,
    files: Vec<String>,
}

impl Needs {
    fn of(
        section: &Pgbackrest,
        repos: &[ValidatedRepo],
        global: &BTreeMap<String, Line>,
        found: Option<&SecretFacts>,
    ) -> Self {
        let choice = |option: &str| -> Option<String> {
            let in_secret = || found?.options().find(|(_, given)| given.name == option)?.1.choice.clone();
            global.get(option).map(ToString::to_string).or_else(in_secret)
        };
        let from_environment = environment(section);
        let mut needs = Self::default();
        for repo in repos {
            let number = repo.number;
            let wanted: Vec<&str> = match &repo.storage {
                Storage::S3 { .. } => match choice(&format!("{number}-s3-key-type")).as_deref() {
                    None | Some("shared") => vec!["s3-key", "s3-key-secret"],
                    Some(_) => vec![],
                },
                Storage::Azure { account, .. } => {
                    let key = choice(&format!("{number}-azure-key-type")).is_none_or(|kind| kind != "auto");
                    let account =
                        account.is_none() && !global.contains_key(&format!("{number}-azure-account"));
                    let both = [("azure-account", account), ("azure-key", key)];
                    both.into_iter().filter_map(|(option, needed)| needed.then_some(option)).collect()
                }
                Storage::Gcs { credentials: GcsCredentials::Service { file }, .. } => {
                    needs.files.push(file.clone());
                    vec![]
                }
                Storage::Gcs { credentials: GcsCredentials::Token, .. } => vec!["gcs-key"],
                Storage::Gcs { credentials: GcsCredentials::Auto, .. } | Storage::Volume(_) => vec![],
            };
            let cipher = choice(&format!("{number}-cipher-type")).is_some_and(|kind| kind != "none");
            let all = wanted.into_iter().chain(cipher.then_some("cipher-pass"));
            let names = all.map(|option| format!("{number}-{option}"));
            needs.options.extend(names.filter(|option| !from_environment.contains(option)));
        }
        needs
    }

    fn is_empty(&self) -> bool {
        self.options.is_empty() && self.files.is_empty()
    }
}

impl std::fmt::Display for Needs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files = self.files.iter().map(|file| format!("the file {file}"));
        let all: Vec<String> = self.options.iter().cloned().chain(files).collect();
        formatter.write_str(&all.join(", "))
    }
}

/// Options in environment variables (`PGBACKREST_REPO1_S3_KEY`), by name.
fn environment(section: &Pgbackrest) -> BTreeSet<String> {
    let names = section.env.iter().filter_map(|variable| variable.get("name")?.as_str());
    let options = names.filter_map(|name| name.strip_prefix("PGBACKREST_"));
    options.map(|name| name.to_ascii_lowercase().replace('_', "-")).collect()
}

fn contents(
    facts: &SecretFacts,
    needs: &Needs,
    section: &Pgbackrest,
    global: &BTreeMap<String, Line>,
    path: &str,
    checks: &mut Checks<'_>,
) {
    if let Some(why) = &facts.unreadable {
        checks.note(
            &codes::SECRET_MALFORMED,
            path,
            format!("refers to an invalid Secret: {why}"),
            "write stringData as a map from keys to strings, such as `s3.conf: |` followed by the lines",
        );
        return;
    }
    for file in needs.files.iter().filter(|file| !facts.files.contains_key(*file)) {
        checks.note(
            &codes::SECRET_FILE_MISSING,
            path,
            format!("refers to a Secret without the key {file}"),
            format!("add the key {file}, or fix `key` of the repo"),
        );
    }
    let has_configuration = facts.files.keys().any(|key| is_configuration_file(key));
    if !has_configuration && (!needs.options.is_empty() || needs.files.is_empty()) {
        let keys: Vec<&str> = facts.files.keys().map(String::as_str).collect();
        checks.note(
            &codes::SECRET_WITHOUT_CONF,
            path,
            format!("refers to a Secret without a *.conf key (it has: {})", keys.join(", ")),
            "rename the key that contains the options, for example to repos.conf; pgBackRest reads only *.conf",
        );
        return;
    }
    for (key, file) in &facts.files {
        if let Some(line) = file.bad_lines.first() {
            checks.note(
                &codes::SECRET_MALFORMED,
                path,
                format!("refers to a Secret whose key {key} is invalid at line {line}"),
                "write sections such as [global], followed by one option=value per line",
            );
        }
    }
    let given: Vec<(&str, &SecretOption)> = facts.options().collect();
    missing(&given, needs, path, checks);
    ciphers(&given, section, global, path, checks);
    each(&given, section, global, path, checks);
}

fn missing(given: &[(&str, &SecretOption)], needs: &Needs, path: &str, checks: &mut Checks<'_>) {
    for option in &needs.options {
        if given.iter().any(|(_, given)| canonical(&given.name) == *option) {
            continue;
        }
        let (code, what) = if option.ends_with("-cipher-pass") {
            (&codes::CIPHER_PASS_MISSING, "the repo has a cipher type")
        } else {
            (&codes::SECRET_OPTION_MISSING, "the repo needs it")
        };
        checks.note(
            code,
            path,
            format!("refers to a Secret without {option}, but {what}"),
            format!("add {option}=… under [global] in a *.conf key of the Secret"),
        );
    }
}

/// A passphrase alone encrypts nothing, and pgBackRest does not warn about it.
fn ciphers(
    given: &[(&str, &SecretOption)],
    section: &Pgbackrest,
    global: &BTreeMap<String, Line>,
    path: &str,
    checks: &mut Checks<'_>,
) {
    for number in global::declared(section) {
        let pass = format!("{number}-cipher-pass");
        let option = format!("{number}-cipher-type");
        let in_secret = given.iter().find(|(_, given)| canonical(&given.name) == option);
        let in_secret = in_secret.and_then(|(_, given)| given.choice.as_deref());
        let in_global = global.iter().find(|(name, _)| canonical(name) == option).map(|(_, value)| &**value);
        let chosen = in_global.or(in_secret);
        let has_pass = given.iter().any(|(_, given)| canonical(&given.name) == pass);
        if has_pass && chosen.is_none_or(|chosen| chosen == "none") {
            checks.note(
                &codes::CIPHER_TYPE_MISSING,
                format!("{BACKUP}.global.{option}"),
                format!("is not set, but {path} contains {pass}: the backups would not be encrypted"),
                format!("set {option} to aes-256-cbc; it cannot be changed once the repo has a stanza"),
            );
        }
    }
}

fn each(
    given: &[(&str, &SecretOption)],
    section: &Pgbackrest,
    global: &BTreeMap<String, Line>,
    path: &str,
    checks: &mut Checks<'_>,
) {
    let mut seen: BTreeMap<(&str, String), &str> = BTreeMap::new();
    let in_global: BTreeSet<String> = global.keys().map(|name| canonical(name)).collect();
    let generated = generated(section);
    for (key, option) in given {
        let name = canonical(&option.name);
        if option.empty {
            checks.note(
                &codes::SECRET_OPTION_EMPTY,
                path,
                format!("refers to a Secret in which {} has no value (key {key})", shown(&option.name)),
                "set a value, or remove the line; every pgBackRest command would fail (error 32)",
            );
        }
        let other = match seen.insert((&option.section, name.clone()), key) {
            Some(file) => Some(format!("the key {file} of the Secret")),
            None if option.section != "global" => None,
            None if in_global.contains(&name) => Some("spec.backup.pgbackrest.global".to_owned()),
            None if generated.contains(&name) => Some("the generated configuration".to_owned()),
            None => None,
        };
        if let Some(other) = other {
            checks.note(
                &codes::OPTION_TWICE,
                path,
                format!(
                    "refers to a Secret with {} in key {key}, which is also set in {other}",
                    shown(&option.name)
                ),
                "remove one of them; pgBackRest rejects duplicate options (error 31)",
            );
        }
        let number = options::find(&option.name).and_then(|known| known.repo);
        if let Some(number) = number
            && !global::declared(section).any(|declared| u32::from(declared.get()) == number)
        {
            checks.note(
                &codes::SECRET_OPTION_UNUSED,
                path,
                format!("refers to a Secret with {} in key {key}, but there is no repo{number}", option.name),
                "remove the line, or add the repo",
            );
        }
    }
}

/// The name of an option. What is none may be a line of a secret that contains a `=`.
fn shown(name: &str) -> &str {
    options::find(name).map_or("an unknown option", |_| name)
}

/// The current name of an option.
fn canonical(name: &str) -> String {
    options::find(name).map_or_else(|| name.to_owned(), |known| known.canonical)
}

/// Options that are always generated in `[global]` for the repos of a section.
fn generated(section: &Pgbackrest) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ["log-path", "spool-path"].map(str::to_owned).into();
    for repo in &section.repos {
        let Some(name) = repo.name.as_deref() else { continue };
        let given: &[(&str, bool)] = match repo.storage.as_deref() {
            Some("s3") => &[("type", true), ("s3-bucket", true), ("s3-endpoint", true), ("s3-region", true)],
            Some("azure") => &[
                ("type", true),
                ("azure-container", true),
                ("azure-account", repo.account.is_some()),
                ("azure-endpoint", repo.endpoint.is_some()),
            ],
            Some("gcs") => &[
                ("type", true),
                ("gcs-bucket", true),
                ("gcs-key-type", true),
                ("gcs-key", repo.key.is_some()),
                ("gcs-endpoint", repo.endpoint.is_some()),
            ],
            Some("pvc") => &[("host", true), ("host-type", true), ("path", true)],
            _ => &[],
        };
        names.extend(given.iter().filter(|(_, is)| *is).map(|(option, _)| format!("{name}-{option}")));
    }
    names
}
