//! The locations of the repos of a resource, valid or not: what runs may have been set up before an error.

use std::collections::BTreeMap;

use super::environment::{Environment, Options};
use super::storage::AZURE_ENDPOINT;
use crate::cluster::location::{AccountHash, Located, Location};
use crate::cluster::references::{Lookup, References, SecretFacts, SecretOption};
use crate::cluster::resource::{Pgbackrest, Postgresql, RepoSpec};
use crate::cluster::validated::RepoNumber;
use crate::pgbackrest::options;

/// Of a resource. A standby has none of its own: it reads those of its primary.
#[must_use]
pub fn locations(resource: &Postgresql, references: &References) -> Vec<Located> {
    let is_standby = resource.spec.standby.as_ref().is_some_and(|standby| !standby.is_null());
    let Some(section) = resource.pgbackrest().filter(|_| !is_standby) else { return Vec::new() };
    let environment = Environment::of(resource, section);
    let given = GivenOptions::of(section, &environment, references);
    let named =
        section.repos.iter().filter_map(|repo| Some((RepoNumber::of_name(repo.name.as_deref()?)?, repo)));
    named.filter_map(|(number, repo)| given.locate(number, repo)).collect()
}

/// Options in the order in which pgBackRest prefers them.
pub(super) struct GivenOptions<'a> {
    environment: &'a Options,
    /// By their current name.
    global: BTreeMap<String, &'a str>,
    secret: Option<&'a SecretFacts>,
    is_secret_unread: bool,
}

enum Setting<'a> {
    Unset,
    Known(&'a str),
    Unknown,
}

impl<'a> GivenOptions<'a> {
    pub(super) fn of(
        section: &'a Pgbackrest,
        environment: &'a Environment,
        references: &'a References,
    ) -> Self {
        let secret = match &references.secret {
            Lookup::Found(facts) => Some(facts),
            Lookup::NotChecked | Lookup::Missing => None,
        };
        let named = section.configuration.as_ref().and_then(|configuration| configuration.secret.as_deref());
        let is_named = named.is_some_and(|name| !name.is_empty());
        let global = section.global.iter();
        Self {
            environment: environment.database(),
            global: global.map(|(name, value)| (canonical(name), value.trim())).collect(),
            secret,
            is_secret_unread: is_named && secret.is_none_or(SecretFacts::is_veiled),
        }
    }

    /// Where a repo is. `None` for a volume, and if that is not known.
    pub(super) fn locate(&self, number: RepoNumber, repo: &RepoSpec) -> Option<Located> {
        let (kind, endpoint, bucket) = match repo.storage.as_deref()? {
            "s3" => ("s3", None, "s3-bucket"),
            "azure" => ("azure", Some(AZURE_ENDPOINT), "azure-container"),
            "gcs" => ("gcs", Some("storage.googleapis.com"), "gcs-bucket"),
            _ => return None,
        };
        let set = |option: &str, field: Option<&str>| -> Option<Option<String>> {
            match self.setting(&format!("{number}-{option}")) {
                Setting::Known(value) => Some(Some(value.to_owned())),
                Setting::Unknown => None,
                Setting::Unset => {
                    Some(field.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned))
                }
            }
        };
        let bucket = set(bucket, repo.resource.as_deref())??;
        let endpoint =
            set(&format!("{kind}-endpoint"), repo.endpoint.as_deref())?.or(endpoint.map(str::to_owned));
        // The host that pgBackRest connects to, if it is not that of the endpoint.
        let host = set("storage-host", None)?.or(endpoint)?;
        let port = set("storage-port", None)?;
        let path = set("path", None)?;
        let account = if kind == "azure" { self.account(number, repo) } else { None };
        Some(Located {
            repo: number,
            location: Location::new(kind, &host, port.as_deref(), account, &bucket, path.as_deref()),
            is_guess: path.is_none() && self.is_secret_unread,
        })
    }

    fn account(&self, number: RepoNumber, repo: &RepoSpec) -> Option<AccountHash> {
        let option = format!("{number}-azure-account");
        let in_resource = self.global.get(&option).copied().or(repo.account.as_deref());
        match in_resource.filter(|account| !account.is_empty()) {
            Some(account) => Some(AccountHash::of(account)),
            None => self.in_secret(&option)?.account.clone(),
        }
    }

    fn setting(&self, option: &str) -> Setting<'_> {
        if let Some(value) = self.environment.get(option) {
            return value.as_deref().map_or(Setting::Unknown, Setting::Known);
        }
        if let Some(value) = self.global.get(option) {
            return Setting::Known(value);
        }
        match self.in_secret(option) {
            Some(given) => given.path.as_deref().map_or(Setting::Unknown, Setting::Known),
            None => Setting::Unset,
        }
    }

    fn in_secret(&self, option: &str) -> Option<&'a SecretOption> {
        self.secret?.options().map(|(_, given)| given).find(|given| canonical(&given.name) == option)
    }
}

fn canonical(name: &str) -> String {
    options::find(name).map_or_else(|| name.to_owned(), |known| known.canonical)
}
