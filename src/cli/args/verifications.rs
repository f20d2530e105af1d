//! When the operator has repositories verified.

use std::time::Duration;

use clap::Args;

use super::duration;
use crate::cluster::settings::VerifySettings;
use crate::schedule::{Schedule, zone};

/// The longest jitter: a start stays on its day anyway.
const LONGEST_JITTER: Duration = Duration::from_hours(24);
const SHORTEST_TIMEOUT: Duration = Duration::from_mins(1);
const LONGEST_TIMEOUT: Duration = Duration::from_hours(366 * 24);

/// Flags that become `cluster::settings::VerifySettings`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Verifications")]
pub struct VerificationArgs {
    /// Cron expression: when a repository of each managed cluster is verified, such as "30 4 * * 6". The repositories of a cluster take
    /// turns. By default, only clusters with the annotation pgbackrest-keeper.io/verify-schedule are verified.
    #[arg(long, env = "KEEPER_VERIFY_SCHEDULE", value_name = "CRON", value_parser = schedule)]
    pub verify_schedule: Option<String>,

    /// Time zone of the schedule, such as Europe/Vienna. Defaults to that of kube-controller-manager.
    #[arg(long, env = "KEEPER_VERIFY_TIME_ZONE", value_name = "ZONE", value_parser = time_zone)]
    pub verify_time_zone: Option<String>,

    /// Start each cluster up to so much later than the schedule says, always by the same time for the same cluster. A start never moves
    /// to another day.
    #[arg(long, env = "KEEPER_VERIFY_JITTER", value_name = "DURATION", value_parser = jitter)]
    pub verify_jitter: Option<Duration>,

    /// Maximum duration of one verification. pgBackRest always begins from the start, so it must suffice for a whole repository.
    #[arg(
        long,
        env = "KEEPER_VERIFY_TIMEOUT",
        value_name = "DURATION",
        default_value = "24h",
        value_parser = timeout
    )]
    pub verify_timeout: Duration,
}

impl From<VerificationArgs> for VerifySettings {
    fn from(args: VerificationArgs) -> Self {
        Self {
            schedule: args.verify_schedule,
            time_zone: args.verify_time_zone,
            jitter: args.verify_jitter.unwrap_or_default(),
            timeout: args.verify_timeout,
        }
    }
}

fn schedule(text: &str) -> Result<String, String> {
    match Schedule::parse(text, chrono_tz::UTC) {
        Ok(schedule) if schedule.never_runs() => Err("specifies a day that does not exist".to_owned()),
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn time_zone(text: &str) -> Result<String, String> {
    zone::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn jitter(text: &str) -> Result<Duration, String> {
    let jitter = if text.trim() == "0" { Duration::ZERO } else { duration(text)? };
    if jitter > LONGEST_JITTER {
        return Err("must be at most 24h".to_owned());
    }
    Ok(jitter)
}

/// Kubernetes counts in whole seconds.
fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    if !(SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(&timeout) || timeout.subsec_nanos() > 0 {
        return Err("must be from 1m to 366d, in whole seconds".to_owned());
    }
    Ok(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_would_reject_is_rejected() {
        assert_eq!(schedule("30 4 * * 6"), Ok("30 4 * * 6".to_owned()));
        for text in ["", "30 4 * *", "0 3 30 2 *", "TZ=UTC 0 3 * * *"] {
            assert!(schedule(text).is_err(), "{text}");
        }
        assert!(time_zone("Europe/Vienna").is_ok() && time_zone("Vienna").is_err());
        assert_eq!(jitter("0"), Ok(Duration::ZERO));
        assert!(jitter("6h").is_ok() && jitter("25h").is_err());
        assert!(timeout("60").is_ok() && timeout("59s").is_err() && timeout("61s500ms").is_err());
        assert!(timeout("366d").is_ok() && timeout("367d").is_err() && timeout("500000000000y").is_err());
    }
}
