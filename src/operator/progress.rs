//! The progress of the operator, for health checks and metrics: leadership, watches, queue.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kube::runtime::watcher::Error;
use parking_lot::Mutex;

use crate::kubernetes::lease::Leadership;
use crate::metrics::OperatorMetrics;
use crate::text::one_line;

use super::scope::{Key, Scope};

/// Interval of heartbeats.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
/// Without a heartbeat for this long, the controller counts as stuck.
const STUCK: Duration = Duration::from_mins(1);
/// Maximum characters of a message of the API server.
const LONGEST_REASON: usize = 300;

/// Shared by controllers and probes.
#[derive(Debug)]
pub struct OperatorProgress {
    leadership: Mutex<Leadership>,
    stops: AtomicBool,
    watches: Mutex<BTreeMap<(&'static str, Scope), WatchState>>,
    waiting: Mutex<HashSet<Key>>,
    born: Instant,
    /// Milliseconds between `born` and the last heartbeat.
    heard_of: AtomicU64,
    metrics: Arc<OperatorMetrics>,
}

/// Whether a watch has completed its first list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum WatchState {
    UnderWay,
    Failed(String),
    Done,
}

impl OperatorProgress {
    /// Initially unknown. Changes are also recorded in the metrics.
    #[must_use]
    pub fn new(metrics: Arc<OperatorMetrics>) -> Self {
        Self {
            leadership: Mutex::default(),
            stops: AtomicBool::new(false),
            watches: Mutex::default(),
            waiting: Mutex::default(),
            born: Instant::now(),
            heard_of: AtomicU64::new(0),
            metrics,
        }
    }

    /// Why it is not ready, if it is not. A standby replica is ready.
    pub fn ready(&self) -> Result<(), String> {
        if self.stops.load(Ordering::Acquire) {
            return Err("stopping".to_owned());
        }
        match &*self.leadership.lock() {
            Leadership::Following(_) => return Ok(()),
            Leadership::Waiting => return Err("the lease has not been read or renewed yet".to_owned()),
            Leadership::Leading => {}
        }
        let watches = self.watches.lock();
        if watches.is_empty() {
            return Err("starting watches".to_owned());
        }
        let failed = watches.values().find_map(|listing| match listing {
            WatchState::Failed(reason) => Some(reason.clone()),
            _ => None,
        });
        match failed {
            Some(reason) => Err(reason),
            None if watches.values().any(|listing| *listing == WatchState::UnderWay) => {
                Err("waiting for initial lists".to_owned())
            }
            None => Ok(()),
        }
    }

    /// Whether there was a heartbeat within the last minute.
    #[must_use]
    pub fn alive(&self) -> bool {
        let heard_of = Duration::from_millis(self.heard_of.load(Ordering::Acquire));
        self.born.elapsed().saturating_sub(heard_of) < STUCK
    }

    /// The leader, if it is known and not this process.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        match &*self.leadership.lock() {
            Leadership::Following(leader) => Some(leader.clone()),
            Leadership::Leading | Leadership::Waiting => None,
        }
    }

    pub(super) fn beat(&self) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_of.store(now, Ordering::Release);
    }

    /// Shutdown has started.
    pub fn stops(&self) {
        self.stops.store(true, Ordering::Release);
    }

    pub(super) fn lead(&self, leadership: Leadership) {
        self.metrics.leads(leadership == Leadership::Leading);
        *self.leadership.lock() = leadership;
    }

    /// Leadership has ended: nothing is watched or queued.
    pub(super) fn leadership_ended(&self) {
        self.watches.lock().clear();
        self.queue(HashSet::clear);
    }

    pub(super) fn waits(&self, key: &Key) {
        self.queue(|waiting| _ = waiting.insert(key.clone()));
    }

    pub(super) fn taken(&self, key: &Key) {
        self.queue(|waiting| _ = waiting.remove(key));
    }

    fn queue(&self, change: impl FnOnce(&mut HashSet<Key>)) {
        let mut waiting = self.waiting.lock();
        change(&mut waiting);
        self.metrics.queue_depth(waiting.len());
    }

    pub(super) fn begins(&self, kind: &'static str, scope: &Scope) {
        self.watches.lock().insert((kind, scope.clone()), WatchState::UnderWay);
    }

    pub(super) fn has_listed(&self, kind: &'static str, scope: &Scope) {
        let before = self.watches.lock().insert((kind, scope.clone()), WatchState::Done);
        if let Some(WatchState::Failed(_)) = before {
            tracing::info!(kind, %scope, "Watch recovered");
        }
    }

    pub(super) fn has_failed(&self, kind: &'static str, scope: &Scope, error: &Error) {
        self.metrics.watch_restarted(kind);
        let Error::InitialListFailed(reason) = error else {
            // The watch resumes where it stopped; the lease shows whether the API server is available.
            tracing::debug!(kind, %scope, %error, "Watch ended; restarting");
            return;
        };
        let reason = describe(kind, scope, reason);
        let failed = WatchState::Failed(reason.clone());
        let before = self.watches.lock().insert((kind, scope.clone()), failed.clone());
        if before != Some(failed) {
            tracing::warn!(kind, %scope, reason, "Failed to start watch; retrying");
        }
    }
}

/// One line, which stays the same as long as the reason does.
fn describe(kind: &str, scope: &Scope, error: &kube::Error) -> String {
    let reason = match error {
        kube::Error::Api(status) if status.code == 404 => {
            "the API server does not have this kind; install its CustomResourceDefinition".to_owned()
        }
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => other.to_string(),
    };
    format!("cannot list {kind} in {scope}: {}", one_line(&reason, LONGEST_REASON))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16) -> Error {
        Error::InitialListFailed(kube::Error::Api(Box::new(Status {
            code,
            message: "no".to_owned(),
            ..Status::default()
        })))
    }

    #[test]
    fn a_leader_is_ready_when_everything_is_listed() {
        let progress = OperatorProgress::new(Arc::new(OperatorMetrics::new(&[])));
        assert!(progress.ready().unwrap_err().contains("lease"));
        progress.lead(Leadership::Following("other".to_owned()));
        assert_eq!(progress.ready(), Ok(()), "a replica that stands by is ready");
        assert_eq!(progress.leader().as_deref(), Some("other"));
        progress.lead(Leadership::Leading);
        assert!(progress.ready().is_err());
        progress.begins("CronJob", &Scope::All);
        progress.begins("postgresql", &Scope::All);
        progress.has_listed("CronJob", &Scope::All);
        assert!(progress.ready().is_err());
        progress.has_failed("postgresql", &Scope::All, &refused(404));
        let reason = progress.ready().unwrap_err();
        assert!(reason.contains("cannot list postgresql in all namespaces") && reason.contains("install"));
        progress.has_failed("postgresql", &Scope::All, &refused(403));
        assert!(progress.ready().unwrap_err().ends_with("no (403)"));
        progress.has_listed("postgresql", &Scope::All);
        assert_eq!(progress.ready(), Ok(()));
        progress.has_failed("CronJob", &Scope::All, &Error::NoResourceVersion);
        assert_eq!(progress.ready(), Ok(()), "a watch that begins again knows what it knew");
        progress.stops();
        assert_eq!(progress.ready(), Err("stopping".to_owned()));
    }
}
