//! Writes the objects of a restore test: like those of a cluster, but nothing of them is taken over.

use std::collections::BTreeSet;

use super::pass::{CREATED, Pass, RESTORED};
use super::{Applied, Owner, Writer, cron_job, findings};
use crate::cluster::desired::Object;
use crate::cluster::names;
use crate::kubernetes::client::CallError;
use crate::operator::action::Action;
use crate::operator::kinds::{ObjectKind, ObjectPath};

impl Writer {
    /// Applies all objects, and removes ours that are no longer desired. No test may be running: the policies are those of its pod.
    pub(in crate::operator) async fn apply_test(
        &self,
        owner: Owner<'_>,
        objects: &[Object],
    ) -> Result<Applied, CallError> {
        let mut pass = Pass::new(self, owner, false);
        for object in objects {
            pass.object(object).await?;
        }
        let names: BTreeSet<(&str, &str)> =
            objects.iter().map(|object| (object.kind(), object.name())).collect();
        pass.remove_others_now(&names).await?;
        self.cache.keep(owner.namespace, owner.name, names.into_iter());
        let mut applied = pass.end();
        applied.actions = applied.actions.into_iter().filter_map(of_test).collect();
        Ok(applied)
    }

    /// Suspends the CronJob, if it exists.
    pub(in crate::operator) async fn suspend_test(
        &self,
        owner: Owner<'_>,
        because: &str,
    ) -> Result<Applied, CallError> {
        let mut applied = Applied::default();
        let name = names::restore_test(owner.name);
        let Some(kind) = ObjectKind::of("CronJob") else { return Ok(applied) };
        let ours = Pass::new(self, owner, false).of_ours();
        let known = ours.iter().find(|(of, metadata)| *of == kind && metadata.name.as_ref() == Some(&name));
        let Some((_, known)) = known else { return Ok(applied) };
        let place = ObjectPath { kind, namespace: owner.namespace, name: &name };
        if let Err(trouble) = cron_job::suspend(&self.server, place, known, because).await {
            applied.findings.push(findings::of_trouble(place, trouble)?);
        }
        Ok(applied)
    }
}

/// Policies come and go, and a CronJob is suspended and resumed, as clusters have their turns. That is nothing to report.
fn of_test(action: Action) -> Option<Action> {
    match action.reason {
        CREATED if action.message.contains("CronJob") => {
            Some(Action::new("RestoreTestSetUp", action.message))
        }
        RESTORED => Some(Action::new("RestoreTestObjectsRestored", action.message)),
        _ => None,
    }
}
