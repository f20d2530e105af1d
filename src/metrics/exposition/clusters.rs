//! The operator's metrics of each cluster of a fleet: encoded when they change, not when scraped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};

use crate::metrics::family::Families;
use crate::metrics::operator::OperatorMetrics;
use crate::metrics::options::Options;

use super::answer::StaticPart;
use super::counters::{Counters, deflated};
use super::deflate::Deflated;
use super::{EncodeError, Format, registry};

/// Time-dependent metrics are encoded again after this many seconds. Scheduled runs start at such times.
const STEP: i64 = 10;

/// The operator's metrics of all clusters as they are served.
#[derive(Debug)]
pub struct ClusterMetrics {
    operator: Arc<OperatorMetrics>,
    encoded: ArcSwap<Encoded>,
}

/// The metrics at one point in time.
#[derive(Debug, Default)]
struct Encoded {
    part: ClustersPart,
    epoch: u64,
    revision: u64,
    as_of: Option<DateTime<Utc>>,
}

impl ClusterMetrics {
    /// Initially without any cluster.
    #[must_use]
    pub fn new(operator: Arc<OperatorMetrics>) -> Self {
        Self { operator, encoded: ArcSwap::default() }
    }

    /// The metrics that are encoded.
    #[must_use]
    pub const fn operator(&self) -> &Arc<OperatorMetrics> {
        &self.operator
    }

    /// The static part with the metrics of the clusters; without them from the moment that leadership is lost.
    #[must_use]
    pub fn joined(&self, body: &StaticPart, format: Format) -> StaticPart {
        let (encoded, none) = (self.encoded.load(), ClustersPart::default());
        let part = if encoded.epoch == self.operator.epoch() { &encoded.part } else { &none };
        body.joined([&part.common, part.counters.of(format)], part.series)
    }

    /// Whether something may have changed since the last encoding, or enough time has passed.
    #[must_use]
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        let encoded = self.encoded.load();
        let step = |at: DateTime<Utc>| at.timestamp().div_euclid(STEP);
        encoded.epoch != self.operator.epoch()
            || encoded.revision != self.operator.revision()
            || encoded.as_of.is_none_or(|as_of| step(as_of) != step(now))
    }

    /// Encodes the metrics as of `now`. Takes time proportional to the fleet: do not call on an async thread.
    ///
    /// # Errors
    /// If the encoder fails; then the previous metrics stay.
    pub fn encode(&self, options: &Arc<Options>, now: DateTime<Utc>) -> Result<(), EncodeError> {
        let (epoch, revision) = (self.operator.epoch(), self.operator.revision());
        let part = ClustersPart::encode(&self.operator, options, now)?;
        self.encoded.store(Arc::new(Encoded { part, epoch, revision, as_of: Some(now) }));
        Ok(())
    }
}

/// Families with series for each cluster, deflated. Initially empty.
#[derive(Debug, Clone, Default)]
struct ClustersPart {
    /// Gauges and histograms: the same in both formats.
    common: Deflated,
    counters: Counters,
    series: u64,
}

impl ClustersPart {
    fn encode(
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
