//! When a job must end by itself: shortly before Kubernetes stops it, which would leave no reason.

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::batch::v1::Job;
use kube::{Api, Client};
use tokio::time::{Instant, sleep};

use crate::kubernetes::client::{CALL_DEADLINE, CallError, call};

/// A job without a deadline is stopped after this time.
pub const LONGEST: Duration = Duration::from_hours(24);
/// Time reserved for stopping the backup and reporting the reason.
const BEFORE: Duration = Duration::from_mins(1);
const ASKS: u32 = 4;
const PAUSE: Duration = Duration::from_secs(3);

/// When to end. A job's deadline counts from the start of its first pod, which is in its status.
pub async fn until(
    client: &Client,
    namespace: &str,
    job: Option<&str>,
    deadline: Option<Duration>,
) -> Instant {
    let now = Instant::now();
    let Some(deadline) = deadline else { return now + LONGEST };
    let Some(job) = job else { return now + left(deadline, Duration::ZERO) };
    for ask in 1..=ASKS {
        match began(client, namespace, job).await {
            Ok(began) => {
                let since = began.and_then(|began| (Utc::now() - began).to_std().ok()).unwrap_or_default();
                return Instant::now() + left(deadline, since);
            }
            Err(error) => tracing::warn!(%error, "Failed to read the start time of the Job"),
        }
        if ask < ASKS {
            sleep(PAUSE).await;
        }
    }
    now + left(deadline, Duration::ZERO)
}

async fn began(client: &Client, namespace: &str, name: &str) -> Result<Option<DateTime<Utc>>, CallError> {
    let api: Api<Job> = Api::namespaced(client.clone(), namespace);
    let job = call(format!("read Job {name}"), CALL_DEADLINE, api.get(name)).await?;
    let began = job.status.and_then(|status| status.start_time);
    Ok(began.and_then(|began| DateTime::from_timestamp(began.0.as_second(), 0)))
}

/// The part of a job's time that its program may use; half of it if it is short.
fn left(deadline: Duration, since: Duration) -> Duration {
    deadline.saturating_sub(BEFORE.min(deadline / 2)).saturating_sub(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_ends_before_its_job() {
        for (deadline, since, expected) in
            [(3600, 0, 3540), (3600, 1000, 2540), (3600, 3600, 0), (80, 10, 30)]
        {
            let seconds = Duration::from_secs;
            assert_eq!(left(seconds(deadline), seconds(since)), seconds(expected));
        }
    }
}
