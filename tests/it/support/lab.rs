//! A directory with a PostgreSQL cluster that archives into two pgBackRest repos, the second one encrypted.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use pgbackrest_keeper::cluster::desired::configuration_file;
use pgbackrest_keeper::cluster::target::Pod;
use tempfile::TempDir;

use super::config::{CIPHER_PASS, Config};
use super::fake_pods::FakePods;
use super::machine::{Account, Pgbackrest, postgres_programs, skip};
use super::postgres::{PORT, Postgres};
use super::process::{Running, call, command, copy_program, output, wait_for};

/// The stanza of the lab's cluster.
pub(crate) const STANZA: &str = "demo";

/// Where things are, and as whom they run. It outlives everything that is started in it.
pub(crate) struct Site {
    pub(crate) account: Option<Account>,
    pub(crate) pgbackrest: Pgbackrest,
    programs: PathBuf,
    directory: TempDir,
}

impl Site {
    /// An empty directory for a lab with this pgBackRest; an error tells what the machine lacks.
    pub(crate) fn new(pgbackrest: Result<Pgbackrest, String>) -> Result<Self, String> {
        Self::with_postgres(postgres_programs(), pgbackrest)
    }

    /// The same with the programs of another PostgreSQL.
    pub(crate) fn with_postgres(
        programs: Result<PathBuf, String>,
        pgbackrest: Result<Pgbackrest, String>,
    ) -> Result<Self, String> {
        let (programs, pgbackrest) = (programs?, pgbackrest?);
        let account = Account::find()?;
        let directory = tempfile::Builder::new().prefix("lab-").tempdir().unwrap();
        let site = Self { account, pgbackrest, programs, directory };
        site.own(site.directory.path());
        for name in ["log", "lock", "spool", "postgres", "repo1", "repo2"] {
            site.create_directory(name);
        }
        Ok(site)
    }

    /// The same for a test that is skipped without it.
    pub(crate) fn or_skip(test: &str, pgbackrest: Result<Pgbackrest, String>) -> Option<Self> {
        Self::new(pgbackrest).map_err(|missing| skip(test, missing)).ok()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The directory of PostgreSQL's server programs.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }

    /// Makes a directory that the account owns.
    pub(crate) fn create_directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        self.own(&path);
        path
    }

    /// Writes a file that the account owns.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        self.own(&path);
        path
    }

    /// Writes a shell script that the account may run.
    pub(crate) fn script(&self, name: &str, body: &str) -> PathBuf {
        let draft = self.write(&format!("{name}.draft"), &format!("#!/bin/sh\n{body}"));
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        copy_program(&draft, &self.path(name));
        self.path(name)
    }

    /// Two repos of plain files, the second one encrypted, and the lab's stanza.
    pub(crate) fn config(&self) -> Config {
        let path = |name: &str| self.path(name).display().to_string();
        Config::default()
            .global("log-path", &path("log"))
            .global("lock-path", &path("lock"))
            .global("spool-path", &path("spool"))
            .global("log-level-console", "warn")
            .global("start-fast", "y")
            .global("process-max", "1")
            .global("compress-type", "gz")
            .global("compress-level", "1")
            .global("archive-timeout", "30")
            // pgBackRest would look again after 15 s for a file that a test took away.
            .global("job-retry", "0")
            .global("repo1-path", &path("repo1"))
            .global("repo1-retention-full", "4")
            .global("repo2-path", &path("repo2"))
            .global("repo2-retention-full", "2")
            .global("repo2-cipher-type", "aes-256-cbc")
            .global("repo2-cipher-pass", CIPHER_PASS)
            .set(STANZA, "pg1-path", &path("postgres/data"))
            .set(STANZA, "pg1-port", PORT)
            .set(STANZA, "pg1-socket-path", &path("postgres"))
            .set(STANZA, "pg1-user", "postgres")
    }

    /// Runs pgBackRest with a configuration file.
    pub(crate) fn run(&self, config: &Path, arguments: &[&str]) -> Output {
        output(
            call(self.account.as_ref(), &self.pgbackrest.program)
                .env_clear()
                .arg(format!("--config={}", config.display()))
                .args(arguments),
        )
    }

    /// Pods in which everything runs on this host instead, with a configuration file in place of the one that they mount.
    pub(crate) fn as_pods<'a>(&'a self, pods: &[Pod], configuration: &'a Path) -> FakePods<'a> {
        let config = configuration.display().to_string();
        FakePods::new(pods.to_vec()).otherwise(move |asked| {
            let [program, arguments @ ..] = &asked.command[..] else { panic!("no command") };
            let account = self.account.as_ref();
            let mut command = match program.as_str() {
                "pgbackrest" => call(account, &self.pgbackrest.program),
                other => call(account, other),
            };
            if program == "pgbackrest" {
                command.env_clear();
                // Later versions take no options with this.
                if !matches!(arguments.first().map(String::as_str), Some("version" | "help")) {
                    command.arg(format!("--config={config}"));
                }
            }
            for argument in arguments {
                match argument.as_str() {
                    file if file == configuration_file() => command.arg(&config),
                    // Sooner, since nothing here is far away.
                    "--io-timeout=10" => command.arg("--io-timeout=1"),
                    argument => command.arg(argument),
                };
            }
            command.into()
        })
    }

    /// What `info --output=json` says about everything in a configuration.
    pub(crate) fn info(&self, config: &Path, arguments: &[&str]) -> serde_json::Value {
        let mut all = vec!["info", "--output=json"];
        all.extend(arguments);
        let output = self.run(config, &all);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// The one file of a segment of the lab's stanza in a repo, not its partial one.
    pub(crate) fn wal_file(&self, repo: u32, segment: &str) -> PathBuf {
        let directory = self.path(&format!("repo{repo}/archive/{STANZA}/15-1/{}", &segment[..16]));
        let start = format!("{segment}-");
        let is_it = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&start);
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let [file] = entries.filter(is_it).collect::<Vec<_>>().try_into().unwrap();
        file
    }

    fn own(&self, path: &Path) {
        if let Some(account) = &self.account {
            chown(path, Some(account.user.as_raw()), Some(account.group.as_raw())).unwrap();
        }
    }
}

/// A site with a running cluster whose stanza exists in both repos.
pub(crate) struct Lab<'a> {
    pub(crate) site: &'a Site,
    pub(crate) postgres: Postgres<'a>,
    /// The configuration that the cluster archives with: both repos.
    pub(crate) both: PathBuf,
}

impl<'a> Lab<'a> {
    /// Starts the cluster and creates the stanza.
    pub(crate) fn start(site: &'a Site, wal_segment_megabytes: u32) -> Self {
        let both = site.write("both.conf", &site.config().text());
        let archive = format!(
            "{} --config={} --stanza={STANZA} archive-push %p",
            site.pgbackrest.program.display(),
            both.display()
        );
        let mut postgres = Postgres::create(
            site.account.as_ref(),
            &site.programs,
            &site.path("postgres"),
            wal_segment_megabytes,
            &archive,
        );
        postgres.start();
        let lab = Self { site, postgres, both };
        lab.pgbackrest(&["stanza-create"]);
        lab.drop_templates();
        lab.postgres.sql(
            "create table ledger (id int primary key, entry text); \
                          insert into ledger select g, md5(g::text) from generate_series(1, 20000) g",
        );
        lab
    }

    /// Drops the template databases: two thirds of the files that each backup and each restore would copy.
    fn drop_templates(&self) {
        self.postgres.sql_each(&[
            "update pg_database set datistemplate = false",
            "drop database template0",
            "drop database template1",
        ]);
    }

    /// Runs a command of the stanza, which must succeed, and gives all that it printed.
    pub(crate) fn pgbackrest(&self, arguments: &[&str]) -> String {
        let stanza = format!("--stanza={STANZA}");
        let mut all = vec![stanza.as_str()];
        all.extend(arguments);
        let output = self.site.run(&self.both, &all);
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pgbackrest {arguments:?}: {}\n{text}", output.status);
        text.into_owned()
    }

    /// Changes some rows and takes a backup of a type into a repo. Gives its label.
    pub(crate) fn back_up(&self, repo: u32, backup_type: &str) -> String {
        self.postgres.sql("update ledger set entry = md5(entry) where id % 50 = 0");
        self.pgbackrest(&[&format!("--repo={repo}"), &format!("--type={backup_type}"), "backup"]);
        self.labels(repo).pop().unwrap()
    }

    /// Lets the database believe that it is so much earlier, such as `9 days`, or what time it is. pgBackRest asks it when backups are
    /// made.
    pub(crate) fn set_clock(&self, earlier: Option<&str>) {
        let body = match earlier {
            Some(interval) => {
                format!("language sql as $$ select pg_catalog.now() - interval '{interval}' $$")
            }
            None => "language internal as 'clock_timestamp'".to_owned(),
        };
        self.postgres.sql(&format!(
            "set allow_system_table_mods = on; \
             create or replace function pg_catalog.clock_timestamp() returns timestamptz volatile strict {body}"
        ));
    }

    /// Labels of a repo's backups, oldest first.
    pub(crate) fn labels(&self, repo: u32) -> Vec<String> {
        let info = self.site.info(&self.both, &[&format!("--repo={repo}"), &format!("--stanza={STANZA}")]);
        let backups = info[0]["backup"].as_array().unwrap();
        backups.iter().map(|backup| backup["label"].as_str().unwrap().to_owned()).collect()
    }

    /// Starts a full backup and stops all its processes in the middle, so that it runs until it is released.
    pub(crate) fn hold_backup(&self, repo: u32) -> HeldBackup {
        let held = self.hold_backup_when(repo, "info to see the backup", |_| {
            let info = self.site.info(&self.both, &[&format!("--stanza={STANZA}")]);
            let lock = &info[0]["status"]["lock"]["backup"];
            // Sizes are told since 2.48, once the manifest is made.
            let sizes_told = self.site.pgbackrest.minor() < 48 || lock["size-cplt"].as_u64().is_some();
            lock["held"] == true && sizes_told
        });
        held.unwrap_or_else(|log| panic!("the backup ended before it could be stopped:\n{log}"))
    }

    /// The same, stopped as soon as `is_time` says so of its log at level info. An error is the log of a backup that ended well
    /// before that.
    pub(crate) fn hold_backup_when(
        &self,
        repo: u32,
        what: &str,
        is_time: impl Fn(&str) -> bool,
    ) -> Result<HeldBackup, String> {
        let mut command = command(self.site.account.as_ref(), &self.site.pgbackrest.program);
        command
            .env_clear()
            .arg(format!("--config={}", self.both.display()))
            .arg(format!("--stanza={STANZA}"))
            .arg(format!("--repo={repo}"))
            // Slow enough to be caught in the middle.
            .args(["--type=full", "--compress-type=gz", "--compress-level=9"])
            .args(["--log-level-console=info", "backup"]);
        let log = self.site.path("held-backup.log");
        let mut backup = Running::start("pgbackrest backup", command, &log, Signal::SIGTERM);
        wait_for(what, || match backup.ended() {
            Some(status) if status.success() => Some(Err(backup.log())),
            Some(status) => panic!("the backup ended with {status}:\n{}", backup.log()),
            None => is_time(&backup.log()).then_some(Ok(())),
        })?;
        backup.signal_group(Signal::SIGSTOP);
        Ok(HeldBackup { backup })
    }
}

/// A backup that stands still.
pub(crate) struct HeldBackup {
    backup: Running,
}

impl HeldBackup {
    /// Lets it go on, waits for its end and gives whether that was a good one.
    pub(crate) fn release(mut self) -> bool {
        self.backup.signal_group(Signal::SIGCONT);
        self.backup.wait().success()
    }

    /// Kills it with all that it started.
    pub(crate) fn kill(mut self) {
        self.backup.signal_group(Signal::SIGKILL);
        self.backup.wait();
    }

    /// Has it end itself.
    pub(crate) fn terminate(mut self) {
        self.backup.signal_group(Signal::SIGTERM);
        self.backup.signal_group(Signal::SIGCONT);
        self.backup.wait();
    }
}

/// Waits for the next whole second. The times of files in a repository and of the ends of backups are whole ones, rounded down,
/// so what is written after this is later than everything that was there before.
pub(crate) fn next_second() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let next = Duration::from_secs(now().as_secs() + 1);
    while let Some(rest) = next.checked_sub(now()).filter(|rest| !rest.is_zero()) {
        sleep(rest);
    }
}
