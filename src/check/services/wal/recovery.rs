//! What can be restored.

use crate::check::facts::{Place, clean};
use crate::check::judge::{Judge, Reading};
use crate::check::quantity::Thresholds;
use crate::check::report::Severity;
use crate::check::unit::Unit;
use crate::metrics::catalogue::Metric;
use crate::metrics::catalogue::backups::BACKUP_OLDEST_COMPLETION_TIMESTAMP_SECONDS;
use crate::metrics::catalogue::wal as metrics;

use super::{LAG, MATURE_AFTER, UNRESTORABLE, WINDOW};

pub(super) fn judge(judge: &mut Judge<'_>) {
    let facts = judge.facts;
    for (repo, series) in facts.of(&metrics::RECOVERY_DEFAULT_RESTORE_OK) {
        if series.value == 0.0 {
            let text = "pgbackrest restore without options does not lead to the live timeline";
            judge.problem(Severity::Critical, "PgBackRestDefaultRestoreFails", repo, text);
        }
    }
    for (repo, series) in facts.of(&metrics::BACKUP_UNRESTORABLE) {
        let (reason, count) = (series.label("reason"), series.value);
        if reason == "unknown" {
            if count > 0.0 {
                judge.unknown(
                    repo,
                    format!("backups of which it is unknown whether they can be restored: {count}"),
                );
            }
            continue;
        }
        let (detail, what) = (
            clean(reason, 20),
            match reason {
                "wal" => "missing WAL",
                "directory" => "missing files",
                _ => "missing files of a backup that they depend on",
            },
        );
        let text = format!("backups that cannot be restored ({what}): {count}");
        judge.measure(&Reading { detail: &detail, ..Reading::new(&UNRESTORABLE, repo, count, text) });
    }
    for (repo, series) in facts.of(&metrics::RECOVERY_WINDOW_SECONDS) {
        if facts.value(&metrics::RECOVERY_WINDOW_VERIFIED, repo) != Some(1.0) {
            judge.unchecked("recovery window: not proven by a scan of the WAL archive");
            continue;
        }
        let oldest = facts.at(&BACKUP_OLDEST_COMPLETION_TIMESTAMP_SECONDS, repo);
        let oldest = oldest.iter().map(|one| one.value).reduce(f64::min);
        let is_mature = oldest.is_some_and(|oldest| judge.now - oldest >= MATURE_AFTER);
        let text = format!("the recovery window is {} long", Unit::Seconds.words(series.value));
        let mut reading = Reading::new(&WINDOW, repo, series.value, text);
        reading.usual = (!is_mature).then(Thresholds::default);
        judge.measure(&reading);
        lag(judge, repo);
    }
    for (repo, _) in facts.of(&metrics::RECOVERY_WINDOW_VERIFIED).filter(|(_, series)| series.is_true()) {
        if facts.value(&metrics::RECOVERY_WINDOW_SECONDS, repo).is_none() {
            lag(judge, repo);
        }
    }
}

/// How much could be lost: nothing if all archived WAL can be reached.
fn lag(judge: &mut Judge<'_>, repo: &Place) {
    let of = |metric: &Metric| judge.facts.value(metric, repo);
    let listed = of(&metrics::WAL_LISTED_TIMESTAMP_SECONDS);
    let latest = of(&metrics::RECOVERY_LATEST_TIMESTAMP_SECONDS);
    let archived = of(&metrics::WAL_LAST_ARCHIVED_TIMESTAMP_SECONDS);
    let (Some(listed), Some(latest), Some(archived)) = (listed, latest, archived) else { return };
    let lag = if archived > latest { (listed - latest).max(0.0) } else { 0.0 };
    let text = format!("the last {} of archived WAL cannot be restored", Unit::Seconds.words(lag));
    judge.measure(&Reading::new(&LAG, repo, lag, text));
}
