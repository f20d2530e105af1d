//! The objects of verifications: a CronJob whose pod verifies the repo that has its turn, and a ConfigMap with the results.
//!
//! A pod has no token for the API server. So the template is written for one repo, and rewritten when the next one has its turn.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, JobSpec};
use k8s_openapi::api::core::v1::{ConfigMap, PodSpec};

use super::object::{self, Object};
use super::reader::{self, TERMINATION_LOG, mount};
use super::{pod, seconds};
use crate::cluster::restore_test::testable;
use crate::cluster::settings::Settings;
use crate::cluster::validated::{
    PodTemplate, RepoNumber, STANZA, Suspension, ValidatedCluster, ValidatedRepo, Verifications,
    VerifyTemplate,
};
use crate::cluster::{labels, names};

/// The command, and the name of its container.
const COMMAND: &str = "verify";
/// Where the program writes its record, besides the termination message.
const STATE: &str = "/state";

/// How late a verification may start.
const STARTING_DEADLINE: Duration = Duration::from_hours(2);
/// Finished Jobs of each kind that are kept, for their logs.
const HISTORY: i32 = 3;

/// What is known of the verifications of a cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VerifyInputs {
    /// When the last verification of each repo began.
    pub last: BTreeMap<RepoNumber, DateTime<Utc>>,
    /// The image of the running PostgreSQL containers, if the resource names none.
    pub image: Option<String>,
    /// No image is known, so the CronJob stays as it is.
    pub has_no_image: bool,
    /// The content of the ConfigMap with the results.
    pub results: BTreeMap<String, String>,
}

/// Whether the objects of verifications exist.
pub(super) const fn is_on(cluster: &ValidatedCluster) -> bool {
    !matches!(cluster.verifications, Verifications::Off)
}

/// The image that verifies: that of the repo host, whose pgBackRest must be the same, or that of PostgreSQL. `None`: only the
/// cluster's pods show it.
#[must_use]
pub const fn image(cluster: &ValidatedCluster) -> Option<&String> {
    match &cluster.image {
        Some(image) => Some(image),
        None => cluster.database.image.as_ref(),
    }
}

pub(super) fn objects(
    cluster: &ValidatedCluster,
    settings: &Settings,
    inputs: &VerifyInputs,
    waiting: &BTreeMap<RepoNumber, String>,
) -> Vec<Object> {
    let mut objects = Vec::new();
    if is_on(cluster) && !inputs.results.is_empty() {
        objects.push(results(cluster, settings, inputs));
    }
    if let Verifications::Scheduled(template) = &cluster.verifications
        && !inputs.has_no_image
        && let Some(repo) = next(cluster, inputs, waiting)
    {
        objects.push(cron_job(&Run { cluster, template, repo, settings, inputs, waiting }));
    }
    objects
}

/// The name of the CronJob that stays as it is, because it is not known how it should be.
pub(super) fn held(cluster: &ValidatedCluster, inputs: &VerifyInputs) -> Option<String> {
    let is_held = match &cluster.verifications {
        Verifications::Off => false,
        Verifications::Held => true,
        Verifications::Scheduled(_) => inputs.has_no_image,
    };
    is_held.then(|| names::verify_cron_job(&cluster.name))
}

/// The repo whose last verification is the oldest, and first those without one. One without a stanza waits, unless all do.
fn next<'a>(
    cluster: &'a ValidatedCluster,
    inputs: &VerifyInputs,
    waiting: &BTreeMap<RepoNumber, String>,
) -> Option<&'a ValidatedRepo> {
    let readable = cluster.repos.iter().filter(|repo| testable::has_its_key(repo));
    let turn = |repo: &&ValidatedRepo| {
        (waiting.contains_key(&repo.number), inputs.last.get(&repo.number), repo.number)
    };
    readable.min_by_key(turn)
}

/// One turn.
struct Run<'a> {
    cluster: &'a ValidatedCluster,
    template: &'a VerifyTemplate,
    repo: &'a ValidatedRepo,
    settings: &'a Settings,
    inputs: &'a VerifyInputs,
    waiting: &'a BTreeMap<RepoNumber, String>,
}

fn cron_job(run: &Run<'_>) -> Object {
    let Run { cluster, template, repo, settings, .. } = run;
    let reason = cluster.suspension.map(Suspension::as_str);
    let reason = reason.or_else(|| run.waiting.get(&repo.number).map(String::as_str));
    let mut metadata = object::of_cluster(cluster, settings, names::verify_cron_job(&cluster.name));
    metadata.annotations =
        reason.map(|reason| BTreeMap::from([(labels::SUSPENDED_BECAUSE.to_owned(), reason.to_owned())]));
    let labels = labels::of_verification(&cluster.name, repo.number);
    CronJob {
        metadata,
        spec: Some(CronJobSpec {
            schedule: template.schedule.clone(),
            time_zone: template.time_zone.clone(),
            concurrency_policy: Some("Forbid".to_owned()),
            starting_deadline_seconds: Some(seconds(STARTING_DEADLINE)),
            successful_jobs_history_limit: Some(HISTORY),
            failed_jobs_history_limit: Some(HISTORY),
            // Omitted otherwise: a suspension by a user is not reverted.
            suspend: reason.map(|_| true),
            job_template: reader::job_template(labels, job(run)),
        }),
        ..CronJob::default()
    }
    .into()
}

fn job(run: &Run<'_>) -> JobSpec {
    let Run { cluster, template, repo, settings, inputs, .. } = run;
    let image = image(cluster).or(inputs.image.as_ref());
    let mut mounts = reader::mounts(cluster);
    mounts.push(mount("state", STATE, false));
    let resources = template.resources.clone().unwrap_or_else(|| pod::resources("50m", "128Mi", "1Gi"));
    let container = reader::container(cluster, COMMAND, image, arguments(run), mounts, resources);
    let mut volumes = reader::volumes(cluster, cluster.secret.as_ref());
    volumes.push(reader::empty("state"));
    let group = settings.repo_host_fs_group;
    let spec = PodSpec {
        init_containers: Some(vec![reader::install(settings)]),
        volumes: Some(volumes),
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        // That of PostgreSQL in its image, like the repo host.
        security_context: Some(pod::restricted(settings.repo_host_user, group, group)),
        ..PodSpec::default()
    };
    // Its labels and environment are for backups.
    let placement = PodTemplate { labels: BTreeMap::new(), env: Vec::new(), ..cluster.jobs.pod.clone() };
    let labels = labels::of_verification(&cluster.name, repo.number);
    reader::job(template.timeout, pod::template(&placement, labels, container, spec, settings))
}

/// The arguments of `pgbackrest-keeper verify`, without secrets.
fn arguments(run: &Run<'_>) -> Vec<String> {
    let Run { cluster, template, repo, .. } = run;
    let mut arguments = vec![
        format!("--cluster={}", cluster.name),
        format!("--namespace={}", cluster.namespace),
        format!("--stanza={STANZA}"),
        format!("--repo={}", repo.number.get()),
        format!("--timeout={}s", template.timeout.as_secs()),
        format!("--state-directory={STATE}"),
        format!("--termination-log={TERMINATION_LOG}"),
    ];
    arguments.extend(reader::passed_environment(cluster, repo));
    arguments
}

fn results(cluster: &ValidatedCluster, settings: &Settings, inputs: &VerifyInputs) -> Object {
    let metadata = object::of_cluster(cluster, settings, names::verification_results(&cluster.name));
    ConfigMap { metadata, data: Some(inputs.results.clone()), ..ConfigMap::default() }.into()
}
