//! No value of a secret option is kept or told, line ends do not matter, and every question has an answer or a short reason.

use pgbackrest_keeper::pgbackrest::conf::{Conf, ConfError, HostOption};

const FILE: &str = "pgbackrest.conf";
const PLANTED: &str = "Planted+4711/Secret";
/// Options of pgBackRest whose values are secrets.
const SECRET: [&str; 7] = [
    "repo1-azure-key",
    "repo1-cipher-pass",
    "repo1-gcs-key",
    "repo1-s3-key",
    "repo1-s3-key-secret",
    "repo1-s3-token",
    "repo1-sftp-private-key-passphrase",
];
/// Options that are kept, where a secret may be by mistake.
const MISTAKEN: [&str; 4] =
    ["archive-push-queue-max", "repo1-host-type", "repo1-retention-full", "repo1-type"];

pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let read = Conf::parse(&[(FILE, &text)]);
    assert_eq!(Conf::parse(&[(FILE, &text.replace('\n', "\r\n"))]), read);
    keeps_no_secret(&text);
    let conf = match read {
        Ok(conf) => conf,
        Err(error) => {
            assert!(error.line.is_some_and(|line| (1..=text.split('\n').count()).contains(&line)));
            return is_short(&error);
        }
    };
    assert_eq!(Conf::default().including(conf.clone()), conf);
    let stanzas = conf.stanzas();
    assert!(stanzas.is_sorted() && conf.stanzas_apart().iter().all(|stanza| stanzas.contains(stanza)));
    assert!(!conf.repo_keys().is_empty());
    for stanza in stanzas {
        for key in conf.repo_keys_of(Some(stanza)) {
            let _ = conf.repo_options(stanza, key).inspect_err(is_short);
        }
        let _ = conf.host_option(stanza, HostOption::LockPath).inspect_err(is_short);
        let _ = conf.archiving(stanza).inspect_err(is_short);
    }
    assert!(conf.lock_paths().all(|path| text.contains(&path)));
}

fn keeps_no_secret(text: &str) {
    if text.contains(PLANTED) {
        return;
    }
    for option in SECRET.into_iter().chain(MISTAKEN) {
        let read = Conf::parse(&[(FILE, &format!("{text}\n[global]\n{option}={PLANTED}\n"))]);
        let told = match &read {
            Ok(conf) => format!("{:?}{:?}", conf.repo_options("demo", 1), conf.archiving("demo")),
            Err(error) => error.to_string(),
        };
        assert!(!told.contains(PLANTED), "{option}: {told}");
        assert!(MISTAKEN.contains(&option) || !format!("{read:?}").contains(PLANTED), "{option} is kept");
    }
}

fn is_short(error: &ConfError) {
    let told = error.to_string();
    assert!(told.len() < 1000 && !told.contains('\n'), "{told}");
}
