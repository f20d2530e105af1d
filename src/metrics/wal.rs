//! The WAL range in numbers and the recovery window, both from `info` alone and so unproven.

use std::fmt;

use crate::state::recovery::{self, RecoveryWindow};
use crate::state::snapshot::Stanza;
use crate::state::wal_range::{self, WalRange};

use super::catalogue::{Metric, wal as catalogue};
use super::facts::Facts;
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
    window(families, facts, &catalogue::RECOVERY_LATEST_TIMESTAMP_SECONDS, |window| {
        window.latest.timestamp()
    })?;
    window(families, facts, &catalogue::RECOVERY_WINDOW_SECONDS, |window| window.length().num_seconds())?;
    window(families, facts, &catalogue::RECOVERY_WINDOW_VERIFIED, |window| window.verified)
}

fn range<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric,
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

/// The range whose segment size is known best; one cluster has one size, whatever the repository.
fn best_known(stanza: &Stanza) -> Option<WalRange> {
    stanza.repos.iter().filter_map(|repo| wal_range::range(stanza, repo)).min_by_key(|range| range.source)
}

fn window<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric,
    value: impl Fn(RecoveryWindow) -> V,
) -> fmt::Result {
    families.family(metric, |family| {
        facts.each_repo(family, |family, stanza, repo| {
            family.add_known(&[repo.key.into(), (&*stanza.name).into()], recovery::window(repo).map(&value))
        })
    })
}
