//! The names of all objects of a cluster.
//!
//! The names are those of CPO if Kubernetes accepts them. Longer ones are cut, and end in a hash of the full name of
//! the cluster. A cut name can never equal an uncut one: it ends in the hash, which has neither a dash nor a vowel,
//! and an uncut name ends in a word.

use ring::digest::{SHA256, digest};

use super::validated::RepoNumber;
use crate::pgbackrest::label::BackupType;

/// Kubernetes adds `-` and ten digits to a CronJob's name for its Jobs, which end at 63.
pub const LONGEST_CRON_JOB: usize = 52;

/// Kubernetes adds `-` and a hash of up to ten characters to a StatefulSet's name in a label, which ends at 63.
const LONGEST_STATEFUL_SET: usize = 52;
/// Of most objects.
const LONGEST_OBJECT: usize = 253;

/// The longest cluster name: with `-clusterpods`, it must fit into a DNS label of 63.
pub const LONGEST_CLUSTER: usize = 51;

/// The longest name of a restore test: that of its CronJob must not be too long.
pub const LONGEST_RESTORE_TEST: usize = LONGEST_CRON_JOB - RESTORE_TEST.len();

const RESTORE_TEST: &str = "restore-test-";

const HASH: usize = 9;

/// pgBackRest reads every `*.conf` here: the ConfigMap, and the Secret of the resource.
pub const CONFIGURATION_DIRECTORY: &str = "/etc/pgbackrest/conf.d";

/// The key of both configuration ConfigMaps.
pub const CONFIGURATION_KEY: &str = "pgbackrest_instance.conf";

/// `pgbackrest-<cluster>-<repo>-<type>`, or with a hash when that is longer than 52 characters.
#[must_use]
pub fn cron_job(cluster: &str, repo: RepoNumber, backup_type: BackupType) -> String {
    let tail = format!("-{repo}-{}", backup_type.as_str());
    fitted("pgbackrest-", cluster, &tail, &tail, LONGEST_CRON_JOB)
}

/// The Job of one backup outside of the schedule. `token` distinguishes requests, such as the value of the
/// annotation. At most 62 characters.
#[must_use]
pub fn one_time_job(cluster: &str, repo: RepoNumber, backup_type: BackupType, token: &str) -> String {
    format!("{}-{}", cron_job(cluster, repo, backup_type), hash(token))
}

/// `pgbackrest-<cluster>-verify`: the CronJob that verifies the repos.
#[must_use]
pub fn verify_cron_job(cluster: &str) -> String {
    let tail = "-verify";
    fitted("pgbackrest-", cluster, tail, tail, LONGEST_CRON_JOB)
}

/// The ConfigMap with the results of verifications.
#[must_use]
pub fn verification_results(cluster: &str) -> String {
    format!("{cluster}-pgbackrest-verifications")
}

/// The StatefulSet of the repo host.
#[must_use]
pub fn repo_host(cluster: &str) -> String {
    fitted("", cluster, "-pgbackrest-repo-host", "-pgbackrest-repo", LONGEST_STATEFUL_SET)
}

/// The pod of the repo host.
#[must_use]
pub fn repo_host_pod(cluster: &str) -> String {
    format!("{}-0", repo_host(cluster))
}

/// The volume claim of a repo, with the name that CPO's StatefulSet would give it. Never cut, so that CPO's volumes
/// are found.
#[must_use]
pub fn volume_claim(cluster: &str, repo: RepoNumber) -> String {
    format!("{repo}-{cluster}-pgbackrest-repo-host-0")
}

/// The mount path of a repo's volume on the repo host, which is also its path for pgBackRest.
#[must_use]
pub fn volume_mount(repo: RepoNumber) -> String {
    format!("/data/pgbackrest/{repo}")
}

/// The ConfigMap for PostgreSQL's pods.
#[must_use]
pub fn instance_configuration(cluster: &str) -> String {
    format!("{cluster}-pgbackrest-config")
}

/// The ConfigMap for the repo host.
#[must_use]
pub fn repo_host_configuration(cluster: &str) -> String {
    format!("{cluster}-pgbackrest-repohost-config")
}

/// The Secret with the certificates that both sides of the repo host mount.
#[must_use]
pub fn certificates(cluster: &str) -> String {
    format!("{cluster}-pgbackrest-cert")
}

/// The Secret with the key of the certificate authority, which no pod mounts.
#[must_use]
pub fn certificate_authority(cluster: &str) -> String {
    format!("{cluster}-pgbackrest-ca")
}

/// The headless Service for the DNS names of the pods.
#[must_use]
pub fn pods_service(cluster: &str) -> String {
    format!("{cluster}-clusterpods")
}

/// The ServiceAccount, Role and RoleBinding of the backup jobs.
#[must_use]
pub fn backup_account(cluster: &str) -> String {
    format!("{cluster}-pgbackrest-backup")
}

/// The ServiceAccount and the NetworkPolicy of the repo host.
#[must_use]
pub fn repo_host_account(cluster: &str) -> String {
    format!("{cluster}-pgbackrest-repo-host")
}

/// The CronJob of a restore test, and the NetworkPolicy of its pods.
#[must_use]
pub fn restore_test(name: &str) -> String {
    format!("{RESTORE_TEST}{name}")
}

/// The Job of one test outside of the schedule. `token` distinguishes requests. At most 60 characters.
#[must_use]
pub fn restore_test_job(name: &str, token: &str) -> String {
    format!("{}-{}", restore_test(name), hash(token))
}

/// The NetworkPolicy that lets the pods of a restore test reach a repo host.
#[must_use]
pub fn restore_test_repo_host(name: &str) -> String {
    format!("{RESTORE_TEST}{name}-repo-host")
}

/// PostgreSQL's pod number `index`, from 0.
#[must_use]
pub fn database_pod(cluster: &str, index: u32) -> String {
    format!("{cluster}-{index}")
}

/// Whether Kubernetes takes this as the name of a Secret, a storage class and most other objects: a DNS-1123 subdomain.
#[must_use]
pub fn is_object_name(text: &str) -> bool {
    text.len() <= LONGEST_OBJECT && text.split('.').all(|label| is_dns_label(label, LONGEST_OBJECT))
}

/// Whether this is a DNS-1123 label of at most this many characters.
#[must_use]
pub fn is_dns_label(text: &str, longest: usize) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty()
        && text.len() <= longest
        && text.chars().all(inside)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether this is the reference of an image: `registry:port/path/name:tag@digest`, as the kubelet takes it
/// (github.com/distribution/reference).
#[must_use]
pub fn is_image(text: &str) -> bool {
    let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    let (registry, rest) = match rest.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
        _ => (None, rest),
    };
    let (path, tag) = rest.split_once(':').map_or((rest, None), |(path, tag)| (path, Some(tag)));
    let is_word = |part: &str, more: &str| {
        let alphanumeric = |c: char| c.is_ascii_alphanumeric();
        part.chars().all(|c| alphanumeric(c) || more.contains(c))
            && part.starts_with(alphanumeric)
            && part.ends_with(alphanumeric)
    };
    let is_name = |part: &str| is_word(part, "._-") && !part.contains(|c: char| c.is_ascii_uppercase());
    let is_tag = |tag: &str| {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || ".-".contains(c))
    };
    let is_digest = |digest: &str| {
        digest.split_once(':').is_some_and(|(kind, hex)| {
            is_word(kind, "+.-_") && hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit())
        })
    };
    let is_registry = |registry: &str| {
        let (host, port) = registry.rsplit_once(':').unwrap_or((registry, "0"));
        is_word(host, ".-") && !port.is_empty() && port.chars().all(|c| c.is_ascii_digit())
    };
    registry.is_none_or(is_registry)
        && path.split('/').all(is_name)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest)
}

/// The DNS name of a pod of the cluster.
#[must_use]
pub fn pod_host(pod: &str, cluster: &str, namespace: &str, domain: &str) -> String {
    format!("{pod}.{}.{namespace}.svc.{domain}", pods_service(cluster))
}

/// Whether any object of the cluster has a cut name.
#[must_use]
pub fn shortens(cluster: &str, with_repo_host: bool) -> bool {
    let fixed = "pgbackrest--repo1-full".len();
    cluster.len() + fixed > LONGEST_CRON_JOB
        || with_repo_host && cluster.len() + "-pgbackrest-repo-host".len() > LONGEST_STATEFUL_SET
}

/// `head + cluster + tail`, or `head + start of cluster + cut_tail + '-' + hash` if that is too long.
fn fitted(head: &str, cluster: &str, tail: &str, cut_tail: &str, longest: usize) -> String {
    if head.len() + cluster.len() + tail.len() <= longest {
        return format!("{head}{cluster}{tail}");
    }
    let room = longest.saturating_sub(head.len() + cut_tail.len() + 1 + HASH);
    let start: String = cluster.chars().take(room).collect();
    format!("{head}{}{cut_tail}-{}", start.trim_end_matches('-'), hash(cluster))
}

/// Nine of 27 letters and digits, about 42 bits; without vowels, it forms no words.
fn hash(text: &str) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut value = digest(&SHA256, text.as_bytes())
        .as_ref()
        .iter()
        .take(8)
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let mut out = String::with_capacity(HASH);
    for _ in 0..HASH {
        let digit = usize::try_from(value % 27).unwrap_or_default();
        out.push(ALPHABET.get(digit).copied().unwrap_or(b'b').into());
        value /= 27;
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn images_are_recognized() {
        let digest = "sha256:2d45e6a1d0d8b5c4f4b1e0c0a3b2f1e0d9c8b7a695847362514039281706f5e4";
        for image in [
            "i",
            "pgbackrest:2",
            "registry.example/pgbackrest:2.58",
            "registry.example:5000/team/pgbackrest:v2.58.0-1_a",
            "localhost/pgbackrest",
            &format!("registry.example/pgbackrest@{digest}"),
            &format!("registry.example/pgbackrest:2.58@{digest}"),
        ] {
            assert!(is_image(image), "{image}");
        }
        for image in [
            "",
            "registry.example/pgbackrest:2.58\"",
            "'registry.example/pgbackrest:2.58'",
            "registry.example/pgbackrest: 2.58",
            "registry.example/PgBackRest:2.58",
            "registry.example/pgbackrest:",
            "registry.example//pgbackrest",
            "registry.example/pgbackrest@sha256:xyz",
            "https://registry.example/pgbackrest",
            "registry.example/pgbackrest:${VERSION}",
        ] {
            assert!(!is_image(image), "{image}");
        }
    }

    #[test]
    fn what_would_change_a_url_is_no_name() {
        for name in ["a", "orders-vault", "a.b-c.d2", "1"] {
            assert!(is_object_name(name), "{name}");
        }
        let long = "a".repeat(254);
        for name in [
            "",
            ".",
            "..",
            "../../good/secrets/s",
            "s?watch=true",
            "s#f",
            "a/b",
            "a%2Fb",
            "A",
            "a_b",
            "-a",
            "a-",
            "a..b",
            "a b",
            "a\n",
            &long,
        ] {
            assert!(!is_object_name(name), "{name}");
        }
    }

    fn repos() -> impl Iterator<Item = RepoNumber> {
        (1..=4).map(|number| RepoNumber::of_name(&format!("repo{number}")).unwrap())
    }

    fn cron_jobs(cluster: &str) -> Vec<String> {
        repos()
            .flat_map(|repo| BackupType::ALL.map(|backup_type| cron_job(cluster, repo, backup_type)))
            .collect()
    }

    #[test]
    fn short_names_are_those_of_cpo() {
        let repo1 = repos().next().unwrap();
        assert_eq!(cron_job("cluster", repo1, BackupType::Full), "pgbackrest-cluster-repo1-full");
        assert_eq!(repo_host("cluster"), "cluster-pgbackrest-repo-host");
        assert_eq!(volume_claim("cluster", repo1), "repo1-cluster-pgbackrest-repo-host-0");
        assert_eq!(
            pod_host("cluster-0", "cluster", "cpo", "cluster.local"),
            "cluster-0.cluster-clusterpods.cpo.svc.cluster.local"
        );
        let longest_whole = "a".repeat(30);
        assert_eq!(
            cron_job(&longest_whole, repo1, BackupType::Incr),
            format!("pgbackrest-{longest_whole}-repo1-incr")
        );
    }

    #[test]
    fn long_names_end_in_a_hash() {
        let repo1 = repos().next().unwrap();
        let name = cron_job("warehouse-of-the-eastern-region-2", repo1, BackupType::Full);
        assert_eq!(name.len(), 52);
        assert!(name.starts_with("pgbackrest-warehouse-of-the-eas"), "{name}");
        assert!(name.contains("-repo1-full-"), "{name}");
        assert!(one_time_job(&"a".repeat(51), repo1, BackupType::Full, "full@repo1").len() <= 63);
    }

    #[test]
    fn names_with_a_common_start_stay_apart() {
        let mut seen = HashMap::new();
        for length in 1..=51 {
            for last in ["a", "b", "0", "9"] {
                let cluster = format!("{}{last}", "x".repeat(length - 1));
                for name in cron_jobs(&cluster).into_iter().chain([repo_host(&cluster)]) {
                    assert!(name.len() <= 52, "{name}");
                    if let Some(other) = seen.insert(name.clone(), cluster.clone()) {
                        assert_eq!(other, cluster, "{name}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_two_clusters_share_a_name(a in "[a-z][-a-z0-9]{0,49}[a-z0-9]", b in "[a-z][-a-z0-9]{0,49}[a-z0-9]") {
            prop_assume!(a != b);
            let ours = cron_jobs(&a);
            prop_assert!(cron_jobs(&b).iter().all(|name| !ours.contains(name)));
            prop_assert_ne!(repo_host(&a), repo_host(&b));
            prop_assert!(ours.iter().all(|name| name.len() <= LONGEST_CRON_JOB));
        }

        /// A cluster that is named after a cut name of another one does not meet it.
        #[test]
        fn a_cut_name_is_nobodys_whole_name(a in "[a-z]{31,51}") {
            for name in cron_jobs(&a) {
                let middle = name.strip_prefix("pgbackrest-").unwrap_or_default();
                for cut in 1..middle.len() {
                    prop_assert!(!cron_jobs(&middle[..cut]).contains(&name));
                }
            }
        }
    }
}
