//! What a scrape says about runs and configurations.

use std::sync::Arc;

use crate::metrics::exposition::{Dynamic, Format, StaticPart, dynamic_part};
use crate::metrics::options::Options;

use super::*;

fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn text(collection: &Arc<CollectionMetrics>) -> String {
    let (snapshot, options) = (&Arc::default(), &Arc::new(Options::default()));
    let static_part = &StaticPart::encode(snapshot, options).unwrap();
    let parts = Dynamic { static_part, collection, operator: None, process: None, options };
    dynamic_part(&parts, Format::Classic).unwrap()
}

fn report(failure: Option<FailureReason>) -> RunReport {
    RunReport {
        duration: Duration::from_millis(700),
        output_bytes: Some(42),
        sanitized: failure.is_none(),
        failure,
    }
}

#[test]
fn every_counter_is_there_from_the_start() {
    let text = text(&Arc::new(CollectionMetrics::new()));
    for reason in ON_THIS_HOST {
        let name = reason_name(reason);
        let line =
            format!("pgbackrest_collector_failures_total{{collector=\"version\",reason=\"{name}\"}} 0\n");
        assert!(text.contains(&line), "{line}");
    }
    assert!(text.contains("pgbackrest_collector_duration_seconds_count{collector=\"info\"} 0\n"));
    assert!(!text.contains("in_progress") && !text.contains("output_bytes{") && !text.contains("config"));
}

#[test]
fn who_runs_no_command_counts_none() {
    let collection = Arc::new(CollectionMetrics::without_collectors());
    collection.config_read(ConfigurationKind::Web, true, instant(3));
    let text = text(&collection);
    assert!(!text.contains("pgbackrest_collector_") && text.contains("config_reload_success 1"), "{text}");
}

#[test]
fn a_run_is_counted_once_with_its_reason() {
    let collection = Arc::new(CollectionMetrics::new());
    collection.run_started(Collector::Info, instant(1));
    collection.run_finished(Collector::Info, &report(Some(FailureReason::RootRefused)));
    collection.run_started(Collector::Info, instant(2));
    collection.run_finished(Collector::Info, &report(None));
    let text = text(&collection);
    for line in [
        "pgbackrest_collector_runs_total{collector=\"info\"} 2\n",
        "pgbackrest_collector_runs_total{collector=\"version\"} 0\n",
        "pgbackrest_collector_failures_total{collector=\"info\",reason=\"root_refused\"} 1\n",
        "pgbackrest_collector_sanitized_outputs_total{collector=\"info\"} 1\n",
        "pgbackrest_collector_duration_seconds_bucket{le=\"0.5\",collector=\"info\"} 0\n",
        "pgbackrest_collector_duration_seconds_bucket{le=\"1.0\",collector=\"info\"} 2\n",
        "pgbackrest_collector_output_bytes{collector=\"info\"} 42\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

#[test]
fn a_collector_runs_since_its_first_unfinished_command() {
    let collection = Arc::new(CollectionMetrics::new());
    let name = "pgbackrest_collector_in_progress_since_timestamp_seconds";
    collection.run_started(Collector::Info, instant(5));
    collection.run_started(Collector::Info, instant(6));
    collection.run_finished(Collector::Info, &report(None));
    assert!(text(&collection).contains(&format!("{name}{{collector=\"info\"}} 5\n")));
    collection.run_finished(Collector::Info, &report(None));
    assert!(!text(&collection).contains(name));
}

#[test]
fn a_failed_reload_keeps_the_time_of_the_last_good_one() {
    let collection = Arc::new(CollectionMetrics::new());
    collection.config_read(ConfigurationKind::Web, true, instant(3));
    collection.config_read(ConfigurationKind::PgBackRest, true, instant(2));
    collection.config_read(ConfigurationKind::Web, false, instant(3));
    let text = text(&collection);
    assert!(text.contains("\npgbackrest_exporter_config_reload_success 0\n"), "{text}");
    assert!(text.contains("_config_last_reload_success_timestamp_seconds 2\n"), "{text}");
}
