//! What `verify` verifies.

use std::time::Duration;

use clap::Args;

use super::collect::{EnvironmentArgs, OutputArgs, ProgramArgs, SigningArgs, StateArgs, TimeoutArgs};
use super::duration;
use super::pod::PodArgs;
use super::repo::RepoArg;
use crate::pgbackrest::label::BackupLabel;

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Name of the pgBackRest stanza.
    #[arg(long, env = "KEEPER_STANZA", value_name = "NAME", help_heading = "Verification")]
    pub stanza: String,

    /// Number of the repository, or any: the one whose last verification is the oldest.
    #[arg(
        long,
        env = "KEEPER_REPO",
        value_name = "N|any",
        default_value = "any",
        help_heading = "Verification"
    )]
    pub repo: RepoArg,

    /// Verify only the backup with this label, and the WAL that makes it consistent (pgBackRest 2.55 and later). By default, all backups
    /// and all WAL are verified.
    #[arg(long, env = "KEEPER_BACKUP", value_name = "LABEL", value_parser = label, help_heading = "Verification")]
    pub backup: Option<String>,

    /// Number of pgBackRest processes that read. Defaults to pgBackRest's configuration.
    #[arg(
        long,
        env = "KEEPER_PROCESS_MAX",
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=999),
        help_heading = "Verification"
    )]
    pub process_max: Option<u32>,

    /// Maximum duration. pgBackRest always begins from the start, so it must suffice for a whole repository.
    #[arg(
        long = "timeout",
        env = "KEEPER_TIMEOUT",
        value_name = "DURATION",
        default_value = "24h",
        value_parser = duration,
        help_heading = "Limits"
    )]
    pub time_limit: Duration,

    /// Wait so long for another verification on this host to end. By default, a second one does not begin.
    #[arg(long, env = "KEEPER_WAIT", value_name = "DURATION", value_parser = duration, help_heading = "Limits")]
    pub wait: Option<Duration>,

    /// Where the records are.
    #[command(flatten)]
    pub state: StateArgs,

    /// Whether the record is signed.
    #[command(flatten)]
    pub signing: SigningArgs,

    #[command(flatten)]
    pub pod: PodArgs,

    /// Which pgBackRest.
    #[command(flatten)]
    pub program: ProgramArgs,

    /// Timeout of one query before and after.
    #[command(flatten)]
    pub query: TimeoutArgs,

    /// What pgBackRest sees of the environment.
    #[command(flatten)]
    pub environment: EnvironmentArgs,

    #[command(flatten)]
    pub output: OutputArgs,
}

fn label(text: &str) -> Result<String, &'static str> {
    let is_label = BackupLabel::parse(text).is_some();
    is_label.then(|| text.to_owned()).ok_or("must be a label such as 20261122-092719F")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_given_by_its_label() {
        let text = "20261122-092719F_20261122-092732I";
        assert_eq!(label(text), Ok(text.to_owned()));
        for text in ["", "latest", "20261122-092719", "--set=x"] {
            assert!(label(text).is_err(), "{text}");
        }
    }
}
