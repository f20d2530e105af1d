//! The result of a test whose Job has ended without one: that it proves nothing, and as well as possible why.

use crate::cluster::validated::STANZA;
use crate::operator::runs::why::Why;
use crate::operator::runs::{JobEnd, RunJob};
use crate::state::proofs::{Phase, Reason, RestoreTest, Source, Target, TargetKind, Versions};

pub(super) fn of(namespace: &str, (job, end): &(RunJob, JobEnd), (class, message): Why) -> RestoreTest {
    let source = Source::Cluster { namespace: namespace.to_owned(), pg_cluster: job.turn.cluster.clone() };
    let target = Target { kind: TargetKind::Unknown, time: None, random: false };
    let begun = RestoreTest::begun(
        source,
        STANZA.to_owned(),
        job.turn.repo.get().into(),
        Versions::default(),
        target,
        job.created,
    );
    RestoreTest {
        stop: end.at.max(job.created),
        outcome: class.outcome(),
        reason: Some(Reason { class, phase: Phase::Unknown, message }),
        ..begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::restore_test::turn::Turn;
    use crate::cluster::validated::RepoNumber;
    use crate::state::examples::day;
    use crate::state::proofs::{Outcome, ReasonClass};

    #[test]
    fn it_lasts_as_long_as_its_job() {
        let turn = Turn { cluster: "ledger".to_owned(), repo: RepoNumber::of_name("repo1").unwrap() };
        let job = RunJob { uid: "u".into(), name: "j".to_owned(), turn, created: day(1), end: None };
        let ended = (job, JobEnd { at: day(2), is_time_up: true, is_complete: false });
        let test = of("shop", &ended, (ReasonClass::Deadline, "Job j: in time".to_owned()));
        assert_eq!((test.start, test.stop, test.is_whole()), (day(1), day(2), true));
        assert_eq!((test.outcome, test.reason.unwrap().class), (Outcome::TimedOut, ReasonClass::Deadline));
    }
}
