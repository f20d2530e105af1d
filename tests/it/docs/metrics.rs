//! docs/metrics.md matches the catalogue.

use std::env;
use std::fs;
use std::path::Path;

use pgbackrest_keeper::metrics::docs;

#[test]
fn the_page_of_metrics_is_generated_from_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = docs::markdown();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, page).unwrap();
        return;
    }
    let stands = fs::read_to_string(&path).unwrap_or_default();
    assert!(stands == page, "docs/metrics.md is not what the catalogue says; run with UPDATE_GOLDEN=1");
}
