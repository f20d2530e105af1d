//! Annotations with options of pgBackRest for single backups: `backup-options`, `backup-options.full` and others, and those
//! in `backup-now`.

use std::collections::BTreeMap;

use super::annotations::field;
use super::environment::Environment;
use super::fields::IN_SECRET;
use super::scope::{BACKUP_OPTIONS, Scope};
use super::versions::{self, Versions};
use super::{Checks, empty, parts};
use crate::cluster::finding::codes;
use crate::cluster::labels::PREFIX;
use crate::cluster::line::Line;
use crate::cluster::references::Lookup;
use crate::cluster::resource::{Pgbackrest, Postgresql};
use crate::cluster::validated::{STANZA, ValidatedRepo};
use crate::pgbackrest::backup_options::{self, BackupOptions, Reason, Refused};
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::options;

const FORMAT: &str = "write options as on pgBackRest's command line, such as --process-max=8 --start-fast";

/// What applies to all backups of a cluster.
#[derive(Clone, Copy)]
pub(super) struct Configured<'a> {
    pub(super) global: &'a BTreeMap<String, Line>,
    pub(super) environment: &'a Environment,
    pub(super) versions: &'a Versions,
}

/// Sets the options of each repo and type.
pub(super) fn look(
    resource: &Postgresql,
    section: &Pgbackrest,
    repos: &mut [ValidatedRepo],
    configured: Configured<'_>,
    checks: &mut Checks<'_>,
) {
    let mut given: BTreeMap<Scope, BackupOptions> = BTreeMap::new();
    for (key, text) in resource.metadata.annotations.iter().flatten() {
        let Some(annotation) = key.strip_prefix(PREFIX) else { continue };
        let Some(scope) = Scope::of(annotation, BACKUP_OPTIONS) else { continue };
        if let Some(repo) = scope.repo.filter(|repo| !parts::declared(section).any(|known| known == *repo)) {
            checks.note(
                &codes::OPTION_WITHOUT_REPO,
                field(annotation),
                format!("is for {repo}, which this cluster does not have; it is ignored"),
                "remove it, or add the repo",
            );
            continue;
        }
        if text.trim().is_empty() {
            empty(&field(annotation), "other annotations and the configuration apply", checks);
        }
        let (mut options, refused) = backup_options::read(text);
        refuse(&refused, &field(annotation), checks);
        let repos: Vec<&ValidatedRepo> =
            repos.iter().filter(|repo| scope.repo.is_none_or(|number| number == repo.number)).collect();
        without_unsupported(&mut options, &repos, &field(annotation), configured, checks);
        given.insert(scope, options);
    }
    let mut contradictions: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for repo in repos {
        for backup_type in BackupType::ALL {
            let of_backup = || given.iter().filter(|(scope, _)| scope.covers(repo.number, backup_type));
            let mut options = BackupOptions::default();
            of_backup().for_each(|(_, more)| options.extend(more));
            for (name, why) in found(&options, repo, configured, checks) {
                let last = of_backup().rfind(|(_, options)| options.value(name).is_some());
                let annotation =
                    last.map_or(BACKUP_OPTIONS.to_owned(), |(scope, _)| scope.annotation(BACKUP_OPTIONS));
                let backups = contradictions.entry((annotation, why)).or_default();
                backups.push(format!("{} {}", repo.number, backup_type.as_str()));
                options.remove(name);
            }
            if !options.is_empty() {
                repo.backup_options.insert(backup_type, options);
            }
        }
    }
    for ((annotation, why), backups) in contradictions {
        contradicts(&field(&annotation), &format!("{why} ({})", backups.join(", ")), checks);
    }
}

/// The options in a request for one backup, together with those of its repo and type. `None` if one of them is refused: a
/// backup without it is not what was asked for.
pub(super) fn of_request(
    text: &str,
    annotation: &str,
    repo: Option<&ValidatedRepo>,
    backup_type: BackupType,
    configured: Configured<'_>,
    checks: &mut Checks<'_>,
) -> Option<BackupOptions> {
    let field = field(annotation);
    let (given, refused) = backup_options::read(text);
    refuse(&refused, &field, checks);
    let mut supported = given.clone();
    without_unsupported(&mut supported, &repo.into_iter().collect::<Vec<_>>(), &field, configured, checks);
    let of_type = repo.and_then(|repo| repo.backup_options.get(&backup_type));
    let mut options = of_type.cloned().unwrap_or_default();
    options.extend(&given);
    let contradictions = repo.map(|repo| found(&options, repo, configured, checks)).unwrap_or_default();
    for (_, why) in &contradictions {
        contradicts(&field, why, checks);
    }
    (refused.is_empty() && supported == given && contradictions.is_empty()).then_some(options)
}

/// Notes what is refused, by name: what it is set to may be a secret.
fn refuse(refused: &[Refused], field: &str, checks: &mut Checks<'_>) {
    for Refused { name, reason } in refused {
        let shown = format!("--{name}");
        match reason {
            Reason::Text => checks.note(
                &codes::ANNOTATION_INVALID,
                field,
                format!(
                    "is longer than {} bytes, has more than one line, or is not quoted correctly",
                    backup_options::LONGEST
                ),
                FORMAT,
            ),
            Reason::NotAnOption => checks.note(
                &codes::ANNOTATION_INVALID,
                field,
                "contains a word that is not an option",
                FORMAT,
            ),
            Reason::NotAllowed if options::is_secret(name) => {
                checks.note(&codes::SECRET_IN_RESOURCE, field, "contains a secret in plain text", IN_SECRET);
            }
            Reason::NotAllowed => not_allowed(name, field, checks),
            Reason::Value(wanted) => checks.note_value(
                &codes::OPTION_VALUE_INVALID,
                field,
                shown,
                "has no value that can be used for a backup",
                format!("use {wanted}"),
            ),
            Reason::Twice => checks.note_value(
                &codes::OPTION_TWICE,
                field,
                shown,
                "is given twice; pgBackRest rejects duplicates (error 31)",
                "remove one of them",
            ),
        }
    }
}

fn not_allowed(name: &str, field: &str, checks: &mut Checks<'_>) {
    let bare = name.strip_prefix("no-").unwrap_or(name);
    let nearest = backup_options::allowed().find(|known| strsim::jaro_winkler(known, bare) > 0.9);
    let in_global = options::find(bare).is_some_and(|known| {
        matches!(known.group, options::Group::Global | options::Group::Repo) && !known.number_missing
    });
    let remedy = match nearest {
        _ if in_global => "remove it; spec.backup.pgbackrest.global sets it for all backups".to_owned(),
        Some(nearest) => format!("use --{nearest}, or remove it"),
        None => {
            let all: Vec<&str> = backup_options::allowed().collect();
            format!("remove it; what can be set is {}", all.join(", "))
        }
    };
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let message = "cannot be set for single backups";
    if name.len() <= 40 && name.chars().all(is_name) {
        checks.note_value(&codes::OPTION_NOT_ALLOWED, field, format!("--{name}"), message, remedy);
    } else {
        let message = format!("contains an option that {message}");
        checks.note(&codes::OPTION_NOT_ALLOWED, field, message, remedy);
    }
}

/// Removes what a version in use does not have: unlike in a file, that is an error on a command line (31).
fn without_unsupported(
    options: &mut BackupOptions,
    repos: &[&ValidatedRepo],
    field: &str,
    configured: Configured<'_>,
    checks: &mut Checks<'_>,
) {
    let names: Vec<&str> = options.names().collect();
    for name in names {
        if !versions::have_backup_option(configured.versions, repos, name, field, checks) {
            options.remove(name);
        }
    }
}

fn contradicts(field: &str, why: &str, checks: &mut Checks<'_>) {
    checks.note(
        &codes::OPTION_CONTRADICTS,
        field,
        format!("contains an option that pgBackRest rejects (error 32): {why}"),
        "change one of the two",
    );
}

fn found(
    options: &BackupOptions,
    repo: &ValidatedRepo,
    configured: Configured<'_>,
    checks: &Checks<'_>,
) -> Vec<(&'static str, String)> {
    let secret = &checks.references.secret;
    let environment = configured.environment.of_repo(repo);
    // pgBackRest 2.45 to 2.60 read the environment first, and then these sections and `global` (src/config/parse.c).
    let specific = [format!("{STANZA}:backup"), STANZA.to_owned(), "global:backup".to_owned()];
    options.contradictions(|name| {
        if let Some(choice) = environment.get(name) {
            return choice.as_deref();
        }
        let in_secret = |section: &str| match secret {
            Lookup::Found(facts) => facts
                .options()
                .find(|(_, given)| given.section == section && given.name == name)
                .map(|(_, given)| given.choice.as_deref()),
            Lookup::Missing | Lookup::NotChecked => None,
        };
        if let Some(choice) = specific.iter().find_map(|section| in_secret(section)) {
            return choice;
        }
        if let Some(value) = configured.global.get(name) {
            return Some(value);
        }
        if let Some(choice) = in_secret("global") {
            return choice;
        }
        // The default applies only if it is known that nothing else does.
        let is_known = match secret {
            Lookup::Found(facts) => !facts.is_veiled(),
            Lookup::Missing => true,
            Lookup::NotChecked => false,
        };
        (name == "compress-type" && is_known).then_some("gz")
    })
}
