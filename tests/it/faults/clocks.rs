//! Clocks that are wrong, and times that cannot be.

use serde_json::{Value, json};

use super::exporter::{Exporter, Injection, Told, hold};
use super::{Elsewhere, Group, Row};
use crate::support::exposition::Samples;

static ROWS: [Row<Injection>; 7] = [
    row(
        "Backups are dated a day ahead",
        "they are counted as such, and no age is below 0",
        shifted_by_a_day,
        |samples| {
            let future =
                samples.value("pgbackrest_repo_future_timestamps", &[("kind", "backup"), ("stanza", "demo")]);
            assert!(future > 0.0);
            ages_are_none_or_positive(samples);
        },
    ),
    row(
        "Backups are dated in the year 292277026596",
        "they are no newest backups, and nothing panics",
        |it| it.print_changed(|all| all[0]["backup"][2]["timestamp"]["stop"] = json!(i64::MAX)),
        ages_are_none_or_positive,
    ),
    row(
        "Backups are dated before 1970",
        "no age is below 0, and nothing panics",
        |it| {
            it.print_changed(|all| {
                all[0]["backup"][2]["timestamp"] = json!({"start": -1_000_000, "stop": -5});
            });
        },
        ages_are_none_or_positive,
    ),
    row(
        "Backups are dated before Christ",
        "nothing panics",
        |it| {
            it.print_changed(|all| {
                all[0]["backup"][2]["timestamp"] = json!({"start": i64::MIN, "stop": i64::MIN});
            });
        },
        ages_are_none_or_positive,
    ),
    row(
        "A backup ends before it begins",
        "no duration is below 0",
        |it| {
            it.print_changed(|all| {
                let start = all[0]["backup"][2]["timestamp"]["start"].as_i64().unwrap();
                all[0]["backup"][2]["timestamp"]["stop"] = json!(start - 3600);
            });
        },
        ages_are_none_or_positive,
    ),
    row(
        "Fractions of seconds",
        "nothing is made up",
        |it| it.print_changed(|all| all[0]["backup"][2]["timestamp"]["stop"] = json!(1.5)),
        ages_are_none_or_positive,
    ),
    row(
        "Text in place of times",
        "the call has failed, and what was known stays",
        |it| it.print_changed(|all| all[0]["backup"][2]["timestamp"] = json!("yesterday")),
        |samples| {
            assert_eq!(samples.all("pgbackrest_backup_info", &[("stanza", "demo")]).len(), 3);
            samples.assert("pgbackrest_collector_up", &[("collector", "info"), ("stanza", "demo")], 0.0);
            ages_are_none_or_positive(samples);
        },
    ),
];

const fn row(
    fault: &'static str,
    holds: &'static str,
    inject: fn(&Exporter),
    told: fn(&Samples),
) -> Row<Injection> {
    Row { fault, holds, inject: Injection(inject, Told::That(told)) }
}

fn shifted_by_a_day(exporter: &Exporter) {
    exporter.print_changed(|all| {
        for backup in all[0]["backup"].as_array_mut().unwrap() {
            for end in ["start", "stop"] {
                let time: &mut Value = &mut backup["timestamp"][end];
                *time = (time.as_i64().unwrap() + 86_400).into();
            }
        }
    });
}

fn ages_are_none_or_positive(samples: &Samples) {
    let of_time =
        |name: &&str| name.contains("_since_") || name.contains("_age_") || name.contains("duration");
    let names = samples.names();
    let wrong: Vec<_> = names
        .into_iter()
        .filter(of_time)
        .flat_map(|name| samples.all(name, &[]))
        .filter(|sample| sample.value.is_nan() || sample.value < 0.0)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(samples.twice().is_empty(), "{:?}", samples.twice());
}

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere(
        "The clock of a leader jumps, and its requests are late",
        "there are never two leaders",
        "kubernetes::lease::whatever_breaks_there_are_never_two",
    ),
    Elsewhere(
        "The number of shards changes while leaders cannot be reached, or while requests are late",
        "no cluster has two leaders",
        "kubernetes::lease::shards::whatever_breaks_no_cluster_has_two_leaders",
    ),
    Elsewhere(
        "A leader renews too late each time",
        "it stops",
        "kubernetes::lease::a_leader_that_always_comes_too_late_stops",
    ),
    Elsewhere(
        "A certificate has ended",
        "it is served with a warning, as by the Go exporter",
        "web::config::an_ended_certificate_is_taken_with_a_warning",
    ),
    Elsewhere(
        "The clock of the repository differs from that of PostgreSQL's host",
        "the recovery window is not longer than a restore shows",
        "host::campaign::known_histories_are_told_right_with_the_newest_version",
    ),
];

pub(crate) fn group() -> Group {
    Group::new("Clocks", &ROWS, ELSEWHERE)
}

#[test]
fn wrong_times_tell_no_lies() {
    hold(&ROWS, &["--collect.timeout=1m"]);
}
