//! The Secrets with keys and certificates, made from PEM text that somebody else has generated.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::object::{self, Object};
use super::{hash_of, paths};
use crate::cluster::names;
use crate::cluster::settings::Settings;
use crate::cluster::validated::ValidatedCluster;

/// The key of the Secret with the trusted roots.
pub const ROOTS: &str = "pgbackrest.ca-roots";

/// The key of the authority's Secret with its certificate.
pub const AUTHORITY_CERTIFICATE: &str = "ca.crt";
/// The key of the authority's Secret with its private key.
pub const AUTHORITY_KEY: &str = "ca.key";

/// What is printed for a secret that does not exist yet.
const GENERATED: &str = "<generated>";

/// Keys and certificates of one cluster, as PEM text.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificatePem {
    /// The authority's certificate.
    pub authority_certificate: String,
    /// The authority's key. It stands in a Secret of its own that no pod mounts.
    pub authority_key: String,
    /// Every root that is trusted: the authority's certificate, and the one before it while servers still use it.
    pub roots: String,
    /// For PostgreSQL's pods, as client and as server.
    pub database_certificate: String,
    /// Its key.
    pub database_key: String,
    /// For the repo host, as client and as server.
    pub repo_host_certificate: String,
    /// Its key.
    pub repo_host_key: String,
}

impl CertificatePem {
    /// A hash of roots and certificates; a new key comes with a new certificate.
    pub(super) fn public_hash(&self) -> String {
        hash_of(&[&self.roots, &self.database_certificate, &self.repo_host_certificate])
    }
}

impl std::fmt::Debug for CertificatePem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys must not reach a log.
        formatter.debug_struct("CertificatePem").finish_non_exhaustive()
    }
}

/// Which of the two sides a file belongs to. The names of the Secret's keys are CPO's.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    /// PostgreSQL's pods.
    Database,
    /// The repo host.
    RepoHost,
}

impl Side {
    /// The Secret's key with the certificate.
    #[must_use]
    pub const fn certificate(self) -> &'static str {
        match self {
            Self::Database => "pgbackrest-client.crt",
            Self::RepoHost => "pgbackrest-repo-host.crt",
        }
    }

    /// The Secret's key with the private key.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Database => "pgbackrest-client.key",
            Self::RepoHost => "pgbackrest-repo-host.key",
        }
    }
}

/// The subject's common name in both certificates, by which either side knows the other. As with CPO it is the
/// cluster's name: each cluster has an authority of its own, so nobody else's certificate counts, and a cluster that is
/// taken over from CPO knows both sides by the same name before and after.
#[must_use]
pub fn common_name(cluster: &ValidatedCluster) -> &str {
    &cluster.name
}

/// Where a key of the Secret is found inside the pods.
#[must_use]
pub fn path(key: &str) -> String {
    format!("{}/{key}", paths::CERTIFICATES)
}

/// The Secret that PostgreSQL's pods and the repo host mount.
pub(super) fn pods_secret(
    cluster: &ValidatedCluster,
    settings: &Settings,
    pem: Option<&CertificatePem>,
) -> Object {
    let files = [
        (ROOTS, pem.map(|pem| &pem.roots)),
        (Side::Database.certificate(), pem.map(|pem| &pem.database_certificate)),
        (Side::Database.key(), pem.map(|pem| &pem.database_key)),
        (Side::RepoHost.certificate(), pem.map(|pem| &pem.repo_host_certificate)),
        (Side::RepoHost.key(), pem.map(|pem| &pem.repo_host_key)),
    ];
    secret(cluster, settings, names::certificates(&cluster.name), files)
}

/// The Secret with the authority, from which the other one is renewed.
pub(super) fn authority_secret(
    cluster: &ValidatedCluster,
    settings: &Settings,
    pem: Option<&CertificatePem>,
) -> Object {
    let files = [
        (AUTHORITY_CERTIFICATE, pem.map(|pem| &pem.authority_certificate)),
        (AUTHORITY_KEY, pem.map(|pem| &pem.authority_key)),
    ];
    secret(cluster, settings, names::certificate_authority(&cluster.name), files)
}

fn secret<const FILES: usize>(
    cluster: &ValidatedCluster,
    settings: &Settings,
    name: String,
    files: [(&str, Option<&String>); FILES],
) -> Object {
    let mut data = BTreeMap::new();
    let mut placeholders = BTreeMap::new();
    for (key, pem) in files {
        match pem {
            Some(pem) => _ = data.insert(key.to_owned(), ByteString(pem.clone().into_bytes())),
            None => _ = placeholders.insert(key.to_owned(), GENERATED.to_owned()),
        }
    }
    Secret {
        metadata: object::of_cluster(cluster, settings, name),
        type_: Some("Opaque".to_owned()),
        data: Some(data).filter(|data| !data.is_empty()),
        string_data: Some(placeholders).filter(|placeholders| !placeholders.is_empty()),
        ..Secret::default()
    }
    .into()
}
