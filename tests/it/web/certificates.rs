//! Every kind of certificate that people have, beside the real Go exporter: what Go's TLS accepts is accepted here, too,
//! and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::machine::{go_exporter, program, skip};
use crate::support::process::{Running, call, command, output, successful};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pgbackrest-keeper");
const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
const LEAF: &str = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n";

/// A directory in which openssl makes certificates and keys, `NAME.crt` and `NAME.key`.
struct Workshop {
    directory: TempDir,
    openssl: PathBuf,
}

/// What signs a certificate: its own key, or that of a CA.
#[derive(Clone, Copy)]
enum By<'a> {
    Itself,
    Issuer(&'a str),
}

impl Workshop {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        successful(call(None, &self.openssl).current_dir(self.directory.path()).args(arguments));
    }

    fn key(&self, name: &str, kind: &[&str]) {
        let file = format!("{name}.key");
        self.openssl(&[&["genpkey", "-quiet", "-out", &file, "-algorithm"], kind].concat());
    }

    /// A certificate with a key on the curve P-256. Without extensions it is of version 1.
    fn certificate(&self, name: &str, by: By<'_>, extensions: &str) {
        self.certificate_with(name, by, extensions, &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"], &[]);
    }

    fn certificate_with(&self, name: &str, by: By<'_>, extensions: &str, key: &[&str], more: &[&str]) {
        self.key(name, key);
        let [own_key, request, made] = ["key", "csr", "crt"].map(|ending| format!("{name}.{ending}"));
        self.openssl(&["req", "-new", "-key", &own_key, "-subj", &format!("/CN={name}"), "-out", &request]);
        let mut arguments = vec!["x509", "-req", "-in", &request, "-out", &made];
        let (issuer_certificate, issuer_key);
        match by {
            By::Itself => arguments.extend(["-signkey", &own_key]),
            By::Issuer(issuer) => {
                (issuer_certificate, issuer_key) = (format!("{issuer}.crt"), format!("{issuer}.key"));
                arguments.extend(["-CA", &issuer_certificate, "-CAkey", &issuer_key, "-CAcreateserial"]);
            }
        }
        let file = format!("{name}.ext");
        if !extensions.is_empty() {
            fs::write(self.path(&file), extensions).unwrap();
            arguments.extend(["-extfile", &file]);
        }
        if !more.contains(&"-days") {
            arguments.extend(["-days", "2"]);
        }
        arguments.extend(more);
        self.openssl(&arguments);
        let read = successful(
            call(None, &self.openssl).args(["x509", "-noout", "-text", "-in"]).arg(self.path(&made)),
        );
        assert_eq!(read.contains("Version: 1 "), extensions.is_empty(), "{read}");
    }

    fn join(&self, into: &str, names: &[&str]) {
        let texts = names.iter().map(|name| fs::read_to_string(self.path(&format!("{name}.crt"))).unwrap());
        let joined: String = texts.collect();
        fs::write(self.path(&format!("{into}.crt")), joined).unwrap();
    }
}

/// Both exporters with the same web configuration.
struct Both {
    ours: Exporter,
    theirs: Exporter,
}

struct Exporter {
    process: Running,
    address: String,
}

impl Both {
    fn start(workshop: &Workshop, go: &Path, web_config: &str) -> Self {
        let file = workshop.path("web.yml");
        fs::write(&file, web_config).unwrap();
        // Neither finds a pgBackRest, which is not of interest here.
        let exporter = |program: &Path, arguments: &[&str]| {
            let mut command = command(None, "env");
            command
                .arg("PATH=/nonexistent")
                .arg(program)
                .args(arguments)
                .arg("--web.listen-address=127.0.0.1:0");
            command.arg(format!("--web.config.file={}", file.display()));
            command
        };
        Self {
            ours: Exporter::start(
                "ours",
                exporter(PROGRAM.as_ref(), &["exporter", "--log.format=logfmt"]),
                workshop,
            ),
            theirs: Exporter::start("theirs", exporter(go, &[]), workshop),
        }
    }

    /// Whether each serves its metrics to curl.
    fn serve(&self, curl: &Path, arguments: &[&str]) -> (bool, bool) {
        (self.ours.serves(curl, arguments), self.theirs.serves(curl, arguments))
    }
}

impl Exporter {
    fn start(name: &str, command: Command, workshop: &Workshop) -> Self {
        let mut process =
            Running::start(name, command, &workshop.path(&format!("{name}.log")), Signal::SIGTERM);
        let address = process.wait_in_log("the address", |log| {
            let (_, rest) = log.split_once(" address=127.0.0.1:")?;
            let port = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
            Some(format!("localhost:{port}"))
        });
        Self { process, address }
    }

    fn serves(&self, curl: &Path, arguments: &[&str]) -> bool {
        let answer = output(
            call(None, curl)
                .args([
                    "--silent",
                    "--insecure",
                    "--ipv4",
                    "--output",
                    "/dev/null",
                    "--write-out",
                    "%{http_code}",
                ])
                .args(arguments)
                .arg(format!("https://{}/metrics", self.address)),
        );
        answer.status.success() && answer.stdout == b"200"
    }
}

struct Tools {
    workshop: Workshop,
    curl: PathBuf,
    go: PathBuf,
}

fn tools() -> Result<Tools, String> {
    let workshop = Workshop { directory: TempDir::new().unwrap(), openssl: program("openssl")? };
    Ok(Tools { workshop, curl: program("curl")?, go: go_exporter()? })
}

const P256: [&str; 3] = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: [&str; 3] = ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
const P521: [&str; 3] = ["EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
const RSA: [&str; 3] = ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

/// Name, who signs it, extensions, key, and other options of openssl.
type Kind<'a> = (&'a str, By<'a>, &'a str, &'a [&'a str], &'a [&'a str]);

#[test]
fn servers_show_every_kind_of_certificate_that_go_shows() {
    let Tools { workshop, curl, go } = match tools() {
        Ok(tools) => tools,
        Err(missing) => return skip("servers_show_every_kind_of_certificate_that_go_shows", &missing),
    };
    workshop.certificate("ca", By::Itself, CA);
    let by_ca = By::Issuer("ca");
    let kinds: [Kind<'_>; 9] = [
        ("version-1", by_ca, "", &RSA, &[]),
        ("version-1-of-its-own", By::Itself, "", &P256, &[]),
        ("without-names", by_ca, "basicConstraints=CA:FALSE\n", &P384, &[]),
        ("a-ca", By::Itself, "basicConstraints=critical,CA:TRUE\n", &P256, &[]),
        ("ed25519", by_ca, LEAF, &["ED25519"], &[]),
        ("expired", by_ca, LEAF, &P256, &["-days", "-1"]),
        ("by-sha1", by_ca, LEAF, &P256, &["-sha1"]),
        ("for-clients", by_ca, "extendedKeyUsage=clientAuth\n", &P256, &[]),
        ("of-unknown-use", by_ca, "1.2.3.4=critical,ASN1:NULL\n", &P256, &[]),
    ];
    for (name, by, extensions, key, more) in kinds {
        workshop.certificate_with(name, by, extensions, key, more);
        let web_config = format!("tls_server_config:\n  cert_file: {name}.crt\n  key_file: {name}.key\n");
        let both = Both::start(&workshop, &go, &web_config);
        for version in ["1.2", "1.3"] {
            assert_eq!(both.serve(&curl, &["--tls-max", version]), (true, true), "{name} with TLS {version}");
        }
        let has_names = extensions.contains("subjectAltName");
        assert_eq!(both.ours.process.log().contains("has no subjectAltName"), !has_names, "{name}");
    }
}

#[test]
fn clients_are_let_in_with_every_certificate_that_go_lets_in() {
    let Tools { workshop, curl, go } = match tools() {
        Ok(tools) => tools,
        Err(missing) => return skip("clients_are_let_in_with_every_certificate_that_go_lets_in", &missing),
    };
    workshop.certificate("server", By::Itself, LEAF);
    workshop.certificate("ca", By::Itself, CA);
    workshop.certificate("old-ca", By::Itself, "");
    workshop.certificate("between", By::Issuer("ca"), CA);
    workshop.certificate("no-longer", By::Issuer("ca"), "basicConstraints=critical,CA:TRUE,pathlen:0\n");
    workshop.certificate("below", By::Issuer("no-longer"), CA);
    workshop.certificate("not-a-ca", By::Issuer("ca"), LEAF);
    let (itself, ca) = (By::Itself, By::Issuer("ca"));
    let server_only = "extendedKeyUsage=serverAuth\n";
    let unknown = "1.2.3.4=critical,ASN1:NULL\n";
    // With whether clients are let in.
    let kinds: [(Kind<'_>, bool); 22] = [
        (("usual", ca, LEAF, &P256, &[]), true),
        (("rsa", ca, LEAF, &RSA, &[]), true),
        (("ed25519", ca, LEAF, &["ED25519"], &[]), true),
        (("for-clients", ca, "extendedKeyUsage=clientAuth\n", &P384, &[]), true),
        (("for-servers", ca, server_only, &P256, &[]), false),
        (("version-1", ca, "", &P256, &[]), true),
        (("version-1-rsa", ca, "", &RSA, &[]), true),
        (("version-1-expired", ca, "", &P256, &["-days", "-1"]), false),
        (("version-1-by-sha1", ca, "", &P256, &["-sha1"]), false),
        (("version-1-by-an-old-ca", By::Issuer("old-ca"), "", &P256, &[]), true),
        (("by-an-old-ca", By::Issuer("old-ca"), LEAF, &P256, &[]), true),
        (("version-1-with-one-between", By::Issuer("between"), "", &P256, &[]), true),
        (("version-1-too-far-below", By::Issuer("below"), "", &P256, &[]), false),
        (("version-1-by-no-ca", By::Issuer("not-a-ca"), "", &P256, &[]), false),
        (("a-ca-by-a-ca", ca, CA, &P256, &[]), true),
        (("of-unknown-use", ca, unknown, &P256, &[]), false),
        (("listed", itself, LEAF, &P256, &[]), true),
        (("listed-ca", itself, CA, &RSA, &[]), true),
        (("listed-version-1", itself, "", &P256, &[]), true),
        (("listed-for-servers", itself, server_only, &P256, &[]), false),
        (("listed-expired", itself, LEAF, &P256, &["-days", "-1"]), false),
        (("of-its-own", itself, CA, &P256, &[]), false),
    ];
    let mut listed = vec!["ca", "old-ca"];
    for ((name, by, extensions, key, more), _) in kinds {
        workshop.certificate_with(name, by, extensions, key, more);
        if name.starts_with("listed") {
            listed.push(name);
        }
    }
    // One that is listed for itself issues nothing.
    workshop.certificate("by-a-listed-one", By::Issuer("listed"), LEAF);
    workshop.join("clients", &listed);
    let both = Both::start(
        &workshop,
        &go,
        "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: clients.crt\n  \
         client_auth_type: RequireAndVerifyClientCert\n",
    );
    let expected = kinds.iter().map(|((name, ..), let_in)| (*name, *let_in));
    let mut wrong = Vec::new();
    for (name, let_in) in expected.chain([("by-a-listed-one", false)]) {
        let shown = match name {
            "version-1-with-one-between" => ["version-1-with-one-between", "between"].as_slice(),
            "version-1-too-far-below" => &["version-1-too-far-below", "below", "no-longer"],
            "version-1-by-no-ca" => &["version-1-by-no-ca", "not-a-ca"],
            name => &[name],
        };
        workshop.join("shown", shown);
        let [certificate, key] = ["shown.crt", &format!("{name}.key")].map(|file| workshop.path(file));
        let own = ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
        for version in ["1.2", "1.3"] {
            let served = both.serve(&curl, &[own.as_slice(), &["--tls-max", version]].concat());
            if served != (let_in, let_in) {
                wrong.push(format!("{name} with TLS {version}: let in by us and by Go: {served:?}"));
            }
        }
    }
    assert_eq!(both.serve(&curl, &[]), (false, false), "without a certificate");
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), both.ours.process.log());
}

#[test]
fn keys_that_only_go_has_are_refused_with_the_reason() {
    let Tools { workshop, .. } = match tools() {
        Ok(tools) => tools,
        Err(missing) => return skip("keys_that_only_go_has_are_refused_with_the_reason", &missing),
    };
    workshop.certificate_with("server", By::Itself, LEAF, &P521, &[]);
    let file = workshop.path("web.yml");
    fs::write(&file, "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n").unwrap();
    let mut exporter = call(None, PROGRAM);
    exporter.args(["exporter", "--web.listen-address=127.0.0.1:0"]);
    let ended = output(exporter.arg(format!("--web.config.file={}", file.display())));
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("use RSA with 2048 to 8192 bits, ECDSA with P-256 or P-384"), "{said}");
}
