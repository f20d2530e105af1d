//! Options for single backups, given to real pgBackRest.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use pgbackrest_keeper::pgbackrest::backup_options::{self, BackupOptions};
use pgbackrest_keeper::pgbackrest::options::since;
use tokio::task::block_in_place;

use super::pod::Here;
use super::{assert_made, backups};
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::{Pgbackrest, is_root, skip};
use crate::support::process::output;

use super::{Full, Incr};

/// The bounds of each option, and different ways to write a value.
const TAKEN: &[&str] = &[
    "--annotation=why='before the migration' --annotation=who=me=you",
    "--archive-copy",
    "--no-archive-copy",
    "--archive-timeout=1",
    "--archive-timeout=5000ms",
    "--archive-timeout=1d",
    "--buffer-size=16384",
    "--buffer-size=1MB",
    "--buffer-size=16MiB",
    "--checksum-page",
    "--no-checksum-page",
    "--checksum-page-error",
    "--no-checksum-page-error",
    "--compress-type=none",
    "--compress-type=bz2 --compress-level=1",
    "--compress-type=bz2 --compress-level=9",
    "--compress-type=gz --compress-level=-1",
    "--compress-type=gz --compress-level=9",
    "--compress-type=lz4 --compress-level=-5",
    "--compress-type=lz4 --compress-level=12",
    "--compress-type=zst --compress-level=-7",
    "--compress-type=zst --compress-level=22",
    "--compress-level-network=0",
    "--compress-level-network=9",
    "--db-timeout=1",
    "--db-timeout=6d",
    "--delta=y",
    "--delta=n",
    "--no-expire-auto",
    "--expire-auto",
    "--io-timeout=1",
    "--io-timeout=60m",
    "--manifest-save-threshold=1",
    "--manifest-save-threshold=1TiB",
    "--priority=0",
    "--priority=19",
    "--process-max=1",
    "--process-max=999",
    "--protocol-timeout=90s",
    "--protocol-timeout=1w",
    "--resume",
    "--no-resume",
    "--start-fast --process-max 8",
];

/// What is refused for its value, as pgBackRest does. Before 2.53, it ignores the units of times.
const REFUSED: &[&str] = &[
    "--archive-timeout=0.05",
    "--archive-timeout=86401",
    "--buffer-size=8KiB",
    "--buffer-size=3MiB",
    "--buffer-size=32MiB",
    "--compress-level-network=13",
    "--compress-type=zip",
    "--db-timeout=604801",
    "--io-timeout=3601",
    "--manifest-save-threshold=2TiB",
    "--priority=20",
    "--process-max=0",
    "--process-max=1000",
    "--process-max=8x",
    "--resume=maybe",
];

/// Rejected together, with what is configured or by default.
const CONTRADICTIONS: &[&str] = &[
    "--compress-type=gz --compress-level=12",
    "--compress-type=bz2 --compress-level=-1",
    "--compress-type=lz4 --compress-level=13",
    "--compress-level=22",
    "--db-timeout=30 --protocol-timeout=30",
];

/// pgBackRest reads all options before it looks for PostgreSQL, of which there is none.
#[test]
fn real_versions_take_the_same_options_for_a_backup() {
    const TEST: &str = "real_versions_take_the_same_options_for_a_backup";
    let mut shown = BTreeSet::new();
    for version in [Pgbackrest::installed(), Pgbackrest::newest()] {
        let version = match version {
            Ok(version) => version,
            Err(missing) => return skip(TEST, missing),
        };
        for text in TAKEN {
            let options: BackupOptions = text.parse().unwrap_or_else(|refused| panic!("{text}: {refused}"));
            assert!(options.contradictions(configured).is_empty(), "{text}");
            let has = |name: &str| {
                since::option(name).is_none_or(|(major, minor)| (2_u32, version.minor()) >= (major, minor))
            };
            let (code, said) = backup_nothing(&version, &options.arguments());
            // 55: no stanza. 56: no database. 31: no such option.
            let expected: &[i32] = if options.names().all(has) { &[55, 56] } else { &[31] };
            let code = code.unwrap_or_default();
            assert!(expected.contains(&code), "{} {text}: {code} {said}", version.version);
            shown.extend(options.names());
        }
        for text in REFUSED {
            assert!(text.parse::<BackupOptions>().is_err(), "{text}");
            let unknown = text.contains("priority") && version.minor() < 58;
            let (code, said) = backup_nothing(&version, &[(*text).to_owned()]);
            let code = code.unwrap_or_default();
            assert!(
                if unknown { code == 31 } else { code == 32 },
                "{} {text}: {code} {said}",
                version.version
            );
        }
        for text in CONTRADICTIONS {
            let options: BackupOptions = text.parse().unwrap();
            assert!(!options.contradictions(configured).is_empty(), "{text}");
            let (code, said) = backup_nothing(&version, &options.arguments());
            assert_eq!(code, Some(32), "{} {text}: {said}", version.version);
        }
    }
    assert!(backup_options::allowed().eq(shown), "every option is shown");
}

/// The default of everything.
fn configured<'a>(name: &str) -> Option<&'a str> {
    (name == "compress-type").then_some("gz")
}

fn backup_nothing(version: &Pgbackrest, arguments: &[String]) -> (Option<i32>, String) {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name).display().to_string();
    let mut command = Command::new(&version.program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
        .args([
            "backup",
            "--no-config",
            "--stanza=x",
            "--repo=1",
            "--log-level-file=off",
            "--log-level-console=warn",
        ])
        .args(["--pg1-path=/nonexistent", "--pg1-socket-path=/nonexistent"])
        .args([format!("--repo1-path={}", path("repo")), format!("--lock-path={}", path("lock"))])
        .args((version.minor() >= 59 && is_root()).then_some("--allow-root"))
        .args(arguments);
    let output = output(&mut command);
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.code(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_made_with_its_options() {
    for version in [Pgbackrest::installed(), Pgbackrest::newest()] {
        let Some(site) = Site::or_skip("a_backup_is_made_with_its_options", version) else { return };
        let lab = block_in_place(|| Lab::start(&site, 16));
        let mut text = "--annotation=why='before the migration' --archive-copy --archive-timeout=5m --buffer-size=4MiB \
                        --checksum-page --compress-type=lz4 --compress-level=4 --compress-level-network=6 \
                        --db-timeout=20m --delta --no-expire-auto --io-timeout=45 --manifest-save-threshold=64MiB \
                        --process-max=3 --protocol-timeout=21m --no-resume --start-fast"
            .to_owned();
        if site.pgbackrest.minor() >= 60 {
            text += " --checksum-page-error --priority=19";
        }
        let options: BackupOptions = text.parse().unwrap();
        let here = Here::new(&site, &lab.both).with_options(&options);
        for backup_type in [Full, Incr] {
            let made = here.back_up(backup_type, 1).await;
            assert_made(&made, &lab);
        }
        for backup in backups(&lab) {
            assert_eq!(backup["annotation"]["why"], "before the migration", "{backup}");
        }
        let log = fs::read_to_string(site.path("log").join(format!("{STANZA}-backup.log"))).unwrap();
        let begun: Vec<&str> = log.lines().filter(|line| line.contains("backup command begin")).collect();
        assert_eq!(begun.len(), 2, "{log}");
        for option in [
            "--process-max=3",
            "--compress-type=lz4",
            "--delta",
            "--no-resume",
            "--buffer-size=4MiB",
            "--archive-timeout=300",
        ] {
            assert!(begun.iter().all(|line| line.contains(option)), "{option}: {begun:#?}");
        }
        assert!(!log.contains("expire command begin"), "{log}");
    }
}
