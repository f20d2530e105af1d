//! How to reach an HTTP server: TLS and credentials, in the format of Prometheus' `http_config`, as promtool reads it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use rustls::crypto::ring as backend;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use thiserror::Error;

use crate::config_file;
use crate::files;
use crate::http::tls::{self, server_certificate};

/// Larger than any certificate or password.
const LARGEST_FILE: usize = 1024 * 1024;

/// All keys, which problems may name.
pub const KEYS: &[&str] = &[
    "basic_auth",
    "username",
    "username_file",
    "password",
    "password_file",
    "authorization",
    "type",
    "credentials",
    "credentials_file",
    "tls_config",
    "ca_file",
    "cert_file",
    "key_file",
    "server_name",
    "insecure_skip_verify",
];

/// How to reach a server.
#[derive(Debug, Default)]
pub struct HttpConfig {
    /// `Authorization`, marked as sensitive.
    pub authorization: Option<HeaderValue>,
    tls: TlsSection,
    /// Files are named relative to this directory.
    directory: PathBuf,
}

/// A configuration that cannot be used. Contains no secret.
#[derive(Debug, Error)]
#[error("{}: {problem}", .file.display())]
pub struct HttpConfigError {
    file: PathBuf,
    problem: String,
}

/// As written. May contain secrets, so it cannot be printed.
#[derive(Clone, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSections {
    basic_auth: Option<BasicAuthSection>,
    authorization: Option<AuthorizationSection>,
    tls_config: Option<TlsSection>,
}

#[derive(Clone, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct BasicAuthSection {
    username: Option<String>,
    username_file: Option<PathBuf>,
    password: Option<String>,
    password_file: Option<PathBuf>,
}

#[derive(Clone, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct AuthorizationSection {
    #[serde(rename = "type")]
    kind: Option<String>,
    credentials: Option<String>,
    credentials_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct TlsSection {
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    server_name: Option<String>,
    insecure_skip_verify: bool,
}

impl HttpConfig {
    /// Reads a file. Without one, there are no credentials, and certificates are verified with those of the system.
    pub fn load(file: Option<&Path>) -> Result<Self, HttpConfigError> {
        let Some(file) = file else { return Ok(Self::default()) };
        let directory = file.parent().unwrap_or(Path::new("")).to_owned();
        let parsed = contents(file).and_then(|text| parse(&text));
        let config = parsed.and_then(|sections| Self::of(sections, directory));
        config.map_err(|problem| HttpConfigError { file: file.to_owned(), problem })
    }

    /// Reads the credentials. Files are named relative to the directory.
    pub fn of(sections: HttpSections, directory: PathBuf) -> Result<Self, String> {
        let HttpSections { basic_auth, authorization, tls_config } = sections;
        let authorization = match (basic_auth, authorization) {
            (Some(_), Some(_)) => {
                return Err("basic_auth and authorization exclude each other; remove one".to_owned());
            }
            (Some(basic), None) => {
                let user = secret(&directory, "basic_auth: username", basic.username, basic.username_file)?;
                let password =
                    secret(&directory, "basic_auth: password", basic.password, basic.password_file)?;
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            (None, Some(given)) => {
                let kind = given.kind.unwrap_or_else(|| "Bearer".to_owned());
                let (inline, file) = (given.credentials, given.credentials_file);
                Some(format!("{kind} {}", secret(&directory, "authorization: credentials", inline, file)?))
            }
            (None, None) => None,
        };
        let authorization = authorization.map(|value| {
            HeaderValue::try_from(value)
                .map_err(|_| "the credentials contain a control character; correct their file".to_owned())
        });
        let mut authorization = authorization.transpose()?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Ok(Self { authorization, tls: tls_config.unwrap_or_default(), directory })
    }

    /// The name to expect in the server's certificate, if it is another one than in the URL.
    pub fn server_name(&self) -> Option<&str> {
        self.tls.server_name.as_deref()
    }

    /// The client's side of TLS.
    pub fn tls(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(backend::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if self.tls.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(server_certificate::unverified(provider))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        match (&self.tls.cert_file, &self.tls.key_file) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(certificate), Some(key)) => {
                let (chain, key) = (self.read("cert_file", certificate)?, self.read("key_file", key)?);
                let in_file = |what: &str, problem: String| format!("tls_config: {what} {problem}");
                let chain =
                    tls::certificates(chain.as_bytes()).map_err(|problem| in_file("cert_file", problem))?;
                let key = tls::private_key(key.as_bytes()).map_err(|problem| in_file("key_file", problem))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("tls_config: cert_file and key_file do not match: {error}"))
            }
            _ => Err("tls_config: cert_file and key_file belong together; set both or none".to_owned()),
        }
    }

    /// A file of `tls_config`. Problems do not contain its name, because the contents may have been written there by mistake.
    fn read(&self, key: &str, file: &Path) -> Result<String, String> {
        contents(&self.directory.join(file)).map_err(|problem| format!("tls_config: {key}: {problem}"))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let Some(file) = &self.tls.ca_file else {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                // Such as in an image that contains nothing but this program.
                roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
            }
            return Ok(roots);
        };
        let text = self.read("ca_file", file)?;
        let certificates =
            tls::certificates(text.as_bytes()).map_err(|problem| format!("tls_config: ca_file {problem}"))?;
        for certificate in certificates {
            roots.add(certificate).map_err(|error| format!("tls_config: ca_file: {error}"))?;
        }
        Ok(roots)
    }
}

impl HttpSections {
    /// The files that it refers to.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let basic = self.basic_auth.iter().flat_map(|basic| [&basic.username_file, &basic.password_file]);
        let credentials = self.authorization.iter().map(|authorization| &authorization.credentials_file);
        let tls = self.tls_config.iter().flat_map(|tls| [&tls.ca_file, &tls.cert_file, &tls.key_file]);
        basic.chain(credentials).chain(tls).filter_map(|file| file.as_deref())
    }
}

fn parse(text: &str) -> Result<HttpSections, String> {
    config_file::parse_strictly(text, KEYS, "configuration of a client").map_err(|problem| {
        let line = problem.line.map(|line| format!("line {line}: ")).unwrap_or_default();
        format!("{line}{}", problem.text)
    })
}

/// A value that is given itself or by the name of a file, without the line break at its end.
fn secret(
    directory: &Path,
    key: &str,
    inline: Option<String>,
    file: Option<PathBuf>,
) -> Result<String, String> {
    match (inline, file) {
        (Some(_), Some(_)) => Err(format!("{key} and {key}_file exclude each other; remove one")),
        (Some(value), None) => Ok(value),
        (None, Some(file)) => {
            // The secret itself may have been written there by mistake.
            let text = contents(&directory.join(file)).map_err(|problem| format!("{key}_file: {problem}"))?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        (None, None) => Err(format!("{key} is missing; set it or {key}_file")),
    }
}

fn contents(path: &Path) -> Result<String, String> {
    let read = files::read(path, LARGEST_FILE).map_err(|error| error.to_string())?;
    let bytes = read.ok_or("is larger than 1 MiB")?;
    String::from_utf8(bytes).map_err(|_| "is not valid UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn loaded(text: &str) -> Result<HttpConfig, String> {
        loaded_from(&tempfile::tempdir().unwrap(), text)
    }

    fn loaded_from(directory: &tempfile::TempDir, text: &str) -> Result<HttpConfig, String> {
        let file = directory.path().join("http.yml");
        fs::write(&file, text).unwrap();
        fs::write(directory.path().join("password"), "s3cret\n").unwrap();
        HttpConfig::load(Some(&file)).map_err(|error| error.to_string())
    }

    fn authorization(text: &str) -> String {
        let config = loaded(text).unwrap();
        assert!(!format!("{config:?}").contains("czNjcmV0"), "{config:?}");
        config.authorization.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn credentials_come_from_the_file_or_another_one() {
        let basic = format!("Basic {}", STANDARD.encode("bob:s3cret"));
        assert_eq!(authorization("basic_auth: {username: bob, password_file: password}"), basic);
        assert_eq!(authorization("basic_auth: {username: bob, password: s3cret}"), basic);
        assert_eq!(authorization("authorization: {credentials_file: password}"), "Bearer s3cret");
        assert_eq!(authorization("tls_config: {server_name: db1}"), "");
        assert_eq!(authorization(""), "");
    }

    #[test]
    fn mistakes_are_named_without_secrets() {
        for (text, part) in [
            ("basic_auth: {username: bob, passwd: s3cret}", "line 1: unknown key; fix or remove it"),
            ("basic_auth: {username: bob}", "basic_auth: password is missing"),
            ("basic_auth: {username: bob, password: s3cret, password_file: password}", "exclude each other"),
            ("basic_auth: {username: bob, password_file: none}", "password_file: No such file"),
            ("authorization: {credentials_file: s3cret}", "credentials_file: No such file"),
            ("basic_auth: {username: bob, password: \"s3cret\\n\"}\nauthorization: {}", "exclude each other"),
            ("authorization: {credentials: \"s3cret\\nx\"}", "control character"),
            ("bearer_token: s3cret", "known keys here: basic_auth, authorization, tls_config"),
            ("basic_auth:\n  username: bob\n  s3cret: x\n", "line 3: unknown key"),
            ("authorization: s3cret", "line 1: "),
            ("authorization:\n", "line 1: authorization: has no value"),
            ("tls_config: {ca_file: }", "line 1: ca_file: has no value"),
        ] {
            let error = loaded(text).map(|_| ()).unwrap_err();
            assert!(error.contains(part) && !error.contains("s3cret"), "{error}");
        }
        let directory = tempfile::tempdir().unwrap();
        let half = loaded("tls_config: {cert_file: x, insecure_skip_verify: true}").unwrap();
        assert!(half.tls().unwrap_err().contains("belong together"));
        let none = loaded_from(&directory, "tls_config: {ca_file: password}").unwrap();
        assert!(none.tls().unwrap_err().contains("contains no certificate"));
    }
}
