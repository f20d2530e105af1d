//! Reads the files of a cluster: of archiving in the primary's pod, and stop files where commands run, in the primary's pod and on the
//! repo host.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::cluster::key::Key;
use crate::cluster::settings::Settings;
use crate::cluster::target::{self, NoTarget, PGBACKREST_CONTAINER, Pod};
use crate::cluster::validated::STANZA;
use crate::source::archivers;
use crate::source::call::CommandState;
use crate::source::pod::{Place, RunInPod};
use crate::source::pod_files::{FilePaths, FilesRead, PodFiles};
use crate::state::archiver::Observation;
use crate::state::stopped::StopPlace;

use super::super::caller::{AFTER_TIMEOUT, Shared};
use super::super::in_flight::CommandKey;
use super::super::request::Subject;

/// What is read of one cluster.
pub(super) struct Reader<'a, P> {
    pub(super) shared: &'a Shared,
    pub(super) pods: &'a P,
    pub(super) key: &'a Arc<Key>,
    pub(super) settings: &'a Settings,
    /// When this process began to observe.
    pub(super) began: Instant,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct FilesInPods {
    pub(super) archivers: BTreeMap<Arc<str>, Observation>,
    pub(super) stop_places: Vec<StopPlace>,
}

impl<P: RunInPod> Reader<'_, P> {
    /// Reads what the subject has paths of, in these pods.
    pub(super) async fn read(&self, subject: &Subject, found: &Result<Vec<Pod>, String>) -> FilesInPods {
        let name = &self.key.name;
        let of = |choose: fn(&[Pod], &str, &Settings) -> Result<String, NoTarget>| {
            let pods = found.as_ref().map_err(Clone::clone)?;
            choose(pods, name, self.settings).map_err(|why| why.to_string())
        };
        let primary = of(|pods, name, settings| Ok(target::primary(pods, name, settings)?.name.clone()));
        let repo_host = of(|pods, name, settings| Ok(target::repo_host(pods, name, settings)?.name.clone()));
        let (database, repo_host) = tokio::join!(
            self.read_in(subject.database_files.as_ref(), primary, &self.settings.database_container),
            self.read_in(subject.repo_host_files.as_ref(), repo_host, PGBACKREST_CONTAINER),
        );
        let mut files = FilesInPods::default();
        for (archiver, stop_place) in [database, repo_host].into_iter().flatten() {
            files.archivers.extend(archiver.map(|archiver| (Arc::from(STANZA), archiver)));
            files.stop_places.push(stop_place);
        }
        files
    }

    /// None if there is nothing to read in such a pod.
    async fn read_in(
        &self,
        paths: Option<&FilePaths>,
        pod: Result<String, String>,
        container: &str,
    ) -> Option<(Option<Observation>, StopPlace)> {
        let paths = paths?;
        let unknown = |problem| {
            let archiver = paths.archiving.as_ref().map(|_| archivers::unread(self.began, problem));
            Some((archiver, StopPlace::default()))
        };
        let pod = match pod {
            Ok(pod) => pod,
            Err(problem) => return unknown(problem),
        };
        let Shared { limit, in_flight, pace, .. } = self.shared;
        let _permit = limit.acquire(false).await;
        let bound = pace.limits.timeout + AFTER_TIMEOUT;
        let command = match in_flight.begin(self.key, CommandKey::Files(pod.clone()), bound) {
            Ok(command) => command,
            Err(failure) => return unknown(failure.message),
        };
        let place = Place { namespace: &self.key.namespace, pod: &pod, container };
        let timeout = pace.limits.timeout;
        let files = PodFiles { pods: self.pods, place, stanza: STANZA, timeout, began: self.began };
        let FilesRead { archiver, stop_files, may_run } = files.read(paths).await;
        command.finish(if may_run { CommandState::Unknown } else { CommandState::Ended });
        Some((archiver, StopPlace { pod: Some(pod.into()), listing: stop_files }))
    }
}
