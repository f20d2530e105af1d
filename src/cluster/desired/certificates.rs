//! The Secrets with keys and certificates, from generated PEM texts.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::object::{self, Object};
use super::{hash_of, paths};
use crate::cluster::names;
use crate::cluster::settings::Settings;
use crate::cluster::validated::ValidatedCluster;

/// The key of the Secret that contains the trusted roots.
pub const ROOTS: &str = "pgbackrest.ca-roots";

/// The key of the authority's Secret that contains its certificate.
pub const AUTHORITY_CERTIFICATE: &str = "ca.crt";
/// The key of the authority's Secret that contains its private key.
pub const AUTHORITY_KEY: &str = "ca.key";

/// Printed instead of a secret that does not exist yet.
const GENERATED: &str = "<generated>";

/// Keys and certificates of one cluster, as PEM text.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificatePem {
    pub authority_certificate: String,
    /// The authority's key. It is in a Secret of its own, which no pod mounts.
    pub authority_key: String,
    /// All trusted roots: the authority's certificate, and the previous one while servers still use it.
    pub roots: String,
    /// For PostgreSQL's pods, as client and as server.
    pub database_certificate: String,
    pub database_key: String,
    /// For the repo host, as client and as server.
    pub repo_host_certificate: String,
    pub repo_host_key: String,
}

impl CertificatePem {
    /// A hash of roots and certificates; keys change together with certificates.
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

/// The side that a file belongs to. The keys of the Secret have the same names as with CPO.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    /// PostgreSQL's pods.
    Database,
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

/// The common name in both certificates, which both sides require. As with CPO, it is the name of the cluster: each
/// cluster has its own authority, so no other certificates are accepted, and a cluster that is taken over from CPO
/// keeps its names.
#[must_use]
pub fn common_name(cluster: &ValidatedCluster) -> &str {
    &cluster.name
}

/// The path of a key of the Secret in the pods.
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

/// The Secret with the authority, which renews the other one.
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
