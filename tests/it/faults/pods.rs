//! Pods that are not as they should be. Tests elsewhere have them, with a real node or in their place.

use super::exporter::Injection;
use super::{Elsewhere, Group, Row};

static ROWS: [Row<Injection>; 0] = [];

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere(
        "Results of restore tests are removed from a status, or changed, by hand",
        "the condition and `verify-records` tell it until it is mended, and so does another implementation",
        "operator::process::restore_tests::clusters_have_their_turns_and_results_outlive_jobs_and_operators",
    ),
    Elsewhere(
        "No pod is ready, several are, or the one that is goes away",
        "exactly one is taken that is ready and stays",
        "jobs::faults::exactly_one_pod_is_taken_that_is_ready_and_stays",
    ),
    Elsewhere(
        "The primary changes during a backup",
        "the new one is tried",
        "jobs::faults::after_a_failover_the_new_primary_is_tried",
    ),
    Elsewhere(
        "A command does not end",
        "it is ended in time",
        "jobs::faults::whatever_runs_is_ended_in_time",
    ),
    Elsewhere(
        "The connection to a command is lost, and the result of the backup is unknown",
        "it is followed, and repeated only when it is gone",
        "jobs::faults::what_was_lost_is_repeated_only_when_it_is_gone",
    ),
    Elsewhere(
        "A backup was made although its command failed",
        "it is not made again",
        "jobs::faults::a_backup_that_was_made_is_not_made_again",
    ),
    Elsewhere(
        "A command prints too much",
        "it is cut at once",
        "kubernetes::exec::too_much_output_is_cut_at_once",
    ),
    Elsewhere(
        "The program is not in the container",
        "it was not started",
        "kubernetes::exec::a_program_that_is_not_there_was_not_started",
    ),
    Elsewhere(
        "The connection to a real node is cut, the repo host is deleted, schedules meet",
        "every backup is made, once",
        "end_to_end::backup::jobs_make_backups_and_outlive_what_happens_meanwhile",
    ),
    Elsewhere(
        "A repository of a real cluster fails for good",
        "six pods try, and the Job says why it failed",
        "end_to_end::backup::a_repo_that_fails_has_six_pods",
    ),
    Elsewhere(
        "A store hangs, clusters come and go, the leader is deleted",
        "all other clusters and repositories are told as before",
        "end_to_end::fleet::a_fleet_is_told_whatever_happens",
    ),
];

pub(crate) fn group() -> Group {
    Group::new("Pods", &ROWS, ELSEWHERE)
}
