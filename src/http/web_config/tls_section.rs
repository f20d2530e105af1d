//! `tls_server_config`: from the keys of the file to a TLS server. Errors name the line of the mistake.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use serde_saphyr::{Location, Spanned};

use super::document::TlsSection;
use super::values;
use crate::config_file::{Files, List, Problem, Text};
use crate::http::tls::client_certificate::{ClientAuthType, ClientPolicy};
use crate::http::tls::{self, TlsSettings, TlsVersion};

/// TLS as configured.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The configuration of handshakes.
    pub server: Arc<ServerConfig>,
    /// The server's certificate, followed by its issuers.
    pub chain: Vec<CertificateDer<'static>>,
    /// The requirements for client certificates.
    pub client_auth: ClientAuthType,
    /// The file states them, rather than nothing about client certificates.
    pub states_client_auth: bool,
    /// Client certificates need one of the allowed names.
    pub limits_client_names: bool,
    /// When the server's certificate expires.
    pub not_after: Option<DateTime<Utc>>,
}

/// HTTP/2 over TLS 1.2 requires one of these suites (RFC 9113 §9.2.2); Go rejects a list without them.
const HTTP2_SUITES: [&str; 2] =
    ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"];

/// PEM text, inline or from a file.
struct Pem {
    bytes: Vec<u8>,
    place: Location,
    /// The key, and the file if there is one.
    source: String,
}

impl Pem {
    fn problem(&self, reason: &str) -> Problem {
        Problem::at(self.place, format!("{} {reason}", self.source))
    }
}

/// Builds TLS from its section. `None` if the section is empty, as in the toolkit.
pub(super) fn build(
    section: &Spanned<TlsSection>,
    http2: bool,
    files: &mut Files,
    warnings: &mut Vec<String>,
) -> Result<Option<Tls>, Problem> {
    let keys = &section.value;
    if is_empty(keys) {
        return Ok(None);
    }
    let certificate = pem("cert", keys.cert.as_ref().map(as_text), keys.cert_file.as_ref(), files)?;
    let inline_key = keys.key.as_ref().map(|key| (key.value.0.as_str(), key.referenced));
    let key = pem("key", inline_key, keys.key_file.as_ref(), files)?;
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(certificate), None) => return Err(missing(certificate.place, "key or key_file")),
        (None, Some(key)) => return Err(missing(key.place, "cert or cert_file")),
        (None, None) => return Err(missing(section.referenced, "cert_file and key_file")),
    };
    let chain = tls::certificates(&certificate.bytes).map_err(|reason| certificate.problem(&reason))?;
    let private_key = tls::private_key(&key.bytes).map_err(|reason| key.problem(&reason))?;
    let identity = tls::identity(chain.clone(), private_key).map_err(|reason| key.problem(&reason))?;
    let not_after = validity(&chain, &certificate, warnings);

    let client = client_policy(keys, files, warnings)?;
    let (client_auth, limits_client_names) = (client.auth_type, client.allowed_names.is_some());
    let states_client_auth = keys.client_auth_type.is_some();
    let versions = versions(keys)?;
    let suites = chosen("cipher_suites", keys.cipher_suites.as_ref(), tls::cipher_suite)?;
    if http2 && versions.0 == TlsVersion::Tls12 {
        check_http2_suites(keys.cipher_suites.as_ref())?;
    }
    let settings = TlsSettings {
        identity,
        client,
        versions,
        suites,
        curves: chosen("curve_preferences", keys.curve_preferences.as_ref(), tls::curve)?,
        prefer_server_order: optional_boolean(
            "prefer_server_cipher_suites",
            keys.prefer_server_cipher_suites.as_ref(),
        )?
        .unwrap_or(true),
        http2,
    };
    let place = keys.cipher_suites.as_ref().map_or(section.referenced, |suites| suites.referenced);
    let server = tls::server_config(&settings)
        .map_err(|reason| Problem::at(place, format!("tls_server_config.cipher_suites: {reason}")))?;
    Ok(Some(Tls {
        server: Arc::new(server),
        chain,
        client_auth,
        states_client_auth,
        limits_client_names,
        not_after,
    }))
}

fn is_empty(keys: &TlsSection) -> bool {
    let TlsSection {
        cert,
        cert_file,
        key,
        key_file,
        client_auth_type,
        client_ca,
        client_ca_file,
        client_allowed_sans,
        min_version,
        max_version,
        cipher_suites,
        curve_preferences,
        prefer_server_cipher_suites,
    } = keys;
    let texts = [
        cert,
        cert_file,
        key_file,
        client_auth_type,
        client_ca,
        client_ca_file,
        min_version,
        max_version,
        prefer_server_cipher_suites,
    ];
    let lists = [client_allowed_sans, cipher_suites, curve_preferences];
    key.is_none() && texts.iter().all(|text| text.is_none()) && lists.iter().all(|list| list.is_none())
}

fn as_text(text: &Text) -> (&str, Location) {
    (text.value.as_str(), text.referenced)
}

fn missing(place: Location, keys: &str) -> Problem {
    Problem::at(place, format!("tls_server_config: TLS needs a certificate and its key; add {keys}"))
}

/// Reads `key` or `key_file`, but not both.
fn pem(
    key: &str,
    inline: Option<(&str, Location)>,
    file: Option<&Text>,
    files: &mut Files,
) -> Result<Option<Pem>, Problem> {
    let secret = key == "key";
    let key = format!("tls_server_config.{key}");
    if let (Some((_, place)), Some(_)) = (inline, file) {
        let text = format!("{key}: {key}_file is also set; remove one");
        return Err(Problem::at(place, text));
    }
    if let Some((text, place)) = inline {
        return Ok(Some(Pem { bytes: text.as_bytes().to_vec(), place, source: key }));
    }
    let Some(name) = file else { return Ok(None) };
    let place = name.referenced;
    if secret {
        // The key itself may have been written there by mistake.
        let source = format!("{key}_file:");
        let bytes = files.read_secret(&name.value);
        let bytes = bytes.map_err(|reason| Problem::at(place, format!("{source} {reason}")))?;
        return Ok(Some(Pem { bytes, place, source }));
    }
    let bytes = files
        .read(&name.value)
        .map_err(|reason| Problem::at(place, format!("{key}_file: {:?} {reason}", name.value)))?;
    Ok(Some(Pem { bytes, place, source: format!("{key}_file: {:?}", name.value) }))
}

fn validity(chain: &[CertificateDer<'_>], source: &Pem, warnings: &mut Vec<String>) -> Option<DateTime<Utc>> {
    let (_, certificate) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
    let not_before = DateTime::from_timestamp(certificate.validity().not_before.timestamp(), 0)?;
    let not_after = DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)?;
    let now = Utc::now();
    if not_after < now {
        warnings.push(format!("{}: the certificate expired on {not_after}; renew it", source.source));
    }
    if not_before > now {
        warnings.push(format!("{}: the certificate is not valid before {not_before}", source.source));
    }
    if !matches!(certificate.subject_alternative_name(), Ok(Some(_))) {
        warnings.push(format!(
            "{}: the certificate has no subjectAltName; clients that verify the server's name, such as Prometheus, \
             reject it",
            source.source
        ));
    }
    Some(not_after)
}

fn client_policy(
    keys: &TlsSection,
    files: &mut Files,
    warnings: &mut Vec<String>,
) -> Result<ClientPolicy, Problem> {
    let auth_type = keys
        .client_auth_type
        .as_ref()
        .map(|name| {
            ClientAuthType::parse(&name.value).map_err(|reason| refused("client_auth_type", name, &reason))
        })
        .transpose()?
        .unwrap_or_default();
    let authorities =
        pem("client_ca", keys.client_ca.as_ref().map(as_text), keys.client_ca_file.as_ref(), files)?;
    match (&authorities, &keys.client_auth_type) {
        (Some(authorities), _) if auth_type == ClientAuthType::NoClientCert => {
            return Err(authorities.problem(
                "has no effect: client_auth_type does not request certificates; set it to RequireAndVerifyClientCert \
                 or remove the client CA",
            ));
        }
        (None, Some(name)) if auth_type.verifies() => {
            let reason = format!(
                "{:?} requires client_ca_file with the CAs that issue client certificates; set it (the system's CAs \
                 are not used)",
                name.value
            );
            return Err(refused("client_auth_type", name, &reason));
        }
        (Some(authorities), _) if !auth_type.verifies() => {
            let source = &authorities.source;
            warnings.push(format!("{source} is not used: {auth_type:?} does not verify the issuer"));
        }
        _ => {}
    }
    if matches!(auth_type, ClientAuthType::RequestClientCert | ClientAuthType::RequireAnyClientCert) {
        warnings.push(format!(
            "tls_server_config.client_auth_type: {auth_type:?} accepts certificates from any issuer; use \
             RequireAndVerifyClientCert to be safe"
        ));
    }
    let authorities_pem = authorities;
    let authorities = match &authorities_pem {
        Some(pem) => tls::certificates(&pem.bytes).map_err(|reason| pem.problem(&reason))?,
        None => Vec::new(),
    };
    let policy = ClientPolicy { auth_type, authorities, allowed_names: allowed_names(keys, auth_type)? };
    if let Some(pem) = &authorities_pem {
        policy.check().map_err(|reason| pem.problem(&reason))?;
    }
    Ok(policy)
}

fn allowed_names(
    keys: &TlsSection,
    auth_type: ClientAuthType,
) -> Result<Option<std::collections::BTreeSet<String>>, Problem> {
    let Some(list) = &keys.client_allowed_sans else { return Ok(None) };
    let wrong = |reason: &str| {
        Problem::at(list.referenced, format!("tls_server_config.client_allowed_sans: {reason}"))
    };
    if !auth_type.is_mandatory() {
        return Err(wrong(&format!(
            "with client_auth_type {auth_type:?}, clients do not need a certificate, so the list gives no \
             protection; set RequireAndVerifyClientCert or remove the list"
        )));
    }
    if list.value.is_empty() {
        return Err(wrong("an empty list rejects every client; add names or remove the key"));
    }
    Ok(Some(list.value.iter().map(|name| name.value.clone()).collect()))
}

fn versions(keys: &TlsSection) -> Result<(TlsVersion, TlsVersion), Problem> {
    let version = |key: &str, text: Option<&Text>, default| match text {
        Some(text) => tls::tls_version(&text.value).map_err(|reason| refused(key, text, &reason)),
        None => Ok(default),
    };
    let oldest = version("min_version", keys.min_version.as_ref(), TlsVersion::Tls12)?;
    let newest = version("max_version", keys.max_version.as_ref(), TlsVersion::Tls13)?;
    match &keys.min_version {
        Some(text) if oldest > newest => {
            let reason = format!("{:?} is newer than max_version; swap them", text.value);
            Err(refused("min_version", text, &reason))
        }
        _ => Ok((oldest, newest)),
    }
}

fn check_http2_suites(list: Option<&List>) -> Result<(), Problem> {
    let Some(list) = list.filter(|list| !list.value.is_empty()) else { return Ok(()) };
    if list.value.iter().any(|name| HTTP2_SUITES.contains(&name.value.as_str())) {
        return Ok(());
    }
    Err(Problem::at(
        list.referenced,
        format!(
            "tls_server_config.cipher_suites: HTTP/2 over TLS 1.2 requires {}; add the one that matches the key, set \
             http_server_config.http2: false, or set min_version: TLS13",
            HTTP2_SUITES.join(" or ")
        ),
    ))
}

/// Resolves each entry of a list. An empty list means the default, as in the toolkit.
fn chosen<T>(
    key: &str,
    list: Option<&List>,
    find: fn(&str) -> Result<T, String>,
) -> Result<Option<Vec<T>>, Problem> {
    let Some(list) = list.filter(|list| !list.value.is_empty()) else { return Ok(None) };
    let found = list.value.iter().map(|name| find(&name.value).map_err(|reason| refused(key, name, &reason)));
    found.collect::<Result<Vec<_>, _>>().map(Some)
}

fn optional_boolean(key: &str, text: Option<&Text>) -> Result<Option<bool>, Problem> {
    text.map(|text| values::boolean(&text.value).map_err(|reason| refused(key, text, &reason))).transpose()
}

fn refused(key: &str, text: &Text, reason: &str) -> Problem {
    Problem::at(text.referenced, format!("tls_server_config.{key}: {reason}"))
}
