//! Secrets in all places of the configuration that pgBackRest quotes: none appears in an output of the program.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::exporter::{CLASSIC, Exporter, our_program};
use crate::support::lab::{STANZA, Site};
use crate::support::machine::Pgbackrest;
use crate::support::process::{call, output, wait_for};

/// The secret. No word of it is a word of pgBackRest's or ours.
const SECRET: &str = "Zq7xV-hunter2";

#[test]
fn the_installed_version_gives_no_secret_away() {
    check("the_installed_version_gives_no_secret_away", Pgbackrest::installed());
}

#[test]
fn a_version_in_between_gives_no_secret_away() {
    check("a_version_in_between_gives_no_secret_away", Pgbackrest::in_between());
}

#[test]
fn the_newest_version_gives_no_secret_away() {
    check("the_newest_version_gives_no_secret_away", Pgbackrest::newest());
}

/// Lines that are put into `[global]`, with `@` for the secret.
const PLANTED: &[&str] = &[
    // Lines that are no options.
    "repo1-cipher-pass @",
    "repo1-cipher-pass=first\n@",
    "repo1-cipher-pass=first\n@=",
    "repo1-cipher-pass=first\n@=more",
    "repo1-cipher-pass=first\n=@",
    "repo1-cipher-pass=first\n[@",
    "repo1-cipher-passs=@",
    "@=y",
    "no-repo1-cipher-pass=@",
    "repo1-cipher-pass=@\nrepo1-cipher-pass=@",
    "repo1-cipher-pass=@\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-type=@",
    // Values that are refused.
    "repo1-type=@",
    "repo1-type=a' is not allowed for '@",
    "repo1-cipher-type=@",
    "repo1-retention-full=@",
    "repo1-retention-full-type=@",
    "repo1-bundle=@",
    "repo1-path=@",
    "repo1-path=/a//@",
    "lock-path=@",
    "log-path=//@",
    "buffer-size=@",
    "db-timeout=@",
    "protocol-timeout=@",
    "log-level-console=@",
    "compress-type=@",
    "process-max=@",
    "tls-server-auth=@",
    // Of a repository elsewhere.
    "repo1-type=s3\nrepo1-s3-bucket=b\nrepo1-s3-region=r\nrepo1-s3-key=k\nrepo1-s3-key-secret=@",
    "S3 repo1-s3-endpoint=https://user:@@127.0.0.1:1",
    "S3 repo1-s3-endpoint=user:@@127.0.0.1:1",
    "S3 repo1-s3-endpoint=@@127.0.0.1:1",
    "S3 repo1-s3-endpoint=127.0.0.1:1/@?x",
    "S3 repo1-s3-endpoint=127.0.0.1:1\nrepo1-storage-host=https://user:@@127.0.0.1:1",
    "S3 repo1-s3-endpoint=127.0.0.1:1\nrepo1-storage-ca-file=/@",
    "S3 repo1-s3-endpoint=127.0.0.1:1\nrepo1-storage-port=@",
    "S3 repo1-s3-endpoint=127.0.0.1:1\nrepo1-s3-key-type=@",
    "S3 repo1-s3-endpoint=127.0.0.1:1\nrepo1-s3-uri-style=@",
    "S3 repo1-s3-endpoint=127.0.0.1:1\nrepo1-s3-token=@",
    "GCS repo1-gcs-key=@",
    "GCS repo1-gcs-key=/@",
    "GCS repo1-gcs-key=-----BEGIN PRIVATE KEY-----@",
    "GCS repo1-gcs-key={\"private_key\":\"@\"}",
    "GCS repo1-gcs-key-type=token\nrepo1-gcs-key=@\nrepo1-gcs-endpoint=https://user:@@127.0.0.1:1",
    "AZURE repo1-azure-key=@",
    "AZURE repo1-azure-key=YQ==\nrepo1-azure-endpoint=https://user:@@127.0.0.1:1",
    "AZURE repo1-azure-key=YQ==\nrepo1-azure-key-type=@",
    "TLS repo1-host-cert-file=@\nrepo1-host-key-file=/k",
    "TLS repo1-host-cert-file=/etc/hostname\nrepo1-host-key-file=/@",
    "TLS repo1-host-ca-file=/@\nrepo1-host-cert-file=/etc/hostname\nrepo1-host-key-file=/etc/hostname",
    "repo1-host=user:@@127.0.0.1\nrepo1-host-type=@",
    "repo1-sftp-private-key-passphrase=@",
];

fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    assert!(PLANTED.len() >= 33);
    for (number, planted) in PLANTED.iter().enumerate() {
        let lines = spelt_out(&site, planted)
            .replace('@', SECRET)
            .replace(&format!("{SECRET}{SECRET}"), &format!("{SECRET}@"));
        let config = site.write(
            &format!("planted-{number}.conf"),
            &format!("[global]\n{lines}\n[{STANZA}]\npg1-path=/x\n"),
        );
        let seen = outputs(&site, &config, &[], &lines);
        assert!(!seen.contains("hunter2"), "{planted}\n{}", around(&seen));
    }
    // Options in variables may have several lines.
    let config = site.write("env.conf", &site.config().text());
    for (name, value) in [
        ("PGBACKREST_REPO1_TYPE", SECRET.to_owned()),
        ("PGBACKREST_REPO1_PATH", format!("first\n{SECRET}")),
        ("PGBACKREST_REPO1_CIPHER_PASS", format!("first\n{SECRET}=\n")),
        ("PGBACKREST_PROCESS_MAX", format!("{SECRET}\nis not valid for 'process-max' option")),
    ] {
        let seen = outputs(&site, &config, &[(name, &value)], "");
        assert!(!seen.contains("hunter2"), "{name}={value}\n{}", around(&seen));
    }
    // Before any section.
    let config = site.write("no-section.conf", &format!("repo1-cipher-pass={SECRET}\n"));
    let seen = outputs(&site, &config, &[], "");
    assert!(!seen.contains("hunter2"), "{}", around(&seen));
    assert!(seen.contains("FormatError") || seen.contains("FileInvalidError"), "{seen}");
}

/// The options that each kind of repository needs.
fn spelt_out(site: &Site, planted: &str) -> String {
    let quick = "io-timeout=1\n";
    match planted.split_once(' ') {
        Some(("S3", rest)) => format!(
            "{quick}repo1-type=s3\nrepo1-s3-bucket=b\nrepo1-s3-region=r\nrepo1-s3-key=k\nrepo1-s3-key-secret=s\n{rest}"
        ),
        Some(("GCS", rest)) => format!("{quick}repo1-type=gcs\nrepo1-gcs-bucket=b\n{rest}"),
        Some(("AZURE", rest)) => {
            format!("{quick}repo1-type=azure\nrepo1-azure-container=c\nrepo1-azure-account=a\n{rest}")
        }
        Some(("TLS", rest)) => {
            format!("{quick}repo1-host=127.0.0.1\nrepo1-host-port=1\nrepo1-host-type=tls\n{rest}")
        }
        _ if planted.contains("repo1-path=") => planted.to_owned(),
        _ => format!("{planted}\nrepo1-path={}", site.path("repo1").display()),
    }
}

/// All that the program prints, logs and serves, with pgBackRest's own words at every level, and what `lint` says.
fn outputs(site: &Site, config: &Path, variables: &[(&str, &str)], lines: &str) -> String {
    let mut seen = String::new();
    let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
    let pass = format!("--collect.pass-env={}", names.join(","));
    let source = [
        format!("--backrest.binary={}", site.pgbackrest.program.display()),
        format!("--backrest.config={}", config.display()),
        "--collect.timeout=60s".to_owned(),
    ];
    for arguments in [&["info", "--log.level=debug"][..], &["info", "--log.level=debug", "--output=json"]] {
        let mut info = call(site.account.as_ref(), our_program(site));
        info.args(arguments).args(&source).envs(variables.iter().copied());
        if !variables.is_empty() {
            info.arg(&pass);
        }
        add(&mut seen, &output(&mut info));
    }
    let mut arguments = vec!["--log.level=debug", "--collect.interval=3600"];
    if variables.is_empty() {
        let exporter = Exporter::start(site, config, &arguments);
        served(&exporter, &mut seen);
    } else {
        let mut command = crate::support::process::command(site.account.as_ref(), our_program(site));
        arguments.extend(["exporter", "--web.listen-address=127.0.0.1:0", "--log.format=json"]);
        arguments.rotate_left(2);
        command.args(&arguments).args(&source).arg(&pass).envs(variables.iter().copied());
        served(&Exporter::run(site, command), &mut seen);
    }
    if !lines.is_empty() {
        add(&mut seen, &lint(site, lines));
    }
    seen
}

fn served(exporter: &Exporter, seen: &mut String) {
    wait_for("the first collection", || (exporter.get("/readyz", &[]).status == 200).then_some(()));
    for path in ["/", &format!("/?stanza={STANZA}"), "/metrics"] {
        let _ = writeln!(seen, "{}", exporter.get(path, &[("accept", CLASSIC)]).text());
    }
    let _ = writeln!(seen, "{}", exporter.log());
}

/// `lint` for a resource with these options in `global`, and in a Secret beside it.
fn lint(site: &Site, lines: &str) -> std::process::Output {
    let options =
        lines.lines().filter_map(|line| line.split_once('=')).filter(|(name, _)| !name.contains("hunter2"));
    let global: serde_json::Map<_, _> =
        options.map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let endpoint = lines.lines().find_map(|line| line.split_once("endpoint=")).map_or("", |(_, value)| value);
    let resource = json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1",
        "kind": "postgresql",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"backup": {"pgbackrest": {
            "image": "example.com/pgbackrest:1",
            "configuration": {"secret": "credentials"},
            "global": global,
            "repos": [
                {"name": "repo1", "storage": "s3", "resource": "b", "endpoint": endpoint, "region": "r"},
                {"name": "repo2", "storage": "gcs", "resource": "b", "key": "{}-hunter2", "keyType": SECRET},
                {"name": "repo3", "storage": "azure", "resource": "b", "key": SECRET, "account": "a"},
            ],
        }}},
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "credentials", "namespace": "shop"},
        "stringData": {"repos.conf": format!("[global]\n{lines}\n")},
    });
    let file = site.write("manifest.yaml", &format!("{resource}\n---\n{secret}\n"));
    output(Command::new(our_program(site)).arg("lint").arg(file))
}

fn add(seen: &mut String, output: &std::process::Output) {
    seen.push_str(&String::from_utf8_lossy(&output.stdout));
    seen.push_str(&String::from_utf8_lossy(&output.stderr));
}

/// The lines with the secret.
fn around(seen: &str) -> String {
    seen.lines().filter(|line| line.contains("hunter2")).collect::<Vec<_>>().join("\n")
}
