//! What a fleet's collection reports about the same cluster with real pgBackRest, with one repository that is down and one that works.

use pgbackrest_keeper::cluster::key::Key;
use pgbackrest_keeper::collect::fleet::{Pace, Subject, once};
use pgbackrest_keeper::pgbackrest::conf::Conf;
use pgbackrest_keeper::state::snapshot::{RepoState, Snapshot, Version};

use super::*;

#[tokio::test]
async fn facts_of_the_installed_version() {
    facts("facts_of_the_installed_version", Pgbackrest::installed()).await;
}

#[tokio::test]
async fn facts_of_a_version_in_between() {
    facts("facts_of_a_version_in_between", Pgbackrest::in_between()).await;
}

async fn facts(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let postgres = start(&site, "postgres");
    let seen = Seen::new(2, &postgres.data, &json!({}));
    let config = configure(&site, &postgres, 2);
    let before = learn(&site, &seen, &config).await;
    let states = |snapshot: &Snapshot| -> Vec<RepoState> {
        snapshot.stanza("db").unwrap().repos.iter().map(|repo| repo.state).collect()
    };
    assert_eq!(states(&before), [RepoState::MissingStanzaPath; 2]);

    assert_eq!(codes(&seen.ensured(&site, &config, &Record::default()).await), []);
    let file = site.write("pgbackrest.conf", &config.text());
    for repo in ["--repo=1", "--repo=2"] {
        let arguments = ["--stanza=db", repo, "--no-online", "--force", "backup"];
        let output = site.run(&file, &arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let well = learn(&site, &seen, &config).await;
    assert_eq!(states(&well), [RepoState::Ok; 2]);
    assert_eq!(well.version.map(Version::number), Some(site.pgbackrest.number().into()));
    let stanza = well.stanza("db").unwrap();
    assert!(stanza.repos.iter().all(|repo| repo.backups.len() == 1 && repo.databases.len() == 1));
    let storage = |repo: usize| stanza.repos[repo].settings.as_ref().unwrap().storage.clone();
    assert_eq!(storage(0).as_deref(), Some("s3"), "as the resource says");

    let half = learn(&site, &seen, &down(config, 1)).await;
    assert_eq!(states(&half), [RepoState::Other, RepoState::Ok]);
    let [broken, good] = &half.stanza("db").unwrap().repos[..] else { panic!("{half:?}") };
    assert_eq!((broken.error, good.backups.len()), (Some("HostConnectError"), 1));
    assert!(half.collection.scopes["db"].up, "both have answered");
}

async fn learn(site: &Site, seen: &Seen, config: &Config) -> Snapshot {
    let configuration = site.write("instance.conf", &config.text());
    let cluster = (Key::new("shop", "ledger"), Subject::of(&seen.cluster, &seen.settings, &Conf::default()));
    let pods = site.as_pods(&seen.pods, &configuration);
    once(&pods, vec![cluster], &Settings::default(), Pace::default()).await.remove(0).1
}
