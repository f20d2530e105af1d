//! The services of the plugin, one module each.

mod backups;
mod collection;
mod records;
mod restore_test;
mod stanza;
mod verify;
mod wal;

use std::sync::LazyLock;

use crate::metrics::catalogue::Metric;
use crate::metrics::catalogue::backups::{BACKUPS, REPO_ERROR_INFO, REPO_STATE, REPO_UP};
use crate::metrics::catalogue::exporter::{
    COLLECTOR_INTERVAL_SECONDS, COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS, COLLECTOR_TIMEOUT_SECONDS,
    COLLECTOR_UP,
};

use super::facts::{self, Facts, MetricsByName, Reader};
use super::judge::Judge;
use super::limits::Limits;
use super::quantity::Quantity;
use super::report::Report;

/// A part of what can be checked.
#[derive(Debug)]
pub struct Service {
    pub name: &'static str,
    /// One line for the documentation.
    pub about: &'static str,
    /// What it reads, beside [`ALWAYS_READ`].
    metrics: &'static [&'static Metric],
    pub quantities: &'static [&'static Quantity],
    /// The alerts whose situations it recognizes.
    pub alerts: &'static [&'static str],
    judge: fn(&mut Judge<'_>),
}

/// All services, in the order of reports.
pub const ALL: &[&Service] = &[
    &backups::SERVICE,
    &wal::SERVICE,
    &restore_test::SERVICE,
    &verify::SERVICE,
    &stanza::SERVICE,
    &collection::SERVICE,
];

/// What is read for every service.
const ALWAYS_READ: &[&Metric] = &[
    &BACKUPS,
    &COLLECTOR_INTERVAL_SECONDS,
    &COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS,
    &COLLECTOR_TIMEOUT_SECONDS,
    &COLLECTOR_UP,
    &REPO_ERROR_INFO,
    &REPO_STATE,
    &REPO_UP,
];

/// What is asked for.
#[derive(Debug)]
pub struct Question<'a> {
    pub services: &'a [&'static Service],
    pub limits: &'a Limits,
    /// Alerts whose problems do not count.
    pub ignored: &'a [String],
    /// Whether it is wrong if the WAL archives were not scanned.
    pub expects_scan: bool,
    /// Whether it is also wrong if there is no proof: a scan, a proven recovery window, a restore test or a verification that passed.
    pub demands_proof: bool,
}

/// Reads what the services judge with.
#[must_use]
pub fn reader() -> Reader {
    static READ: LazyLock<MetricsByName> = LazyLock::new(|| {
        let of_services = ALL.iter().flat_map(|service| service.metrics);
        facts::by_name(of_services.chain(ALWAYS_READ).copied())
    });
    Reader::new(&READ)
}

/// Everything that is measured.
pub fn quantities() -> impl Iterator<Item = &'static Quantity> + Clone {
    ALL.iter().flat_map(|service| service.quantities.iter().copied())
}

/// Judges facts at a time, in seconds since 1970.
#[must_use]
pub fn judge(question: &Question<'_>, facts: &Facts, now: f64) -> Report {
    let Question { limits, expects_scan, demands_proof, .. } = *question;
    let mut judge = Judge { facts, limits, now, expects_scan, demands_proof, report: Report::default() };
    for service in question.services {
        (service.judge)(&mut judge);
        judge.expect_values(service.quantities);
    }
    judge.expect_readable();
    judge.report.complete(question.ignored);
    judge.report
}

impl Service {
    /// Whether it needs scans of the WAL archives.
    #[must_use]
    pub fn needs_scan(&self) -> bool {
        self.name == wal::SERVICE.name
    }
}

#[cfg(test)]
mod tests;
