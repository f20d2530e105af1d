//! Restore tests as claims: what passed must have the state at its target, and what failed must fail without our program, too.

use std::fs;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::support::exporter::our_program;
use crate::support::lab::STANZA;
use crate::support::process::{call, output};

use super::claims::{Advice, advice};
use super::copy::{Outcome, Wanted};
use super::journal::Likeness;
use super::judge::Judge;
use super::report::Grade;
use super::turns::target;

/// A restore test, and the markers that its copy had.
struct Tested {
    record: Value,
    found: Vec<u32>,
}

impl Judge<'_, '_> {
    /// Tests a repository to a time, or to the end of its WAL.
    pub(super) fn tested(&self, repo: u32, at: Option<DateTime<Utc>>) -> Grade {
        let Tested { record, found } = self.test(repo, at);
        let (outcome, class) = (text(&record, "/outcome"), text(&record, "/reason/class"));
        let wrong = |what: &str| {
            let state = self.told_state(at.unwrap_or_else(Utc::now));
            Grade::Defect(format!("{what}: {outcome} {class} with {found:?}\n{record:#}\n{state}"))
        };
        match outcome {
            "passed" => self.passed(repo, at, &record, &found).unwrap_or_else(|| wrong("a test passed")),
            "failed" if self.works_without(repo, at, text(&record, "/backup/label")) => {
                wrong("a test failed, though this can be restored")
            }
            "failed" => Grade::Right("a test failed, as a restore does"),
            "inconclusive" if class == "unreachable_target" => match at.map(|at| self.advised(repo, at)) {
                Some(Advice::Command { is_proven: true, is_ambiguous: false, .. }) => {
                    wrong("a proven target is called unreachable")
                }
                _ => Grade::Unproven,
            },
            _ => wrong("a test ended"),
        }
    }

    /// None if that is wrong.
    fn passed(&self, repo: u32, at: Option<DateTime<Utc>>, record: &Value, found: &[u32]) -> Option<Grade> {
        let time = at.unwrap_or_else(Utc::now);
        let remark = text(record, "/checks/0/message");
        match self.likeness(time, Some(repo), found) {
            Likeness::Same | Likeness::Unarchived => Some(Grade::Right("a test has the state at its target")),
            Likeness::Earlier if remark.contains("expire removed") => {
                Some(Grade::Right("a test says that WAL has expired"))
            }
            Likeness::Earlier if at.is_some() && self.is_at_the_end(time, Some(repo), found) => {
                Some(Grade::Right("a test ends before, in the same second"))
            }
            _ if at.is_none() && !self.leads_to_the_live_branch(repo, text(record, "/backup/label")) => {
                Some(Grade::Right("a test to the end of a branch that was left"))
            }
            Likeness::Earlier | Likeness::Other => None,
        }
    }

    fn leads_to_the_live_branch(&self, repo: u32, label: &str) -> bool {
        let mut backups = self.world.journal.backups_towards(self.world.branch);
        backups.any(|taken| taken.repo == repo && taken.label == label)
    }

    /// Whether the state at the target can be restored without our program.
    fn works_without(&self, repo: u32, at: Option<DateTime<Utc>>, label: &str) -> bool {
        if let Some(at) = at {
            return match self.advised(repo, at) {
                Advice::Command { line, .. } => {
                    matches!(self.printed(at, &line, true, true), Grade::Right(_))
                }
                Advice::Unreachable(_) => false,
            };
        }
        let line = self.copies.command(&Wanted {
            repo: Some(repo),
            label: (!label.is_empty()).then(|| label.to_owned()),
            timeline: Some(self.world.journal.branches[self.world.branch].timeline),
            until: None,
        });
        let Outcome::Restored(found) = self.copies.run(&line) else { return false };
        matches!(self.likeness(Utc::now(), Some(repo), &found), Likeness::Same | Likeness::Unarchived)
    }

    fn advised(&self, repo: u32, at: DateTime<Utc>) -> Advice {
        advice(self.world, at, true, Some(repo))
    }

    fn test(&self, repo: u32, at: Option<DateTime<Utc>>) -> Tested {
        let site = self.world.site;
        let seen = site.create_directory("seen").join("lines");
        let query = "select id from public.lines order by id";
        let psql = site.programs().join("psql");
        let look = format!("{} -XAtc '{query}' > {}\n", psql.display(), seen.display());
        let hook = site.script("look", &look);
        let _ = fs::remove_file(&seen);
        let path = |name: &str| site.path(name).display().to_string();
        site.create_directory("state");
        let told = output(call(site.account.as_ref(), our_program(site)).arg("restore-test").args([
            "--output=json".to_owned(),
            "--space-reserve=0".to_owned(),
            format!("--stanza={STANZA}"),
            format!("--repo={repo}"),
            format!("--target={}", at.map_or_else(|| "latest".to_owned(), target)),
            format!("--hook={}", hook.display()),
            format!("--directory={}", path("tested")),
            format!("--state-directory={}", path("state")),
            format!("--pg-bin-dir={}", site.programs().display()),
            format!("--backrest.config={}", self.world.config_file().display()),
            format!("--backrest.binary={}", site.pgbackrest.program.display()),
        ]));
        let record = serde_json::from_slice(&told.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&told.stderr)));
        let lines = fs::read_to_string(&seen).unwrap_or_default();
        Tested { record, found: lines.lines().map(|line| line.parse().unwrap()).collect() }
    }
}

fn text<'r>(record: &'r Value, pointer: &str) -> &'r str {
    record.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
