//! Shell completions and manual pages, generated from the flag definitions.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use clap_complete::Shell;

use super::command;
use super::output::print;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell to print completions for.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write pgbackrest-keeper.1 and one page per command to this directory instead of printing the first.
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// Prints the completions for a shell.
pub fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "pgbackrest-keeper", &mut text);
    print(&String::from_utf8(text)?)
}

/// Prints or writes the manual.
pub fn man(args: &ManArgs) -> anyhow::Result<()> {
    let Some(directory) = &args.directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command()).render(&mut page)?;
        return print(&String::from_utf8(page)?);
    };
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(command(), directory))
        .with_context(|| format!("cannot write manual pages to {}", directory.display()))
}
