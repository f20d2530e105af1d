//! A lab whose backups are tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pgbackrest_keeper::pgbackrest::command::quoted;
use serde_json::Value;

use crate::support::exporter::our_program;
use crate::support::lab::{Lab, STANZA, Site, next_second};
use crate::support::machine::Pgbackrest;
use crate::support::process::{call, command, output};

/// Segments of this size, so that there are many.
const SEGMENT_MEGABYTES: u32 = 1;

/// The number of restores if the tests run in their long form, with `CAMPAIGN_RESTORES` as for `make campaign`.
pub(in crate::host) fn long_form() -> Option<u32> {
    std::env::var("CAMPAIGN_RESTORES").ok()?.parse().ok()
}

/// The newest pgBackRest, and in the long form also the installed one.
pub(in crate::host) fn versions() -> Vec<Result<Pgbackrest, String>> {
    let installed = long_form().map(|_| Pgbackrest::installed());
    installed.into_iter().chain([Pgbackrest::newest()]).collect()
}

/// A lab with a table of markers.
pub(in crate::host) struct Trial<'a> {
    pub(in crate::host) lab: Lab<'a>,
    pub(in crate::host) site: &'a Site,
}

/// What a test said.
#[derive(Debug)]
pub(in crate::host) struct Tested {
    pub(in crate::host) code: i32,
    pub(in crate::host) record: Value,
}

impl<'a> Trial<'a> {
    pub(in crate::host) fn start(site: &'a Site) -> Self {
        let lab = Lab::start(site, SEGMENT_MEGABYTES);
        lab.postgres.sql("create table markers (id int)");
        Self { lab, site }
    }

    /// Commits a marker, and gives a time after it and before the next one.
    pub(in crate::host) fn mark(&self, id: u32) -> String {
        next_second();
        self.lab.postgres.sql(&format!("insert into markers values ({id})"));
        let time = self.lab.postgres.sql("set timezone = 'UTC'; select clock_timestamp()");
        next_second();
        time
    }

    /// The directory of the copies.
    pub(in crate::host) fn directory(&self) -> PathBuf {
        self.site.path("copy")
    }

    /// The directory of the records.
    pub(in crate::host) fn state(&self) -> PathBuf {
        self.site.create_directory("state")
    }

    fn arguments(&self, config: &Path) -> Vec<String> {
        vec![
            "restore-test".to_owned(),
            "--output=json".to_owned(),
            "--space-reserve=0".to_owned(),
            format!("--stanza={STANZA}"),
            format!("--directory={}", self.directory().display()),
            format!("--state-directory={}", self.state().display()),
            format!("--pg-bin-dir={}", self.site.programs().display()),
            format!("--backrest.config={}", config.display()),
            format!("--backrest.binary={}", self.site.pgbackrest.program.display()),
        ]
    }

    /// The usual arguments, except for those that are given.
    fn given(&self, config: &Path, more: &[&str]) -> Vec<String> {
        let name = |argument: &str| argument.split('=').next().unwrap_or_default().to_owned();
        let given: Vec<String> = more.iter().map(|argument| name(argument)).collect();
        let mut all = self.arguments(config);
        all.retain(|argument| !given.contains(&name(argument)));
        all.extend(more.iter().map(ToString::to_string));
        all
    }

    /// The command for a test that is watched.
    pub(in crate::host) fn command(&self, more: &[&str]) -> Command {
        let mut command = command(self.site.account.as_ref(), our_program(self.site));
        command.args(self.given(&self.lab.both, more));
        command
    }

    /// The same for a shell.
    pub(in crate::host) fn shell_line(&self, more: &[&str]) -> String {
        let program = our_program(self.site).display().to_string();
        let words = std::iter::once(program).chain(self.given(&self.lab.both, more));
        words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
    }

    /// Makes a test.
    pub(in crate::host) fn test(&self, more: &[&str]) -> Tested {
        self.test_with(&self.lab.both, more)
    }

    /// The same with another configuration of pgBackRest.
    pub(in crate::host) fn test_with(&self, config: &Path, more: &[&str]) -> Tested {
        let program = our_program(self.site);
        let arguments = self.given(config, more);
        Tested::of(&output(call(self.site.account.as_ref(), program).args(arguments)))
    }

    /// What a test that does not begin prints.
    pub(in crate::host) fn site_output(&self, more: &[&str]) -> String {
        let program = our_program(self.site);
        let arguments = self.given(&self.lab.both, more);
        let said = output(call(self.site.account.as_ref(), program).args(arguments));
        assert!(matches!(said.status.code(), Some(1 | 2)), "{said:?}");
        String::from_utf8_lossy(&said.stderr).into_owned()
    }

    /// An argument for a pgBackRest that runs shell commands before this command. They find the directory for logs of the copy in `$own`;
    /// PostgreSQL starts `archive-get` in its data directory.
    pub(in crate::host) fn before(&self, command: &str, commands: &str) -> String {
        let program = self.site.pgbackrest.program.display();
        let body = format!(
            "if test -d log; then own=log; else own=../log; fi\n\
             case \" $* \" in *\" {command} \"*) {commands} ;; esac\n\
             exec {program} \"$@\"\n"
        );
        format!("--backrest.binary={}", self.site.script(&format!("before-{command}"), &body).display())
    }

    /// The same as [`Self::test`] with a file system of this size for the copy, which only the test sees.
    ///
    /// # Panics
    /// Unless the tests run as root.
    pub(in crate::host) fn test_on_small_disk(&self, size: &str, more: &[&str]) -> Tested {
        let account = self.site.account.as_ref().unwrap();
        let disk = self.site.create_directory("small");
        let mount = format!("size={size},mode=700,uid={},gid={}", account.user, account.group);
        let directory = format!("--directory={}", disk.join("copy").display());
        let more: Vec<&str> = more.iter().copied().chain([&*directory]).collect();
        let mut command = call(None, "unshare");
        command.args([
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs -o \"$0\" tmpfs \"$1\" && shift && exec \"$@\"",
            &mount,
        ]);
        command.arg(disk).arg("setpriv");
        command.args([format!("--reuid={}", account.user), format!("--regid={}", account.group)]);
        command.args(["--init-groups", "--"]).arg(our_program(self.site));
        Tested::of(&output(command.args(self.given(&self.lab.both, &more))))
    }

    /// Checks that a marker is in a copy, and another one is not, with assertions.
    pub(in crate::host) fn assertions(&self, there: u32, absent: u32) -> String {
        let file = self.site.write(
            "assertions.yaml",
            &format!(
                "- name: there\n  database: postgres\n  query: SELECT count(*) FROM public.markers WHERE id = {there}\n  equals: 1\n\
                 - name: absent\n  database: postgres\n  query: SELECT count(*) FROM public.markers WHERE id = {absent}\n  equals: 0\n"
            ),
        );
        format!("--assertions={}", file.display())
    }

    /// Nothing is left in the directory, and no process runs in it.
    pub(in crate::host) fn assert_clean(&self) {
        let left: Vec<_> =
            fs::read_dir(self.directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(self.processes(), Vec::<i32>::new());
    }

    /// Processes that run in the directory.
    pub(in crate::host) fn processes(&self) -> Vec<i32> {
        let directory = self.directory();
        let all = procfs::process::all_processes().unwrap().filter_map(Result::ok);
        let is_in = |process: &procfs::process::Process| {
            process.cwd().is_ok_and(|current| current.starts_with(&directory))
        };
        all.filter(is_in).map(|process| process.pid).collect()
    }

    /// The files of records of a repository.
    pub(in crate::host) fn records(&self, repo: u32) -> Vec<PathBuf> {
        let directory = self.state().join(format!("restore-tests/{STANZA}/repo{repo}"));
        let entries = fs::read_dir(directory).into_iter().flatten();
        let files = entries.map(|entry| entry.unwrap().path());
        files.filter(|file| !file.ends_with("head.json")).collect()
    }
}

/// The record in a log.
pub(in crate::host) fn record_in(log: &str) -> Value {
    let start = log.find("\n{").map_or(0, |place| place + 1);
    serde_json::from_str(&log[start..]).unwrap_or_else(|error| panic!("{error}: {log}"))
}

impl Tested {
    fn of(said: &Output) -> Self {
        let text = String::from_utf8_lossy(&said.stderr);
        let record = serde_json::from_slice(&said.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?}: {text}", said.status));
        Self { code: said.status.code().unwrap(), record }
    }

    /// # Panics
    /// Unless it passed.
    pub(in crate::host) fn passed(self) -> Value {
        assert_eq!((self.code, self.record["outcome"].as_str()), (0, Some("passed")), "{:#}", self.record);
        self.record
    }

    /// # Panics
    /// Unless it ended with this outcome and reason.
    pub(in crate::host) fn ended(self, outcome: &str, class: &str) -> Value {
        let code = match outcome {
            "failed" => 3,
            "inconclusive" => 4,
            "timed_out" => 5,
            _ => panic!("{outcome}"),
        };
        let said = (self.code, self.record["outcome"].as_str(), self.record["reason"]["class"].as_str());
        assert_eq!(said, (code, Some(outcome), Some(class)), "{:#}", self.record);
        self.record
    }
}

/// The verdict of a check.
pub(in crate::host) fn verdict<'r>(record: &'r Value, kind: &str) -> &'r str {
    let checks = record["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["kind"] == kind);
    check.unwrap_or_else(|| panic!("no check {kind}: {record:#}"))["verdict"].as_str().unwrap()
}
