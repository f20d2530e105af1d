//! Stanza management with real PostgreSQL and real pgBackRest, which run here instead of in pods.

mod facts;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use pgbackrest_keeper::cluster::desired::{self, BuildInputs, Desired};
use pgbackrest_keeper::cluster::labels;
use pgbackrest_keeper::cluster::record::Record;
use pgbackrest_keeper::cluster::references::References;
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::target::Pod;
use pgbackrest_keeper::cluster::validate;
use pgbackrest_keeper::cluster::validated::{RepoNumber, ValidatedCluster};
use pgbackrest_keeper::operator::stanza::{Ensured, StanzaTask, ensure_with, is_due, waiting};
use serde_json::json;

use crate::support::config::Config;
use crate::support::fake_pods::{pod, primary_labels};
use crate::support::lab::Site;
use crate::support::machine::{Pgbackrest, postgres_programs};
use crate::support::postgres::{PORT, Postgres};

/// A cluster as the operator sees it.
struct Seen {
    settings: Settings,
    cluster: ValidatedCluster,
    hashes: BTreeMap<RepoNumber, String>,
    desired: Desired,
    pods: Vec<Pod>,
}

impl Seen {
    /// With this many repos, and PostgreSQL's data there.
    fn new(repos: usize, data: &Path, annotations: &serde_json::Value) -> Self {
        let repos: Vec<_> = (1..=repos)
            .map(|number| {
                json!({"name": format!("repo{number}"), "storage": "s3", "resource": format!("b{number}"),
                    "endpoint": "e", "region": "r"})
            })
            .collect();
        let document = json!({
            "apiVersion": "cpo.opensource.cybertec.at/v1", "kind": "postgresql",
            "metadata": {"name": "ledger", "namespace": "shop", "annotations": annotations},
            "spec": {"numberOfInstances": 1, "postgresql": {"version": "15"}, "backup": {"pgbackrest": {
                "image": "pgbackrest:1", "repos": repos, "configuration": {"secret": "keys"}}}},
        });
        let settings = Settings { database_path: data.display().to_string(), ..Settings::default() };
        let (cluster, findings) = validate::document(document, &References::default(), &settings);
        let cluster = cluster.unwrap_or_else(|| panic!("{findings:?}"));
        let pods = vec![primary(&settings)];
        Self {
            hashes: desired::repo_hashes(&cluster, &settings),
            desired: desired::build(&cluster, &settings, &BuildInputs::default()),
            pods,
            cluster,
            settings,
        }
    }

    /// Takes care with pgBackRest configured so.
    async fn ensured(&self, site: &Site, config: &Config, record: &Record) -> Ensured {
        let hash = &self.desired.instance_configuration_hash;
        let text = format!("# {}: {hash}\n{}", labels::CONFIGURATION_HASH, config.text());
        let configuration = site.write("instance.conf", &text);
        let task = StanzaTask {
            cluster: &self.cluster,
            settings: &self.settings,
            repo_hashes: &self.hashes,
            desired: &self.desired,
            pods: &self.pods,
            now: chrono::Utc::now(),
        };
        let pods = site.as_pods(&self.pods, &configuration);
        let ensured = ensure_with(&pods, &task, record).await;
        assert!(pods.asked().iter().all(|asked| asked.timeout >= Duration::from_secs(20)));
        ensured
    }
}

fn primary(settings: &Settings) -> Pod {
    Pod { labels: primary_labels("ledger", settings), ..pod("ledger-0", &["postgres"]) }
}

fn configure(site: &Site, postgres: &Postgres<'_>, repos: usize) -> Config {
    let path = |name: &str| site.path(name).display().to_string();
    let mut config = Config::default()
        .global("log-path", &path("log"))
        .global("lock-path", &path("lock"))
        .global("spool-path", &path("spool"));
    for number in 1..=repos {
        config = config.global(&format!("repo{number}-path"), &path(&format!("repo{number}")));
    }
    config
        .set("db", "pg1-path", &postgres.data.display().to_string())
        .set("db", "pg1-port", PORT)
        .set("db", "pg1-socket-path", &postgres.socket_directory.display().to_string())
        .set("db", "pg1-user", "postgres")
}

/// A repo where nobody answers.
fn down(config: Config, number: usize) -> Config {
    let option = |name: &str| format!("repo{number}-{name}");
    config
        .without(&option("path"))
        .global(&option("type"), "s3")
        .global(&option("s3-bucket"), "b")
        .global(&option("s3-endpoint"), "s3.local")
        .global(&option("s3-region"), "r")
        .global(&option("s3-key"), "K")
        .global(&option("s3-key-secret"), "S")
        .global(&option("storage-host"), "127.0.0.1")
        .global(&option("storage-port"), "1")
}

fn start<'a>(site: &'a Site, directory: &str) -> Postgres<'a> {
    let directory = site.create_directory(directory);
    let programs = postgres_programs().unwrap();
    let mut postgres = Postgres::create(site.account.as_ref(), &programs, &directory, 16, "/bin/true");
    postgres.start();
    postgres
}

fn codes(ensured: &Ensured) -> Vec<(&'static str, Option<&str>)> {
    ensured.findings.iter().map(|finding| (finding.code.word, finding.value.as_deref())).collect()
}

fn reasons(ensured: &Ensured) -> Vec<&'static str> {
    ensured.actions.iter().map(|action| action.reason).collect()
}

fn due(ensured: &Ensured) -> Vec<String> {
    ensured.due.iter().map(|due| format!("{} {}", due.backup_type.as_str(), due.repo)).collect()
}

#[tokio::test]
async fn stanzas_of_the_installed_version() {
    stanzas("stanzas_of_the_installed_version", Pgbackrest::installed()).await;
}

#[tokio::test]
async fn stanzas_of_a_version_in_between() {
    stanzas("stanzas_of_a_version_in_between", Pgbackrest::in_between()).await;
}

/// The life of a cluster: a first repo, a second one later, a lock, a repo that is down.
async fn stanzas(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let postgres = start(&site, "postgres");
    let none = json!({});

    let one = Seen::new(1, &postgres.data, &none);
    let first = one.ensured(&site, &configure(&site, &postgres, 1), &Record::default()).await;
    assert_eq!((reasons(&first), codes(&first)), (vec!["StanzaCreated"], vec![]));
    assert_eq!((due(&first), first.again_after), (vec!["full repo1".to_owned()], None));
    assert!(site.path("repo1/backup/db/backup.info").is_file());
    assert!(!is_due(&one.cluster, &one.hashes, &one.desired, &first.record));

    let two = Seen::new(2, &postgres.data, &none);
    assert!(is_due(&two.cluster, &two.hashes, &two.desired, &first.record));
    // The installed version has one lock for all repos of a stanza, later ones have one for each.
    let locks = ["db-backup.lock", "db-backup-1.lock", "db-backup-2.lock"];
    let held: Vec<File> =
        locks.map(|name| File::create(site.write(&format!("lock/{name}"), "")).unwrap()).into();
    for lock in &held {
        lock.lock().unwrap();
    }
    let locked = two.ensured(&site, &configure(&site, &postgres, 2), &first.record).await;
    assert_eq!((reasons(&locked), codes(&locked)), (vec![], vec![]));
    assert!(locked.again_after.is_some() && locked.record.stanzas.len() == 1);
    drop(held);

    let unreachable = two.ensured(&site, &down(configure(&site, &postgres, 2), 2), &locked.record).await;
    assert_eq!(codes(&unreachable), [("repo-unreachable", Some("repo2"))]);
    assert!(unreachable.findings[0].message.contains("HostConnectError"), "{:?}", unreachable.findings);
    let waits = waiting(&two.cluster, &two.hashes, &unreachable.record);
    assert_eq!(waits.into_values().collect::<Vec<_>>(), ["repo-unreachable"]);

    let second = two.ensured(&site, &configure(&site, &postgres, 2), &unreachable.record).await;
    assert_eq!((reasons(&second), codes(&second)), (vec!["StanzaCreated"], vec![]));
    assert_eq!(due(&second), ["full repo2"]);
    assert_eq!(second.record.stanzas, two.hashes);
    assert!(second.record.troubles.is_empty() && second.record.unfinished.is_none());

    // Nothing is remembered, and the first repo is down: the second one is known by its system identifier.
    let anew = two.ensured(&site, &down(configure(&site, &postgres, 2), 1), &Record::default()).await;
    assert_eq!(codes(&anew), [("repo-unreachable", Some("repo1"))]);
    assert_eq!(anew.record.stanzas.keys().map(ToString::to_string).collect::<Vec<_>>(), ["repo2"]);
}

#[tokio::test]
async fn a_stanza_of_another_cluster_is_upgraded_only_when_asked() {
    let Some(site) =
        Site::or_skip("a_stanza_of_another_cluster_is_upgraded_only_when_asked", Pgbackrest::installed())
    else {
        return;
    };
    let (former, postgres) = (start(&site, "postgres"), start(&site, "other"));
    let theirs = Seen::new(1, &former.data, &json!({}));
    theirs.ensured(&site, &configure(&site, &former, 1), &Record::default()).await;
    let info = || std::fs::read(site.path("repo1/backup/db/backup.info")).unwrap();
    let before = info();

    // The first repo is the other cluster's, and the second one, which is behind it, has nothing yet.
    let ours = Seen::new(2, &postgres.data, &json!({}));
    let config = configure(&site, &postgres, 2);
    let ensured = ours.ensured(&site, &config, &Record::default()).await;
    assert_eq!(codes(&ensured), [("stanza-foreign", Some("repo1")), ("stanza-not-created", Some("repo2"))]);
    assert!(ensured.findings[0].message.contains("FileInvalidError (28)"), "{:?}", ensured.findings);
    assert!(ensured.record.stanzas.is_empty() && ensured.due.is_empty());
    assert_eq!(info(), before, "nothing was changed");

    let asked = Seen::new(2, &postgres.data, &json!({"pgbackrest-keeper.io/stanza-upgrade": "16"}));
    let ensured = asked.ensured(&site, &config, &ensured.record).await;
    assert_eq!(codes(&ensured), []);
    assert_eq!(ensured.record.stanza_upgrade.as_deref(), Some("16"));
    assert_eq!(ensured.record.stanzas, asked.hashes);
    assert!(
        due(&ensured).contains(&"full repo1".to_owned()),
        "its backups are the other cluster's: {ensured:?}"
    );
    assert_ne!(info(), before);
    assert!(!is_due(&asked.cluster, &asked.hashes, &asked.desired, &ensured.record), "each word asks once");
}
