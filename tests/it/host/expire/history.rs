//! Random histories of backups with random retention. The same seed generates the same history on every machine.

use std::fs;

use crate::host::campaign::generate::Random;
use crate::support::config::Config;
use crate::support::lab::{Lab, Site};

/// Backups at times of the past, and the settings to ask about.
#[derive(Debug)]
pub(super) struct History {
    steps: Vec<Step>,
    pub(super) settings: Vec<Settings>,
    /// The type of the backup that follows in repo2.
    pub(super) next_type: &'static str,
}

#[derive(Debug)]
struct Step {
    repo: u32,
    backup_type: &'static str,
    /// Hours before now at which PostgreSQL says that the backup is made.
    age: u32,
    /// Segments that are archived before it.
    segments: u32,
}

/// Retention of both repositories.
#[derive(Debug)]
pub(super) struct Settings([Retention; 2]);

/// Options of one repository.
#[derive(Debug)]
pub(super) struct Retention {
    full: Option<u32>,
    is_time: bool,
    diff: Option<u32>,
    archive: Option<u32>,
    archive_type: Option<&'static str>,
}

const TYPES: [&str; 3] = ["full", "diff", "incr"];
/// Settings for each history.
const SETTINGS: usize = 6;

impl History {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let count = 4 + random.small(4);
        let mut age = 24 * 12;
        let mut steps = Vec::new();
        for number in 0..count {
            // Each repository has one at least.
            let repo = if number < 2 { number + 1 } else { 1 + random.small(2) };
            let backup_type = random.of(&["full", "full", "diff", "incr"]);
            steps.push(Step { repo, backup_type, age, segments: random.small(3) });
            age -= 1 + random.small(age / (count - number));
        }
        let settings =
            (0..SETTINGS).map(|_| Settings([retention(&mut random), retention(&mut random)])).collect();
        Self { steps, settings, next_type: random.of(&TYPES) }
    }

    /// Makes it in new repositories.
    pub(super) fn make(&self, lab: &Lab<'_>) {
        // Nothing of the history before is on its way.
        lab.postgres.archive_all();
        for repo in ["repo1", "repo2"] {
            fs::remove_dir_all(lab.site.path(repo)).unwrap();
            lab.site.create_directory(repo);
        }
        lab.pgbackrest(&["stanza-create"]);
        for Step { repo, backup_type, age, segments } in &self.steps {
            for _ in 0..*segments {
                lab.postgres.archive_all();
            }
            lab.set_clock(Some(&format!("{age} hours")));
            let (repo, backup_type) = (format!("--repo={repo}"), format!("--type={backup_type}"));
            lab.pgbackrest(&[&repo, &backup_type, "--no-expire-auto", "backup"]);
        }
        lab.postgres.archive_all();
        lab.set_clock(None);
    }

    /// Settings that the next backups are made with.
    pub(super) fn last(&self) -> &Settings {
        self.settings.last().unwrap()
    }
}

fn retention(random: &mut Random) -> Retention {
    let is_time = random.chance(50);
    let full = if is_time { 1 + random.small(9) } else { 1 + random.small(3) };
    Retention {
        full: random.chance(85).then_some(full),
        is_time,
        diff: random.chance(35).then(|| 1 + random.small(3)),
        archive: random.chance(50).then(|| 1 + random.small(4)),
        archive_type: random.of(&[None, None, Some("full"), Some("diff"), Some("incr")]),
    }
}

impl Settings {
    pub(super) fn of(&self, repo: u32) -> &Retention {
        &self.0[usize::try_from(repo).unwrap() - 1]
    }

    /// The program knows a retention of this repository.
    pub(super) fn is_set(&self, repo: u32) -> bool {
        let Retention { full, diff, archive, archive_type, .. } = self.of(repo);
        full.is_some() || archive.is_some() || diff.is_some() && *archive_type != Some("full")
    }

    pub(super) fn config(&self, site: &Site) -> Config {
        let mut config = site.config().without("repo1-retention").without("repo2-retention");
        for (repo, retention) in (1..).zip(&self.0) {
            let Retention { full, is_time, diff, archive, archive_type } = retention;
            let set = |config: Config, name: &str, value: Option<String>| match value {
                Some(value) => config.global(&format!("repo{repo}-retention-{name}"), &value),
                None => config,
            };
            config = set(config, "full", full.map(|full| full.to_string()));
            config = set(config, "full-type", is_time.then(|| "time".to_owned()));
            config = set(config, "diff", diff.map(|diff| diff.to_string()));
            config = set(config, "archive", archive.map(|archive| archive.to_string()));
            config = set(config, "archive-type", archive_type.map(str::to_owned));
        }
        config
    }
}

#[test]
fn a_seed_makes_one_history() {
    for seed in 0..50 {
        let made = History::of(seed);
        assert_eq!(format!("{made:?}"), format!("{:?}", History::of(seed)));
        assert!(made.steps.is_sorted_by(|one, next| one.age > next.age), "{made:?}");
    }
}
