//! One CronJob per repo and scheduled backup type. Its pods run this program, which finds the pod to back up from,
//! runs pgBackRest there and monitors it.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{
    CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec, PodFailurePolicy,
    PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::object::{self, Object};
use super::{pod, repo_host, seconds};
use crate::cluster::labels::{self, Labels};
use crate::cluster::names;
use crate::cluster::settings::Settings;
use crate::cluster::validated::{RepoNumber, STANZA, Suspension, ValidatedCluster, ValidatedRepo};
use crate::pgbackrest::backup_options::BackupOptions;
use crate::pgbackrest::label::BackupType;

/// The only container of a job's pod.
const CONTAINER: &str = "pgbackrest-backup";

/// The exit code of a job whose backup is made, after which pgBackRest failed to expire others.
pub const EXPIRE_FAILED: u8 = 15;

/// A failed expiry, since a retry would make one more backup; and pgBackRest's configuration errors, since it would fail in
/// the same way: 27 config, 31 option-invalid, 32 option-invalid-value, 37 option-required.
const HOPELESS_EXIT_CODES: [i32; 5] = [EXPIRE_FAILED as i32, 27, 31, 32, 37];

/// The job fails with the sixth failed pod.
const RETRIES: i32 = 5;

/// How long a finished Job outside of the schedule is kept by default: history limits do not apply to it.
const ONE_TIME_STAYS: Duration = Duration::from_hours(7 * 24);

/// One backup outside of the schedule. `None` if the cluster has no such repo.
pub(super) fn one_time(
    cluster: &ValidatedCluster,
    settings: &Settings,
    repo: RepoNumber,
    backup_type: BackupType,
    token: &str,
) -> Option<Job> {
    let repo = cluster.repos.iter().find(|candidate| candidate.number == repo)?;
    let labels = labels::of_backup(cluster, repo.number, backup_type, settings);
    let name = names::one_time_job(&cluster.name, repo.number, backup_type, token);
    let mut metadata = object::owned(cluster, name, labels.clone());
    metadata.annotations = Some(BTreeMap::from([(labels::MANUAL.0.to_owned(), labels::MANUAL.1.to_owned())]));
    let asked = cluster.backup_now.as_ref().filter(|asked| {
        (asked.repo, asked.backup_type, asked.token.as_str()) == (repo.number, backup_type, token)
    });
    let options = asked.map(|asked| &asked.options).or_else(|| repo.backup_options.get(&backup_type));
    let mut spec = job(cluster, settings, repo, (backup_type, options), labels);
    spec.ttl_seconds_after_finished.get_or_insert(whole_seconds(ONE_TIME_STAYS));
    Some(Job { metadata, spec: Some(spec), ..Job::default() })
}

/// All CronJobs, by repo number and backup type.
pub(super) fn all(
    cluster: &ValidatedCluster,
    settings: &Settings,
    waiting: &BTreeMap<RepoNumber, String>,
) -> Vec<Object> {
    cluster
        .schedules()
        .map(|(repo, backup_type, expression)| {
            let reason = cluster.suspension.map(Suspension::as_str);
            let reason = reason.or_else(|| waiting.get(&repo.number).map(String::as_str));
            cron_job(cluster, settings, repo, (backup_type, expression), reason)
        })
        .collect()
}

/// The names of CronJobs whose schedules have errors.
pub(super) fn held(cluster: &ValidatedCluster) -> Vec<String> {
    let held = cluster.repos.iter().flat_map(|repo| repo.held.iter().map(|kind| (repo.number, *kind)));
    held.map(|(repo, backup_type)| names::cron_job(&cluster.name, repo, backup_type)).collect()
}

fn cron_job(
    cluster: &ValidatedCluster,
    settings: &Settings,
    repo: &ValidatedRepo,
    (backup_type, expression): (BackupType, &str),
    suspended_because: Option<&str>,
) -> Object {
    let labels = labels::of_backup(cluster, repo.number, backup_type, settings);
    let options = repo.backup_options.get(&backup_type);
    let name = names::cron_job(&cluster.name, repo.number, backup_type);
    let mut metadata = object::owned(cluster, name, labels.clone());
    metadata.annotations = suspended_because
        .map(|reason| BTreeMap::from([(labels::SUSPENDED_BECAUSE.to_owned(), reason.to_owned())]));
    CronJob {
        metadata,
        spec: Some(CronJobSpec {
            schedule: expression.to_owned(),
            time_zone: cluster.jobs.time_zone.clone(),
            concurrency_policy: Some("Forbid".to_owned()),
            starting_deadline_seconds: Some(seconds(cluster.jobs.starting_deadline)),
            successful_jobs_history_limit: cluster.jobs.successful_history,
            failed_jobs_history_limit: Some(cluster.jobs.failed_history),
            // Omitted otherwise: a suspension by a user is not reverted.
            suspend: suspended_because.map(|_| true),
            job_template: JobTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels.clone()), ..ObjectMeta::default() }),
                spec: Some(job(cluster, settings, repo, (backup_type, options), labels)),
            },
        }),
        ..CronJob::default()
    }
    .into()
}

fn job(
    cluster: &ValidatedCluster,
    settings: &Settings,
    repo: &ValidatedRepo,
    (backup_type, options): (BackupType, Option<&BackupOptions>),
    labels: Labels,
) -> JobSpec {
    let template = &cluster.jobs.pod;
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(settings.keeper_image.clone()),
        args: Some(arguments(cluster, settings, repo, (backup_type, options))),
        env: pod::environment(
            vec![
                pod::field("POD_NAMESPACE", "metadata.namespace"),
                pod::field("POD_NAME", "metadata.name"),
                pod::field("JOB_NAME", "metadata.labels['batch.kubernetes.io/job-name']"),
            ],
            template,
        ),
        resources: Some(
            cluster.jobs.resources.clone().unwrap_or_else(|| pod::resources("10m", "32Mi", "128Mi")),
        ),
        security_context: Some(pod::restricted_container()),
        // The program writes its result there; otherwise the end of its log is used.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    };
    let spec = PodSpec {
        restart_policy: Some("Never".to_owned()),
        service_account_name: Some(names::backup_account(&cluster.name)),
        security_context: Some(pod::restricted(settings.job_user, settings.job_user, None)),
        ..PodSpec::default()
    };
    JobSpec {
        backoff_limit: Some(RETRIES),
        active_deadline_seconds: cluster.jobs.deadline.map(seconds),
        ttl_seconds_after_finished: cluster.jobs.time_to_live.map(whole_seconds),
        pod_failure_policy: Some(failure_policy()),
        template: pod::template(template, labels, container, spec, settings),
        ..JobSpec::default()
    }
}

/// The arguments of `pgbackrest-keeper backup`, without secrets.
fn arguments(
    cluster: &ValidatedCluster,
    settings: &Settings,
    repo: &ValidatedRepo,
    (backup_type, options): (BackupType, Option<&BackupOptions>),
) -> Vec<String> {
    let on_repo_host = repo.on_repo_host;
    let (selector, container) = if on_repo_host {
        (labels::repo_host_selector(&cluster.name, settings).into(), repo_host::CONTAINER)
    } else {
        (labels::primary_selector(&cluster.name, settings), settings.database_container.as_str())
    };
    let mut arguments = vec![
        "backup".to_owned(),
        format!("--cluster={}", cluster.name),
        format!("--stanza={STANZA}"),
        format!("--repo={}", repo.number.get()),
        format!("--type={}", backup_type.as_str()),
        format!("--target={}", if on_repo_host { "repo-host" } else { "primary" }),
        format!("--selector={selector}"),
        format!("--container={container}"),
    ];
    let options = options.filter(|options| !options.is_empty());
    // Kubernetes replaces $(VARIABLE) in arguments, and $$ by $.
    let verbatim = |options: &BackupOptions| options.to_string().replace('$', "$$");
    arguments.extend(options.map(|options| format!("--backup-options={}", verbatim(options))));
    arguments.extend(cluster.jobs.deadline.map(|deadline| format!("--job-deadline={}s", deadline.as_secs())));
    arguments
}

/// The first matching rule decides; other failures are retried.
fn failure_policy() -> PodFailurePolicy {
    let hopeless = PodFailurePolicyRule {
        action: "FailJob".to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(CONTAINER.to_owned()),
            operator: "In".to_owned(),
            values: HOPELESS_EXIT_CODES.to_vec(),
        }),
        ..PodFailurePolicyRule::default()
    };
    PodFailurePolicy { rules: vec![pod::ignore_evictions(), hopeless] }
}

fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
