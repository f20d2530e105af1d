//! What has to be waited for: kubelets, repo hosts and servers.

use serde_json::json;

use super::*;

#[tokio::test]
async fn what_does_not_come_by_itself_is_told_and_asked_for_less_often() {
    let mut world = TestCluster::new(&["s3"], &json!({}));
    let answers = || answering(vec![("head", vec![ran(0, "")])]);
    let mut record = Record::default();
    let mut seen = Vec::new();
    for minutes in [0, 1, 2, 4, 10, 60] {
        world.now = "2026-03-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + Duration::from_mins(minutes);
        let ensured = world.ensured(&answers(), &record).await;
        record = ensured.record.clone();
        seen.push((codes_of(&ensured)[0], ensured.again_after.unwrap().as_secs()));
    }
    let (early, late) = ("configuration-not-visible", "configuration-not-mounted");
    assert_eq!(seen, [(early, 10), (early, 15), (early, 30), (late, 60), (late, 150), (late, 300)]);
    // Something else is desired now, and gets its own time.
    record.unfinished.as_mut().unwrap().aim = "another".to_owned();
    assert_eq!(codes_of(&world.ensured(&answers(), &record).await), [early]);

    let script = answering(vec![
        world.head(),
        ("backrest info", vec![info(1, 0, BACKUP)]),
        ("stanza-create", vec![went(0, &[1], "")]),
    ]);
    let ensured = world.ensured(&script, &record).await;
    assert_eq!((ensured.record.unfinished, ensured.again_after), (None, None));
}

#[tokio::test]
async fn without_its_repo_host_a_cluster_waits_and_then_goes_on() {
    let mut world = TestCluster::new(&["pvc", "s3"], &json!({}));
    world.pods[1].ready = false;
    let record = Record { servers: world.desired.servers_hash.clone(), ..Record::default() };
    let script = || {
        answering(vec![world.head(), ("--repo=2", vec![info(2, 2, "[]")]), ("od -A n", vec![ran(0, "7\n")])])
    };
    let ensured = world.ensured(&script(), &record).await;
    assert_eq!((codes_of(&ensured), ensured.again_after), (vec![], Some(SOON)));
    let mut later = TestCluster { now: world.now + PATIENCE, ..TestCluster::new(&["pvc", "s3"], &json!({})) };
    later.pods[1].ready = false;
    let record = Record { servers: later.desired.servers_hash.clone(), ..ensured.record };
    let unfinished = record
        .unfinished
        .clone()
        .map(|unfinished| Unfinished { aim: later.desired.servers_hash.clone().unwrap(), ..unfinished });
    let script =
        answering(vec![later.head(), ("--repo=2", vec![info(2, 2, "[]")]), ("od -A n", vec![ran(0, "7\n")])]);
    let ensured = later.ensured(&script, &Record { unfinished, ..record }).await;
    assert_eq!(codes_of(&ensured), ["repo-host-not-ready", "repo-unreachable"]);
    let known: Vec<String> = ensured.record.stanzas.keys().map(ToString::to_string).collect();
    assert_eq!(known, ["repo2"]);
}

#[tokio::test]
async fn two_versions_of_pgbackrest_are_told_of() {
    let world = TestCluster::new(&["pvc"], &json!({}));
    let repo_host = world.desired.repo_host_configuration_hash.clone().unwrap();
    let record = Record { servers: world.desired.servers_hash.clone(), ..Record::default() };
    let script = answering(vec![
        world.head(),
        ("repo-host-0*: head", vec![ran(0, format!("# pgbackrest-keeper.io/config-hash: {repo_host}\n"))]),
        ("version", vec![ran(0, "pgBackRest 2.45\n"), ran(0, "pgBackRest 2.55.1\n")]),
        ("backrest info", vec![info(1, 1, "[]"), info(1, 2, "[]")]),
        ("stanza-create", vec![went(0, &[1], "")]),
    ]);
    let ensured = world.ensured(&script, &record).await;
    assert_eq!(ensured.record.stanzas, world.hashes);
    assert_eq!(codes_of(&ensured), ["versions-differ"]);
}

#[tokio::test]
async fn servers_are_told_once_all_files_are_visible() {
    let mut world = TestCluster::new(&["pvc"], &json!({}));
    let hash = |hash: &str| ran(0, format!("# pgbackrest-keeper.io/config-hash: {hash}\n"));
    let instance = world.desired.instance_configuration_hash.clone();
    let repo_host = world.desired.repo_host_configuration_hash.clone().unwrap();
    let script = |sums: Vec<Ran>, signal: Ran| {
        answering(vec![
            ("ledger-0*: head", vec![hash(&instance)]),
            ("repo-host-0*: head", vec![hash(&repo_host)]),
            ("sha256sum", sums),
            ("sh -c", vec![signal]),
        ])
    };
    let record = world.seen();
    assert!(is_due(&world.cluster, &world.hashes, &world.desired, &record));

    let stale = script(vec![ran(0, "aa  x\nbb  y\n")], ran(0, ""));
    let ensured = world.ensured(&stale, &record).await;
    assert_eq!(codes_of(&ensured), ["configuration-not-visible"; 2]);
    assert_eq!((ensured.record.servers, stale.count("sh -c")), (None, 0));

    let secret = world.desired.objects.iter().find_map(|object| match object {
        crate::cluster::desired::Object::Secret(secret) if object.name() == "ledger-pgbackrest-cert" => {
            Some(secret)
        }
        _ => None,
    });
    let data = secret.unwrap().data.clone().unwrap();
    let sum = |key: &str| hex::encode(ring::digest::digest(&ring::digest::SHA256, &data[key].0));
    let sums = |side: &str| ran(0, format!("{}  a\n{}  b\n", sum("pgbackrest.ca-roots"), sum(side)));
    let both = ["pgbackrest-repo-host.crt", "pgbackrest-client.crt"]
        .repeat(2)
        .into_iter()
        .map(sums)
        .collect::<Vec<_>>();
    let good = script(both.clone(), ran(0, ""));
    let ensured = world.ensured(&good, &record).await;
    assert_eq!(ensured.record.servers, world.desired.servers_hash);
    assert_eq!((reasons_of(&ensured), good.count("sh -c")), (vec!["ServersReloaded"], 2));

    let silent = script(both, ran(3, ""));
    let ensured = world.ensured(&silent, &record).await;
    assert_eq!(
        (codes_of(&ensured), ensured.record.servers.clone()),
        (vec![], None),
        "they may be about to start"
    );
    world.now += PATIENCE;
    let ensured = world.ensured(&silent, &ensured.record).await;
    assert_eq!(codes_of(&ensured), ["server-missing"; 2]);
}
