//! Counters that are encoded in advance.

use std::fmt::{self, Write as _};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;

use crate::metrics::options::Options;

use super::deflate::{Deflated, Deflater, StreamEnd};
use super::{EncodeError, Format, classic, registry};

/// Compression level of the parts encoded in advance.
const STATIC_LEVEL: u32 = 4;

/// Families of counters, deflated in both formats, because their header lines differ. Initially empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    openmetrics: Deflated,
    classic: Deflated,
}

impl Counters {
    pub(super) fn encode(options: &Options, collector: impl Collector) -> Result<Self, EncodeError> {
        let mut counters = String::new();
        text::encode_registry(&mut counters, &registry(options, collector))?;
        Ok(Self {
            openmetrics: deflated(|to| to.write_str(&counters))?,
            classic: deflated(|to| to.write_str(&classic::from_openmetrics(&counters)))?,
        })
    }

    pub(super) const fn of(&self, format: Format) -> &Deflated {
        match format {
            Format::Classic => &self.classic,
            Format::OpenMetrics => &self.openmetrics,
        }
    }
}

/// Deflates the written text once for many responses.
pub(super) fn deflated(write: impl FnOnce(&mut Deflater) -> fmt::Result) -> Result<Deflated, EncodeError> {
    deflated_at(STATIC_LEVEL, write)
}

/// The same at another level.
pub(super) fn deflated_at(
    level: u32,
    write: impl FnOnce(&mut Deflater) -> fmt::Result,
) -> Result<Deflated, EncodeError> {
    let mut writer = Deflater::new(level);
    let written = write(&mut writer);
    // The compressor's error is more specific than a failed write.
    let deflated = writer.finish(StreamEnd::Open)?;
    written?;
    Ok(deflated)
}
