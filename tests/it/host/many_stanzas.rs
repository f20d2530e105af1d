//! One exporter for many stanzas of real pgBackRest, some of which hang: what is known of the others stays fresh.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::config::Config;
use crate::support::exporter::Exporter;
use crate::support::exposition::Samples;
use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::{Pgbackrest, skip};
use crate::support::process::{call, successful};

const STANZAS: usize = 50;
/// The first ones that are asked for, and as many as processes may run at once.
const HANG_IN_THE_REPOSITORY: [&str; 4] = ["a00", "a01", "a02", "a03"];
const HANGS_ELSEWHERE: &str = "a04";
const INTERVAL: Duration = Duration::from_secs(15);
const FLAGS: [&str; 3] = ["--collect.interval=15s", "--collect.timeout=3s", "--collector.wal=false"];
const OF_REPO: (&str, &str) = ("repo_key", "1");
const OF_INFO: (&str, &str) = ("collector", "info");
const TIMED_OUT: (&str, &str) = ("state", "timeout");

#[test]
fn five_of_fifty_stanzas_hang_and_the_others_stay_fresh() {
    let test = "five_of_fifty_stanzas_hang_and_the_others_stay_fresh";
    let Some(site) = Site::or_skip(test, Pgbackrest::installed()) else { return };
    let newest = match Pgbackrest::newest() {
        Ok(newest) => newest,
        Err(missing) => return skip(test, missing),
    };
    let lab = Lab::start(&site, 16);
    lab.back_up(1, "full");
    let copies: Vec<String> = (1..STANZAS).map(|number| format!("a{:02}", number - 1)).collect();
    copy_stanza(&site, &copies);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = site.write("many.conf", &config(&site, &copies, &silent).text());
    let exporters = [&site.pgbackrest.program, &newest.program]
        .map(|program| Exporter::start_as(site.account.as_ref(), &site, program, &config, &FLAGS));
    for exporter in &exporters {
        exporter.wait("all that answer", |samples| {
            let up = samples.all("pgbackrest_repo_up", &[OF_REPO]);
            (up.iter().filter(|repo| repo.value == 1.0).count() == STANZAS - 1).then_some(())
        });
    }
    for stanza in HANG_IN_THE_REPOSITORY {
        block(&site, stanza);
    }
    let oldest = thread::scope(|scope| {
        let watches = exporters.each_ref().map(|exporter| scope.spawn(move || watch(exporter)));
        watches.map(|watch| watch.join().unwrap())
    });
    for (exporter, oldest) in exporters.into_iter().zip(oldest) {
        let samples = exporter.samples();
        for stanza in copies.iter().map(String::as_str).chain([STANZA]) {
            let (hangs, of_stanza) = (is_hung(stanza), ("stanza", stanza));
            samples.assert("pgbackrest_collector_up", &[of_stanza, OF_INFO], f64::from(!hangs));
            // Nothing is known of the repository that has never answered.
            let up = (stanza != HANGS_ELSEWHERE).then_some(f64::from(!hangs));
            assert_eq!(samples.find("pgbackrest_repo_up", &[of_stanza, OF_REPO]), up, "{stanza}");
            let timed_out = up.map(|up| 1.0 - up);
            assert_eq!(
                samples.find("pgbackrest_repo_state", &[of_stanza, OF_REPO, TIMED_OUT]),
                timed_out,
                "{stanza}"
            );
        }
        let interval = INTERVAL.as_secs_f64();
        assert!(oldest.at_first < 3.0 * interval && oldest.later < 2.0 * interval, "{oldest:?}");
        assert_eq!(exporter.stop(), Some(0));
    }
}

fn is_hung(stanza: &str) -> bool {
    stanza == HANGS_ELSEWHERE || HANG_IN_THE_REPOSITORY.contains(&stanza)
}

/// Copies what `info` reads of the lab's stanza to others.
fn copy_stanza(site: &Site, copies: &[String]) {
    let script = format!(
        "cd \"$0\" && for stanza; do mkdir -p backup/$stanza archive/$stanza/15-1 && \
         cp backup/{STANZA}/backup.info* backup/$stanza && cp archive/{STANZA}/archive.info* archive/$stanza || exit; done"
    );
    successful(call(site.account.as_ref(), "sh").args(["-c", &script]).arg(site.path("repo1")).args(copies));
}

/// All in one repository, but for one whose repository is an S3 bucket whose server takes connections and never says a word.
fn config(site: &Site, copies: &[String], silent: &TcpListener) -> Config {
    let original = site.config().without("repo2-");
    let config = copies.iter().fold(original, |config, copy| config.set(copy, "pg1-path", "/nonexistent"));
    config.with_silent_repo(HANGS_ELSEWHERE, 1, silent)
}

/// Whoever opens the file waits for a writer.
fn block(site: &Site, stanza: &str) {
    let script = "cd \"$0\" && rm backup.info* && mkfifo backup.info backup.info.copy";
    let directory = site.path("repo1/backup").join(stanza);
    successful(call(site.account.as_ref(), "sh").args(["-c", script]).arg(directory));
}

/// How old what is known of a stanza that answers has become, in seconds.
#[derive(Debug, Default)]
struct Oldest {
    /// Until all that hangs is known to, and all others have been collected after that.
    at_first: f64,
    later: f64,
}

/// Until everything that answers has been collected three times.
fn watch(exporter: &Exporter) -> Oldest {
    let (mut oldest, mut is_first, mut all_are_told) = (Oldest::default(), true, 0.0);
    let mut collections: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    exporter.wait("three collections of what answers", |samples| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let collected = collected(samples);
        let of_oldest = collected.values().copied().fold(now, f64::min);
        if all_are_told == 0.0 && told_as_hung(samples) == HANG_IN_THE_REPOSITORY.len() + 1 {
            all_are_told = now;
        }
        is_first &= all_are_told == 0.0 || of_oldest < all_are_told;
        let age = if is_first { &mut oldest.at_first } else { &mut oldest.later };
        *age = age.max(now - of_oldest);
        if !is_first {
            for (stanza, at) in collected {
                collections.entry(stanza).or_default().insert(at.to_bits());
            }
        }
        let is_enough = |collections: &BTreeSet<u64>| collections.len() >= 3;
        (!is_first && collections.values().all(is_enough)).then_some(())
    });
    oldest
}

/// When what is known of each stanza that answers was read.
fn collected(samples: &Samples) -> BTreeMap<String, f64> {
    let all = samples.all("pgbackrest_repo_collected_timestamp_seconds", &[OF_REPO]);
    let all = all.into_iter().map(|sample| (sample.labels["stanza"].clone(), sample.value));
    all.filter(|(stanza, _)| !is_hung(stanza)).collect()
}

fn told_as_hung(samples: &Samples) -> usize {
    let up = samples.all("pgbackrest_collector_up", &[OF_INFO]);
    up.iter().filter(|up| is_hung(&up.labels["stanza"]) && up.value == 0.0).count()
}
