//! What changes with the time, to the second.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};

use crate::metrics::facts::Facts;
use crate::metrics::family::Families;
use crate::metrics::options::Options;
use crate::metrics::{compat, retention};

use super::counters::deflated_at;
use super::deflate::Deflated;
use super::{EncodeError, registry};

/// Compression level of what is sent for at most a second.
const LEVEL: u32 = 1;

/// The families of a host whose values depend on the time. Those of a fleet are encoded with all others.
#[derive(Debug)]
pub(super) struct Ages {
    facts: Facts,
    options: Arc<Options>,
    /// All scrapes in one second have the same.
    encoded: Mutex<Option<Encoded>>,
}

#[derive(Debug, Clone)]
pub(super) struct Encoded {
    second: i64,
    pub(super) piece: Deflated,
    pub(super) series: u64,
}

impl Ages {
    pub(super) fn new(facts: Facts, options: &Arc<Options>) -> Self {
        Self { facts, options: Arc::clone(options), encoded: Mutex::default() }
    }

    pub(super) fn at(&self, now: DateTime<Utc>) -> Result<Encoded, EncodeError> {
        let mut known = self.encoded.lock();
        if let Some(encoded) = known.as_ref().filter(|encoded| encoded.second == now.timestamp()) {
            return Ok(encoded.clone());
        }
        let encoded = self.encode(now)?;
        *known = Some(encoded.clone());
        Ok(encoded)
    }

    fn encode(&self, now: DateTime<Utc>) -> Result<Encoded, EncodeError> {
        let series = Arc::new(AtomicU64::new(0));
        let (facts, options) = (self.facts.clone(), Arc::clone(&self.options));
        let collector = AtTime { facts, options, now, series: Arc::clone(&series) };
        let piece = deflated_at(LEVEL, |to| text::encode_registry(to, &registry(&self.options, collector)))?;
        Ok(Encoded { second: now.timestamp(), piece, series: series.load(Ordering::Relaxed) })
    }
}

/// All are gauges, whose text is the same in both formats.
#[derive(Debug)]
struct AtTime {
    facts: Facts,
    options: Arc<Options>,
    now: DateTime<Utc>,
    series: Arc<AtomicU64>,
}

impl Collector for AtTime {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if matches!(self.facts, Facts::Fleet(_)) {
            return Ok(());
        }
        let families = &mut Families { encoder, options: &self.options, series: &self.series };
        compat::last::write_ages(families, &self.facts, self.now)?;
        retention::write_checks(families, &self.facts, self.now)
    }
}
