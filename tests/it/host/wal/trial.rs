//! A lab whose database records what was written when, and restores of copies of it.

use std::cell::Cell;
use std::fs;

use serde_json::Value;

use crate::support::exporter::our_program;
use crate::support::lab::{Lab, STANZA, Site, next_second};
use crate::support::postgres::Postgres;
use crate::support::process::{call, output};

/// Stands for the directory of a copy.
const COPY_DIRECTORY: &str = "/copy-directory";

/// The printed commands, without their purposes: to recover the database, and to restore a copy.
pub(crate) fn commands(text: &str) -> [String; 2] {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.try_into().unwrap_or_else(|_| panic!("not two commands:\n{text}"))
}

/// A lab in which lines were written.
pub(super) struct Trial<'a> {
    pub(super) lab: Lab<'a>,
    pub(super) site: &'a Site,
    copies: Cell<u32>,
}

/// A line that was committed, and archived in a segment of its own together with a later commit.
pub(super) struct Line {
    pub(super) text: &'static str,
    /// After its commit and before the next one.
    pub(super) at: String,
    /// Name of its segment.
    pub(super) segment: String,
}

/// What a repo's listing proved.
pub(super) struct Proof {
    pub(super) wal: Value,
    pub(super) window: Value,
}

impl<'a> Trial<'a> {
    pub(super) fn start(site: &'a Site, segment_megabytes: u32) -> Self {
        let lab = Lab::start(site, segment_megabytes);
        lab.postgres
            .sql("create table lines (number serial, line text); create table noise (at timestamptz)");
        Self { lab, site, copies: Cell::new(0) }
    }

    /// Writes a line and archives it.
    pub(super) fn write(&self, text: &'static str) -> Line {
        // A transaction each.
        let at = self.lab.postgres.sql_each(&[
            &format!("insert into lines (line) values ('{text}')"),
            "set timezone = 'UTC'",
            "select clock_timestamp()",
            "insert into noise values (now())",
        ]);
        let segment = self.lab.postgres.archive_all().segment;
        next_second();
        Line { text, at, segment }
    }

    /// A backup of a type into a repo.
    pub(super) fn back_up(&self, repo: u32, backup_type: &str) -> String {
        let label = self.lab.back_up(repo, backup_type);
        next_second();
        label
    }

    /// A full backup into repo1 while segments come and go. Gives a segment in its middle, too.
    pub(super) fn long_full(&self) -> (String, String) {
        let lab = &self.lab;
        for _ in 0..3 {
            let held =
                lab.hold_backup_when(1, "the backup to begin", |log| log.contains("backup start archive"));
            // One that was not caught does not count.
            if let Ok(held) = held {
                (0..3).for_each(|_| drop(lab.postgres.archive_all()));
                assert!(held.release(), "the held backup failed");
            }
            let info = self.site.info(&lab.both, &["--repo=1", &format!("--stanza={STANZA}")]);
            let backup = info[0]["backup"].as_array().unwrap().last().unwrap();
            let number = |name: &str| {
                u32::from_str_radix(&backup["archive"][name].as_str().unwrap()[16..], 16).unwrap()
            };
            let (start, stop) = (number("start"), number("stop"));
            if start + 1 < stop {
                next_second();
                let inside = format!("0000000100000000{:08X}", start + 1);
                return (backup["label"].as_str().unwrap().to_owned(), inside);
            }
            // Only the last one counts.
            let label = backup["label"].as_str().unwrap();
            lab.pgbackrest(&["--repo=1", &format!("--set={label}"), "expire"]);
        }
        panic!("a backup was always done before three segments were archived");
    }

    /// Takes a segment out of a repo, does something, and puts it back.
    pub(super) fn without<T>(&self, repo: u32, segment: &str, then: impl FnOnce() -> T) -> T {
        let file = self.site.wal_file(repo, segment);
        let aside = self.site.path("aside");
        fs::rename(&file, &aside).unwrap();
        let said = then();
        fs::rename(&aside, &file).unwrap();
        said
    }

    /// What `info --wal` says.
    pub(super) fn prove(&self, repo: u32) -> Proof {
        let said = output(self.keeper().args(["--wal", "--output=json"]));
        let text = String::from_utf8_lossy(&said.stderr);
        let document: Value =
            serde_json::from_slice(&said.stdout).unwrap_or_else(|error| panic!("{error}: {text}"));
        let find =
            |repos: &Value| repos.as_array().unwrap().iter().find(|one| one["key"] == repo).unwrap().clone();
        let wal = find(&document["stanzas"][0]["repos"])["wal"].clone();
        assert!(wal.is_object(), "nothing was listed: {text}\n{document:#}");
        Proof { wal, window: find(&document["assessments"][0]["repos"])["recovery_window"].clone() }
    }

    /// The command that leads to a line, where the program knows one.
    pub(super) fn advised(&self, line: &Line) -> Option<String> {
        let target = format!("--target={}", line.at);
        let copy = format!("--copy-directory={COPY_DIRECTORY}");
        let said =
            output(self.keeper().args(["--wal", "--restore-command", "--collect.repo=1", &target, &copy]));
        let why = String::from_utf8_lossy(&said.stderr);
        if said.status.success() {
            assert!(why.contains("proven: the WAL archive had no gap"), "{why}");
            let [_, copy] = commands(&String::from_utf8(said.stdout).unwrap());
            return Some(copy);
        }
        assert!(why.contains("cannot be reached"), "{why}");
        None
    }

    fn keeper(&self) -> std::process::Command {
        let mut keeper = call(self.site.account.as_ref(), our_program(self.site));
        keeper
            .arg("info")
            .arg(format!("--backrest.stanza-include={STANZA}"))
            .arg(format!("--backrest.config={}", self.lab.both.display()))
            .arg(format!("--backrest.binary={}", self.site.pgbackrest.program.display()));
        keeper
    }

    /// The program knows a command that leads to a line, and it does.
    pub(super) fn leads_to(&self, line: &Line, expected: &str) {
        let command = self.advised(line).unwrap_or_else(|| panic!("no way to {}", line.text));
        let found = self.restored(&command);
        assert_eq!(found.as_deref(), Ok(expected), "{}: {command}", line.text);
    }

    /// The program says that nothing leads to a line, and a restore that begins with this backup does not.
    pub(super) fn does_not_lead_to(&self, line: &Line, label: &str) {
        assert_eq!(self.advised(line), None, "{}", line.text);
        let found = self.restore(label, &format!("--type=time '--target={}'", line.at));
        assert!(found.is_err(), "{}: {found:?}", line.text);
    }

    /// Restores a backup of repo1 with these options, and gives the lines that are there, or why there are none.
    pub(super) fn restore(&self, label: &str, options: &str) -> Result<String, String> {
        self.restore_from(1, label, options)
    }

    /// The same from any repo.
    pub(super) fn restore_from(&self, repo: u32, label: &str, options: &str) -> Result<String, String> {
        let program = self.site.pgbackrest.program.display();
        let config = self.lab.both.display();
        self.restored(&format!(
            "{program} --config={config} --stanza={STANZA} --repo={repo} --set={label} {options} \
             --target-action=promote --pg1-path=COPY restore"
        ))
    }

    /// Everything that the archive leads to from a backup.
    pub(super) fn to_the_end(&self, label: &str) -> Result<String, String> {
        let program = self.site.pgbackrest.program.display();
        let config = self.lab.both.display();
        self.restored(&format!(
            "{program} --config={config} --stanza={STANZA} --repo=1 --set={label} --pg1-path=COPY restore"
        ))
    }

    /// Runs a command that restores to `COPY`, and starts PostgreSQL there.
    fn restored(&self, command: &str) -> Result<String, String> {
        self.copies.set(self.copies.get() + 1);
        let directory = self.site.create_directory(&format!("copy{}", self.copies.get()));
        let data = directory.join("data");
        let command = command.replace(COPY_DIRECTORY, &directory.display().to_string());
        let command = command.replace("COPY", &data.display().to_string());
        let said = output(call(self.site.account.as_ref(), "sh").env_clear().args(["-c", &command]));
        if !said.status.success() {
            let text = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
            return Err(text.into_owned());
        }
        let mut copy: Postgres<'_> = self.lab.postgres.of_copy(&directory);
        let found =
            copy.recover().map(|()| copy.sql("select string_agg(line, '' order by number) from lines"));
        drop(copy);
        fs::remove_dir_all(&directory).unwrap();
        found
    }
}

impl Proof {
    /// The numbers of missing segments: in backups, after the newest one, between them, and removed on purpose.
    pub(super) fn missing(&self) -> [u64; 4] {
        let path = &self.wal["path"];
        [&self.wal["missing_backup"], &path["missing_new"], &path["missing_old"], &path["missing_expired"]]
            .map(|number| number.as_u64().unwrap())
    }

    /// How many backups cannot be restored: without WAL, directory or what they build on, or not judged.
    pub(super) fn unrestorable(&self) -> [u64; 4] {
        ["wal", "directory", "reference", "unknown"]
            .map(|reason| self.wal["unrestorable"][reason].as_u64().unwrap())
    }

    pub(super) fn number(&self, pointer: &str) -> u64 {
        self.wal.pointer(pointer).unwrap().as_u64().unwrap()
    }
}
