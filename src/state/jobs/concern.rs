//! Problems that need attention.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};

use super::fact::{Slot, Suspension};
use super::history::{RunHistory, RunHistoryView};
use super::index::ClusterRuns;
use crate::state::health::Health;
use crate::state::human;

/// This many consecutive failed or missed runs are a failure.
const SERIOUS: u64 = 3;
/// Maximum number of concerns.
const MOST: usize = 12;

/// A problem with the jobs or schedules of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    /// Its severity; never [`Health::Ok`].
    pub health: Health,
    /// One short sentence without a full stop, such as `repo1 full failed 10 min ago: lock_conflict (50)`.
    pub text: String,
}

impl ClusterRuns {
    /// The worst first.
    #[must_use]
    pub fn concerns(&self, now: DateTime<Utc>) -> Vec<Concern> {
        let mut concerns: Vec<Concern> =
            self.histories().flat_map(|(slot, history)| of_history(slot, history, now)).collect();
        concerns.sort_by_key(|concern| Reverse(concern.health));
        concerns.truncate(MOST);
        concerns
    }
}

fn of_history(slot: Slot, history: &RunHistory, now: DateTime<Utc>) -> impl Iterator<Item = Concern> {
    let view = history.view(now);
    let theirs = history.timer().is_some_and(|timer| timer.fact.suspension == Suspension::Others);
    let suspended = theirs.then(|| Concern { health: Health::Warning, text: format!("{slot} is suspended") });
    [failed(slot, &view, now), missed(slot, &view), endless(slot, &view, now), suspended]
        .into_iter()
        .flatten()
}

fn failed(slot: Slot, view: &RunHistoryView, now: DateTime<Utc>) -> Option<Concern> {
    let (failure, at) = view.failing.zip(view.last_failure)?;
    let times = view.consecutive_failures.unwrap_or_default();
    let in_a_row = if times > 1 { format!("{times} times in a row, last ") } else { String::new() };
    let code = failure.exit_code.map(|code| format!(" ({code})")).unwrap_or_default();
    let text = format!("{slot} failed {in_a_row}{}: {}{code}", human::age(at, now), failure.reason);
    Some(Concern { health: health(times), text })
}

fn missed(slot: Slot, view: &RunHistoryView) -> Option<Concern> {
    let schedule = view.schedule.as_ref()?;
    let (since, runs) = schedule.missed_since.zip(schedule.missed)?;
    let count = human::count(usize::try_from(runs).unwrap_or(usize::MAX), "run");
    let text = format!("{slot} overdue since {}: {count} without a backup", human::instant(since));
    Some(Concern { health: health(runs), text })
}

/// It has run for longer than the interval: the next run was not started.
fn endless(slot: Slot, view: &RunHistoryView, now: DateTime<Utc>) -> Option<Concern> {
    let (since, interval) = view.active_since.zip(view.schedule.as_ref()?.interval)?;
    (now - since > interval).then(|| Concern {
        health: Health::Warning,
        text: format!("{slot} has been running for {}", human::duration(now - since)),
    })
}

const fn health(times: u64) -> Health {
    if times >= SERIOUS { Health::Failed } else { Health::Warning }
}
