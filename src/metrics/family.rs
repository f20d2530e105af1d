//! Writes families to the encoder: names and label names come from the catalogue, a family without series is omitted,
//! and every series is counted.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Datelike, FixedOffset, Timelike};
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabel, EncodeLabelSet, EncodeLabelValue, EncodeMetric,
    GaugeValueEncoder, LabelSetEncoder, LabelValueEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::cluster::key::Key;
use crate::pgbackrest::wal::{Lsn, WalSegment};
use crate::state::snapshot::ByteCount;

use super::catalogue::operator::CLUSTER;
use super::catalogue::{Labels, Metric, MetricKind};
use super::options::Options;

/// Lines of a histogram in addition to its finite buckets: +Inf, sum and count.
const HISTOGRAM_EXTRA: u64 = 3;

/// Writes families.
pub(super) struct Families<'a, 'e> {
    pub(super) encoder: DescriptorEncoder<'e>,
    pub(super) options: &'a Options,
    /// Series written so far.
    pub(super) series: &'a AtomicU64,
}

/// A family being filled. Its header is written with the first series.
pub(super) struct Family<'s, 'e, const N: usize> {
    metric: &'s Metric<Labels<N>>,
    unopened: Option<&'s mut DescriptorEncoder<'e>>,
    encoder: Option<MetricEncoder<'s>>,
    /// The cluster of the added series; `None` for this host.
    cluster: Option<Arc<Key>>,
    series: u64,
}

/// A label value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Label<'a> {
    Text(&'a str),
    Number(u64),
    /// Empty if there is no value.
    Segment(Option<WalSegment>),
    /// `-` if there is no value, as in the Go exporter.
    Lsn(Option<Lsn>),
    /// `2026-11-22 09:38:12`, empty if there is no value.
    Time(Option<DateTime<FixedOffset>>),
}

/// The value of a gauge. Integers are written without a decimal point, so that sizes above 2^53 stay exact.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl<'e> Families<'_, 'e> {
    /// Writes a family, if it is to be exposed and `fill` adds a series.
    pub(super) fn family<const N: usize>(
        &mut self,
        metric: &Metric<Labels<N>>,
        fill: impl FnOnce(&mut Family<'_, 'e, N>) -> fmt::Result,
    ) -> fmt::Result {
        if !self.options.exposes(metric) {
            return Ok(());
        }
        let unopened = Some(&mut self.encoder);
        let mut family = Family { metric, unopened, encoder: None, cluster: None, series: 0 };
        fill(&mut family)?;
        self.series.fetch_add(family.series, Ordering::Relaxed);
        Ok(())
    }

    /// Writes a counter without labels.
    pub(super) fn counter(&mut self, metric: &Metric<Labels<0>>, value: f64) -> fmt::Result {
        if !self.options.exposes(metric) {
            return Ok(());
        }
        let kind = metric_type(metric);
        let mut encoder = self.encoder.encode_descriptor(metric.family_name(), metric.help, None, kind)?;
        self.series.fetch_add(1, Ordering::Relaxed);
        encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }
}

impl<'s, const N: usize> Family<'s, '_, N> {
    /// Sets the cluster of the following series.
    pub(super) fn of(&mut self, cluster: Option<&Arc<Key>>) {
        self.cluster = cluster.cloned();
    }

    /// Adds a series; `labels` in the order of the catalogue.
    pub(super) fn add(&mut self, labels: &[Label<'_>; N], value: impl Into<Value>) -> fmt::Result {
        let (names, cluster) = (&self.metric.labels, self.cluster.clone());
        let encoder = self.open()?;
        let value = value.into();
        if N == 0 && cluster.is_none() {
            return encoder.encode_gauge(&value);
        }
        let labels = LabelSet { cluster: cluster.as_deref(), names, values: labels };
        encoder.encode_family(&labels)?.encode_gauge(&value)
    }

    /// Adds a counter whose value is stored elsewhere; it has at least one label.
    pub(super) fn add_count(&mut self, labels: &[Label<'_>; N], count: u64) -> fmt::Result {
        let (names, cluster) = (&self.metric.labels, self.cluster.clone());
        let labels = LabelSet { cluster: cluster.as_deref(), names, values: labels };
        self.open()?.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)
    }

    /// Adds a counter with its own value; it has at least one label.
    pub(super) fn add_counter(&mut self, labels: &[Label<'_>; N], counter: &Counter) -> fmt::Result {
        self.add_encoded(labels, counter, 1)
    }

    /// Adds a histogram with this many finite buckets; it has at least one label.
    pub(super) fn add_histogram(
        &mut self,
        labels: &[Label<'_>; N],
        histogram: &Histogram,
        buckets: usize,
    ) -> fmt::Result {
        self.add_encoded(labels, histogram, buckets as u64 + HISTOGRAM_EXTRA)
    }

    fn add_encoded(
        &mut self,
        labels: &[Label<'_>; N],
        metric: &impl EncodeMetric,
        lines: u64,
    ) -> fmt::Result {
        let names = &self.metric.labels;
        let encoder = self.open()?;
        metric.encode(encoder.encode_family(&LabelSet { cluster: None, names, values: labels })?)?;
        self.series += lines - 1;
        Ok(())
    }

    /// Writes the header before the first series.
    fn open(&mut self) -> Result<&mut MetricEncoder<'s>, fmt::Error> {
        if let Some(encoder) = self.unopened.take() {
            let (metric, kind) = (self.metric, metric_type(self.metric));
            self.encoder = Some(encoder.encode_descriptor(metric.family_name(), metric.help, None, kind)?);
        }
        self.series += 1;
        self.encoder.as_mut().ok_or(fmt::Error)
    }

    /// Adds a series if there is a value: an unknown value is an absent series.
    pub(super) fn add_known<V: Into<Value>>(
        &mut self,
        labels: &[Label<'_>; N],
        value: Option<V>,
    ) -> fmt::Result {
        value.map_or(Ok(()), |value| self.add(labels, value))
    }
}

const fn metric_type<L: ?Sized>(metric: &Metric<L>) -> MetricType {
    match metric.kind {
        MetricKind::Gauge => MetricType::Gauge,
        MetricKind::Counter => MetricType::Counter,
        MetricKind::Histogram => MetricType::Histogram,
    }
}

struct LabelSet<'a, const N: usize> {
    cluster: Option<&'a Key>,
    names: &'a Labels<N>,
    values: &'a [Label<'a>; N],
}

impl<const N: usize> EncodeLabelSet for LabelSet<'_, N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        if let Some(Key { namespace, name }) = self.cluster {
            let [of_namespace, of_cluster] = CLUSTER;
            (of_namespace, namespace.as_str()).encode(encoder.encode_label())?;
            (of_cluster, name.as_str()).encode(encoder.encode_label())?;
        }
        for (name, value) in self.names.iter().zip(self.values) {
            (*name, *value).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

impl EncodeLabelValue for Label<'_> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => encoder.write_str(text),
            Self::Number(number) => EncodeLabelValue::encode(number, encoder),
            Self::Segment(segment) => segment.map_or(Ok(()), |segment| write!(encoder, "{segment}")),
            Self::Lsn(None) => encoder.write_str("-"),
            Self::Lsn(Some(lsn)) => write!(encoder, "{lsn}"),
            Self::Time(time) => time.map_or(Ok(()), |time| {
                let (date, time) = (time.date_naive(), time.time());
                let (hour, minute, second) = (time.hour(), time.minute(), time.second());
                write!(encoder, "{:04}-{:02}-{:02} ", date.year(), date.month(), date.day())?;
                write!(encoder, "{hour:02}:{minute:02}:{second:02}")
            }),
        }
    }
}

impl EncodeGaugeValue for Value {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(value) => EncodeGaugeValue::encode(value, encoder),
            Self::Signed(value) => EncodeGaugeValue::encode(value, encoder),
            Self::Float(value) => EncodeGaugeValue::encode(value, encoder),
        }
    }
}

impl<'a> From<&'a str> for Label<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Label<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Label<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<ByteCount> for Value {
    fn from(value: ByteCount) -> Self {
        Self::Unsigned(value.get())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Unsigned(value.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Signed(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Unsigned(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}
