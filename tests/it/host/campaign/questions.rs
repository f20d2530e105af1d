//! Selects the claims of a history to check.

use chrono::{DateTime, TimeDelta, Utc};

use super::generate::Random;
use super::judge::{Judge, Question};

/// Every claim about a marker, a backup or the end of a window.
pub(super) fn all(judge: &Judge<'_, '_>) -> Vec<Question> {
    let mut questions = vec![Question::Plain, Question::Metrics];
    for at in times_of_markers(judge) {
        questions.extend([true, false].map(|scans| Question::Command { at, scans }));
    }
    questions.extend(of_repos(judge, None));
    questions.extend(judge.claims.repos.iter().map(|of_repo| Question::Test { repo: of_repo.key, at: None }));
    questions
}

/// A sample for about so many restores, in random order, with the ends of windows first.
pub(super) fn sample(judge: &Judge<'_, '_>, random: &mut Random, restores: u64) -> Vec<Question> {
    let half = usize::try_from(restores / 2).unwrap() + 1;
    let ends: Vec<_> = judge.claims.repos.iter().filter_map(|repo| Some(repo.window?.latest)).collect();
    let is_end = |question: &Question| matches!(question, Question::Window { at, .. } if ends.contains(at));
    let (mut first, mut rest): (Vec<_>, Vec<_>) = of_repos(judge, Some(random)).into_iter().partition(is_end);
    first.push(Question::Plain);
    let place = usize::try_from(random.below(judge.claims.repos.len() as u64)).unwrap();
    if let Some(of_repo) = judge.claims.repos.get(place) {
        let window = of_repo.window.filter(|window| window.is_verified && random.chance(50));
        let start = window.and_then(|window| Some((window.continuous_start?, window.latest)));
        let at = start.map(|(start, latest)| between(random, start + TimeDelta::milliseconds(1), latest));
        first.push(Question::Test { repo: of_repo.key, at });
    }
    // An exporter takes as long as a few restores.
    first.extend((random.below(4) == 0).then_some(Question::Metrics));
    random.shuffle(&mut first);
    random.shuffle(&mut rest);
    rest.truncate(half);
    let mut times = times_of_markers(judge);
    if let Some(from) = judge.world.journal.reigns.first().map(|reign| reign.from) {
        let now = Utc::now();
        times.extend((0..3).map(|_| between(random, from, now)));
    }
    // The ends of what a branch was are where claims go wrong.
    for reign in &judge.world.journal.reigns {
        times.extend(reign.to.map(|to| to - TimeDelta::milliseconds(1)));
    }
    random.shuffle(&mut times);
    times.truncate(half);
    rest.extend(times.first().map(|at| Question::Command { at: *at, scans: false }));
    rest.extend(times.into_iter().map(|at| Question::Command { at, scans: true }));
    random.shuffle(&mut rest);
    first.extend(rest);
    first.retain(|question| is_clear(judge, question));
    first
}

/// Claims about windows and backups; about random times in them, too, where there is a source of those.
fn of_repos(judge: &Judge<'_, '_>, mut random: Option<&mut Random>) -> Vec<Question> {
    let mut questions = Vec::new();
    for of_repo in &judge.claims.repos {
        let repo = of_repo.key;
        let verified = of_repo.window.filter(|window| window.is_verified);
        if let Some((window, start)) = verified.and_then(|window| Some((window, window.continuous_start?))) {
            let mut times = vec![window.latest, start + TimeDelta::seconds(1)];
            if let Some(random) = &mut random {
                times.push(between(random, start, window.latest));
                times.push(start + TimeDelta::milliseconds(1));
            }
            times.retain(|at| (start..=window.latest).contains(at) && *at > start);
            questions.extend(times.into_iter().map(|at| Question::Window { repo, at }));
        }
        let Some(reach) = &of_repo.reach else { continue };
        for backup in &of_repo.backups {
            let label = &backup.label;
            let end = reach.get(label);
            questions.push(Question::Backup { repo, label: label.clone(), is_restorable: end.is_some() });
            // Nothing more is claimed of a backup that WAL is not known to lead on from.
            if let Some(end) = end.filter(|end| **end > backup.stop && !backup.is_offline) {
                let mut times = vec![*end];
                if let Some(random) = &mut random {
                    times.push(between(random, backup.stop + TimeDelta::seconds(1), *end));
                }
                questions.extend(times.into_iter().map(|at| Question::Reach {
                    repo,
                    label: label.clone(),
                    at,
                }));
            }
        }
    }
    questions
}

/// After each commit of the database.
fn times_of_markers(judge: &Judge<'_, '_>) -> Vec<DateTime<Utc>> {
    let journal = &judge.world.journal;
    let of = |branch: usize| journal.branches[branch].markers.iter().map(|marker| marker.at);
    journal.reigns.iter().flat_map(|reign| of(reign.branch)).collect()
}

fn between(random: &mut Random, from: DateTime<Utc>, to: DateTime<Utc>) -> DateTime<Utc> {
    let microseconds = (to - from).num_microseconds().unwrap_or(0).max(0);
    from + TimeDelta::microseconds(i64::try_from(random.below(microseconds.unsigned_abs())).unwrap())
}

/// What the state at its time is can be told.
fn is_clear(judge: &Judge<'_, '_>, question: &Question) -> bool {
    match question {
        Question::Command { at, .. } | Question::Window { at, .. } | Question::Test { at: Some(at), .. } => {
            !judge.world.journal.is_unclear(*at) && !judge.world.journal.live(*at).is_empty()
        }
        // A backup leads along one branch, and so to no time at which another one was live.
        Question::Reach { at, .. } => {
            !judge.world.journal.is_unclear(*at) && judge.world.journal.live(*at) == [judge.world.branch]
        }
        Question::Backup { .. } | Question::Plain | Question::Test { at: None, .. } | Question::Metrics => {
            true
        }
    }
}
