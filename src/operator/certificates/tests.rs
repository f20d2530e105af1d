//! Walks through the years: nothing breaks a connection, and nothing is made without need.

use chrono::TimeDelta;
use serde_json::json;

use super::*;
use crate::cluster::references::References;
use crate::cluster::validate;

fn cluster(name: &str) -> ValidatedCluster {
    let document = json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1", "kind": "postgresql",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"numberOfInstances": 2, "postgresql": {"version": "15"}, "teamId": "x", "volume": {"size": "1Gi"},
            "backup": {"pgbackrest": {"image": "pgbackrest:1", "global": {"repo1-retention-full": "3"},
                "repos": [{"name": "repo1", "storage": "pvc", "volume": {"size": "1Gi"}}]}}},
    });
    let (cluster, findings) = validate::document(document, &References::default(), &Settings::default());
    cluster.unwrap_or_else(|| panic!("{findings:?}"))
}

fn start() -> DateTime<Utc> {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn stored(pem: &CertificatePem) -> Stored {
    let data = |files: &[(&str, &str)]| {
        files.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec())).collect()
    };
    Stored {
        authority: data(&[
            (AUTHORITY_CERTIFICATE, &pem.authority_certificate),
            (AUTHORITY_KEY, &pem.authority_key),
        ]),
        pods: data(&[
            (ROOTS, &pem.roots),
            (Side::Database.certificate(), &pem.database_certificate),
            (Side::Database.key(), &pem.database_key),
            (Side::RepoHost.certificate(), &pem.repo_host_certificate),
            (Side::RepoHost.key(), &pem.repo_host_key),
        ]),
    }
}

fn again(pem: &CertificatePem, reloaded: bool, now: DateTime<Utc>) -> Certificates {
    renew(&cluster("ledger"), &Settings::default(), Some(&stored(pem)), reloaded, now).unwrap()
}

fn reasons(certificates: &Certificates) -> Vec<&'static str> {
    certificates.actions.iter().map(|action| action.reason).collect()
}

/// Whether a server with the files `ours` and a client with the files `theirs` accept each other, both ways.
fn agree(ours: &CertificatePem, theirs: &CertificatePem) -> bool {
    let trusts = |roots: &str, leaf: &str| {
        read::split(roots).iter().any(|root| Leaf::read(leaf).unwrap().is_issued_by(root))
    };
    trusts(&ours.roots, &theirs.database_certificate) && trusts(&theirs.roots, &ours.repo_host_certificate)
}

#[test]
fn the_first_ones_are_whole_and_stay() {
    let first = renew(&cluster("ledger"), &Settings::default(), None, false, start()).unwrap();
    assert_eq!(reasons(&first), ["CertificatesCreated"]);
    assert!(agree(&first.pem, &first.pem));
    for reloaded in [false, true] {
        let second = again(&first.pem, reloaded, start() + TimeDelta::days(200));
        assert!(second.actions.is_empty(), "{:?}", second.actions);
        assert!(second.pem == first.pem);
        assert_eq!(second.next, first.next);
    }
    let leaf = Leaf::read(&first.pem.database_certificate).unwrap();
    assert_eq!(first.next, leaf.life.due());
    let names = Subject::of(&cluster("ledger"), &Settings::default()).host_names;
    assert_eq!(
        names,
        [
            "*.ledger-clusterpods.shop.svc.cluster.local",
            "ledger-pgbackrest-repo-host-0.ledger-clusterpods.shop.svc.cluster.local",
            "localhost"
        ]
    );
}

#[test]
fn a_leaf_is_renewed_at_two_thirds_by_the_same_authority() {
    let first = renew(&cluster("ledger"), &Settings::default(), None, false, start()).unwrap();
    let renewed = again(&first.pem, true, first.next);
    assert_eq!(reasons(&renewed), ["CertificatesRenewed", "CertificatesRenewed"]);
    assert_eq!(renewed.pem.roots, first.pem.roots);
    assert_ne!(renewed.pem.database_certificate, first.pem.database_certificate);
    assert!(agree(&first.pem, &renewed.pem) && agree(&renewed.pem, &first.pem));
}

#[test]
fn an_authority_is_replaced_in_steps_that_wait_for_every_server() {
    let first = renew(&cluster("ledger"), &Settings::default(), None, false, start()).unwrap();
    let due = Root::read(&first.pem.authority_certificate).unwrap().life.due();
    // Leaves of that time, so that only the authority is due.
    let before = again(&first.pem, true, due - TimeDelta::days(10)).pem;

    let both = again(&before, true, due);
    assert_eq!(reasons(&both), ["CertificateAuthorityRenewed"]);
    assert_eq!(read::split(&both.pem.roots).len(), 2);
    assert_eq!(both.pem.database_certificate, before.database_certificate);

    // Not every server has loaded it: nothing more happens, however often it is asked.
    let waiting = again(&both.pem, false, due + TimeDelta::days(1));
    assert!(waiting.actions.is_empty() && waiting.pem == both.pem, "{:?}", waiting.actions);

    let leaves = again(&both.pem, true, due + TimeDelta::days(1));
    assert_eq!(reasons(&leaves), ["CertificatesRenewed", "CertificatesRenewed"]);
    assert_eq!(read::split(&leaves.pem.roots).len(), 2, "servers still show the old leaves");

    let waiting = again(&leaves.pem, false, due + TimeDelta::days(2));
    assert!(waiting.actions.is_empty() && waiting.pem == leaves.pem, "{:?}", waiting.actions);

    let last = again(&leaves.pem, true, due + TimeDelta::days(2));
    assert_eq!(reasons(&last), ["CertificateAuthorityRetired"]);
    assert_eq!(read::split(&last.pem.roots), [last.pem.authority_certificate.trim()]);

    let steps = [&before, &both.pem, &leaves.pem, &last.pem];
    for pair in steps.windows(2) {
        assert!(agree(pair[0], pair[1]) && agree(pair[1], pair[0]));
    }
    assert!(!agree(&before, &last.pem), "or the steps would not be needed");
}

/// Reloads lag behind, the clock goes on in odd steps, the operator restarts at each.
#[test]
fn neighbours_in_time_always_agree_through_twenty_five_years() {
    let mut now = start();
    let mut pem = renew(&cluster("ledger"), &Settings::default(), None, false, now).unwrap().pem;
    let mut loaded = pem.clone();
    let mut authorities = 0;
    for step in 0..1300 {
        now += TimeDelta::days(7);
        // Every third week the servers hear of nothing.
        let reloaded = loaded == pem;
        let made = again(&pem, reloaded, now);
        authorities +=
            reasons(&made).iter().filter(|reason| **reason == "CertificateAuthorityRenewed").count();
        assert!(agree(&made.pem, &loaded) && agree(&loaded, &made.pem), "{now}: {:?}", made.actions);
        assert!(made.next > now, "{now}: the next look is due at {}", made.next);
        for (what, end) in &made.expiries {
            assert!(*end > now + TimeDelta::days(60), "{what} ends at {end}, and it is {now}");
        }
        pem = made.pem;
        if step % 3 != 0 {
            loaded = pem.clone();
        }
    }
    assert!(authorities >= 3, "{authorities}");
}

type Damage = fn(&mut CertificatePem, &CertificatePem);

#[test]
fn what_is_damaged_is_made_anew() {
    let first = renew(&cluster("ledger"), &Settings::default(), None, false, start()).unwrap().pem;
    let other = renew(&cluster("other"), &Settings::default(), None, false, start()).unwrap().pem;
    let damages: [(&str, Damage, &[&str]); 5] = [
        (
            "key of another",
            |pem, other| pem.database_key.clone_from(&other.database_key),
            &["CertificatesRenewed"],
        ),
        ("no text", |pem, _| pem.repo_host_certificate = "x".to_owned(), &["CertificatesRenewed"]),
        (
            "leaf of another authority",
            |pem, other| {
                pem.repo_host_certificate.clone_from(&other.repo_host_certificate);
                pem.repo_host_key.clone_from(&other.repo_host_key);
            },
            &["CertificatesRenewed"],
        ),
        (
            "authority without its key",
            |pem, other| pem.authority_key.clone_from(&other.authority_key),
            &["CertificateAuthorityRenewed"],
        ),
        ("roots lost", |pem, _| pem.roots.clear(), &["CertificatesRenewed", "CertificatesRenewed"]),
    ];
    for (name, damage, expected) in damages {
        let mut pem = first.clone();
        damage(&mut pem, &other);
        let mended = again(&pem, false, start());
        assert_eq!(reasons(&mended), expected, "{name}");
        let settled = again(&mended.pem, false, start());
        assert!(settled.actions.is_empty(), "{name}: {:?}", settled.actions);
    }
    let renamed =
        renew(&cluster("other"), &Settings::default(), Some(&stored(&first)), true, start()).unwrap();
    assert_eq!(reasons(&renamed), ["CertificatesRenewed", "CertificatesRenewed"]);
}

#[test]
fn one_key_that_is_lost_breaks_no_connection() {
    let first = renew(&cluster("ledger"), &Settings::default(), None, false, start()).unwrap().pem;
    let mut without_authority = stored(&first);
    without_authority.authority.clear();
    assert!(without_authority.pem().is_none());
    let mended =
        renew(&cluster("ledger"), &Settings::default(), Some(&without_authority), true, start()).unwrap();
    assert_eq!(reasons(&mended), ["CertificateAuthorityRenewed"]);
    assert!(agree(&first, &mended.pem) && agree(&mended.pem, &first));
    assert_eq!(mended.pem.database_certificate, first.database_certificate);
    let mut without_leaf = stored(&first);
    without_leaf.pods.remove(Side::Database.certificate());
    let mended = renew(&cluster("ledger"), &Settings::default(), Some(&without_leaf), true, start()).unwrap();
    assert_eq!(reasons(&mended), ["CertificatesRenewed"]);
    assert!(agree(&first, &mended.pem) && agree(&mended.pem, &first));
    let nothing = Stored::default();
    let made = renew(&cluster("ledger"), &Settings::default(), Some(&nothing), true, start()).unwrap();
    assert_eq!(reasons(&made), ["CertificatesCreated"]);
}

#[test]
fn what_a_clock_that_was_ahead_has_made_is_replaced() {
    let ahead = start() + TimeDelta::days(30);
    let early = renew(&cluster("ledger"), &Settings::default(), None, false, ahead).unwrap().pem;
    let mended = again(&early, false, start());
    let expected = ["CertificateAuthorityRenewed", "CertificatesRenewed", "CertificatesRenewed"];
    assert_eq!(reasons(&mended), expected);
}
