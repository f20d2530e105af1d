//! The stanzas to expose: those of this host, or those of every cluster of a fleet with labels that distinguish them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::cluster::key::Key;
use crate::state::archiver::Archiver;
use crate::state::snapshot::{Repo, Snapshot, Stanza};

use super::family::{Family, Label};

/// The snapshots of the clusters of a fleet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fleet {
    /// The snapshot of each cluster that was queried.
    pub clusters: BTreeMap<Arc<Key>, Arc<Snapshot>>,
    /// When this was put together; time-dependent values are as of this time.
    pub as_of: DateTime<Utc>,
}

/// The snapshots that families iterate over.
#[derive(Debug, Clone)]
pub(super) enum Facts {
    Host(Arc<Snapshot>),
    Fleet(Arc<Fleet>),
}

impl Facts {
    /// Every snapshot with its cluster.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Option<&Arc<Key>>, &Snapshot)> {
        let (host, fleet) = match self {
            Self::Host(snapshot) => (Some((None, &**snapshot)), None),
            Self::Fleet(fleet) => (None, Some(fleet)),
        };
        let clusters = fleet.into_iter().flat_map(|fleet| &fleet.clusters);
        host.into_iter().chain(clusters.map(|(key, snapshot)| (Some(key), &**snapshot)))
    }

    /// Visits every snapshot. Series added to the family during a visit get the labels of the cluster.
    pub(super) fn each<'a, 's, 'e, const N: usize>(
        &'a self,
        family: &mut Family<'s, 'e, N>,
        mut visit: impl FnMut(&mut Family<'s, 'e, N>, &'a Snapshot) -> fmt::Result,
    ) -> fmt::Result {
        self.parts().try_for_each(|(cluster, snapshot)| {
            family.of(cluster);
            visit(family, snapshot)
        })
    }

    /// Visits every stanza.
    pub(super) fn each_stanza<'a, 's, 'e, const N: usize>(
        &'a self,
        family: &mut Family<'s, 'e, N>,
        mut visit: impl FnMut(&mut Family<'s, 'e, N>, &'a Stanza) -> fmt::Result,
    ) -> fmt::Result {
        self.each(family, |family, snapshot| {
            snapshot.stanzas.iter().try_for_each(|stanza| visit(family, stanza))
        })
    }

    /// Visits the archiver of every stanza that has one, with the name of the stanza.
    pub(super) fn each_archiver<'a, 's, 'e, const N: usize>(
        &'a self,
        family: &mut Family<'s, 'e, N>,
        mut visit: impl FnMut(&mut Family<'s, 'e, N>, &'a str, &'a Archiver) -> fmt::Result,
    ) -> fmt::Result {
        self.each(family, |family, snapshot| {
            snapshot.archivers.iter().try_for_each(|(stanza, archiver)| visit(family, stanza, archiver))
        })
    }

    /// Visits every repository.
    pub(super) fn each_repo<'a, 's, 'e, const N: usize>(
        &'a self,
        family: &mut Family<'s, 'e, N>,
        mut visit: impl FnMut(&mut Family<'s, 'e, N>, &'a Stanza, &'a Repo) -> fmt::Result,
    ) -> fmt::Result {
        self.each_stanza(family, |family, stanza| {
            stanza.repos.iter().try_for_each(|repo| visit(family, stanza, repo))
        })
    }
}

/// Labels of everything that exists once per repository of a stanza.
pub(super) fn repo_labels<'a>(stanza: &'a Stanza, repo: &Repo) -> [Label<'a>; 2] {
    [repo.key.into(), (&*stanza.name).into()]
}
