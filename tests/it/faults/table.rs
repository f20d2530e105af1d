//! The whole table, its document, and that it is true of the tests.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::{
    Group, MEMORY_LIMIT, api_servers, authentication, clocks, documents, files, http, limits, manifests,
    pods, processes, resources, secrets, tls,
};

/// Fewer would be a table with holes.
const LEAST: usize = 80;

fn groups() -> Vec<Group> {
    vec![
        processes::group(),
        documents::group(),
        limits::group(),
        clocks::group(),
        files::group(),
        http::group(),
        tls::group(),
        manifests::group(),
        pods::group(),
        api_servers::group(),
        authentication::group(),
        secrets::group(),
        resources::group(),
    ]
}

#[test]
fn the_page_of_faults_is_the_table() {
    let groups = groups();
    let (here, elsewhere) =
        (count(&groups, |group| group.here.len()), count(&groups, |group| group.elsewhere.len()));
    assert!(here + elsewhere >= LEAST && here >= elsewhere, "{here} here and {elsewhere} elsewhere");
    let file = root().join("docs/faults.md");
    let page = page(&groups, here + elsewhere);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &page).unwrap();
    }
    assert!(fs::read_to_string(&file).unwrap_or_default() == page, "run with UPDATE_GOLDEN=1");
}

fn count(groups: &[Group], of: impl Fn(&Group) -> usize) -> usize {
    groups.iter().map(of).sum()
}

fn page(groups: &[Group], rows: usize) -> String {
    let mut page = format!(
        "# Faults\n\n\
         Each of these {rows} faults is injected into the real program by a test, which checks what must hold. This page is \
         generated from\nthe tests (`tests/it/faults`); `cargo test --test it faults::` runs those that are marked here, the others \
         are in the test that\nis named.\n\n\
         After every fault that is injected into a running exporter, the same process must answer and collect as before, and \
         have no\nmore threads, files or child processes. Its memory stays below {} MiB all the time, the limit in `deploy/base`.\n",
        MEMORY_LIMIT >> 20
    );
    for group in groups {
        write!(page, "\n## {}\n\n| fault | what holds | test |\n|---|---|---|\n", group.name).unwrap();
        for (fault, holds) in &group.here {
            writeln!(page, "| {fault} | {holds} | here |").unwrap();
        }
        for row in group.elsewhere {
            writeln!(page, "| {} | {} | `{}` |", row.0, row.1, row.2.replace("crate::", "")).unwrap();
        }
    }
    page
}

#[test]
fn rows_are_told_apart() {
    let mut faults = BTreeSet::new();
    for group in groups() {
        let rows = group.here.iter().copied().chain(group.elsewhere.iter().map(|row| (row.0, row.1)));
        for (fault, holds) in rows {
            assert!(faults.insert((group.name, fault)), "{fault} is twice in {}", group.name);
            assert!(
                !fault.is_empty() && !holds.is_empty() && !format!("{fault}{holds}").contains(['|', '\n'])
            );
        }
    }
}

#[test]
fn every_named_test_exists_and_runs() {
    for group in groups() {
        for row in group.elsewhere {
            let test = row.2;
            let (module, name) = test.rsplit_once("::").unwrap();
            let code = source(module).unwrap_or_else(|| panic!("{test}: no such module"));
            let (before, _) =
                code.split_once(&format!("fn {name}(")).unwrap_or_else(|| panic!("{test}: no such test"));
            // The attributes stand between the end of the item before it and its name.
            let attributes =
                &before[before.rfind("\n}\n").or_else(|| before.rfind("}\n\n")).unwrap_or_default()..];
            assert!(
                attributes.contains("#[test]") || attributes.contains("#[tokio::test"),
                "{test} is no test"
            );
            assert!(!attributes.contains("#[ignore"), "{test} is ignored");
        }
    }
}

/// The text of the file with this module: `host::hangs` of tests/it, or `crate::http::auth::tests` of src.
fn source(module: &str) -> Option<String> {
    let (below, module) = match module.strip_prefix("crate::") {
        Some(module) => ("src", module.strip_suffix("::tests").unwrap_or(module)),
        None => ("tests/it", module),
    };
    let path: PathBuf = root().join(below).join(module.replace("::", "/"));
    [path.with_extension("rs"), path.join("tests.rs"), path.join("mod.rs")]
        .into_iter()
        .find_map(|file| fs::read_to_string(file).ok())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
