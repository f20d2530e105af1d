//! Required contents of the Secret `configuration.secret`. Only names are checked, never values.

use std::collections::{BTreeMap, BTreeSet};

use super::environment::Environment;
use super::parts::{self, Part};
use super::{Checks, object_name};
use crate::cluster::finding::codes;
use crate::cluster::line::Line;
use crate::cluster::names;
use crate::cluster::references::{
    Lookup, SecretFacts, SecretOption, file_beside_configuration, is_configuration_file,
};
use crate::cluster::resource::{BACKUP, Pgbackrest};
use crate::cluster::validated::{GcsCredentials, KeyFile, RepoNumber, Storage, ValidatedRepo};
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
    environment: &Environment,
    checks: &mut Checks<'_>,
) {
    let path = format!("{BACKUP}.configuration.secret");
    let found = match &checks.references.secret {
        Lookup::Found(facts) => Some(facts),
        Lookup::NotChecked | Lookup::Missing => None,
    };
    let needs = Needs::of(repos, global, environment, found);
    let Some(name) = name(section) else {
        if !needs.is_empty() {
            checks.within(needs.repos(), |checks| {
                checks.note(
                    &codes::SECRET_NOT_NAMED,
                    path,
                    format!("is not set, but the repos need {needs}"),
                    "create a Secret in the cluster's namespace with a key such as repos.conf that contains these \
                     options under [global], and set its name here",
                );
            });
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

/// A passphrase alone encrypts nothing, and pgBackRest does not warn about it.
pub(super) fn ciphers(
    repos: &[ValidatedRepo],
    global: &BTreeMap<String, Line>,
    environment: &Environment,
    checks: &mut Checks<'_>,
) {
    let facts = match &checks.references.secret {
        Lookup::Found(facts) => Some(facts),
        Lookup::NotChecked | Lookup::Missing => None,
    };
    for repo in repos {
        let number = repo.number;
        let (pass, option) = (format!("{number}-cipher-pass"), format!("{number}-cipher-type"));
        let in_secret = |wanted: &str| {
            let mut options = facts.into_iter().flat_map(SecretFacts::options);
            options.find(|(_, given)| canonical(&given.name) == wanted).map(|(_, given)| given)
        };
        let variables = environment.of_repo(repo);
        let place = match (in_secret(&pass), variables.contains_key(&pass)) {
            (Some(_), _) => format!("{BACKUP}.configuration.secret"),
            (None, true) => "the environment".to_owned(),
            (None, false) => continue,
        };
        let in_global = global.iter().find(|(name, _)| canonical(name) == option).map(|(_, value)| &**value);
        let in_files = || in_global.or_else(|| in_secret(&option)?.choice.as_deref());
        // What a variable reads from elsewhere is taken to be right.
        let chosen = variables.get(&option).map_or_else(in_files, |choice| choice.as_deref().or(Some("?")));
        let may_be_set = chosen.is_none() && facts.is_some_and(SecretFacts::is_veiled);
        if chosen.is_none_or(|chosen| chosen == "none") && !may_be_set {
            checks.within(Part::from(Some(number)), |checks| {
                checks.note(
                    &codes::CIPHER_TYPE_MISSING,
                    format!("{BACKUP}.global.{option}"),
                    format!("is not set, but {place} contains {pass}: the backups would not be encrypted"),
                    format!("set {option} to aes-256-cbc; it cannot be changed once the repo has a stanza"),
                );
            });
        }
    }
}

/// The required contents of the Secret.
#[derive(Debug, Default)]
struct Needs {
    options: Vec<(RepoNumber, String)>,
    files: Vec<(RepoNumber, String)>,
}

impl Needs {
    fn of(
        repos: &[ValidatedRepo],
        global: &BTreeMap<String, Line>,
        environment: &Environment,
        found: Option<&SecretFacts>,
    ) -> Self {
        let mut needs = Self::default();
        for repo in repos {
            let number = repo.number;
            let variables = environment.of_repo(repo);
            let choice = |option: &str| -> Option<String> {
                let in_secret = || found?.options().find(|(_, given)| given.name == option)?.1.choice.clone();
                let in_files = || global.get(option).map(ToString::to_string).or_else(in_secret);
                // A variable counts more than files.
                variables.get(option).map_or_else(in_files, Clone::clone)
            };
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
                Storage::Gcs { credentials: GcsCredentials::Service(KeyFile::InSecret(file)), .. } => {
                    needs.files.push((number, file.clone()));
                    vec![]
                }
                Storage::Gcs { credentials: GcsCredentials::Token, .. } => vec!["gcs-key"],
                Storage::Gcs { .. } | Storage::Volume(_) => vec![],
            };
            let cipher = choice(&format!("{number}-cipher-type")).is_some_and(|kind| kind != "none");
            let all = wanted.into_iter().chain(cipher.then_some("cipher-pass"));
            let names = all.map(|option| format!("{number}-{option}"));
            let missing = names.filter(|option| !variables.contains_key(option));
            for file in files(repo, global, found) {
                if !needs.files.contains(&(number, file.to_owned())) {
                    needs.files.push((number, file.to_owned()));
                }
            }
            needs.options.extend(missing.map(|option| (number, option)));
        }
        needs
    }

    fn is_empty(&self) -> bool {
        self.options.is_empty() && self.files.is_empty()
    }

    /// The repos that need something.
    fn repos(&self) -> Part {
        Part::Repos(self.options.iter().chain(&self.files).map(|(number, _)| *number).collect())
    }
}

/// The files beside the configuration that options of a repo name, as far as the container reads them that makes its
/// backups.
fn files<'a>(
    repo: &ValidatedRepo,
    global: &'a BTreeMap<String, Line>,
    found: Option<&'a SecretFacts>,
) -> impl Iterator<Item = &'a str> {
    let names = ["storage-ca-file", "gcs-key"].map(|option| format!("{}-{option}", repo.number));
    let is_in_store = !repo.storage.is_volume();
    let in_global = global.iter().filter_map(|(name, value)| {
        Some((name.as_str(), file_beside_configuration(value).filter(|file| !is_generated(file))?))
    });
    let in_secret = found.into_iter().flat_map(SecretFacts::options);
    let in_secret = in_secret.filter_map(|(_, option)| Some((option.name.as_str(), option.file.as_deref()?)));
    let all =
        in_global.chain(in_secret).filter(move |(name, _)| is_in_store && names.contains(&canonical(name)));
    all.map(|(_, file)| file)
}

fn is_generated(file: &str) -> bool {
    file == names::CONFIGURATION_KEY
}

impl std::fmt::Display for Needs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let options = self.options.iter().map(|(_, option)| option.clone());
        let files = self.files.iter().map(|(_, file)| format!("the file {file}"));
        let all: Vec<String> = options.chain(files).collect();
        formatter.write_str(&all.join(", "))
    }
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
    for (number, file) in needs.files.iter().filter(|(_, file)| !facts.files.contains_key(file)) {
        checks.within(Part::from(Some(*number)), |checks| {
            checks.note(
                &codes::SECRET_FILE_MISSING,
                path,
                format!("refers to a Secret without the key {file}, which {number} needs"),
                format!("add the key {file}, or fix its name in the resource"),
            );
        });
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
    if facts.is_veiled() {
        let unseen = needs
            .options
            .iter()
            .filter(|(_, option)| !given.iter().any(|(_, given)| canonical(&given.name) == *option));
        let unseen: Vec<&str> = unseen.map(|(_, option)| option.as_str()).collect();
        checks.note(
            &codes::SECRET_NOT_CHECKED,
            path,
            "refers to a Secret with encrypted values or placeholders, which were not checked",
            if unseen.is_empty() {
                "make sure that they become sections such as [global], and options".to_owned()
            } else {
                format!("make sure that they contain {}", unseen.join(", "))
            },
        );
    } else {
        missing(&given, needs, path, checks);
    }
    each(&given, section, global, path, checks);
}

fn missing(given: &[(&str, &SecretOption)], needs: &Needs, path: &str, checks: &mut Checks<'_>) {
    for (number, option) in &needs.options {
        if given.iter().any(|(_, given)| canonical(&given.name) == *option) {
            continue;
        }
        let (code, what) = if option.ends_with("-cipher-pass") {
            (&codes::CIPHER_PASS_MISSING, "the repo has a cipher type")
        } else {
            (&codes::SECRET_OPTION_MISSING, "the repo needs it")
        };
        checks.within(Part::from(Some(*number)), |checks| {
            checks.note(
                code,
                path,
                format!("refers to a Secret without {option}, but {what}"),
                format!("add {option}=… under [global] in a *.conf key of the Secret"),
            );
        });
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
            && !parts::declared(section).any(|declared| u32::from(declared.get()) == number)
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
        let is_set = |field: &Option<String>| field.as_deref().is_some_and(|text| !text.trim().is_empty());
        let given: &[(&str, bool)] = match repo.storage.as_deref() {
            Some("s3") => &[("type", true), ("s3-bucket", true), ("s3-endpoint", true), ("s3-region", true)],
            Some("azure") => &[
                ("type", true),
                ("azure-container", true),
                ("azure-account", is_set(&repo.account)),
                ("azure-endpoint", is_set(&repo.endpoint)),
            ],
            Some("gcs") => &[
                ("type", true),
                ("gcs-bucket", true),
                ("gcs-key-type", true),
                ("gcs-key", is_set(&repo.key)),
                ("gcs-endpoint", is_set(&repo.endpoint)),
            ],
            Some("pvc") => &[("host", true), ("host-type", true), ("path", true)],
            _ => &[],
        };
        names.extend(given.iter().filter(|(_, is)| *is).map(|(option, _)| format!("{name}-{option}")));
    }
    names
}
