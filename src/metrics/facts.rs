//! What is told of: the stanzas of this host, or those of every cluster of a fleet with labels that tell them apart.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::cluster::key::Key;
use crate::state::snapshot::{Repo, Snapshot, Stanza};

use super::family::Family;

/// What is known of the clusters of a fleet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fleet {
    /// Of each cluster that was asked.
    pub clusters: BTreeMap<Arc<Key>, Arc<Snapshot>>,
    /// The time at which this was put together; what depends on the time is told as of then.
    pub as_of: DateTime<Utc>,
}

/// What families iterate over.
#[derive(Debug, Clone)]
pub(super) enum Facts {
    Host(Arc<Snapshot>),
    Fleet(Arc<Fleet>),
}

impl Facts {
    /// Every snapshot, with the cluster that it is of.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Option<&Arc<Key>>, &Snapshot)> {
        let (host, fleet) = match self {
            Self::Host(snapshot) => (Some((None, &**snapshot)), None),
            Self::Fleet(fleet) => (None, Some(fleet)),
        };
        let clusters = fleet.into_iter().flat_map(|fleet| &fleet.clusters);
        host.into_iter().chain(clusters.map(|(key, snapshot)| (Some(key), &**snapshot)))
    }

    /// Visits every snapshot. What is added to the family meanwhile carries the labels of its cluster.
    pub(super) fn each<'a, 's, 'e>(
        &'a self,
        family: &mut Family<'s, 'e>,
        mut visit: impl FnMut(&mut Family<'s, 'e>, &'a Snapshot) -> fmt::Result,
    ) -> fmt::Result {
        self.parts().try_for_each(|(cluster, snapshot)| {
            family.of(cluster);
            visit(family, snapshot)
        })
    }

    /// The same for every stanza.
    pub(super) fn each_stanza<'a, 's, 'e>(
        &'a self,
        family: &mut Family<'s, 'e>,
        mut visit: impl FnMut(&mut Family<'s, 'e>, &'a Stanza) -> fmt::Result,
    ) -> fmt::Result {
        self.each(family, |family, snapshot| {
            snapshot.stanzas.iter().try_for_each(|stanza| visit(family, stanza))
        })
    }

    /// The same for every repository.
    pub(super) fn each_repo<'a, 's, 'e>(
        &'a self,
        family: &mut Family<'s, 'e>,
        mut visit: impl FnMut(&mut Family<'s, 'e>, &'a Stanza, &'a Repo) -> fmt::Result,
    ) -> fmt::Result {
        self.each_stanza(family, |family, stanza| {
            stanza.repos.iter().try_for_each(|repo| visit(family, stanza, repo))
        })
    }
}
