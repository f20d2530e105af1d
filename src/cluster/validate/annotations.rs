//! Annotations, for settings without a field in the schema of the resource.

use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceRequirements;

use super::scope::{BACKUP_OPTIONS, Scope, VOLUME_ACCESS_MODES};
use super::{Checks, pods};
use crate::cluster::finding::codes;
use crate::cluster::labels::{CPO_CONTROLLER, PREFIX};
use crate::cluster::resource::Postgresql;
use crate::cluster::settings::Settings;
use crate::cluster::validated::{JobTemplate, PodTemplate};
use crate::schedule::zone;

/// When repos are verified: a cron expression, or `off`.
pub(super) const VERIFY_SCHEDULE: &str = "verify-schedule";
pub(super) const VERIFY_TIMEOUT: &str = "verify-timeout";
pub(super) const VERIFY_RESOURCES: &str = "verify-resources";

/// All annotations, without the prefix. Some can have a scope behind their name.
pub(super) const KNOWN: &[&str] = &[
    "adopt",
    "authorize-removal",
    "backup-now",
    BACKUP_OPTIONS,
    "backup-standby",
    "failed-jobs-history",
    "job-deadline",
    "job-resources",
    "job-ttl",
    "paused",
    "release",
    "stanza-upgrade",
    "starting-deadline",
    "successful-jobs-history",
    "time-zone",
    VERIFY_RESOURCES,
    VERIFY_SCHEDULE,
    VERIFY_TIMEOUT,
    VOLUME_ACCESS_MODES,
];

/// Kubernetes looks at schedules every ten seconds; a shorter deadline can miss every run.
const SHORTEST_START: u64 = 10;
/// Kubernetes' default is one. More are kept because consecutive failures must be counted after a restart too.
const FAILED_HISTORY: i32 = 3;
/// The program of the job stops a minute before its deadline, and needs a minute to do anything.
const SHORTEST_JOB: u64 = 120;
const LONGEST: u64 = 366 * 24 * 3600;

/// What a user allows us to do with a resource, valid or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is an annotation of its own")]
pub struct Conduct {
    /// `cpo.opensource.cybertec.at/controller` names another controller.
    pub other_controller: bool,
    /// `pgbackrest-keeper.io/paused`. An invalid value pauses too.
    pub paused: bool,
    /// `pgbackrest-keeper.io/adopt`: take over objects with the same names.
    pub adopt: bool,
    /// `pgbackrest-keeper.io/release`: release all objects.
    pub release: bool,
    /// `pgbackrest-keeper.io/authorize-removal`: confirms the removal of configuration and repo host.
    pub authorize_removal: bool,
}

impl Conduct {
    pub(super) fn of(resource: &Postgresql, settings: &Settings) -> Self {
        let annotation = |name: &str| resource.annotation(&format!("{PREFIX}{name}"));
        let controller = resource.annotation(CPO_CONTROLLER);
        Self {
            other_controller: controller.is_some_and(|id| id != settings.controller_id),
            paused: annotation("paused").is_some_and(|value| value != "false"),
            adopt: annotation("adopt") == Some("true"),
            release: annotation("release") == Some("true"),
            authorize_removal: annotation("authorize-removal") == Some("true"),
        }
    }

    /// Whether nothing may be written for the resource.
    #[must_use]
    pub fn forbids_writes(&self) -> bool {
        self.other_controller || self.paused
    }
}

/// Notes unknown annotations, invalid booleans, and annotations that prevent writes.
pub(super) fn conduct(resource: &Postgresql, checks: &mut Checks<'_>) {
    for key in resource.metadata.annotations.iter().flatten().map(|(key, _)| key) {
        let Some(annotation) = key.strip_prefix(PREFIX).filter(|annotation| !is_known(annotation)) else {
            continue;
        };
        if let Some(scopes) = scopes(annotation) {
            let message = "has an unknown ending, so it is not known what it is about";
            checks.note(&codes::ANNOTATION_UNKNOWN, field(annotation), message, scopes);
            continue;
        }
        let nearest = KNOWN.iter().find(|known| strsim::jaro_winkler(known, annotation) > 0.85);
        checks.note(
            &codes::ANNOTATION_UNKNOWN,
            field(annotation),
            "is not a known annotation of pgbackrest-keeper",
            match nearest {
                Some(nearest) => format!("use {PREFIX}{nearest}, or remove it"),
                None => format!("remove it; known annotations are {}", KNOWN.join(", ")),
            },
        );
    }
    for switch in ["adopt", "authorize-removal", "paused", "release"] {
        let Some(value) = given(resource, switch).filter(|value| !matches!(*value, "true" | "false")) else {
            continue;
        };
        invalid(switch, value, "is not a boolean", "use \"true\" or \"false\"", checks);
    }
    let conduct = Conduct::of(resource, checks.settings);
    if conduct.paused {
        checks.note(
            &codes::PAUSED,
            field("paused"),
            "stops all writes for this cluster",
            "remove the annotation to resume",
        );
    }
    if conduct.other_controller {
        checks.note_value(
            &codes::OTHER_CONTROLLER,
            format!("metadata.annotations.{CPO_CONTROLLER}"),
            resource.annotation(CPO_CONTROLLER).unwrap_or_default(),
            "assigns this resource to another controller",
            "run the operator with --controller-id set to this value to manage the resource",
        );
    }
}

fn is_known(annotation: &str) -> bool {
    let of_volumes = Scope::of(annotation, VOLUME_ACCESS_MODES);
    KNOWN.contains(&annotation)
        || Scope::of(annotation, BACKUP_OPTIONS).is_some()
        || of_volumes.is_some_and(|scope| scope.backup_type.is_none())
}

/// The possible endings of an annotation that can have one.
fn scopes(annotation: &str) -> Option<&'static str> {
    match annotation.split_once('.')?.0 {
        BACKUP_OPTIONS => {
            Some("end it with .full, .diff, .incr, the name of a repo, or both, such as .repo1.full")
        }
        VOLUME_ACCESS_MODES => Some("end it with the name of a repo, such as .repo1"),
        _ => None,
    }
}

/// The annotations about jobs. An invalid one is noted and ignored.
pub(super) fn jobs(resource: &Postgresql, checks: &mut Checks<'_>) -> JobTemplate {
    let deadline = duration(resource, "job-deadline", SHORTEST_JOB, checks);
    let time_to_live = duration(resource, "job-ttl", 0, checks);
    let starting_deadline = duration(resource, "starting-deadline", SHORTEST_START, checks);
    JobTemplate {
        deadline,
        time_to_live,
        starting_deadline: starting_deadline.unwrap_or(Duration::from_mins(5)),
        successful_history: history(resource, "successful-jobs-history", checks),
        failed_history: history(resource, "failed-jobs-history", checks).unwrap_or(FAILED_HISTORY),
        time_zone: time_zone(resource, checks),
        resources: resources(resource, "job-resources", checks),
        pod: PodTemplate::default(),
    }
}

pub(super) fn duration(
    resource: &Postgresql,
    annotation: &str,
    shortest: u64,
    checks: &mut Checks<'_>,
) -> Option<Duration> {
    let value = given(resource, annotation)?;
    let duration = match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(value).ok(),
    };
    let whole = duration.filter(|duration| {
        duration.subsec_nanos() == 0 && (shortest..=LONGEST).contains(&duration.as_secs())
    });
    if whole.is_none() {
        let remedy =
            format!("use whole seconds, such as 6h or 1h30m, at least {shortest}s and at most one year");
        invalid(annotation, value, "is not a valid duration", &remedy, checks);
    }
    whole
}

fn history(resource: &Postgresql, annotation: &str, checks: &mut Checks<'_>) -> Option<i32> {
    let value = given(resource, annotation)?;
    let number = value.parse::<i32>().ok().filter(|number| (0..=1000).contains(number));
    if number.is_none() {
        invalid(
            annotation,
            value,
            "is not a valid number of jobs to keep",
            "use a number from 0 to 1000",
            checks,
        );
    }
    number
}

fn time_zone(resource: &Postgresql, checks: &mut Checks<'_>) -> Option<String> {
    let value = given(resource, "time-zone")?;
    match zone::parse(value) {
        Ok(_) => Some(value.to_owned()),
        Err(error) => {
            let remedy = "use an IANA name such as Europe/Vienna";
            invalid("time-zone", value, &format!("is rejected by Kubernetes: {error}"), remedy, checks);
            None
        }
    }
}

/// Whether schedules would run at other hours than they are meant to.
pub(super) fn time_zone_is_wrong(resource: &Postgresql, jobs: &JobTemplate) -> bool {
    given(resource, "time-zone").is_some() && jobs.time_zone.is_none()
}

/// JSON, as in a pod: `{"requests": {"cpu": "50m"}, "limits": {"memory": "128Mi"}}`.
pub(super) fn resources(
    resource: &Postgresql,
    annotation: &str,
    checks: &mut Checks<'_>,
) -> Option<ResourceRequirements> {
    let value = given(resource, annotation)?;
    match serde_json::from_str(value) {
        Ok(parsed) => pods::resources(&parsed, &field(annotation), checks),
        Err(error) => {
            let remedy = r#"use the format of a pod, such as {"requests": {"cpu": "50m", "memory": "64Mi"}}"#;
            invalid(annotation, value, &format!("is not valid JSON: {error}"), remedy, checks);
            None
        }
    }
}

/// The value of an annotation.
pub(super) fn given<'resource>(resource: &'resource Postgresql, annotation: &str) -> Option<&'resource str> {
    resource.annotation(&format!("{PREFIX}{annotation}"))
}

/// The path of an annotation in findings.
pub(super) fn field(annotation: &str) -> String {
    format!("metadata.annotations.{PREFIX}{annotation}")
}

pub(super) fn invalid(annotation: &str, value: &str, message: &str, remedy: &str, checks: &mut Checks<'_>) {
    checks.note_value(&codes::ANNOTATION_INVALID, field(annotation), value, message, remedy);
}
