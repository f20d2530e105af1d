//! docs/cli.md matches `--help`.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use pgbackrest_keeper::cli;

#[test]
fn the_page_of_commands_is_generated_from_their_definitions() {
    let mut command = cli::command().term_width(100);
    command.build();
    let mut page = "# Commands\n\nGenerated from the definitions of the commands: the output of `pgbackrest-keeper COMMAND --help`.\n\
        \nExit codes: 0 done, 1 failed, with the reason on standard error, 2 wrong arguments. Those of `backup` are in\n\
        [backup.md](backup.md), those of `check` in [check.md](check.md), those of `lint` in [lint.md](lint.md), those of `restore-test` in\n[restore-tests.md](restore-tests.md), and those of `verify` in [verify.md](verify.md).\n"
        .to_owned();
    let mut commands = 0;
    for command in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        // What this machine's environment holds is nobody's business.
        *command = std::mem::take(command).mut_args(|argument| argument.hide_env_values(true));
        let help = command.render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        write!(page, "\n## {}\n\n```text\n{}\n```\n", command.get_name(), help.join("\n").trim_end())
            .unwrap();
        commands += 1;
    }
    assert!(commands > 8, "only {commands} commands");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, page).unwrap();
        return;
    }
    let stands = fs::read_to_string(&path).unwrap_or_default();
    assert!(stands == page, "docs/cli.md is not what --help says; run with UPDATE_GOLDEN=1");
}
