//! The web configuration in force: read at start, re-read when its files change or when asked to.
//!
//! A new file that is wrong changes nothing: the old configuration stays, and the mistake is logged and kept for the
//! metrics. Whether TLS is spoken is decided at start: a file that is emptied by mistake must not open the door.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Trace, WebConfig, WebConfigError, load_and_trace, trace};

/// How long files may take to be read, which a file system that hangs does for ever.
const DEADLINE: Duration = Duration::from_secs(5);

/// Shared by the server, the reload endpoint and the metrics.
#[derive(Debug, Clone)]
pub struct WebConfigHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Option<PathBuf>,
    current: ArcSwap<WebConfig>,
    last_reload: ArcSwap<LastReload>,
    /// The files of the newest reading, good or bad, as they were then. Locked for the time of a reading.
    read: Mutex<Vec<(PathBuf, Trace)>>,
}

/// How the newest reading of the configuration went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReload {
    /// When.
    pub at: SystemTime,
    /// What was wrong, where something was.
    pub error: Option<WebConfigError>,
    /// When the configuration in force was read.
    pub last_success: SystemTime,
}

impl WebConfigHandle {
    /// Reads the file, or takes plain HTTP where there is none. Blocks on files; for the start of the process.
    pub fn load(file: Option<&Path>) -> Result<Self, WebConfigError> {
        let (config, read) = file.map_or_else(|| (Ok(WebConfig::default()), Vec::new()), load_and_trace);
        let config = config?;
        warn_of(&config);
        let at = SystemTime::now();
        Ok(Self(Arc::new(Inner {
            file: file.map(Path::to_owned),
            current: ArcSwap::from_pointee(config),
            last_reload: ArcSwap::from_pointee(LastReload { at, error: None, last_success: at }),
            read: Mutex::new(read),
        })))
    }

    /// The configuration in force.
    #[must_use]
    pub fn current(&self) -> Arc<WebConfig> {
        self.0.current.load_full()
    }

    /// How the newest reading went, be it at start, by request or by a change of the files.
    #[must_use]
    pub fn last_reload(&self) -> Arc<LastReload> {
        self.0.last_reload.load_full()
    }

    /// Reads the file and all that it names again. On an error the old configuration stays in force.
    ///
    /// Open connections keep the certificate and the client CA of their handshake; passwords, headers and the rate
    /// limit are those in force at each request.
    pub async fn reload(&self) -> Result<(), WebConfigError> {
        let Some(file) = self.0.file.clone() else {
            let at = SystemTime::now();
            self.0.last_reload.store(Arc::new(LastReload { at, error: None, last_success: at }));
            return Ok(());
        };
        let mut read = self.0.read.lock().await;
        let reading = tokio::task::spawn_blocking({
            let file = file.clone();
            move || load_and_trace(&file)
        });
        let loaded = match timeout(DEADLINE, reading).await {
            Ok(Ok((loaded, files))) => {
                *read = files;
                loaded
            }
            Ok(Err(_)) => Err(error_of(&file, "reading it failed unexpectedly; see the log")),
            Err(_) => Err(error_of(&file, "its file system does not answer; mount it again, then reload")),
        };
        let result = loaded.and_then(|config| self.take_over(&file, config));
        let error = result.as_ref().err().cloned();
        match &error {
            None => tracing::info!(file = %file.display(), "web configuration read again"),
            Some(error) => {
                tracing::error!(%error, "web configuration is wrong; the one before stays in force");
            }
        }
        let at = SystemTime::now();
        let last_success = if error.is_none() { at } else { self.last_reload().last_success };
        self.0.last_reload.store(Arc::new(LastReload { at, error, last_success }));
        result
    }

    fn take_over(&self, file: &Path, config: WebConfig) -> Result<(), WebConfigError> {
        let (was_on, is_on) = (self.current().tls.is_some(), config.tls.is_some());
        if was_on != is_on {
            let change = if is_on { "switches TLS on" } else { "switches TLS off" };
            let text = format!("this {change}, which takes effect only at a start; restart the process");
            return Err(error_of(file, &text));
        }
        warn_of(&config);
        self.0.current.store(Arc::new(config));
        Ok(())
    }

    /// Reloads whenever a file has changed and then stayed the same for one `interval`, until `stop`.
    ///
    /// The wait keeps a file that is being written, and is empty or half for a moment, from being read.
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
                // A failure is logged and kept by reload; it is tried again at the next change.
                let _ = self.reload().await;
                change_before = None;
                continue;
            }
            change_before = change;
        }
    }

    /// How the files look now, where they differ from what was read.
    async fn change(&self) -> Option<Vec<(PathBuf, Trace)>> {
        let read = self.0.read.lock().await.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let now: Vec<_> = read.iter().map(|(path, _)| (path.clone(), trace(path))).collect();
            (now != read).then_some(now)
        });
        timeout(DEADLINE, looked).await.ok()?.ok().flatten()
    }
}

fn warn_of(config: &WebConfig) {
    for warning in &config.warnings {
        tracing::warn!("web configuration: {warning}");
    }
}

fn error_of(file: &Path, problem: &str) -> WebConfigError {
    WebConfigError { file: file.to_owned(), line: None, problem: problem.to_owned() }
}
