//! All objects of a validated cluster or restore test, in the order in which they are applied.
//!
//! Pure, and the only place that defines objects. Two calls with the same input return the same objects, byte for
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
mod reader;
mod repo_host;
pub mod restore_test;
pub mod verify;
mod volumes;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use certificates::CertificatePem;
pub use cron_job::EXPIRE_FAILED;
pub use object::Object;
pub use paths::configuration_file;
pub use verify::VerifyInputs;

use k8s_openapi::api::batch::v1::Job;
use ring::digest::{SHA256, digest};

use crate::cluster::address::IpFamilies;
use crate::cluster::names;
use crate::cluster::record::Record;
use crate::cluster::settings::Settings;
use crate::cluster::validated::{RepoNumber, STANZA, ValidatedCluster};
use crate::pgbackrest::conf::{Conf, RepoOptions};
use crate::pgbackrest::label::BackupType;

/// The complete desired state.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// In the order in which they are applied: referenced objects first, CronJobs last.
    pub objects: Vec<Object>,
    /// CronJobs that stay as they are, if they exist: their schedules have errors.
    pub held: Vec<String>,
    /// Hash of the configuration for PostgreSQL's pods. It is also in the first line of the file, so that the version
    /// in a pod can be read.
    pub instance_configuration_hash: String,
    /// The same for the repo host, if there is one.
    pub repo_host_configuration_hash: Option<String>,
    /// Hash of everything that a running `pgbackrest server` reloads only on SIGHUP: certificates, and both
    /// configurations. `None` without a repo host, or if certificates are not generated yet.
    pub servers_hash: Option<String>,
}

/// Inputs of a build besides resource and settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BuildInputs {
    /// Keys and certificates of the cluster. `None`: they are not generated yet, and replaced by `<generated>`; such
    /// objects are for printing and must not be applied.
    pub certificates: Option<CertificatePem>,
    /// Repos whose CronJobs must be suspended, each with a short reason such as `no-stanza`.
    pub waiting: BTreeMap<RepoNumber, String>,
    /// The record of the cluster.
    pub record: Record,
    /// How the pods reach each other.
    pub families: IpFamilies,
    /// What is known of verifications.
    pub verifications: VerifyInputs,
}

/// A hash per repo of the options that determine its location and access. Retention and schedules are not included:
/// they do not change the stanza.
#[must_use]
pub fn repo_hashes(cluster: &ValidatedCluster, settings: &Settings) -> BTreeMap<RepoNumber, String> {
    configuration::for_instances(cluster, settings, IpFamilies::default()).repo_hashes(cluster)
}

/// What pgBackRest reads where its commands run: the generated options, and those in the resource's Secret.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Configurations {
    /// In PostgreSQL's pods.
    pub instance: Conf,
    /// On the repo host, if there is one.
    pub repo_host: Option<Conf>,
}

impl Configurations {
    /// Those of a cluster. `secret` holds the options in the resource's Secret.
    #[must_use]
    pub fn of(cluster: &ValidatedCluster, settings: &Settings, secret: &Conf) -> Self {
        let read = |text: &str| {
            let ours = Conf::parse(&[(names::CONFIGURATION_KEY, text)]).unwrap_or_default();
            ours.including(secret.clone())
        };
        // Nothing that is read from it depends on them.
        let families = IpFamilies::default();
        let repo_host = || read(&configuration::for_repo_host(cluster, settings, families).text());
        Self {
            instance: read(&configuration::for_instances(cluster, settings, families).text()),
            repo_host: cluster.needs_repo_host().then(repo_host),
        }
    }

    /// The options of each repo on the host that is queried: the repo host for a repo on a volume, otherwise a pod of
    /// PostgreSQL. A repo whose options pgBackRest rejects is omitted.
    #[must_use]
    pub fn repo_options(&self, cluster: &ValidatedCluster) -> BTreeMap<RepoNumber, RepoOptions> {
        let options = cluster.repos.iter().filter_map(|repo| {
            let on_volume = self.repo_host.as_ref().filter(|_| repo.storage.is_volume());
            let conf = on_volume.unwrap_or(&self.instance);
            Some((repo.number, conf.repo_options(STANZA, repo.number.get().into()).ok()?))
        });
        options.collect()
    }
}

/// `Desired::servers_hash` of these certificates. `None` without a repo host.
#[must_use]
pub fn servers_hash(
    cluster: &ValidatedCluster,
    settings: &Settings,
    families: IpFamilies,
    pem: &CertificatePem,
) -> Option<String> {
    let instance = configuration::for_instances(cluster, settings, families);
    let repo_host =
        cluster.needs_repo_host().then(|| configuration::for_repo_host(cluster, settings, families))?;
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

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// The Service of the cluster's pods, which is also among the objects of `build`. The API server decides by which families
/// of addresses it names them.
#[must_use]
pub fn pods_service(cluster: &ValidatedCluster, settings: &Settings) -> Object {
    network::pods_service(cluster, settings)
}

/// Builds every object of a cluster.
///
/// They include the Service of the pods although it may have another owner; when applying, objects of other owners
/// are not changed.
#[must_use]
pub fn build(cluster: &ValidatedCluster, settings: &Settings, inputs: &BuildInputs) -> Desired {
    let families = inputs.families;
    let instance = configuration::for_instances(cluster, settings, families);
    let repo_host =
        cluster.needs_repo_host().then(|| configuration::for_repo_host(cluster, settings, families));
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
    objects.extend(verify::objects(cluster, settings, &inputs.verifications, &inputs.waiting));
    let instance_configuration_hash = instance.hash();
    let repo_host_configuration_hash = repo_host.map(|configuration| configuration.hash());
    let servers_hash = repo_host_configuration_hash
        .as_deref()
        .zip(inputs.certificates.as_ref())
        .map(|(repo_host, pem)| hash_for_servers(&instance_configuration_hash, repo_host, pem));
    let mut held = cron_job::held(cluster);
    held.extend(verify::held(cluster, &inputs.verifications));
    Desired { objects, held, instance_configuration_hash, repo_host_configuration_hash, servers_hash }
}

/// Builds the Job of one backup outside of the schedule: the first full backup of a repo, or one that a user has
/// requested. `token` distinguishes requests and determines the name, so that the same request creates only one Job.
/// `None` if the cluster has no such repo.
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
