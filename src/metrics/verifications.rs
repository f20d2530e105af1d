//! Verifications.

use std::fmt;

use crate::state::proofs::Outcome;
use crate::state::verification_history::VerificationHistory;

use super::catalogue::{Labels, Metric, verifications as catalogue};
use super::facts::{Facts, repo_labels};
use super::family::{Families, Family, Label, Value};

/// Results, and the newest verification.
pub(super) fn write(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    each(families, facts, &catalogue::LAST_START_TIMESTAMP_SECONDS, |history| {
        Some(history.last.start.timestamp())
    })?;
    each(families, facts, &catalogue::OLDEST_START_TIMESTAMP_SECONDS, |history| {
        Some(history.oldest_start.timestamp())
    })?;
    each(families, facts, &catalogue::LAST_SUCCESS_TIMESTAMP_SECONDS, |history| {
        history.last_success.map(|at| at.timestamp())
    })?;
    families.family(&catalogue::LAST_OUTCOME, |family| {
        each_repo(family, facts, |family, [repo, stanza], history| {
            Outcome::ALL.into_iter().try_for_each(|outcome| {
                family.add(&[outcome.as_str().into(), repo, stanza], history.last.outcome == outcome)
            })
        })
    })?;
    families.family(&catalogue::NOT_PASSED_INFO, |family| {
        each_repo(family, facts, |family, [repo, stanza], history| {
            history.not_passed.iter().try_for_each(|(outcome, why)| {
                family.add(&[outcome.as_str().into(), why.class.as_str().into(), repo, stanza], 1_u64)
            })
        })
    })?;
    each(families, facts, &catalogue::CONSECUTIVE_FAILURES, |history| Some(history.consecutive_failures))?;
    each(families, facts, &catalogue::CONSECUTIVE_INCONCLUSIVE, |history| {
        Some(history.consecutive_inconclusive)
    })?;
    last(families, facts)?;
    each(families, facts, &catalogue::RECORD_SEQUENCE, |history| {
        history.last.chain.map(|link| link.sequence)
    })?;
    families.family(&catalogue::RECORDS_UNUSABLE, |family| {
        facts.each(family, |family, snapshot| {
            let health = snapshot.collection.verifications.as_ref();
            family.add_known(&[], health.map(|health| health.unusable))
        })
    })
}

fn last(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    each(families, facts, &catalogue::LAST_DURATION_SECONDS, |history| {
        history.last.duration().map(|duration| duration.as_secs_f64())
    })?;
    families.family(&catalogue::LAST_BACKUPS, |family| {
        each_repo(family, facts, |family, [repo, stanza], history| {
            let Some(totals) = history.last.totals else { return Ok(()) };
            let others = totals.backups.saturating_sub(totals.valid_backups);
            [("valid", totals.valid_backups), ("not_valid", others)]
                .into_iter()
                .try_for_each(|(result, count)| family.add(&[repo, result.into(), stanza], count))
        })
    })?;
    families.family(&catalogue::LAST_FILES, |family| {
        each_repo(family, facts, |family, [repo, stanza], history| {
            let Some(totals) = history.last.totals else { return Ok(()) };
            [("backup", totals.files), ("wal", totals.wal)].into_iter().try_for_each(|(kind, files)| {
                files.by_result().into_iter().try_for_each(|(result, count)| {
                    family.add(&[kind.into(), repo, result.into(), stanza], count)
                })
            })
        })
    })?;
    each(families, facts, &catalogue::LAST_WAL_GAPS, |history| {
        let archives = &history.last.archives;
        let gaps = archives.iter().map(|archive| archive.gaps).sum::<Option<u64>>();
        gaps.filter(|_| history.last.is_whole() && !archives.is_empty())
    })
}

/// One series for each repository that was verified.
fn each<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<2>>,
    value: impl Fn(&VerificationHistory) -> Option<V>,
) -> fmt::Result {
    families.family(metric, |family| {
        each_repo(family, facts, |family, labels, history| family.add_known(&labels, value(history)))
    })
}

/// Visits the verifications of each repository, with the labels of the repository.
fn each_repo<'a, 's, 'e, const N: usize>(
    family: &mut Family<'s, 'e, N>,
    facts: &'a Facts,
    mut visit: impl FnMut(&mut Family<'s, 'e, N>, [Label<'a>; 2], &'a VerificationHistory) -> fmt::Result,
) -> fmt::Result {
    facts.each_repo(family, |family, stanza, repo| {
        let Some(history) = repo.verifications.as_deref() else { return Ok(()) };
        visit(family, repo_labels(stanza, repo), history)
    })
}
