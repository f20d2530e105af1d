//! Creates missing stanzas, and checks for each repo that its stanza belongs to this PostgreSQL cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::validated::{RepoNumber, STANZA};
use crate::operator::action::Action;
use crate::pgbackrest::command::{self, Command};
use crate::pgbackrest::label::BackupType;
use crate::source::pod::{NoEnd, Place, RunInPod};

use super::judge::{self, CommandEnd, CommandResult, InRepo, RepoOutcome};
use super::{Attempt, DueBackup, Ensured, LATER, NO_STANZA, SOON, findings, waiting};

const INFO_TIMEOUT: Duration = Duration::from_secs(100);
const STANZA_TIMEOUT: Duration = Duration::from_mins(3);
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(20);

/// The context for ensuring stanzas.
pub(super) struct Repos<'a, Runner> {
    pub(super) attempt: &'a Attempt<'a, Runner>,
    pub(super) primary: Place<'a>,
    /// Why repos on volumes cannot be reached.
    pub(super) no_repo_host: Option<String>,
}

impl<Runner: RunInPod> Repos<'_, Runner> {
    /// Upgrades stanzas on request, and creates missing ones.
    pub(super) async fn ensure(&self, ensured: &mut Ensured) {
        let upgraded = self.upgrade(ensured).await;
        let created = self.create(ensured).await;
        let upgraded = match upgraded {
            // It stopped at a repo without a stanza, which has one now.
            Some(CommandEnd::Failed(_) | CommandEnd::Foreign(_)) if created == Some(CommandEnd::Done) => {
                let again = self.upgrade(ensured).await;
                if again == Some(CommandEnd::Done) {
                    self.create(ensured).await;
                }
                again
            }
            upgraded => upgraded,
        };
        match upgraded {
            None | Some(CommandEnd::Done) => {}
            Some(CommandEnd::Locked) => ensured.retry_after(SOON),
            Some(CommandEnd::Foreign(said) | CommandEnd::Failed(said)) => {
                ensured.find(findings::not_upgraded(&said));
                ensured.retry_after(LATER);
            }
        }
    }

    /// Runs `stanza-upgrade` once for each token.
    async fn upgrade(&self, ensured: &mut Ensured) -> Option<CommandEnd> {
        let asked = self.attempt.task.cluster.stanza_upgrade.as_ref();
        let token = asked.filter(|token| Some(*token) != ensured.record.stanza_upgrade.as_ref())?;
        let end = self.command(&command::stanza_upgrade(STANZA)).await.end;
        if end == CommandEnd::Done {
            ensured.record.stanza_upgrade = Some(token.clone());
            // Every repo must be checked again: it has no backup of the upgraded cluster yet.
            ensured.record.stanzas.clear();
            ensured
                .actions
                .push(Action::new("StanzaUpgraded", format!("Ran stanza-upgrade, as requested by {token}")));
        }
        Some(end)
    }

    /// Runs `stanza-create`, which also checks existing stanzas. `None`: it was not necessary or possible.
    async fn create(&self, ensured: &mut Ensured) -> Option<CommandEnd> {
        let task = self.attempt.task;
        let unknown: Vec<RepoNumber> =
            waiting(task.cluster, task.repo_hashes, &ensured.record).into_keys().collect();
        if unknown.is_empty() {
            return None;
        }
        let before = self.query(&unknown, ensured).await;
        if before.is_empty() {
            ensured.retry_after(SOON);
            return None;
        }
        // It processes all repos in order, and would stop at the first that is down.
        let is_down = |state: &InRepo| matches!(state, InRepo::Unreachable(_));
        let first_down = before.iter().find(|(_, state)| is_down(state)).map(|(repo, _)| *repo);
        let can_do = |repo: &RepoNumber| first_down.is_none_or(|down| *repo < down);
        let ran = before.keys().any(can_do);
        let result = if ran {
            self.command(&command::stanza_create(STANZA)).await
        } else {
            CommandResult {
                end: CommandEnd::Failed(String::new()),
                passed: Vec::new(),
                stopped_at: first_down,
            }
        };
        let made: Vec<RepoNumber> =
            result.passed.iter().filter(|repo| before.get(repo) == Some(&InRepo::Absent)).copied().collect();
        let mut after = before.clone();
        after.extend(self.query(&made, ensured).await);
        let ours = self.identity_if_needed(&after, &result, ensured).await;
        for repo in unknown {
            let outcome = judge::outcome(repo, &before, &after, &result, ours);
            self.note(repo, outcome, ensured);
        }
        ran.then_some(result.end)
    }

    fn note(&self, repo: RepoNumber, outcome: RepoOutcome, ensured: &mut Ensured) {
        let task = self.attempt.task;
        let on_volume = self.is_on_volume(repo);
        let (trouble, finding, again) = match outcome {
            RepoOutcome::Known { has_backup, system, is_new } => {
                let hash = task.repo_hashes.get(&repo).cloned().unwrap_or_default();
                if is_new {
                    ensured.actions.push(Action::new("StanzaCreated", format!("{repo} has its stanza")));
                }
                if !has_backup {
                    let system = system.map_or_else(String::new, |system| system.to_string());
                    let token = format!("first-full {hash} {system}");
                    ensured.due.push(DueBackup { repo, backup_type: BackupType::Full, token });
                }
                ensured.record.troubles.remove(&repo);
                ensured.record.stanzas.insert(repo, hash);
                return;
            }
            // The name of a new repo host may not be resolvable everywhere yet.
            RepoOutcome::Unreachable(_) if on_volume && !self.attempt.is_late => {
                ("repo-unreachable", None, SOON)
            }
            RepoOutcome::Unreachable(said) => {
                ("repo-unreachable", Some(findings::unreachable(repo, &said)), LATER)
            }
            RepoOutcome::Foreign(said) => ("foreign-stanza", Some(findings::foreign(repo, &said)), LATER),
            RepoOutcome::Failed(said) => (NO_STANZA, Some(findings::not_created(repo, &said)), LATER),
            RepoOutcome::Waits => (NO_STANZA, None, SOON),
        };
        ensured.record.troubles.insert(repo, trouble.to_owned());
        if let Some(finding) = finding {
            ensured.find(finding);
        }
        ensured.retry_after(again);
    }

    fn is_on_volume(&self, repo: RepoNumber) -> bool {
        let repos = &self.attempt.task.cluster.repos;
        repos.iter().any(|known| known.number == repo && known.storage.is_volume())
    }

    /// The state in each repo that could be queried.
    async fn query(&self, repos: &[RepoNumber], ensured: &mut Ensured) -> BTreeMap<RepoNumber, InRepo> {
        let mut states = BTreeMap::new();
        for repo in repos {
            if let Some(reason) = self.no_repo_host.as_ref().filter(|_| self.is_on_volume(*repo)) {
                states.insert(*repo, InRepo::Unreachable(reason.clone()));
                continue;
            }
            // One query per repo: a repo that does not answer would block the others.
            let ask = command::info(&judge::query(*repo));
            let what = format!("pgbackrest info for {repo}");
            match self.attempt.runner.run(self.primary, &ask.in_pod(), INFO_TIMEOUT).await {
                Ok(ran) => match judge::info(&ran, *repo) {
                    Ok(state) => _ = states.insert(*repo, state),
                    Err(said) => ensured.find(findings::pod_failed(self.primary.pod, &what, &said)),
                },
                Err(NoEnd::TimedOut(after)) => {
                    let said = format!("no answer within {}", humantime::format_duration(after));
                    states.insert(*repo, InRepo::Unreachable(said));
                }
                Err(error) => self.attempt.failed(self.primary, &what, &error, ensured),
            }
        }
        states
    }

    /// Runs a command on the primary, which is configured for all repos, including those on the repo host.
    async fn command(&self, command: &Command) -> CommandResult {
        match self.attempt.runner.run(self.primary, &command.in_pod(), STANZA_TIMEOUT).await {
            Ok(ran) => judge::result(&ran),
            Err(error) => CommandResult {
                end: CommandEnd::Failed(error.to_string()),
                passed: Vec::new(),
                stopped_at: None,
            },
        }
    }

    /// The system identifier of PostgreSQL, if pgBackRest has not checked an existing stanza.
    async fn identity_if_needed(
        &self,
        after: &BTreeMap<RepoNumber, InRepo>,
        result: &CommandResult,
        ensured: &mut Ensured,
    ) -> Option<u64> {
        let is_open = |(repo, state): (&RepoNumber, &InRepo)| {
            matches!(state, InRepo::Present { .. })
                && !result.passed.contains(repo)
                && result.stopped_at != Some(*repo)
        };
        if result.end == CommandEnd::Done || !after.iter().any(is_open) {
            return None;
        }
        // The first eight bytes of this file, in native byte order, in all versions of PostgreSQL.
        let file = format!("{}/global/pg_control", self.attempt.task.settings.database_path);
        let ask = ["od", "-A", "n", "-t", "u8", "-N", "8", &file];
        match self.attempt.runner.run(self.primary, &ask, IDENTITY_TIMEOUT).await {
            Ok(ran) if ran.code == 0 => ran.text().trim().parse().ok(),
            Ok(_) => None,
            Err(error) => {
                self.attempt.failed(self.primary, "od", &error, ensured);
                None
            }
        }
    }
}
