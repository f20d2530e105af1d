//! docs/check.md lists every service, every threshold, and every alert that has no check.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use pgbackrest_keeper::check::services;

#[test]
fn the_page_of_checks_lists_services_thresholds_and_alerts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("docs/check.md");
    let before = fs::read_to_string(&path).unwrap();
    let mut page = before.clone();
    for (name, text) in [
        ("services", services_table()),
        ("quantities", quantities_table()),
        ("not-checked", not_checked(&fs::read_to_string(root.join("alerts/pgbackrest.rules.yml")).unwrap())),
    ] {
        page = replaced(&page, name, &text);
    }
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, page).unwrap();
        return;
    }
    assert!(before == page, "docs/check.md is not what the services say; run with UPDATE_GOLDEN=1");
}

fn replaced(page: &str, name: &str, text: &str) -> String {
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = page.split_once(&start).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{start}{text}{end}{after}")
}

fn services_table() -> String {
    let mut text = "| service | checks |\n|---|---|\n".to_owned();
    for service in services::ALL {
        writeln!(text, "| `{}` | {} |", service.name, service.about).unwrap();
    }
    text
}

fn quantities_table() -> String {
    let mut text = "| service | name | what | warning | critical |\n|---|---|---|---|---|\n".to_owned();
    for service in services::ALL {
        for quantity in service.quantities {
            let threshold = |text: Option<&str>| text.map_or_else(String::new, |text| format!("`{text}`"));
            let (warning, critical) = (threshold(quantity.warning), threshold(quantity.critical));
            let (service, name, about) = (service.name, quantity.name, quantity.about);
            writeln!(text, "| `{service}` | `{name}` | {about} | {warning} | {critical} |").unwrap();
        }
    }
    text
}

fn not_checked(rules: &str) -> String {
    let checked: BTreeSet<&str> =
        services::ALL.iter().flat_map(|service| service.alerts.iter().copied()).collect();
    let all: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let left: Vec<String> = all.difference(&checked).map(|alert| link(alert)).collect();
    format!("{}.\n", left.join(", "))
}

fn link(alert: &str) -> String {
    format!("[{alert}](runbooks/{alert}.md)")
}
