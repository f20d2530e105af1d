//! Small servers with TLS for the protocols of S3, Azure Blob Storage and Google Cloud Storage, on this host or on a node.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use super::kubernetes::place::Place;
use super::kubernetes::ports::free_port;
use super::process::{Running, output, successful};
use crate::support::web::Authority;

/// The bucket or container that every store has.
pub(crate) const BUCKET: &str = "backups";

const S3_KEY: &str = "access";
const S3_SECRET: &str = "not-a-secret";

/// Of every Azurite, as its documentation says.
const AZURE_ACCOUNT: &str = "devstoreaccount1";
const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Which store a server stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    S3,
    Azure,
    Gcs,
}

/// Where a server listens, and by which name clients know it.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) place: Place,
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

impl Host {
    /// A free port of 127.0.0.1.
    pub(crate) fn local() -> Self {
        let address = Ipv4Addr::LOCALHOST.into();
        Self { place: Place::Host, name: "localhost".to_owned(), address, port: free_port() }
    }

    /// Where to listen.
    pub(crate) fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// A host and, unless it is what everybody expects, a port.
    fn endpoint(&self) -> String {
        if self.port == 443 { self.name.clone() } else { format!("{}:{}", self.name, self.port) }
    }
}

/// Ended when it is dropped, with everything in it.
pub(crate) struct ObjectStore {
    process: Running,
    kind: Kind,
    host: Host,
    directory: PathBuf,
}

impl ObjectStore {
    /// Starts it in a directory that goes after it, with a certificate of this authority for its name; an error tells
    /// what the machine lacks.
    pub(crate) fn start(
        kind: Kind,
        host: Host,
        authority: &Authority,
        directory: &Path,
    ) -> Result<Self, String> {
        let programs = programs()?;
        let directory = directory.join(format!("{kind:?}").to_lowercase());
        let files = directory.join("files");
        fs::create_dir_all(files.join(BUCKET)).unwrap();
        let issued = authority.issue(&[&host.name]);
        let file = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let certificate = file("server.crt", &issued.certificate_pem);
        let key = file("server.key", &issued.key_pem);
        file("ca.crt", &authority.certificate_pem());

        let (mut command, is_up) = match kind {
            Kind::S3 => {
                let mut command = host.place.command(programs.join("rclone"));
                command.args(["serve", "s3", "--config=", "--log-level=INFO"]).arg(&files);
                command
                    .arg(format!("--addr={}", host.socket()))
                    .env("RCLONE_AUTH_KEY", format!("\"{S3_KEY},{S3_SECRET}\""));
                (command, "Starting s3 server on")
            }
            Kind::Azure => {
                let mut command = host.place.command(programs.join("azurite-blob"));
                command.arg("--location").arg(&files).args(["--skipApiVersionCheck", "--disableTelemetry"]);
                // The account is in the path, whatever the name of the host looks like.
                command.arg("--disableProductStyleUrl");
                command.arg(format!("--blobHost={}", host.address)).arg(format!("--blobPort={}", host.port));
                (command, "successfully listens on")
            }
            Kind::Gcs => {
                let mut command = host.place.command(programs.join("fake-gcs-server"));
                command.args(["-scheme=https", "-backend=filesystem", "-filesystem-root"]).arg(&files);
                command.arg(format!("-host={}", host.address)).arg(format!("-port={}", host.port));
                let endpoint = host.endpoint();
                command.arg(format!("-public-host={endpoint}"));
                command.arg(format!("-external-url=https://{endpoint}"));
                (command, "server started at")
            }
        };
        let (certificate_flag, key_flag) = match kind {
            Kind::S3 | Kind::Azure => ("--cert", "--key"),
            Kind::Gcs => ("-cert-location", "-private-key-location"),
        };
        command.arg(certificate_flag).arg(certificate).arg(key_flag).arg(key);
        // Nothing is kept outside of the directory.
        command.env("HOME", &directory).env_remove("XDG_CONFIG_HOME").env_remove("XDG_CACHE_HOME");
        let log = directory.join("log");
        let mut process = Running::start(&format!("{kind:?}"), command, &log, Signal::SIGKILL);
        process.wait_in_log("the object store to listen", |log| log.contains(is_up).then_some(()));
        let store = Self { process, kind, host, directory };
        if kind == Kind::Azure {
            store.make_container(&programs);
        }
        Ok(store)
    }

    /// Lets it hang: connections are taken by the kernel, and nothing answers. It goes on with `resume`.
    pub(crate) fn pause(&self) {
        self.process.signal_group(Signal::SIGSTOP);
    }

    /// Lets it go on after `pause`.
    pub(crate) fn resume(&self) {
        self.process.signal_group(Signal::SIGCONT);
    }

    /// What pgBackRest has to know to keep a repo here, but for what is secret.
    pub(crate) fn options(&self, repo: u8) -> Vec<(String, String)> {
        let (name, endpoint) = (self.host.name.as_str(), self.host.endpoint());
        let port = self.host.port.to_string();
        let mut options = match self.kind {
            Kind::S3 => vec![
                ("type", "s3"),
                ("s3-bucket", BUCKET),
                ("s3-endpoint", name),
                ("s3-region", "us-east-1"),
                ("s3-uri-style", "path"),
                ("storage-port", &port),
            ],
            Kind::Azure => vec![
                ("type", "azure"),
                ("azure-account", AZURE_ACCOUNT),
                ("azure-container", BUCKET),
                ("azure-endpoint", name),
                ("azure-uri-style", "path"),
                ("storage-port", &port),
            ],
            // Its port is part of its endpoint.
            Kind::Gcs => vec![
                ("type", "gcs"),
                ("gcs-bucket", BUCKET),
                ("gcs-endpoint", &endpoint),
                ("gcs-key-type", "token"),
            ],
        };
        options.push(("path", "/repo"));
        numbered(repo, &options)
    }

    /// What of that is secret.
    pub(crate) fn secrets(&self, repo: u8) -> Vec<(String, String)> {
        let secrets: &[(&str, &str)] = match self.kind {
            Kind::S3 => &[("s3-key", S3_KEY), ("s3-key-secret", S3_SECRET)],
            Kind::Azure => &[("azure-key", AZURE_KEY)],
            // A file with any text in it.
            Kind::Gcs => &[],
        };
        numbered(repo, secrets)
    }

    /// Azurite takes no directory for a container.
    fn make_container(&self, programs: &Path) {
        let endpoint = format!("https://{}/{AZURE_ACCOUNT}", self.host.endpoint());
        successful(
            self.host
                .place
                .call(programs.join("rclone"))
                .args(["mkdir", "--config="])
                .arg(format!("store:{BUCKET}"))
                .env("HOME", &self.directory)
                .env("RCLONE_CA_CERT", self.directory.join("ca.crt"))
                .env("RCLONE_CONFIG_STORE_TYPE", "azureblob")
                .env("RCLONE_CONFIG_STORE_ACCOUNT", AZURE_ACCOUNT)
                .env("RCLONE_CONFIG_STORE_KEY", AZURE_KEY)
                .env("RCLONE_CONFIG_STORE_ENDPOINT", endpoint),
        );
    }
}

fn numbered(repo: u8, options: &[(&str, &str)]) -> Vec<(String, String)> {
    options.iter().map(|(name, value)| (format!("repo{repo}-{name}"), (*value).to_owned())).collect()
}

fn programs() -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fetch-object-stores");
    let said = output(Command::new(script).arg("--path"));
    if !said.status.success() {
        return Err("the object stores are not here; run scripts/fetch-object-stores".to_owned());
    }
    Ok(PathBuf::from(String::from_utf8(said.stdout).unwrap().trim()))
}
