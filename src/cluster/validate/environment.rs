//! pgBackRest's options in environment variables, by the container that gets them: `spec.env` is for PostgreSQL's containers,
//! and the environment of the backup section for the repo host. Jobs get the latter too, but do not run pgBackRest.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Checks, pods};
use crate::cluster::finding::codes;
use crate::cluster::resource::{BACKUP, Pgbackrest, Postgresql};
use crate::cluster::validated::ValidatedRepo;
use crate::pgbackrest::options;

/// Options by their current name. The values are those of options that end in `-type` or `-path`, unless they are in another
/// object.
pub(super) type Options = BTreeMap<String, Option<String>>;

/// The options of each container.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    database: Options,
    repo_host: Options,
}

impl Environment {
    pub(super) fn of(resource: &Postgresql, section: &Pgbackrest) -> Self {
        let all = |list: &[Value]| named(list).map(|(_, option, choice)| (option, choice)).rev().collect();
        // The repo host gets no secrets in plain text.
        let clean: Vec<Value> =
            section.env.iter().filter(|one| !pods::is_plain_secret(one)).cloned().collect();
        Self { database: all(&resource.spec.env), repo_host: all(&clean) }
    }

    /// What PostgreSQL's containers get.
    pub(super) const fn database(&self) -> &Options {
        &self.database
    }

    /// What the repo host gets.
    pub(super) const fn repo_host(&self) -> &Options {
        &self.repo_host
    }

    /// What the container gets that needs all options of a repo: the repo host for a volume, otherwise PostgreSQL's. With
    /// backups from a standby, the repo host has the same (see `standby`).
    pub(super) fn of_repo(&self, repo: &ValidatedRepo) -> &Options {
        if repo.storage.is_volume() { &self.repo_host } else { &self.database }
    }
}

/// Notes variables that pgBackRest does not get where it needs them.
pub(super) fn look(
    resource: &Postgresql,
    section: &Pgbackrest,
    repos: &[ValidatedRepo],
    environment: &Environment,
    checks: &mut Checks<'_>,
) {
    let of_section = format!("{BACKUP}.env");
    for (path, list, is_for_repo_host) in
        [("spec.env", &resource.spec.env, false), (of_section.as_str(), &section.env, true)]
    {
        for (index, option, _) in named(list) {
            let Some(known) = options::find(&option) else { continue };
            let repo = repos.iter().find(|repo| Some(u32::from(repo.number.get())) == known.repo);
            let Some(repo) = repo.filter(|repo| repo.storage.is_volume() != is_for_repo_host) else {
                continue;
            };
            // PostgreSQL's containers need to know how to reach the repo host.
            if option.starts_with(&format!("{}-host", repo.number)) {
                continue;
            }
            let number = repo.number;
            let (message, remedy) = if !is_for_repo_host {
                (
                    format!(
                        "which only PostgreSQL's containers get; the backups of {number} are made in the repo host"
                    ),
                    format!("move it to {of_section}"),
                )
            } else if !repo.on_repo_host {
                (
                    format!(
                        "which only the repo host gets; the backups of {number} are made in PostgreSQL's container"
                    ),
                    "move it to spec.env".to_owned(),
                )
            } else if !environment.database.contains_key(&option) {
                (
                    format!(
                        "which only the repo host gets; PostgreSQL's containers archive to {number}, too"
                    ),
                    "add it to spec.env as well".to_owned(),
                )
            } else {
                continue;
            };
            checks.note(
                &codes::ENV_ELSEWHERE,
                format!("{path}[{index}].name"),
                format!("is {option}, {message}"),
                remedy,
            );
        }
    }
}

/// The options in a list of variables, with their positions and choices. pgBackRest takes `PGBACKREST_REPO1_S3_KEY` as
/// `repo1-s3-key`.
fn named(list: &[Value]) -> impl DoubleEndedIterator<Item = (usize, String, Option<String>)> {
    list.iter().enumerate().filter_map(|(index, variable)| {
        let name = variable.get("name")?.as_str()?.strip_prefix("PGBACKREST_")?;
        let name = name.to_ascii_lowercase().replace('_', "-");
        let value = variable.get("value").and_then(Value::as_str).filter(|value| !value.is_empty());
        if value.is_none() && variable.get("valueFrom").is_none() {
            return None;
        }
        let is_shown =
            |value: &str| name.ends_with("-type") || name.ends_with("-path") && options::is_plain_path(value);
        let choice = value.filter(|value| is_shown(value)).map(str::to_owned);
        Some((index, options::find(&name).map_or(name, |known| known.canonical), choice))
    })
}
