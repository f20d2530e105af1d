//! Flags as typed, grouped as the commands share them.
//!
//! Names, defaults and meaning of the flags that the Go exporter has are the same here.

pub mod backup;
pub mod cluster;
pub mod collect;
pub mod fleet;
pub mod info;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod operator;
pub mod pod;
pub mod repo;
pub mod restore_test;
pub mod verifications;
pub mod verify;
pub mod web;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolishValueParser, OsStringValueParser, Resettable, TypedValueParser, ValueParser};
use clap::{Arg, Command};

/// Parses `600` as seconds, and durations such as `10m` or `1h 30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|error| format!("{error}; use seconds (600) or a duration (10m, 1h30m)"))?,
    };
    if parsed.is_zero() {
        return Err("must be greater than zero".to_owned());
    }
    Ok(parsed)
}

/// The value name that makes a flag a switch, which means true without a value.
pub const SWITCH: &str = "BOOL";

/// Parses the values of a switch: `--flag`, `--flag=true`, `--flag=off`.
#[must_use]
pub fn switch() -> ValueParser {
    BoolishValueParser::new().map(|on| on).into()
}

/// Whether the flag is a switch.
pub(super) fn is_switch(argument: &Arg) -> bool {
    argument.get_value_names().is_some_and(|names| names.iter().any(|name| name == SWITCH))
}

/// Parses a path; an empty one means the default.
#[must_use]
pub fn path() -> ValueParser {
    OsStringValueParser::new().map(PathBuf::from).into()
}

/// Makes the value of switches optional, and ignores empty variables.
pub(super) fn with_switches(command: Command) -> Command {
    command.mut_subcommands(|command| {
        command.mut_args(|argument| {
            let is_empty = |name| std::env::var_os(name).is_some_and(|value| value.is_empty());
            // In unit files and manifests, an empty variable means that it is not set.
            let argument = match argument.get_env() {
                Some(name) if is_empty(name) => argument.env(Resettable::Reset),
                _ => argument,
            };
            if !is_switch(&argument) {
                return argument;
            }
            argument.num_args(0..=1).require_equals(true).default_missing_value("true")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_seconds_or_humantime() {
        for (text, seconds) in [("600", 600), ("10m", 600), ("1h 30m", 5400), ("45s", 45)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "0s", "-1", "ten"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
