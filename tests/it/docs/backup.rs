//! docs/backup.md lists every exit code of this program with its reason, and every option that can be set for single backups.

use std::collections::BTreeMap;

use pgbackrest_keeper::job::outcome::{self, ExitReason};
use pgbackrest_keeper::pgbackrest::backup_options;

#[test]
fn the_document_names_every_exit_code_of_ours() {
    let text = include_str!("../../../docs/backup.md");
    let table =
        text.split("<!-- exit-codes -->").nth(1).unwrap().split("<!-- /exit-codes -->").next().unwrap();
    let documented: BTreeMap<i32, &str> = table
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').skip(1).map(str::trim);
            Some((cells.next()?.parse().ok()?, cells.next()?.trim_matches('`')))
        })
        .collect();
    for own in ExitReason::ALL {
        assert_eq!(documented.get(&i32::from(own.code())), Some(&own.reason()));
    }
    for (code, reason) in documented {
        assert!(code == 0 || outcome::reason(code) == reason, "{code}: {reason}");
    }
    for code in [27, 31, 49, 56, 82, 101, 105, 44, 55, 62, 63, 137, 95] {
        assert!(text.contains(&format!("`{}`", outcome::reason(code))), "{code}");
    }
}

#[test]
fn the_document_names_every_option_of_single_backups() {
    let text = include_str!("../../../docs/backup.md");
    let row = |line: &'static str| Some(line.strip_prefix("| `--")?.split_once('`')?.0);
    let documented: Vec<&str> = text.lines().filter_map(row).collect();
    assert_eq!(documented, backup_options::allowed().collect::<Vec<_>>());
}
