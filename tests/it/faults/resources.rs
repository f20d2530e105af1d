//! Resources, and objects of others in the way. Tests elsewhere have them, most with a real API server.

use super::exporter::Injection;
use super::{Elsewhere, Group, Row};

static ROWS: [Row<Injection>; 0] = [];

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere(
        "The operator's account is used for something else, at a real API server",
        "it may do the operator's work and no more",
        "operator::deploy::server::the_operators_account_may_do_its_work_and_no_more",
    ),
    Elsewhere(
        "An option of a resource has line breaks",
        "the value of an option is one line by its type",
        "crate::cluster::desired::tests::lines::no_text_of_a_resource_adds_a_line",
    ),
    Elsewhere(
        "An object with our name has another owner",
        "it is left alone until it is to be taken over",
        "operator::objects::adoption::what_is_somebody_elses_is_left_alone_until_it_is_to_be_taken_over",
    ),
    Elsewhere(
        "An object of ours is replaced by another of the same name",
        "it is not forced over",
        "kubernetes::apply_faults::an_object_of_ours_that_was_replaced_is_not_forced_over",
    ),
    Elsewhere(
        "An object changes constantly",
        "it is given up for now",
        "kubernetes::apply_faults::an_object_that_changes_all_the_time_is_given_up_for_now",
    ),
    Elsewhere(
        "A resource changes without rest",
        "it is looked after every few seconds",
        "operator::process::restless::what_changes_without_rest_is_looked_after",
    ),
    Elsewhere(
        "The program panics for one cluster",
        "the others are looked after, and this one is tried again",
        "operator::process::defect::a_defect_of_one_cluster_leaves_the_others_alone_and_is_tried_again",
    ),
    Elsewhere(
        "A resource is a copy of another one, with the same location in an object store",
        "it is not set up there, and the other one goes on",
        "operator::objects::locations::a_copy_is_not_set_up_where_its_source_archives",
    ),
    Elsewhere(
        "A repository that is in use is moved to the location of another cluster",
        "nothing is changed",
        "operator::objects::locations::a_cluster_does_not_move_to_where_another_one_is",
    ),
    Elsewhere(
        "All repositories disappear from a resource",
        "schedules are suspended, and all else stays until a second key",
        "operator::objects::lifecycle::removal_takes_a_second_key",
    ),
    Elsewhere(
        "A resource is deleted",
        "its objects go, and volumes stay",
        "operator::objects::lifecycle::a_deleted_resource_takes_everything_along_but_the_volume",
    ),
    Elsewhere(
        "Objects drift",
        "drift is undone",
        "operator::objects::lifecycle::edits_are_followed_and_drift_is_undone",
    ),
    Elsewhere(
        "A backup runs while its pod template changes",
        "it is not ended",
        "kubernetes::apply_faults::a_backup_that_runs_is_not_ended_by_a_new_pod_template",
    ),
];

pub(crate) fn group() -> Group {
    Group::new("Resources", &ROWS, ELSEWHERE)
}
