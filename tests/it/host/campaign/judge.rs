//! Checks each claim with a restore.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};

use super::claims::{Advice, Claims, OfMetrics, advice};
use super::copy::{Copies, Outcome, Wanted, label_of, repo_of, to_the_end};
use super::history::Kind;
use super::journal::{Likeness, Taken};
use super::report::{Grade, Report};
use super::rules;
use super::turns::target;
use super::world::World;

/// How many backups are tried for a time that is called unreachable.
const TRIES: usize = 2;

/// A claim to be judged.
#[derive(Debug, Clone)]
pub(super) enum Question {
    /// The command that leads to a time, with or without a scan.
    Command { at: DateTime<Utc>, scans: bool },
    /// A time in the window of a repository.
    Window { repo: u32, at: DateTime<Utc> },
    /// A time up to which a backup leads.
    Reach { repo: u32, label: String, at: DateTime<Utc> },
    /// A backup that can be restored, or cannot.
    Backup { repo: u32, label: String, is_restorable: bool },
    /// What a restore without options leads to.
    Plain,
    /// A restore test of a repository, to the end of its WAL or to a time.
    Test { repo: u32, at: Option<DateTime<Utc>> },
    /// The same claims as metrics.
    Metrics,
}

pub(super) struct Judge<'w, 'a> {
    pub(super) world: &'w World<'a>,
    pub(super) copies: Copies<'w, 'a>,
    /// With a scan.
    pub(super) claims: Claims,
}

impl<'w, 'a> Judge<'w, 'a> {
    pub(super) fn new(world: &'w World<'a>) -> Self {
        Self { world, copies: Copies::new(world), claims: Claims::ask(world, true) }
    }

    /// Answers a question and notes the grade.
    pub(super) fn answer(&self, question: &Question, report: &mut Report) {
        let (kind, grade) = match question {
            Question::Command { at, scans } => self.command(*at, *scans),
            Question::Window { repo, at } => ("time in a window", self.in_window(*repo, *at)),
            Question::Reach { repo, label, at } => ("reach of a backup", self.reach(*repo, label, *at)),
            Question::Backup { repo, label, is_restorable: true } => {
                ("restorable backup", self.restorable(*repo, label))
            }
            Question::Backup { repo, label, is_restorable: false } => {
                ("unrestorable backup", self.unrestorable(*repo, label))
            }
            Question::Plain => ("health", self.plain()),
            Question::Test { repo, at } => ("restore test", self.tested(*repo, *at)),
            Question::Metrics => ("metrics", self.metrics()),
        };
        let grade = match grade {
            Grade::Defect(_) if self.world.has_used_a_number_twice() => {
                Grade::Unknowable("a timeline has the number of another one, whose history file was lost")
            }
            Grade::Defect(_) if self.world.a_copy_archived_last() => {
                Grade::Unknowable("a copy was the last to archive, like a promoted standby")
            }
            grade => grade,
        };
        report.note(kind, grade);
    }

    fn command(&self, at: DateTime<Utc>, scans: bool) -> (&'static str, Grade) {
        match advice(self.world, at, scans, None) {
            Advice::Command { is_ambiguous: true, .. } => ("ambiguous time", Grade::Unproven),
            Advice::Command { line, is_proven, is_hedged, .. } => {
                let kind = if is_proven { "proven command" } else { "command without proof" };
                (kind, self.printed(at, &line, is_proven, is_hedged))
            }
            Advice::Unreachable(why) if scans => ("unreachable time", self.unreachable(at, &why)),
            Advice::Unreachable(why) => ("unreachable time without proof", self.unreachable(at, &why)),
        }
    }

    fn in_window(&self, repo: u32, at: DateTime<Utc>) -> Grade {
        match advice(self.world, at, true, Some(repo)) {
            Advice::Command { is_ambiguous: true, .. } => Grade::Unproven,
            Advice::Command { line, is_proven, is_hedged, .. } => {
                self.printed(at, &line, is_proven, is_hedged)
            }
            Advice::Unreachable(why) => {
                Grade::Defect(format!("{} is in the window of repo{repo}, but {why}", target(at)))
            }
        }
    }

    pub(super) fn reach(&self, repo: u32, label: &str, at: DateTime<Utc>) -> Grade {
        let of_repo = self.claims.repos.iter().find(|one| one.key == repo);
        let line = self.copies.command(&Wanted {
            repo: Some(repo),
            label: Some(label.to_owned()),
            timeline: of_repo.and_then(|of_repo| of_repo.timeline),
            until: Some(until(at)),
        });
        let is_proven = !of_repo.is_some_and(|of_repo| of_repo.damaged.contains(label));
        self.printed(at, &line, is_proven, true)
    }

    /// Runs a command that should lead to a time.
    pub(super) fn printed(&self, at: DateTime<Utc>, line: &str, is_proven: bool, is_hedged: bool) -> Grade {
        let repo = repo_of(line);
        let outcome = self.copies.run(line);
        let wrong = |what: String| {
            if matches!(outcome, Outcome::Failed(_)) && self.is_emptied(repo, label_of(line)) {
                return Grade::Unknowable("the backup's directory was emptied");
            }
            if !is_proven && (self.world.is_damaged || self.world.has_expired_wal) {
                return Grade::Unproven;
            }
            let proof = if is_proven { "proven" } else { "not proven" };
            let hedge = if is_hedged { ", WAL may end before" } else { "" };
            let state = self.told_state(at);
            Grade::Defect(format!("{} ({proof}{hedge}): {line}\n{what}\n{state}", target(at)))
        };
        match &outcome {
            Outcome::Restored(found) => match self.likeness(at, repo, found) {
                Likeness::Same => Grade::Right("the state at that time"),
                Likeness::Unarchived => Grade::Right("all of that time that ever was archived"),
                Likeness::Earlier => wrong(format!("an earlier state was restored: {found:?}")),
                Likeness::Other => wrong(format!("another branch was restored: {found:?}")),
            },
            Outcome::EndedBefore => {
                let end = self.copies.run(&to_the_end(line));
                let Outcome::Restored(found) = &end else {
                    return wrong(format!("it ended before the target, and without one: {end:?}"));
                };
                let is_later = |id: &u32| self.world.journal.marker(*id).1.before > at;
                match self.likeness(at, repo, found) {
                    _ if found.iter().any(is_later) => {
                        wrong(format!("it was refused, though a later commit is there: {found:?}"))
                    }
                    Likeness::Same | Likeness::Unarchived => Grade::Right("later than the last commit"),
                    Likeness::Earlier if is_hedged && self.is_at_the_end(at, repo, found) => {
                        Grade::Right("WAL ends before, in the same second")
                    }
                    Likeness::Earlier => wrong(format!("WAL ends before, at {found:?}")),
                    Likeness::Other => wrong(format!("another branch, which ends before: {found:?}")),
                }
            }
            Outcome::Failed(why) => wrong(why.clone()),
        }
    }

    /// How a copy compares with the branch that was live, or with either where two are as good.
    pub(super) fn likeness(&self, at: DateTime<Utc>, repo: Option<u32>, found: &[u32]) -> Likeness {
        let journal = &self.world.journal;
        let likeness = |branch| journal.compare(branch, at, repo, found);
        let all: Vec<Likeness> = journal.live(at).into_iter().map(likeness).collect();
        let order = [Likeness::Same, Likeness::Unarchived, Likeness::Earlier];
        order.into_iter().find(|one| all.contains(one)).unwrap_or(Likeness::Other)
    }

    /// A copy ends where the archive does, as far as whole seconds tell: what is missing came to the archive after the last
    /// segment before it, and the time is not behind the second in which that one came, or the last backup before it ended.
    pub(super) fn is_at_the_end(&self, at: DateTime<Utc>, repo: Option<u32>, found: &[u32]) -> bool {
        let (world, journal) = (self.world, &self.world.journal);
        let ends_there = |branch: usize| {
            let state = journal.state(branch, at);
            let missing = state.get(found.len()).map(|id| journal.marker(*id).1);
            missing.is_some_and(|missing| {
                let archived = world.archived_before(repo.unwrap_or(1), branch, missing.end);
                let backups = journal.backups_towards(branch).filter(|taken| taken.end <= missing.end);
                let last = archived.into_iter().chain(backups.map(|taken| taken.to)).max();
                last.is_some_and(|last| at.timestamp() <= last.timestamp())
            })
        };
        journal.live(at).into_iter().any(ends_there)
    }

    pub(super) fn told_state(&self, at: DateTime<Utc>) -> String {
        let journal = &self.world.journal;
        let told = |branch: usize| {
            let timeline = journal.branches[branch].timeline;
            format!("live then: timeline {timeline} with {:?}", journal.state(branch, at))
        };
        journal.live(at).into_iter().map(told).collect::<Vec<_>>().join("\n")
    }

    /// Of the live branch no segment is there from the one on that holds the next commit.
    fn has_lost_its_end(&self, found: &[u32]) -> bool {
        let (world, journal) = (self.world, &self.world.journal);
        let state = journal.state(world.branch, Utc::now());
        let Some(next) = state.get(found.len()).map(|id| journal.marker(*id).1) else { return false };
        let number = next.end.saturating_sub(1) / journal.segment_size;
        let first = journal.segment_name(journal.branches[world.branch].timeline, number);
        let is_later = |path: &PathBuf| {
            let name = &path.file_name().unwrap().to_str().unwrap()[..24];
            name[..8] == first[..8] && name >= first.as_str()
        };
        !(1..=world.setup.repos).any(|repo| world.segments(repo).iter().any(is_later))
    }

    fn is_emptied(&self, repo: Option<u32>, label: Option<&str>) -> bool {
        let mut taken = self.world.journal.backups.iter();
        taken.any(|taken| Some(taken.repo) == repo && Some(taken.label.as_str()) == label && taken.is_emptied)
    }

    /// Tries to reach a time that is called unreachable.
    pub(super) fn unreachable(&self, at: DateTime<Utc>, why: &str) -> Grade {
        let journal = &self.world.journal;
        for branch in journal.live(at) {
            // Without a later commit PostgreSQL refuses any target.
            if journal.next_archived(branch, at, None).is_none() {
                continue;
            }
            let mut backups: Vec<&Taken> = journal.backups_towards(branch).collect();
            backups.retain(|taken| taken.to < at);
            backups.sort_by_key(|taken| std::cmp::Reverse(taken.to));
            for taken in backups.into_iter().take(TRIES) {
                let line = self.copies.command(&Wanted {
                    repo: Some(taken.repo),
                    label: Some(taken.label.clone()),
                    timeline: Some(journal.branches[branch].timeline),
                    until: Some(until(at)),
                });
                let outcome = self.copies.run(&line);
                if outcome == Outcome::Restored(journal.state(branch, at)) {
                    let text = format!("{why}\nbut this leads there: {line}\n{}", self.told_state(at));
                    return rules::of_time(taken, why).map_or(Grade::Defect(text), Grade::Conservative);
                }
            }
        }
        Grade::Right("no backup leads there")
    }

    fn restorable(&self, repo: u32, label: &str) -> Grade {
        let taken = self.taken(repo, label);
        let (line, outcome) = self.alone(taken);
        match &outcome {
            Outcome::Restored(found) if self.is_state_of(taken, found) => Grade::Right("it was restored"),
            Outcome::Failed(_) if taken.is_emptied => Grade::Unknowable("the backup's directory was emptied"),
            _ => Grade::Defect(format!("{line}\n{outcome:?}")),
        }
    }

    fn unrestorable(&self, repo: u32, label: &str) -> Grade {
        let taken = self.taken(repo, label);
        let (line, outcome) = self.alone(taken);
        match &outcome {
            Outcome::Restored(found) if self.is_state_of(taken, found) => {
                let text = format!("called unrestorable, but this restores it: {line}");
                rules::of_backup(taken).map_or(Grade::Defect(text), Grade::Conservative)
            }
            _ => Grade::Right("it was not restored"),
        }
    }

    fn taken(&self, repo: u32, label: &str) -> &Taken {
        let mut all = self.world.journal.backups.iter();
        let found = all.find(|taken| taken.repo == repo && taken.label == label);
        found.unwrap_or_else(|| panic!("no backup {label} was made in repo{repo}"))
    }

    /// Restores a backup with nothing but the WAL that it needs.
    fn alone(&self, taken: &Taken) -> (String, Outcome) {
        let timeline = self.world.journal.branches[taken.branch].timeline;
        // pgBackRest takes no --target-timeline with this type. PostgreSQL would stop at a file of a wrong size ahead.
        let immediate = format!(
            "--type=immediate --target-action=promote --recovery-option=recovery_target_timeline={timeline} \
             --recovery-option=recovery_prefetch=off"
        );
        let line = self.copies.command(&Wanted {
            repo: Some(taken.repo),
            label: Some(taken.label.clone()),
            timeline: None,
            until: (taken.kind != Kind::Offline).then_some(immediate),
        });
        let outcome = self.copies.run(&line);
        (line, outcome)
    }

    /// A copy is as its branch was while the backup was made.
    fn is_state_of(&self, taken: &Taken, found: &[u32]) -> bool {
        let state = |at| self.world.journal.state(taken.branch, at);
        found.starts_with(&state(taken.from)) && state(taken.to).starts_with(found)
    }

    /// Where nothing is told to be wrong, a restore without options leads to the newest state of the live branch.
    fn plain(&self) -> Grade {
        if self.claims.health != "ok" {
            return Grade::Right("something is told to be wrong");
        }
        let line = self.copies.command(&Wanted::default());
        let now = Utc::now();
        let wrong = |what: String| {
            let state = self.told_state(now);
            Grade::Defect(format!("health is ok, but a plain restore fails: {line}\n{what}\n{state}"))
        };
        match self.copies.run(&line) {
            Outcome::Restored(found) => {
                match self.world.journal.compare(self.world.branch, now, None, &found) {
                    Likeness::Same | Likeness::Unarchived => Grade::Right("a plain restore is up to date"),
                    Likeness::Earlier if self.has_lost_its_end(&found) => {
                        Grade::Unknowable("the newest segments were lost")
                    }
                    _ => wrong(format!("it restored {found:?}")),
                }
            }
            outcome => wrong(format!("{outcome:?}")),
        }
    }

    /// The metrics say what `info` says.
    fn metrics(&self) -> Grade {
        let expected: Vec<OfMetrics> = self.claims.repos.iter().filter_map(OfMetrics::of).collect();
        let told = OfMetrics::ask(self.world, &expected);
        if told == expected {
            return Grade::Right("as info says");
        }
        Grade::Defect(format!("info: {expected:?}\nmetrics: {told:?}"))
    }

    /// What needs no restore to be wrong.
    pub(super) fn check_sanity(&self, report: &mut Report) {
        let limit = Utc::now() + TimeDelta::seconds(1);
        for repo in &self.claims.repos {
            let Some(window) = repo.window else { continue };
            let mut grade = |what: &str, is_right: bool| {
                let text = || format!("repo{}: {what}: {window:?}, reach {:?}", repo.key, repo.reach);
                let grade = if is_right { Grade::Right("plausible") } else { Grade::Defect(text()) };
                report.note("times", grade);
            };
            let ends = repo.reach.iter().flatten().map(|(_, end)| *end).chain([window.latest]);
            grade("a time in the future", ends.max() <= Some(limit));
            let start = window.continuous_start.unwrap_or(window.earliest);
            grade("a window that ends before it begins", window.earliest <= start && start <= window.latest);
            let Some(reach) = repo.reach.as_ref().filter(|_| window.is_verified) else { continue };
            let journal = &self.world.journal;
            let live: Vec<&Taken> = journal.backups_towards(self.world.branch).collect();
            let is_live = |label: &str| live.iter().any(|one| one.repo == repo.key && one.label == label);
            // It is not known which WAL leads on from an offline backup, so it extends no window.
            let restorable = repo.backups.iter().filter(|one| !one.is_offline);
            let restorable = restorable.filter(|one| reach.contains_key(&one.label) && is_live(&one.label));
            let newest = restorable.map(|one| one.stop).max();
            grade("a window that ends before a backup of the live branch", newest <= Some(window.latest));
        }
    }
}

/// Options of a restore to a time.
fn until(at: DateTime<Utc>) -> String {
    format!("--type=time '--target={}' --target-action=promote", target(at))
}
