//! Interprets pgBackRest's answers about stanzas for each repo. Pure.

use std::collections::BTreeMap;

use crate::cluster::validated::{RepoNumber, STANZA};
use crate::pgbackrest::command::InfoQuery;
use crate::pgbackrest::info::view::{self, AnswerError, Presence};
use crate::pgbackrest::{exit_code, sanitize};
use crate::source::pod::Ran;
use crate::text;

/// Maximum characters of a quoted message.
const MOST_QUOTED: usize = 400;

/// The state of the stanza in one repo according to `info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum InRepo {
    /// It exists.
    Present {
        /// Whether it contains a backup of the current PostgreSQL cluster.
        has_backup: bool,
        /// The system identifier of that cluster.
        system: Option<u64>,
    },
    /// The repo is readable and has no stanza.
    Absent,
    /// The repo cannot be read.
    Unreachable(String),
}

/// The query for one repo.
pub(super) fn query(repo: RepoNumber) -> InfoQuery {
    InfoQuery { stanza: Some(STANZA.to_owned()), repo: Some(repo.get().into()), set: None }
}

/// Parses the answer. An error means that the state of the repo is unknown: pgBackRest failed, or its output cannot
/// be parsed or is not about the repo.
pub(super) fn info(ran: &Ran, repo: RepoNumber) -> Result<InRepo, String> {
    if ran.code != 0 {
        return Err(format!("{}: {}", named(ran.code), ran.said()));
    }
    let cleaned = sanitize::clean(&ran.stdout);
    let said = |error: AnswerError| text::one_line(&error.to_string(), MOST_QUOTED);
    let document = view::answer(&cleaned.text, &query(repo)).map_err(said)?;
    let view = document.stanza(STANZA).and_then(|stanza| stanza.repo(repo.get().into())).map_err(said)?;
    Ok(match view.code.presence() {
        Presence::Present => {
            let current = view.current_database();
            let is_current = |id: u64| current.is_none_or(|current| current.id == id);
            InRepo::Present {
                has_backup: view.backups().any(|backup| is_current(backup.database.id)),
                system: current.and_then(|current| current.system_id),
            }
        }
        Presence::Missing => InRepo::Absent,
        Presence::Unreadable => InRepo::Unreachable(view.message.one_line(MOST_QUOTED)),
    })
}

/// `CryptoError (95)`, or the bare number.
pub(super) fn named(code: i32) -> String {
    exit_code::name(code).map_or_else(|| format!("exit code {code}"), |name| format!("{name} ({code})"))
}

/// The result of `stanza-create` or `stanza-upgrade`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CommandEnd {
    /// All repos are as they should be.
    Done,
    /// Another command holds the lock, which is not an error.
    Locked,
    /// The stanza of a repo belongs to another PostgreSQL cluster.
    Foreign(String),
    /// Any other error.
    Failed(String),
}

/// The output of `stanza-create` or `stanza-upgrade`. Both process the repos in the order of their numbers, and stop
/// at the first that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandResult {
    /// How it ended.
    pub(super) end: CommandEnd,
    /// Repos whose stanza exists and belongs to this PostgreSQL cluster.
    pub(super) passed: Vec<RepoNumber>,
    /// The repo that failed, if it got that far.
    pub(super) stopped_at: Option<RepoNumber>,
}

/// Parses the output with `--log-level-console=info`: a line for each repo that is processed.
pub(super) fn result(ran: &Ran) -> CommandResult {
    let text = ran.text();
    let turned_to = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("INFO: stanza-")?;
        let (_, repo) = rest.split_once(&format!(" for stanza '{STANZA}' on "))?;
        RepoNumber::of_name(repo.trim())
    });
    let mut passed: Vec<RepoNumber> = turned_to.collect();
    let said = || format!("{}: {}", named(ran.code), ran.said());
    let end = match ran.code {
        0 => CommandEnd::Done,
        50 => CommandEnd::Locked,
        // FileInvalidError, ArchiveMismatchError, BackupMismatchError, DbMismatchError
        28 | 44 | 51 | 58 => CommandEnd::Foreign(said()),
        _ => CommandEnd::Failed(said()),
    };
    let stopped_at = if end == CommandEnd::Done { None } else { passed.pop() };
    CommandResult { end, passed, stopped_at }
}

/// The state of a repo after all attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RepoOutcome {
    /// Its stanza belongs to this PostgreSQL cluster.
    Known { has_backup: bool, system: Option<u64>, is_new: bool },
    /// Its stanza belongs to another one.
    Foreign(String),
    /// It cannot be read.
    Unreachable(String),
    /// Its stanza could not be created or checked.
    Failed(String),
    /// It has not been processed yet.
    Waits,
}

/// Determines the state of one repo. `before` and `after` are the answers of `info` before and after the command;
/// `ours` is the system identifier of PostgreSQL, if known.
pub(super) fn outcome(
    repo: RepoNumber,
    before: &BTreeMap<RepoNumber, InRepo>,
    after: &BTreeMap<RepoNumber, InRepo>,
    result: &CommandResult,
    ours: Option<u64>,
) -> RepoOutcome {
    let is_new = before.get(&repo) == Some(&InRepo::Absent);
    let passed = result.passed.contains(&repo);
    match (after.get(&repo), &result.end) {
        (Some(InRepo::Unreachable(said)), _) => RepoOutcome::Unreachable(said.clone()),
        (None, _) => RepoOutcome::Waits,
        (Some(InRepo::Present { has_backup, system }), _) if passed => {
            RepoOutcome::Known { has_backup: *has_backup, system: *system, is_new }
        }
        (_, CommandEnd::Foreign(said)) if result.stopped_at == Some(repo) => {
            RepoOutcome::Foreign(said.clone())
        }
        (_, CommandEnd::Failed(said)) if result.stopped_at == Some(repo) => RepoOutcome::Failed(said.clone()),
        (Some(InRepo::Present { has_backup, system: Some(theirs) }), _) if ours.is_some() => {
            if ours == Some(*theirs) {
                RepoOutcome::Known { has_backup: *has_backup, system: Some(*theirs), is_new }
            } else {
                RepoOutcome::Foreign(format!("its system identifier is {theirs}"))
            }
        }
        (_, CommandEnd::Done) => {
            RepoOutcome::Failed("stanza-create succeeded, but info shows no stanza".to_owned())
        }
        (_, CommandEnd::Failed(said)) if result.stopped_at.is_none() => RepoOutcome::Failed(said.clone()),
        (_, CommandEnd::Failed(_) | CommandEnd::Foreign(_)) => {
            let at = result.stopped_at.map_or_else(String::new, |repo| format!(" at {repo}"));
            RepoOutcome::Failed(format!("pgBackRest processes the repos in order and stopped{at}"))
        }
        (_, CommandEnd::Locked) => RepoOutcome::Waits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(code: i32, stdout: &str) -> Ran {
        Ran { code, stdout: stdout.into(), stderr: String::new() }
    }

    fn repo(number: u8) -> RepoNumber {
        RepoNumber::of_name(&format!("repo{number}")).unwrap()
    }

    fn stanza(repo_status: i64, backups: &str) -> String {
        format!(
            r#"P00   WARN: environment contains invalid option 'repo-port'
[{{"name":"db","status":{{"code":{repo_status},"message":"x","lock":{{}}}},"archive":[],"backup":{backups},
"db":[{{"id":1,"repo-key":2,"system-id":7711165317871593031,"version":"15"}},{{"id":2,"repo-key":2,"system-id":7711165321424774762,"version":"16"}},{{"id":9,"repo-key":1,"system-id":5}}],
"repo":[{{"key":2,"cipher":"none","status":{{"code":{repo_status},"message":"[HostConnectError] no\nmore at line 3: hunter2"}}}}]}}]"#
        )
    }

    #[test]
    fn each_status_of_a_repo_is_told_apart() {
        let backup = |database: u32| {
            format!(
                r#"[{{"label":"20260101-000000F","type":"full","timestamp":{{"start":1,"stop":2}},"info":{{}},"database":{{"id":{database},"repo-key":2}}}}]"#
            )
        };
        let present = |has_backup| InRepo::Present { has_backup, system: Some(7_711_165_321_424_774_762) };
        let cases = [
            (stanza(0, &backup(2)), present(true)),
            (stanza(0, &backup(1)), present(false)),
            (stanza(2, "[]"), present(false)),
            (stanza(1, "[]"), InRepo::Absent),
            (stanza(3, "[]"), InRepo::Absent),
            (stanza(99, "[]"), InRepo::Unreachable("[HostConnectError] …".to_owned())),
        ];
        for (text, expected) in cases {
            assert_eq!(info(&ran(0, &text), repo(2)), Ok(expected), "{text}");
        }
        for (text, why) in [
            ("nonsense", "no readable JSON document"),
            ("[]", "does not mention stanza db"),
            (r#"[{"name":"db","status":{"code":1}}]"#, "cannot be read"),
            (r#"[{"name":"db","status":{"code":1},"repo":[{"key":1}]}]"#, "does not mention repo2"),
            (r#"[{"name":"db","backup":7}]"#, "cannot be read"),
        ] {
            let error = info(&ran(0, text), repo(2)).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let error = info(
            &ran(37, "P00   WARN: x\nP00  ERROR: [037]: info command requires option: repo1-path\n"),
            repo(2),
        );
        assert_eq!(
            error,
            Err("OptionRequiredError (37): info command requires option: repo1-path".to_owned())
        );
        let secret =
            info(&ran(29, "P00  ERROR: [029]: missing '=' in key/value at line 3: hunter2\n"), repo(2));
        assert!(!secret.unwrap_err().contains("hunter2"));
    }

    /// As 2.45 and 2.60 print it.
    const TWO_REPOS: &str = "2026-11-23 01:00:16.634 P00   INFO: stanza-create command begin 2.45: --stanza=db\n\
        2026-11-23 01:00:16.634 P00   INFO: stanza-create for stanza 'db' on repo1\n\
        2026-11-23 01:00:16.634 P00   INFO: stanza 'db' already exists on repo1 and is valid\n\
        2026-11-23 01:00:16.634 P00   INFO: stanza-create for stanza 'db' on repo2\n";

    #[test]
    fn the_repo_that_stopped_the_command_is_the_last_one_named() {
        let done = result(&ran(0, TWO_REPOS));
        assert_eq!(
            (done.end, done.passed, done.stopped_at),
            (CommandEnd::Done, vec![repo(1), repo(2)], None)
        );
        let text = format!(
            "{TWO_REPOS}P00  ERROR: [028]: backup and archive info files exist but do not match the database\n"
        );
        let foreign = result(&ran(28, &text));
        assert_eq!((foreign.passed, foreign.stopped_at), (vec![repo(1)], Some(repo(2))));
        assert!(
            matches!(foreign.end, CommandEnd::Foreign(said) if said.starts_with("FileInvalidError (28): backup and archive info files"))
        );
        let locked = result(&ran(50, ""));
        assert_eq!((locked.end, locked.stopped_at), (CommandEnd::Locked, None));
        assert!(matches!(result(&ran(56, "")).end, CommandEnd::Failed(_)));
        let upgraded = result(&ran(0, "P00   INFO: stanza-upgrade for stanza 'db' on repo3\n"));
        assert_eq!(upgraded.passed, [repo(3)]);
    }

    #[test]
    fn a_repo_counts_only_where_it_is_known_to_be_ours() {
        let present = |system| InRepo::Present { has_backup: true, system: Some(system) };
        let known = |is_new| RepoOutcome::Known { has_backup: true, system: Some(1), is_new };
        let result = |end, passed: &[u8], stopped_at: Option<u8>| CommandResult {
            end,
            passed: passed.iter().map(|number| repo(*number)).collect(),
            stopped_at: stopped_at.map(repo),
        };
        let failed = || CommandEnd::Failed("why".to_owned());
        let judge = |before, after, result: &CommandResult, ours| {
            let (before, after) = (BTreeMap::from([(repo(2), before)]), BTreeMap::from([(repo(2), after)]));
            outcome(repo(2), &before, &after, result, ours)
        };
        let all = result(CommandEnd::Done, &[1, 2], None);
        assert_eq!(judge(InRepo::Absent, present(1), &all, None), known(true));
        assert_eq!(judge(present(1), present(1), &all, None), known(false));
        assert!(matches!(judge(InRepo::Absent, InRepo::Absent, &all, None), RepoOutcome::Failed(_)));
        let down = InRepo::Unreachable("down".to_owned());
        assert_eq!(
            judge(down.clone(), down.clone(), &all, None),
            RepoOutcome::Unreachable("down".to_owned())
        );

        let before_it = result(failed(), &[], Some(1));
        assert!(
            matches!(judge(present(1), present(1), &before_it, None), RepoOutcome::Failed(why) if why.ends_with("repo1"))
        );
        assert_eq!(judge(present(1), present(1), &before_it, Some(1)), known(false));
        assert!(matches!(judge(present(2), present(2), &before_it, Some(1)), RepoOutcome::Foreign(_)));
        assert!(matches!(judge(InRepo::Absent, InRepo::Absent, &before_it, Some(1)), RepoOutcome::Failed(_)));

        let at_it = result(CommandEnd::Foreign("28".to_owned()), &[1], Some(2));
        assert_eq!(judge(present(2), present(2), &at_it, Some(1)), RepoOutcome::Foreign("28".to_owned()));
        let behind_it = result(failed(), &[1, 2], Some(3));
        assert_eq!(judge(InRepo::Absent, present(1), &behind_it, None), known(true));

        let locked = result(CommandEnd::Locked, &[], None);
        assert_eq!(judge(InRepo::Absent, InRepo::Absent, &locked, None), RepoOutcome::Waits);
        assert_eq!(judge(present(1), present(1), &locked, Some(1)), known(false));
        let none = result(failed(), &[], None);
        assert_eq!(judge(present(1), present(1), &none, None), RepoOutcome::Failed("why".to_owned()));
    }
}
