//! The pod of a test. An init container copies the program into a volume, and PostgreSQL's image runs it: with what PostgreSQL's pods
//! mount to read a repo, with a volume for the copy, and with nothing else that it could write to.

use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EphemeralVolumeSource, KeyToPath,
    LocalObjectReference, PersistentVolumeClaimSpec, PersistentVolumeClaimTemplate, PodSpec, PodTemplateSpec,
    Volume, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Run;
use crate::cluster::desired::pod;
use crate::cluster::desired::reader::{self, TERMINATION_LOG, mount, volume_named};
use crate::cluster::labels;
use crate::cluster::restore_test::validated::{Assertions, Storage as TestStorage};
use crate::cluster::restore_test::volume;
use crate::cluster::validated::STANZA;

/// The command, and the name of its container.
const COMMAND: &str = "restore-test";

/// Mounts.
const COPY: &str = "/restore";
const ASSERTIONS: &str = "/etc/pgbackrest-keeper";

/// The size of a volume if nothing is known of the database.
const USUAL_SIZE: &str = "10Gi";
/// Seconds for PostgreSQL to stop.
const GRACE: i64 = 120;

pub(super) fn template(run: &Run<'_>) -> PodTemplateSpec {
    let Run { test, cluster, settings, .. } = run;
    let given = &test.pod;
    let mut labels = given.labels.clone();
    labels.extend(labels::of_test_pod(&test.name, &cluster.name, run.repo.number));
    let usual = &cluster.jobs.pod;
    let node_affinity = usual.node_affinity.clone();
    let affinity = || Some(Affinity { node_affinity: Some(node_affinity?), ..Affinity::default() });
    let mut pull_secrets = settings.image_pull_secrets.clone();
    pull_secrets.extend(given.image_pull_secrets.iter().cloned());
    pull_secrets.sort_unstable();
    pull_secrets.dedup();
    let pull_secrets: Vec<_> = pull_secrets.into_iter().map(|name| LocalObjectReference { name }).collect();
    let group = settings.repo_host_fs_group;
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(given.annotations.clone()).filter(|annotations| !annotations.is_empty()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            init_containers: Some(vec![reader::install(run.settings)]),
            containers: vec![container(run)],
            volumes: Some(volumes(run)),
            restart_policy: Some("Never".to_owned()),
            service_account_name: given.service_account.clone(),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            // That of PostgreSQL in its image, like the repo host.
            security_context: Some(pod::restricted(settings.repo_host_user, group, group)),
            termination_grace_period_seconds: Some(GRACE),
            image_pull_secrets: Some(pull_secrets).filter(|secrets| !secrets.is_empty()),
            node_selector: Some(given.node_selector.clone()).filter(|labels| !labels.is_empty()),
            affinity: given.affinity.clone().or_else(affinity),
            tolerations: Some(given.tolerations.clone().unwrap_or_else(|| usual.tolerations.clone()))
                .filter(|tolerations| !tolerations.is_empty()),
            priority_class_name: given.priority_class.clone(),
            ..PodSpec::default()
        }),
    }
}

fn container(run: &Run<'_>) -> Container {
    let Run { test, cluster, inputs, .. } = run;
    let known = [&test.pod.image, &inputs.image, &cluster.database.image];
    let image = known.into_iter().flatten().next();
    let mut mounts = reader::mounts(cluster);
    if test.checks.assertions.is_some() {
        mounts.push(mount("assertions", ASSERTIONS, true));
    }
    mounts.push(mount("copy", COPY, false));
    let resources = test.pod.resources.clone().unwrap_or_else(|| pod::resources("100m", "512Mi", "2Gi"));
    reader::container(cluster, COMMAND, image, arguments(run), mounts, resources)
}

/// The arguments of `pgbackrest-keeper restore-test`, without secrets.
fn arguments(run: &Run<'_>) -> Vec<String> {
    let Run { test, cluster, repo, .. } = run;
    let seconds = |name: &str, duration: std::time::Duration| format!("--{name}={}s", duration.as_secs());
    let mut arguments = vec![
        format!("--cluster={}", cluster.name),
        format!("--namespace={}", cluster.namespace),
        format!("--stanza={STANZA}"),
        format!("--repo={}", repo.number.get()),
        format!("--backup={}", test.backup),
        format!("--target={}", test.target),
        format!("--directory={COPY}/test"),
        format!("--state-directory={COPY}/state"),
        format!("--termination-log={TERMINATION_LOG}"),
        // Nothing outside of the volume can be written, with or without the kernel's help.
        "--allow-unsandboxed".to_owned(),
        seconds("deadline", test.timeouts.total),
        seconds("restore-timeout", test.timeouts.restore),
        seconds("replay-timeout", test.timeouts.replay),
        seconds("check-timeout", test.timeouts.check),
    ];
    // A pod that exceeds it is evicted, and evicted pods are repeated.
    if let TestStorage::EmptyDir { size_limit } = &test.storage {
        let limit = volume::usable(&size(run, size_limit.as_ref()));
        arguments.extend(limit.map(|bytes| format!("--space-limit={bytes}")));
    }
    arguments.extend(test.databases.iter().map(|name| format!("--db-include={name}")));
    arguments.extend(test.process_max.map(|processes| format!("--process-max={processes}")));
    arguments.extend(test.checks.amcheck.then(|| "--amcheck".to_owned()));
    let assertions = test.checks.assertions.as_ref();
    arguments.extend(assertions.map(|file| format!("--assertions={ASSERTIONS}/{}", file.key)));
    let postgresql = &test.postgresql;
    arguments.extend(postgresql.bin_directory.as_ref().map(|directory| format!("--pg-bin-dir={directory}")));
    arguments.extend(postgresql.user.as_ref().map(|user| format!("--pg-user={user}")));
    let parameters = postgresql.parameters.iter();
    arguments.extend(parameters.map(|(name, value)| format!("--postgres-option={name}={value}")));
    arguments.extend(test.keeps_failed.then(|| "--keep-on-failure".to_owned()));
    arguments.extend(reader::passed_environment(cluster, repo));
    arguments
}

fn volumes(run: &Run<'_>) -> Vec<Volume> {
    let Run { test, cluster, .. } = run;
    let secret = test.secret.as_ref().or(cluster.secret.as_ref());
    let mut volumes = reader::volumes(cluster, secret);
    volumes.extend(test.checks.assertions.as_ref().map(assertions));
    volumes.push(copy(run));
    volumes
}

fn assertions(file: &Assertions) -> Volume {
    let item = KeyToPath { key: file.key.clone(), path: file.key.clone(), mode: None };
    Volume {
        config_map: Some(ConfigMapVolumeSource {
            name: file.config_map.clone(),
            items: Some(vec![item]),
            ..ConfigMapVolumeSource::default()
        }),
        ..volume_named("assertions")
    }
}

/// The size of the volume: the given one, or what the cluster needs.
fn size(run: &Run<'_>, given: Option<&String>) -> String {
    let fitting = || volume::size(run.inputs.bytes, run.cluster.database.volume_size.as_deref());
    given.cloned().or_else(fitting).unwrap_or_else(|| USUAL_SIZE.to_owned())
}

/// The volume of the copy, which ends with its pod.
fn copy(run: &Run<'_>) -> Volume {
    let test = run.test;
    let volume = volume_named("copy");
    match &test.storage {
        TestStorage::EmptyDir { size_limit } => Volume {
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity(size(run, size_limit.as_ref()))),
                ..EmptyDirVolumeSource::default()
            }),
            ..volume
        },
        TestStorage::Ephemeral { storage_class, size } => {
            let requests = [("storage".to_owned(), Quantity(self::size(run, size.as_ref())))].into();
            let claim = PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                volume_mode: Some("Filesystem".to_owned()),
                resources: Some(VolumeResourceRequirements {
                    requests: Some(requests),
                    ..VolumeResourceRequirements::default()
                }),
                storage_class_name: storage_class.clone(),
                ..PersistentVolumeClaimSpec::default()
            };
            let labels = labels::of_test_pod(&test.name, &run.cluster.name, run.repo.number);
            Volume {
                ephemeral: Some(EphemeralVolumeSource {
                    volume_claim_template: Some(PersistentVolumeClaimTemplate {
                        metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
                        spec: claim,
                    }),
                }),
                ..volume
            }
        }
    }
}
