//! Converts Kubernetes objects into facts. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::batch::v1::{CronJob, Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::cluster::labels::{
    BACKUP_JOB, BACKUP_TYPE, CLUSTER, Labels, MANAGED_BY, MANAGER, MANUAL, REPO, SUSPENDED_BECAUSE,
    selector_text,
};
use crate::cluster::settings::Settings;
use crate::pgbackrest::label::BackupType;
use crate::state::jobs::index::JobPlace;
use crate::state::jobs::{ClusterKey, CronFact, JobEnd, JobFact, JobFailure, Slot, Suspension, Trigger};

use super::batch::Fact;
use super::why::{OTHER, TIME_UP};

/// The variable with the command of CPO's jobs.
const COMMAND: &str = "COMMAND_OPTS";

/// Converts the relevant objects.
#[derive(Debug)]
pub struct Reader {
    settings: Arc<Settings>,
    /// Only objects with our label; otherwise also those of CPO.
    ours_alone: bool,
}

/// A Job, and whether its pods must be read for the reason of its failure.
#[derive(Debug)]
pub(super) struct SeenJob {
    pub(super) fact: JobFact,
    pub(super) name: String,
    pub(super) has_no_reason: bool,
}

impl Fact for SeenJob {
    fn uid(&self) -> &str {
        &self.fact.uid
    }

    fn place(&self) -> JobPlace {
        self.fact.place()
    }
}

impl Reader {
    /// Reads objects of this program.
    #[must_use]
    pub const fn of_ours(settings: Arc<Settings>) -> Self {
        Self { settings, ours_alone: true }
    }

    /// Reads objects with CPO's labels, whatever created them.
    #[must_use]
    pub const fn of_all(settings: Arc<Settings>) -> Self {
        Self { settings, ours_alone: false }
    }

    pub(super) fn cron_job_selector(&self) -> String {
        if self.ours_alone {
            return format!("{MANAGED_BY}={MANAGER}");
        }
        self.pod_selector()
    }

    pub(super) fn pod_selector(&self) -> String {
        let mut labels = Labels::from([(self.settings.member_type_label.clone(), BACKUP_JOB.to_owned())]);
        if self.ours_alone {
            labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
        } else {
            labels.extend(self.settings.cluster_labels.clone());
        }
        selector_text(&labels)
    }

    /// CPO's Jobs have no labels, only their pod templates.
    pub(super) fn job_selector(&self) -> Option<String> {
        self.ours_alone.then(|| format!("{MANAGED_BY}={MANAGER}"))
    }

    pub(super) fn cron_job(&self, cron_job: &CronJob) -> Option<CronFact> {
        let (metadata, spec) = (&cron_job.metadata, cron_job.spec.as_ref()?);
        let template = spec.job_template.spec.as_ref();
        let name = metadata.name.as_deref()?;
        let (cluster, slot) = self.place(metadata, template.map(|spec| &spec.template))?;
        let has = |key: &str| metadata.annotations.iter().flatten().any(|(known, _)| known == key);
        let suspension = match spec.suspend {
            Some(true) if has(SUSPENDED_BECAUSE) => Suspension::Ours,
            Some(true) => Suspension::Others,
            _ => Suspension::None,
        };
        Some(CronFact {
            cluster,
            slot,
            uid: metadata.uid.as_deref()?.into(),
            name: name.into(),
            expression: spec.schedule.as_str().into(),
            time_zone: spec.time_zone.as_deref().map(Into::into),
            suspension,
            created: moment(metadata.creation_timestamp.as_ref()?)?,
            deadline: template.and_then(deadline),
            last_success: cron_job
                .status
                .as_ref()
                .and_then(|status| status.last_successful_time.as_ref())
                .and_then(moment),
        })
    }

    pub(super) fn job(&self, job: &Job) -> Option<SeenJob> {
        let (metadata, spec) = (&job.metadata, job.spec.as_ref()?);
        let (cluster, slot) = self.place(metadata, Some(&spec.template))?;
        let manual = metadata
            .annotations
            .iter()
            .flatten()
            .any(|(key, value)| (key.as_str(), value.as_str()) == MANUAL);
        let status = job.status.as_ref();
        let pods = |count: Option<i32>| count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
        let (end, has_no_reason) = status.map_or((None, false), end);
        let fact = JobFact {
            cluster,
            slot,
            uid: metadata.uid.as_deref()?.into(),
            trigger: if manual { Trigger::Manual } else { Trigger::Schedule },
            started: status.and_then(|status| status.start_time.as_ref()).and_then(moment),
            failed_pods: pods(status.and_then(|status| status.failed)),
            succeeded_pods: pods(status.and_then(|status| status.succeeded)),
            end,
        };
        Some(SeenJob { fact, name: metadata.name.clone().unwrap_or_default(), has_no_reason })
    }

    /// The cluster, repo and type: from labels, including those of the pod template, or from the command of CPO's
    /// jobs.
    fn place(&self, metadata: &ObjectMeta, template: Option<&PodTemplateSpec>) -> Option<JobPlace> {
        let nothing = Labels::new();
        let own = metadata.labels.as_ref().unwrap_or(&nothing);
        let of_pods = template.and_then(|template| template.metadata.as_ref()?.labels.as_ref());
        let label = |key: &str| own.get(key).or_else(|| of_pods?.get(key)).map(String::as_str);
        let name = if self.ours_alone {
            own.get(CLUSTER)?
        } else {
            let mut wanted = self.settings.cluster_labels.iter();
            if !wanted.all(|(key, value)| label(key) == Some(value))
                || label(&self.settings.member_type_label) != Some(BACKUP_JOB)
            {
                return None;
            }
            label(&self.settings.cluster_name_label)?
        };
        let slot = match label(REPO).zip(label(BACKUP_TYPE)) {
            Some((repo, backup_type)) => slot(repo.strip_prefix("repo")?, backup_type)?,
            None => of_command(template?)?,
        };
        Some((ClusterKey::new(metadata.namespace.as_deref()?, name), slot))
    }
}

fn slot(repo: &str, backup_type: &str) -> Option<Slot> {
    let backup_type = BackupType::of_name(backup_type)?;
    let repo_key = repo.parse().ok().filter(|key| (1..=256).contains(key))?;
    Some(Slot { repo_key, backup_type })
}

/// `--stanza=db --repo=1 --type=full`
fn of_command(template: &PodTemplateSpec) -> Option<Slot> {
    let containers = &template.spec.as_ref()?.containers;
    let mut variables = containers.iter().flat_map(|container| container.env.iter().flatten());
    let command = variables.find(|variable| variable.name == COMMAND)?.value.as_deref()?;
    let options: BTreeMap<&str, &str> =
        command.split_ascii_whitespace().filter_map(|option| option.split_once('=')).collect();
    slot(options.get("--repo")?, options.get("--type")?)
}

/// The end, and whether its reason is missing.
fn end(status: &JobStatus) -> (Option<JobEnd>, bool) {
    let mut conditions = status.conditions.iter().flatten().filter(|condition| condition.status == "True");
    let Some(condition) =
        conditions.find(|condition| ["Complete", "Failed"].contains(&condition.type_.as_str()))
    else {
        return (None, false);
    };
    let command = condition.last_transition_time.as_ref();
    let completed = status.completion_time.as_ref().or(command);
    if condition.type_ == "Complete" {
        return (completed.and_then(moment).map(|at| JobEnd { at, failure: None }), false);
    }
    let time_up = condition.reason.as_deref() == Some("DeadlineExceeded");
    let failure: JobFailure = if time_up { TIME_UP } else { OTHER };
    let end = command.and_then(moment).map(|at| JobEnd { at, failure: Some(failure) });
    let has_no_reason = end.is_some() && !time_up;
    (end, has_no_reason)
}

fn deadline(spec: &JobSpec) -> Option<TimeDelta> {
    spec.active_deadline_seconds.and_then(TimeDelta::try_seconds)
}

fn moment(time: &Time) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.0.as_second(), 0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reader(ours_alone: bool) -> Reader {
        let settings = Arc::new(Settings::default());
        if ours_alone { Reader::of_ours(settings) } else { Reader::of_all(settings) }
    }

    /// As created by CPO: only the pods have labels.
    fn of_cpo(status: &Value) -> Job {
        let labels = json!({"application": "cpo", "cluster.cpo.opensource.cybertec.at/name": "ledger",
            "member.cpo.opensource.cybertec.at/type": "backup-job"});
        let env = json!([{"name": "MODE", "value": "backup"},
            {"name": COMMAND, "value": "--stanza=db --repo=2 --type=incr"}]);
        serde_json::from_value(json!({
            "metadata": {"name": "pgbackrest-ledger-repo2-incr-29701", "namespace": "shop", "uid": "u1"},
            "spec": {"template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "pgbackrest-backup", "env": env}]}}},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_job_of_cpo_is_known_by_its_pods_and_its_command() {
        let job = of_cpo(&json!({"startTime": "2026-11-23T02:00:00Z", "failed": 2, "active": 1}));
        assert!(reader(true).job(&job).is_none(), "not ours");
        let seen = reader(false).job(&job).unwrap();
        let slot = Slot { repo_key: 2, backup_type: BackupType::Incr };
        assert_eq!(seen.place(), (ClusterKey::new("shop", "ledger"), slot));
        assert_eq!((seen.fact.trigger, seen.fact.failed_pods, seen.fact.end), (Trigger::Schedule, 2, None));
        assert_eq!(seen.fact.started, DateTime::from_timestamp(1_795_399_200, 0));

        let mut strange = of_cpo(&json!({}));
        let template = &mut strange.spec.as_mut().unwrap().template;
        template.metadata.as_mut().unwrap().labels.as_mut().unwrap().remove("application");
        assert!(reader(false).job(&strange).is_none());
    }

    #[test]
    fn a_command_that_names_no_slot_is_nothing() {
        for command in [
            "",
            "--repo=1",
            "--type=full",
            "--repo=0 --type=full",
            "--repo=x --type=full",
            "--repo=1 --type=all",
        ] {
            let mut job = of_cpo(&json!({}));
            let spec = job.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
            spec.containers[0].env.as_mut().unwrap()[1].value = Some(command.to_owned());
            assert!(reader(false).job(&job).is_none(), "{command}");
        }
    }

    #[test]
    fn conditions_tell_the_end() {
        let at = "2026-11-23T02:30:00Z";
        let condition = |kind: &str, reason: &str| {
            json!({"startTime": "2026-11-23T02:00:00Z",
                "conditions": [{"type": kind, "status": "True", "reason": reason, "lastTransitionTime": at}]})
        };
        let end = |status: &Value| {
            let seen = reader(false).job(&of_cpo(status)).unwrap();
            let ended = seen.fact.end.map(|end| (end.at.timestamp(), end.failure));
            (ended, seen.has_no_reason)
        };
        let then = 1_795_401_000;
        assert_eq!(end(&condition("FailureTarget", "BackoffLimitExceeded")), (None, false));
        assert_eq!(end(&condition("Suspended", "JobSuspended")), (None, false));
        assert_eq!(end(&condition("Complete", "CompletionsReached")), (Some((then, None)), false));
        assert_eq!(end(&condition("Failed", "BackoffLimitExceeded")), (Some((then, Some(OTHER))), true));
        assert_eq!(end(&condition("Failed", "DeadlineExceeded")), (Some((then, Some(TIME_UP))), false));
    }
}
