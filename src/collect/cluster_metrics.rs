//! Keeps the metrics that the operator has of clusters encoded, so that scrapes need not do it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::time::{Instant, sleep};

use crate::metrics::{OperatorMetrics, Options};

/// Changes are encoded at most this often …
const PAUSE: Duration = Duration::from_secs(1);
/// … and after so many times what it took to encode the last: a large fleet less often rather than at a higher cost.
const PAUSE_FACTOR: u32 = 19;

/// Encodes the metrics of the clusters when they have changed, until it is dropped.
pub async fn keep_encoded(operator: Arc<OperatorMetrics>, options: Arc<Options>) -> Infallible {
    loop {
        let began = Instant::now();
        if operator.is_stale(Utc::now()) {
            let (operator, options) = (Arc::clone(&operator), Arc::clone(&options));
            match tokio::task::spawn_blocking(move || operator.tell(&options, Utc::now())).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "Failed to update cluster metrics; serving the previous ones");
                }
                Err(error) => {
                    tracing::error!(%error, "Failed to encode cluster metrics; serving the previous ones");
                }
            }
        }
        sleep((began.elapsed() * PAUSE_FACTOR).max(PAUSE)).await;
    }
}
