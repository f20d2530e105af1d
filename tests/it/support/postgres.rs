//! A PostgreSQL 15 cluster that listens on a socket in its own directory and on nothing else.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::machine::Account;
use super::process::{Running, call, command, successful, wait_for, wait_telling};

/// Bytes of a page, as Debian builds PostgreSQL.
const PAGE: u64 = 8192;

/// The port names the socket; nothing listens on the network.
pub(crate) const PORT: &str = "5432";

/// A WAL segment, as PostgreSQL tells of it.
#[derive(Debug)]
pub(crate) struct Archived {
    /// Its file name.
    pub(crate) segment: String,
    /// Position in the WAL at which it ends, bytes.
    pub(crate) end: u64,
    /// Bytes.
    pub(crate) segment_size: u64,
}

pub(crate) struct Postgres<'a> {
    account: Option<&'a Account>,
    programs: PathBuf,
    pub(crate) data: PathBuf,
    /// The directory of its configuration files.
    configuration: PathBuf,
    pub(crate) socket_directory: PathBuf,
    server: Option<Running>,
}

impl<'a> Postgres<'a> {
    /// Makes a cluster with page checksums under `directory`, which the account must own.
    /// `wal_segment_megabytes` is the size of a WAL segment.
    pub(crate) fn create(
        account: Option<&'a Account>,
        programs: &Path,
        directory: &Path,
        wal_segment_megabytes: u32,
        archive_command: &str,
    ) -> Self {
        let data = directory.join("data");
        successful(
            call(account, programs.join("initdb"))
                .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"])
                .args(["--data-checksums", "--no-sync", "--no-instructions"])
                .arg(format!("--wal-segsize={wal_segment_megabytes}"))
                .arg("--pgdata")
                .arg(&data),
        );
        let settings = format!(
            "port = {PORT}\nlisten_addresses = ''\nunix_socket_directories = '{}'\n\
             archive_mode = on\narchive_command = '{archive_command}'\n\
             shared_buffers = 16MB\nfsync = off\nautovacuum = off\ncheckpoint_timeout = 1h\n\
             wal_init_zero = off\nwal_recycle = off\n",
            directory.display()
        );
        let mut file = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
        file.write_all(settings.as_bytes()).unwrap();
        Self {
            account,
            programs: programs.to_owned(),
            configuration: data.clone(),
            data,
            socket_directory: directory.to_owned(),
            server: None,
        }
    }

    /// Starts the server and waits until it answers.
    pub(crate) fn start(&mut self) {
        let mut command = command(self.account, self.programs.join("postgres"));
        command.arg("-D").arg(&self.configuration);
        let log = self.socket_directory.join("postgres.log");
        // Immediate shutdown: the cluster is thrown away, and an archiver that hangs must not be waited for.
        let mut server = Running::start("postgres", command, &log, Signal::SIGQUIT);
        server.wait_in_log("PostgreSQL to accept connections", |log| {
            log.contains("database system is ready to accept connections").then_some(())
        });
        self.server = Some(server);
    }

    /// A server on a copy of this cluster that lies in `directory/data`. It archives nothing.
    pub(crate) fn of_copy(&self, directory: &Path) -> Self {
        Self::existing(self.account, &self.programs, directory, "archive_mode = off\n")
    }

    /// A server on a cluster that lies in `directory/data` already, with lines that are added to its settings.
    pub(crate) fn existing(
        account: Option<&'a Account>,
        programs: &Path,
        directory: &Path,
        settings: &str,
    ) -> Self {
        let data = directory.join("data");
        let settings = format!("unix_socket_directories = '{}'\n{settings}", directory.display());
        let mut file = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
        file.write_all(settings.as_bytes()).unwrap();
        Self {
            account,
            programs: programs.to_owned(),
            configuration: data.clone(),
            data,
            socket_directory: directory.to_owned(),
            server: None,
        }
    }

    /// Starts the server and waits for the end of recovery; an error is the log of a server that gave up.
    pub(crate) fn recover(&mut self) -> Result<(), String> {
        self.start_until("ready to accept connections")
    }

    /// Starts a standby and waits until it answers; an error is the log of a server that gave up.
    pub(crate) fn stand_by(&mut self) -> Result<(), String> {
        self.start_until("ready to accept read-only connections")
    }

    fn start_until(&mut self, words: &str) -> Result<(), String> {
        let mut command = command(self.account, self.programs.join("postgres"));
        command.arg("-D").arg(&self.configuration);
        let log = self.socket_directory.join("postgres.log");
        let mut server = Running::start("postgres", command, &log, Signal::SIGQUIT);
        let end = wait_for(words, || match server.ended() {
            Some(_) => Some(Err(server.log())),
            None => server.log().contains(words).then_some(Ok(())),
        });
        self.server = Some(server);
        end
    }

    /// Moves the configuration of a server that is stopped to another directory, as on Debian.
    pub(crate) fn move_configuration(&mut self, directory: &Path) {
        for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
            fs::rename(self.data.join(name), directory.join(name)).unwrap();
        }
        let mut file = fs::OpenOptions::new().append(true).open(directory.join("postgresql.conf")).unwrap();
        writeln!(file, "data_directory = '{}'", self.data.display()).unwrap();
        directory.clone_into(&mut self.configuration);
    }

    /// What the server has logged since it was started.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.socket_directory.join("postgres.log")).unwrap_or_default()
    }

    /// Ends the server at once, as a crash does.
    pub(crate) fn crash(&mut self) {
        self.server = None;
    }

    /// Stops the server with a checkpoint, so that all is in the files.
    pub(crate) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.signal_group(Signal::SIGINT);
            let status = server.wait();
            assert!(status.success(), "PostgreSQL ended with {status}:\n{}", server.log());
        }
    }

    /// Runs statements in one transaction and gives what they return, unaligned, one row a line.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.sql_each(&[statements])
    }

    /// The same with a transaction each, one after the other.
    pub(crate) fn sql_each(&self, transactions: &[&str]) -> String {
        let text = successful(
            call(self.account, self.programs.join("psql"))
                .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-p", PORT])
                .arg("-h")
                .arg(&self.socket_directory)
                .args(transactions.iter().flat_map(|statements| ["-c", statements])),
        );
        text.trim_end().to_owned()
    }

    /// Ends the WAL segment and waits until it is in the archive of every repo.
    pub(crate) fn archive_all(&self) -> Archived {
        let ended = self.sql(
            "create table if not exists switched (at timestamptz); insert into switched values (now()); \
             with ended as (select pg_switch_wal() as at, \
                 (select setting::bigint from pg_settings where name = 'wal_segment_size') as size) \
             select pg_walfile_name(at) || ' ' || \
                 (pg_wal_lsn_diff(at, '0/0')::bigint / size + 1) * size || ' ' || size from ended",
        );
        let mut words = ended.lines().last().unwrap().split(' ');
        let archived = Archived {
            segment: words.next().unwrap().to_owned(),
            end: words.next().unwrap().parse().unwrap(),
            segment_size: words.next().unwrap().parse().unwrap(),
        };
        // After three failures PostgreSQL waits for a minute.
        let (longest, what) = (Duration::from_mins(10), format!("{} in the archive", archived.segment));
        // The server looks again and again by itself, since each psql costs as much as the archiving.
        let newest = format!(
            "do $$ begin for i in 1..500 loop \
                 exit when (select last_archived_wal from pg_stat_archiver) >= '{}'; \
                 perform pg_sleep(0.02); perform pg_stat_clear_snapshot(); \
             end loop; end $$; select last_archived_wal from pg_stat_archiver",
            archived.segment
        );
        wait_telling(
            longest,
            Duration::from_millis(50),
            &what,
            || (self.sql(&newest) >= archived.segment).then_some(()),
            || self.log(),
        );
        archived
    }

    /// Overwrites bytes in the middle of a page of a table's file, so that its checksum is wrong. The server is
    /// stopped for it and started again.
    pub(crate) fn corrupt_page(&mut self, table: &str, page: u64) {
        let file = self.data.join(self.sql(&format!("select pg_relation_filepath('{table}')")));
        self.stop();
        let mut file = fs::OpenOptions::new().write(true).open(file).unwrap();
        file.seek(SeekFrom::Start(page * PAGE + PAGE / 2)).unwrap();
        file.write_all(b"CORRUPT!").unwrap();
        drop(file);
        self.start();
    }
}
