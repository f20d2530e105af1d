//! The first log line of a long-running command: what runs, and how it is configured.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::build;

/// The flags of a run that are set on the command line or in the environment, as `--name=value`.
#[derive(Debug, Clone, Default)]
pub struct Flags(String);

impl Flags {
    /// Collects them, in the order of the help. No flag holds a secret: secrets are in files.
    pub(super) fn of(command: &Command, given: &ArgMatches) -> Self {
        let Some((name, given)) = given.subcommand() else { return Self::default() };
        let flags = command.find_subcommand(name).into_iter().flat_map(Command::get_arguments);
        let set = flags.filter_map(|flag| {
            let id = flag.get_id().as_str();
            let source = given.value_source(id)?;
            if !matches!(source, ValueSource::CommandLine | ValueSource::EnvVariable) {
                return None;
            }
            let values: Vec<_> = given.get_raw(id)?.map(|value| value.to_string_lossy()).collect();
            Some(format!("--{}={}", flag.get_long()?, values.join(",")))
        });
        Self(set.collect::<Vec<_>>().join(" "))
    }

    /// Logs version, commit, mode and these flags.
    pub(super) fn log(&self, mode: &str) {
        let built = build::info();
        let commit = if built.revision.is_empty() { "unknown" } else { built.revision };
        let flags = if self.0.is_empty() { "defaults" } else { self.0.as_str() };
        tracing::info!(version = built.version, commit, mode, flags, "Starting pgbackrest-keeper");
    }
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    #[test]
    fn flags_that_are_set_are_listed() {
        let arguments = [
            "pgbackrest-keeper",
            "exporter",
            "--collect.repo=1",
            "--collect.repo=2",
            "--web.listen-address=:1,:2",
        ];
        for (given, expected) in
            [(&arguments[..2], ""), (&arguments[..], "--web.listen-address=:1,:2 --collect.repo=1,2")]
        {
            let matches = command().try_get_matches_from(given).expect("flags");
            assert_eq!(Flags::of(&command(), &matches).0, expected);
        }
    }
}
