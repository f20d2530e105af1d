//! Real backups of real PostgreSQL: every value on /metrics matches psql and pgBackRest.

use serde_json::Value;

use crate::support::exporter::{Exporter, our_program};
use crate::support::exposition::Samples;
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::Pgbackrest;
use crate::support::postgres::Archived;
use crate::support::process::{call, successful};

const TYPES: [&str; 3] = ["full", "diff", "incr"];

#[test]
fn backups_of_the_installed_version() {
    check("backups_of_the_installed_version", Pgbackrest::installed(), 16);
}

#[test]
fn backups_of_the_newest_version_with_small_wal_segments() {
    check("backups_of_the_newest_version_with_small_wal_segments", Pgbackrest::newest(), 4);
}

#[test]
fn backups_of_a_version_in_between() {
    check("backups_of_a_version_in_between", Pgbackrest::in_between(), 16);
}

/// Backups of each type in two repos, the second one encrypted, against what the exporter serves.
fn check(test: &str, pgbackrest: Result<Pgbackrest, String>, wal_segment_megabytes: u32) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let lab = Lab::start(&site, wal_segment_megabytes);
    for (repo, backup_type) in [(1, "full"), (1, "diff"), (1, "incr"), (1, "incr"), (2, "full"), (2, "incr")]
    {
        lab.back_up(repo, backup_type);
    }
    let archived = lab.postgres.archive_all();
    let info = site.info(&lab.both, &[]);
    assert_eq!(info[0]["backup"].as_array().map(Vec::len), Some(6), "{info}");

    // What `info` says alone, without a scan.
    let exporter = Exporter::start(&site, &lab.both, &["--collect.interval=1", "--collector.wal=false"]);
    let newest = lab.labels(2).pop().unwrap();
    exporter.wait("the newest backup", |samples| {
        samples.find("pgbackrest_backup_info", &[("backup_name", &newest)])
    });
    let samples = exporter.samples();
    is_said_by_info(&samples, &info);
    is_said_by_postgres(&samples, &lab, &archived);
    samples.assert("pgbackrest_version_info", &[], f64::from(site.pgbackrest.number()));
    assert_eq!(exporter.get("/healthz", &[]).status, 200);
    assert_eq!(exporter.get("/readyz", &[]).status, 200);
    let page = exporter.get("/", &[]);
    for label in lab.labels(1) {
        assert!(page.text().contains(&label), "{label} is not on the status page");
    }
    assert_eq!(exporter.stop(), Some(0));
    is_told_in_the_terminal(&lab);
    is_configured_by_variables(&lab);
}

/// Every backup and repo of an `info` document has its series, and no other has.
fn is_said_by_info(samples: &Samples, info: &Value) {
    let stanza = &info[0];
    samples.assert("pgbackrest_stanza_status", &[("stanza", STANZA)], 0.0);
    samples.assert("pgbackrest_stanza_backup_lock_status", &[("stanza", STANZA)], 0.0);
    let backups = stanza["backup"].as_array().unwrap();
    assert_eq!(samples.all("pgbackrest_backup_info", &[]).len(), backups.len());
    for backup in backups {
        backup_is_served(samples, backup);
    }
    for repo in stanza["repo"].as_array().unwrap() {
        let key = repo["key"].to_string();
        let labels = [("stanza", STANZA), ("repo_key", key.as_str())];
        let cipher = repo["cipher"].as_str().unwrap();
        samples.assert("pgbackrest_repo_status", &[labels[0], labels[1], ("cipher", cipher)], 0.0);
        samples.assert("pgbackrest_repo_up", &labels, 1.0);
        samples.assert("pgbackrest_repo_encrypted", &labels, if key == "2" { 1.0 } else { 0.0 });
        for backup_type in TYPES {
            newest_is_served(samples, &key, backup_type, backups);
        }
        let kept = in_repo(backups, &key);
        let stored: f64 = kept.iter().map(|backup| number(&backup["info"]["repository"]["delta"])).sum();
        samples.assert("pgbackrest_repo_stored_bytes", &[labels[0], labels[1], ("kind", "backup")], stored);
        let (first, last) = (kept.first().unwrap(), kept.last().unwrap());
        let window = number(&last["timestamp"]["stop"]) - number(&first["timestamp"]["stop"]);
        samples.assert("pgbackrest_recovery_window_seconds", &labels, window);
        samples.assert("pgbackrest_recovery_window_verified", &labels, 0.0);
    }
}

fn backup_is_served(samples: &Samples, backup: &Value) {
    let label = backup["label"].as_str().unwrap();
    let key = backup["database"]["repo-key"].to_string();
    let labels = [("backup_name", label), ("repo_key", key.as_str()), ("stanza", STANZA)];
    let served = samples.all("pgbackrest_backup_info", &labels);
    assert_eq!(served.len(), 1, "{label}: {served:?}");
    let told = &served[0].labels;
    for (name, fact) in [
        ("backup_type", &backup["type"]),
        ("wal_start", &backup["archive"]["start"]),
        ("wal_stop", &backup["archive"]["stop"]),
        ("lsn_start", &backup["lsn"]["start"]),
        ("lsn_stop", &backup["lsn"]["stop"]),
        ("backrest_ver", &backup["backrest"]["version"]),
    ] {
        assert_eq!(told[name], fact.as_str().unwrap(), "{name} of {label}");
    }
    assert_eq!(told["prior"], backup["prior"].as_str().unwrap_or_default(), "prior of {label}");
    let time = &backup["timestamp"];
    for (name, fact) in [
        ("pgbackrest_backup_duration_seconds", number(&time["stop"]) - number(&time["start"])),
        ("pgbackrest_backup_size_bytes", number(&backup["info"]["size"])),
        ("pgbackrest_backup_delta_bytes", number(&backup["info"]["delta"])),
        ("pgbackrest_backup_repo_size_bytes", number(&backup["info"]["repository"]["size"])),
        ("pgbackrest_backup_repo_delta_bytes", number(&backup["info"]["repository"]["delta"])),
        ("pgbackrest_backup_error_status", 0.0),
    ] {
        samples.assert(name, &labels, fact);
    }
}

/// The newest backup of exactly this type in a repo; no series where there is none.
fn newest_is_served(samples: &Samples, key: &str, backup_type: &str, backups: &[Value]) {
    let labels = [("stanza", STANZA), ("repo_key", key), ("backup_type", backup_type)];
    let of_type: Vec<&Value> =
        in_repo(backups, key).into_iter().filter(|backup| backup["type"] == backup_type).collect();
    samples.assert("pgbackrest_backups", &labels, of_type.len() as f64);
    let newest = |fact: fn(&Value) -> f64| of_type.last().map(|backup| fact(backup));
    for (name, fact) in [
        (
            "pgbackrest_backup_last_completion_timestamp_seconds",
            newest(|backup| number(&backup["timestamp"]["stop"])),
        ),
        ("pgbackrest_repo_backup_last_database_bytes", newest(|backup| number(&backup["info"]["size"]))),
        ("pgbackrest_repo_backup_last_copied_bytes", newest(|backup| number(&backup["info"]["delta"]))),
        (
            "pgbackrest_repo_backup_last_stored_bytes",
            newest(|backup| number(&backup["info"]["repository"]["delta"])),
        ),
    ] {
        assert_eq!(samples.find(name, &labels), fact, "{name}{labels:?}");
    }
}

/// What PostgreSQL itself knows of its identity and its WAL.
fn is_said_by_postgres(samples: &Samples, lab: &Lab<'_>, archived: &Archived) {
    let system_id = lab.postgres.sql("select system_identifier from pg_control_system()");
    for key in ["1", "2"] {
        let labels = [("stanza", STANZA), ("repo_key", key)];
        let identity = samples.all("pgbackrest_stanza_cluster_info", &labels);
        assert_eq!(identity.len(), 1, "{identity:?}");
        assert_eq!(identity[0].labels["system_id"], system_id);
        assert_eq!(identity[0].labels["pg_version"], "15");
        samples.assert("pgbackrest_wal_max_lsn_bytes", &labels, archived.end as f64);
        let segment = archived.end / archived.segment_size - 1;
        samples.assert("pgbackrest_wal_max_segment", &labels, segment as f64);
        samples.assert("pgbackrest_wal_max_timeline", &labels, 1.0);
    }
    samples.assert("pgbackrest_wal_segment_size_bytes", &[("stanza", STANZA)], archived.segment_size as f64);
    samples.assert("pgbackrest_stanza_repo_system_id_match", &[("stanza", STANZA)], 1.0);
    samples.assert("pgbackrest_stanza_repo_wal_skew_segments", &[("stanza", STANZA)], 0.0);
}

/// `pgbackrest-keeper info` knows the same backups.
fn is_told_in_the_terminal(lab: &Lab<'_>) {
    let ask = |arguments: &[&str]| {
        successful(
            call(lab.site.account.as_ref(), our_program(lab.site))
                .arg("info")
                .arg(format!("--backrest.config={}", lab.both.display()))
                .arg(format!("--backrest.binary={}", lab.site.pgbackrest.program.display()))
                .args(arguments),
        )
    };
    let table = ask(&[]);
    assert!(table.contains(STANZA) && table.contains("repo2"), "{table}");
    let document = ask(&["--output=json"]);
    let told: Value = serde_json::from_str(&document).unwrap_or_else(|error| panic!("{error}: {document}"));
    let (told, judged) = (&told["stanzas"][0], &told["assessments"][0]);
    let raw = lab.site.info(&lab.both, &[])[0]["backup"].as_array().unwrap().clone();
    for key in ["1", "2"] {
        let repo = told["repos"]
            .as_array()
            .unwrap()
            .iter()
            .find(|repo| repo["key"].as_u64() == key.parse().ok())
            .unwrap();
        let told = repo["backups"].as_array().unwrap().iter();
        let told: Vec<_> = told.map(|one| [&one["label"], &one["wal_start"], &one["lsn_stop"]]).collect();
        let raw = in_repo(&raw, key).into_iter();
        let raw: Vec<_> =
            raw.map(|one| [&one["label"], &one["archive"]["start"], &one["lsn"]["stop"]]).collect();
        assert_eq!(told, raw, "repo{key}");
    }
    assert_eq!((&judged["stanza"], &judged["health"]), (&told["name"], &Value::from("ok")), "{judged}");
    assert!(judged["restorable"]["window"]["latest"].is_string(), "{judged}");
}

/// Variables tell both pgBackRest and us where the configuration is, and what is otherwise than it says.
fn is_configured_by_variables(lab: &Lab<'_>) {
    let variables =
        [("PGBACKREST_CONFIG", lab.both.to_str().unwrap()), ("PGBACKREST_REPO1_RETENTION_FULL", "7")];
    let names = variables.map(|(name, _)| name).join(",");
    let document = successful(
        call(lab.site.account.as_ref(), our_program(lab.site))
            .args(["info", "--output=json", &format!("--collect.pass-env={names}")])
            .arg(format!("--backrest.binary={}", lab.site.pgbackrest.program.display()))
            .envs(variables),
    );
    let snapshot: Value = serde_json::from_str(&document).unwrap();
    let repos = snapshot["stanzas"][0]["repos"].as_array().unwrap();
    let kept = |index: usize| repos[index]["settings"]["retention_full"].clone();
    assert_eq!(repos.len(), 2, "{document}");
    assert_eq!(
        [kept(0), kept(1)].map(|kept| kept.to_string()),
        [r#"{"count":7}"#, r#"{"count":2}"#],
        "{repos:?}"
    );
}

/// Backups of a repo, oldest first.
fn in_repo<'a>(backups: &'a [Value], key: &str) -> Vec<&'a Value> {
    let key: u64 = key.parse().unwrap();
    backups.iter().filter(|backup| backup["database"]["repo-key"].as_u64() == Some(key)).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}
