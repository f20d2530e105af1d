//! The current web configuration: read at startup, reloaded when its files change or on request.
//!
//! If a file is invalid, the previous configuration stays in effect, and the error is logged and kept for the metrics. TLS is on or off
//! from the start, and a reload only removes users or stops requesting client certificates if the file does this explicitly, so that a
//! truncated file never disables authentication.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::files::{FileTask, FileTaskError};
use crate::http::tls::client_certificate::ClientAuthType;

use super::{Trace, WebConfig, WebConfigError, load_and_trace, trace};

/// Shared by the server, the reload endpoint and the metrics.
#[derive(Debug, Clone)]
pub struct WebConfigHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Option<PathBuf>,
    current: ArcSwap<WebConfig>,
    last_reload: ArcSwap<LastReload>,
    /// Locked while files are read.
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    /// Those of the last load, successful or not, with their state.
    read: Vec<(PathBuf, Trace)>,
    task: FileTask,
}

impl Files {
    /// Reads the configuration, and what it refers to.
    async fn load(&mut self, file: &Path) -> Result<WebConfig, WebConfigError> {
        let path = file.to_owned();
        let loaded = self.task.run(move || load_and_trace(&path)).await;
        let (config, read) = loaded.map_err(|reason| {
            let remedy = if reason == FileTaskError::NoResponse { ", then reload" } else { "" };
            error_of(file, &format!("{reason}{remedy}"))
        })?;
        self.read = read;
        config
    }
}

/// The result of the last load of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReload {
    /// When.
    pub at: SystemTime,
    /// The error, if it failed.
    pub error: Option<WebConfigError>,
    /// When the current configuration was loaded.
    pub last_success: SystemTime,
}

impl WebConfigHandle {
    /// Reads the file; without a file, plain HTTP is used.
    pub async fn load(file: Option<&Path>) -> Result<Self, WebConfigError> {
        let mut files = Files::default();
        let config = match file {
            Some(file) => files.load(file).await?,
            None => WebConfig::default(),
        };
        warn_of(&config);
        let at = SystemTime::now();
        Ok(Self(Arc::new(Inner {
            file: file.map(Path::to_owned),
            current: ArcSwap::from_pointee(config),
            last_reload: ArcSwap::from_pointee(LastReload { at, error: None, last_success: at }),
            files: Mutex::new(files),
        })))
    }

    /// The current configuration.
    #[must_use]
    pub fn current(&self) -> Arc<WebConfig> {
        self.0.current.load_full()
    }

    /// The result of the last load, at startup, on request or after a change of the files.
    #[must_use]
    pub fn last_reload(&self) -> Arc<LastReload> {
        self.0.last_reload.load_full()
    }

    /// Reloads the file and all referenced files. On error, the previous configuration stays.
    ///
    /// Open connections keep the certificate and the client CA of their handshake; passwords, headers and the rate
    /// limit of the current configuration apply to each request.
    pub async fn reload(&self) -> Result<(), WebConfigError> {
        let Some(file) = self.0.file.clone() else {
            let at = SystemTime::now();
            self.0.last_reload.store(Arc::new(LastReload { at, error: None, last_success: at }));
            return Ok(());
        };
        let mut files = self.0.files.lock().await;
        let result = files.load(&file).await.and_then(|config| self.take_over(&file, config));
        let error = result.as_ref().err().cloned();
        match &error {
            None => tracing::info!(file = %file.display(), "Reloaded web configuration"),
            Some(error) => {
                tracing::error!(%error, "Failed to reload web configuration; keeping the previous one");
            }
        }
        let at = SystemTime::now();
        let last_success = if error.is_none() { at } else { self.last_reload().last_success };
        self.0.last_reload.store(Arc::new(LastReload { at, error, last_success }));
        result
    }

    fn take_over(&self, file: &Path, config: WebConfig) -> Result<(), WebConfigError> {
        if let Some(change) = refused_change(&self.current(), &config) {
            return Err(error_of(file, change));
        }
        warn_of(&config);
        self.0.current.store(Arc::new(config));
        Ok(())
    }

    /// Reloads when a file has changed and then stayed unchanged for one `interval`, until `stop`.
    ///
    /// The wait avoids reading a file that is still being written.
    pub(in crate::http) async fn watch(&self, interval: Duration, stop: CancellationToken) {
        if self.0.file.is_none() {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => (),
            () = self.follow(interval) => (),
        }
    }

    async fn follow(&self, interval: Duration) {
        let mut change_before = None;
        loop {
            tokio::time::sleep(interval).await;
            let change = self.change().await;
            if change.is_some() && change == change_before {
                // `reload` logs and keeps the error; the next change triggers another attempt.
                let _ = self.reload().await;
                change_before = None;
                continue;
            }
            change_before = change;
        }
    }

    /// The current state of the files, if it differs from what was read.
    async fn change(&self) -> Option<Vec<(PathBuf, Trace)>> {
        let mut files = self.0.files.lock().await;
        let read = files.read.clone();
        let look = move || {
            let now: Vec<_> = read.iter().map(|(path, _)| (path.clone(), trace(path))).collect();
            (now != read).then_some(now)
        };
        files.task.run(look).await.ok().flatten()
    }
}

/// Why a reload may not change one configuration to another.
fn refused_change(from: &WebConfig, to: &WebConfig) -> Option<&'static str> {
    if !from.users.is_empty() && to.users.is_empty() && !to.states_no_users {
        return Some(
            "this would remove all users; to require no password, set basic_auth_users: {} explicitly, or restart the process",
        );
    }
    let (from, to) = match (&from.tls, &to.tls) {
        (None, None) => return None,
        (None, Some(_)) => {
            return Some("this would enable TLS, which requires a restart; restart the process");
        }
        (Some(_), None) => {
            return Some("this would disable TLS, which requires a restart; restart the process");
        }
        (Some(from), Some(to)) => (from, to),
    };
    let asked = |auth: ClientAuthType| auth != ClientAuthType::NoClientCert;
    if asked(from.client_auth) && !asked(to.client_auth) && !to.states_client_auth {
        return Some(
            "this would remove client_auth_type; to request no certificate, set client_auth_type: NoClientCert explicitly, or \
             restart the process",
        );
    }
    (from.limits_client_names && !to.limits_client_names && asked(to.client_auth)).then_some(
        "this would remove client_allowed_sans, which requires a restart; restart the process to accept all names",
    )
}

fn warn_of(config: &WebConfig) {
    for warning in &config.warnings {
        tracing::warn!(warning, "Web configuration warning");
    }
}

fn error_of(file: &Path, problem: &str) -> WebConfigError {
    WebConfigError { file: file.to_owned(), line: None, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of its own, with its key.
    fn certificate() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    struct Site {
        directory: tempfile::TempDir,
        handle: WebConfigHandle,
    }

    impl Site {
        async fn new(text: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let (certificate, key) = certificate();
            for (name, text) in [("server.crt", &certificate), ("server.key", &key), ("ca.crt", &certificate)]
            {
                std::fs::write(directory.path().join(name), text).unwrap();
            }
            std::fs::write(directory.path().join("web.yml"), text).unwrap();
            let handle = WebConfigHandle::load(Some(&directory.path().join("web.yml"))).await.unwrap();
            Self { directory, handle }
        }

        async fn reload(&self, text: &str) -> Result<(), WebConfigError> {
            std::fs::write(self.directory.path().join("web.yml"), text).unwrap();
            self.handle.reload().await
        }
    }

    const HASH: &str = "$2b$04$J/V.ixkdeDIm2W4JNuvWeuLcyxoCTrKVx5LsnB6iQzJ8Yf6UxS0mS";
    const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    const CLIENTS: &str = "  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n";
    const NAMES: &str = "  client_allowed_sans:\n  - scraper.example\n";

    #[tokio::test]
    async fn a_file_without_its_end_opens_nothing() {
        let users = format!("basic_auth_users:\n  alice: {HASH}\n  bob: {HASH}\n");
        for whole in [format!("{TLS}{CLIENTS}{NAMES}{users}"), format!("{users}{TLS}{CLIENTS}{NAMES}")] {
            let site = Site::new(&whole).await;
            for length in 0..whole.len() {
                let result = site.reload(&whole[..length]).await;
                let current = site.handle.current();
                let tls = current.tls.as_ref().unwrap();
                let is_closed = !current.users.is_empty()
                    && tls.client_auth == ClientAuthType::RequireAndVerifyClientCert
                    && tls.limits_client_names;
                assert!(is_closed, "{length} bytes: {result:?}\n{}", &whole[..length]);
            }
        }
    }

    #[tokio::test]
    async fn what_the_file_says_is_done() {
        let users = format!("basic_auth_users:\n  alice: {HASH}\n");
        let site = Site::new(&format!("{TLS}{CLIENTS}{users}")).await;
        let refused = |result: Result<(), WebConfigError>| result.unwrap_err().problem;
        assert!(refused(site.reload(&format!("{TLS}{CLIENTS}")).await).contains("basic_auth_users: {}"));
        let empty = site.reload(&format!("{TLS}{CLIENTS}basic_auth_users:\n")).await;
        assert!(refused(empty).contains("has no users"));
        assert!(refused(site.reload(&format!("{TLS}{users}")).await).contains("NoClientCert"));
        let open = format!("{TLS}  client_auth_type: NoClientCert\nbasic_auth_users: {{}}\n");
        site.reload(&open).await.unwrap();
        assert!(site.handle.current().users.is_empty());
        // What is not there cannot be removed.
        site.reload(TLS).await.unwrap();
        site.reload(&format!("{TLS}{CLIENTS}{NAMES}{users}")).await.unwrap();
        let unnamed = site.reload(&format!("{TLS}{CLIENTS}{users}")).await;
        assert!(refused(unnamed).contains("client_allowed_sans"));
    }
}
