//! The view of `info` for a job: the existing backups, which of them is its own, and the lock. Pure.

use std::collections::BTreeSet;

use crate::cluster::labels;
use crate::pgbackrest::info::view::{self, AnswerError, Presence};
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::sanitize;
use crate::text;

use super::task::Task;

/// Maximum characters of a quoted message.
const LONGEST: usize = 300;

/// The current state of a repo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct InfoView {
    pub(super) backups: Vec<ListedBackup>,
    /// Whether the lock is held on the host that was asked, if known.
    pub(super) held: Option<bool>,
    /// Copied bytes and total bytes.
    pub(super) progress: Option<(u64, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedBackup {
    label: String,
    made: BackupType,
    is_marked: bool,
}

/// How a job recognizes its own backup.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// The labels that existed before, if known.
    pub(super) before: Option<BTreeSet<String>>,
    /// Whether our backups carry the mark.
    pub(super) annotates: bool,
    /// The requested type.
    pub(super) backup_type: BackupType,
}

/// Parses the output. The list of backups is empty only if pgBackRest could read the repo, or found no stanza. If it
/// could not, or does not mention the repo, there is no list.
pub(super) fn read(stdout: &[u8], task: &Task) -> Result<InfoView, String> {
    let cleaned = sanitize::clean(stdout);
    let said = |error: AnswerError| text::one_line(&error.to_string(), LONGEST);
    let document = view::answer(&cleaned.text, &task.info()).map_err(said)?;
    let stanza = document.stanza(&task.stanza).map_err(said)?;
    let repo = stanza.repo(task.repo).map_err(said)?;
    if repo.code.presence() == Presence::Unreadable {
        return Err(repo.message.one_line(LONGEST));
    }
    let lock = stanza.raw.status.lock.backup.as_ref();
    let sizes = repo.progress().map_or_else(
        || lock.map(|lock| (lock.size_complete, lock.size)),
        |one| Some((one.size_complete, one.size)),
    );
    let is_ours = |key: &str, value: &str| key == labels::MADE_BY && value == task.mark;
    let backups = repo.backups().filter_map(|backup| {
        let marks = backup.annotation.as_ref();
        Some(ListedBackup {
            label: backup.label.to_string(),
            made: backup.backup_type?,
            is_marked: marks.is_some_and(|all| all.iter().any(|(key, value)| is_ours(key, value))),
        })
    });
    Ok(InfoView {
        backups: backups.collect(),
        held: stanza.is_backup_locked(),
        progress: sizes.and_then(|(done, all)| Some((done?, all?))),
    })
}

impl InfoView {
    pub(super) fn labels(&self) -> BTreeSet<String> {
        self.backups.iter().map(|backup| backup.label.clone()).collect()
    }

    /// The backup that the job made, and its type.
    pub(super) fn proof(&self, claim: &Claim) -> Option<(String, BackupType)> {
        let is_new = |label: &str| match &claim.before {
            Some(before) => !before.contains(label),
            // The mark is enough: no other pod uses ours.
            None => claim.annotates,
        };
        let ours = self.backups.iter().rev().find(|backup| {
            is_new(&backup.label)
                && fits(claim.backup_type, backup.made)
                && (backup.is_marked || !claim.annotates)
        })?;
        Some((ours.label.clone(), ours.made))
    }
}

/// Without a prior backup, pgBackRest makes a full one.
fn fits(asked: BackupType, made: BackupType) -> bool {
    made == asked || made == BackupType::Full
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::task;
    use super::*;

    fn backup(label: &str, backup_type: &str, mark: Option<&str>) -> Value {
        let annotation = mark.map(|mark| json!({labels::MADE_BY: mark, "other": "x"}));
        json!({"label": label, "type": backup_type, "timestamp": {"start": 1, "stop": 2},
            "database": {"id": 1, "repo-key": 2}, "annotation": annotation})
    }

    fn view(backups: &[Value], lock: &Value, code: i64) -> Result<InfoView, String> {
        let status = json!({"code": code, "message": "[CryptoError]\n repo2-cipher-pass=hunter2"});
        let document = json!([
            {"name": "other", "status": {"code": 0}, "backup": [backup("20250101-000000F", "full", Some("m"))]},
            {"name": "db", "status": {"code": 4, "message": "different", "lock": {"backup": lock}},
                "repo": [{"key": 2, "status": status}], "backup": backups},
        ]);
        let printed = format!("P00   WARN: a word\n{document}");
        read(printed.as_bytes(), &task())
    }

    fn task() -> Task {
        Task { mark: "m".to_owned(), ..task::example() }
    }

    #[test]
    fn a_backup_is_ours_by_its_mark_its_newness_and_its_type() {
        let (old, new) = ("20260101-000000F", "20260102-000000F");
        let incremental = "20260101-000000F_20260102-000000I";
        let table = [
            (backup(new, "full", Some("m")), BackupType::Full, true, Some(new)),
            // As the first backup of all.
            (backup(new, "full", Some("m")), BackupType::Incr, true, Some(new)),
            (backup(incremental, "incr", Some("m")), BackupType::Incr, true, Some(incremental)),
            (backup(incremental, "incr", Some("m")), BackupType::Full, true, None),
            (backup(incremental, "incr", Some("m")), BackupType::Diff, true, None),
            (backup(new, "full", Some("another")), BackupType::Full, true, None),
            (backup(new, "full", None), BackupType::Full, true, None),
            (backup(old, "full", Some("m")), BackupType::Full, true, None),
            // Before 2.41.
            (backup(new, "full", None), BackupType::Full, false, Some(new)),
            (backup(incremental, "incr", None), BackupType::Diff, false, None),
            (backup(old, "full", None), BackupType::Full, false, None),
        ];
        for (made, backup_type, annotates, expected) in table {
            let before = Some(BTreeSet::from([old.to_owned()]));
            let claim = Claim { before, annotates, backup_type };
            let all = [backup(old, "full", None), made];
            let proof = view(&all, &json!({"held": false}), 0).unwrap().proof(&claim);
            assert_eq!(proof.as_ref().map(|(label, _)| label.as_str()), expected, "{all:?} {claim:?}");
        }
    }

    #[test]
    fn without_the_list_only_a_mark_is_proof() {
        let claim = |annotates| Claim { before: None, annotates, backup_type: BackupType::Full };
        let all = [backup("20260102-000000F", "full", Some("m"))];
        let seen = view(&all, &Value::Null, 0).unwrap();
        assert!(seen.proof(&claim(true)).is_some());
        assert_eq!(seen.proof(&claim(false)), None);
    }

    #[test]
    fn what_is_not_reported_is_not_known() {
        let seen = |lock: Value| view(&[], &lock, 2).unwrap();
        assert_eq!((seen(json!({})).held, seen(json!({"held": true})).held), (None, Some(true)));
        let (done, all) = ("size-cplt", "size");
        assert_eq!(seen(json!({"held": true, all: 9})).progress, None);
        assert_eq!(seen(json!({"held": true, all: 9, done: 3})).progress, Some((3, 9)));
        let repos = json!([{"key": 1, all: 5, done: 1}, {"key": 2, all: 4, done: 2}]);
        assert_eq!(seen(json!({"held": true, all: 9, done: 3, "repo": repos})).progress, Some((2, 4)));
    }

    #[test]
    fn no_list_is_not_an_empty_one() {
        // No valid backups, no stanza.
        for code in [0, 1, 2, 3] {
            assert_eq!(view(&[], &Value::Null, code), Ok(InfoView::default()), "{code}");
        }
        for code in [99, 4, 7] {
            let said = "[CryptoError] …".to_owned();
            assert_eq!(view(&[], &Value::Null, code), Err(said), "{code}");
        }
        for (printed, why) in [
            ("[]", "does not mention stanza db"),
            (r#"[{"name":"other","repo":[{"key":2}]}]"#, "does not mention stanza db"),
            (r#"[{"name":"db","repo":[{"key":1}]}]"#, "does not mention repo2"),
            (r#"[{"name":"db","status":{"code":0}}]"#, "cannot be read"),
            (r#"[{"name":"db","repo":7}]"#, "cannot be read"),
            ("no document", "no readable JSON document"),
        ] {
            let said = read(printed.as_bytes(), &task()).unwrap_err();
            assert!(said.contains(why), "{printed}: {said}");
        }
    }
}
