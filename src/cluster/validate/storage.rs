//! The settings of each kind of storage.

use super::environment::Environment;
use super::fields::{IN_SECRET, default_used, no_key, optional, required, unused};
use super::{Checks, volumes};
use crate::cluster::finding::codes;
use crate::cluster::names;
use crate::cluster::resource::{Pgbackrest, RepoSpec};
use crate::cluster::validated::{GcsCredentials, KeyFile, RepoNumber, Storage};
use crate::pgbackrest::options;

/// pgBackRest's default of `repoN-azure-endpoint`.
pub(super) const AZURE_ENDPOINT: &str = "blob.core.windows.net";

/// The storage of a repo; `None` if there is a finding.
pub(super) fn look(
    repo: &RepoSpec,
    number: RepoNumber,
    path: &str,
    section: &Pgbackrest,
    environment: &Environment,
    checks: &mut Checks<'_>,
) -> Option<Storage> {
    let given = repo.storage.as_deref().unwrap_or_default();
    match given {
        "pvc" => volumes::look(repo, number, path, checks).map(Storage::Volume),
        "s3" => s3(repo, path, checks),
        "azure" => azure(repo, number, path, checks),
        "gcs" => gcs(repo, number, path, section, environment, checks),
        _ => {
            let remedy = match given {
                "blob" => "use azure, the name in the schema",
                _ => "use pvc, s3, azure or gcs",
            };
            checks.note_value(
                &codes::STORAGE_UNKNOWN,
                format!("{path}.storage"),
                given,
                "is not a supported storage type",
                remedy,
            );
            None
        }
    }
}

fn s3(repo: &RepoSpec, path: &str, checks: &mut Checks<'_>) -> Option<Storage> {
    no_key(repo, "s3", path, checks);
    let bucket = required(repo.resource.as_deref(), path, "resource", "the name of the bucket", checks);
    let endpoint = required(repo.endpoint.as_deref(), path, "endpoint", "the host of the S3 API", checks)
        .filter(|endpoint| endpoint_is_clean(endpoint, path, checks));
    let region =
        required(repo.region.as_deref(), path, "region", "the bucket's region, such as eu-central-1", checks);
    Some(Storage::S3 { bucket: bucket?, endpoint: endpoint?, region: region? })
}

fn azure(repo: &RepoSpec, number: RepoNumber, path: &str, checks: &mut Checks<'_>) -> Option<Storage> {
    if repo.key.as_deref().is_some_and(|key| !key.is_empty()) {
        checks.note(
            &codes::SECRET_IN_RESOURCE,
            format!("{path}.key"),
            "is the key of the storage account, in plain text",
            format!("{IN_SECRET} as {number}-azure-key"),
        );
    }
    unused(
        repo.key_type.as_deref(),
        path,
        "keyType",
        &format!("set {number}-azure-key-type in global"),
        checks,
    );
    let container = required(repo.resource.as_deref(), path, "resource", "the name of the container", checks);
    let account = optional(repo.account.as_deref(), path, "account", checks)?;
    let endpoint = optional(repo.endpoint.as_deref(), path, "endpoint", checks)?;
    match &endpoint {
        Some(endpoint) if !endpoint_is_clean(endpoint, path, checks) => return None,
        Some(_) => {}
        None => default_used(path, "endpoint", AZURE_ENDPOINT, checks),
    }
    Some(Storage::Azure { container: container?, account, endpoint })
}

fn gcs(
    repo: &RepoSpec,
    number: RepoNumber,
    path: &str,
    section: &Pgbackrest,
    environment: &Environment,
    checks: &mut Checks<'_>,
) -> Option<Storage> {
    let bucket = required(repo.resource.as_deref(), path, "resource", "the name of the bucket", checks);
    let endpoint = optional(repo.endpoint.as_deref(), path, "endpoint", checks)?;
    if endpoint.as_ref().is_some_and(|endpoint| !endpoint_is_clean(endpoint, path, checks)) {
        return None;
    }
    let key_type = optional(repo.key_type.as_deref(), path, "keyType", checks)?;
    let credentials = match key_type.as_deref() {
        None => {
            default_used(path, "keyType", "service", checks);
            key_file(repo, number, path, section, environment, checks).map(GcsCredentials::Service)
        }
        Some("service") => {
            key_file(repo, number, path, section, environment, checks).map(GcsCredentials::Service)
        }
        Some("auto") => {
            unused(repo.key.as_deref(), path, "key", "keyType auto uses the identity of the pod", checks);
            Some(GcsCredentials::Auto)
        }
        Some("token") => {
            if repo.key.as_deref().is_some_and(|key| !key.is_empty()) {
                checks.note(
                    &codes::SECRET_IN_RESOURCE,
                    format!("{path}.key"),
                    "is a token in plain text",
                    format!("{IN_SECRET} as {number}-gcs-key"),
                );
            }
            Some(GcsCredentials::Token)
        }
        Some(_) => {
            checks.note(
                &codes::FIELD_MALFORMED,
                format!("{path}.keyType"),
                "is not a valid GCS key type",
                "use service, auto or token",
            );
            None
        }
    };
    Some(Storage::Gcs { bucket: bucket?, endpoint, credentials: credentials? })
}

/// Where a gcs key file is, never its contents.
fn key_file(
    repo: &RepoSpec,
    number: RepoNumber,
    path: &str,
    section: &Pgbackrest,
    environment: &Environment,
    checks: &mut Checks<'_>,
) -> Option<KeyFile> {
    let given = repo.key.as_deref().unwrap_or_default();
    let option = format!("{number}-gcs-key");
    let is_named = section.global.contains_key(&option)
        || environment.database().contains_key(&option)
        || checks.references.secret_has(&option);
    if given.trim().is_empty() && is_named {
        return Some(KeyFile::Named);
    }
    if given.contains(['{', '\n']) || given.contains("PRIVATE KEY") {
        checks.note(
            &codes::SECRET_IN_RESOURCE,
            format!("{path}.key"),
            "contains the key itself, in plain text",
            format!("{IN_SECRET} under a name such as gcs.json, and set that name here"),
        );
        return None;
    }
    let what = "the name of the key file in the Secret, such as gcs.json, or the path of a mounted file";
    let line = required(Some(given), path, "key", what, checks)?;
    let in_secret =
        given.strip_prefix(names::CONFIGURATION_DIRECTORY).and_then(|rest| rest.strip_prefix('/'));
    let file = in_secret.unwrap_or(given);
    if is_secret_key(file) {
        return Some(KeyFile::InSecret(file.to_owned()));
    }
    if options::is_plain_path(given) {
        return Some(KeyFile::Mounted(line));
    }
    checks.note(
        &codes::FIELD_MALFORMED,
        format!("{path}.key"),
        "is neither a key of a Secret nor a path",
        format!("use {what}"),
    );
    None
}

/// Whether Kubernetes takes this as a key of a Secret or a ConfigMap.
pub(super) fn is_secret_key(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && text.chars().all(plain) && !text.starts_with("..") && text != "."
}

/// An endpoint that pgBackRest can parse: `host`, `host:port`, or either after `https://` (`http://` since 2.58, pgBackRest commit 2398dd4d4).
fn endpoint_is_clean(endpoint: &str, path: &str, checks: &mut Checks<'_>) -> bool {
    let field = format!("{path}.endpoint");
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        checks.note(
            &codes::SECRET_IN_RESOURCE,
            field,
            "contains a user name or password before the host",
            format!("{IN_SECRET}; set only the host here"),
        );
        return false;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port_is_good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if matches!(scheme, "https" | "http")
        && !host.is_empty()
        && port_is_good
        && !rest.contains([' ', '?', '#'])
    {
        return true;
    }
    let (problem, remedy) =
        ("is not a valid endpoint for pgBackRest", "use host, host:port or https://host:port");
    // Anything but the name of a host may be a password.
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    if rest.contains('.') && rest.chars().all(is_name) && scheme.chars().all(is_name) {
        checks.note_value(&codes::FIELD_MALFORMED, field, endpoint, problem, remedy);
    } else {
        checks.note(&codes::FIELD_MALFORMED, field, problem, remedy);
    }
    false
}
