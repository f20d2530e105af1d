//! Which metrics are exposed, and how: the flags as needed by the families.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, Offset, Utc};
use thiserror::Error;

use crate::pgbackrest::label::BackupType;

use super::catalogue::{self, Condition, Layer, Metric};

/// Which metrics are exposed with which labels.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is one switch of the command line")]
pub struct Options {
    /// Exposes everything that exists only for the Go exporter: the `last` families with their fallback from diff to
    /// full, and 0 for unknown sizes and versions.
    pub compat: bool,
    /// Adds the names that the Go exporter no longer uses.
    pub legacy_names: bool,
    /// Which backups get their own series.
    pub backup_detail: BackupDetail,
    /// Restricts the Go exporter's families to backups of this type; all types if not given.
    pub backup_type: Option<BackupType>,
    /// How many of the newest backups of a stanza get their own series; 0 means no limit.
    pub max_backups_per_stanza: usize,
    /// Metrics that are not exposed.
    pub disabled: DisabledMetrics,
    /// Fills `start_time` and `stop_time` of `pgbackrest_backup_duration_seconds`.
    pub backup_time_labels: bool,
    /// The time zone of these two labels, as an offset from UTC at a given time.
    pub time_zone: fn(DateTime<Utc>) -> FixedOffset,
    /// Fills `wal_min` and `wal_max` of `pgbackrest_wal_archive_status`.
    pub verbose_wal: bool,
    /// Exposes `pgbackrest_backup_references`.
    pub reference_count: bool,
    /// Exposes `pgbackrest_backup_databases`.
    pub database_count: bool,
    /// Exposes `pgbackrest_backup_last_databases`.
    pub database_count_latest: bool,
    /// Labels that every series gets.
    pub constant_labels: ConstantLabels,
    /// The build of the program.
    pub build: BuildInfo,
}

/// Which backups get their own series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackupDetail {
    /// Every backup.
    #[default]
    All,
    /// The newest of each type in each repository.
    Last,
    None,
}

/// The build of the program, for the two build information metrics. Unknown values are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildInfo {
    /// The program's version.
    pub version: &'static str,
    /// Commit.
    pub revision: &'static str,
    pub branch: &'static str,
    /// Version of the compiler.
    pub rustc: &'static str,
    /// Operating system, by Go's name.
    pub operating_system: &'static str,
    /// Processor, by Go's name.
    pub architecture: &'static str,
}

/// Names of metrics that are not exposed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DisabledMetrics(BTreeSet<&'static str>);

/// Labels that every series gets, for example if every stanza of a fleet is called `db`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConstantLabels(Arc<[(String, String)]>);

/// An option that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionError {
    /// No metric has that name.
    #[error("cannot disable metric `{name}`: no such metric{}", hint(*.nearest))]
    UnknownMetric {
        /// As given.
        name: String,
        /// The most similar name, if one is similar.
        nearest: Option<&'static str>,
    },
    /// Prometheus would reject the name.
    #[error(
        "constant label `{0}`: label names consist of letters, digits and underscores, \
         and start neither with a digit nor with two underscores"
    )]
    InvalidLabelName(String),
    /// A metric has a label of that name.
    #[error("constant label `{name}`: `{metric}` already has a label with this name; choose another")]
    TakenLabelName {
        /// As given.
        name: String,
        /// One of the metrics.
        metric: &'static str,
    },
    /// The name is given twice.
    #[error("constant label `{0}` is given twice; remove one")]
    RepeatedLabelName(String),
    /// For Prometheus, a label with an empty value does not exist.
    #[error("constant label `{0}` has an empty value; set a value or remove the label")]
    EmptyLabelValue(String),
}

impl Options {
    /// Whether the metric is exposed at all.
    #[must_use]
    pub fn exposes(&self, metric: &Metric) -> bool {
        let wanted = match metric.condition {
            Condition::Always => true,
            Condition::Compat => self.compat,
            Condition::Legacy => self.legacy_names,
            Condition::ReferenceCount => self.reference_count,
            Condition::DatabaseCount => self.database_count,
            Condition::DatabaseCountLatest => self.compat && self.database_count_latest,
        };
        wanted && !self.disabled.0.contains(metric.name)
    }

    /// Whether the Go exporter's families include backups of that type.
    pub(super) fn exposes_type(&self, backup_type: BackupType) -> bool {
        self.backup_type.is_none_or(|only| only == backup_type)
    }

    /// A number that pgBackRest may not report: 0 with compatibility, as in the Go exporter, otherwise absent.
    pub(super) fn or_zero(&self, number: Option<impl Into<u64>>) -> Option<u64> {
        number.map(Into::into).or(self.compat.then_some(0))
    }
}

impl Default for Options {
    /// The defaults of `exporter`: a drop-in replacement for the Go exporter, with times in UTC.
    fn default() -> Self {
        Self {
            compat: true,
            legacy_names: false,
            backup_detail: BackupDetail::All,
            backup_type: None,
            max_backups_per_stanza: 0,
            disabled: DisabledMetrics::default(),
            backup_time_labels: true,
            time_zone: |_| Utc.fix(),
            verbose_wal: false,
            reference_count: false,
            database_count: false,
            database_count_latest: false,
            constant_labels: ConstantLabels::default(),
            build: BuildInfo::default(),
        }
    }
}

impl Default for BuildInfo {
    fn default() -> Self {
        let (operating_system, architecture) = (std::env::consts::OS, architecture());
        let version = env!("CARGO_PKG_VERSION");
        Self { version, revision: "", branch: "", rustc: "", operating_system, architecture }
    }
}

const fn architecture() -> &'static str {
    match std::env::consts::ARCH.as_bytes() {
        b"x86_64" => "amd64",
        b"aarch64" => "arm64",
        b"x86" => "386",
        b"powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        _ => std::env::consts::ARCH,
    }
}

impl DisabledMetrics {
    /// Checks the names against the catalogue.
    ///
    /// # Errors
    /// The first name that no metric has, with the most similar one.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, OptionError> {
        names.into_iter().map(known_name).collect::<Result<_, _>>().map(Self)
    }
}

fn known_name(name: &str) -> Result<&'static str, OptionError> {
    let Some(metric) = catalogue::find(name) else {
        return Err(OptionError::UnknownMetric { name: name.to_owned(), nearest: nearest(name) });
    };
    Ok(metric.name)
}

fn nearest(name: &str) -> Option<&'static str> {
    // Long common prefixes make all names similar; below this value it is a guess.
    const SIMILAR: f64 = 0.8;
    catalogue::all()
        .map(|metric| (strsim::normalized_levenshtein(name, metric.name), metric.name))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

fn hint(nearest: Option<&'static str>) -> String {
    nearest.map_or_else(
        || "; see docs/metrics.md for all names".to_owned(),
        |nearest| format!("; did you mean `{nearest}`?"),
    )
}

impl ConstantLabels {
    /// Checks names and values, and that no metric has a label of the same name.
    ///
    /// # Errors
    /// The first label that cannot be used.
    pub fn new(labels: impl IntoIterator<Item = (String, String)>) -> Result<Self, OptionError> {
        let mut seen = BTreeSet::new();
        let mut checked = Vec::new();
        for (name, value) in labels {
            if !is_label_name(&name) {
                return Err(OptionError::InvalidLabelName(name));
            }
            if let Some(metric) = owner(&name) {
                return Err(OptionError::TakenLabelName { name, metric });
            }
            if value.is_empty() {
                return Err(OptionError::EmptyLabelValue(name));
            }
            if !seen.insert(name.clone()) {
                return Err(OptionError::RepeatedLabelName(name));
            }
            checked.push((name, value));
        }
        Ok(Self(checked.into()))
    }

    /// Name and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn is_label_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_word)
        && !name.starts_with("__")
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

fn owner(label: &str) -> Option<&'static str> {
    if label == "le" {
        return Some(catalogue::exporter::COLLECTOR_DURATION_SECONDS.name);
    }
    // Constant labels exist only in the exporter; the operator's metrics are never combined with them.
    let mut metrics =
        catalogue::all().filter(|metric| !matches!(metric.layer, Layer::Operator | Layer::Jobs));
    metrics.find(|metric| metric.labels.contains(&label)).map(|metric| metric.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Result<ConstantLabels, OptionError> {
        ConstantLabels::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn constant_labels_keep_their_order() {
        let labels = labels(&[("pg_cluster", "böse \"x\""), ("_env", "b")]).unwrap();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("pg_cluster", "böse \"x\""), ("_env", "b")]);
    }

    #[test]
    fn unusable_constant_labels_are_refused_with_the_reason() {
        for name in ["", "9a", "a-b", "__x", "ä", "a b"] {
            assert_eq!(labels(&[(name, "x")]), Err(OptionError::InvalidLabelName(name.to_owned())), "{name}");
        }
        for name in ["stanza", "repo_key", "le", "version", "collector"] {
            let error = labels(&[(name, "x")]).unwrap_err();
            assert!(matches!(error, OptionError::TakenLabelName { .. }), "{error}");
            assert!(error.to_string().contains("choose another"), "{error}");
        }
        assert_eq!(labels(&[("a", "x"), ("a", "y")]), Err(OptionError::RepeatedLabelName("a".to_owned())));
        assert_eq!(labels(&[("a", "")]), Err(OptionError::EmptyLabelValue("a".to_owned())));
    }

    #[test]
    fn an_unknown_metric_cannot_be_disabled_and_the_nearest_is_named() {
        let error = DisabledMetrics::new(["pgbackrest_backup_size_byte"]).unwrap_err();
        assert!(error.to_string().ends_with("did you mean `pgbackrest_backup_size_bytes`?"), "{error}");
        let error = DisabledMetrics::new(["up"]).unwrap_err();
        assert!(error.to_string().ends_with("see docs/metrics.md for all names"), "{error}");
    }

    #[test]
    fn switches_decide_what_is_exposed() {
        let mut options = Options::default();
        assert!(options.exposes(&catalogue::compat::BACKUP_LAST_SIZE_BYTES));
        assert!(!options.exposes(&catalogue::compat::LEGACY_EXPORTER_INFO));
        assert!(!options.exposes(&catalogue::compat::BACKUP_REFERENCES));
        options.compat = false;
        options.database_count_latest = true;
        options.disabled = DisabledMetrics::new(["pgbackrest_backup_size_bytes"]).unwrap();
        assert!(!options.exposes(&catalogue::compat::BACKUP_LAST_SIZE_BYTES));
        assert!(!options.exposes(&catalogue::compat::BACKUP_LAST_DATABASES));
        assert!(!options.exposes(&catalogue::compat::BACKUP_SIZE_BYTES));
        assert!(options.exposes(&catalogue::compat::BACKUP_DELTA_BYTES));
    }
}
