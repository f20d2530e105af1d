//! Whether a pod shows the configuration that was applied: the kubelet brings it up to two minutes later.

use std::time::Duration;

use crate::cluster::desired;
use crate::cluster::labels::CONFIGURATION_HASH;
use crate::source::pod::{NoEnd, Place, RunInPod};

const TIMEOUT: Duration = Duration::from_secs(20);

/// The first line of the file is a comment with the hash of the rest.
pub(super) async fn configuration(
    runner: &impl RunInPod,
    place: Place<'_>,
    hash: &str,
) -> Result<bool, NoEnd> {
    let ran = runner.run(place, &["head", "-n", "1", &desired::configuration_file()], TIMEOUT).await?;
    let line = String::from_utf8_lossy(&ran.stdout);
    let shown = line.trim().strip_prefix("# ").and_then(|rest| rest.strip_prefix(CONFIGURATION_HASH));
    Ok(shown.map(|rest| rest.trim_start_matches(':').trim()) == Some(hash))
}
