//! Restore tests, and how long a recovery takes.

use std::collections::BTreeMap;
use std::fmt;

use crate::state::proofs::{Outcome, Phase, RestoreTest};
use crate::state::restore_tests::target_name;
use crate::state::test_history::RestoreTests;

use super::catalogue::{Labels, Metric, restore_tests as catalogue};
use super::facts::{Facts, repo_labels};
use super::family::{Families, Family, Label, Value};

/// Results, the newest test, and what was tested of the existing backups.
pub(super) fn write(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    results(families, facts)?;
    last_test(families, facts)?;
    coverage(families, facts)?;
    recovery_time(families, facts)?;
    last(families, facts, &catalogue::RECORD_SEQUENCE, |test| test.chain.map(|link| link.sequence))?;
    families.family(&catalogue::RECORDS_UNUSABLE, |family| {
        facts.each(family, |family, snapshot| {
            let health = snapshot.collection.restore_tests.as_ref();
            family.add_known(&[], health.map(|health| health.unusable))
        })
    })
}

fn results(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    each(families, facts, &catalogue::LAST_START_TIMESTAMP_SECONDS, |tests| {
        Some(tests.history.last.start.timestamp())
    })?;
    each(families, facts, &catalogue::OLDEST_START_TIMESTAMP_SECONDS, |tests| {
        Some(tests.history.oldest_start.timestamp())
    })?;
    each(families, facts, &catalogue::LAST_SUCCESS_TIMESTAMP_SECONDS, |tests| {
        tests.history.last_success.map(|at| at.timestamp())
    })?;
    families.family(&catalogue::LAST_OUTCOME, |family| {
        each_repo(family, facts, |family, [repo, stanza], tests| {
            Outcome::ALL.into_iter().try_for_each(|outcome| {
                family.add(&[outcome.as_str().into(), repo, stanza], tests.history.last.outcome == outcome)
            })
        })
    })?;
    families.family(&catalogue::NOT_PASSED_INFO, |family| {
        each_repo(family, facts, |family, [repo, stanza], tests| {
            tests.history.not_passed.iter().try_for_each(|(outcome, why)| {
                let (phase, class) = (why.phase.as_str(), why.class.as_str());
                family.add(&[outcome.as_str().into(), phase.into(), class.into(), repo, stanza], 1_u64)
            })
        })
    })?;
    each(families, facts, &catalogue::CONSECUTIVE_FAILURES, |tests| {
        Some(tests.history.consecutive_failures)
    })?;
    each(families, facts, &catalogue::CONSECUTIVE_INCONCLUSIVE, |tests| {
        Some(tests.history.consecutive_inconclusive)
    })
}

fn last_test(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    families.family(&catalogue::LAST_INFO, |family| {
        each_repo(family, facts, |family, [repo, stanza], tests| {
            let last = &tests.history.last;
            let (label, backup_type) =
                last.backup.as_ref().map_or(("", ""), |backup| (&backup.label, backup.backup_type.as_str()));
            let target = target_name(last.target.kind);
            family.add(&[label.into(), backup_type.into(), repo, stanza, target.into()], 1_u64)
        })
    })?;
    last(families, facts, &catalogue::LAST_DURATION_SECONDS, |test| {
        test.duration().map(|duration| duration.as_secs_f64())
    })?;
    families.family(&catalogue::LAST_PHASE_DURATION_SECONDS, |family| {
        each_repo(family, facts, |family, [repo, stanza], tests| {
            Phase::ALL.into_iter().try_for_each(|phase| {
                let duration = tests.history.last.phase(phase).map(|duration| duration.as_secs_f64());
                family.add_known(&[phase.as_str().into(), repo, stanza], duration)
            })
        })
    })?;
    last(families, facts, &catalogue::LAST_RESTORED_BYTES, |test| test.restored_bytes)?;
    last(families, facts, &catalogue::LAST_REPLAYED_BYTES, |test| test.wal_bytes)?;
    families.family(&catalogue::LAST_CHECKS, |family| {
        each_repo(family, facts, |family, [repo, stanza], tests| {
            let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
            for check in &tests.history.last.checks {
                *counts.entry((check.kind.as_str(), check.verdict.as_str())).or_default() += 1;
            }
            counts.into_iter().try_for_each(|((kind, verdict), count)| {
                family.add(&[kind.into(), repo, stanza, verdict.into()], count)
            })
        })
    })?;
    last(families, facts, &catalogue::LAST_TARGET_TIMESTAMP_SECONDS, |test| {
        test.target.time.map(|time| time.timestamp())
    })?;
    last(families, facts, &catalogue::LAST_REACHED_TIMESTAMP_SECONDS, |test| {
        test.reached?.last_commit.map(|time| time.timestamp())
    })?;
    last(families, facts, &catalogue::LAST_REACHED_LSN_BYTES, |test| Some(test.reached?.lsn.0))
}

fn coverage(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    each(families, facts, &catalogue::NEWEST_BACKUP_TIMESTAMP_SECONDS, |tests| {
        tests.coverage?.newest_backup.map(|stop| stop.timestamp())
    })?;
    each(families, facts, &catalogue::OLDEST_BACKUP_TIMESTAMP_SECONDS, |tests| {
        tests.coverage?.oldest_backup.map(|stop| stop.timestamp())
    })?;
    each(families, facts, &catalogue::FULL_BACKUPS_RATIO, |tests| tests.coverage?.ratio())
}

fn recovery_time(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    families.family(&catalogue::RECOVERY_TIME_ESTIMATE_SECONDS, |family| {
        each_repo(family, facts, |family, [repo, stanza], tests| {
            let Some(time) = tests.recovery_time else { return Ok(()) };
            let points = [("latest", time.latest), ("worst", time.worst_point)];
            points.into_iter().try_for_each(|(point, estimate)| {
                let speeds = [
                    ("median", estimate.map(|estimate| estimate.median)),
                    ("worst", estimate.map(|estimate| estimate.worst)),
                ];
                speeds.into_iter().try_for_each(|(speed, seconds)| {
                    family.add_known(&[point.into(), repo, speed.into(), stanza], seconds)
                })
            })
        })
    })?;
    each(families, facts, &catalogue::RECOVERY_TIME_MEASURED_TIMESTAMP_SECONDS, |tests| {
        tests.recovery_time.map(|time| time.measured_at.timestamp())
    })
}

/// One series for each repository that was tested.
fn each<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<2>>,
    value: impl Fn(&RestoreTests) -> Option<V>,
) -> fmt::Result {
    families.family(metric, |family| {
        each_repo(family, facts, |family, labels, tests| family.add_known(&labels, value(tests)))
    })
}

/// The same about the newest test.
fn last<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<2>>,
    value: impl Fn(&RestoreTest) -> Option<V>,
) -> fmt::Result {
    each(families, facts, metric, |tests| value(&tests.history.last))
}

/// Visits the tests of each repository, with the labels of the repository.
fn each_repo<'a, 's, 'e, const N: usize>(
    family: &mut Family<'s, 'e, N>,
    facts: &'a Facts,
    mut visit: impl FnMut(&mut Family<'s, 'e, N>, [Label<'a>; 2], &'a RestoreTests) -> fmt::Result,
) -> fmt::Result {
    facts.each_repo(family, |family, stanza, repo| {
        let Some(tests) = repo.restore_tests.as_deref() else { return Ok(()) };
        visit(family, repo_labels(stanza, repo), tests)
    })
}
