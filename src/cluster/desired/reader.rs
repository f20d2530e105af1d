//! A Job that reads repos, for a restore test or a verification: an init container copies the program into a volume, and an image with
//! pgBackRest runs it, with what PostgreSQL's pods mount to read a repo.

use std::time::Duration;

use k8s_openapi::api::batch::v1::{JobSpec, JobTemplateSpec, PodFailurePolicy};
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, EmptyDirVolumeSource, KeyToPath, PodTemplateSpec, ProjectedVolumeSource,
    ResourceRequirements, SecretProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::certificates::{self, Side};
use super::{paths, pod, seconds};
use crate::cluster::labels::Labels;
use crate::cluster::names;
use crate::cluster::settings::Settings;
use crate::cluster::validated::{Storage, ValidatedCluster, ValidatedRepo};

/// The file whose content is the result of the pod.
pub(super) const TERMINATION_LOG: &str = "/dev/termination-log";
/// Printed instead of an image that only the cluster's pods show.
const IMAGE_OF_POSTGRESQL: &str = "<image-of-postgresql>";

/// How long it may take until the program of a pod starts: a volume is created, and images are pulled.
const UNTIL_START: Duration = Duration::from_hours(1);
/// How long its end may take after the time limit: PostgreSQL stops, and a copy is removed.
const UNTIL_END: Duration = Duration::from_mins(15);

const INSTALL: &str = "install";
/// Where the program is.
const PROGRAM: &str = "/keeper";
/// pgBackRest accepts a group-readable key only if root owns it, and the kubelet makes root the owner.
const OWNER_AND_GROUP: i32 = 0o640;
/// What the AWS SDKs tell programs of the identity of a pod. pgBackRest reads it with `repo-s3-key-type=web-id`.
const IDENTITY: [&str; 2] = ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"];

/// Each pod has one result, so a failed one is not repeated. An evicted one has none. The program ends within `limit`.
pub(super) fn job(limit: Duration, template: PodTemplateSpec) -> JobSpec {
    JobSpec {
        backoff_limit: Some(0),
        // The program ends before, with a result.
        active_deadline_seconds: Some(seconds(limit.saturating_add(UNTIL_START + UNTIL_END))),
        pod_failure_policy: Some(PodFailurePolicy { rules: vec![pod::ignore_evictions()] }),
        template,
        ..JobSpec::default()
    }
}

/// With the labels by which the Jobs are found.
pub(super) fn job_template(labels: Labels, job: JobSpec) -> JobTemplateSpec {
    JobTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
        spec: Some(job),
    }
}

/// The container that runs a command of the program, and whose termination message is the result. The command is explicit, so that the
/// entry point of the image cannot start a database.
pub(super) fn container(
    cluster: &ValidatedCluster,
    command: &str,
    image: Option<&String>,
    arguments: Vec<String>,
    mounts: Vec<VolumeMount>,
    resources: ResourceRequirements,
) -> Container {
    let env = &cluster.database.env;
    Container {
        name: command.to_owned(),
        image: Some(image.cloned().unwrap_or_else(|| IMAGE_OF_POSTGRESQL.to_owned())),
        command: Some(vec![format!("{PROGRAM}/pgbackrest-keeper"), command.to_owned()]),
        args: Some(verbatim(arguments)),
        env: Some(env.clone()).filter(|env| !env.is_empty()),
        resources: Some(resources),
        security_context: Some(pod::restricted_container()),
        // The program writes its result there; otherwise the end of its log is used.
        termination_message_path: Some(TERMINATION_LOG.to_owned()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

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

/// What pgBackRest sees of the environment: credentials in the resource, and the identity of the pod.
pub(super) fn passed_environment(cluster: &ValidatedCluster, repo: &ValidatedRepo) -> Option<String> {
    let mut passed: Vec<&str> = cluster.database.env.iter().map(|variable| variable.name.as_str()).collect();
    if matches!(repo.storage, Storage::S3 { .. }) {
        passed.extend(IDENTITY);
    }
    (!passed.is_empty()).then(|| format!("--collect.pass-env={}", passed.join(",")))
}

/// Kubernetes replaces `$(VARIABLE)` in arguments, and `$$` by `$`.
fn verbatim(arguments: Vec<String>) -> Vec<String> {
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
