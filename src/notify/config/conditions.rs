//! What is judged for a target: the same choices that `check` has as flags.

use crate::check::facts::{Facts, Place, Selection};
use crate::check::limits::{Level, LimitError, Limits};
use crate::check::report::Report;
use crate::check::services::{self, Question, Service};
use crate::config_file::{List, Problem, Text};
use crate::state::filter::Filter;

use super::Target;

/// The numbers that repositories can have.
const REPOS: std::ops::RangeInclusive<u32> = 1..=256;

/// Services, thresholds and a selection.
#[derive(Debug)]
pub struct Conditions {
    pub services: Vec<&'static Service>,
    limits: Limits,
    ignored: Vec<String>,
    selection: Selection,
    /// Whether there must be a proof of everything that the services can prove.
    demands_proof: bool,
}

impl Conditions {
    /// Restricts the facts to what this is about.
    pub fn select(&self, facts: &mut Facts) {
        facts.select(self.selection.clone());
    }

    /// Whether this is about a service and a place.
    #[must_use]
    pub fn concern(&self, (service, place): &(&'static str, Place)) -> bool {
        self.services.iter().any(|known| known.name == *service) && self.selection.admits(place)
    }

    /// Judges selected facts at a time, in seconds since 1970.
    #[must_use]
    pub fn judge(
        &self,
        services: &[&'static Service],
        facts: &Facts,
        expects_scan: bool,
        now: f64,
    ) -> Report {
        let Self { limits, ignored, demands_proof, .. } = self;
        let question = Question { services, limits, ignored, expects_scan, demands_proof: *demands_proof };
        services::judge(&question, facts, now)
    }
}

pub(super) fn read(target: &Target<'_>, demands_proof: bool) -> Result<Conditions, Problem> {
    let section = target.section;
    let services = match &section.services {
        None => services::ALL.to_vec(),
        Some(list) => each(target, "services", list, |name| {
            let found = services::ALL.iter().find(|service| service.name == name);
            found.copied().ok_or_else(|| {
                let known: Vec<_> = services::ALL.iter().map(|service| service.name).collect();
                format!("not a service; known are {}", known.join(", "))
            })
        })?,
    };
    let mut limits = Limits::default();
    for (level, key, given) in
        [(Level::Warning, "warning", &section.warning), (Level::Critical, "critical", &section.critical)]
    {
        for (name, range) in given.iter().flatten() {
            let wrong = |reason: &str| target.wrong_at(range.referenced, key, reason);
            set(&mut limits, level, name, range, &services).map_err(|reason| wrong(&reason))?;
        }
    }
    let ignored = section.ignore.as_ref().map(|list| {
        each(target, "ignore", list, |name| {
            let mut alerts = services::ALL.iter().flat_map(|service| service.alerts);
            let is_known = alerts.any(|alert| *alert == name);
            if is_known { Ok(name.to_owned()) } else { Err("not an alert that a service knows".to_owned()) }
        })
    });
    Ok(Conditions {
        services,
        limits,
        ignored: ignored.transpose()?.unwrap_or_default(),
        selection: selection(target)?,
        demands_proof,
    })
}

fn set(
    limits: &mut Limits,
    level: Level,
    name: &str,
    range: &Text,
    services: &[&'static Service],
) -> Result<(), String> {
    let known = services.iter().flat_map(|service| service.quantities.iter().copied());
    // Neither the name nor the range is shown, unless it is known: anything may have been written there.
    limits.set(&format!("{name}={}", range.value), level, known).map_err(|problem| match problem {
        LimitError::Range { name, .. } => format!("{name}: not a range, such as 26h, 1: or ~:10"),
        _ if services::quantities().any(|quantity| quantity.name == name) => {
            format!("{name}: none of the services measures it; add its service")
        }
        _ => "not measured; docs/check.md lists what is".to_owned(),
    })
}

fn selection(target: &Target<'_>) -> Result<Selection, Problem> {
    let section = target.section;
    let names = |key, list: Option<&List>| match list {
        None => Ok(Vec::new()),
        Some(list) => each(target, key, list, |name| {
            let is_name = !name.is_empty() && name.len() <= 255;
            if is_name { Ok(name.to_owned()) } else { Err("must be a name".to_owned()) }
        }),
    };
    let stanzas = names("stanzas", section.stanzas.as_ref())?;
    let repos = match &section.repos {
        None => Vec::new(),
        Some(list) => each(target, "repos", list, |number| {
            let number = number.parse().ok().filter(|number| REPOS.contains(number));
            number.ok_or_else(|| "must be a number from 1 to 256".to_owned())
        })?,
    };
    let clusters = match &section.clusters {
        None => Vec::new(),
        Some(list) => each(target, "clusters", list, |name| {
            let (namespace, name) = match name.split_once('/') {
                Some((namespace, name)) => (Some(namespace), name),
                None => (None, name),
            };
            let is_no_name = |part: &str| part.is_empty() || part.contains('/');
            if is_no_name(name) || namespace.is_some_and(is_no_name) {
                return Err("must be NAME or NAMESPACE/NAME".to_owned());
            }
            Ok((namespace.map(str::to_owned), name.to_owned()))
        })?,
    };
    let filter = Filter::new(&stanzas, &[], None, None, &repos);
    let filter = filter.map_err(|_| target.wrong("stanzas", "cannot be used"))?;
    Ok(Selection { filter, clusters })
}

/// Reads each entry of a list that is not empty.
fn each<T>(
    target: &Target<'_>,
    key: &str,
    list: &List,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Problem> {
    if list.value.is_empty() {
        return Err(target.wrong_at(list.referenced, key, "is empty; add an entry, or remove the key"));
    }
    let all = list.value.iter();
    all.map(|entry| read(&entry.value).map_err(|reason| target.wrong_at(entry.referenced, key, &reason)))
        .collect()
}
