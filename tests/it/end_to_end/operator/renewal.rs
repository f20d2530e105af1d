//! Certificates are renewed while everything is running, and no server rejects another one.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
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
    let before = reloads(cluster);
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
    cluster.wait("each step to be loaded", || (reloads(cluster) >= before + 3).then_some(()));
    cluster.archive();
    cluster.backup("incr");
}

/// Two thirds of the life of one leaf are over: it alone is made anew.
pub(super) fn of_a_leaf(cluster: &Example<'_>) {
    let [database, repo_host] = LEAVES;
    let (roots, other) = (stored(cluster, PODS, ROOTS), stored(cluster, PODS, repo_host));
    let authority = (stored(cluster, AUTHORITY, "ca.crt"), stored(cluster, AUTHORITY, "ca.key"));
    let first = stored(cluster, PODS, database);
    let (overdue, key) = overdue(&first, &authority);
    let (loaded, before) = (cluster.record("servers-reloaded"), reloads(cluster));
    patch(cluster, PODS, &[(database, &overdue), ("pgbackrest-client.key", &key)]);
    cluster.wait("a new leaf", || (stored(cluster, PODS, database) != overdue).then_some(()));
    assert_ne!(stored(cluster, PODS, database), first);
    assert_ne!(cluster.record("servers-reloaded"), loaded, "it waits until the servers know the one before");
    cluster.wait("the servers to load both", || (reloads(cluster) >= before + 2).then_some(()));
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
                    let began = Utc::now();
                    let output = cluster.exec(pod, container, command);
                    asked += 1;
                    if !output.status.success() {
                        let said =
                            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
                        refused.push(Refusal { began, ended: Utc::now(), said });
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
        let falls: Vec<_> = sides.iter().filter_map(|(pod, ..)| fell_at(cluster, pod)).collect();
        for (pod, asked, mut refused) in told {
            assert!(asked > 5, "{pod} was asked {asked} times");
            refused.retain(|refusal| !falls.iter().any(|at| refusal.is_of(*at)));
            assert!(refused.is_empty(), "{pod}, asked {asked} times: {refused:#?}\n{}", cluster.state());
        }
    });
}

/// An answer that did not come.
#[derive(Debug)]
struct Refusal {
    began: DateTime<Utc>,
    ended: DateTime<Utc>,
    #[allow(dead_code, reason = "for the reader of a failed test")]
    said: String,
}

impl Refusal {
    /// It came while a server that ended then was started again.
    fn is_of(&self, fall: DateTime<Utc>) -> bool {
        self.began < fall + TimeDelta::seconds(15) && self.ended > fall - TimeDelta::seconds(2)
    }
}

/// When a server last ended by a defect of pgBackRest 2.45 (2.55 has it no more): on SIGHUP it binds its port anew, and cannot
/// while a connection begins.
fn fell_at(cluster: &Example<'_>, pod: &str) -> Option<DateTime<Utc>> {
    let log = ["--namespace", NAMESPACE, "logs", pod, "--container=pgbackrest", "--previous"];
    let log = cluster.kubectl().output(&log).stdout;
    if !String::from_utf8_lossy(&log).contains("unable to bind socket: [98]") {
        return None;
    }
    let pod = cluster.kubectl().get(NAMESPACE, "pod", pod)?;
    let containers = pod["status"]["containerStatuses"].as_array()?;
    let server = containers.iter().find(|container| container["name"] == "pgbackrest")?;
    let at = server["lastState"]["terminated"]["finishedAt"].as_str()?.parse().ok()?;
    println!(
        "renewal: pgBackRest's server ended at {at}, as 2.45 does when a connection begins amid a SIGHUP"
    );
    Some(at)
}

/// How often the operator has told that the servers have loaded something.
fn reloads(cluster: &Example<'_>) -> i64 {
    let asked = ["--namespace", NAMESPACE, "get", "events", "--output=json"];
    let asked = [&asked[..], &["--field-selector=reason=ServersReloaded"]].concat();
    let events: serde_json::Value = serde_json::from_str(&cluster.kubectl().run(&asked)).unwrap();
    let times = |event: &serde_json::Value| event["series"]["count"].as_i64().unwrap_or(1);
    events["items"].as_array().unwrap().iter().map(times).sum()
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
