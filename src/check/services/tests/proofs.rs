//! What was never tried.

use super::*;

/// A demand for a proof must not be answered with "nothing is wrong" because nothing was tried.
#[test]
fn a_proof_that_is_demanded_must_exist() {
    let repo = "repo_key=\"1\",stanza=\"demo\"";
    let recorded = |kind: &str, success: Option<f64>| {
        let mut text = healthy(3600.0);
        let mut add = |name: &str, age: f64| {
            writeln!(text, "pgbackrest_{kind}_{name}_timestamp_seconds{{{repo}}} {}", NOW - age).unwrap();
        };
        add("last_start", 3600.0);
        add("oldest_start", 86_400.0);
        if let Some(age) = success {
            add("last_success", age);
        }
        text
    };
    let judged = |service: &str, limits: &Limits, demands_proof: bool, text: &str| {
        let services: Vec<_> = ALL.iter().copied().filter(|known| known.name == service).collect();
        let question =
            Question { services: &services, limits, ignored: &[], expects_scan: false, demands_proof };
        said(&judge(&question, &facts(text), NOW))
    };
    let usual = Limits::default();
    for (service, kind, name) in
        [("restore-test", "restore_test", "restore test"), ("verify", "verify", "verification")]
    {
        let set = format!("{service}-success-age=30d");
        let set = limits(&[(&set, Level::Critical)]);
        let none = [format!("UNKNOWN demo: no {name} that passed is on record")];
        for text in [healthy(3600.0), recorded(kind, None)] {
            assert_eq!(judged(service, &usual, false, &text), [""; 0]);
            assert_eq!(judged(service, &set, false, &text), none);
            assert_eq!(judged(service, &usual, true, &text), none);
        }
        for demands_proof in [false, true] {
            let fresh = recorded(kind, Some(86_400.0));
            assert_eq!(judged(service, &set, demands_proof, &fresh), [""; 0]);
            assert_eq!(
                judged(service, &set, demands_proof, &recorded(kind, Some(31.0 * 86_400.0))),
                [format!("CRITICAL demo: the last {name} that passed was 31 d ago (expected: at most 30 d)")]
            );
        }
        let age = format!("{service}-age=30d");
        let age = limits(&[(&age, Level::Critical)]);
        assert_eq!(
            judged(service, &age, false, &healthy(1.0)),
            [format!("UNKNOWN demo: no {name} is on record")]
        );
    }
    let proven = healthy(3600.0);
    assert_eq!(judged("wal", &usual, true, &proven), [""; 0]);
    let unproven = proven.replace(
        "window_verified{repo_key=\"1\",stanza=\"demo\"} 1",
        "window_verified{repo_key=\"1\",stanza=\"demo\"} 0",
    );
    assert_eq!(judged("wal", &usual, false, &unproven), [""; 0]);
    assert_eq!(judged("wal", &usual, true, &unproven), ["UNKNOWN demo repo1: no recovery window is proven"]);
    let unscanned: String =
        proven.lines().filter(|line| !line.contains("_wal_listed_")).flat_map(|line| [line, "\n"]).collect();
    assert_eq!(judged("wal", &usual, false, &unscanned), [""; 0]);
    assert_eq!(
        judged("wal", &usual, true, &unscanned),
        ["UNKNOWN demo repo1: its WAL archive was not scanned"]
    );
}
