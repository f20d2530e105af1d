//! Alerts about jobs from the real Job controller to a receiver, and about a missed schedule.

use super::jobs::{end_pod, start};
use super::life::pretend_that_stanzas_were_seen;
use super::{in_bucket, open_namespace, wait_for_object};
use crate::monitoring::alerts::RULES;
use crate::monitoring::alerts::firing::assert_as_shipped;
use crate::support::alertmanager::Notice;
use crate::support::control_plane::ControlPlane;
use crate::support::kubernetes::kubectl::Kubectl;
use crate::support::kubernetes::ports::free_port;
use crate::support::lab::Lab;
use crate::support::machine::Pgbackrest;
use crate::support::operator::Installation;
use crate::support::process::wait_for;
use crate::support::stack::{self, stack};
use serde_json::json;

const FULL: &str = "pgbackrest-orders-repo1-full";
/// What every alert about full backups of the cluster carries.
const OF_FULL: [(&str, &str); 4] =
    [("namespace", "shop"), ("pg_cluster", "orders"), ("repo_key", "1"), ("backup_type", "full")];

#[test]
fn alerts_of_jobs_are_told_and_outlive_the_operator() {
    let test = "alerts_of_jobs_are_told_and_outlive_the_operator";
    let Some(plane) = ControlPlane::start(test) else { return };
    let Some(site) = stack::site(test, Pgbackrest::installed()) else { return };
    let lab = Lab::start(&site, 16);
    // Older than one and a half weeks and an hour.
    lab.set_clock(Some("11 days"));
    lab.back_up(1, "full");
    lab.set_clock(None);

    let kubectl = plane.kubectl().clone();
    let installation = Installation::whole(&plane);
    // A Service keeps its address when its pod goes.
    let address = format!("127.0.0.1:{}", free_port());
    let listen = format!("--web.listen-address={address}");
    let operator = installation.start(&[&listen]);
    open_namespace(&kubectl, "shop");
    kubectl.apply(&in_bucket("shop", "orders").to_string(), &[]);
    wait_for_object(&kubectl, "shop", "cronjob", FULL);
    pretend_that_stanzas_were_seen(&kubectl, "shop", "orders");
    wait_for("the schedule to be in force", || {
        let cron_job = kubectl.get("shop", "cronjob", FULL)?;
        (cron_job["spec"]["suspend"] != json!(true)).then_some(())
    });
    let flags = ["--collect.interval=1", "--label=namespace=shop", "--label=pg_cluster=orders"];
    let of_operator = [("pgbackrest-operator", address.as_str())];
    let (alertmanager, stack) = stack(&lab, &flags).beside(&of_operator).alerting(RULES);
    let told = |receiver: &str, status: &str, name: &str| {
        let notice = alertmanager.wait(receiver, status, name, &OF_FULL);
        assert_as_shipped(&notice);
        notice
    };

    let overdue = told("on-call", "firing", "PgBackRestFullBackupStale");
    assert_eq!(overdue.labels["job"], "pgbackrest", "the exporter knows of backups");
    let summary = "The last full backup of orders in repo1 is 11d 0h ";
    assert!(overdue.annotations["summary"].starts_with(summary), "{overdue:?}");

    fail(&kubectl, "wrong", 32);
    let failed = told("day", "firing", "PgBackRestJobFailed");
    assert_failed(&failed, "config", "32");

    // That nothing is known is no news of jobs: nobody is told that the failure is gone.
    alertmanager.forget();
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
    let down = [("job", "pgbackrest-operator"), ("instance", address.as_str())];
    assert_as_shipped(&alertmanager.wait("on-call", "firing", "PgBackRestExporterDown", &down));
    // The schedule that it knew of still stands: the thresholds for where none is known do not come in its place.
    let of_thresholds =
        stack.prometheus.query("ALERTS{alertname=~\"PgBackRest(BackupStale|FullBackupStaleStatic)\"}");
    assert_eq!(of_thresholds, Vec::new());
    fail(&kubectl, "meanwhile", 82);
    let of_jobs = alertmanager.told();
    assert!(of_jobs.iter().all(|notice| !notice.name().starts_with("PgBackRestJob")), "{of_jobs:#?}");

    // What happened before, and what happened meanwhile, is told again.
    alertmanager.forget();
    let operator = installation.start(&[&listen]);
    assert_failed(&told("day", "firing", "PgBackRestJobFailed"), "archive_timeout", "82");
    told("on-call", "firing", "PgBackRestFullBackupStale");

    // Three in a row wake somebody, and say more than the last alone.
    fail(&kubectl, "refused", 105);
    told("on-call", "firing", "PgBackRestJobFailingRepeatedly");
    wait_for("the single failure to be inhibited", || {
        let inhibited = alertmanager.inhibited("PgBackRestJobFailed");
        let (labels, by) = inhibited.iter().find(|(labels, _)| labels["reason"] == "access")?;
        assert_eq!(by, &["PgBackRestJobFailingRepeatedly"], "{labels:?}");
        Some(())
    });

    start(&kubectl, "shop", FULL, "mended", &json!({}));
    end_pod(&kubectl, "shop", "mended", 0);
    told("on-call", "resolved", "PgBackRestJobFailingRepeatedly");
    alertmanager.forget();
    lab.back_up(1, "full");
    told("on-call", "resolved", "PgBackRestFullBackupStale");
    drop(stack);
    let (code, log) = operator.stop();
    assert_eq!(code, Some(0), "{log}");
}

/// A Job of the schedule ends with this code, for good.
fn fail(kubectl: &Kubectl, name: &str, code: i32) {
    start(kubectl, "shop", FULL, name, &json!({"backoffLimit": 0}));
    end_pod(kubectl, "shop", name, code);
    kubectl.wait("shop", &format!("job/{name}"), "condition=Failed");
}

fn assert_failed(notice: &Notice, reason: &str, exit_code: &str) {
    assert!(
        notice.has(&[("reason", reason), ("exit_code", exit_code), ("job", "pgbackrest-operator")]),
        "{notice:?}"
    );
    let summary = format!("The last full backup of orders to repo1 failed: {reason}");
    let shown = "d/pgbackrest-cluster?var-namespace=shop&var-pg_cluster=orders";
    assert_eq!(notice.annotations["dashboard_url"], shown);
    assert_eq!(notice.annotations["summary"], summary);
}
