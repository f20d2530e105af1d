//! One verification.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::pgbackrest::command::{self, Program, VerifyQuery};
use crate::pgbackrest::verify::{Log, Report};
use crate::pgbackrest::version::Version;
use crate::source::call::Runner as _;
use crate::source::environment::Environment;
use crate::source::listed;
use crate::source::local::Local;
use crate::source::process::Limits;
use crate::source::proofs::Recorded;
use crate::state::proofs::{MAX_TEXT, ReasonClass, Versions};
use crate::state::snapshot::{Repo, Snapshot};
use crate::state::verification::{Cause, FORMAT, Verification};
use crate::state::{faults, turns};
use crate::text;

use super::evidence::{Evidence, Listed};
use super::failure;
use super::judge::{self, Judgement};
use super::order::Order;

/// Bytes of a result. A backup takes about 200.
const MAX_RESULT: usize = 32 << 20;
/// Bytes of the log that are read. A file with a fault, and a run of WAL, takes about 150.
const MAX_LOG: usize = 4 << 20;
/// From SIGTERM to SIGKILL: pgBackRest ends its other processes.
const GRACE: Duration = Duration::from_secs(10);

/// The version that has the options for a result as text, and the one that can verify a single backup.
const HAS_TEXT: (u32, u32) = (2, 39);
const HAS_SET: (u32, u32) = (2, 55);

/// What a verification is based on.
#[derive(Debug)]
pub struct Basis<'a> {
    pub snapshot: &'a Snapshot,
    pub program: &'a Program,
    pub environment: &'a Environment,
    /// The records so far.
    pub records: &'a Recorded<Verification>,
    pub started: DateTime<Utc>,
    pub version: &'static str,
}

/// Verifies a repository, and changes nothing.
pub async fn run(order: &Order, basis: &Basis<'_>, cancellation: &CancellationToken) -> Verification {
    let last_start = basis.records.last_start(&order.stanza);
    let found = turns::find(basis.snapshot, &order.stanza, order.repo, last_start);
    let number = found.as_ref().map_or_else(|_| order.repo.number(), |(_, repo)| repo.key.max(1));
    // Also what was collected is then incomplete.
    let is_interrupted = cancellation.is_cancelled();
    let repo = found.and_then(|(_, repo)| usable(repo, order, basis.snapshot.version).map(|()| repo));
    let judgement = match repo {
        _ if is_interrupted => Judgement::without_result(failure::interrupted()),
        Ok(repo) => verify(order, basis, repo, cancellation).await,
        Err((class, message)) => {
            Judgement::without_result(Cause { class, message: text::one_line(&message, MAX_TEXT) })
        }
    };
    let Judgement { totals, backups, archives, files, more_faults, outcome, reason } = judgement;
    Verification {
        format: FORMAT,
        source: order.source.clone(),
        stanza: order.stanza.clone(),
        repo: number,
        versions: Versions {
            keeper: basis.version.to_owned(),
            pgbackrest: basis.snapshot.version.map(Version::with_name),
            postgres: None,
        },
        start: basis.started,
        stop: Utc::now(),
        timeout: order.timeout,
        set: order.set.clone(),
        totals,
        backups,
        archives,
        files,
        more_faults,
        outcome,
        reason,
        chain: None,
    }
}

/// Why a repository cannot be verified.
fn usable(repo: &Repo, order: &Order, version: Option<Version>) -> Result<(), (ReasonClass, String)> {
    let lacks = |since| version.is_some_and(|version| !version.is_at_least(since));
    let configuration = |message: String| Err((ReasonClass::Configuration, message));
    if lacks(HAS_TEXT) {
        return configuration(
            "this version of pgBackRest prints no result; update it to 2.39 or later".to_owned(),
        );
    }
    if let Some(fault) = faults::of_repo(repo) {
        return Err(fault);
    }
    match &order.set {
        Some(_) if lacks(HAS_SET) => {
            configuration("pgBackRest before 2.55 cannot verify a single backup; omit --backup".to_owned())
        }
        Some(label) if repo.backups.iter().all(|backup| *backup.label != **label) => {
            configuration(format!("the repository has no backup {label}; see --backup"))
        }
        _ => Ok(()),
    }
}

async fn verify(
    order: &Order,
    basis: &Basis<'_>,
    repo: &Repo,
    cancellation: &CancellationToken,
) -> Judgement {
    let query = VerifyQuery {
        stanza: order.stanza.clone(),
        repo: (repo.key > 0).then_some(repo.key),
        set: order.set.clone(),
        process_max: order.process_max,
    };
    let wanted =
        repo.backups.iter().filter(|backup| order.set.as_ref().is_none_or(|set| **set == *backup.label));
    let before: BTreeMap<String, Listed> =
        wanted.map(|backup| (backup.label.to_string(), Listed::of(backup))).collect();
    let limits = Limits {
        timeout: order.timeout,
        grace: GRACE,
        stdout: MAX_RESULT,
        stderr: MAX_LOG,
        drops_stderr: true,
    };
    let local = Local::new(basis.program.clone(), basis.environment.clone(), cancellation.clone());
    let finished = local.run(&command::verify(&query), &limits, None).await;
    let log = Log::parse(&finished.stderr);
    let (report, failure) = match &finished.stdout {
        Some(Ok(stdout)) => (Report::parse(stdout), None),
        Some(Err(failure)) => (None, Some(failure::of(failure, &log, order.timeout))),
        None => (None, Some(failure::interrupted())),
    };
    let mut evidence = Evidence {
        report: report.as_ref(),
        log: &log,
        is_log_whole: finished.stderr.len() < MAX_LOG,
        failure,
        stanza: &order.stanza,
        before: &before,
        after: None,
        version: basis.snapshot.version,
    };
    let after = if judge::has_doubts(&evidence) {
        listed::labels(&local, &order.stanza, repo.key).await
    } else {
        None
    };
    evidence.after = after.as_ref();
    let mut judgement = judge::judge(&evidence);
    if order.set.is_some() {
        // Other WAL was left out.
        judgement.archives.iter_mut().for_each(|archive| archive.gaps = None);
    }
    judgement
}

impl Judgement {
    /// Nothing was verified.
    fn without_result(reason: Cause) -> Self {
        Self {
            totals: None,
            backups: Vec::new(),
            archives: Vec::new(),
            files: Vec::new(),
            more_faults: 0,
            outcome: reason.class.outcome(),
            reason: Some(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::proofs::{Outcome, Source};
    use crate::state::turns::RepoWish;

    #[tokio::test]
    async fn what_ends_before_the_repositories_are_known_was_interrupted() {
        let order = Order {
            source: Source::Host,
            stanza: "demo".to_owned(),
            repo: RepoWish::Any,
            set: None,
            timeout: Duration::from_secs(1),
            process_max: None,
        };
        let basis = Basis {
            snapshot: &Snapshot::default(),
            program: &Program { binary: "pgbackrest".into(), config: None, config_include_path: None },
            environment: &Environment::inherit(&[]),
            records: &Recorded::default(),
            started: Utc::now(),
            version: "1.0.0",
        };
        let cancellation = CancellationToken::new();
        cancellation.cancel();
        let verification = run(&order, &basis, &cancellation).await;
        let class = verification.reason.map(|reason| reason.class);
        assert_eq!((verification.outcome, class), (Outcome::Inconclusive, Some(ReasonClass::Interrupted)));
    }
}
