//! Every web configuration of fixtures/web: the good ones are taken, the bad ones refused with file, line and reason.
//!
//! `@server.crt@` in a fixture stands for the text of that file. The files are made anew in each run. A bad fixture's
//! `.expected` is the whole message, with DIR for the directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgbackrest_keeper::http::rate_limit::RateLimit;
use pgbackrest_keeper::http::tls::client_certificate::ClientAuthType;
use pgbackrest_keeper::http::web_config::{WebConfig, WebConfigError, load};
use tempfile::TempDir;

use crate::support::web::Authority;

/// A directory with the files that the fixtures name.
fn directory() -> TempDir {
    let directory = TempDir::new().expect("directory");
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("written");
    let authority = Authority::new();
    let (server, other) = (authority.issue(&["localhost"]), authority.issue(&["localhost"]));
    write("ca.crt", &authority.certificate_pem());
    write("server.crt", &server.certificate_pem);
    write("server.key", &server.key_pem);
    write("other.crt", &other.certificate_pem);
    write("other.key", &other.key_pem);
    write("locked.key", &server.key_pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
    write("empty.pem", "");
    write("large.pem", &"x".repeat(1024 * 1024 + 1));
    directory
}

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/web").join(kind);
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .expect("fixtures")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .collect();
    found.sort();
    found
}

/// Puts a fixture beside the files that it names.
fn placed(fixture: &Path, directory: &Path) -> PathBuf {
    let bytes = fs::read(fixture).expect("fixture");
    let place = directory.join("web.yml");
    let bytes = match String::from_utf8(bytes) {
        Ok(mut text) => {
            for name in ["server.crt", "server.key", "ca.crt"] {
                let pem = fs::read_to_string(directory.join(name)).expect("made");
                // A JSON text is a YAML text.
                text = text.replace(&format!("@{name}@"), &serde_json::to_string(&pem).expect("text"));
            }
            text.into_bytes()
        }
        Err(not_text) => not_text.into_bytes(),
    };
    fs::write(&place, bytes).expect("written");
    place
}

#[test]
fn bad_configurations_are_refused_with_file_line_and_reason() {
    let directory = directory();
    let fixtures = fixtures("bad");
    assert!(fixtures.len() >= 30);
    let mut wrong = Vec::new();
    for fixture in fixtures {
        let error = match load(&placed(&fixture, directory.path())) {
            Err(error) => error.to_string(),
            Ok(config) => format!("taken: {config:?}"),
        };
        let message = error.replace(directory.path().to_str().expect("text"), "DIR");
        let expected = fs::read_to_string(fixture.with_extension("expected")).unwrap_or_default();
        if message != expected.trim_end() {
            wrong.push(format!("{}\n  is       {message}\n  expected {expected}", fixture.display()));
        }
        assert!(!message.contains("hunter2") && !message.contains("Keeper1"), "a secret is shown: {message}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_bad_fixture_that_can_names_a_line() {
    let directory = directory();
    for fixture in fixtures("bad") {
        let error = load(&placed(&fixture, directory.path())).expect_err("refused");
        let whole_file = fixture.file_stem().is_some_and(|name| name == "not_utf8");
        assert_eq!(error.line.is_none(), whole_file, "{error}");
    }
}

#[test]
fn good_configurations_are_taken() {
    let directory = directory();
    let fixtures = fixtures("good");
    assert!(fixtures.len() >= 8);
    for fixture in fixtures {
        let config = load(&placed(&fixture, directory.path())).unwrap_or_else(|error| panic!("{error}"));
        let stem = fixture.file_stem().and_then(|stem| stem.to_str()).expect("name");
        let wants_tls = stem.starts_with("tls") || stem.starts_with("client");
        assert_eq!(config.tls.is_some(), wants_tls, "{stem}");
        assert_eq!(config.users.is_empty(), stem != "users", "{stem}");
    }
}

fn good(name: &str) -> WebConfig {
    let directory = directory();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/web/good").join(name);
    load(&placed(&fixture, directory.path())).expect("good")
}

#[test]
fn good_configurations_mean_what_they_say() {
    let limit = RateLimit { interval: Duration::from_millis(60_500), burst: 20 };
    assert_eq!(good("rate_limit.yml").rate_limit, Some(limit));
    assert_eq!(good("rate_limit_off.yml").rate_limit, None);
    let names: Vec<_> = good("headers.yml").headers.into_iter().map(|(name, _)| name.to_string()).collect();
    // The blank X-XSS-Protection is unset.
    assert_eq!(
        names,
        ["content-security-policy", "strict-transport-security", "x-content-type-options", "x-frame-options"]
    );
    let tls = good("tls_all_keys.yml").tls.expect("tls");
    assert_eq!(tls.client_auth, ClientAuthType::RequireAndVerifyClientCert);
    assert!(!tls.server.ignore_client_order);
    assert_eq!(tls.server.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(tls.chain.len(), 1);
    let without = good("tls_without_http2.yml").tls.expect("tls");
    assert_eq!(without.server.alpn_protocols, [b"http/1.1".to_vec()]);
    assert!(without.server.ignore_client_order);
}

#[test]
fn what_is_hardly_meant_is_warned_of() {
    let warnings = |name| good(name).warnings.join("\n");
    assert!(warnings("users.yml").contains("passwords are sent in clear text"));
    assert!(warnings("client_any.yml").contains("accepts certificates from any issuer"));
    assert_eq!(warnings("tls_all_keys.yml"), "");
}

#[test]
fn an_ended_certificate_is_taken_with_a_warning() {
    let directory = directory();
    let ended = Authority::new().issue_with(&["localhost"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    fs::write(directory.path().join("server.crt"), &ended.certificate_pem).expect("written");
    fs::write(directory.path().join("server.key"), &ended.key_pem).expect("written");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/web/good/tls_files.yml");
    let config = load(&placed(&fixture, directory.path())).expect("taken");
    assert!(config.warnings.join("\n").contains("expired on 2021-01-01"), "{:?}", config.warnings);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error: WebConfigError = load(Path::new("/nonexistent/web.yml")).expect_err("refused");
    let text = error.to_string();
    assert!(text.starts_with("/nonexistent/web.yml: this web configuration cannot be read"), "{text}");
}

#[test]
fn secrets_stay_out_of_debug() {
    let directory = directory();
    for fixture in fixtures("good") {
        let config = load(&placed(&fixture, directory.path())).expect("good");
        let printed = format!("{config:?}");
        let key = fs::read_to_string(directory.path().join("server.key")).expect("made");
        let secret_line = key.lines().nth(1).expect("base64");
        assert!(!printed.contains("Keeper1") && !printed.contains(secret_line), "{printed}");
    }
}
