//! When the repos are verified: what the installation sets, unless annotations say otherwise.

use super::annotations::{
    VERIFY_RESOURCES, VERIFY_SCHEDULE, VERIFY_TIMEOUT, duration, field, given, resources, time_zone_is_wrong,
};
use super::{Checks, schedules};
use crate::cluster::resource::Postgresql;
use crate::cluster::validated::{JobTemplate, Verifications, VerifyTemplate};
use crate::schedule::jitter;

const OFF: &str = "off";
/// Seconds. The program needs some of them to query the repo.
const SHORTEST: u64 = 60;

pub(super) fn look(
    resource: &Postgresql,
    namespace: &str,
    name: &str,
    jobs: &JobTemplate,
    checks: &mut Checks<'_>,
) -> Verifications {
    let usual = &checks.settings.verify;
    let timeout = duration(resource, VERIFY_TIMEOUT, SHORTEST, checks).unwrap_or(usual.timeout);
    let resources = resources(resource, VERIFY_RESOURCES, checks);
    let asked = given(resource, VERIFY_SCHEDULE);
    let schedule = match (asked, &usual.schedule) {
        (Some(OFF), _) | (None, None) => return Verifications::Off,
        (Some(expression), _) => {
            if !schedules::is_accepted(expression, &field(VERIFY_SCHEDULE), checks) {
                return Verifications::Held;
            }
            expression.to_owned()
        }
        (None, Some(expression)) => {
            let minutes = u32::try_from(usual.jitter.as_secs() / 60).unwrap_or(u32::MAX);
            match jitter::moved(expression, minutes, schedules::seed(namespace, name)) {
                Ok(moved) => moved.expression,
                Err(_) => return Verifications::Held,
            }
        }
    };
    if time_zone_is_wrong(resource, jobs) {
        return Verifications::Held;
    }
    let time_zone = jobs.time_zone.clone().or_else(|| usual.time_zone.clone());
    Verifications::Scheduled(VerifyTemplate { schedule, time_zone, timeout, resources })
}
