//! The operator, a PostgreSQL that archives, and a repo host, all in pods of a real node: from the example to a backup.

mod holding_back;
mod renewal;

use crate::support::example::{Example, node_with_operator};
use crate::support::machine::skip;
use crate::support::object_store::{Kind, ObjectStore};
use crate::support::web::Authority;

const NAMESPACE: &str = "cpo";

#[test]
fn the_complete_example_is_backed_up_and_outlives_new_certificates() {
    let test = "the_complete_example_is_backed_up_and_outlives_new_certificates";
    let Some(node) = node_with_operator(test) else { return };
    let cluster = Example::apply(node, NAMESPACE);

    // Without a hand: PostgreSQL runs, the repo host runs, both servers know each other, and the stanza is made.
    node.kubectl().wait(NAMESPACE, "pod/cluster-0", "condition=Ready");
    node.kubectl().wait(NAMESPACE, "pod/cluster-pgbackrest-repo-host-0", "condition=Ready");
    cluster.wait("the stanza", || cluster.record("stanzas").filter(|seen| seen.contains("repo1=")));
    let info = cluster.info("cluster-pgbackrest-repo-host-0", "pgbackrest");
    assert_eq!(info[0]["name"], "db", "{info}");
    cluster.archive();

    // Its first full backup is ordered at once, and its CronJobs are awake.
    let full = cluster.wait("the Job of the first full backup", || {
        cluster.jobs().into_iter().find(|job| job.starts_with("pgbackrest-cluster-repo1-full-"))
    });
    let labels = node.kubectl().get(NAMESPACE, "job", &full).unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels["pgbackrest-keeper.io/backup-type"], "full", "{labels}");
    for name in ["pgbackrest-cluster-repo1-full", "pgbackrest-cluster-repo1-diff"] {
        cluster.wait(&format!("CronJob {name} to be awake"), || {
            let job = node.kubectl().get(NAMESPACE, "cronjob", name)?;
            (job["spec"]["suspend"] == false).then_some(())
        });
    }
    cluster.wait_for_job(&full, "Complete");
    let info = cluster.info("cluster-0", "postgres");
    assert_eq!(info[0]["backup"][0]["type"], "full", "{info}");
    cluster.wait("a status without errors", || {
        let status = cluster.resource()["status"]["BackupStatus"].as_str()?.to_owned();
        ["Ok", "Warning"].contains(&status.as_str()).then_some(())
    });

    renewal::while_they_speak(&cluster, || {
        renewal::of_the_authority(&cluster);
        renewal::of_a_leaf(&cluster);
    });
    // New connections with the last files alone.
    let check = ["pgbackrest", "check", "--stanza=db"];
    cluster.said("cluster-pgbackrest-repo-host-0", "pgbackrest", &check);
    let info = cluster.info("cluster-0", "postgres");
    assert_eq!(info[0]["backup"].as_array().unwrap().len(), 5, "{info}");
    holding_back::of_the_repo_host(&cluster);
    repos_that_are_added_later(&cluster);
}

/// S3, Azure and GCS beside the volume: each gets its stanza and its backup without a hand.
fn repos_that_are_added_later(cluster: &Example<'_>) {
    let (node, authority) = (cluster.node, Authority::new());
    let directory = node.directory().join("stores-of-operator");
    let start = |kind, name| ObjectStore::start(kind, node.host(name), &authority, &directory);
    let stores: Result<Vec<ObjectStore>, String> =
        [(Kind::S3, "s3-later"), (Kind::Azure, "azure-later"), (Kind::Gcs, "gcs-later")]
            .map(|(kind, name)| start(kind, name))
            .into_iter()
            .collect();
    let stores = match stores {
        Ok(stores) => stores,
        Err(missing) => return skip("repos_that_are_added_later", missing),
    };
    cluster.add_repos(&stores, &authority);

    cluster.wait("a stanza in every repo", || {
        let seen = cluster.record("stanzas")?;
        ["repo2=", "repo3=", "repo4="].iter().all(|repo| seen.contains(repo)).then_some(())
    });
    cluster.archive();
    for number in 2..=4 {
        let start = format!("pgbackrest-cluster-repo{number}-full-");
        let job = cluster.wait("the Job of the first full backup", || {
            cluster.jobs().into_iter().find(|job| job.starts_with(&start))
        });
        cluster.wait_for_job(&job, "Complete");
    }
    let info = cluster.info("cluster-0", "postgres");
    let codes: Vec<i64> = info[0]["repo"]
        .as_array()
        .unwrap()
        .iter()
        .map(|repo| repo["status"]["code"].as_i64().unwrap())
        .collect();
    assert_eq!(codes, [0, 0, 0, 0], "{info}");
}
