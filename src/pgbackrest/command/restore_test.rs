//! The command lines of a restore test.

use std::ffi::OsString;

use super::restore::{CopyPaths, TargetTimeline, quoted};
use super::{LOG, Program, repo_option, stanza_option};

/// A restore of a copy that is tested and then thrown away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestQuery {
    pub stanza: String,
    /// The repository (2.32 and later).
    pub repo: Option<u32>,
    /// Label of the backup.
    pub set: String,
    /// The timeline to follow. pgBackRest 2.60 checks that it leads on from the backup.
    pub target_timeline: Option<TargetTimeline>,
    /// `--process-max`; that of the configuration if absent.
    pub process_max: Option<u32>,
    /// `--db-include`; all databases if empty.
    pub databases: Vec<String>,
    /// Whether pgBackRest knows `--db-exclude` (2.34 and later, pgBackRest commit 292f836f1).
    pub knows_exclusion: bool,
    /// Whether each file is logged, with the progress.
    pub tells_files: bool,
}

/// For what `archive-get` says among the lines of PostgreSQL's log.
const ARCHIVE_GET_LOG: [&str; 4] =
    ["--log-level-console=off", "--log-level-stderr=info", "--log-level-file=off", "--no-log-timestamp"];

impl TestQuery {
    fn place(&self) -> impl Iterator<Item = String> {
        std::iter::once(stanza_option(&self.stanza)).chain(self.repo.map(repo_option))
    }
}

impl Program {
    /// Restores a standby. The database that the configuration names is not touched, wherever it is (`--reset-pg1-host`), and the
    /// copy never archives. `restore` empties the spool directory, so it gets its own.
    #[must_use]
    pub fn restore_for_test(&self, query: &TestQuery, copy: &CopyPaths) -> Vec<OsString> {
        let mut options: Vec<String> = query.place().collect();
        options.extend([format!("--set={}", query.set), "--type=standby".to_owned()]);
        options.extend(query.target_timeline.map(|timeline| format!("--target-timeline={timeline}")));
        options.push("--reset-pg1-host".to_owned());
        options.extend(copy.own());
        options.push(format!("--spool-path={}", copy.spool()));
        options.extend(["--reset-tablespace-map".to_owned(), "--reset-link-map".to_owned()]);
        options.push(format!("--tablespace-map-all={}", copy.tablespaces()));
        options.extend([
            "--no-link-all".to_owned(),
            "--archive-mode=off".to_owned(),
            "--no-delta".to_owned(),
        ]);
        options.extend(query.process_max.map(|processes| format!("--process-max={processes}")));
        options.extend(query.databases.iter().map(|database| format!("--db-include={database}")));
        // A database that the configuration leaves out of restores would be unreadable.
        options.extend(query.databases.is_empty().then(|| "--reset-db-include".to_owned()));
        options.extend(query.knows_exclusion.then(|| "--reset-db-exclude".to_owned()));
        let level = |option: &&str| !(query.tells_files && option.starts_with("--log-level-console="));
        options.extend(LOG.iter().copied().filter(level).map(str::to_owned));
        options.extend(query.tells_files.then(|| "--log-level-console=detail".to_owned()));
        options.push("--log-level-file=off".to_owned());
        self.line(options.into_iter().chain(["restore".to_owned()]))
    }

    /// The `restore_command` of the copy: for a shell, with PostgreSQL's placeholders. `--spool-path` is rejected without asynchronous
    /// archiving.
    #[must_use]
    pub fn archive_get_for_test(&self, query: &TestQuery, copy: &CopyPaths) -> String {
        let mut options: Vec<String> = query.place().collect();
        // It refuses to run on a repository host otherwise.
        options.push("--reset-pg1-host".to_owned());
        options.extend(copy.own());
        options.push("--no-archive-async".to_owned());
        options.extend(ARCHIVE_GET_LOG.map(str::to_owned));
        let words = self.line(options.into_iter().chain(["archive-get".to_owned()]));
        let words: Vec<String> = words.iter().map(|word| quoted(&word.to_string_lossy())).collect();
        format!("{} %f \"%p\"", words.join(" ").replace('%', "%%"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_shares_no_directory_with_the_database() {
        let program = Program {
            binary: "pgbackrest".into(),
            config: Some("/etc/x%.conf".into()),
            config_include_path: None,
        };
        let query = TestQuery {
            stanza: "demo".to_owned(),
            repo: Some(2),
            set: "20260101-000000F".to_owned(),
            target_timeline: Some(TargetTimeline::Number(3)),
            process_max: Some(4),
            databases: vec!["shop".to_owned()],
            knows_exclusion: true,
            tells_files: true,
        };
        let copy = CopyPaths { directory: "/srv/a test".to_owned() };
        let restore: Vec<String> = program
            .restore_for_test(&query, &copy)
            .iter()
            .map(|word| word.to_str().unwrap().to_owned())
            .collect();
        let expected = [
            "pgbackrest",
            "--config=/etc/x%.conf",
            "--stanza=demo",
            "--repo=2",
            "--set=20260101-000000F",
            "--type=standby",
            "--target-timeline=3",
            "--reset-pg1-host",
            "--pg1-path=/srv/a test/data",
            "--lock-path=/srv/a test/lock",
            "--log-path=/srv/a test/log",
            "--spool-path=/srv/a test/spool",
            "--reset-tablespace-map",
            "--reset-link-map",
            "--tablespace-map-all=/srv/a test/tablespaces",
            "--no-link-all",
            "--archive-mode=off",
            "--no-delta",
            "--process-max=4",
            "--db-include=shop",
            "--reset-db-exclude",
            "--log-level-stderr=off",
            "--no-log-timestamp",
            "--log-level-console=detail",
            "--log-level-file=off",
            "restore",
        ];
        assert_eq!(restore, expected);
        assert_eq!(
            program.archive_get_for_test(&query, &copy),
            "pgbackrest --config=/etc/x%%.conf --stanza=demo --repo=2 --reset-pg1-host '--pg1-path=/srv/a test/data' \
             '--lock-path=/srv/a test/lock' '--log-path=/srv/a test/log' --no-archive-async --log-level-console=off \
             --log-level-stderr=info --log-level-file=off --no-log-timestamp archive-get %f \"%p\""
        );
    }
}
