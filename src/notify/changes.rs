//! What is news to a webhook: a state that differs from the one that was told last, and has lasted.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::check::facts::Place;
use crate::check::report::{Problem, Severity};

/// A service and a stanza.
pub(super) type Subject = (&'static str, Place);

/// The state of one subject, and why.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) service: &'static str,
    pub(super) place: Place,
    pub(super) severity: Severity,
    /// Worst first.
    pub(super) problems: Vec<Problem>,
}

/// A state that is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) subject: Subject,
    /// What was told last; `None` if nothing was.
    pub(super) from: Option<Severity>,
    /// `None` if the subject is no longer known.
    pub(super) to: Option<Severity>,
    /// When the state first differed from what was told.
    pub(super) since: DateTime<Utc>,
    pub(super) problems: Vec<Problem>,
}

/// What is news.
#[derive(Debug, Default, PartialEq)]
pub(super) struct News {
    pub(super) changes: Vec<Change>,
    /// How many changes wait because there is no room.
    pub(super) waiting: usize,
}

/// What a webhook was told.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<Subject, Known>);

#[derive(Debug, Default)]
struct Known {
    told: Option<Severity>,
    /// Since when the state has differed from `told`.
    differs: Option<(Instant, DateTime<Utc>)>,
}

impl Told {
    /// These problems, by a process before this one.
    pub(super) fn after(problems: &BTreeMap<Subject, Severity>) -> Self {
        let known = |state: &Severity| Known { told: Some(*state), differs: None };
        Self(problems.iter().map(|(subject, state)| (subject.clone(), known(state))).collect())
    }

    /// Forgets subjects.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&Subject) -> bool) {
        self.0.retain(|subject, _| is_kept(subject));
    }

    /// Compares the states with what was told, and returns those that have differed for at least `wait`. They count as told. If there
    /// is no `room` for all, those that have differed for longest come first, and the others stay untold until there is.
    ///
    /// A subject that is new and ok is not news, and neither is one that vanishes while it is ok. Where stanzas are `unlisted`, those
    /// that are not there may still exist.
    pub(super) fn update(
        &mut self,
        verdicts: Vec<Verdict>,
        unlisted: &[Place],
        (wait, room): (Duration, usize),
        (now, at): (Instant, DateTime<Utc>),
    ) -> News {
        let mut states: BTreeMap<Subject, Verdict> =
            verdicts.into_iter().map(|verdict| ((verdict.service, verdict.place.clone()), verdict)).collect();
        for subject in states.keys() {
            if !self.0.contains_key(subject) {
                self.0.insert(subject.clone(), Known::default());
            }
        }
        let mut due = Vec::new();
        self.0.retain(|subject, known| {
            let verdict = states.remove(subject);
            let (place, is_there) = (&subject.1, verdict.is_some());
            let state = match &verdict {
                Some(verdict) => Some(verdict.severity),
                // A problem of all stanzas has ended.
                None if place.is_of_all_stanzas() => Some(Severity::Ok),
                None if unlisted.iter().any(|at| at.concerns(place)) => {
                    known.differs = None;
                    return true;
                }
                None => None,
            };
            if state.unwrap_or(Severity::Ok) == known.told.unwrap_or(Severity::Ok) {
                known.differs = None;
                known.told = state;
                return is_there;
            }
            let (since, since_at) = *known.differs.get_or_insert((now, at));
            if now.saturating_duration_since(since) < wait {
                return true;
            }
            let problems = verdict.map(|verdict| verdict.problems).unwrap_or_default();
            let change =
                Change { subject: subject.clone(), from: known.told, to: state, since: since_at, problems };
            due.push((since, is_there, change));
            true
        });
        due.sort_by_key(|(since, ..)| *since);
        let waiting = due.split_off(room.min(due.len())).len();
        for (_, is_there, change) in &due {
            if *is_there {
                self.0.insert(change.subject.clone(), Known { told: change.to, differs: None });
            } else {
                self.0.remove(&change.subject);
            }
        }
        News { changes: due.into_iter().map(|(.., change)| change).collect(), waiting }
    }
}

#[cfg(test)]
mod tests {
    use Severity::{Critical, Ok, Unknown, Warning};

    use super::*;

    const WAIT: Duration = Duration::from_mins(5);

    type Changes = Vec<(Option<Severity>, Option<Severity>, i64)>;

    /// Tells the states of one stanza, a minute apart, and shows what is news, with the minute since which it differs.
    fn news(wait: Duration, states: &[Option<Severity>]) -> Changes {
        news_of(&mut Told::default(), &Place::stanza("demo"), &[], wait, states)
    }

    fn news_of(
        told: &mut Told,
        place: &Place,
        unlisted: &[Place],
        wait: Duration,
        states: &[Option<Severity>],
    ) -> Changes {
        let (start, epoch) = (Instant::now(), DateTime::UNIX_EPOCH);
        let mut news = Vec::new();
        for (minute, state) in (0..).zip(states) {
            let verdicts = state.iter().map(|severity| Verdict {
                service: "backups",
                place: place.clone(),
                severity: *severity,
                problems: Vec::new(),
            });
            let passed = Duration::from_mins(minute);
            let times = (start + passed, epoch + passed);
            let found = told.update(verdicts.collect(), unlisted, (wait, usize::MAX), times);
            news.extend(
                found
                    .changes
                    .into_iter()
                    .map(|change| (change.from, change.to, change.since.timestamp() / 60)),
            );
        }
        news
    }

    #[test]
    fn a_state_is_told_once() {
        let states = [Ok, Ok, Critical, Critical, Warning, Warning, Ok, Ok].map(Some);
        assert_eq!(
            news(Duration::ZERO, &states),
            [(Some(Ok), Some(Critical), 2), (Some(Critical), Some(Warning), 4), (Some(Warning), Some(Ok), 6)]
        );
    }

    #[test]
    fn the_first_state_is_told_if_it_is_a_problem() {
        assert_eq!(news(Duration::ZERO, &[Some(Ok); 3]), []);
        assert_eq!(news(Duration::ZERO, &[Some(Unknown); 3]), [(None, Some(Unknown), 0)]);
        assert_eq!(news(WAIT, &[Some(Warning); 9]), [(None, Some(Warning), 0)]);
    }

    #[test]
    fn what_does_not_last_is_not_told() {
        let mut states = [Some(Ok); 20];
        states[3..7].fill(Some(Critical));
        states[9..12].fill(Some(Unknown));
        assert_eq!(news(WAIT, &states), []);
        assert_eq!(news(WAIT, &[Some(Unknown), Some(Unknown), Some(Ok), Some(Ok)]), []);
    }

    #[test]
    fn a_problem_that_becomes_another_one_has_lasted() {
        let mut states = [Some(Ok); 9];
        states[1..3].fill(Some(Unknown));
        states[3..9].fill(Some(Critical));
        assert_eq!(news(WAIT, &states), [(Some(Ok), Some(Critical), 1)]);
    }

    #[test]
    fn what_vanishes_with_a_problem_is_told() {
        assert_eq!(news(Duration::ZERO, &[Some(Ok), None, Some(Ok), None]), []);
        let told = news(Duration::ZERO, &[Some(Critical), None, None, Some(Ok), Some(Critical)]);
        assert_eq!(
            told,
            [(None, Some(Critical), 0), (Some(Critical), None, 1), (Some(Ok), Some(Critical), 4)]
        );
        assert_eq!(news(WAIT, &[Some(Critical), None, None]), []);
    }

    #[test]
    fn what_cannot_be_listed_has_not_vanished() {
        let (demo, all) = (Place::stanza("demo"), Place::stanza("all-stanzas"));
        let mut told = Told::default();
        let states = [Some(Critical), None, None];
        let first = news_of(&mut told, &demo, std::slice::from_ref(&all), Duration::ZERO, &states);
        assert_eq!(first, [(None, Some(Critical), 0)]);
        let later = news_of(&mut told, &demo, &[], Duration::ZERO, &[Some(Critical), Some(Ok)]);
        assert_eq!(later, [(Some(Critical), Some(Ok), 1)]);
        // That nothing can be listed is a problem of its own, which ends.
        let ended = news_of(&mut told, &all, &[], Duration::ZERO, &[Some(Unknown), None, None]);
        assert_eq!(ended, [(None, Some(Unknown), 0), (Some(Unknown), Some(Ok), 1)]);
    }

    /// Tells the states of stanzas at a minute with room for some, and shows the news and how many wait.
    fn told_with_room(
        told: &mut Told,
        start: Instant,
        (minute, room): (u64, usize),
        states: &[(&str, Severity)],
    ) -> (Vec<(String, Option<Severity>)>, usize) {
        let verdicts = states.iter().map(|(stanza, severity)| Verdict {
            service: "backups",
            place: Place::stanza(stanza),
            severity: *severity,
            problems: Vec::new(),
        });
        let passed = Duration::from_mins(minute);
        let times = (start + passed, DateTime::UNIX_EPOCH + passed);
        let news = told.update(verdicts.collect(), &[], (Duration::ZERO, room), times);
        let named = news.changes.into_iter().map(|change| (change.subject.1.to_string(), change.to));
        (named.collect(), news.waiting)
    }

    #[test]
    fn what_has_no_room_is_told_later_as_it_then_is() {
        let (mut told, start) = (Told::default(), Instant::now());
        let mut at = |minute, room, states: &[(&str, Severity)]| {
            told_with_room(&mut told, start, (minute, room), states)
        };
        let all = |states: [Severity; 3]| [("a", states[0]), ("b", states[1]), ("c", states[2])];
        assert_eq!(at(0, 0, &all([Ok, Ok, Critical])), (vec![], 1));
        assert_eq!(at(1, 0, &all([Critical, Critical, Critical])), (vec![], 3));
        // What has differed for longest comes first.
        assert_eq!(
            at(2, 1, &all([Critical, Critical, Critical])),
            (vec![("c".to_owned(), Some(Critical))], 2)
        );
        // One came and went, and another one has changed meanwhile.
        assert_eq!(at(3, 0, &all([Ok, Critical, Critical])), (vec![], 1));
        assert_eq!(at(4, 9, &all([Ok, Warning, Critical])), (vec![("b".to_owned(), Some(Warning))], 0));
        // What vanishes waits, too.
        assert_eq!(at(5, 0, &[("a", Ok)]), (vec![], 2));
        let gone = |stanza: &str| (stanza.to_owned(), None);
        assert_eq!(at(6, 9, &[("a", Ok)]), (vec![gone("b"), gone("c")], 0));
        assert_eq!(at(7, 9, &[("a", Ok)]), (vec![], 0));
    }

    #[test]
    fn what_is_forgotten_is_not_gone() {
        let (mut told, start) = (Told::default(), Instant::now());
        told_with_room(&mut told, start, (0, 9), &[("a", Critical), ("b", Critical)]);
        told.retain(|(_, place)| *place.stanza == *"a");
        assert_eq!(told_with_room(&mut told, start, (1, 9), &[("a", Critical)]), (vec![], 0));
    }

    #[test]
    fn what_was_told_before_a_restart_is_not_repeated_and_its_end_is_told() {
        let demo = Place::stanza("demo");
        let before = BTreeMap::from([(("backups", demo.clone()), Critical)]);
        let news = |states: &[Option<Severity>]| {
            news_of(&mut Told::after(&before), &demo, &[], Duration::ZERO, states)
        };
        assert_eq!(news(&[Some(Critical); 3]), []);
        assert_eq!(news(&[Some(Ok); 3]), [(Some(Critical), Some(Ok), 0)]);
        assert_eq!(news(&[None; 3]), [(Some(Critical), None, 0)]);
    }
}
