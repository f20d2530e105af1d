//! A pod that reads repos: an init container copies the program into a volume, and an image with pgBackRest runs it, with what
//! PostgreSQL's pods mount to read a repo.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, EmptyDirVolumeSource, KeyToPath, ProjectedVolumeSource, SecretProjection,
    Volume, VolumeMount, VolumeProjection,
};

use super::certificates::{self, Side};
use super::{paths, pod};
use crate::cluster::names;
use crate::cluster::settings::Settings;
use crate::cluster::validated::{Storage, ValidatedCluster, ValidatedRepo};

/// The file whose content is the result of the pod.
pub(super) const TERMINATION_LOG: &str = "/dev/termination-log";
/// Printed instead of an image that only the cluster's pods show.
pub(super) const IMAGE_OF_POSTGRESQL: &str = "<image-of-postgresql>";

const INSTALL: &str = "install";
/// Where the program is.
const PROGRAM: &str = "/keeper";
/// pgBackRest accepts a group-readable key only if root owns it, and the kubelet makes root the owner.
const OWNER_AND_GROUP: i32 = 0o640;
/// What the AWS SDKs tell programs of the identity of a pod. pgBackRest reads it with `repo-s3-key-type=web-id`.
const IDENTITY: [&str; 2] = ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"];

/// The image of the program contains only the program, and others do not have it.
pub(super) fn install(settings: &Settings) -> Container {
    Container {
        name: INSTALL.to_owned(),
        image: Some(settings.keeper_image.clone()),
        image_pull_policy: settings.image_pull_policy.map(|policy| policy.as_str().to_owned()),
        args: Some(vec!["install".to_owned(), PROGRAM.to_owned()]),
        resources: Some(pod::resources("10m", "32Mi", "128Mi")),
        security_context: Some(pod::restricted_container()),
        volume_mounts: Some(vec![mount("keeper", PROGRAM, false)]),
        ..Container::default()
    }
}

/// The program with this command. It is explicit, so that the entry point of the image cannot start a database.
pub(super) fn command(name: &str) -> Vec<String> {
    vec![format!("{PROGRAM}/pgbackrest-keeper"), name.to_owned()]
}

/// What pgBackRest sees of the environment: credentials in the resource, and the identity of the pod.
pub(super) fn passed_environment(cluster: &ValidatedCluster, repo: &ValidatedRepo) -> Option<String> {
    let mut passed: Vec<&str> = cluster.database.env.iter().map(|variable| variable.name.as_str()).collect();
    if matches!(repo.storage, Storage::S3 { .. }) {
        passed.extend(IDENTITY);
    }
    (!passed.is_empty()).then(|| format!("--collect.pass-env={}", passed.join(",")))
}

/// Kubernetes replaces `$(VARIABLE)` in arguments, and `$$` by `$`.
pub(super) fn verbatim(arguments: Vec<String>) -> Vec<String> {
    arguments.into_iter().map(|argument| argument.replace('$', "$$")).collect()
}

/// Program, configuration, and certificates.
pub(super) fn mounts(cluster: &ValidatedCluster) -> Vec<VolumeMount> {
    let mut mounts = vec![
        mount("keeper", PROGRAM, true),
        mount("pgbackrest-config", names::CONFIGURATION_DIRECTORY, true),
    ];
    if cluster.needs_repo_host() {
        mounts.push(mount("cert-secret", paths::CERTIFICATES, true));
    }
    mounts
}

/// What [`mounts`] mounts. `secret` has pgBackRest's options that are secret.
pub(super) fn volumes(cluster: &ValidatedCluster, secret: Option<&String>) -> Vec<Volume> {
    let mut configuration = vec![VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: names::instance_configuration(&cluster.name),
            ..ConfigMapProjection::default()
        }),
        ..VolumeProjection::default()
    }];
    configuration.extend(secret.map(|name| VolumeProjection {
        secret: Some(SecretProjection { name: name.clone(), ..SecretProjection::default() }),
        ..VolumeProjection::default()
    }));
    let mut volumes = vec![empty("keeper"), projected("pgbackrest-config", configuration)];
    if cluster.needs_repo_host() {
        volumes.push(projected("cert-secret", vec![client_certificate(&cluster.name)]));
    }
    volumes
}

/// What PostgreSQL's pods have to reach the repo host.
fn client_certificate(cluster: &str) -> VolumeProjection {
    let files = [certificates::ROOTS, Side::Database.certificate(), Side::Database.key()];
    let items = files.map(|file| KeyToPath { key: file.to_owned(), path: file.to_owned(), mode: None });
    VolumeProjection {
        secret: Some(SecretProjection {
            name: names::certificates(cluster),
            items: Some(items.to_vec()),
            ..SecretProjection::default()
        }),
        ..VolumeProjection::default()
    }
}

fn projected(name: &str, sources: Vec<VolumeProjection>) -> Volume {
    Volume {
        projected: Some(ProjectedVolumeSource {
            sources: Some(sources),
            default_mode: Some(OWNER_AND_GROUP),
        }),
        ..volume_named(name)
    }
}

/// Ends with its pod.
pub(super) fn empty(name: &str) -> Volume {
    Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..volume_named(name) }
}

pub(super) fn volume_named(name: &str) -> Volume {
    Volume { name: name.to_owned(), ..Volume::default() }
}

pub(super) fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}
