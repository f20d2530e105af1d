//! Ensures that every repo has its stanza and a first backup, and that servers load new certificates.
//!
//! The result is recorded in the cluster (`cluster::record`), so that usually nothing is due, and no command runs in
//! a pod.

mod findings;
mod judge;
mod repos;
mod servers;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};

use crate::cluster::desired::{self, Desired};
use crate::cluster::finding::Finding;
use crate::cluster::labels;
use crate::cluster::record::{Record, Unfinished};
use crate::cluster::settings::Settings;
use crate::cluster::target::{self, PGBACKREST_CONTAINER, Pod};
use crate::cluster::validated::{RepoNumber, ValidatedCluster};
use crate::pgbackrest::command;
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::version::{self, Version};
use crate::source::pod::{NoEnd, Place, Pods, RunInPod};
use crate::source::{pods, primary};

use super::action::Action;

/// Pause until a kubelet has updated a file, or a pod is ready.
const SOON: Duration = Duration::from_secs(10);
/// Pause until a user has fixed something.
const LATER: Duration = Duration::from_mins(1);
/// The longest pause. Below that, a pause is a quarter of the time that has already passed.
const LONGEST: Duration = Duration::from_mins(5);
/// A state that should change on its own is reported after this time.
const PATIENCE: Duration = Duration::from_mins(3);
const ASK_TIMEOUT: Duration = Duration::from_secs(20);

/// The default reason for suspending the CronJobs of a repo.
const NO_STANZA: &str = "no-stanza";

/// A backup to make now, outside of the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueBackup {
    pub repo: RepoNumber,
    pub backup_type: BackupType,
    /// Distinguishes requests.
    pub token: String,
}

/// The result of checks and actions in the pods.
#[derive(Debug, Default)]
pub struct Ensured {
    /// The new record.
    pub record: Record,
    /// Completed actions.
    pub actions: Vec<Action>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Backups to make now.
    pub due: Vec<DueBackup>,
    /// When to check again, if something is not done yet.
    pub again_after: Option<Duration>,
}

/// Repos whose CronJobs must be suspended, with the reason.
#[must_use]
pub fn waiting(
    cluster: &ValidatedCluster,
    repo_hashes: &BTreeMap<RepoNumber, String>,
    record: &Record,
) -> BTreeMap<RepoNumber, String> {
    let numbers = cluster.repos.iter().map(|repo| repo.number);
    numbers
        .filter(|repo| !is_known(*repo, repo_hashes, record))
        .map(|repo| (repo, record.troubles.get(&repo).map_or(NO_STANZA, String::as_str).to_owned()))
        .collect()
}

/// Whether anything must be done in the pods; usually it is not.
#[must_use]
pub fn is_due(
    cluster: &ValidatedCluster,
    repo_hashes: &BTreeMap<RepoNumber, String>,
    desired: &Desired,
    record: &Record,
) -> bool {
    servers_are_due(desired, record) || stanzas_are_due(cluster, repo_hashes, record)
}

fn servers_are_due(desired: &Desired, record: &Record) -> bool {
    desired.servers_hash.is_some() && desired.servers_hash != record.servers
}

fn stanzas_are_due(
    cluster: &ValidatedCluster,
    repo_hashes: &BTreeMap<RepoNumber, String>,
    record: &Record,
) -> bool {
    let asked_for = cluster.backup_now.as_ref().map(|order| &order.token);
    // The primary of a standby is elsewhere, and without instances there is no pod.
    cluster.suspension.is_none()
        && (!waiting(cluster, repo_hashes, record).is_empty()
            || asked_for.is_some() && asked_for != record.backup_now.as_ref()
            || cluster.stanza_upgrade.is_some() && cluster.stanza_upgrade != record.stanza_upgrade)
}

fn is_known(repo: RepoNumber, repo_hashes: &BTreeMap<RepoNumber, String>, record: &Record) -> bool {
    record.stanzas.get(&repo).is_some_and(|seen| Some(seen) == repo_hashes.get(&repo))
}

/// Ensures stanzas and reloads servers. Never fails: errors are findings.
pub async fn ensure(
    client: &kube::Client,
    cluster: &ValidatedCluster,
    settings: &Settings,
    repo_hashes: &BTreeMap<RepoNumber, String>,
    desired: &Desired,
    record: &Record,
) -> Ensured {
    let selector = labels::selector_text(&labels::cluster_selector(&cluster.name, settings));
    let pods = match pods::list(client, &cluster.namespace, &selector).await {
        Ok(pods) => pods,
        Err(error) => {
            let finding = findings::pod_failed("list", "the list of pods", &error.to_string());
            let again_after = Some(LATER);
            return Ensured {
                record: record.clone(),
                findings: vec![finding],
                again_after,
                ..Ensured::default()
            };
        }
    };
    let runner = Pods::new(client.clone());
    let now = Utc::now();
    ensure_with(&runner, &StanzaTask { cluster, settings, repo_hashes, desired, pods: &pods, now }, record)
        .await
}

/// The input.
pub struct StanzaTask<'a> {
    pub cluster: &'a ValidatedCluster,
    /// Settings for all clusters.
    pub settings: &'a Settings,
    /// A hash of the location of each repo.
    pub repo_hashes: &'a BTreeMap<RepoNumber, String>,
    /// The applied objects.
    pub desired: &'a Desired,
    /// The cluster's pods.
    pub pods: &'a [Pod],
    pub now: DateTime<Utc>,
}

impl std::fmt::Debug for StanzaTask<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Task").field("cluster", &self.cluster.name).finish_non_exhaustive()
    }
}

/// The same with any runner of commands.
pub async fn ensure_with(runner: &impl RunInPod, task: &StanzaTask<'_>, record: &Record) -> Ensured {
    let desired = task.desired;
    let aim = desired.servers_hash.as_ref().unwrap_or(&desired.instance_configuration_hash);
    let known = record.unfinished.as_ref().filter(|unfinished| unfinished.aim == *aim);
    let since = known.map_or(task.now.trunc_subsecs(0), |unfinished| unfinished.since);
    let waited = (task.now - since).to_std().unwrap_or_default();
    let attempt = Attempt { runner, task, is_late: waited >= PATIENCE };
    let mut ensured = Ensured { record: record.clone(), ..Ensured::default() };
    if servers_are_due(desired, record) {
        servers::reload(&attempt, &mut ensured).await;
    }
    if stanzas_are_due(task.cluster, task.repo_hashes, record) {
        stanzas(&attempt, &mut ensured).await;
    }
    let exists = |repo: &RepoNumber| task.cluster.repos.iter().any(|existing| existing.number == *repo);
    ensured.record.stanzas.retain(|repo, _| exists(repo));
    ensured.record.troubles.retain(|repo, _| exists(repo));
    ensured.again_after = ensured.again_after.map(|after| after.max((waited / 4).min(LONGEST)));
    ensured.record.unfinished = ensured.again_after.map(|_| Unfinished { aim: aim.clone(), since });
    ensured
}

/// One attempt.
struct Attempt<'a, Runner> {
    runner: &'a Runner,
    task: &'a StanzaTask<'a>,
    /// Whether pending states have lasted long enough to be reported.
    is_late: bool,
}

impl Ensured {
    /// Adds a finding once.
    fn find(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn retry_after(&mut self, after: Duration) {
        self.again_after = Some(self.again_after.map_or(after, |known| known.min(after)));
    }
}

async fn stanzas(attempt: &Attempt<'_, impl RunInPod>, ensured: &mut Ensured) {
    let StanzaTask { cluster, settings, desired, pods, .. } = *attempt.task;
    let found = target::primary(pods, &cluster.name, settings);
    let container = &settings.database_container;
    let primary = match primary::confirmed(attempt.runner, found, pods, &cluster.namespace, container).await {
        Ok(primary) => primary,
        Err(reason) => {
            ensured.find(findings::no_primary(&reason, attempt.is_late));
            ensured.retry_after(SOON);
            return;
        }
    };
    let primary = Place { namespace: &cluster.namespace, pod: &primary.name, container };
    if !attempt.is_visible(primary, &desired.instance_configuration_hash, ensured).await {
        ensured.retry_after(SOON);
        return;
    }
    let mut no_repo_host = None;
    if cluster.needs_repo_host() {
        no_repo_host = attempt.why_no_repo_host(primary, ensured).await.err();
        if no_repo_host.is_some() && !attempt.is_late {
            ensured.retry_after(SOON);
            return;
        }
    }
    let repos = repos::Repos { attempt, primary, no_repo_host };
    repos.ensure(ensured).await;
    order(attempt.task, ensured);
}

impl<Runner: RunInPod> Attempt<'_, Runner> {
    /// Whether the pod shows this configuration.
    async fn is_visible(&self, place: Place<'_>, hash: &str, ensured: &mut Ensured) -> bool {
        match shows_configuration(self.runner, place, hash).await {
            Ok(true) => return true,
            Ok(false) => {
                ensured.find(findings::not_visible(place.pod, "configuration", self.is_late));
            }
            Err(error) => self.failed(place, "head", &error, ensured),
        }
        false
    }

    /// A command could not run, which is normal while a container is starting.
    fn failed(&self, place: Place<'_>, what: &str, error: &NoEnd, ensured: &mut Ensured) {
        let finding = findings::pod_failed(place.pod, what, &error.to_string());
        if self.is_late {
            ensured.find(finding);
        }
    }

    /// Returns why the repo host cannot be used yet: it is not running, or does not have its configuration.
    async fn why_no_repo_host(&self, primary: Place<'_>, ensured: &mut Ensured) -> Result<(), String> {
        let StanzaTask { cluster, settings, desired, pods, .. } = *self.task;
        let pod = target::repo_host(pods, &cluster.name, settings).map_err(|reason| {
            if self.is_late {
                ensured.find(findings::no_repo_host(&reason.to_string(), cluster.has_volumes()));
            }
            reason.to_string()
        })?;
        let place = Place { namespace: &cluster.namespace, pod: &pod.name, container: PGBACKREST_CONTAINER };
        let hash = desired.repo_host_configuration_hash.as_deref().unwrap_or_default();
        if !self.is_visible(place, hash, ensured).await {
            return Err(format!("pod {} does not have its configuration", pod.name));
        }
        let (ours, theirs) = (self.version(primary, ensured).await, self.version(place, ensured).await);
        if let (Some(ours), Some(theirs)) = (ours, theirs)
            && ours != theirs
        {
            ensured.find(findings::versions_differ(&ours.with_name(), &theirs.with_name()));
        }
        Ok(())
    }

    async fn version(&self, place: Place<'_>, ensured: &mut Ensured) -> Option<Version> {
        match self.runner.run(place, &command::version().in_pod(), ASK_TIMEOUT).await {
            Ok(ran) => version::parse(&ran.text()),
            Err(error) => {
                self.failed(place, "pgbackrest version", &error, ensured);
                None
            }
        }
    }
}

/// Requests the backup that a user has asked for, once its repo has a stanza.
fn order(task: &StanzaTask<'_>, ensured: &mut Ensured) {
    let Some(order) = &task.cluster.backup_now else { return };
    if ensured.record.backup_now.as_ref() == Some(&order.token) {
        return;
    }
    if is_known(order.repo, task.repo_hashes, &ensured.record) {
        let (repo, backup_type, token) = (order.repo, order.backup_type, order.token.clone());
        ensured.record.backup_now = Some(token.clone());
        // One full backup can be both the first and the requested one.
        ensured.due.retain(|due| (due.repo, due.backup_type) != (repo, backup_type));
        ensured.due.push(DueBackup { repo, backup_type, token });
    }
}

/// Whether a pod shows the configuration with this hash, which is in the first line of the file. The kubelet updates
/// files up to two minutes late.
async fn shows_configuration(runner: &impl RunInPod, place: Place<'_>, hash: &str) -> Result<bool, NoEnd> {
    let ran = runner.run(place, &["head", "-n", "1", &desired::configuration_file()], ASK_TIMEOUT).await?;
    let line = ran.text();
    let shown = line.trim().strip_prefix("# ").and_then(|rest| rest.strip_prefix(labels::CONFIGURATION_HASH));
    Ok(shown.map(|rest| rest.trim_start_matches(':').trim()) == Some(hash))
}
