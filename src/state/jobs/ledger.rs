//! All clusters with their runs, from Jobs and CronJobs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::fact::{ClusterKey, CronFact, JobFact, Slot};
use super::line::{Line, Tally};
use super::timer::Timer;

/// The state of a fleet.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    clusters: BTreeMap<ClusterKey, Arc<Cluster>>,
}

/// The runs of one cluster.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    lines: BTreeMap<Slot, Line>,
}

/// The cluster, repo and type of a Job or CronJob.
pub type JobPlace = (ClusterKey, Slot);

impl Cluster {
    /// By repo and backup type.
    pub fn lines(&self) -> impl Iterator<Item = (Slot, &Line)> {
        self.lines.iter().map(|(slot, line)| (*slot, line))
    }

    /// Marks schedules that fire in the same minute: before pgBackRest 2.53, they use the same lock, even for
    /// different repos.
    fn find_conflicts(&mut self, now: DateTime<Utc>) {
        let timers: Vec<&Timer> = self.lines.values().filter_map(Line::timer).collect();
        let mut conflicting = BTreeSet::new();
        for (index, one) in timers.iter().enumerate() {
            for other in timers.iter().skip(index + 1) {
                if one.meets(other, now) {
                    conflicting.extend([one.fact.uid.clone(), other.fact.uid.clone()]);
                }
            }
        }
        for timer in self.lines.values_mut().flat_map(|line| line.timers.values_mut()) {
            timer.conflict = conflicting.contains(&timer.fact.uid);
        }
    }
}

impl Ledger {
    /// All clusters with a Job or a CronJob.
    #[must_use]
    pub const fn clusters(&self) -> &BTreeMap<ClusterKey, Arc<Cluster>> {
        &self.clusters
    }

    /// Records CronJobs; several at once, since those of a cluster are compared with each other.
    pub fn cron_jobs(&mut self, facts: Vec<CronFact>, now: DateTime<Utc>) {
        let mut touched = BTreeSet::new();
        for fact in facts {
            let line = self.line(&fact.cluster, fact.slot);
            let known = line.timers.get(&fact.uid);
            // Changes of the status at each run have no effect.
            if known.is_some_and(|known| known.fact == fact) {
                continue;
            }
            let same_times = known.is_some_and(|known| {
                known.fact.expression == fact.expression
                    && known.fact.time_zone == fact.time_zone
                    && known.fact.suspension == fact.suspension
            });
            let cluster = fact.cluster.clone();
            if let Some(timer) = line.timers.get_mut(&fact.uid) {
                timer.renew(fact, now);
            } else {
                line.timers.insert(fact.uid.clone(), Timer::new(fact, now));
            }
            line.update_timers(now);
            if !same_times {
                touched.insert(cluster);
            }
        }
        for key in touched {
            self.cluster(&key).find_conflicts(now);
        }
    }

    /// A CronJob was deleted.
    pub fn cron_job_gone(&mut self, (key, slot): &JobPlace, uid: &str, now: DateTime<Utc>) {
        self.line(key, *slot).timers.remove(uid);
        self.cluster(key).find_conflicts(now);
        self.tidy(key, *slot);
    }

    /// Records the state of a Job. Returns what is new.
    pub fn job(&mut self, fact: &JobFact, now: DateTime<Utc>) -> Tally {
        let line = self.line(&fact.cluster, fact.slot);
        let tally = line.job(fact);
        line.update_timers(now);
        tally
    }

    /// Whether this Job is known to have finished.
    #[must_use]
    pub fn has_ended(&self, (key, slot): &JobPlace, uid: &str) -> bool {
        let line = self.clusters.get(key).and_then(|cluster| cluster.lines.get(slot));
        line.is_some_and(|line| line.has_ended(uid))
    }

    /// A Job was deleted. Its results are kept.
    pub fn job_gone(&mut self, (key, slot): &JobPlace, uid: &str) {
        self.line(key, *slot).job_gone(uid);
        self.tidy(key, *slot);
    }

    fn cluster(&mut self, key: &ClusterKey) -> &mut Cluster {
        Arc::make_mut(self.clusters.entry(key.clone()).or_default())
    }

    fn line(&mut self, key: &ClusterKey, slot: Slot) -> &mut Line {
        self.cluster(key).lines.entry(slot).or_default()
    }

    /// Removes empty entries.
    fn tidy(&mut self, key: &ClusterKey, slot: Slot) {
        let cluster = self.cluster(key);
        if cluster.lines.get(&slot).is_some_and(Line::is_empty) {
            cluster.lines.remove(&slot);
        }
        if cluster.lines.is_empty() {
            self.clusters.remove(key);
        }
    }
}
