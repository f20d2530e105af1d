//! The only writer of objects: makes existing objects as desired, and never changes objects of other owners.
//!
//! Objects are applied by server-side apply with one field manager. Force is used only for objects that carry our
//! label and belong to this resource; the patch contains the UID, so that another object of the same name is safe.

mod cache;
mod cron_job;
mod findings;
mod ownership;
mod pass;
mod repo_host;
mod restore_test;
mod running;
mod server;
mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::PostParams;

use crate::cluster::desired::{Desired, Object};
use crate::cluster::finding::Finding;
use crate::cluster::names;
use crate::cluster::resource::KIND;
use crate::cluster::settings::Settings;
use crate::cluster::validate::Conduct;
use crate::cluster::validated::ValidatedCluster;
use crate::kubernetes::client::{CALL_DEADLINE, CallError, CallFailure, call};

use super::action::Action;
use super::inventory::Inventory;
use super::kinds::ObjectPath;
use pass::{Pass, SUSPENDED};
use server::Server;

pub(super) use cache::{ApplyCache, version};
pub(super) use ownership::is_ours;

/// The field manager of all writes. It must never change: fields of another manager would stay forever.
pub const FIELD_MANAGER: &str = "pgbackrest-keeper";

/// The reason for suspending CronJobs whose removal is not authorized.
const REMOVAL_NOT_AUTHORIZED: &str = "removal-not-authorized";

/// Writes objects, and caches what it has written, so that unchanged objects are not written again.
pub struct Writer {
    server: Server,
    inventory: Arc<Inventory>,
    settings: Arc<Settings>,
    cache: Arc<ApplyCache>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Writer").finish_non_exhaustive()
    }
}

/// The result.
#[derive(Debug, Default)]
pub struct Applied {
    /// Objects that were created, taken over, corrected or removed.
    pub actions: Vec<Action>,
    /// Objects of other owners, rejected objects, volumes that cannot be expanded, and waits.
    pub findings: Vec<Finding>,
    /// By kind: whether all objects are as desired.
    pub in_place: Vec<(&'static str, bool)>,
    /// Objects that another client had changed, by kind.
    pub drift: Vec<&'static str>,
    /// When to reconcile again, because something is waiting, such as the repo host for the end of a backup.
    pub again_after: Option<Duration>,
}

/// The resource that owns the objects.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    pub kind: &'static str,
    pub namespace: &'a str,
    /// Its name: that of the cluster or the restore test.
    pub name: &'a str,
    pub uid: &'a str,
}

impl<'a> Owner<'a> {
    /// None without a UID: nothing can belong to a resource that is only in a file.
    #[must_use]
    pub fn of(cluster: &'a ValidatedCluster) -> Option<Self> {
        let uid = cluster.uid.as_deref()?;
        Some(Self { kind: KIND, namespace: &cluster.namespace, name: &cluster.name, uid })
    }
}

impl Writer {
    /// Writes with `client` the objects that are not in `inventory`.
    #[must_use]
    pub fn new(client: kube::Client, inventory: Arc<Inventory>, settings: Arc<Settings>) -> Self {
        Self { server: Server { client }, inventory, settings, cache: Arc::default() }
    }

    /// The cache of written objects, for readers.
    pub(super) fn cache(&self) -> Arc<ApplyCache> {
        Arc::clone(&self.cache)
    }

    /// Forgets a cluster whose resource is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.cache.forget(namespace, name);
    }

    /// Applies all desired objects, and removes ours that are no longer desired. An error with one object is a
    /// finding, and does not affect the others.
    pub async fn apply(
        &self,
        cluster: &ValidatedCluster,
        desired: &Desired,
        conduct: Conduct,
    ) -> Result<Applied, CallError> {
        let Some(owner) = Owner::of(cluster) else { return Ok(Applied::default()) };
        let mut pass = Pass::new(self, owner, conduct.adopt);
        let mut in_place: BTreeMap<&'static str, bool> = BTreeMap::new();
        for object in &desired.objects {
            let is_in_place = pass.object(object).await?;
            *in_place.entry(object.kind()).or_insert(true) &= is_in_place;
        }
        let held = desired.held.iter().map(|name| ("CronJob", name.as_str()));
        let names: BTreeSet<(&str, &str)> =
            desired.objects.iter().map(|object| (object.kind(), object.name())).chain(held).collect();
        pass.remove_others(&names).await?;
        if conduct.adopt || names::shortens(&cluster.name, cluster.needs_repo_host()) {
            pass.other_cron_jobs(&names).await?;
        }
        self.cache.keep(owner.namespace, owner.name, names.into_iter());
        let mut applied = pass.end();
        applied.in_place = in_place.into_iter().collect();
        Ok(applied)
    }

    /// Applies one object before the others.
    pub async fn apply_first(
        &self,
        cluster: &ValidatedCluster,
        object: &Object,
        conduct: Conduct,
    ) -> Result<Applied, CallError> {
        let Some(owner) = Owner::of(cluster) else { return Ok(Applied::default()) };
        let mut pass = Pass::new(self, owner, conduct.adopt);
        pass.object(object).await?;
        Ok(pass.end())
    }

    /// The resource no longer configures backups: suspends the CronJobs, and removes our objects if `authorized`.
    pub async fn withdraw(&self, owner: Owner<'_>, authorized: bool) -> Result<Applied, CallError> {
        let mut pass = Pass::new(self, owner, false);
        self.cache.forget(owner.namespace, owner.name);
        if authorized {
            pass.remove_others(&BTreeSet::new()).await?;
            return Ok(pass.end());
        }
        let ours = pass.of_ours();
        if !ours.iter().any(|(kind, _)| kind.removable) {
            return Ok(pass.end());
        }
        let mut count = 0;
        for (kind, metadata) in ours.iter().filter(|(kind, _)| kind.name == "CronJob") {
            let place = ObjectPath { kind, namespace: owner.namespace, name: pass::name(metadata) };
            count += 1;
            match cron_job::suspend(&self.server, place, metadata, REMOVAL_NOT_AUTHORIZED).await {
                Ok(true) => pass.record(SUSPENDED, &place),
                Ok(false) => {}
                Err(trouble) => pass.applied.findings.push(findings::of_trouble(place, trouble)?),
            }
        }
        pass.applied.findings.push(findings::removal_not_authorized(count));
        Ok(pass.end())
    }

    /// Releases all objects: removes our labels and owner references.
    pub async fn release(&self, owner: Owner<'_>) -> Result<Applied, CallError> {
        let mut pass = Pass::new(self, owner, false);
        self.cache.forget(owner.namespace, owner.name);
        pass.release_all().await?;
        Ok(pass.end())
    }

    /// Creates a Job. `false`: it already exists.
    pub async fn create_job(&self, job: &Job) -> Result<bool, CallError> {
        let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
        let name = job.metadata.name.as_deref().unwrap_or_default();
        let api: Api<Job> = Api::namespaced(self.server.client.clone(), namespace);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match call(format!("create Job {name}"), CALL_DEADLINE, api.create(&params, job)).await {
            Ok(_) => Ok(true),
            Err(error) if error.failure == CallFailure::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }
}
