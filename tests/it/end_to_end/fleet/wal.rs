//! What the listing of a cluster's WAL archives proves, and a gap that appears and disappears.

use super::operator::{Operator, of};
use crate::support::example::Example;
use crate::support::process::{call, successful};

const REPO_HOST: (&str, &str) = ("cluster-pgbackrest-repo-host-0", "pgbackrest");
/// The segments of repo1.
const DIRECTORY: &str = "/data/pgbackrest/repo1/archive/db/15-1/0000000100000000";

/// Both windows are proven; a segment that is taken out of the volume is missed in that repo alone.
pub(super) fn a_hole_is_seen(cluster: &Example<'_>, operator: &Operator<'_>) {
    for repo in ["1", "2"] {
        operator.wait("a proven recovery window", |samples| {
            let labels = of(&[("repo_key", repo)]);
            (samples.find("pgbackrest_recovery_window_verified", &labels)? == 1.0).then_some(())
        });
        assert_eq!(missing(operator, repo), 0.0);
    }
    // Three segments after the newest backup, the one in the middle of which goes.
    for _ in 0..3 {
        cluster.archive();
    }
    for repo in ["1", "2"] {
        operator.wait("the archive to have grown", |samples| {
            let labels = of(&[("repo_key", repo)]);
            (samples.find("pgbackrest_wal_archived_segments_total", &labels)? >= 3.0).then_some(())
        });
    }
    let segment = take_out(cluster);
    operator.wait("a missing segment", |samples| {
        let labels = of(&[("repo_key", "1"), ("class", "pitr_new")]);
        (samples.find("pgbackrest_wal_missing_segments", &labels)? == 1.0).then_some(())
    });
    assert_eq!(missing(operator, "2"), 0.0);
    let kubeconfig = format!("--kubeconfig={}", cluster.node.plane().kubeconfig().display());
    let told = cluster.node.in_network(|| {
        let mut command = call(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
        successful(command.args(["info", "--wal", &kubeconfig, "--namespaces=fleet"]))
    });
    // The rest of the sentence may be on the next line of its cell.
    assert!(told.contains("1 WAL segment is missing after the"), "{told}");
    assert!(told.contains("(repo2, proven)"), "{told}");
    cluster.said(REPO_HOST.0, REPO_HOST.1, &["mv", &format!("/tmp/{segment}"), DIRECTORY]);
    operator.wait("the segment that is back", |samples| {
        let labels = of(&[("repo_key", "1"), ("class", "pitr_new")]);
        (samples.find("pgbackrest_wal_missing_segments", &labels)? == 0.0).then_some(())
    });
}

/// Segments after the newest backup that are missing in a repo.
fn missing(operator: &Operator<'_>, repo: &str) -> f64 {
    let labels = of(&[("repo_key", repo), ("class", "pitr_new")]);
    operator.wait("a listing", |samples| samples.find("pgbackrest_wal_missing_segments", &labels))
}

/// Takes the last segment but one away, and gives the file's name.
fn take_out(cluster: &Example<'_>) -> String {
    let listed = cluster.said(REPO_HOST.0, REPO_HOST.1, &["ls", DIRECTORY]);
    let mut segments: Vec<&str> =
        listed.lines().filter(|name| name.as_bytes().get(24) == Some(&b'-')).collect();
    segments.sort_unstable();
    let segment = segments[segments.len() - 2].to_owned();
    cluster.said(REPO_HOST.0, REPO_HOST.1, &["mv", &format!("{DIRECTORY}/{segment}"), "/tmp/"]);
    segment
}
