//! The WAL range in numbers, and the recovery window with whether it is proven.

use std::fmt;

use crate::state::recovery::{self, RecoveryWindow};
use crate::state::snapshot::Stanza;
use crate::state::wal_range::{self, WalRange};

use super::catalogue::{Labels, Metric, wal as catalogue};
use super::facts::{Facts, repo_labels};
use super::family::{Families, Value};

/// WAL ranges, segment sizes and recovery windows.
pub(super) fn write(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    range(families, facts, &catalogue::WAL_MIN_SEGMENT, |range| Some(range.min_number))?;
    range(families, facts, &catalogue::WAL_MAX_SEGMENT, |range| Some(range.max_number))?;
    range(families, facts, &catalogue::WAL_MIN_TIMELINE, |range| Some(range.min.timeline))?;
    range(families, facts, &catalogue::WAL_MAX_TIMELINE, |range| Some(range.max.timeline))?;
    range(families, facts, &catalogue::WAL_MAX_LSN_BYTES, |range| range.end.map(|end| end.0))?;
    families.family(&catalogue::WAL_SEGMENT_SIZE_BYTES, |family| {
        facts.each_stanza(family, |family, stanza| {
            let Some(range) = best_known(stanza) else { return Ok(()) };
            family.add(&[range.source.as_str().into(), (&*stanza.name).into()], range.segment_size.bytes())
        })
    })?;
    window(families, facts, &catalogue::RECOVERY_EARLIEST_TIMESTAMP_SECONDS, |window| {
        window.earliest.timestamp()
    })?;
    families.family(&catalogue::RECOVERY_CONTINUOUS_START_TIMESTAMP_SECONDS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let start = recovery::window(repo).and_then(|window| window.continuous_start);
            family.add_known(&repo_labels(stanza, repo), start.map(|start| start.timestamp()))
        })
    })?;
    window(families, facts, &catalogue::RECOVERY_LATEST_TIMESTAMP_SECONDS, |window| {
        window.latest.timestamp()
    })?;
    families.family(&catalogue::RECOVERY_WINDOW_SECONDS, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let length = recovery::window(repo).map(|window| window.length().num_seconds());
            // In this case it is known that nothing can be restored.
            let length = length.or_else(|| recovery::proof(repo).map(|_| 0));
            family.add_known(&repo_labels(stanza, repo), length)
        })
    })?;
    families.family(&catalogue::RECOVERY_WINDOW_VERIFIED, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let is_proven = recovery::proof(repo).is_some();
            let is_known = is_proven || recovery::window(repo).is_some();
            family.add_known(&repo_labels(stanza, repo), is_known.then_some(is_proven))
        })
    })
}

/// Growth of the archives since this process first saw them.
pub(super) fn write_growth(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    families.family(&catalogue::WAL_ARCHIVED_SEGMENTS_TOTAL, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            if wal_range::range(stanza, repo).is_none() {
                return Ok(());
            }
            family.add_count(&repo_labels(stanza, repo), repo.archived_segments)
        })
    })
}

fn range<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<3>>,
    value: impl Fn(&WalRange) -> Option<V>,
) -> fmt::Result {
    families.family(metric, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            let Some(range) = wal_range::range(stanza, repo) else { return Ok(()) };
            let labels = [range.database_id.into(), repo.key.into(), (&*stanza.name).into()];
            family.add_known(&labels, value(&range))
        })
    })
}

/// The range with the most reliable segment size; a cluster has one size in all repositories.
fn best_known(stanza: &Stanza) -> Option<WalRange> {
    stanza.repos.iter().filter_map(|repo| wal_range::range(stanza, repo)).min_by_key(|range| range.source)
}

fn window<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<2>>,
    value: impl Fn(RecoveryWindow) -> V,
) -> fmt::Result {
    families.family(metric, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            family.add_known(&repo_labels(stanza, repo), recovery::window(repo).map(&value))
        })
    })
}
