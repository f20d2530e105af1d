//! Stanza care in front of scripted answers.

mod waits;

use serde_json::json;

use super::*;
use crate::cluster::desired::{self, BuildInputs};
use crate::cluster::labels;
use crate::cluster::references::References;
use crate::cluster::validate;
use crate::fake_pods::{FakePods, pod, primary_labels, ran};
use crate::operator::certificates;
use crate::source::pod::Ran;

const BACKUP: &str = r#"[{"label":"20260101-000000F","type":"full","timestamp":{"start":1,"stop":2},"info":{},"database":{"id":1,"repo-key":1}}]"#;

/// Answers by what is in a command.
fn answering(answers: Vec<(&'static str, Vec<Ran>)>) -> FakePods<'static> {
    answers.into_iter().fold(FakePods::new(Vec::new()), |pods, (what, all)| pods.when(what, all))
}

/// What `info` says of a repo whose stanza, where it has one, is of the PostgreSQL cluster with this system identifier.
fn info_of(system: u64, repo: u8, status: i64, backups: &str) -> Ran {
    ran(
        0,
        format!(
            r#"[{{"name":"db","status":{{"code":{status},"message":"m","lock":{{}}}},"archive":[],"backup":{backups},
            "db":[{{"id":1,"repo-key":{repo},"system-id":{system},"version":"15"}}],
            "repo":[{{"key":{repo},"cipher":"none","status":{{"code":{status},"message":"[HostConnectError] down"}}}}]}}]"#
        ),
    )
}

fn info(repo: u8, status: i64, backups: &str) -> Ran {
    info_of(7, repo, status, backups)
}

/// `stanza-create` or `stanza-upgrade` that comes to these repos before it ends.
fn went(code: i32, repos: &[u8], error: &str) -> Ran {
    let lines: Vec<String> = repos
        .iter()
        .map(|repo| format!("P00   INFO: stanza-create for stanza 'db' on repo{repo}\n"))
        .collect();
    ran(code, lines.concat() + error)
}

struct TestCluster {
    cluster: ValidatedCluster,
    settings: Settings,
    hashes: BTreeMap<RepoNumber, String>,
    desired: Desired,
    pods: Vec<Pod>,
    now: DateTime<Utc>,
}

impl TestCluster {
    fn new(storages: &[&str], annotations: &serde_json::Value) -> Self {
        let repos: Vec<_> = storages
            .iter()
            .zip(1..)
            .map(|(storage, number)| {
                json!({"name": format!("repo{number}"), "storage": storage, "resource": format!("b{number}"), "endpoint": "e",
                    "region": "r", "volume": {"size": "1Gi"}})
            })
            .collect();
        let document = json!({
            "apiVersion": "cpo.opensource.cybertec.at/v1", "kind": "postgresql",
            "metadata": {"name": "ledger", "namespace": "shop", "annotations": annotations},
            "spec": {"numberOfInstances": 1, "postgresql": {"version": "15"}, "backup": {"pgbackrest": {
                "image": "pgbackrest:1", "repos": repos, "configuration": {"secret": "keys"}}}},
        });
        let settings = Settings::default();
        let (cluster, findings) = validate::document(document, &References::default(), &settings);
        let cluster = cluster.unwrap_or_else(|| panic!("{findings:?}"));
        let now = "2026-03-01T00:00:00Z".parse().unwrap();
        let certificates = cluster
            .needs_repo_host()
            .then(|| certificates::renew(&cluster, &settings, None, false, now).unwrap().pem);
        let inputs = BuildInputs { certificates, ..BuildInputs::default() };
        let desired = desired::build(&cluster, &settings, &inputs);
        let pod = |name: &str, labels, containers: &[&str]| Pod { labels, ..pod(name, containers) };
        let pods = vec![
            pod("ledger-0", primary_labels("ledger", &settings), &["postgres", "pgbackrest"]),
            pod(
                "ledger-pgbackrest-repo-host-0",
                labels::repo_host_selector("ledger", &settings),
                &["pgbackrest"],
            ),
        ];
        let hashes = desired::repo_hashes(&cluster, &settings);
        Self { cluster, settings, hashes, desired, pods, now }
    }

    async fn ensured(&self, script: &FakePods<'_>, record: &Record) -> Ensured {
        let task = StanzaTask {
            cluster: &self.cluster,
            settings: &self.settings,
            repo_hashes: &self.hashes,
            desired: &self.desired,
            pods: &self.pods,
            now: self.now,
        };
        ensure_with(script, &task, record).await
    }

    fn head(&self) -> (&'static str, Vec<Ran>) {
        let line =
            format!("# pgbackrest-keeper.io/config-hash: {}\n", self.desired.instance_configuration_hash);
        ("ledger-0*: head", vec![ran(0, line)])
    }

    fn seen(&self) -> Record {
        Record { stanzas: self.hashes.clone(), ..Record::default() }
    }
}

fn codes_of(ensured: &Ensured) -> Vec<&'static str> {
    ensured.findings.iter().map(|finding| finding.code.word).collect()
}

fn reasons_of(ensured: &Ensured) -> Vec<&'static str> {
    ensured.actions.iter().map(|action| action.reason).collect()
}

#[tokio::test]
async fn a_new_repo_gets_its_stanza_and_its_first_backup() {
    let world = TestCluster::new(&["s3"], &json!({}));
    assert!(is_due(&world.cluster, &world.hashes, &world.desired, &Record::default()));
    assert_eq!(waiting(&world.cluster, &world.hashes, &Record::default()).len(), 1);
    let script = answering(vec![
        world.head(),
        ("backrest info", vec![info(1, 1, "[]"), info(1, 2, "[]")]),
        ("stanza-create", vec![went(0, &[1], "")]),
    ]);
    let ensured = world.ensured(&script, &Record::default()).await;
    assert_eq!(ensured.record.stanzas, world.hashes);
    assert_eq!(reasons_of(&ensured), ["StanzaCreated"]);
    assert_eq!(ensured.due.len(), 1);
    assert_eq!(ensured.due[0].backup_type, BackupType::Full);
    assert_eq!((ensured.findings.len(), ensured.again_after), (0, None));
    assert!(!is_due(&world.cluster, &world.hashes, &world.desired, &ensured.record));
    assert!(waiting(&world.cluster, &world.hashes, &ensured.record).is_empty());
}

#[tokio::test]
async fn a_stanza_with_backups_is_only_remembered() {
    let world = TestCluster::new(&["s3"], &json!({}));
    let script = answering(vec![
        world.head(),
        ("backrest info", vec![info(1, 0, BACKUP)]),
        ("stanza-create", vec![went(0, &[1], "")]),
    ]);
    let ensured = world.ensured(&script, &Record::default()).await;
    assert_eq!(ensured.record.stanzas, world.hashes);
    assert!(ensured.due.is_empty() && ensured.actions.is_empty() && ensured.findings.is_empty());
}

#[tokio::test]
async fn nothing_is_made_before_the_pod_shows_the_configuration() {
    let world = TestCluster::new(&["s3"], &json!({}));
    for shown in ["# pgbackrest-keeper.io/config-hash: 0000\n", ""] {
        let script = answering(vec![("head", vec![ran(0, shown)])]);
        let ensured = world.ensured(&script, &Record::default()).await;
        assert_eq!(codes_of(&ensured), ["configuration-not-visible"]);
        assert_eq!(ensured.again_after, Some(SOON));
        assert_eq!(script.count("pgbackrest"), 1, "the file's name alone");
    }
}

#[tokio::test]
async fn an_unreachable_repo_holds_up_no_other() {
    let world = TestCluster::new(&["s3", "s3"], &json!({}));
    let script = answering(vec![
        world.head(),
        ("--repo=1", vec![info(1, 1, "[]"), info(1, 2, "[]")]),
        ("--repo=2", vec![info(2, 99, "[]")]),
        ("stanza-create", vec![went(49, &[1, 2], "P00  ERROR: [049]: unable to connect\n")]),
    ]);
    let ensured = world.ensured(&script, &Record::default()).await;
    let known: Vec<String> = ensured.record.stanzas.keys().map(ToString::to_string).collect();
    assert_eq!(known, ["repo1"]);
    assert_eq!(codes_of(&ensured), ["repo-unreachable"]);
    assert!(ensured.findings[0].is_error() && ensured.findings[0].message.contains("HostConnectError"));
    assert_eq!(ensured.again_after, Some(LATER));
    let waiting = waiting(&world.cluster, &world.hashes, &ensured.record);
    assert_eq!(waiting.values().collect::<Vec<_>>(), ["repo-unreachable"]);
}

#[tokio::test]
async fn behind_an_unreachable_repo_a_stanza_counts_by_its_system_identifier() {
    let world = TestCluster::new(&["s3", "s3", "s3"], &json!({}));
    let answers = |identity: Ran| {
        answering(vec![
            world.head(),
            ("--repo=1", vec![info(1, 99, "[]")]),
            ("--repo=2", vec![info_of(7_711_165_317_871_593_031, 2, 2, "[]")]),
            ("--repo=3", vec![info(3, 1, "[]")]),
            ("od -A n", vec![identity]),
        ])
    };
    let script = answers(ran(0, "  7711165317871593031\n"));
    let ensured = world.ensured(&script, &Record::default()).await;
    let known: Vec<String> = ensured.record.stanzas.keys().map(ToString::to_string).collect();
    assert_eq!(known, ["repo2"]);
    assert_eq!(script.count("stanza-create"), 0, "it would end at repo1");
    assert_eq!(codes_of(&ensured), ["repo-unreachable", "stanza-not-created"]);
    assert_eq!(ensured.due.len(), 1);

    let ensured = world.ensured(&answers(ran(0, " 1\n")), &Record::default()).await;
    assert_eq!(codes_of(&ensured), ["repo-unreachable", "stanza-foreign", "stanza-not-created"]);
    let ensured = world.ensured(&answers(ran(1, "")), &Record::default()).await;
    assert!(ensured.record.stanzas.is_empty(), "what nobody has checked is not ours");
}

#[tokio::test]
async fn a_foreign_repo_holds_up_no_other() {
    let world = TestCluster::new(&["s3", "s3"], &json!({}));
    let script = answering(vec![
        world.head(),
        ("--repo=1", vec![info(1, 1, "[]"), info(1, 2, "[]")]),
        ("--repo=2", vec![info(2, 0, BACKUP)]),
        ("stanza-create", vec![went(28, &[1, 2], "P00  ERROR: [028]: info files do not match\n")]),
    ]);
    let ensured = world.ensured(&script, &Record::default()).await;
    assert_eq!(ensured.record.stanzas.len(), 1);
    assert_eq!(reasons_of(&ensured), ["StanzaCreated"]);
    assert_eq!(codes_of(&ensured), ["stanza-foreign"]);
    assert_eq!(ensured.findings[0].value.as_deref(), Some("repo2"));
}

#[tokio::test]
async fn a_foreign_stanza_is_never_upgraded_without_a_word() {
    let foreign = "P00  ERROR: [028]: backup and archive info files exist but do not match\n";
    let world = TestCluster::new(&["s3"], &json!({}));
    let script = answering(vec![
        world.head(),
        ("backrest info", vec![info(1, 0, BACKUP)]),
        ("stanza-create", vec![went(28, &[1], foreign)]),
    ]);
    let ensured = world.ensured(&script, &Record::default()).await;
    assert!(ensured.record.stanzas.is_empty());
    assert_eq!(codes_of(&ensured), ["stanza-foreign"]);
    assert_eq!(script.count("stanza-upgrade"), 0);

    let world = TestCluster::new(&["s3"], &json!({"pgbackrest-keeper.io/stanza-upgrade": "17"}));
    let script = answering(vec![
        world.head(),
        ("backrest info", vec![info(1, 0, BACKUP)]),
        ("stanza-create", vec![went(0, &[1], "")]),
        ("stanza-upgrade", vec![went(0, &[1], "")]),
    ]);
    let ensured = world.ensured(&script, &Record::default()).await;
    assert_eq!(reasons_of(&ensured), ["StanzaUpgraded"]);
    assert_eq!(ensured.record.stanza_upgrade.as_deref(), Some("17"));
    assert_eq!(ensured.record.stanzas, world.hashes);
    let ensured = world.ensured(&script, &ensured.record).await;
    assert_eq!(script.count("stanza-upgrade"), 1, "each word asks once");
    assert!(ensured.actions.is_empty());
}

#[tokio::test]
async fn an_upgrade_that_meets_a_repo_without_stanza_is_run_again_once_there_is_one() {
    let world = TestCluster::new(&["s3", "s3"], &json!({"pgbackrest-keeper.io/stanza-upgrade": "17"}));
    let script = answering(vec![
        world.head(),
        ("--repo=1", vec![info(1, 2, "[]")]),
        ("--repo=2", vec![info(2, 1, "[]"), info(2, 2, "[]")]),
        ("stanza-create", vec![went(0, &[1, 2], "")]),
        ("stanza-upgrade", vec![went(55, &[1, 2], "P00  ERROR: [055]: missing\n"), went(0, &[1, 2], "")]),
    ]);
    let ensured = world.ensured(&script, &Record::default()).await;
    assert_eq!(ensured.record.stanza_upgrade.as_deref(), Some("17"));
    assert_eq!(ensured.record.stanzas, world.hashes);
    assert_eq!((codes_of(&ensured), ensured.again_after), (vec![], None));
}

#[tokio::test]
async fn a_held_lock_is_waited_for() {
    let world = TestCluster::new(&["s3"], &json!({}));
    let script = answering(vec![
        world.head(),
        ("backrest info", vec![info(1, 1, "[]")]),
        ("stanza-create", vec![ran(50, "")]),
    ]);
    let ensured = world.ensured(&script, &Record::default()).await;
    assert!(ensured.record.stanzas.is_empty() && ensured.findings.is_empty(), "{:?}", ensured.findings);
    assert_eq!(ensured.again_after, Some(SOON));
}

#[tokio::test]
async fn an_order_is_given_once() {
    let world = TestCluster::new(&["s3"], &json!({"pgbackrest-keeper.io/backup-now": "incr@repo1#2"}));
    let script = answering(vec![world.head()]);
    let ensured = world.ensured(&script, &world.seen()).await;
    assert_eq!(ensured.due.len(), 1);
    assert_eq!(
        (ensured.due[0].backup_type, ensured.due[0].token.as_str()),
        (BackupType::Incr, "incr@repo1#2")
    );
    assert!(!is_due(&world.cluster, &world.hashes, &world.desired, &ensured.record));
}

#[tokio::test]
async fn without_a_primary_nothing_is_asked() {
    let mut world = TestCluster::new(&["s3"], &json!({}));
    world.pods[0].ready = false;
    let ensured = world.ensured(&answering(vec![]), &Record::default()).await;
    assert_eq!(codes_of(&ensured), ["no-primary"]);
    assert_eq!(ensured.again_after, Some(SOON));
}
