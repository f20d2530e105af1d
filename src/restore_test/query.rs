//! Queries to the copy, through its socket.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::postgres::copy::PORT;
use crate::source::environment::Environment;
use crate::state::proofs::reason::ReasonClass;

use super::programs::{Programs, Said, output};
use super::stop::Stop;

/// For queries about the server itself.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Functions of users are found only by their full names, and nothing can be written. Roles and databases may have other settings.
const OPTIONS: &str = "-c search_path=pg_catalog -c default_transaction_read_only=on -c session_preload_libraries= \
                       -c local_preload_libraries=";
/// How much longer than the server a client waits.
const GRACE: Duration = Duration::from_secs(10);
/// SQLSTATE of a statement that was ended by its timeout.
const CANCELED: &str = "57014";
/// Milliseconds that `statement_timeout` can have.
const MAX_TIMEOUT: u128 = i32::MAX as u128;

/// A connection for each query.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) programs: Programs,
    /// With everything that a client needs.
    environment: Environment,
    cancellation: CancellationToken,
}

impl Session {
    pub(super) fn new(
        programs: Programs,
        environment: &Environment,
        socket: &std::path::Path,
        user: &str,
        cancellation: CancellationToken,
    ) -> Self {
        let environment = environment
            .with("PGHOST", socket)
            .with("PGPORT", PORT)
            .with("PGUSER", user)
            .with("PGCONNECT_TIMEOUT", "30")
            .with("PGAPPNAME", "pgbackrest-keeper")
            // Files of the user that there are not here. libpq warns about one that is no file, such as `/dev/null`.
            .with("PGPASSFILE", socket.join("passwords"))
            .with("PGSERVICEFILE", socket.join("services"))
            .with("PGOPTIONS", format!("{OPTIONS} -c statement_timeout=0"));
        Self { programs, environment, cancellation }
    }

    /// The environment of a client that connects to a database.
    pub(super) fn environment(&self, database: &str) -> Environment {
        self.environment.with("PGDATABASE", database)
    }

    /// The fields of the only row of a query about the server.
    pub(super) async fn row(&self, sql: &str) -> Result<Vec<String>, Stop> {
        let rows = self.rows(sql).await?;
        rows.into_iter().next().ok_or_else(|| Stop::new(ReasonClass::Unclassified, "psql printed no row"))
    }

    /// The fields of each row of a query about the server.
    pub(super) async fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>, Stop> {
        let mut said = self.psql("postgres", sql, TIMEOUT, &[]).await?;
        if said.code != Some(0) && said.stderr.contains("database \"postgres\" does not exist") {
            said = self.psql("template1", sql, TIMEOUT, &[]).await?;
        }
        fields(&said)
    }

    /// The same in a database.
    pub(super) async fn rows_in(&self, database: &str, sql: &str) -> Result<Vec<Vec<String>>, Stop> {
        fields(&self.psql(database, sql, TIMEOUT, &[]).await?)
    }

    /// The only value of a query of the user. Errors name only their code, because messages may quote data.
    pub(super) async fn value(&self, database: &str, sql: &str, timeout: Duration) -> Result<String, Failed> {
        let said =
            self.psql(database, sql, timeout, &["--set=VERBOSITY=verbose"]).await.map_err(Failed::Stop)?;
        if said.code != Some(0) {
            let errors = said.stderr.lines().filter_map(|line| line.split_once("ERROR:  "));
            let error =
                errors.filter_map(|(_, error)| error.split_once(": ")).find(|(code, _)| is_code(code));
            return Err(error.map_or_else(
                || Failed::Stop(failed(&said)),
                |(code, message)| Failed::of_query(code, message, timeout),
            ));
        }
        let mut rows = said.stdout.split_terminator('\0');
        match (rows.next(), rows.next()) {
            (Some(row), None) if !row.contains('\u{1f}') => Ok(row.to_owned()),
            _ => Err(Failed::Rows),
        }
    }

    async fn psql(&self, database: &str, sql: &str, timeout: Duration, more: &[&str]) -> Result<Said, Stop> {
        let mut argv: Vec<OsString> = vec![self.programs.path("psql").into()];
        argv.extend(
            [
                "--no-psqlrc",
                "--no-password",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--record-separator-zero",
            ]
            .map(OsString::from),
        );
        argv.extend(["--field-separator=\u{1f}", "--set=ON_ERROR_STOP=1"].map(OsString::from));
        argv.extend(more.iter().map(OsString::from));
        argv.extend(["--command".into(), sql.into()]);
        let options = format!("{OPTIONS} -c statement_timeout={}", timeout.as_millis().min(MAX_TIMEOUT));
        let environment = self.environment(database).with("PGOPTIONS", options);
        output(&argv, &environment, timeout.saturating_add(GRACE), &self.cancellation).await
    }

    /// Runs a client of a database.
    pub(super) async fn output(
        &self,
        argv: &[OsString],
        database: &str,
        timeout: Duration,
    ) -> Result<Said, Stop> {
        output(argv, &self.environment(database), timeout, &self.cancellation).await
    }

    /// A program of PostgreSQL.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.programs.path(name)
    }
}

fn fields(said: &Said) -> Result<Vec<Vec<String>>, Stop> {
    if said.code != Some(0) {
        return Err(failed(said));
    }
    let rows = said.stdout.split_terminator('\0');
    Ok(rows.map(|row| row.split('\u{1f}').map(str::to_owned).collect()).collect())
}

fn is_code(text: &str) -> bool {
    text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Why there is no value.
#[derive(Debug)]
pub(super) enum Failed {
    /// It is not known what the query would return.
    Stop(Stop),
    /// The error code of the query.
    Query(String),
    /// Not a single value.
    Rows,
}

impl Failed {
    /// What only this host lacks says nothing about the query.
    fn of_query(code: &str, message: &str, timeout: Duration) -> Self {
        if code == CANCELED {
            return Self::Stop(Stop::too_long("the query", timeout));
        }
        match super::classify::of_postgres(message) {
            class @ (ReasonClass::MissingLibrary | ReasonClass::NoSpace) => {
                Self::Stop(Stop::new(class, format!("the query failed with SQLSTATE {code}")))
            }
            _ => Self::Query(code.to_owned()),
        }
    }
}

/// An error of a client before or outside of a query of the user.
pub(super) fn failed(said: &Said) -> Stop {
    // `sudo` leaves programs in a directory of another user.
    let others = ["WARNING: ", "could not change directory to "];
    let is_reason =
        |line: &&str| !line.trim().is_empty() && !others.iter().any(|other| line.starts_with(other));
    let line = said.stderr.lines().find(is_reason);
    let line = line.unwrap_or("a program was terminated, or printed too much");
    let class = if line.contains("role \"") || line.contains("permission denied") {
        ReasonClass::Configuration
    } else if line.contains("due to statement timeout") {
        ReasonClass::Deadline
    } else {
        super::classify::of_postgres(line)
    };
    Stop::new(class, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(stderr: &str) -> ReasonClass {
        failed(&Said { code: Some(2), stdout: String::new(), stderr: stderr.to_owned() }).class
    }

    #[test]
    fn the_reason_is_what_the_server_says() {
        let refused = "psql: error: connection to server on socket \"/t\" failed: FATAL:  role \"nobody\" does not exist\n";
        assert_eq!(class(refused), ReasonClass::Configuration);
        let moved = "could not change directory to \"/root\": Permission denied\n";
        assert_eq!(class(&format!("{moved}{refused}")), ReasonClass::Configuration);
        assert_eq!(class(moved), ReasonClass::Unclassified);
        assert_eq!(class(&format!("WARNING: something\n{refused}")), ReasonClass::Configuration);
        assert_eq!(class("ERROR:  canceling statement due to statement timeout\n"), ReasonClass::Deadline);
    }

    #[test]
    fn a_query_of_the_user_fails_only_because_of_the_database() {
        let of = |code, message| match Failed::of_query(code, message, TIMEOUT) {
            Failed::Query(code) => Err(code),
            Failed::Stop(stop) => Ok(stop.class),
            Failed::Rows => panic!(),
        };
        assert_eq!(of("42P01", "relation \"a\" does not exist"), Err("42P01".to_owned()));
        let library = "could not access file \"$libdir/postgis-3\": No such file or directory";
        assert_eq!(of("58P01", library), Ok(ReasonClass::MissingLibrary));
        let lost = "could not open file \"base/5/16384\": No such file or directory";
        assert_eq!(of("58P01", lost), Err("58P01".to_owned()));
        assert_eq!(of(CANCELED, "canceling statement"), Ok(ReasonClass::Deadline));
    }
}
