//! How far estimates are from the time that a recovery really takes, from a repository with a limited speed.
//!
//! Restore tests measure the speeds. Then the estimate of `info --restore-command` is compared with a run of the printed command and of
//! PostgreSQL, for backups and points in time that no test restored.
//!
//! `CAMPAIGN_RESTORES=10 it-… --nocapture recoveries_are_estimated` prints ten of them, which takes a quarter of an hour.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::host::restore_tests::trial::long_form;
use crate::host::wal::trial::commands;
use crate::support::exporter::our_program;
use crate::support::lab::{Lab, STANZA, Site, next_second};
use crate::support::machine::{Pgbackrest, skip};
use crate::support::object_store::{Host, Kind, ObjectStore};
use crate::support::process::{call, output, successful};
use crate::support::throttle::{Throttle, UNLIMITED};
use crate::support::web::Authority;

const MIB: u64 = 1 << 20;
/// MiB/s, of a slow object store.
const SPEEDS: [u64; 5] = [8, 16, 12, 24, 10];
/// Stages from which restore tests measure the speed.
const TESTED: usize = 2;
/// Whatever else the machine does, no estimate is further off than this factor.
const FURTHEST: f64 = 2.0;
/// At most, the median of the errors.
const USUAL: f64 = 0.25;

#[test]
fn recoveries_are_estimated() {
    let test = "recoveries_are_estimated";
    let Some(wanted) = long_form() else {
        measure(test, Pgbackrest::newest(), &[80, 80, 80], &[16]);
        return;
    };
    let stages = [96, 96, 128, 160];
    let count = usize::try_from(wanted).unwrap().div_ceil(stages.len() - TESTED);
    let speeds: Vec<u64> = SPEEDS.into_iter().cycle().take(count).collect();
    let (installed, newest) = speeds.split_at(speeds.len() / 2);
    let mut errors = Vec::new();
    for (pgbackrest, speeds) in [(Pgbackrest::installed(), installed), (Pgbackrest::newest(), newest)] {
        let Some(measured) = measure(test, pgbackrest, &stages, speeds) else { return };
        errors.extend(measured);
    }
    errors.sort_by(f64::total_cmp);
    let (median, worst) = (errors[errors.len() / 2], errors[errors.len() - 1]);
    println!(
        "{} recoveries: median error {:.0} %, worst {:.0} %",
        errors.len(),
        median * 100.0,
        worst * 100.0
    );
    assert!(median < USUAL, "{errors:?}");
}

/// Lets a database grow by so many MiB in each stage, with a backup before each. At each speed in MiB/s, the first two backups are
/// tested, and recoveries from all others estimated and run. Gives the relative errors.
fn measure(
    test: &str,
    pgbackrest: Result<Pgbackrest, String>,
    stages: &[u64],
    speeds: &[u64],
) -> Option<Vec<f64>> {
    let site = Site::or_skip(test, pgbackrest)?;
    let authority = Authority::new();
    let host = Host::local();
    let port = host.port;
    let store = match ObjectStore::start(Kind::S3, host, &authority, &site.path("stores")) {
        Err(missing) => {
            skip(test, missing);
            return None;
        }
        Ok(store) => store,
    };
    let lab = Lab::start(&site, 16);
    let throttle = Throttle::start(port);
    keep_in(&lab, &store, &authority, &throttle);
    let stages: Vec<Stage> = stages.iter().map(|mebibytes| Stage::reach(&lab, *mebibytes)).collect();
    let ([first, second], others) = stages.split_first_chunk::<TESTED>().unwrap();

    let mut errors = Vec::new();
    for speed in speeds {
        let measured = Measured { lab: &lab, throttle: &throttle, speed: *speed };
        measured.test(first, "immediate");
        measured.test(second, &second.end);
        errors.extend(others.iter().map(|stage| measured.error(stage)));
    }
    Some(errors)
}

/// Replaces the repositories by one behind the throttle. Nothing is compressed, so that bytes are what they seem.
fn keep_in(lab: &Lab<'_>, store: &ObjectStore, authority: &Authority, throttle: &Throttle) {
    let site = lab.site;
    let certificate = site.write("ca.crt", &authority.certificate_pem());
    let options = store.options(1).into_iter().chain(store.secrets(1)).chain([
        ("repo1-storage-ca-file".to_owned(), certificate.display().to_string()),
        ("repo1-storage-port".to_owned(), throttle.port.to_string()),
        ("repo1-retention-full".to_owned(), "9".to_owned()),
        ("compress-type".to_owned(), "none".to_owned()),
    ]);
    let config = site.config().without("repo1-").without("repo2-").without("compress-");
    let config = options.fold(config, |config, (name, value)| config.global(&name, &value));
    site.write("both.conf", &config.text());
    lab.pgbackrest(&["stanza-create"]);
    // What cannot be compressed, with the WAL of as many bytes.
    lab.postgres.sql("create table bulk (filler text)");
}

/// A backup, and the point in time at the end of what was written after it.
struct Stage {
    label: String,
    end: String,
}

impl Stage {
    fn reach(lab: &Lab<'_>, mebibytes: u64) -> Self {
        let label = lab.back_up(1, "full");
        lab.postgres.sql(&format!(
            "insert into bulk select (select string_agg(md5(random()::text || g || i), '') from generate_series(1, 30) i) \
             from generate_series(1, {}) g",
            mebibytes * 1024
        ));
        next_second();
        let end = lab.postgres.sql("set timezone = 'UTC'; select clock_timestamp()");
        next_second();
        // A recovery to that time ends at a later commit.
        lab.postgres.sql("insert into bulk values ('')");
        lab.postgres.archive_all();
        Self { label, end }
    }
}

/// At one speed.
struct Measured<'a> {
    lab: &'a Lab<'a>,
    throttle: &'a Throttle,
    /// MiB/s.
    speed: u64,
}

impl Measured<'_> {
    /// A restore test, whose record is kept.
    fn test(&self, stage: &Stage, target: &str) {
        let site = self.lab.site;
        let mut test = call(site.account.as_ref(), our_program(site));
        test.args(["restore-test", "--space-reserve=0"])
            .arg(format!("--stanza={STANZA}"))
            .arg(format!("--backup={}", stage.label))
            .arg(format!("--target={target}"))
            .arg(format!("--directory={}", site.path("tested").display()))
            .arg(format!("--pg-bin-dir={}", site.programs().display()))
            .args(self.shared());
        self.throttle.limit(self.speed * MIB);
        successful(&mut test);
        self.throttle.limit(UNLIMITED);
    }

    /// Estimates the recovery of a stage to its end, and makes it. Gives the relative error.
    fn error(&self, stage: &Stage) -> f64 {
        let site = self.lab.site;
        let copy = site.create_directory("beside").join("copy");
        let mut info = call(site.account.as_ref(), our_program(site));
        info.args(["info", "--restore-command"])
            .arg(format!("--target={}", stage.end))
            .arg(format!("--copy-directory={}", copy.display()))
            .args(self.shared());
        let told = output(&mut info);
        let remarks = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success(), "{remarks}");
        let [_, line] = commands(&String::from_utf8_lossy(&told.stdout));
        assert!(line.contains(&format!("--set={}", stage.label)), "{line}");
        let estimate = estimate(&remarks);

        self.throttle.limit(self.speed * MIB);
        let began = Instant::now();
        successful(call(site.account.as_ref(), "sh").env_clear().args(["-c", &line]));
        let mut recovered = self.lab.postgres.of_copy(&copy);
        recovered.recover().unwrap();
        let taken = began.elapsed();
        self.throttle.limit(UNLIMITED);
        drop(recovered);
        fs::remove_dir_all(&copy).unwrap();

        let (estimated, actual) = (estimate.as_secs_f64(), taken.as_secs_f64());
        let error = (estimated - actual).abs() / actual;
        println!(
            "pgBackRest {} at {:2} MiB/s: estimated {estimated:.0} s, took {actual:.1} s, error {:.0} %",
            site.pgbackrest.version,
            self.speed,
            error * 100.0
        );
        assert!(estimated < actual * FURTHEST && actual < estimated * FURTHEST, "{remarks}");
        error
    }

    /// Arguments of both commands.
    fn shared(&self) -> [String; 3] {
        let Lab { site, both, .. } = self.lab;
        [
            format!("--state-directory={}", self.state().display()),
            format!("--backrest.config={}", both.display()),
            format!("--backrest.binary={}", site.pgbackrest.program.display()),
        ]
    }

    /// The records of tests at this speed.
    fn state(&self) -> PathBuf {
        self.lab.site.create_directory(&format!("state-{}", self.speed))
    }
}

/// The time in `recovery takes about 1 min 5 s (measured 3 s ago), at worst …`.
fn estimate(remarks: &str) -> Duration {
    let (_, text) =
        remarks.split_once("recovery takes about ").unwrap_or_else(|| panic!("no estimate: {remarks}"));
    let (length, _) = text.split_once(" (measured ").unwrap();
    humantime::parse_duration(length).unwrap()
}
