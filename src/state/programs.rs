//! Whether a program other than the queried one works on a stanza: a fork of pgBackRest, or pgBackRest itself.
//!
//! Programs lock files in `lock-path`, whose default is different for each. If they do not use the same directory, two backups, or
//! a backup and `expire`, can run at the same time. Only traces show this: lock files of another program in its own directory on
//! this host, and the version that is stored with a backup. The version only identifies pgBunker: version numbers of pgxbackup look
//! like those of pgBackRest.

use chrono::{DateTime, TimeDelta, Utc};

use crate::pgbackrest::version::Product;

use super::snapshot::{Evidence, OtherProgram, Snapshot, Stanza};

/// A trace is reported for this long.
const REPORTED: TimeDelta = TimeDelta::days(7);

/// A lock file of another program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    pub stanza: String,
    /// The program to whose default directory it belongs.
    pub product: Product,
    /// When it was last written.
    pub at: DateTime<Utc>,
}

/// Writes into the snapshot which stanzas have traces of another program. Traces in `previous` are kept for some days, because a
/// lock file exists only while a command runs.
pub fn judge_into(snapshot: &mut Snapshot, previous: &Snapshot, locks: &[LockFile], now: DateTime<Utc>) {
    let Some(own) = snapshot.version.map(|version| version.product) else { return };
    for stanza in &mut snapshot.stanzas {
        let known = previous.stanza(&stanza.name).and_then(|stanza| stanza.other_program);
        let locked = locks.iter().filter(|lock| *lock.stanza == *stanza.name).map(|lock| OtherProgram {
            product: Some(lock.product),
            evidence: Evidence::Lock,
            seen_at: lock.at,
        });
        let is_current = |trace: &OtherProgram| {
            trace.product != Some(own) && trace.seen_at <= now && now - trace.seen_at < REPORTED
        };
        let traces = known.into_iter().filter(|known| known.evidence == Evidence::Lock).chain(locked);
        stanza.other_program =
            traces.chain(backup(stanza, own)).filter(is_current).max_by_key(|trace| trace.seen_at);
    }
}

/// The newest backup that another program made, unless all of its backups are older than our own: that is a change from
/// one program to another.
fn backup(stanza: &Stanza, own: Product) -> Option<OtherProgram> {
    let backups = || stanza.repos.iter().flat_map(|repo| &repo.backups);
    let made_by = |version: &str| Product::of_backup(version);
    let is_own = |version: &str| (made_by(version) == Some(Product::PgBunker)) == (own == Product::PgBunker);
    let newest =
        backups().filter(|backup| !is_own(&backup.backrest_version)).max_by_key(|backup| backup.stop)?;
    let first_own =
        backups().filter(|backup| is_own(&backup.backrest_version)).map(|backup| backup.stop).min();
    let is_before_ours = first_own.is_some_and(|first| newest.stop < first);
    (!is_before_ours).then(|| OtherProgram {
        product: made_by(&newest.backrest_version),
        evidence: Evidence::Backup,
        seen_at: newest.stop,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::backup::Backup;
    use super::super::examples::{backup as example, day, repo, stanza};
    use super::*;
    use crate::pgbackrest::version;

    const BUNKER: &str = "2.59.0-bunker.1";

    /// What is seen on day 5 by a program in backups of one day each.
    fn seen(printed: &str, made_by: &[&str]) -> Option<(Option<Product>, Evidence, DateTime<Utc>)> {
        trace(&snapshot(printed, made_by), &Snapshot::default(), &[], day(5))
    }

    fn trace(
        snapshot: &Snapshot,
        previous: &Snapshot,
        locks: &[LockFile],
        now: DateTime<Utc>,
    ) -> Option<(Option<Product>, Evidence, DateTime<Utc>)> {
        let mut snapshot = snapshot.clone();
        judge_into(&mut snapshot, previous, locks, now);
        snapshot.stanzas[0].other_program.map(|other| (other.product, other.evidence, other.seen_at))
    }

    fn snapshot(printed: &str, made_by: &[&str]) -> Snapshot {
        let backups = made_by.iter().zip(0..).map(|(version, at)| Backup {
            backrest_version: Arc::from(*version),
            ..example(&format!("202601{:02}-000000F", at + 1), day(at), 1)
        });
        let stanzas = vec![stanza(vec![repo(1, backups.collect())])];
        Snapshot { stanzas, version: version::parse(printed), ..Snapshot::default() }
    }

    #[test]
    fn a_backup_shows_who_made_it() {
        let bunker = |at| Some((Some(Product::PgBunker), Evidence::Backup, day(at)));
        assert_eq!(seen("pgBackRest 2.58.0", &["2.58.0", "2.58.0"]), None);
        assert_eq!(seen("pgBackRest 2.58.0", &["2.58.0", BUNKER]), bunker(1));
        assert_eq!(seen("pgBackRest 2.58.0", &["2.58.0", BUNKER, "2.58.0"]), bunker(1));
        assert_eq!(seen("pgxbackup 2.59.0", &[BUNKER]), bunker(0), "the wrong program is asked");
        // From pgBunker back to pgBackRest, and the other way.
        assert_eq!(seen("pgBackRest 2.58.0", &[BUNKER, BUNKER, "2.58.0"]), None);
        assert_eq!(seen("pgBunker 2.59.0-bunker.1", &["2.58.0", "2.58.0", BUNKER]), None);
        let unknown = Some((None, Evidence::Backup, day(1)));
        assert_eq!(seen("pgBunker 2.59.0-bunker.1", &[BUNKER, "2.59.0"]), unknown);
        // Not knowable: pgxbackup's number is one of pgBackRest's.
        assert_eq!(seen("pgBackRest 2.59.0", &["2.59.0", "2.58.0"]), None);
        assert_eq!(seen("", &["2.58.0", BUNKER]), None);
    }

    #[test]
    fn a_lock_is_remembered_for_a_week() {
        let lock = |stanza: &str, product, at| LockFile { stanza: stanza.to_owned(), product, at };
        let now = snapshot("pgBackRest 2.58.0", &["2.58.0"]);
        let name = &*now.stanzas[0].name;
        let none = Snapshot::default();
        let theirs = lock(name, Product::Pgxbackup, day(2));
        let expected = Some((Some(Product::Pgxbackup), Evidence::Lock, day(2)));
        assert_eq!(trace(&now, &none, std::slice::from_ref(&theirs), day(2)), expected);
        assert_eq!(trace(&now, &none, &[lock("another", Product::Pgxbackup, day(2))], day(2)), None);
        let mut before = now.clone();
        judge_into(&mut before, &none, &[theirs], day(2));
        assert_eq!(trace(&now, &before, &[], day(8)), expected, "it is gone from the directory");
        assert_eq!(trace(&now, &before, &[], day(9)), None, "it is too long ago");
        // The program was replaced by the one that left the trace.
        let fork = snapshot("pgxbackup 2.59.0", &["2.58.0"]);
        assert_eq!(trace(&fork, &before, &[], day(3)), None);
    }
}
