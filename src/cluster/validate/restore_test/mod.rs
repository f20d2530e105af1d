//! Turns a `RestoreTest` resource into a `ValidatedRestoreTest`, or findings. An error is about all of it: half of what somebody wants
//! to be tested proves something else.

mod pod;
mod request;
mod schedule;
mod what;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;
use serde_json::Value;

use super::{Checks, object_name, pods, sort, unknown};
use crate::cluster::finding::{Finding, codes};
use crate::cluster::names;
use crate::cluster::quantity;
use crate::cluster::references::References;
use crate::cluster::restore_test::resource::{self, Clusters, RestoreTest};
use crate::cluster::restore_test::validated::{
    ClusterSelection, History, Storage, Timeouts, ValidatedRestoreTest,
};
use crate::cluster::settings::Settings;

/// A day: for the test as a whole, and for its long phases.
const DAY: Duration = Duration::from_hours(24);
const CHECK: Duration = Duration::from_hours(6);
/// A test must have time to do anything.
const SHORTEST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(30 * 24);

/// Kept by default. A volume exists as long as the pod of its Job, so Jobs are not kept for long.
const SUCCESSFUL: i32 = 1;
const FAILED: i32 = 3;
const TIME_TO_LIVE: Duration = Duration::from_hours(1);
/// If the copy of a failed test is kept, somebody needs time to look at it.
const TIME_TO_LOOK: Duration = Duration::from_hours(3 * 24);

/// Validates any document. There is a restore test if no finding is an error.
#[must_use]
pub fn restore_test(document: Value, settings: &Settings) -> (Option<ValidatedRestoreTest>, Vec<Finding>) {
    let mut findings = unknown::fields_of_restore_test(&document);
    let (resource, wrong) = resource::read(document);
    findings.extend(wrong);
    let references = References::default();
    let mut checks = Checks::new(&references, settings);
    let test = look(&resource, &mut checks);
    findings.extend(checks.findings);
    super::without_echoes(&mut findings);
    sort(&mut findings);
    let is_good = !findings.iter().any(Finding::is_error);
    (test.filter(|_| is_good), findings)
}

/// None only with an error.
fn look(resource: &RestoreTest, checks: &mut Checks<'_>) -> Option<ValidatedRestoreTest> {
    let RestoreTest { metadata, spec } = resource;
    let name = name(metadata.name.as_deref().unwrap_or_default(), checks);
    let namespace = metadata.namespace.clone().filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or_else(|| checks.settings.default_namespace.clone());
    let clusters = clusters(&spec.clusters, checks);
    let schedule = schedule::look(spec, &namespace, &name, checks);
    let what = what::look(spec, checks);
    let timeout = |given: &Option<String>, name: &str, usual: Duration, checks: &mut Checks<'_>| {
        let field = format!("spec.timeouts.{name}");
        duration(given.as_deref(), &field, SHORTEST..=LONGEST, checks).unwrap_or(usual)
    };
    let timeouts = Timeouts {
        total: timeout(&spec.timeouts.total, "total", DAY, checks),
        restore: timeout(&spec.timeouts.restore, "restore", DAY, checks),
        replay: timeout(&spec.timeouts.replay, "replay", DAY, checks),
        check: timeout(&spec.timeouts.check, "check", CHECK, checks),
    };
    let keeps_failed = spec.keep_on_failure.unwrap_or_default();
    let storage = storage(&spec.storage, checks);
    let secret = named(spec.configuration.secret.as_deref(), "spec.configuration.secret", checks);
    let history = history(&spec.history, keeps_failed, checks);
    let pod = pod::look(&spec.pod, checks);
    let test_now = request::look(metadata, checks);
    let what::What { repo, backup, target, databases, process_max, postgresql, checks: tests } = what;
    Some(ValidatedRestoreTest {
        name,
        namespace,
        uid: metadata.uid.clone(),
        clusters: clusters?,
        schedule: schedule.expression?,
        time_zone: schedule.time_zone,
        starting_deadline: schedule.starting_deadline,
        is_suspended: spec.suspend.unwrap_or_default(),
        runs_during_backups: spec.during_backups.unwrap_or_default(),
        repo: repo?,
        backup: backup?,
        target: target?,
        databases,
        process_max,
        timeouts,
        storage: storage?,
        secret,
        postgresql,
        checks: tests,
        pod,
        keeps_failed,
        history,
        test_now,
    })
}

fn name(name: &str, checks: &mut Checks<'_>) -> String {
    if !names::is_dns_label(name, names::LONGEST_RESTORE_TEST) {
        checks.note_value(
            &codes::NAME_INVALID,
            "metadata.name",
            name,
            format!("is not valid for the name of its CronJob, {}", names::restore_test("<name>")),
            format!("use at most {} lower-case letters, digits and dashes", names::LONGEST_RESTORE_TEST),
        );
    }
    name.to_owned()
}

fn clusters(given: &Clusters, checks: &mut Checks<'_>) -> Option<ClusterSelection> {
    let field = "spec.clusters";
    match (&given.selector, given.names.is_empty()) {
        (None, true) => {
            checks.note(
                &codes::FIELD_EMPTY,
                field,
                "selects no clusters",
                "set names, or selector, such as {} for all clusters of the namespace",
            );
            None
        }
        (Some(_), false) => {
            checks.note(
                &codes::FIELD_MALFORMED,
                field,
                "has both names and selector, and the API server accepts only one of them",
                "remove one of them",
            );
            None
        }
        (None, false) => {
            for (index, name) in given.names.iter().enumerate() {
                object_name(name, &format!("{field}.names[{index}]"), checks);
            }
            Some(ClusterSelection::Names(given.names.iter().cloned().collect()))
        }
        (Some(selector), true) => {
            let field = format!("{field}.selector");
            let parsed: LabelSelector = pods::typed(selector, &field, checks)?;
            let selector = Selector::try_from(parsed).ok();
            if selector.is_none() {
                checks.note(
                    &codes::FIELD_MALFORMED,
                    format!("{field}.matchExpressions"),
                    "has an operator that Kubernetes does not have, or no values for one that needs them",
                    "use In or NotIn with values, or Exists or DoesNotExist",
                );
            }
            selector.map(ClusterSelection::Labels)
        }
    }
}

/// Both kinds of storage are an error.
fn storage(given: &resource::Storage, checks: &mut Checks<'_>) -> Option<Storage> {
    match (&given.ephemeral, &given.empty_dir) {
        (Some(_), Some(_)) => {
            checks.note(
                &codes::FIELD_MALFORMED,
                "spec.storage",
                "has both ephemeral and emptyDir, and the API server accepts only one of them",
                "remove one of them",
            );
            None
        }
        (None, Some(directory)) => {
            let size_limit = size(directory.size_limit.as_deref(), "spec.storage.emptyDir.sizeLimit", checks);
            Some(Storage::EmptyDir { size_limit })
        }
        (volume, None) => {
            let volume = volume.clone().unwrap_or_default();
            let field = "spec.storage.ephemeral";
            Some(Storage::Ephemeral {
                storage_class: named(
                    volume.storage_class.as_deref(),
                    &format!("{field}.storageClass"),
                    checks,
                ),
                size: size(volume.size.as_deref(), &format!("{field}.size"), checks),
            })
        }
    }
}

fn size(given: Option<&str>, field: &str, checks: &mut Checks<'_>) -> Option<String> {
    let given = given?;
    if quantity::thousandths(given).is_none_or(|size| size == 0) {
        checks.note_value(
            &codes::VOLUME_SIZE_INVALID,
            field,
            given,
            "is not a size",
            "use a Kubernetes quantity, such as 50Gi, or omit it for a size that fits the cluster",
        );
        return None;
    }
    Some(given.to_owned())
}

fn history(given: &resource::History, keeps_failed: bool, checks: &mut Checks<'_>) -> History {
    let mut count = |given: Option<i64>, name: &str, usual: i32| {
        let Some(number) = given else { return usual };
        let valid = i32::try_from(number).ok().filter(|number| (0..=1000).contains(number));
        if valid.is_none() {
            checks.note_value(
                &codes::FIELD_MALFORMED,
                format!("spec.history.{name}"),
                number.to_string(),
                "is not a valid number of jobs to keep",
                "use a number from 0 to 1000",
            );
        }
        valid.unwrap_or(usual)
    };
    let (successful, failed) =
        (count(given.successful, "successful", SUCCESSFUL), count(given.failed, "failed", FAILED));
    let field = "spec.history.timeToLive";
    let time_to_live = duration(given.time_to_live.as_deref(), field, SHORTEST..=LONGEST, checks);
    let usual = if keeps_failed { TIME_TO_LOOK } else { TIME_TO_LIVE };
    History { successful, failed, time_to_live: time_to_live.unwrap_or(usual) }
}

/// Whole seconds within a range. None if it is not given, or with a finding.
fn duration(
    given: Option<&str>,
    field: &str,
    range: std::ops::RangeInclusive<Duration>,
    checks: &mut Checks<'_>,
) -> Option<Duration> {
    let given = given?;
    let valid = humantime::parse_duration(given)
        .ok()
        .filter(|_| is_plain_duration(given))
        .filter(|duration| duration.subsec_nanos() == 0 && range.contains(duration));
    if valid.is_none() {
        let [least, most] = [range.start(), range.end()].map(|end| humantime::format_duration(*end));
        checks.note_value(
            &codes::FIELD_MALFORMED,
            field,
            given,
            "is not a valid duration here",
            format!("use whole seconds, such as 90m or 1h30m, from {least} to {most}"),
        );
    }
    valid
}

/// Whether the schema takes this, too: humantime also takes spaces and other units.
fn is_plain_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let end = unit.find(|letter: char| letter.is_ascii_digit()).unwrap_or(unit.len());
        let (word, more) = unit.split_at(end);
        if unit.len() == rest.len() || !["s", "m", "min", "h", "d"].contains(&word) {
            return false;
        }
        rest = more;
    }
    true
}

/// The name of another object. Empty is not set.
fn named(given: Option<&str>, field: &str, checks: &mut Checks<'_>) -> Option<String> {
    object_name(given.filter(|name| !name.is_empty())?, field, checks)
}

#[cfg(test)]
mod tests;
