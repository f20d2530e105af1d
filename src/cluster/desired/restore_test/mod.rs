//! The objects of a restore test: a CronJob whose pods test the cluster whose turn it is, and policies for their network traffic.
//!
//! A pod has no token for the API server, so it cannot choose: the template of the CronJob is written for one cluster and one of its
//! repos, and rewritten when the next one has its turn.

mod network;
mod pod;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, Job, JobSpec};

use super::object::{self, Object};
use super::{reader, seconds};
use crate::cluster::restore_test::turn::Turn;
use crate::cluster::restore_test::validated::ValidatedRestoreTest;
use crate::cluster::restore_test::volume::CopyBytes;
use crate::cluster::settings::Settings;
use crate::cluster::validated::{ValidatedCluster, ValidatedRepo};
use crate::cluster::{labels, names};

/// Inputs of a build besides resources and settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestInputs {
    /// The image of the cluster's running PostgreSQL containers. `None`: it is not known, and that of the resource is used.
    pub image: Option<String>,
    /// What is known of the bytes that are restored.
    pub bytes: Option<CopyBytes>,
    /// Why no test may start now.
    pub suspended_because: Option<&'static str>,
    /// Whether the repo host belongs to somebody else, who decides who may reach it. A policy of ours would lock out all others.
    pub has_foreign_repo_host: bool,
}

/// Builds all objects for one turn. `None` if the cluster does not have the repo.
#[must_use]
pub fn build(
    test: &ValidatedRestoreTest,
    cluster: &ValidatedCluster,
    turn: &Turn,
    settings: &Settings,
    inputs: &TestInputs,
) -> Option<Vec<Object>> {
    let repo = cluster.repos.iter().find(|repo| repo.number == turn.repo)?;
    let run = Run { test, cluster, repo, settings, inputs };
    let mut objects = vec![network::policy(&run)];
    objects.extend(network::repo_host_policy(&run));
    objects.push(cron_job(&run));
    Some(objects)
}

/// Builds the Job of a test outside of the schedule. `token` distinguishes requests. `None` if the cluster does not have the repo.
#[must_use]
pub fn one_time_job(
    test: &ValidatedRestoreTest,
    cluster: &ValidatedCluster,
    turn: &Turn,
    settings: &Settings,
    inputs: &TestInputs,
    token: &str,
) -> Option<Job> {
    let repo = cluster.repos.iter().find(|repo| repo.number == turn.repo)?;
    let run = Run { test, cluster, repo, settings, inputs };
    let mut metadata = object::of_restore_test(test, names::restore_test_job(&test.name, token));
    metadata.labels = Some(labels::of_test_pod(&test.name, &cluster.name, repo.number));
    metadata.annotations = Some(BTreeMap::from([(labels::MANUAL.0.to_owned(), labels::MANUAL.1.to_owned())]));
    Some(Job { metadata, spec: Some(job(&run)), ..Job::default() })
}

/// One turn.
struct Run<'a> {
    test: &'a ValidatedRestoreTest,
    cluster: &'a ValidatedCluster,
    repo: &'a ValidatedRepo,
    settings: &'a Settings,
    inputs: &'a TestInputs,
}

fn cron_job(run: &Run<'_>) -> Object {
    let Run { test, inputs, .. } = run;
    let mut metadata = object::of_restore_test(test, names::restore_test(&test.name));
    metadata.annotations = inputs
        .suspended_because
        .map(|reason| BTreeMap::from([(labels::SUSPENDED_BECAUSE.to_owned(), reason.to_owned())]));
    let labels = labels::of_test_pod(&test.name, &run.cluster.name, run.repo.number);
    CronJob {
        metadata,
        spec: Some(CronJobSpec {
            schedule: test.schedule.clone(),
            time_zone: test.time_zone.clone(),
            concurrency_policy: Some("Forbid".to_owned()),
            starting_deadline_seconds: Some(seconds(test.starting_deadline)),
            successful_jobs_history_limit: Some(test.history.successful),
            failed_jobs_history_limit: Some(test.history.failed),
            // Omitted otherwise: a suspension of the CronJob by a user is not reverted.
            suspend: (test.is_suspended || inputs.suspended_because.is_some()).then_some(true),
            job_template: reader::job_template(labels, job(run)),
        }),
        ..CronJob::default()
    }
    .into()
}

fn job(run: &Run<'_>) -> JobSpec {
    let test = run.test;
    JobSpec {
        ttl_seconds_after_finished: Some(
            i32::try_from(test.history.time_to_live.as_secs()).unwrap_or(i32::MAX),
        ),
        ..reader::job(test.timeouts.total, pod::template(run))
    }
}
