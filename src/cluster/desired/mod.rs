//! What a validated cluster leads to: every object that we make for it, in the order in which they are applied.
//!
//! Pure, and the only place where objects are written. Two calls with the same input give the same objects, byte for
//! byte, so that applying an unchanged cluster changes nothing.

mod accounts;
pub mod certificates;
mod config_map;
mod configuration;
mod cron_job;
mod network;
mod object;
mod paths;
mod pod;
mod repo_host;
mod volumes;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use certificates::CertificatePem;
pub use object::Object;
pub use paths::configuration_file;

use k8s_openapi::api::batch::v1::Job;
use ring::digest::{SHA256, digest};

use crate::cluster::names;
use crate::cluster::record::Record;
use crate::cluster::settings::Settings;
use crate::cluster::validated::{RepoNumber, STANZA, ValidatedCluster};
use crate::pgbackrest::conf::{Conf, RepoOptions};
use crate::pgbackrest::label::BackupType;

/// What is asked for, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// In the order in which they are applied: what others refer to comes first, CronJobs come last.
    pub objects: Vec<Object>,
    /// Hash of the configuration for PostgreSQL's pods. It also stands in the file's first line, so that a pod
    /// can be asked which configuration it sees.
    pub instance_configuration_hash: String,
    /// The same for the repo host, where there is one.
    pub repo_host_configuration_hash: Option<String>,
    /// Hash of what a running `pgbackrest server` reads once and again when it gets a SIGHUP: certificates, and both
    /// configurations. `None` without a repo host, or where certificates are not generated yet.
    pub servers_hash: Option<String>,
}

/// What is true at the moment and stands neither in the resource nor in the settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BuildInputs {
    /// Keys and certificates of the cluster. `None`: they are to be generated, and `<generated>` stands in their
    /// place; such objects are for printing and must not be applied.
    pub certificates: Option<CertificatePem>,
    /// Repos whose CronJobs must wait, each with the reason in a word or two, such as `no-stanza`.
    pub waiting: BTreeMap<RepoNumber, String>,
    /// What is remembered about the cluster.
    pub record: Record,
}

/// A hash per repo of the options that say where it is and how it is read. Retention and schedules do not count: they
/// do not lead to another stanza.
#[must_use]
pub fn repo_hashes(cluster: &ValidatedCluster, settings: &Settings) -> BTreeMap<RepoNumber, String> {
    configuration::for_instances(cluster, settings).repo_hashes(cluster)
}

/// What pgBackRest's configuration says of each repo where the repo is asked: the repo host for one on a volume, else a
/// pod of PostgreSQL. `secret` is what the resource's Secret adds. A repo whose options pgBackRest refuses is left out.
#[must_use]
pub fn repo_options(
    cluster: &ValidatedCluster,
    settings: &Settings,
    secret: &Conf,
) -> BTreeMap<RepoNumber, RepoOptions> {
    let read = |text: &str| {
        let ours = Conf::parse(&[(names::CONFIGURATION_KEY, text)]).unwrap_or_default();
        ours.including(secret.clone())
    };
    let instance = read(&configuration::for_instances(cluster, settings).text());
    let repo_host =
        cluster.needs_repo_host().then(|| read(&configuration::for_repo_host(cluster, settings).text()));
    let repo_host = repo_host.unwrap_or_default();
    let options = cluster.repos.iter().filter_map(|repo| {
        let conf = if repo.storage.is_volume() { &repo_host } else { &instance };
        Some((repo.number, conf.repo_options(STANZA, repo.number.get().into()).ok()?))
    });
    options.collect()
}

/// `Desired::servers_hash` of these certificates. `None` without a repo host.
#[must_use]
pub fn servers_hash(cluster: &ValidatedCluster, settings: &Settings, pem: &CertificatePem) -> Option<String> {
    let instance = configuration::for_instances(cluster, settings);
    let repo_host = cluster.needs_repo_host().then(|| configuration::for_repo_host(cluster, settings))?;
    Some(hash_for_servers(&instance.hash(), &repo_host.hash(), pem))
}

fn hash_for_servers(instance: &str, repo_host: &str, pem: &CertificatePem) -> String {
    hash_of(&[instance, repo_host, &pem.public_hash()])
}

/// The first 16 hexadecimal digits of the SHA-256 of the texts, with a zero byte between them.
fn hash_of(texts: &[&str]) -> String {
    let mut hash = hex::encode(digest(&SHA256, texts.join("\0").as_bytes()));
    hash.truncate(16);
    hash
}

/// Builds every object of a cluster.
///
/// The Service of the pods is among them although somebody else may have made it; whoever applies the objects leaves
/// an object alone that is not ours.
#[must_use]
pub fn build(cluster: &ValidatedCluster, settings: &Settings, inputs: &BuildInputs) -> Desired {
    let instance = configuration::for_instances(cluster, settings);
    let repo_host = cluster.needs_repo_host().then(|| configuration::for_repo_host(cluster, settings));
    let mut objects = accounts::for_jobs(cluster, settings);
    if let Some(configuration) = &repo_host {
        let pem = inputs.certificates.as_ref();
        objects.push(accounts::for_repo_host(cluster, settings));
        objects.push(certificates::authority_secret(cluster, settings, pem));
        objects.push(certificates::pods_secret(cluster, settings, pem));
        objects.push(config_map::for_repo_host(cluster, settings, configuration));
    }
    objects.push(config_map::for_instances(cluster, settings, &instance, &inputs.record));
    objects.extend(volumes::claims(cluster, settings));
    objects.push(network::pods_service(cluster, settings));
    if repo_host.is_some() {
        objects.push(network::repo_host_policy(cluster, settings));
        objects.push(repo_host::stateful_set(cluster, settings));
    }
    objects.extend(cron_job::all(cluster, settings, &inputs.waiting));
    let instance_configuration_hash = instance.hash();
    let repo_host_configuration_hash = repo_host.map(|configuration| configuration.hash());
    let servers_hash = repo_host_configuration_hash
        .as_deref()
        .zip(inputs.certificates.as_ref())
        .map(|(repo_host, pem)| hash_for_servers(&instance_configuration_hash, repo_host, pem));
    Desired { objects, instance_configuration_hash, repo_host_configuration_hash, servers_hash }
}

/// Builds the Job of one backup outside of the schedule: the first full backup of a repo, or one that a person asks for.
/// `token` tells one order from another and decides the name, so that the same order makes no second Job. `None` when
/// the cluster has no such repo.
#[must_use]
pub fn one_time_job(
    cluster: &ValidatedCluster,
    settings: &Settings,
    repo: RepoNumber,
    backup_type: BackupType,
    token: &str,
) -> Option<Job> {
    cron_job::one_time(cluster, settings, repo, backup_type, token)
}
