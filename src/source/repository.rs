//! What is in a repository on this host: `repo-ls` and `repo-get` (2.32 and later; an older pgBackRest knows neither).

use tokio_util::sync::CancellationToken;

use crate::pgbackrest::command::{self, RepoQuery};
use crate::pgbackrest::repository::{self, Entries};
use crate::pgbackrest::sanitize;

use super::failure;
use super::pgbackrest::{Call, Client, Read, unreadable};
use super::process::Limits;

/// Bytes of a listing. A directory of the archive holds 4096 segments at most (of 1 MiB), each in less than 200 bytes; a
/// million segments of 16 MiB are in 3907 directories.
const MAX_LISTING: usize = 16 << 20;
/// Bytes of a file. A line of a history takes about 60.
const MAX_FILE: usize = 1 << 20;

impl Client {
    /// Lists one directory. It never looks below.
    pub async fn repo_ls(&self, query: &RepoQuery, cancellation: &CancellationToken) -> Call<Entries> {
        let limits = Limits { stdout: MAX_LISTING, ..self.limits };
        self.call(&command::repo_ls(query), limits, cancellation, read_listing).await
    }

    /// Reads one small file, decrypted but not decompressed. Where there is none, the failure has pgBackRest's exit code
    /// for a missing file, 55.
    pub async fn repo_get(&self, query: &RepoQuery, cancellation: &CancellationToken) -> Call<Vec<u8>> {
        let limits = Limits { stdout: MAX_FILE, ..self.limits };
        self.call(&command::repo_get(query), limits, cancellation, read_file).await
    }
}

pub(super) fn read_listing(stdout: &[u8]) -> Read<Entries> {
    let (notices, listing) = sanitize::split_log(stdout);
    let answer =
        repository::parse_listing(listing).map_err(|error| unreadable(failure::one_line(&error.to_string())));
    Read { answer, sanitized: false, notices }
}

pub(super) fn read_file(stdout: &[u8]) -> Read<Vec<u8>> {
    let (notices, file) = sanitize::split_log(stdout);
    Read { answer: Ok(file.to_vec()), sanitized: false, notices }
}
