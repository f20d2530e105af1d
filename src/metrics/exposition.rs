//! From snapshot to the bytes of a response.
//!
//! Most of a response changes only with a new snapshot. That part is encoded and deflated once ([`StaticPart`]), and what depends on
//! the time once a second; the operator's metrics of clusters are encoded whenever they change ([`ClusterMetrics`]). A scrape adds the
//! part that depends on counters ([`dynamic_part`]), and joins all parts ([`gzip`], [`plain`]).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;
use thiserror::Error;

use crate::state::snapshot::Snapshot;

use super::collection::{self, CollectionMetrics};
use super::facts::Facts;
use super::family::Families;
use super::operator::OperatorMetrics;
use super::options::Options;
use super::process::{self, ProcessFigures};
use super::selection::Selection;
use super::{
    archiver, backup, catalogue, compat, continuity, repo, restore_tests, retention, stanza, verifications,
    wal,
};

mod ages;
mod answer;
mod classic;
mod clusters;
mod counters;
mod deflate;
mod negotiation;

pub use answer::{PlainChunks, StaticPart, gzip, plain};
pub use clusters::ClusterMetrics;
pub use negotiation::{Format, accepts_gzip, negotiate};

/// A response could not be encoded.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// A writer failed.
    #[error("cannot encode the metrics: the encoder failed")]
    Format(#[from] fmt::Error),
    /// The compressor failed.
    #[error("cannot compress the metrics: {0}")]
    Compress(#[from] flate2::CompressError),
    /// Compressed data cannot be decompressed.
    #[error("cannot decompress the metrics: {0}")]
    Decompress(#[from] flate2::DecompressError),
    /// Compressed data ends too early.
    #[error("cannot decompress the metrics: unexpected end of data")]
    Incomplete,
}

/// The data that a scrape adds to the static part.
#[derive(Debug, Clone)]
pub struct Dynamic<'a> {
    /// The static part and everything joined to it, for the number of series.
    pub static_part: &'a StaticPart,
    /// Counters of the process.
    pub collection: &'a Arc<CollectionMetrics>,
    /// The operator, if there is one.
    pub operator: Option<&'a Arc<OperatorMetrics>>,
    /// The process, if the operating system provides its figures.
    pub process: Option<ProcessFigures>,
    /// The metrics to expose.
    pub options: &'a Arc<Options>,
}

/// Encodes the part that is another one at each scrape; in OpenMetrics with the final `# EOF`.
///
/// # Errors
/// If the encoder fails; no input is known to cause this.
pub fn dynamic_part(parts: &Dynamic<'_>, format: Format) -> Result<String, EncodeError> {
    let series = Arc::new(AtomicU64::new(parts.static_part.series()));
    let mut body = String::new();
    let at_scrape = AtScrape {
        collection: Arc::clone(parts.collection),
        operator: parts.operator.map(Arc::clone),
        process: parts.process,
        options: Arc::clone(parts.options),
        series,
    };
    text::encode_registry(&mut body, &registry(parts.options, at_scrape))?;
    Ok(match format {
        Format::Classic => classic::from_openmetrics(&body),
        Format::OpenMetrics => {
            text::encode_eof(&mut body)?;
            body
        }
    })
}

/// Encodes a snapshot in the classic format, to be read later: for a file, or a Pushgateway.
///
/// Contains neither ages, which are wrong as soon as they are written, nor counters of this process, which ends.
///
/// # Errors
/// If the encoder fails; no input is known to cause this.
pub fn written(
    snapshot: &Arc<Snapshot>,
    collection: &Arc<CollectionMetrics>,
    options: &Arc<Options>,
    now: DateTime<Utc>,
) -> Result<String, EncodeError> {
    let (series, options) = (Arc::new(AtomicU64::new(0)), Arc::clone(options));
    let of_snapshot =
        OfSnapshot { facts: Facts::Host(Arc::clone(snapshot)), options: Arc::clone(&options), series };
    let written = Written { of_snapshot, collection: Arc::clone(collection), now };
    let mut body = String::new();
    text::encode_registry(&mut body, &registry(&options, written))?;
    Ok(classic::from_openmetrics(&body))
}

/// Families with a series for each backup. They are most of the text, and change only with the backups.
#[derive(Debug)]
struct OfBackups {
    facts: Facts,
    options: Arc<Options>,
    series: Arc<AtomicU64>,
}

/// The other families that depend only on the snapshot. All are gauges, whose text is the same in both formats.
#[derive(Debug)]
struct OfSnapshot {
    facts: Facts,
    options: Arc<Options>,
    series: Arc<AtomicU64>,
}

/// Counters that depend only on the snapshot.
#[derive(Debug)]
struct CountersOfSnapshot {
    facts: Facts,
    options: Arc<Options>,
    series: Arc<AtomicU64>,
}

/// Families about this process and what it does.
#[derive(Debug)]
struct AtScrape {
    collection: Arc<CollectionMetrics>,
    operator: Option<Arc<OperatorMetrics>>,
    process: Option<ProcessFigures>,
    options: Arc<Options>,
    series: Arc<AtomicU64>,
}

/// What is written once, and read later.
#[derive(Debug)]
struct Written {
    of_snapshot: OfSnapshot,
    collection: Arc<CollectionMetrics>,
    now: DateTime<Utc>,
}

impl Collector for OfBackups {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let families = &mut Families { encoder, options: &self.options, series: &self.series };
        compat::detail::write(families, &Selection::of(&self.facts, &self.options))
    }
}

impl Collector for OfSnapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.write(&mut Families { encoder, options: &self.options, series: &self.series })
    }
}

impl Collector for Written {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let OfSnapshot { facts, options, series } = &self.of_snapshot;
        let families = &mut Families { encoder, options, series };
        compat::detail::write(families, &Selection::of(facts, options))?;
        self.of_snapshot.write(families)?;
        retention::write_checks(families, facts, self.now)?;
        self.collection.write_cadence(families)
    }
}

impl OfSnapshot {
    fn write(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let (facts, options) = (&self.facts, &*self.options);
        compat::status(families, facts)?;
        let selection = Selection::of(facts, options);
        compat::last::write(families, facts)?;
        compat::wal_archive_status(families, facts)?;
        compat::exporter(families, facts)?;
        backup::write(families, facts)?;
        repo::write(families, facts)?;
        stanza::write(families, facts)?;
        retention::write(families, facts)?;
        wal::write(families, facts)?;
        continuity::write(families, facts, &selection)?;
        archiver::write(families, facts)?;
        restore_tests::write(families, facts)?;
        verifications::write(families, facts)?;
        collection::write_health(families, facts)?;
        if let Facts::Fleet(fleet) = facts {
            // Too many to encode at every scrape; a fleet is encoded again frequently.
            retention::write_checks(families, facts, fleet.as_of)?;
        }
        families.family(&catalogue::exporter::PROGRAM_INFO, |family| {
            facts.each(family, |family, snapshot| {
                let Some(version) = snapshot.version else { return Ok(()) };
                family.add(&[version.product.name().into(), version.to_string().as_str().into()], 1_u64)
            })
        })?;
        families.family(&catalogue::exporter::EXPORTER_SERIES_DROPPED, |family| {
            family.add(&[], selection.hidden_series(options))
        })?;
        families.family(&catalogue::exporter::EXPORTER_RUST_INFO, |family| {
            let build = &options.build;
            family.add(&[build.revision.into(), build.rustc.into(), build.version.into()], 1_u64)
        })
    }
}

impl Collector for CountersOfSnapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let families = &mut Families { encoder, options: &self.options, series: &self.series };
        wal::write_growth(families, &self.facts)
    }
}

impl Collector for AtScrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let families = &mut Families { encoder, options: &self.options, series: &self.series };
        self.collection.write(families)?;
        if let Some(operator) = &self.operator {
            operator.write(families)?;
        }
        if let Some(figures) = &self.process {
            process::write(families, figures)?;
        }
        families.family(&catalogue::exporter::EXPORTER_SERIES, |family| {
            family.add(&[], self.series.load(Ordering::Relaxed) + 1)
        })
    }
}

fn registry(options: &Options, collector: impl Collector) -> Registry {
    let labels =
        options.constant_labels.iter().map(|(name, value)| (name.to_owned().into(), value.to_owned().into()));
    let mut registry = Registry::with_labels(labels);
    registry.register_collector(Box::new(collector));
    registry
}

#[cfg(test)]
mod tests;
