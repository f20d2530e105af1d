//! The dashboard 17709 on grafana.com for the Go exporter with our exporter: its variables, and the data of each panel.
//!
//! The queries are of the revision for 0.20 and later, with all variables at "All".

use crate::support::lab::Lab;
use crate::support::machine::Pgbackrest;
use crate::support::process::wait_for;
use crate::support::stack::{self, Stack, stack};

/// Selectors that the panels share.
const STANZA: &str = "stanza=~\".*\"";
const REPO: &str = "stanza=~\".*\",repo_key=~\".*\"";
const BACKUP: &str =
    "stanza=~\".*\",repo_key=~\".*\",backup_type=~\".*\",block_incr=~\".*\",backup_name=~\".*\"";

/// A variable: its name, and the metric from whose label of that name its values come.
const VARIABLES: [(&str, &str); 5] = [
    ("stanza", "pgbackrest_repo_status"),
    ("repo_key", "pgbackrest_repo_status"),
    ("backup_type", "pgbackrest_backup_info"),
    ("block_incr", "pgbackrest_backup_info"),
    ("backup_name", "pgbackrest_backup_info"),
];

/// Columns of tables of single backups.
const OF_BACKUP: &[&str] = &["stanza", "repo_key", "backup_type", "block_incr", "backup_name", "database_id"];
/// Columns of tables of last backups.
const OF_LAST: &[&str] = &["stanza", "backup_type", "block_incr"];

/// What a panel shows: its title; how it brings its series together, if it does; metrics with a further matcher; what
/// selects; and which labels it makes columns or legends of.
struct Panel {
    title: &'static str,
    together: &'static str,
    metrics: &'static [(&'static str, &'static str)],
    selector: &'static str,
    columns: &'static [&'static str],
}

const fn panel(
    title: &'static str,
    together: &'static str,
    metrics: &'static [(&'static str, &'static str)],
    selector: &'static str,
    columns: &'static [&'static str],
) -> Panel {
    Panel { title, together, metrics, selector, columns }
}

const COUNT: &str = "sum(count by (stanza) (SERIES))";
const SUM: &str = "sum(SERIES)";
const COUNT_BY_STANZA: &str = "count by (stanza) (SERIES)";
const SUM_BY_STANZA: &str = "sum by (stanza) (SERIES)";
const AVERAGE_BY_STANZA: &str = "avg by (stanza) (SERIES)";
const AS_IT_IS: &str = "SERIES";

const FULL: &str = "backup_type=\"full\"";
const DIFF: &str = "backup_type=\"diff\"";
const INCR: &str = "backup_type=\"incr\"";

#[rustfmt::skip]
const PANELS: &[Panel] = &[
    // General info.
    panel("Stanzas CNT", COUNT, &[("pgbackrest_stanza_status", "")], STANZA, &[]),
    panel("Backups CNT", COUNT, &[("pgbackrest_backup_info", "")], REPO, &[]),
    panel("Full backups CNT", COUNT, &[("pgbackrest_backup_info", FULL)], REPO, &[]),
    panel("Diff backups CNT", COUNT, &[("pgbackrest_backup_info", DIFF)], REPO, &[]),
    panel("Incr backups CNT", COUNT, &[("pgbackrest_backup_info", INCR)], REPO, &[]),
    panel("Backups with errors CNT", SUM, &[("pgbackrest_backup_error_status", "")], REPO, &[]),
    panel("Stanza status and last backups", AS_IT_IS, &[
        ("pgbackrest_stanza_status", ""),
        ("pgbackrest_stanza_backup_lock_status", ""),
        ("pgbackrest_backup_since_last_completion_seconds", FULL),
        ("pgbackrest_backup_since_last_completion_seconds", DIFF),
        ("pgbackrest_backup_since_last_completion_seconds", INCR),
    ], STANZA, &["stanza"]),
    panel("Repository status", AS_IT_IS, &[("pgbackrest_repo_status", "")], REPO, &["stanza", "repo_key", "cipher"]),
    panel("Backups CNT over time", COUNT_BY_STANZA, &[("pgbackrest_backup_info", "")], REPO, &["stanza"]),
    panel("WAL archive status", AS_IT_IS, &[("pgbackrest_wal_archive_status", "")], REPO,
        &["stanza", "repo_key", "pg_version", "database_id"]),
    panel("Average database size", AVERAGE_BY_STANZA, &[("pgbackrest_backup_size_bytes", "")], REPO, &["stanza"]),
    panel("Total size occupied by backups", SUM_BY_STANZA, &[("pgbackrest_backup_repo_delta_bytes", "")], REPO, &["stanza"]),
    panel("Last backup error status and duration", AS_IT_IS, &[
        ("pgbackrest_backup_last_error_status", ""),
        ("pgbackrest_backup_last_duration_seconds", ""),
    ], STANZA, OF_LAST),
    // Last backups info.
    panel("Average duration of last backup", AVERAGE_BY_STANZA, &[
        ("pgbackrest_backup_last_duration_seconds", FULL),
        ("pgbackrest_backup_last_duration_seconds", DIFF),
        ("pgbackrest_backup_last_duration_seconds", INCR),
    ], STANZA, &["stanza"]),
    panel("Average size of last backup in the repository", AVERAGE_BY_STANZA, &[
        ("pgbackrest_backup_last_repo_delta_bytes", FULL),
        ("pgbackrest_backup_last_repo_delta_bytes", DIFF),
        ("pgbackrest_backup_last_repo_delta_bytes", INCR),
    ], STANZA, &["stanza"]),
    panel("Last backup size", AS_IT_IS, &[
        ("pgbackrest_backup_last_size_bytes", ""),
        ("pgbackrest_backup_last_delta_bytes", ""),
        ("pgbackrest_backup_last_repo_size_bytes", ""),
        ("pgbackrest_backup_last_repo_delta_bytes", ""),
        ("pgbackrest_backup_last_repo_size_map_bytes", ""),
        ("pgbackrest_backup_last_repo_delta_map_bytes", ""),
    ], STANZA, OF_LAST),
    panel("Annotations in the last backup", AS_IT_IS, &[
        ("pgbackrest_backup_last_annotations", FULL),
        ("pgbackrest_backup_last_annotations", DIFF),
        ("pgbackrest_backup_last_annotations", INCR),
    ], STANZA, &["stanza"]),
    panel("Databases in the last backup", AS_IT_IS, &[("pgbackrest_backup_last_databases", "")], STANZA, OF_LAST),
    // General backups info.
    panel("Average backup duration", AVERAGE_BY_STANZA, &[
        ("pgbackrest_backup_duration_seconds", FULL),
        ("pgbackrest_backup_duration_seconds", DIFF),
        ("pgbackrest_backup_duration_seconds", INCR),
    ], REPO, &["stanza"]),
    panel("Average backup size in the repository", AVERAGE_BY_STANZA, &[
        ("pgbackrest_backup_repo_delta_bytes", FULL),
        ("pgbackrest_backup_repo_delta_bytes", DIFF),
        ("pgbackrest_backup_repo_delta_bytes", INCR),
    ], REPO, &["stanza"]),
    // Detailed backups info.
    panel("Backup error status", AS_IT_IS, &[("pgbackrest_backup_error_status", "")], BACKUP, OF_BACKUP),
    panel("Backup duration", AS_IT_IS, &[("pgbackrest_backup_duration_seconds", "")], BACKUP,
        &["stanza", "repo_key", "backup_type", "block_incr", "backup_name", "database_id", "start_time", "stop_time"]),
    panel("Backup size", AS_IT_IS, &[
        ("pgbackrest_backup_size_bytes", ""),
        ("pgbackrest_backup_delta_bytes", ""),
        ("pgbackrest_backup_repo_size_bytes", ""),
        ("pgbackrest_backup_repo_delta_bytes", ""),
        ("pgbackrest_backup_repo_size_map_bytes", ""),
        ("pgbackrest_backup_repo_delta_map_bytes", ""),
    ], BACKUP, OF_BACKUP),
    panel("Backup info", AS_IT_IS, &[("pgbackrest_backup_info", "")], BACKUP,
        &["stanza", "repo_key", "backup_type", "block_incr", "backup_name", "database_id", "backrest_ver", "pg_version",
            "lsn_start", "lsn_stop", "wal_start", "wal_stop"]),
    panel("Annotations in the backup", AS_IT_IS, &[("pgbackrest_backup_annotations", "")], BACKUP, OF_BACKUP),
    panel("Databases in the backup", AS_IT_IS, &[("pgbackrest_backup_databases", "")], BACKUP, OF_BACKUP),
    // Exporter info.
    panel("Exporter build", AS_IT_IS, &[("pgbackrest_exporter_build_info", "")], "",
        // It shows the version of Go as well, which has none here, and where the source came from, if that is known.
        &["instance", "job", "version", "goarch", "goos"]),
    panel("Exporter status", AS_IT_IS, &[("pgbackrest_exporter_status", "")], "", &["instance", "job", "stanza"]),
];

/// Of a backup that runs: the table of stanzas shows its share, in percent. Where none runs, 0 is divided by 0.
const PROGRESS: &str = "pgbackrest_stanza_backup_complete_bytes{stanza=~\".*\"} \
    / pgbackrest_stanza_backup_total_bytes{stanza=~\".*\"} * 100 >= 0";

#[test]
fn the_published_dashboard_finds_its_data() {
    // Sizes of a running backup are told since 2.48.
    let test = "the_published_dashboard_finds_its_data";
    let Some(site) = stack::site(test, Pgbackrest::in_between()) else { return };
    let lab = Lab::start(&site, 16);
    for (repo, backup_type) in [(1, "full"), (1, "diff"), (1, "incr"), (2, "full")] {
        lab.back_up(repo, backup_type);
    }
    let flags = ["--collect.interval=1", "--backrest.database-count", "--backrest.database-count-latest"];
    let Stack { prometheus, .. } = &stack(&lab, &flags).start();
    wait_for("what is counted last", || {
        (prometheus.query("pgbackrest_backup_databases").len() == 4).then_some(())
    });
    let values = |variable: &str, metric: &str| -> Vec<String> {
        let series = prometheus.query(&format!("count by ({variable}) ({metric}{{{REPO}}})"));
        series.into_iter().filter_map(|(mut labels, _)| labels.remove(variable)).collect()
    };
    for (variable, metric) in VARIABLES {
        let expected = match variable {
            "stanza" | "block_incr" => 1,
            "repo_key" => 2,
            "backup_type" => 3,
            _ => 4,
        };
        assert_eq!(values(variable, metric).len(), expected, "{variable} of {metric}");
    }
    for panel in PANELS {
        for (metric, matcher) in panel.metrics {
            let selectors = [panel.selector, *matcher].into_iter().filter(|text| !text.is_empty());
            let selector = selectors.collect::<Vec<_>>().join(",");
            let query = panel.together.replace("SERIES", &format!("{metric}{{{selector}}}"));
            let series = prometheus.query(&query);
            assert!(!series.is_empty(), "{}: {query} gives nothing", panel.title);
            for (labels, value) in series {
                assert!(value.is_finite() && value >= 0.0, "{}: {query}: {value}", panel.title);
                for column in panel.columns {
                    let filled = labels.get(*column).is_some_and(|value| !value.is_empty());
                    assert!(filled, "{}: {query} has no {column}: {labels:?}", panel.title);
                }
            }
        }
    }
    assert_eq!(prometheus.query("sum(pgbackrest_backup_info)").first().unwrap().1, 4.0);

    let held = lab.hold_backup(1);
    let share = prometheus.wait_for_value(PROGRESS);
    assert!(share <= 100.0, "{share} %");
    prometheus.wait_for_value("pgbackrest_stanza_backup_lock_status{stanza=~\".*\"} == 1");
    assert!(held.release());
}
