//! Removes objects of ours that are no longer desired, but not volumes and the Service, and nothing that a running
//! backup needs.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Pass, REMOVED};
use crate::cluster::names;
use crate::kubernetes::client::CallError;
use crate::operator::apply::ownership::{self, Ownership};
use crate::operator::apply::running::{self, RunningJob};
use crate::operator::apply::server::{Dependents, Trouble};
use crate::operator::apply::{cron_job, findings};
use crate::operator::kinds::{ObjectKind, ObjectPath};

/// The reason for suspending a CronJob that is no longer desired while its last Job is still running.
const NOT_DESIRED: &str = "not-desired";

impl Pass<'_> {
    /// All our objects that the watches have reported.
    pub(in crate::operator::apply) fn of_ours(&self) -> Vec<(&'static ObjectKind, ObjectMeta)> {
        let all = self.writer.inventory.of_resource(self.owner.namespace, self.owner.name);
        all.into_iter()
            .filter_map(|(kind, metadata)| Some((ObjectKind::of(kind)?, metadata)))
            .filter(|(kind, metadata)| ownership::of(metadata, kind, self.owner) == Ownership::Ours)
            .collect()
    }

    /// Removes objects that are not in `desired`.
    pub(in crate::operator::apply) async fn remove_others(
        &mut self,
        desired: &BTreeSet<(&str, &str)>,
    ) -> Result<(), CallError> {
        let mut others = self.of_ours();
        others.retain(|(kind, metadata)| kind.removable && !desired.contains(&(kind.name, name(metadata))));
        if others.is_empty() {
            return Ok(());
        }
        // CronJobs first, so that no new Job starts.
        others.sort_by_key(|(kind, _)| kind.name != "CronJob");
        let running = match running::jobs(&self.writer.server, self.owner).await {
            Ok(running) => running,
            Err(error) => {
                let Some(jobs) = ObjectKind::of("Job") else { return Ok(()) };
                let place = ObjectPath { kind: jobs, namespace: self.owner.namespace, name: "of any name" };
                self.applied.findings.push(findings::of_trouble(place, error.into())?);
                return Ok(());
            }
        };
        for (kind, metadata) in others {
            let place = ObjectPath { kind, namespace: self.owner.namespace, name: name(&metadata) };
            if let Err(trouble) = self.remove(place, &metadata, &running).await {
                let finding = findings::of_trouble(place, trouble)?;
                self.applied.findings.push(finding);
            }
        }
        Ok(())
    }

    /// The same where nothing that runs needs them.
    pub(in crate::operator::apply) async fn remove_others_now(
        &mut self,
        desired: &BTreeSet<(&str, &str)>,
    ) -> Result<(), CallError> {
        for (kind, metadata) in self.of_ours() {
            let place = ObjectPath { kind, namespace: self.owner.namespace, name: name(&metadata) };
            if !kind.removable || desired.contains(&(kind.name, place.name)) {
                continue;
            }
            if let Err(trouble) = self.remove(place, &metadata, &[]).await {
                let finding = findings::of_trouble(place, trouble)?;
                self.applied.findings.push(finding);
            }
        }
        Ok(())
    }

    async fn remove(
        &mut self,
        place: ObjectPath<'_>,
        known: &ObjectMeta,
        running: &[RunningJob],
    ) -> Result<(), Trouble> {
        let server = &self.writer.server;
        let needed_by = running.iter().find(|job| is_needed_by(place, known, job, self.owner.name));
        if let Some(job) = needed_by {
            if place.kind.name == "CronJob" {
                cron_job::suspend(server, place, known, NOT_DESIRED).await?;
            }
            self.busy(place, "removed", &format!("Job {} is still running", job.name));
            return Ok(());
        }
        let uid = known.uid.as_deref().unwrap_or_default();
        if server.delete(place, uid, Dependents::Go).await? {
            self.record(REMOVED, &place);
        }
        Ok(())
    }
}

/// Whether a running Job needs an object.
fn is_needed_by(place: ObjectPath<'_>, known: &ObjectMeta, job: &RunningJob, cluster: &str) -> bool {
    match place.kind.name {
        "CronJob" => job.is_owned_by(known.uid.as_deref()),
        // The permissions of all jobs.
        "ServiceAccount" | "Role" | "RoleBinding" if place.name == names::backup_account(cluster) => true,
        "ConfigMap" if place.name == names::instance_configuration(cluster) => true,
        _ => job.on_repo_host,
    }
}

pub(in crate::operator::apply) fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}
