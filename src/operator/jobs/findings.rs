//! Findings about jobs that have failed.

use crate::cluster::finding::{Finding, codes};
use crate::state::jobs::RunResults;

/// One for each repo and type whose newest Job has failed. The same as long as the reason is, so that it is reported once.
pub(in crate::operator) fn failed(results: &RunResults) -> Vec<Finding> {
    let failed = results.runs.iter().filter_map(|(slot, run)| Some((slot, run.failing?)));
    let findings = failed.map(|(slot, failure)| {
        let kind = slot.backup_type.as_str();
        let code = failure.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
        Finding::new(
            &codes::BACKUP_FAILED,
            format!("The last {kind} backup into repo{}", slot.repo_key),
            format!("failed: {}{code}", failure.reason),
            "see the log of its Job; the next run of the schedule tries again",
        )
    });
    findings.collect()
}
