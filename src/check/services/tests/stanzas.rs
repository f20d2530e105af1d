//! What a report says about each stanza.

use super::*;
use crate::check::facts::Place;
use crate::check::stanzas;

/// Otherwise what could not be listed would count as removed.
#[test]
fn where_stanzas_could_not_be_listed_they_may_exist() {
    let (listed, failed) =
        (healthy(1.0), "pgbackrest_collector_up{collector=\"info\",stanza=\"all-stanzas\"} 0\n");
    assert_eq!(stanzas::unlisted(&facts(&listed)), []);
    let failed = facts(&format!("{listed}{failed}"));
    let [place] = &stanzas::unlisted(&failed)[..] else { panic!("{failed:?}") };
    assert!(place.concerns(&Place::stanza("gone")));
}

#[test]
fn problems_of_all_stanzas_are_problems_of_each() {
    let other = healthy(3600.0).replace("stanza=\"demo\"", "stanza=\"crm\"");
    let text = format!(
        "{}{other}pgbackrest_collector_up{{collector=\"info\",stanza=\"all-stanzas\"}} 0\n",
        healthy(9.0 * 86_400.0)
    );
    let severities = |text: &str, services: &[&str]| -> Vec<(String, Vec<Severity>)> {
        let facts = facts(text);
        let report = of(services, &Limits::default(), text);
        let found = stanzas::by_stanza(&report, &facts);
        found
            .into_iter()
            .map(|(place, problems)| {
                (place.to_string(), problems.iter().map(|problem| problem.severity).collect())
            })
            .collect()
    };
    assert_eq!(
        severities(&text, &["backups"]),
        [
            ("crm".to_owned(), vec![Severity::Unknown]),
            ("demo".to_owned(), vec![Severity::Critical, Severity::Unknown, Severity::Warning]),
        ]
    );
    assert_eq!(severities(&healthy(1.0), &["wal"]), [("demo".to_owned(), vec![])]);
    // What is known of nothing is a problem of its own.
    let nothing = "pgbackrest_collector_up{collector=\"info\",stanza=\"all-stanzas\"} 0\n";
    assert_eq!(severities(nothing, &["collection"]), [("all-stanzas".to_owned(), vec![Severity::Unknown])]);
    // As `check` for this stanza alone.
    for stanza in ["demo", "crm"] {
        let mut facts = facts(&text);
        let filter = Filter::new(&[stanza.to_owned()], &[], None, None, &[]).unwrap();
        facts.select(Selection { filter, clusters: Vec::new() });
        for service in ALL {
            let alone = judge(&question(&[service], &Limits::default()), &facts, NOW).severity();
            let worst =
                severities(&text, &[service.name]).into_iter().find(|(name, _)| name == stanza).unwrap().1;
            assert_eq!(worst.first().copied().unwrap_or(Severity::Ok), alone, "{stanza} {}", service.name);
        }
    }
}
