//! Keeps the encoded metrics of clusters up to date, so that no scrape has to encode them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::time::{Instant, sleep};

use crate::metrics::Options;
use crate::metrics::exposition::ClusterMetrics;

/// The least time between two encodings …
const PAUSE: Duration = Duration::from_secs(1);
/// … and the least multiple of the duration of the last one: the larger the fleet, the less often it is encoded.
const PAUSE_FACTOR: u32 = 19;

/// Encodes the metrics of clusters when they have changed, until it is dropped.
pub async fn keep_encoded(clusters: Arc<ClusterMetrics>, options: Arc<Options>) -> Infallible {
    loop {
        let began = Instant::now();
        if clusters.is_stale(Utc::now()) {
            let (clusters, options) = (Arc::clone(&clusters), Arc::clone(&options));
            match tokio::task::spawn_blocking(move || clusters.encode(&options, Utc::now())).await {
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
