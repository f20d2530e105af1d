//! The archivers of PostgreSQL clusters, on this host or in the pods of primaries.

use std::collections::BTreeMap;
use std::fmt;

use crate::state::archiver::Archiver;

use super::catalogue::{Labels, Metric, archiver as catalogue};
use super::facts::Facts;
use super::family::{Families, Value};

/// Waiting, rejected and dropped WAL.
pub(super) fn write(families: &mut Families<'_, '_>, facts: &Facts) -> fmt::Result {
    each(families, facts, &catalogue::ARCHIVER_UP, |archiver| Some(u64::from(archiver.is_known())))?;
    each(families, facts, &catalogue::ARCHIVER_COLLECTED_TIMESTAMP_SECONDS, |archiver| {
        Some(archiver.observed_at.timestamp())
    })?;
    each(families, facts, &catalogue::ARCHIVER_WAITING_FILES, Archiver::waiting_files)?;
    each(families, facts, &catalogue::ARCHIVER_WAITING_SINCE_TIMESTAMP_SECONDS, |archiver| {
        Some(archiver.next()?.since?.timestamp())
    })?;
    each(families, facts, &catalogue::ARCHIVER_QUEUED_BYTES, Archiver::queued_bytes)?;
    each(families, facts, &catalogue::ARCHIVER_QUEUE_LIMIT_BYTES, |archiver| archiver.queue_limit_bytes)?;
    each(families, facts, &catalogue::ARCHIVER_QUEUE_GROWTH_BYTES_PER_SECOND, |archiver| {
        archiver.growth_bytes_per_second
    })?;
    each(families, facts, &catalogue::ARCHIVER_DROP_EXPECTED_TIMESTAMP_SECONDS, |archiver| {
        archiver.drop_expected_at.map(|at| at.timestamp())
    })?;
    each(families, facts, &catalogue::ARCHIVER_DROPPED_SINCE_TIMESTAMP_SECONDS, |archiver| {
        archiver.dropped.as_ref().map(|dropped| dropped.since.timestamp())
    })?;
    each(families, facts, &catalogue::ARCHIVER_PUSHED_FILES, |archiver| archiver.pushed_files)?;
    families.family(&catalogue::ARCHIVER_REJECTED_SINCE_TIMESTAMP_SECONDS, |family| {
        facts.each_archiver(family, |family, stanza, archiver| {
            let Some(rejected) = &archiver.rejected else { return Ok(()) };
            let labels = [rejected.reason.as_str().into(), stanza.into()];
            family.add_known(&labels, rejected.since.map(|since| since.timestamp()))
        })
    })?;
    families.family(&catalogue::ARCHIVER_ERRORS, |family| {
        facts.each_archiver(family, |family, stanza, archiver| {
            let mut classes = BTreeMap::new();
            for error in &archiver.errors {
                *classes.entry(error.class).or_insert(0_u64) += 1;
            }
            classes
                .into_iter()
                .try_for_each(|(class, errors)| family.add(&[class.into(), stanza.into()], errors))
        })
    })
}

fn each<V: Into<Value>>(
    families: &mut Families<'_, '_>,
    facts: &Facts,
    metric: &Metric<Labels<1>>,
    value: fn(&Archiver) -> Option<V>,
) -> fmt::Result {
    families.family(metric, |family| {
        facts.each_archiver(family, |family, stanza, archiver| {
            family.add_known(&[stanza.into()], value(archiver))
        })
    })
}
