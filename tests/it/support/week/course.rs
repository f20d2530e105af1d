//! How each metric goes in a week.

use std::collections::BTreeMap;

use pgbackrest_keeper::metrics::catalogue::{self, Unit};

use super::{Target, WEEK, Week};
use crate::support::exposition::Sample;

/// Bytes of a repository's volume.
const VOLUME: f64 = 1e12;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const GIGABYTE: f64 = 1e9;

/// The labels and the instant of a value.
pub(super) struct Moment<'a> {
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) target: Target,
    pub(super) week: Week,
    /// Of the week.
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) now: i64,
}

impl Moment<'_> {
    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    fn is(&self, cluster: &str, repo: &str, backup_type: &str) -> bool {
        self.label("pg_cluster") == cluster
            && (repo.is_empty() || self.label("repo_key") == repo)
            && (backup_type.is_empty() || self.label("backup_type") == backup_type)
    }

    /// Since when what the labels speak of goes wrong in this week.
    fn broken_since(&self, backup_type: &str) -> Option<i64> {
        let days = if self.week == Week::Healthy {
            return None;
        } else if self.is("ledger", "2", "") {
            3
        } else if self.is("orders", "1", "") && backup_type == "full" {
            4
        } else if self.target == Target::Plain {
            1
        } else {
            return None;
        };
        Some(self.end - days * DAY)
    }

    /// Whether this is the end of a bad week.
    fn is_bad_for(&self, seconds: i64) -> bool {
        self.week == Week::Bad && self.now > self.end - seconds
    }

    fn is_broken(&self) -> bool {
        self.broken_since(self.label("backup_type")).is_some_and(|since| self.now >= since)
    }

    /// The newest that did not fail.
    fn last(&self, backup_type: &str) -> (i64, i64, i64) {
        let now = self.broken_since(backup_type).map_or(self.now, |since| since.min(self.now));
        newest(backup_type, now)
    }

    /// The end of the newest backup that is at least as strong.
    fn chain(&self, backup_type: &str) -> i64 {
        let weaker: &[&str] = match backup_type {
            "full" => &["full"],
            "diff" => &["full", "diff"],
            _ => &["full", "diff", "incr"],
        };
        weaker.iter().map(|backup_type| self.last(backup_type).1).max().unwrap()
    }

    /// Jobs of the labels that have failed in a row, if any do.
    fn failures(&self) -> i64 {
        let backup_type = self.label("backup_type");
        match self.broken_since(backup_type) {
            Some(since) if self.now >= since => {
                newest(backup_type, self.now).2 - newest(backup_type, since).2
            }
            _ => 0,
        }
    }

    /// Runs of the labels in this week so far.
    fn runs(&self) -> i64 {
        let backup_type = self.label("backup_type");
        newest(backup_type, self.now).2 - newest(backup_type, self.start - 2 * DAY).2
    }

    fn size(&self) -> f64 {
        let base = match self.label("pg_cluster") {
            "ledger" => 80.0,
            "orders" => 210.0,
            _ => 35.0,
        };
        base * GIGABYTE * (1.0 + 0.03 * (self.now - self.start) as f64 / WEEK as f64)
    }

    /// `None` where there is no sample at this instant.
    #[allow(clippy::too_many_lines, clippy::match_same_arms, reason = "a table: one line for a name")]
    pub(super) fn value(&self, sample: &Sample) -> Option<f64> {
        let backup_type = self.label("backup_type");
        let passed = self.now - self.start;
        let (last_start, last_end, number) = self.last(backup_type);
        let share = match backup_type {
            "full" => 1.0,
            "diff" => 0.12,
            _ => 0.03,
        } * jitter(number);
        let seconds = |value: i64| Some(value as f64);
        let name = sample.name.as_str();
        let short = name.strip_prefix("pgbackrest_").unwrap_or(name);
        match short {
            "backup_last_completion_timestamp_seconds" => seconds(last_end),
            "backup_last_start_timestamp_seconds" => seconds(last_start),
            "backup_chain_last_completion_timestamp_seconds" => seconds(self.chain(backup_type)),
            "backup_oldest_completion_timestamp_seconds" | "recovery_earliest_timestamp_seconds" => {
                seconds(self.last("full").1 - 6 * DAY)
            }
            "recovery_latest_timestamp_seconds" => seconds(self.chain("incr")),
            "recovery_window_seconds" => seconds(self.chain("incr") - self.last("full").1 + 6 * DAY),
            "recovery_window_verified" | "wal_orphan_timelines" => Some(1.0),
            "recovery_continuous_start_timestamp_seconds" => seconds(self.last("full").1 - 6 * DAY),
            "wal_missing_segments" | "wal_gaps" => {
                let is_missing = ["", "pitr_new"].contains(&self.label("class"));
                let holed = self.is("ledger", "1", "") && is_missing;
                Some(f64::from(u8::from(holed && self.is_bad_for(DAY))))
            }
            "backup_unrestorable" => {
                let lost = self.is("orders", "1", "") && self.label("reason") == "directory";
                Some(f64::from(u8::from(lost && self.is_bad_for(2 * DAY))))
            }
            "wal_duplicate_segments"
            | "wal_missing_history_files"
            | "repo_future_timestamps"
            | "repo_clock_behind_seconds" => Some(0.0),
            "recovery_default_restore_ok" => Some(1.0),
            "wal_branches" => Some(f64::from(u8::from(self.label("state") != "foreign"))),
            "wal_stored_bytes" => Some(self.size() * 0.2),
            "wal_last_archived_timestamp_seconds" => {
                let now = self.broken_since("incr").map_or(self.now, |since| since.min(self.now));
                seconds(now - now.rem_euclid(300))
            }
            "wal_listed_timestamp_seconds" => seconds(self.now - self.now.rem_euclid(900)),
            "backups" => {
                Some(if sample.value == 0.0 { 0.0 } else { (7 * DAY / times(backup_type).0) as f64 })
            }
            "repo_backup_last_duration_seconds" | "job_last_duration_seconds" => {
                seconds(last_end - last_start)
            }
            "repo_backup_last_database_bytes" | "restore_size_bytes" => Some(self.size()),
            "repo_backup_last_copied_bytes" => Some(self.size() * share),
            "repo_backup_last_stored_bytes" => Some(self.size() * share / 4.0),
            "backup_last_throughput_bytes_per_second" => {
                Some(self.size() * share / (last_end - last_start) as f64)
            }
            "backup_last_compression_ratio" => Some(4.0),
            "backup_size_deviation_ratio" => Some(jitter(number)),
            "repo_stored_bytes" => Some(self.size() * 2.4 * jitter(self.last("full").2)),
            // What the plain host told last stays, except that its collection fails.
            "repo_up" => Some(f64::from(u8::from(self.target == Target::Plain || !self.is_broken()))),
            "collector_up" => Some(f64::from(u8::from(!self.is_broken()))),
            "stanza_status" => {
                let differs = self.label("pg_cluster") == "ledger" && self.is_bad_for(3 * DAY);
                Some(if differs { 4.0 } else { 0.0 })
            }
            // A backup runs as this week ends.
            "stanza_backup_lock_status" => Some(f64::from(u8::from(self.is_running()))),
            "stanza_backup_total_bytes" => Some(if self.is_running() { self.size() } else { 0.0 }),
            "stanza_backup_complete_bytes" => Some(if self.is_running() { self.size() * 0.42 } else { 0.0 }),
            "stanza_repo_system_id_match" | "retention_satisfied" => Some(1.0),
            "stanza_repo_wal_skew_segments" => {
                Some(if self.week == Week::Bad && self.label("pg_cluster") == "ledger" {
                    ((self.now - (self.end - 3 * DAY)).max(0) / 60) as f64
                } else {
                    0.0
                })
            }
            "wal_max_lsn_bytes" => {
                let now = self.broken_since("incr").map_or(self.now, |since| since.min(self.now));
                // More by day than by night.
                let day = now as f64 / DAY as f64 * std::f64::consts::TAU;
                Some((now - self.start + 40 * WEEK) as f64 * 3e5 - day.cos() * 2e9)
            }
            "backups_with_errors" => {
                Some(if self.week == Week::Bad && self.is("orders", "2", "") { 1.0 } else { 0.0 })
            }
            "repo_credential_expiry_timestamp_seconds" => {
                let days = if self.week == Week::Bad && self.label("kind") == "azure_sas" { 5 } else { 200 };
                seconds(self.end + days * DAY)
            }
            "certificate_expiry_timestamp_seconds" => seconds(self.end + 240 * DAY),
            "collector_last_success_timestamp_seconds" | "collector_last_run_timestamp_seconds" => {
                let run = self.now - self.now.rem_euclid(600);
                let success = short.contains("success");
                seconds(self.broken_since("").filter(|_| success).map_or(run, |since| since.min(run)))
            }
            "collector_interval_seconds" => Some(600.0),
            "collector_timeout_seconds" => Some(60.0),
            "collector_runs_total" => seconds(passed / 600),
            "collector_failures_total" => {
                let failing = if self.label("reason") == "timeout" { self.broken_since("") } else { None };
                Some(failing.map_or(0.0, |since| ((self.now - since).max(0) / 600) as f64))
            }
            "collector_duration_seconds_bucket" | "operator_reconcile_duration_seconds_bucket" => {
                let fast = if name.contains("operator") { 0.8 } else { 2.0 };
                self.bucket(passed / 600, fast)
            }
            "job_duration_seconds_bucket" => self.bucket(self.runs(), times(backup_type).2 as f64),
            "job_runs_total" | "job_attempts_total" => match self.label("outcome") {
                "success" => seconds(self.runs() - self.failures()),
                _ => (self.failures() > 0).then(|| self.failures() as f64),
            },
            "job_consecutive_failures" => seconds(self.failures()),
            "job_last_failure_info" => (self.failures() > 0).then_some(1.0),
            "job_last_failure_timestamp_seconds" => {
                (self.failures() > 0).then(|| newest(backup_type, self.now).1 as f64)
            }
            "job_last_success_timestamp_seconds" => seconds(last_end),
            "job_active" => Some(f64::from(u8::from(self.is_running()))),
            "schedule_interval_seconds" => seconds(times(backup_type).0),
            "schedule_next_timestamp_seconds" => {
                seconds(newest(backup_type, self.now).0 + times(backup_type).0)
            }
            "schedule_missed_runs" => seconds(self.failures()),
            "schedule_overdue_seconds" => seconds(match self.failures() {
                0 => 0,
                _ => self.now - last_end - times(backup_type).0,
            }),
            "schedule_suspended" | "schedule_conflict" | "operator_queue_depth" => Some(0.0),
            "operator_cluster_ok" | "operator_resource_ok" => {
                Some(if self.week == Week::Bad && self.label("pg_cluster") == "orders" { 0.0 } else { 1.0 })
            }
            "operator_reconcile_total" => seconds(passed / 300),
            "operator_reconcile_errors_total" => {
                let counts = self.week == Week::Bad && self.label("reason") == "observe";
                seconds(if counts { passed / 7200 } else { 0 })
            }
            "operator_drift_corrected_total" | "operator_watch_restarts_total" => seconds(1 + passed / DAY),
            "exporter_config_reload_success" => Some(f64::from(u8::from(self.week == Week::Healthy))),
            "exporter_series_dropped" => Some(0.0),
            "process_cpu_seconds_total" => Some(passed as f64 * 0.004),
            "process_resident_memory_bytes" => Some(21e6 + 2e6 * jitter(self.now / HOUR)),
            "process_start_time_seconds" => seconds(self.start - DAY),
            "kubelet_volume_stats_capacity_bytes" => Some(VOLUME),
            // It fills in the bad week.
            "kubelet_volume_stats_available_bytes" => {
                let fills = if self.week == Week::Bad { 0.5 } else { 0.05 };
                Some(VOLUME * (0.6 - fills * passed as f64 / (self.end - self.start) as f64))
            }
            "scrape_duration_seconds" => Some(0.008 * jitter(self.now / HOUR)),
            "ALERTS" => {
                let since = self.broken_since("full");
                since.is_some_and(|since| self.now > since + HOUR).then_some(1.0)
            }
            _ => Some(self.shifted(sample)),
        }
    }

    /// Backups of orders, and of the plain host where it answers, run as the week ends.
    fn is_running(&self) -> bool {
        let runs = match self.target {
            Target::Operator => self.label("pg_cluster") == "orders",
            Target::Plain => self.week == Week::Healthy,
            Target::Kubelet => false,
        };
        runs && self.now > self.end - HOUR / 2 && ["", "incr"].contains(&self.label("backup_type"))
    }

    /// A bucket of a histogram with so many observations, half of them up to `typical` seconds, all up to twice that.
    fn bucket(&self, count: i64, typical: f64) -> Option<f64> {
        let bound: f64 = self.label("le").parse().ok()?;
        let part = (bound / typical / 2.0).min(1.0);
        Some((count as f64 * part).floor())
    }

    /// What stays as it was served; instants keep their distance to the end of the week.
    fn shifted(&self, sample: &Sample) -> f64 {
        /// When the fixtures were told.
        const TOLD: f64 = 1_795_343_264.0;
        match catalogue::find(&sample.name).map(|metric| metric.unit) {
            Some(Unit::Timestamp) => sample.value - TOLD + self.end as f64,
            _ => sample.value,
        }
    }
}

/// How often a type of backup runs, when in its interval, and how long it takes at least.
fn times(backup_type: &str) -> (i64, i64, i64) {
    match backup_type {
        "full" => (DAY, 2 * HOUR, 2400),
        "diff" => (DAY / 2, 5 * HOUR, 600),
        _ => (DAY / 4, 4 * HOUR, 240),
    }
}

/// Start and end of the newest backup of a type, and its number.
fn newest(backup_type: &str, now: i64) -> (i64, i64, i64) {
    let (every, at, takes) = times(backup_type);
    let number = (now - at).div_euclid(every);
    let run = |number: i64| {
        let start = number * every + at;
        (start, start + takes + takes / 4 * (number * 7 % 5) / 5, number)
    };
    let (start, end, number) = run(number);
    if end <= now { (start, end, number) } else { run(number - 1) }
}

/// Between 0.9 and 1.1, the same for the same backup.
fn jitter(number: i64) -> f64 {
    0.9 + (number * 37 % 11) as f64 / 50.0
}
