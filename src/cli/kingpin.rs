//! The Go exporter's syntax for disabling a flag.

use std::ffi::OsString;

use super::{args, command};

/// Rewrites `--no-NAME` into `--NAME=false` for every switch, as with the Go exporter.
pub(super) fn rewrite_negations(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let switches = switches();
    arguments.map(|argument| negated(&argument, &switches).unwrap_or(argument)).collect()
}

fn negated(argument: &OsString, switches: &[String]) -> Option<OsString> {
    let name = argument.to_str()?.strip_prefix("--no-")?;
    switches.iter().any(|known| known == name).then(|| format!("--{name}=false").into())
}

/// Long names of all switches.
fn switches() -> Vec<String> {
    let root = command();
    let flags = root.get_subcommands().flat_map(clap::Command::get_arguments);
    flags.filter(|flag| args::is_switch(flag)).filter_map(|flag| flag.get_long().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_switches_are_negated() {
        let given =
            ["--no-collector.pgbackrest", "--no-backrest.verbose-wal", "--no-such", "--no-backrest.config"];
        let rewritten = rewrite_negations(given.iter().map(Into::into));
        assert_eq!(
            rewritten,
            [
                "--collector.pgbackrest=false",
                "--backrest.verbose-wal=false",
                "--no-such",
                "--no-backrest.config"
            ]
        );
    }
}
