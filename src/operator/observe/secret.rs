//! Contents of the resource's Secret that `validate` does not need. None of them is secret.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::ByteString;

use super::{certificates, lookup, read_secret};
use crate::cluster::names;
use crate::cluster::references::Lookup;
use crate::cluster::references::is_configuration_file;
use crate::cluster::resource::Postgresql;
use crate::kubernetes::client::CallError;
use crate::pgbackrest::conf::Conf;

/// Contents of a Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SecretWords {
    /// When certificates expire, by key.
    pub expiries: Vec<(String, DateTime<Utc>)>,
    /// pgBackRest's options about storage and retention, and the expiry of a shared access signature.
    pub options: Conf,
}

impl SecretWords {
    pub(super) fn read(data: &BTreeMap<String, ByteString>) -> Self {
        Self { expiries: certificates::expiries(data), options: options(data) }
    }
}

/// pgBackRest's options in the Secret that a resource names; none if it is missing or cannot be read.
///
/// # Errors
/// If the API server cannot be asked.
pub async fn options_of(client: &kube::Client, resource: &Postgresql) -> Result<Conf, CallError> {
    let Some((name, namespace)) = named(resource).zip(resource.metadata.namespace.as_deref()) else {
        return Ok(Conf::default());
    };
    Ok(match lookup(read_secret(client, namespace, name).await)? {
        Lookup::Found(secret) => options(&secret.data.unwrap_or_default()),
        Lookup::NotChecked | Lookup::Missing => Conf::default(),
    })
}

/// The Secret that a resource names. What is no name is never looked up: it would become part of the URL of a request.
pub(super) fn named(resource: &Postgresql) -> Option<&str> {
    let name = resource.pgbackrest()?.configuration.as_ref()?.secret.as_deref();
    name.filter(|name| names::is_object_name(name))
}

/// A file that pgBackRest cannot parse is a finding of `validate`, and ignored here.
fn options(data: &BTreeMap<String, ByteString>) -> Conf {
    let files = data.iter().filter(|(name, _)| is_configuration_file(name));
    let read = files
        .filter_map(|(name, content)| Conf::parse(&[(name, std::str::from_utf8(&content.0).ok()?)]).ok());
    read.fold(Conf::default(), Conf::including)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_all_files_count_and_no_secret_is_kept() {
        let data = [
            ("azure.conf", "[global]\nrepo2-azure-key=?sv=1&se=2030-01-02T03:04:05Z&sig=hunter2\n"),
            ("broken.conf", "repo1-retention-full=7 in no section"),
            ("notes.txt", "[global]\nrepo3-retention-full=7\n"),
            ("type.conf", "[global]\nrepo2-azure-key-type=sas\nrepo2-type=azure\n"),
        ];
        let data = data.map(|(name, text)| (name.to_owned(), ByteString(text.as_bytes().to_vec())));
        let words = SecretWords::read(&data.into());
        let options = words.options.repo_options("db", 2).unwrap();
        assert_eq!(options.azure_sas_expiry, Some("2030-01-02T03:04:05Z".parse().unwrap()));
        assert_eq!(words.options.repo_keys(), [2]);
        assert!(!format!("{words:?}").contains("hunter2"));
    }
}
