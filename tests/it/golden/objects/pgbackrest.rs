//! The recorded configuration and the repo host's own command and probe, given to the real pgBackRest.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;

use super::{objects, recorded, skip};
use crate::support::machine::{self, Pgbackrest};

const KEY: &str = "pgbackrest_instance.conf";

/// pgBackRest reads all options before it does anything. Archiving a file of a data directory that does not exist ends
/// right after that, on PostgreSQL's side at the directory, and on the repo host because it is one.
#[test]
fn every_version_reads_every_recorded_configuration() {
    /// 2.45 refuses a shorter protocol-timeout without it.
    const NO_LONGER_NEEDED: &str = "'db-timeout' invalid for section 'global:archive-push'";
    const TEST: &str = "every_version_reads_every_recorded_configuration";
    for version in [Pgbackrest::installed(), Pgbackrest::newest()] {
        let version = match version {
            Ok(version) => version,
            Err(missing) => return machine::skip(TEST, missing),
        };
        let mut read = [0, 0];
        for path in recorded() {
            let object = parsed(&path);
            if object["kind"] != "ConfigMap" {
                continue;
            }
            let text = object["data"][KEY].as_str().unwrap();
            let directory = configuration(text);
            fs::write(directory.path().join("secret.conf"), secret_for(text)).unwrap();
            let output = run(pgbackrest(directory.path(), &version).args([
                "--stanza=db",
                "--no-archive-async",
                "--log-level-file=off",
                "--log-level-console=warn",
                "--pg1-path=/nonexistent",
                "archive-push",
                "/nonexistent/000000010000000000000001",
            ]));
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            let on_repo_host = path.to_str().unwrap().contains("repohost");
            let expected = if on_repo_host {
                (72, "must be run on the PostgreSQL host")
            } else {
                (55, "/nonexistent/global/pg_control")
            };
            let place = format!("{} {}", version.version, path.display());
            assert_eq!(output.status.code(), Some(expected.0), "{place}: {said}");
            let warns = said.lines().any(|line| line.contains("WARN") && !line.contains(NO_LONGER_NEEDED));
            assert!(said.contains(expected.1) && !warns, "{place}: {said}");
            read[usize::from(on_repo_host)] += 1;
        }
        assert!(read[0] > 30 && read[1] > 15, "only {read:?} configurations");
    }
}

#[test]
fn the_repo_hosts_command_serves_and_its_probe_tells() {
    let version = match Pgbackrest::installed() {
        Ok(version) => version,
        Err(missing) => return skip(&missing),
    };
    let name = "ledger-pgbackrest-repohost-config";
    let object = parsed(&objects().join(format!("pvc/configmap-{name}.yaml")));
    let directory = configuration(object["data"][KEY].as_str().unwrap());
    let set = parsed(&objects().join("pvc/statefulset-ledger-pgbackrest-repo-host.yaml"));
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    let certificates = certificates();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();

    let probe = |expected: i32, until: Duration| {
        let started = Instant::now();
        loop {
            let mut ping = pgbackrest(directory.path(), &version);
            let output = run(ping
                .args(words(&container["readinessProbe"]["exec"]["command"]))
                .arg(format!("--tls-server-port={port}")));
            let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
            match output.status.code() {
                Some(code) if code == expected => break,
                code => assert!(started.elapsed() < until, "probe ends with {code:?}: {said}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // 49: nobody answers.
    probe(49, Duration::ZERO);

    let mut command = pgbackrest(directory.path(), &version);
    command.args(words(&container["command"])).arg(format!("--tls-server-port={port}"));
    for (option, file) in [("ca", "ca.crt"), ("cert", "server.crt"), ("key", "server.key")] {
        let path = certificates.path().join(file);
        command.arg(format!("--tls-server-{option}-file={}", path.display()));
    }
    let _server = Server(command.stdout(Stdio::null()).spawn().unwrap());
    probe(0, Duration::from_mins(2));
}

/// A running server, gone when this goes.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory as the pod's volume is, with the one file.
fn configuration(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(KEY), text).unwrap();
    directory
}

/// What a person would have put into the Secret.
fn secret_for(configuration: &str) -> String {
    let mut secret = String::from("[global]\n");
    for number in 1..=4 {
        let has = |option: &str| configuration.contains(&format!("\nrepo{number}-{option}"));
        let needed = [
            (has("type=s3"), "s3-key=id"),
            (has("type=s3"), "s3-key-secret=secret"),
            (has("type=azure"), "azure-key=c2VjcmV0"),
            (has("type=azure") && !has("azure-account="), "azure-account=account"),
            (has("gcs-key-type=token"), "gcs-key=token"),
            (has("gcs-key-type=service") && !has("gcs-key="), "gcs-key=/mounted/key.json"),
            (has("cipher-type=aes-256-cbc"), "cipher-pass=secret"),
        ];
        for (_, option) in needed.iter().filter(|(needed, _)| *needed) {
            writeln!(secret, "repo{number}-{option}").unwrap();
        }
    }
    secret
}

/// A CA and a server's certificate, in the files that their names say.
fn certificates() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority_key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let leaf =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    for (file, pem) in
        [("ca.crt", authority.pem()), ("server.crt", leaf.pem()), ("server.key", key.serialize_pem())]
    {
        let path = directory.path().join(file);
        fs::write(&path, pem).unwrap();
        // pgBackRest refuses a key of ours that others may read.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    directory
}

/// A pgBackRest with the files of a directory and nothing else of this machine.
fn pgbackrest(include: &Path, version: &Pgbackrest) -> Command {
    let mut command = Command::new(&version.program);
    let scratch = include.display();
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.arg("--no-config");
    command.args([format!("--config-include-path={scratch}"), format!("--log-path={scratch}")]);
    // From 2.59 on root must be allowed.
    command.args((version.minor() >= 59 && nix::unistd::geteuid().is_root()).then_some("--allow-root"));
    command
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// The arguments behind the program's name.
fn words(command: &Value) -> Vec<&str> {
    let words: Vec<&str> = command.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words[0], "pgbackrest");
    words[1..].to_vec()
}

fn parsed(path: &PathBuf) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
