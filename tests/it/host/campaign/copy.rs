//! Restores copies of the database, independently of our program.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;

use crate::support::lab::STANZA;
use crate::support::process::{call, output};

use super::claims::{COPY, DIRECTORY};
use super::world::{World, content, said, why};

/// What a restore came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The markers that the copy has.
    Restored(Vec<u32>),
    /// All WAL was replayed, and no commit lies behind the target. PostgreSQL refuses to start then.
    EndedBefore,
    /// It failed otherwise: the end of what was printed.
    Failed(String),
}

/// Restores copies, and remembers what came of it.
pub(super) struct Copies<'w, 'a> {
    world: &'w World<'a>,
    done: RefCell<BTreeMap<String, Outcome>>,
}

/// What to restore with pgBackRest itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) repo: Option<u32>,
    pub(super) label: Option<String>,
    pub(super) timeline: Option<u32>,
    /// `--type` with its options; to the end without.
    pub(super) until: Option<String>,
}

impl<'w, 'a> Copies<'w, 'a> {
    pub(super) fn new(world: &'w World<'a>) -> Self {
        Self { world, done: RefCell::default() }
    }

    /// How many copies were restored.
    pub(super) fn count(&self) -> u64 {
        self.done.borrow().len() as u64
    }

    /// Runs a command that restores to [`COPY`], and starts PostgreSQL there.
    pub(super) fn run(&self, command: &str) -> Outcome {
        if let Some(outcome) = self.done.borrow().get(command) {
            return outcome.clone();
        }
        let outcome = self.restore(command);
        self.done.borrow_mut().insert(command.to_owned(), outcome.clone());
        outcome
    }

    fn restore(&self, command: &str) -> Outcome {
        let site = self.world.site;
        let directory = site.create_directory(&format!("copy{}", self.count()));
        let data = directory.join("data");
        let command = command.replace(DIRECTORY, &directory.display().to_string());
        let command = command.replace(COPY, &data.display().to_string());
        let made = output(call(site.account.as_ref(), "sh").env_clear().args(["-c", &command]));
        let outcome = if made.status.success() {
            let mut copy = self.world.postgres.of_copy(&directory);
            match copy.recover() {
                Ok(()) => Outcome::Restored(content(&copy)),
                Err(log) if log.contains("recovery ended before configured recovery target was reached") => {
                    Outcome::EndedBefore
                }
                Err(log) => Outcome::Failed(why(&log)),
            }
        } else {
            Outcome::Failed(said(&made))
        };
        fs::remove_dir_all(&directory).unwrap();
        outcome
    }

    /// The command for what is wanted.
    pub(super) fn command(&self, wanted: &Wanted) -> String {
        let site = self.world.site;
        let (program, config) = (site.pgbackrest.program.display(), self.world.config_file());
        let mut command = format!("{program} --config={} --stanza={STANZA}", config.display());
        let options = [
            wanted.repo.map(|repo| format!("--repo={repo}")),
            wanted.label.as_ref().map(|label| format!("--set={label}")),
            wanted.until.clone(),
            wanted.timeline.map(|timeline| format!("--target-timeline={timeline}")),
        ];
        for option in options.into_iter().flatten() {
            command = format!("{command} {option}");
        }
        format!("{command} --pg1-path={COPY} --archive-mode=off restore")
    }
}

/// The same restore without its target: to the end of what is archived.
pub(super) fn to_the_end(command: &str) -> String {
    // Only the time in a target has a space, between quotes.
    let (before, rest) = command.split_once("'--target=").unwrap_or((command, ""));
    let after = rest.split_once('\'').map_or(rest, |(_, after)| after);
    let words = before.split_whitespace().chain(after.split_whitespace());
    let is_of_target = |word: &&str| word.starts_with("--type=") || word.starts_with("--target-action=");
    words.filter(|word| !is_of_target(word)).collect::<Vec<_>>().join(" ")
}

/// The label of the backup that a command begins with.
pub(super) fn label_of(command: &str) -> Option<&str> {
    command.split_whitespace().find_map(|word| word.strip_prefix("--set="))
}

/// The repository that a command restores from.
pub(super) fn repo_of(command: &str) -> Option<u32> {
    command.split_whitespace().find_map(|word| word.strip_prefix("--repo=")?.parse().ok())
}

#[test]
fn a_command_loses_its_target() {
    let command = "pgbackrest --repo=2 --set=A --type=time '--target=2026-01-01 00:00:00+00' --target-timeline=2 \
                   --target-action=promote restore --pg1-path=COPY";
    let expected = "pgbackrest --repo=2 --set=A --target-timeline=2 restore --pg1-path=COPY";
    assert_eq!(to_the_end(command), expected);
    assert_eq!(to_the_end(expected), expected);
    assert_eq!((label_of(command), repo_of(command)), (Some("A"), Some(2)));
}
