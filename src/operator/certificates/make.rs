//! Creates keys and certificates.

use chrono::{DateTime, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;

use crate::cluster::desired::CertificatePem;
use crate::cluster::desired::certificates::common_name;
use crate::cluster::names;
use crate::cluster::settings::Settings;
use crate::cluster::validated::ValidatedCluster;

use super::CertificateError;

const AUTHORITY_LIFE: TimeDelta = TimeDelta::days(3650);
const LEAF_LIFE: TimeDelta = TimeDelta::days(365);
/// Tolerance for clock differences between nodes.
const BACKDATED: TimeDelta = TimeDelta::hours(1);

/// The subjects of the certificates of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The common name that both sides require.
    pub common_name: String,
    /// The DNS names of servers: all pods of the cluster, however many there will be.
    pub host_names: Vec<String>,
}

impl Subject {
    pub(super) fn of(cluster: &ValidatedCluster, settings: &Settings) -> Self {
        let host =
            |pod: &str| names::pod_host(pod, &cluster.name, &cluster.namespace, &settings.cluster_domain);
        // The probe pings its own server by this name.
        let localhost = "localhost".to_owned();
        Self {
            common_name: common_name(cluster).to_owned(),
            host_names: vec![host("*"), host(&names::repo_host_pod(&cluster.name)), localhost],
        }
    }
}

/// A certificate and its key, as PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Creates everything for the first time.
pub(super) fn everything(subject: &Subject, now: DateTime<Utc>) -> Result<CertificatePem, CertificateError> {
    let authority = authority(now)?;
    let database = leaf(subject, &authority.certificate, &authority.key, now)?;
    let repo_host = leaf(subject, &authority.certificate, &authority.key, now)?;
    Ok(CertificatePem {
        roots: authority.certificate.clone(),
        authority_certificate: authority.certificate,
        authority_key: authority.key,
        database_certificate: database.certificate,
        database_key: database.key,
        repo_host_certificate: repo_host.certificate,
        repo_host_key: repo_host.key,
    })
}

pub(super) fn authority(now: DateTime<Utc>) -> Result<Pair, CertificateError> {
    let mut params = params(Vec::new(), now, AUTHORITY_LIFE)?;
    // Two authorities that are trusted at the same time must have different names.
    let name = format!("pgbackrest-keeper {}", now.timestamp());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// For client and server: each side is both.
pub(super) fn leaf(
    subject: &Subject,
    authority: &str,
    authority_key: &str,
    now: DateTime<Utc>,
) -> Result<Pair, CertificateError> {
    let authority_key = KeyPair::from_pem(authority_key).map_err(failed)?;
    let issuer = Issuer::from_ca_cert_pem(authority, authority_key).map_err(failed)?;
    let mut params = params(subject.host_names.clone(), now, LEAF_LIFE)?;
    params.distinguished_name.push(DnType::CommonName, &subject.common_name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(
    host_names: Vec<String>,
    now: DateTime<Utc>,
    life: TimeDelta,
) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::new(host_names).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = moment(now - BACKDATED)?;
    params.not_after = moment(now + life)?;
    Ok(params)
}

fn moment(at: DateTime<Utc>) -> Result<OffsetDateTime, CertificateError> {
    OffsetDateTime::from_unix_timestamp(at.timestamp()).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> CertificateError {
    CertificateError(error.to_string())
}
