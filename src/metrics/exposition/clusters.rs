//! The operator's metrics of each cluster of a fleet: encoded when they change, not when scraped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};

use crate::metrics::family::Families;
use crate::metrics::operator::OperatorMetrics;
use crate::metrics::options::Options;

use super::counters::{Counters, deflated};
use super::deflate::Deflated;
use super::{EncodeError, Format, registry};

/// Families with series for each cluster, deflated. Initially empty.
#[derive(Debug, Clone, Default)]
pub struct ClustersPart {
    /// Gauges and histograms: the same in both formats.
    common: Deflated,
    counters: Counters,
    series: u64,
}

impl ClustersPart {
    /// Encodes and deflates, as of `now`. Takes time proportional to the fleet: do not call on an async thread.
    ///
    /// # Errors
    /// If the encoder or the compressor fails; no input is known to cause this.
    pub fn encode(
        operator: &Arc<OperatorMetrics>,
        options: &Arc<Options>,
        now: DateTime<Utc>,
    ) -> Result<Self, EncodeError> {
        let series = Arc::new(AtomicU64::new(0));
        let collector = |counters| OfClusters {
            operator: Arc::clone(operator),
            options: Arc::clone(options),
            counters,
            now,
            series: Arc::clone(&series),
        };
        let counters = Counters::encode(options, collector(true))?;
        let common = deflated(|to| text::encode_registry(to, &registry(options, collector(false))))?;
        Ok(Self { common, counters, series: series.load(Ordering::Relaxed) })
    }

    /// Number of series.
    #[must_use]
    pub const fn series(&self) -> u64 {
        self.series
    }

    pub(super) fn pieces(&self, format: Format) -> [&Deflated; 2] {
        [&self.common, self.counters.of(format)]
    }
}

/// The families with series per cluster.
#[derive(Debug)]
struct OfClusters {
    operator: Arc<OperatorMetrics>,
    options: Arc<Options>,
    /// Only these, or all but these.
    counters: bool,
    now: DateTime<Utc>,
    series: Arc<AtomicU64>,
}

impl Collector for OfClusters {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let families = &mut Families { encoder, options: &self.options, series: &self.series };
        if self.counters {
            return self.operator.write_cluster_counters(families);
        }
        self.operator.write_clusters(families, self.now)
    }
}
