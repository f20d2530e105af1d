//! Both parts together, as clients read them.

use std::collections::BTreeSet;
use std::io::Read;

use bytes::Bytes;
use chrono::{FixedOffset, TimeDelta};
use flate2::read::GzDecoder;

use super::*;
use crate::metrics::options::{BackupDetail, ConstantLabels, DisabledMetrics};
use crate::pgbackrest::info;
use crate::state::assemble;
use crate::state::snapshot::{RepoState, Stanza};

const TWO_REPOS: &str = include_str!("../../../fixtures/info/2.60.0/two_repos_one_encrypted.json");
const BLOCK_INCREMENTAL: &str = include_str!("../../../fixtures/info/2.60.0/bundle_block_incremental.json");

fn read_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_345_200, 0).unwrap()
}

fn snapshot(text: &str) -> Snapshot {
    let document = info::parse(text).unwrap();
    let stanzas = document.stanzas().map(|stanza| assemble::stanza(stanza, read_at())).collect();
    Snapshot { stanzas, ..Snapshot::default() }
}

/// The two parts: static as text, dynamic.
fn parts(snapshot: Snapshot, options: Options, format: Format) -> (StaticPart, String, String) {
    let (snapshot, options) = (&Arc::new(snapshot), &Arc::new(options));
    let now = read_at() + TimeDelta::minutes(1);
    let static_part = StaticPart::encode(snapshot, options).unwrap().at(now, format).unwrap();
    let collection = &Arc::new(CollectionMetrics::new());
    let process = Some(ProcessFigures { cpu_seconds: Some(0.5), ..ProcessFigures::default() });
    let dynamic = Dynamic { static_part: &static_part, collection, operator: None, process, options };
    let dynamic = dynamic_part(&dynamic, format).unwrap();
    let text = text_of(plain(&static_part, String::new(), 0).unwrap());
    (static_part, text, dynamic)
}

fn text_of(chunks: PlainChunks) -> String {
    String::from_utf8(chunks.map(Result::unwrap).collect::<Vec<_>>().concat()).unwrap()
}

fn all(snapshot: Snapshot, options: Options) -> String {
    let (_, fixed, dynamic) = parts(snapshot, options, Format::Classic);
    fixed + &dynamic
}

fn lines<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    text.lines().filter(of).collect()
}

#[test]
fn both_parts_make_one_gzip_member_with_the_text_of_plain() {
    for format in [Format::Classic, Format::OpenMetrics] {
        let (static_part, fixed, dynamic) = parts(snapshot(TWO_REPOS), Options::default(), format);
        let member = gzip(&static_part, &dynamic).unwrap().concat();
        let mut decoder = GzDecoder::new(member.as_slice());
        let mut text = String::new();
        decoder.read_to_string(&mut text).unwrap();
        assert!(decoder.into_inner().is_empty(), "something follows the member");
        assert_eq!(text, fixed.clone() + &dynamic);
        for most_shared in [0, u64::MAX] {
            let chunks = plain(&static_part, dynamic.clone(), most_shared).unwrap();
            assert_eq!(chunks.length(), text.len() as u64);
            assert_eq!(text_of(chunks), text);
        }
        assert_eq!(static_part.text_length(), fixed.len() as u64);
    }
}

#[test]
fn text_of_any_length_survives_the_join() {
    // Below, at and above the size of a piece handed to the compressor, and none at all.
    for length in [0, 1, 32_767, 32_768, 32_769, 1_000_000] {
        let text: String = (0_u32..length).filter_map(|index| char::from_u32(32 + index * 7 % 90)).collect();
        let mut writer = deflate::Deflater::new(4);
        text.chars().try_for_each(|letter| fmt::Write::write_char(&mut writer, letter)).unwrap();
        let deflated = writer.finish(deflate::StreamEnd::Open).unwrap();
        assert_eq!(deflated.length, text.len() as u64);
        let mut tail = deflate::Deflater::new(1);
        fmt::Write::write_str(&mut tail, "end").unwrap();
        let tail = tail.finish(deflate::StreamEnd::Final).unwrap();
        let mut whole = String::new();
        let joined = [deflated.blocks, tail.blocks].concat();
        flate2::read::DeflateDecoder::new(joined.as_slice()).read_to_string(&mut whole).unwrap();
        assert_eq!(whole, text + "end");
    }
}

#[test]
fn plain_text_comes_in_bounded_chunks() {
    let mut large = snapshot(TWO_REPOS);
    let backup = large.stanzas[0].repos[0].backups[0].clone();
    large.stanzas[0].repos[0].backups.extend(vec![backup; 300]);
    let (static_part, fixed, dynamic) = parts(large, Options::default(), Format::Classic);
    assert!(fixed.len() > 200_000, "{}", fixed.len());
    for most_shared in [0, u64::MAX] {
        let chunks = plain(&static_part, dynamic.clone(), most_shared).unwrap();
        let chunks: Vec<_> = chunks.map(Result::unwrap).collect();
        assert!(chunks.len() > 3 && chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= 64 * 1024));
    }
}

#[test]
fn short_text_is_shared_as_long_as_it_is_sent() {
    let (static_part, fixed, dynamic) = parts(snapshot(TWO_REPOS), Options::default(), Format::Classic);
    let chunks = |most_shared| plain(&static_part, dynamic.clone(), most_shared).unwrap();
    let length = fixed.len() as u64;
    let (first, second, alone) = (chunks(length), chunks(length), chunks(length - 1));
    let buffers = first.buffers();
    let addresses = |buffers: &[Bytes]| buffers.iter().map(|buffer| buffer.as_ptr()).collect::<Vec<_>>();
    assert_eq!(addresses(&buffers), addresses(&second.buffers()));
    assert_eq!(buffers.iter().map(Bytes::len).sum::<usize>(), fixed.len());
    assert_eq!(first.own_memory(), dynamic.len() as u64);
    assert_eq!(alone.buffers(), static_part.buffers());
    assert!(alone.own_memory() > first.own_memory());
    drop((first, buffers));
    assert!(static_part.has_shared_text());
    drop(second);
    assert!(!static_part.has_shared_text(), "nobody needs it any more");
}

#[test]
fn no_family_is_in_both_parts_and_none_twice() {
    let (_, begin, end) = parts(snapshot(TWO_REPOS), Options::default(), Format::OpenMetrics);
    let text = begin + &end;
    let fixed = StaticPart::encode(&Arc::new(snapshot(TWO_REPOS)), &Arc::default()).unwrap();
    let fixed = text_of(plain(&fixed, String::new(), 0).unwrap());
    let dynamic = text.strip_prefix(&fixed).unwrap();
    let names = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect()
    };
    let (fixed_names, dynamic_names) = (names(&fixed), names(dynamic));
    let unique: BTreeSet<_> = fixed_names.iter().chain(&dynamic_names).collect();
    assert_eq!(unique.len(), fixed_names.len() + dynamic_names.len());
    assert!(
        fixed_names.iter().all(|name| name.ends_with(" gauge")),
        "only gauges are the same in both formats"
    );
    for metric in catalogue::all() {
        let of = |names: &[String]| names.iter().any(|n| n.split(' ').next() == Some(metric.family_name()));
        assert!(!of(if metric.at_scrape { &fixed_names } else { &dynamic_names }), "{}", metric.name);
    }
    assert!(!fixed.contains("# EOF") && !fixed.contains("# UNIT"));
}

#[test]
fn scrapes_in_one_second_share_what_depends_on_the_time() {
    let part = StaticPart::encode(&Arc::new(snapshot(TWO_REPOS)), &Arc::default()).unwrap();
    let at = |milliseconds: i64| {
        let now = read_at() + TimeDelta::milliseconds(milliseconds);
        let part = part.at(now, Format::Classic).unwrap();
        let text = text_of(plain(&part, String::new(), 0).unwrap());
        let ages: Vec<f64> = lines(&text, "pgbackrest_backup_since_last_completion_seconds")
            .into_iter()
            .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
            .collect();
        let addresses: Vec<_> = part.buffers().iter().map(|buffer| buffer.as_ptr()).collect();
        (ages, addresses, part.series())
    };
    let (first, same, next, back) = (at(60_000), at(60_999), at(61_000), at(60_000));
    assert_eq!(first, same);
    assert_eq!(first.0, back.0, "the clock went back");
    assert!(!first.0.is_empty() && first.2 == next.2);
    assert_eq!(first.0.iter().map(|age| age + 1.0).collect::<Vec<_>>(), next.0);
    let shared = first.1.iter().filter(|buffer| next.1.contains(buffer)).count();
    assert_eq!(shared, first.1.len() - 1, "the rest does not change");
}

#[test]
fn the_formats_differ_in_header_lines_only() {
    let (_, _, classic) = parts(snapshot(TWO_REPOS), Options::default(), Format::Classic);
    let (_, _, openmetrics) = parts(snapshot(TWO_REPOS), Options::default(), Format::OpenMetrics);
    let samples =
        |text: &str| text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(samples(&classic), samples(&openmetrics));
    assert!(classic.contains("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 0.5\n"));
    assert!(openmetrics.contains("# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total 0.5\n"));
    assert!(openmetrics.ends_with("\n# EOF\n"));
}

#[test]
fn constant_labels_are_on_every_series() {
    let pair = ("pg_cluster".to_owned(), "a \"b\" \\ \n".to_owned());
    let constant_labels = ConstantLabels::new([pair]).unwrap();
    let text = all(snapshot(TWO_REPOS), Options { constant_labels, ..Options::default() });
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.contains(r#"{pg_cluster="a \"b\" \\ \n""#), "{line}");
    }
    assert!(
        text.contains("pgbackrest_stanza_status{pg_cluster=\"a \\\"b\\\" \\\\ \\n\",stanza=\"demo\"} 0\n")
    );
}

#[test]
fn a_limit_keeps_the_newest_backups_and_counts_what_it_hides() {
    let name = "pgbackrest_backup_size_bytes";
    let text = all(snapshot(TWO_REPOS), Options { max_backups_per_stanza: 2, ..Options::default() });
    let kept = lines(&text, name);
    let everything = all(snapshot(TWO_REPOS), Options::default());
    let full = lines(&everything, name);
    assert_eq!((full.len(), kept.len()), (5, 2));
    assert!(kept.iter().all(|line| line.contains("repo_key=\"2\"")), "{kept:?}");
    // Eleven families have one series for each backup without the switches that add more.
    assert_eq!(lines(&text, "pgbackrest_exporter_series_dropped"), ["pgbackrest_exporter_series_dropped 33"]);
    assert_eq!(
        lines(&everything, "pgbackrest_exporter_series_dropped"),
        ["pgbackrest_exporter_series_dropped 0"]
    );
    let unlimited = Options { max_backups_per_stanza: 5, ..Options::default() };
    assert_eq!(lines(&all(snapshot(TWO_REPOS), unlimited), name).len(), 5);
}

#[test]
fn detail_can_be_reduced_to_the_last_of_each_type_or_none() {
    let mut source = snapshot(TWO_REPOS);
    let mut older = source.stanzas[0].repos[0].backups[0].clone();
    older.stop -= TimeDelta::days(1);
    older.label = "20261120-000000F".into();
    source.stanzas[0].repos[0].backups.insert(0, older);
    for (backup_detail, expected) in
        [(BackupDetail::All, 6), (BackupDetail::Last, 5), (BackupDetail::None, 0)]
    {
        let text = all(source.clone(), Options { backup_detail, ..Options::default() });
        assert_eq!(lines(&text, "pgbackrest_backup_info").len(), expected);
        assert_eq!(text.contains("20261120-000000F"), backup_detail == BackupDetail::All);
        assert_eq!(lines(&text, "pgbackrest_backups").len(), 6, "counts stay");
    }
}

#[test]
fn a_disabled_metric_leaves_no_trace() {
    let disabled =
        DisabledMetrics::new(["pgbackrest_stanza_status", "pgbackrest_collector_runs_total"]).unwrap();
    let text = all(snapshot(TWO_REPOS), Options { disabled, ..Options::default() });
    assert!(!text.contains("pgbackrest_stanza_status") && !text.contains("pgbackrest_collector_runs"));
}

#[test]
fn what_is_unknown_is_0_only_for_the_sake_of_compatibility() {
    let unknown = [
        "pgbackrest_backup_repo_size_bytes",
        "pgbackrest_version_info",
        "pgbackrest_stanza_backup_total_bytes",
    ];
    let compatible = all(snapshot(BLOCK_INCREMENTAL), Options::default());
    let strict = all(snapshot(BLOCK_INCREMENTAL), Options { compat: false, ..Options::default() });
    for name in unknown {
        assert!(lines(&compatible, name).iter().all(|line| line.ends_with(" 0")), "{name}");
        assert!(!lines(&compatible, name).is_empty() && lines(&strict, name).is_empty(), "{name}");
    }
    assert!(
        strict.contains("pgbackrest_backup_size_bytes{")
            && !strict.contains("pgbackrest_backup_last_size_bytes")
    );
}

#[test]
fn a_repository_that_never_answered_has_no_counts() {
    let mut source = snapshot(TWO_REPOS);
    let repo = &mut source.stanzas[0].repos[1];
    (repo.state, repo.status_code) = (RepoState::Timeout, None);
    repo.backups.clear();
    repo.archives.clear();
    let text = all(source, Options::default());
    for name in [
        "pgbackrest_backups",
        "pgbackrest_backups_with_errors",
        "pgbackrest_repo_stored_bytes",
        "pgbackrest_repo_status",
    ] {
        assert!(lines(&text, name).iter().all(|line| line.contains("repo_key=\"1\"")), "{name}");
    }
    assert!(text.contains("pgbackrest_repo_up{repo_key=\"2\",stanza=\"demo\"} 0\n"));
    assert!(text.contains("pgbackrest_repo_state{repo_key=\"2\",stanza=\"demo\",state=\"timeout\"} 1\n"));
}

#[test]
fn backup_times_are_in_the_given_zone_or_left_out() {
    let start = |options| {
        let text = all(snapshot(TWO_REPOS), options);
        let line = lines(&text, "pgbackrest_backup_duration_seconds")[0].to_owned();
        line.split("start_time=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let utc = start(Options::default());
    let time_zone = |_| FixedOffset::east_opt(5 * 3600 + 1800).unwrap();
    let india = start(Options { time_zone, ..Options::default() });
    let read = |text: &str| chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap();
    assert_eq!(read(&india) - read(&utc), TimeDelta::minutes(330));
    assert_eq!(start(Options { backup_time_labels: false, ..Options::default() }), "");
}

#[test]
fn an_empty_snapshot_still_answers() {
    let text = all(Snapshot::default(), Options::default());
    assert!(
        text.contains("pgbackrest_exporter_build_info{") && text.contains("pgbackrest_collector_runs_total{")
    );
    assert!(!text.contains("pgbackrest_stanza_status"));
}

#[test]
fn the_part_of_the_next_snapshot_is_that_of_a_first_one() {
    type Change = fn(&mut Snapshot);
    let unchanged: [Change; 3] = [
        |_| (),
        |snapshot| snapshot.stanzas[0].repos[0].archives[0].max = Some("0000000100000000000000FF".to_owned()),
        |snapshot| snapshot.stanzas[0].status_code = 99,
    ];
    let changed: [Change; 10] = [
        |snapshot| snapshot.stanzas[0].name = "other".into(),
        |snapshot| snapshot.stanzas.clear(),
        |snapshot| snapshot.stanzas.push(Stanza { name: "more".into(), ..snapshot.stanzas[0].clone() }),
        |snapshot| snapshot.stanzas[0].repos[1].key = 9,
        |snapshot| snapshot.stanzas[0].repos[1].databases[0].version = "99".to_owned(),
        |snapshot| drop(snapshot.stanzas[0].repos[0].backups.pop()),
        |snapshot| snapshot.stanzas[0].repos[1].backups[0].stop += TimeDelta::seconds(1),
        |snapshot| snapshot.stanzas[0].repos[1].backups[0].databases = Some(3),
        |snapshot| snapshot.stanzas[0].repos[1].backups[0].error = None,
        |snapshot| snapshot.stanzas[0].repos[1].backups.reverse(),
    ];
    let text = |part: &StaticPart| text_of(plain(part, String::new(), 0).unwrap());
    let (options, before) = (Arc::default(), Arc::new(snapshot(TWO_REPOS)));
    let part = StaticPart::encode(&before, &options).unwrap();
    let shares = |change: Change| {
        let mut after = (*before).clone();
        change(&mut after);
        let after = Arc::new(after);
        let next = part.encode_next(&before, &after, &options).unwrap();
        let first = StaticPart::encode(&after, &options).unwrap();
        assert_eq!((text(&next), next.series()), (text(&first), first.series()));
        next.buffers().iter().any(|buffer| part.buffers().iter().any(|old| old.as_ptr() == buffer.as_ptr()))
    };
    assert_eq!(unchanged.map(shares), [true; 3]);
    assert_eq!(changed.map(shares), [false; 10]);
}
