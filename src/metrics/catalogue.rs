//! Every metric once: its exact name, help, type, unit, labels and the source of its value.
//!
//! Families, docs, dashboards and alerts take names from here; names must not be written elsewhere.

use std::fmt;

pub mod archiver;
pub mod backups;
pub mod compat;
pub mod exporter;
pub mod jobs;
pub mod operator;
pub mod restore_tests;
pub mod verifications;
pub mod wal;

/// The names of `N` labels, sorted.
pub type Labels<const N: usize> = [&'static str; N];

/// A metric as it is exposed. `Metric<Labels<N>>` takes exactly `N` label values; a reference to it is also a
/// `&Metric`, for whatever treats all metrics alike.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric<L: ?Sized = [&'static str]> {
    /// Full name; counters end in `_total`.
    pub name: &'static str,
    /// Help text, ASCII, ending in one full stop.
    pub help: &'static str,
    /// Type in the exposition.
    pub kind: MetricKind,
    /// Unit of the value.
    pub unit: Unit,
    /// The set that the metric belongs to.
    pub layer: Layer,
    /// The condition under which it is exposed.
    pub condition: Condition,
    /// One series (or three) for each backup: the cardinality controls apply.
    pub per_backup: bool,
    /// The value depends on the scrape time or on counters, not only on the snapshot.
    pub at_scrape: bool,
    /// Name, labels and help have not been compared with a running release of the Go exporter.
    pub unverified: bool,
    /// Where the value comes from, for the table in the docs.
    pub computed: &'static str,
    /// Label names.
    pub labels: L,
}

/// Prometheus types in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Goes up and down.
    Gauge,
    /// Only increases, starting at 0 with the process.
    Counter,
    /// Classic histogram.
    Histogram,
}

/// Unit of a value, which determines the suffix of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A count, a code, a number or a boolean.
    Plain,
    Bytes,
    BytesPerSecond,
    Seconds,
    /// Seconds since 1970.
    Timestamp,
    Ratio,
}

/// The sets of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The metrics of the Go exporter.
    DropIn,
    /// Backups and repositories.
    Backups,
    /// WAL and recovery.
    Wal,
    /// Restore tests, and how long a recovery takes.
    RestoreTests,
    /// Verifications of repositories.
    Verifications,
    /// The operator, and the state of each cluster.
    Operator,
    /// Backup jobs and schedules of each cluster.
    Jobs,
    /// The exporter itself.
    Exporter,
    /// The operating system's view of the process.
    Process,
}

/// When a metric is exposed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Unless disabled by name.
    Always,
    /// Only with the compatibility switch: a fallback rule that hides which type of backup is missing.
    Compat,
    /// Only with legacy names.
    Legacy,
    /// Only with the count of references.
    ReferenceCount,
    /// Only with the count of databases of every backup.
    DatabaseCount,
    /// Only with the count of databases of the last backups.
    DatabaseCountLatest,
}

impl<const N: usize> Metric<Labels<N>> {
    const fn new(
        layer: Layer,
        kind: MetricKind,
        name: &'static str,
        unit: Unit,
        labels: Labels<N>,
        help: &'static str,
        computed: &'static str,
    ) -> Self {
        let (condition, per_backup, at_scrape, unverified) = (Condition::Always, false, false, false);
        Self { name, help, kind, unit, layer, condition, per_backup, at_scrape, unverified, computed, labels }
    }

    const fn only(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    const fn per_backup(mut self) -> Self {
        self.per_backup = true;
        self
    }

    const fn at_scrape(mut self) -> Self {
        self.at_scrape = true;
        self
    }

    const fn unverified(mut self) -> Self {
        self.unverified = true;
        self
    }
}

impl<L: ?Sized> Metric<L> {
    /// The name in header lines of OpenMetrics: without `_total`, which the encoder appends to samples of counters.
    #[must_use]
    pub fn family_name(&self) -> &'static str {
        match self.kind {
            MetricKind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            MetricKind::Gauge | MetricKind::Histogram => self.name,
        }
    }
}

/// All metrics, in the order of the docs.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    let layers = [
        compat::ALL,
        backups::ALL,
        wal::ALL,
        archiver::ALL,
        restore_tests::ALL,
        verifications::ALL,
        operator::ALL,
        jobs::ALL,
        exporter::ALL,
    ];
    layers.into_iter().chain([exporter::PROCESS]).flatten().copied()
}

/// The number of labels, for the type of a metric.
const fn count<const N: usize>(_: &Labels<N>) -> usize {
    N
}

/// The metric of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Metric> {
    all().find(|metric| metric.name == name)
}

impl Unit {
    /// The suffix of the name of a metric with this unit (before `_total`).
    #[must_use]
    pub const fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bytes => Some("_bytes"),
            Self::BytesPerSecond => Some("_bytes_per_second"),
            Self::Seconds => Some("_seconds"),
            Self::Timestamp => Some("_timestamp_seconds"),
            Self::Ratio => Some("_ratio"),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Plain => "-",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes/s",
            Self::Seconds => "seconds",
            Self::Timestamp => "Unix seconds",
            Self::Ratio => "ratio",
        })
    }
}

impl fmt::Display for MetricKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        })
    }
}

/// Defines metrics and their list in one place, so that none can be missing from the list.
macro_rules! catalogue {
    ($list:ident of $layer:ident:
     $($ident:ident: $kind:ident, $name:literal, $unit:ident, $labels:expr, $help:literal, $computed:literal
       $(, $modifier:ident $(($argument:ident))?)*;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $ident: Metric<Labels<{ count(&$labels) }>> = Metric::new(
                Layer::$layer, MetricKind::$kind, $name, Unit::$unit, $labels, $help, $computed,
            )$(.$modifier($(Condition::$argument)?))*;
        )*
        /// All of this layer.
        pub const $list: &[&Metric] = &[$(&$ident),*];
    };
}
use catalogue;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_and_help_is_unique() {
        let names: BTreeSet<_> = all().map(|metric| metric.name).collect();
        assert_eq!(names.len(), all().count());
        let families: BTreeSet<_> = all().map(Metric::family_name).collect();
        assert_eq!(families.len(), names.len());
        assert!(names.len() > 90, "{}", names.len());
    }

    #[test]
    fn names_fit_their_type_and_unit() {
        for metric in all() {
            let name = metric.name;
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
            assert!(name.starts_with("pgbackrest_") || metric.layer == Layer::Process, "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == MetricKind::Counter, "{name}");
            match metric.unit.suffix() {
                // The only standard name of a timestamp without the suffix.
                Some(_) if name == "process_start_time_seconds" => {}
                Some(suffix) => assert!(metric.family_name().ends_with(suffix), "{name} lacks {suffix}"),
                None => assert!(!name.ends_with("_seconds") && !name.ends_with("_bytes"), "{name}"),
            }
            if metric.unit == Unit::Seconds {
                assert!(!name.ends_with("_timestamp_seconds"), "{name}");
            }
        }
    }

    #[test]
    fn help_needs_no_escaping_and_ends_in_one_full_stop() {
        for metric in all() {
            for text in [metric.help, metric.computed] {
                assert!(text.is_ascii() && !text.contains(['\\', '\n', '|']), "{}: {text}", metric.name);
            }
            assert!(metric.help.ends_with('.') && !metric.help.ends_with(".."), "{}", metric.name);
            assert!(!metric.computed.is_empty() && !metric.computed.ends_with('.'), "{}", metric.name);
        }
    }

    #[test]
    fn labels_are_sorted_unique_and_valid() {
        for metric in all() {
            assert!(metric.labels.is_sorted_by(|a, b| a < b), "{}: {:?}", metric.name, &metric.labels);
            for label in &metric.labels {
                assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", metric.name);
                assert!(!["le", "job", "instance"].contains(label), "{}", metric.name);
            }
        }
    }

    #[test]
    fn what_depends_on_counters_is_encoded_at_the_scrape() {
        for metric in all() {
            assert!(metric.at_scrape || metric.kind == MetricKind::Gauge, "{}", metric.name);
            assert!(metric.at_scrape || metric.layer != Layer::Process, "{}", metric.name);
        }
    }

    #[test]
    fn a_metric_is_found_by_its_name() {
        let repo_up: &Metric = &backups::REPO_UP;
        assert_eq!(find("pgbackrest_repo_up"), Some(repo_up));
        assert_eq!(find("pgbackrest_repo"), None);
    }
}
