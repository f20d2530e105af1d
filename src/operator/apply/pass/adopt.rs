//! Takes over objects if the resource says so: deletes the existing ones, so that ours can be created.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use super::{Pass, REMOVED, cleanup};
use crate::cluster::labels::{BACKUP_JOB, cluster_selector, selector_text};
use crate::cluster::settings::Settings;
use crate::kubernetes::client::{CALL_DEADLINE, CallError, call};
use crate::operator::apply::ownership::{self, Ownership};
use crate::operator::apply::server::{Dependents, Server, Trouble};
use crate::operator::apply::{Owner, cron_job, findings, repo_host};
use crate::operator::kinds::{ObjectKind, ObjectPath};

/// The result of deleting an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cleared {
    /// The name is available.
    Free {
        /// A user had suspended the CronJob.
        suspended: bool,
    },
    /// A backup must finish first; contains a description.
    Busy(String),
    /// It is being deleted.
    Leaves,
}

/// Deletes an object of another owner, but not during a backup. The pod of a StatefulSet stays.
pub(super) async fn clear(
    server: &Server,
    owner: Owner<'_>,
    place: ObjectPath<'_>,
    known: &ObjectMeta,
) -> Result<Cleared, Trouble> {
    let uid = known.uid.as_deref().unwrap_or_default();
    let mut suspended = false;
    let mut dependents = Dependents::Go;
    match place.kind.name {
        "CronJob" => {
            let Some(live) = server.get(place).await? else { return Ok(Cleared::Free { suspended }) };
            let active = live.data.pointer("/status/active").and_then(Value::as_array);
            if active.is_some_and(|active| !active.is_empty()) {
                return Ok(Cleared::Busy("one of its Jobs is still running".to_owned()));
            }
            suspended = cron_job::is_suspended(&live) && cron_job::reason(&live.metadata).is_none();
        }
        "StatefulSet" => {
            if let Some(job) = repo_host::busy(server, owner).await? {
                return Ok(Cleared::Busy(job));
            }
            dependents = Dependents::Stay;
        }
        _ => {}
    }
    server.delete(place, uid, dependents).await?;
    if server.is_gone(place, uid).await? {
        return Ok(Cleared::Free { suspended });
    }
    Ok(Cleared::Leaves)
}

impl Pass<'_> {
    /// Handles CronJobs of another controller for the same cluster under other names: otherwise both would make
    /// backups.
    pub(in crate::operator::apply) async fn other_cron_jobs(
        &mut self,
        desired: &BTreeSet<(&str, &str)>,
    ) -> Result<(), CallError> {
        let (namespace, cluster) = (self.owner.namespace, self.owner.name);
        let Some(kind) = ObjectKind::of("CronJob") else { return Ok(()) };
        if self.writer.cache.is_alone(namespace, cluster) {
            return Ok(());
        }
        let mut alone = true;
        let found = match others(&self.writer.server, &self.writer.settings, self.owner).await {
            Ok(found) => found,
            Err(error) => {
                let place = ObjectPath { kind, namespace, name: "of any name" };
                self.applied.findings.push(findings::of_trouble(place, error.into())?);
                return Ok(());
            }
        };
        for job in found {
            let place = ObjectPath { kind, namespace, name: cleanup::name(&job.metadata) };
            if desired.contains(&(kind.name, place.name)) {
                continue;
            }
            alone = false;
            if !self.adopt {
                let owner = ownership::describe(&job.metadata);
                self.applied.findings.push(findings::double(place, cluster, &owner));
                continue;
            }
            match clear(&self.writer.server, self.owner, place, &job.metadata).await {
                Ok(Cleared::Free { .. } | Cleared::Leaves) => self.record(REMOVED, &place),
                Ok(Cleared::Busy(job)) => _ = self.busy(place, "removed", &job),
                Err(Trouble::Moved(_)) => {}
                Err(trouble) => self.applied.findings.push(findings::of_trouble(place, trouble)?),
            }
        }
        self.writer.cache.note_alone(namespace, cluster, alone);
        Ok(())
    }
}

/// CronJobs of another controller for the cluster. CPO cuts long names where we add a hash, so their names can differ
/// from ours.
async fn others(server: &Server, settings: &Settings, owner: Owner<'_>) -> Result<Vec<CronJob>, CallError> {
    const MOST: u32 = 100;
    let mut selector = cluster_selector(owner.name, settings);
    selector.insert(settings.member_type_label.clone(), BACKUP_JOB.to_owned());
    let api: Api<CronJob> = Api::namespaced(server.client.clone(), owner.namespace);
    let params = ListParams::default().labels(&selector_text(&selector)).limit(MOST);
    let found = call(format!("list CronJobs of {}", owner.name), CALL_DEADLINE, api.list(&params)).await?;
    Ok(found.items.into_iter().filter(|job| is_foreign(&job.metadata, owner)).collect())
}

fn is_foreign(metadata: &ObjectMeta, owner: Owner<'_>) -> bool {
    let Some(kind) = ObjectKind::of("CronJob") else { return false };
    let is_pgbackrest = metadata.name.as_deref().is_some_and(|name| name.starts_with("pgbackrest-"));
    is_pgbackrest && matches!(ownership::of(metadata, kind, owner), Ownership::Foreign(_))
}
