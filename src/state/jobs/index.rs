//! All clusters with their runs, from Jobs and CronJobs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::fact::{ClusterKey, CronFact, JobFact, Slot};
use super::history::{RunHistory, RunResult, Tally};
use super::timer::Timer;

/// The state of a fleet.
#[derive(Debug, Clone, Default)]
pub struct JobIndex {
    clusters: BTreeMap<ClusterKey, Arc<ClusterRuns>>,
}

/// The runs of one cluster.
#[derive(Debug, Clone, Default)]
pub struct ClusterRuns {
    /// In boxes, because the map keeps room for eleven.
    histories: BTreeMap<Slot, Box<RunHistory>>,
    /// Whether pgBackRest is known to lock each repository by itself.
    locks_each_repo: bool,
}

/// How the runs of a cluster have ended, as far as any have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunResults {
    /// By repo and backup type.
    pub runs: BTreeMap<Slot, RunResult>,
}

impl RunResults {
    /// Whether the newest run of a repo and type has failed; `None` if no run has ended.
    #[must_use]
    pub fn has_failed(&self) -> Option<bool> {
        let failed = self.runs.values().any(|run| run.failing.is_some());
        (!self.runs.is_empty()).then_some(failed)
    }

    /// When a run last succeeded.
    #[must_use]
    pub fn last_success(&self) -> Option<DateTime<Utc>> {
        self.runs.values().filter_map(|run| run.last_success).max()
    }
}

/// The cluster, repo and type of a Job or CronJob.
pub type JobPlace = (ClusterKey, Slot);

impl ClusterRuns {
    /// By repo and backup type.
    pub fn histories(&self) -> impl Iterator<Item = (Slot, &RunHistory)> {
        self.histories.iter().map(|(slot, history)| (*slot, &**history))
    }

    /// How its runs have ended.
    #[must_use]
    pub fn results(&self) -> RunResults {
        let results = self.histories.iter().map(|(slot, history)| (*slot, history.result()));
        let ended = |(_, run): &(Slot, RunResult)| run.last_success.is_some() || run.failing.is_some();
        RunResults { runs: results.filter(ended).collect() }
    }

    /// Marks schedules that fire in the same minute and use the same lock: before pgBackRest 2.53, even those for different
    /// repos do (`Version::locks_each_repo`).
    fn find_conflicts(&mut self, now: DateTime<Utc>) {
        let timers: Vec<&Timer> = self.histories.values().filter_map(|history| history.timer()).collect();
        let mut conflicting = BTreeSet::new();
        for (index, one) in timers.iter().enumerate() {
            for other in timers.iter().skip(index + 1) {
                let same_lock = !self.locks_each_repo || one.fact.slot.repo_key == other.fact.slot.repo_key;
                if same_lock && one.meets(other, now) {
                    conflicting.extend([one.fact.uid.clone(), other.fact.uid.clone()]);
                }
            }
        }
        for timer in self.histories.values_mut().flat_map(|history| history.timers_mut()) {
            timer.conflict = conflicting.contains(&timer.fact.uid);
        }
    }
}

impl JobIndex {
    /// All clusters with a Job or a CronJob.
    #[must_use]
    pub const fn clusters(&self) -> &BTreeMap<ClusterKey, Arc<ClusterRuns>> {
        &self.clusters
    }

    /// Whether a backup of a cluster runs, or waits for its pod.
    #[must_use]
    pub fn is_backed_up_now(&self, key: &ClusterKey) -> bool {
        let cluster = self.clusters.get(key);
        cluster.is_some_and(|cluster| cluster.histories.values().any(|history| history.is_active()))
    }

    /// Records CronJobs; several at once, since those of a cluster are compared with each other.
    pub fn cron_jobs(&mut self, facts: Vec<CronFact>, now: DateTime<Utc>) {
        let mut touched = BTreeSet::new();
        for fact in facts {
            let history = self.history(&fact.cluster, fact.slot);
            let known = history.known(&fact.uid);
            // Changes of the status at each run have no effect.
            if known == Some(&fact) {
                continue;
            }
            let same_times = known.is_some_and(|known| {
                known.expression == fact.expression
                    && known.time_zone == fact.time_zone
                    && known.suspension == fact.suspension
            });
            let cluster = fact.cluster.clone();
            history.cron_job(fact, now);
            if !same_times {
                touched.insert(cluster);
            }
        }
        for key in touched {
            self.cluster(&key).find_conflicts(now);
        }
    }

    /// Records how pgBackRest locks in a cluster.
    pub fn locks_each_repo(&mut self, key: &ClusterKey, yes: bool, now: DateTime<Utc>) {
        let is_new = self.clusters.get(key).is_some_and(|known| known.locks_each_repo != yes);
        if is_new {
            let cluster = self.cluster(key);
            cluster.locks_each_repo = yes;
            cluster.find_conflicts(now);
        }
    }

    /// A CronJob was deleted.
    pub fn cron_job_gone(&mut self, (key, slot): &JobPlace, uid: &str, now: DateTime<Utc>) {
        self.history(key, *slot).cron_job_gone(uid);
        self.cluster(key).find_conflicts(now);
        self.tidy(key, *slot);
    }

    /// Records the state of a Job. Returns what is new.
    pub fn job(&mut self, fact: &JobFact, now: DateTime<Utc>) -> Tally {
        let history = self.history(&fact.cluster, fact.slot);
        let tally = history.job(fact);
        history.update_timers(now);
        tally
    }

    /// Whether this Job is known to have finished.
    #[must_use]
    pub fn has_ended(&self, (key, slot): &JobPlace, uid: &str) -> bool {
        let history = self.clusters.get(key).and_then(|cluster| cluster.histories.get(slot));
        history.is_some_and(|history| history.has_ended(uid))
    }

    /// A Job was deleted. Its results are kept.
    pub fn job_gone(&mut self, (key, slot): &JobPlace, uid: &str) {
        self.history(key, *slot).job_gone(uid);
        self.tidy(key, *slot);
    }

    fn cluster(&mut self, key: &ClusterKey) -> &mut ClusterRuns {
        Arc::make_mut(self.clusters.entry(key.clone()).or_default())
    }

    fn history(&mut self, key: &ClusterKey, slot: Slot) -> &mut RunHistory {
        self.cluster(key).histories.entry(slot).or_default()
    }

    /// Removes empty entries.
    fn tidy(&mut self, key: &ClusterKey, slot: Slot) {
        let cluster = self.cluster(key);
        if cluster.histories.get(&slot).is_some_and(|history| history.is_empty()) {
            cluster.histories.remove(&slot);
        }
        if cluster.histories.is_empty() {
            self.clusters.remove(key);
        }
    }
}
