//! The repo host: one pod with the repos that live on volumes, and pgBackRest's own server in front of them. Backups from a
//! standby are made there, too, since it reaches all pods of PostgreSQL.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, ContainerPort, EmptyDirVolumeSource, ExecAction, KeyToPath,
    PersistentVolumeClaimVolumeSource, PodSpec, Probe, ProjectedVolumeSource, SecretProjection, Volume,
    VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::certificates::{self, Side};
use super::object::{self, Object};
use super::{paths, pod};
use crate::cluster::settings::Settings;
use crate::cluster::validated::{ValidatedCluster, ValidatedRepo};
use crate::cluster::{containers, labels, names};
use crate::pgbackrest::command;

/// The container of pgBackRest.
pub(super) const CONTAINER: &str = "pgbackrest";

/// pgBackRest accepts a group-readable key only if root owns it, and the kubelet makes root the owner.
const OWNER_AND_GROUP: i32 = 0o640;

/// The StatefulSet. A change of the configuration does not change its pod template: every pgBackRest command reads
/// its configuration, and the server is reloaded by a signal.
pub(super) fn stateful_set(cluster: &ValidatedCluster, settings: &Settings) -> Object {
    let labels = labels::of_repo_host(cluster, settings);
    let group = settings.repo_host_fs_group;
    let spec = PodSpec {
        service_account_name: Some(names::repo_host_account(&cluster.name)),
        automount_service_account_token: Some(false),
        security_context: Some(pod::restricted(settings.repo_host_user, group, group)),
        volumes: Some(volumes(cluster)),
        ..PodSpec::default()
    };
    StatefulSet {
        metadata: object::owned(cluster, names::repo_host(&cluster.name), labels.clone()),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(names::pods_service(&cluster.name)),
            // With OrderedReady, a pod that never becomes ready is not replaced by a corrected one.
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            selector: LabelSelector {
                match_labels: Some(labels::repo_host_selector(&cluster.name, settings)),
                ..LabelSelector::default()
            },
            template: pod::template(&cluster.repo_host, labels, container(cluster), spec, settings),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
    .into()
}

fn container(cluster: &ValidatedCluster) -> Container {
    let template = &cluster.repo_host;
    Container {
        name: CONTAINER.to_owned(),
        image: cluster.image.clone(),
        // Explicit, so that the entry point of the image cannot create stanzas or start backups.
        command: Some(words(&command::SERVER)),
        ports: Some(vec![ContainerPort {
            name: Some("pgbackrest".to_owned()),
            container_port: paths::server_port(cluster).into(),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        env: pod::environment(vec![pod::field(command::POD_IP, "status.podIP")], template),
        resources: Some(
            template.resources.clone().unwrap_or_else(|| pod::resources("100m", "128Mi", "512Mi")),
        ),
        readiness_probe: Some(ping(10, 3)),
        // Ten minutes: a restart would abort a running backup, so a busy disk alone must not cause one.
        liveness_probe: Some(ping(60, 10)),
        security_context: Some(pod::restricted_container()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts(cluster)),
        ..Container::default()
    }
}

/// pgBackRest gives up after twice its timeout, which must be less than that of the probe.
fn ping(period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        exec: Some(ExecAction { command: Some(words(&command::SERVER_PING)) }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(10),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

fn volumes(cluster: &ValidatedCluster) -> Vec<Volume> {
    let mut configuration = vec![VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: names::repo_host_configuration(&cluster.name),
            ..ConfigMapProjection::default()
        }),
        ..VolumeProjection::default()
    }];
    configuration.extend(cluster.secret.as_ref().map(|secret| secret_projection(secret)));
    let mut volumes = vec![
        projected("pgbackrest-config", configuration),
        projected("cert-secret", vec![certificates(cluster)]),
    ];
    volumes.extend(repos(cluster).map(|repo| Volume {
        name: repo.number.to_string(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: names::volume_claim(&cluster.name, repo.number),
            ..PersistentVolumeClaimVolumeSource::default()
        }),
        ..Volume::default()
    }));
    volumes.extend(["log", "tmp"].map(|name| Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }));
    volumes
}

fn mounts(cluster: &ValidatedCluster) -> Vec<VolumeMount> {
    let mount = |name: &str, path: String, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path,
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![
        mount("pgbackrest-config", names::CONFIGURATION_DIRECTORY.to_owned(), true),
        mount("cert-secret", paths::CERTIFICATES.to_owned(), true),
    ];
    let repos = repos(cluster);
    mounts.extend(repos.map(|repo| mount(&repo.number.to_string(), names::volume_mount(repo.number), false)));
    mounts.push(mount("log", containers::REPO_HOST_LOG.to_owned(), false));
    mounts.push(mount("tmp", containers::TEMPORARY.to_owned(), false));
    mounts
}

fn repos(cluster: &ValidatedCluster) -> impl Iterator<Item = &ValidatedRepo> {
    cluster.repos.iter().filter(|repo| repo.storage.is_volume())
}

fn projected(name: &str, sources: Vec<VolumeProjection>) -> Volume {
    Volume {
        name: name.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(sources),
            default_mode: Some(OWNER_AND_GROUP),
        }),
        ..Volume::default()
    }
}

/// The files of the repo host, without those of PostgreSQL's pods.
fn certificates(cluster: &ValidatedCluster) -> VolumeProjection {
    let files = [certificates::ROOTS, Side::RepoHost.certificate(), Side::RepoHost.key()];
    let items = files.map(|file| KeyToPath { key: file.to_owned(), path: file.to_owned(), mode: None });
    VolumeProjection {
        secret: Some(SecretProjection {
            name: names::certificates(&cluster.name),
            items: Some(items.to_vec()),
            ..SecretProjection::default()
        }),
        ..VolumeProjection::default()
    }
}

fn secret_projection(name: &str) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection { name: name.to_owned(), ..SecretProjection::default() }),
        ..VolumeProjection::default()
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
