//! Applies the objects of one cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::cache::{self, WATCH_DELAY};
use super::ownership::{self, Ownership};
use super::repo_host::{self, Rollout};
use super::server::{Dependents, Server, Trouble};
use super::{Applied, Owner, Writer, cron_job, findings, volume};
use crate::cluster::desired::Object;
use crate::cluster::finding::Finding;
use crate::kubernetes::client::{CallError, CallFailure};
use crate::operator::action::Action;
use crate::operator::kinds::{ObjectKind, ObjectPath};
use adopt::Cleared;
pub(super) use cleanup::name;

mod adopt;
mod cleanup;
mod release;

pub(super) const CREATED: &str = "BackupObjectsCreated";
pub(super) const ADOPTED: &str = "BackupObjectsAdopted";
pub(super) const RESTORED: &str = "BackupObjectsRestored";
const REMOVED: &str = "BackupObjectsRemoved";
const RELEASED: &str = "BackupObjectsReleased";
pub(super) const SUSPENDED: &str = "BackupsSuspended";
pub(super) const RESUMED: &str = "BackupsResumed";
pub(super) const GROWN: &str = "RepoVolumeGrown";
pub(super) const ROLLED: &str = "RepoHostReplaced";

/// Interval between checks whether a backup has finished that an object is waiting for.
const WAIT_FOR_BACKUP: Duration = Duration::from_mins(1);

/// When to check again whether Kubernetes has acted.
const WAIT_FOR_KUBERNETES: Duration = Duration::from_secs(5);

/// When to retry a rejected write.
const WAIT_FOR_PEOPLE: Duration = Duration::from_mins(5);

/// Attempts in case of conflicts.
const TRIES: usize = 3;

/// The state of one pass.
pub(super) struct Pass<'a> {
    pub(super) writer: &'a Writer,
    pub(super) owner: Owner<'a>,
    pub(super) adopt: bool,
    pub(super) applied: Applied,
    /// Consecutive calls for which the API server was unavailable.
    unserved: u32,
    /// A volume that the repo host would mount has another owner.
    volume_is_foreign: bool,
    done: BTreeMap<&'static str, Vec<String>>,
}

/// The state of an object before it is written.
enum LiveState {
    InPlace,
    Absent,
    Live(Arc<ObjectMeta>),
}

/// An object to apply.
struct ApplyTask<'a> {
    place: ObjectPath<'a>,
    object: &'a Object,
    body: Value,
    desired: u64,
}

impl<'a> Pass<'a> {
    pub(super) fn new(writer: &'a Writer, owner: Owner<'a>, adopt: bool) -> Self {
        Self {
            writer,
            owner,
            adopt,
            applied: Applied::default(),
            unserved: 0,
            volume_is_foreign: false,
            done: BTreeMap::new(),
        }
    }

    /// Records an action on an object.
    pub(super) fn record(&mut self, reason: &'static str, what: &dyn std::fmt::Display) {
        self.done.entry(reason).or_default().push(what.to_string());
    }

    /// Records that something is waiting.
    pub(super) fn wait(&mut self, finding: Finding, again_after: Duration) {
        self.applied.findings.push(finding);
        self.again_after(again_after);
    }

    fn again_after(&mut self, again_after: Duration) {
        let soonest = self.applied.again_after.map_or(again_after, |known| known.min(again_after));
        self.applied.again_after = Some(soonest);
    }

    /// The result, with one action per reason.
    pub(super) fn end(mut self) -> Applied {
        for (reason, what) in self.done {
            self.applied.actions.push(Action::new(reason, format!("{} {}", verb(reason), what.join(", "))));
        }
        self.applied
    }

    /// Applies one object. Returns whether it is as desired.
    pub(super) async fn object(&mut self, object: &Object) -> Result<bool, CallError> {
        let Some(kind) = ObjectKind::of(object.kind()) else { return Ok(false) };
        let place = ObjectPath { kind, namespace: self.owner.namespace, name: object.name() };
        let body = match serde_json::to_value(object) {
            Ok(body) => body,
            Err(_never) => return Ok(false),
        };
        let desired = cache::hash(&body);
        let mut before = self.before(place, desired).await?;
        let task = ApplyTask { place, object, body, desired };
        let mut tries = 1;
        loop {
            let trouble = match self.bring(&task, before).await {
                Ok(in_place) => {
                    self.unserved = 0;
                    return Ok(in_place);
                }
                Err(trouble) => self.weigh(trouble),
            };
            let again = matches!(trouble, Trouble::Moved(_)) && tries < TRIES;
            if !again {
                let moved = matches!(trouble, Trouble::Moved(_));
                let again_after = if moved { WAIT_FOR_KUBERNETES } else { WAIT_FOR_PEOPLE };
                self.wait(findings::of_trouble(place, trouble)?, again_after);
                return Ok(false);
            }
            tries += 1;
            before = self.server().metadata(place).await?.map_or(LiveState::Absent, LiveState::Live);
        }
    }

    fn server(&self) -> &'a Server {
        &self.writer.server
    }

    /// An unavailable webhook causes the same error for one kind of object as an unavailable API server does for all:
    /// the first time, it counts as a rejection.
    fn weigh(&mut self, trouble: Trouble) -> Trouble {
        match trouble {
            Trouble::Broken(error) if error.failure == CallFailure::Unavailable && self.unserved == 0 => {
                self.unserved += 1;
                Trouble::Refused(error)
            }
            other => other,
        }
    }

    async fn before(&mut self, place: ObjectPath<'_>, desired: u64) -> Result<LiveState, CallError> {
        let (namespace, cluster) = (self.owner.namespace, self.owner.name);
        let known = self.writer.inventory.find(place.kind.name, namespace, place.name);
        let cached = self.writer.cache.find(namespace, cluster, place.kind.name, place.name);
        match (known, cached) {
            (Some(live), Some(last)) if last.is_in_place(desired, &live) => Ok(LiveState::InPlace),
            (Some(live), _) => Ok(LiveState::Live(Arc::new(live))),
            (None, Some(last)) if last.is_young(desired) => {
                self.again_after(WATCH_DELAY);
                Ok(LiveState::InPlace)
            }
            (None, _)
                if place.kind.name == "Service"
                    && self.writer.cache.service_is_foreign(namespace, cluster) =>
            {
                Ok(LiveState::InPlace)
            }
            (None, _) => Ok(self.server().metadata(place).await?.map_or(LiveState::Absent, LiveState::Live)),
        }
    }

    async fn bring(&mut self, task: &ApplyTask<'_>, before: LiveState) -> Result<bool, Trouble> {
        let place = task.place;
        let live = match before {
            LiveState::InPlace => return Ok(true),
            LiveState::Absent => return self.create(task).await,
            LiveState::Live(live) => live,
        };
        match ownership::of(&live, place.kind, self.owner) {
            Ownership::Ours => self.mend(task, &live).await,
            Ownership::Leaving | Ownership::Predecessor => Ok(self.leaves(place)),
            Ownership::OtherCluster(owner) => {
                let finding = findings::of_another_cluster(place, self.owner.name, &owner);
                self.leave_alone(task, finding);
                Ok(false)
            }
            Ownership::Foreign(owner) => self.foreign(task, &live, &owner).await,
        }
    }

    async fn create(&mut self, task: &ApplyTask<'_>) -> Result<bool, Trouble> {
        let place = task.place;
        if self.volume_is_foreign && matches!(task.object, Object::StatefulSet(_)) {
            let why = "is not created while a volume that it would mount has another owner";
            let remedy = "see the finding for the PersistentVolumeClaim";
            self.applied.findings.push(findings::waits(place, why, remedy));
            return Ok(false);
        }
        let was_there = self.cached(place).is_some();
        let after = self.server().apply(place, &task.body, None).await?;
        self.store(task, &after);
        if was_there {
            self.applied.drift.push(place.kind.name);
            self.record(RESTORED, &place);
        } else {
            self.record(CREATED, &place);
        }
        Ok(true)
    }

    /// Applies an object that is ours.
    async fn mend(&mut self, task: &ApplyTask<'_>, live: &ObjectMeta) -> Result<bool, Trouble> {
        let place = task.place;
        if let Object::PersistentVolumeClaim(_) = task.object {
            return self.keep_volume(task, false).await;
        }
        if let Object::StatefulSet(_) = task.object {
            match repo_host::check_rollout(self.server(), self.owner, place, &task.body, live).await? {
                Rollout::Open => {}
                Rollout::Rolls => self.record(ROLLED, &place),
                Rollout::Busy(job) => return Ok(self.busy(place, "changed", &job)),
                Rollout::Replace => {
                    let uid = live.uid.as_deref().unwrap_or_default();
                    self.server().delete(place, uid, Dependents::Stay).await?;
                    if !self.server().is_gone(place, uid).await? {
                        return Ok(self.leaves(place));
                    }
                    self.record(ROLLED, &place);
                    let after = self.server().apply(place, &task.body, None).await?;
                    self.store(task, &after);
                    return Ok(true);
                }
            }
        }
        let mut after = self.server().apply(place, &task.body, live.uid.as_deref()).await?;
        if let Object::CronJob(desired) = task.object {
            let was = cron_job::reason(live);
            let is = cron_job::reason(&desired.metadata);
            if cron_job::reason(&after).is_some() && is.is_none() {
                after = cron_job::wake(self.server(), place, after, desired).await?;
            }
            match (was, is) {
                (Some(_), None) => self.record(RESUMED, &place),
                (None, Some(because)) => self.record(SUSPENDED, &format!("{place} ({because})")),
                _ => {}
            }
        }
        let as_before = self.cached(place).is_some_and(|last| last.desired == task.desired);
        if as_before && cache::fingerprint(live) != cache::fingerprint(&after) {
            self.applied.drift.push(place.kind.name);
            self.record(RESTORED, &place);
        }
        self.store(task, &after);
        Ok(true)
    }

    /// An object with one of our names and another owner.
    async fn foreign(
        &mut self,
        task: &ApplyTask<'_>,
        live: &ObjectMeta,
        owner: &str,
    ) -> Result<bool, Trouble> {
        let place = task.place;
        if let Object::Service(_) = task.object {
            self.writer.cache.note_foreign_service(self.owner.namespace, self.owner.name);
            return Ok(true);
        }
        if !self.adopt {
            self.leave_alone(task, findings::taken(place, self.owner, owner));
            return Ok(false);
        }
        if let Object::PersistentVolumeClaim(_) = task.object {
            return self.keep_volume(task, true).await;
        }
        let suspended = match adopt::clear(self.server(), self.owner, place, live).await? {
            Cleared::Busy(job) => return Ok(self.busy(place, "taken over", &job)),
            Cleared::Leaves => return Ok(self.leaves(place)),
            Cleared::Free { suspended } => suspended,
        };
        let after = if suspended {
            cron_job::make_suspended(self.server(), place, &task.body).await?
        } else {
            self.server().apply(place, &task.body, None).await?
        };
        self.store(task, &after);
        self.record(ADOPTED, &format!("{place} from {owner}"));
        Ok(true)
    }

    fn leave_alone(&mut self, task: &ApplyTask<'_>, finding: Finding) {
        self.volume_is_foreign |= matches!(task.object, Object::PersistentVolumeClaim(_));
        self.applied.findings.push(finding);
    }

    async fn keep_volume(&mut self, task: &ApplyTask<'_>, take_over: bool) -> Result<bool, Trouble> {
        let (place, Object::PersistentVolumeClaim(desired)) = (task.place, task.object) else {
            return Ok(false);
        };
        let Some(kept) = volume::keep(self.server(), place, desired, take_over).await? else {
            return self.create(task).await;
        };
        if take_over {
            self.record(ADOPTED, &place);
        }
        if let Some((from, to)) = kept.grown {
            self.record(GROWN, &format!("{place} from {from} to {to}"));
        }
        let in_place = kept.finding.is_none();
        match kept.finding {
            Some(finding) => self.wait(finding, WAIT_FOR_PEOPLE),
            None => self.store(task, &kept.after),
        }
        Ok(in_place)
    }

    /// Records that an object waits for a backup. Returns `false`: it is not as desired.
    pub(super) fn busy(&mut self, place: ObjectPath<'_>, done: &str, backup: &str) -> bool {
        let why = format!("should be {done}, but {backup}");
        let remedy = "it is done when the backup has finished; delete the Job if it does not finish";
        self.wait(findings::waits(place, &why, remedy), WAIT_FOR_BACKUP);
        false
    }

    /// Records that an object must be gone first. Returns `false`: it is not as desired.
    pub(super) fn leaves(&mut self, place: ObjectPath<'_>) -> bool {
        let remedy = "it is recreated after it is deleted; if it remains, check its finalizers";
        self.wait(findings::waits(place, "is being deleted", remedy), WAIT_FOR_KUBERNETES);
        false
    }

    fn cached(&self, place: ObjectPath<'_>) -> Option<cache::CachedObject> {
        self.writer.cache.find(self.owner.namespace, self.owner.name, place.kind.name, place.name)
    }

    fn store(&self, task: &ApplyTask<'_>, after: &ObjectMeta) {
        let object = (task.place.kind.name, task.place.name);
        self.writer.cache.store(self.owner.namespace, self.owner.name, object, task.desired, after);
    }
}

fn verb(reason: &str) -> &'static str {
    match reason {
        CREATED => "created",
        ADOPTED => "took over",
        RESTORED => "reverted changes to",
        REMOVED => "removed",
        RELEASED => "handed back",
        SUSPENDED => "suspended",
        RESUMED => "resumed",
        GROWN => "expanding",
        _ => "replacing the pod of",
    }
}
