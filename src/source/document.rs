//! Reserves memory for parsing the output of a command.

use std::time::Duration;

use crate::memory::{self, Captured, Refusal};
use crate::pgbackrest::weight;

/// Output up to this size is weighed at once.
const SHORT: usize = 64 << 10;
/// How long a command may wait whose time is up.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// What is left of the time of a command.
pub(super) fn patience(timeout: Duration, elapsed: Duration) -> Duration {
    timeout.saturating_sub(elapsed).max(LEAST_PATIENCE)
}

/// Waits for `patience` at most until what was printed can be read.
pub(super) async fn expect(printed: Captured, patience: Duration) -> Result<Captured, Refusal> {
    // Short output can be weighed here; the other would block this thread.
    let (printed, weight) = if printed.len() <= SHORT {
        let weight = weight::of(&printed);
        (printed, weight)
    } else {
        let weighing = tokio::task::spawn_blocking(move || {
            let weight = weight::of(&printed);
            (printed, weight)
        });
        weighing.await.map_err(|_| Refusal::NoMemory)?
    };
    Ok(printed.expect(memory::input(), weight, patience).await?.settled())
}
