//! Compares the locations of a cluster's repos with those of all others.

use kube::core::DynamicObject;

use super::Reconciler;
use crate::cluster::desired;
use crate::cluster::location::Conflict;
use crate::cluster::references::{Lookup, References, SecretFacts};
use crate::cluster::resource::Postgresql;
use crate::cluster::validate::{self, Conduct};
use crate::cluster::validated::ValidatedCluster;
use crate::operator::locations::Compared;
use crate::operator::observe::Observed;
use crate::operator::scope::Key;

impl Reconciler {
    /// Compares the locations of a cluster that is managed here. Its repos with a stanza are in use, unless they have moved
    /// since.
    pub(super) fn compare(
        &self,
        object: &DynamicObject,
        resource: &Postgresql,
        cluster: Option<&ValidatedCluster>,
        conduct: Conduct,
        observed: &Observed,
    ) -> Compared {
        let located = validate::locations(resource, &observed.references);
        let hashes = cluster.map(|cluster| desired::repo_hashes(cluster, &self.settings)).unwrap_or_default();
        let key = Key::of(object);
        self.locations.compare(object, located, |repo, location| {
            let seen = observed.record.stanzas.get(&repo);
            let is_same = || hashes.get(&repo).is_none_or(|hash| seen == Some(hash));
            let was_in_use =
                || key.as_ref().is_some_and(|key| self.locations.was_in_use(key, repo, location));
            // What is released goes on without a record.
            conduct.release || seen.is_some() && (is_same() || was_in_use())
        })
    }

    /// The same for a cluster that another controller manages, or of which nothing else is known.
    pub(super) async fn compare_unmanaged(&self, object: &DynamicObject, resource: &Postgresql) {
        let secret = self.observer.secret(resource).await.map(|(facts, _)| facts).unwrap_or_default();
        self.compare_all_in_use(object, resource, secret);
    }

    /// All repos may be in use.
    pub(super) fn compare_all_in_use(
        &self,
        object: &DynamicObject,
        resource: &Postgresql,
        secret: Lookup<SecretFacts>,
    ) -> Vec<Conflict> {
        let references = References { secret, ..References::default() };
        match self.locations.compare(object, validate::locations(resource, &references), |_, _| true) {
            Compared::Conflicts(conflicts) => conflicts,
            Compared::TooEarly(_) => Vec::new(),
        }
    }

    pub(super) async fn compare_unless_known(
        &self,
        key: &Key,
        object: &DynamicObject,
        resource: &Postgresql,
    ) {
        if !self.locations.knows(key) {
            self.compare_unmanaged(object, resource).await;
        }
    }
}
