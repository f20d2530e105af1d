//! New certificates while everything runs: no server ever refuses another.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use super::NAMESPACE;
use crate::support::example::Example;

const AUTHORITY: &str = "cluster-pgbackrest-ca";
const PODS: &str = "cluster-pgbackrest-cert";
const ROOTS: &str = "pgbackrest.ca-roots";
/// Of PostgreSQL's pods, and of the repo host.
const LEAVES: [&str; 2] = ["pgbackrest-client.crt", "pgbackrest-repo-host.crt"];

/// A new authority, in steps: each waits until both servers have loaded the one before.
pub(super) fn of_the_authority(cluster: &Example<'_>) {
    let roots = || stored(cluster, PODS, ROOTS);
    let leaf = || stored(cluster, PODS, LEAVES[0]);
    let (first_roots, first_leaf) = (roots(), leaf());
    cluster.wait("the first certificates to be loaded", || cluster.record("servers-reloaded"));
    patch(cluster, AUTHORITY, &[("ca.key", "lost")]);
    cluster.wait("the new root beside the old one", || (roots() != first_roots).then_some(()));
    assert_eq!(leaf(), first_leaf, "leaves must wait until the new root is trusted everywhere");
    cluster.archive();
    cluster.backup("incr");
    cluster.wait("new leaves", || (leaf() != first_leaf).then_some(()));
    cluster.archive();
    cluster.backup("incr");
    cluster.wait("the old root to be dropped", || {
        let now = roots();
        (now.matches("BEGIN CERTIFICATE").count() == 1 && now != first_roots).then_some(())
    });
    cluster.archive();
    cluster.backup("incr");
}

/// Two thirds of the life of one leaf are over: it alone is made anew.
pub(super) fn of_a_leaf(cluster: &Example<'_>) {
    let [database, repo_host] = LEAVES;
    let (roots, other) = (stored(cluster, PODS, ROOTS), stored(cluster, PODS, repo_host));
    let authority = (stored(cluster, AUTHORITY, "ca.crt"), stored(cluster, AUTHORITY, "ca.key"));
    let (overdue, key) = overdue(&stored(cluster, PODS, database), &authority);
    patch(cluster, PODS, &[(database, &overdue), ("pgbackrest-client.key", &key)]);
    let loaded = cluster.record("servers-reloaded");
    cluster.wait("a new leaf", || (stored(cluster, PODS, database) != overdue).then_some(()));
    assert_ne!(cluster.record("servers-reloaded"), loaded, "it waits until the servers know the one before");
    let before = cluster.record("servers-reloaded");
    cluster.wait("the servers to load it", || (cluster.record("servers-reloaded") != before).then_some(()));
    cluster.archive();
    cluster.backup("incr");
    assert_eq!(stored(cluster, PODS, ROOTS), roots, "the authority is the same");
    assert_eq!((stored(cluster, AUTHORITY, "ca.crt"), stored(cluster, AUTHORITY, "ca.key")), authority);
    assert_eq!(stored(cluster, PODS, repo_host), other, "the other leaf is the same");
}

/// The same certificate again, by the same authority, as if it had been made long ago.
fn overdue(leaf: &str, (authority, authority_key): &(String, String)) -> (String, String) {
    let pem = Pem::iter_from_buffer(leaf.as_bytes()).next().unwrap().unwrap();
    let certificate = pem.parse_x509().unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let hosts: Vec<String> = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(host) => Some((*host).to_owned()),
            _ => None,
        })
        .collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let common_name = certificate.subject().iter_common_name().next().unwrap().as_str().unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::days(70), now + Duration::days(30));
    let issuer = Issuer::from_ca_cert_pem(authority, KeyPair::from_pem(authority_key).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
}

/// Runs it while each side asks the other all the time, on connections of their own.
///
/// # Panics
/// If one of them was refused.
pub(super) fn while_they_speak(cluster: &Example<'_>, run: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let sides = [
        // What PostgreSQL's pod knows of repo1 it has from the repo host.
        (
            "cluster-0",
            "postgres",
            ["pgbackrest", "repo-ls", "--repo=1", "--log-level-console=error"].as_slice(),
        ),
        ("cluster-pgbackrest-repo-host-0", "pgbackrest", &["pgbackrest", "check", "--stanza=db"]),
    ];
    std::thread::scope(|scope| {
        let asking = sides.map(|(pod, container, command)| {
            let over = &over;
            scope.spawn(move || {
                let (mut asked, mut refused) = (0, Vec::new());
                while !over.load(Ordering::SeqCst) {
                    let output = cluster.exec(pod, container, command);
                    asked += 1;
                    if !output.status.success() {
                        refused.push(
                            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
                        );
                    }
                    std::thread::sleep(std::time::Duration::from_secs(1));
                }
                (pod, asked, refused)
            })
        });
        // Whatever becomes of it, they stop.
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        over.store(true, Ordering::SeqCst);
        let told = asking.map(|side| side.join().unwrap());
        if let Err(panic) = end {
            std::panic::resume_unwind(panic);
        }
        for (pod, asked, refused) in told {
            assert!(asked > 5, "{pod} was asked {asked} times");
            assert!(refused.is_empty(), "{pod}, asked {asked} times:\n{}", refused.join("\n"));
        }
    });
}

/// A key of a Secret.
fn stored(cluster: &Example<'_>, name: &str, key: &str) -> String {
    let secret = cluster.kubectl().get(NAMESPACE, "secret", name).unwrap();
    String::from_utf8(STANDARD.decode(secret["data"][key].as_str().unwrap()).unwrap()).unwrap()
}

fn patch(cluster: &Example<'_>, secret: &str, data: &[(&str, &str)]) {
    let data: serde_json::Map<_, _> =
        data.iter().map(|(key, text)| ((*key).to_owned(), json!(text))).collect();
    cluster.patch("secret", secret, &json!({"stringData": data}));
}
