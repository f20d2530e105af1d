//! What only a test in a pod does: it reports in the termination message, and ends before its Job does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use pgbackrest_keeper::state::proofs::{Outcome, Phase, Record as _, RestoreTest, Source};

use super::trial::Trial;
use crate::support::lab::Site;
use crate::support::machine::Pgbackrest;

#[test]
fn the_record_reaches_the_termination_message() {
    let Some(site) = Site::or_skip("the_record_reaches_the_termination_message", Pgbackrest::newest()) else {
        return;
    };
    let trial = Trial::start(&site);
    let label = trial.lab.back_up(1, "full");
    let file = site.create_directory("pod").join("termination-log");
    let log = format!("--termination-log={}", file.display());
    let of_pod = ["--repo=1", "--cluster=ledger", "--namespace=accounts", &log, "--allow-unsandboxed"];

    // As on a host, where nobody reads it.
    trial.test(&of_pod).passed();
    assert!(!file.exists());

    // As the kubelet creates it.
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let message = || RestoreTest::parse(&fs::read(&file).unwrap()).unwrap();
    let mut record = trial.test(&of_pod).passed();
    // These are of the state directory.
    assert!(record.as_object_mut().unwrap().remove("digest").is_some());
    assert_eq!(record.as_object_mut().unwrap().remove("chain").unwrap()["sequence"], 2);
    let passed = message();
    assert_eq!(serde_json::to_value(&passed).unwrap(), record);
    let cluster = Source::Cluster { namespace: "accounts".to_owned(), pg_cluster: "ledger".to_owned() };
    assert_eq!((passed.source, passed.backup.unwrap().label), (cluster, label));

    let hangs = trial.before("restore", "sleep 600");
    let record =
        trial.test(&[&of_pod[..], &["--deadline=15s", &hangs]].concat()).ended("timed_out", "deadline");
    assert_eq!(record["reason"]["message"], "the whole test did not end within 15s");
    let timed_out = message();
    assert_eq!(timed_out.outcome, Outcome::TimedOut);
    assert_eq!(timed_out.phases.last().unwrap().phase, Phase::Clean);
    trial.assert_clean();
}
