//! The current configuration: read at startup, reloaded when its files change or on request.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::files::{FileTask, FileTaskError};

use super::{ConfigFileError, Configuration, Trace, load_and_trace, trace};

/// Shared by those who use the configuration, those who reload it, and the metrics.
#[derive(Debug)]
pub struct ConfigHandle<T>(Arc<Inner<T>>);

impl<T> Clone for ConfigHandle<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Inner<T> {
    file: Option<PathBuf>,
    current: ArcSwap<T>,
    last_reload: ArcSwap<LastReload>,
    /// Locked while files are read.
    files: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    /// Those of the last load, successful or not, with their state.
    read: Vec<(PathBuf, Trace)>,
    task: FileTask,
}

impl Opened {
    /// Reads the configuration, and what it refers to.
    async fn load<T: Configuration>(&mut self, file: &Path) -> Result<T, ConfigFileError> {
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
    pub error: Option<ConfigFileError>,
    /// When the current configuration was loaded.
    pub last_success: SystemTime,
}

impl<T: Configuration> ConfigHandle<T> {
    /// Reads the file; without a file, the configuration is the default.
    pub async fn load(file: Option<&Path>) -> Result<Self, ConfigFileError> {
        let mut files = Opened::default();
        let config = match file {
            Some(file) => files.load(file).await?,
            None => T::default(),
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
    pub fn current(&self) -> Arc<T> {
        self.0.current.load_full()
    }

    /// The result of the last load, at startup, on request or after a change of the files.
    #[must_use]
    pub fn last_reload(&self) -> Arc<LastReload> {
        self.0.last_reload.load_full()
    }

    /// Whether there is a file.
    #[must_use]
    pub fn has_file(&self) -> bool {
        self.0.file.is_some()
    }

    /// Reloads the file and all referenced files. On error, the previous configuration stays.
    pub async fn reload(&self) -> Result<(), ConfigFileError> {
        let Some(file) = self.0.file.clone() else {
            let at = SystemTime::now();
            self.0.last_reload.store(Arc::new(LastReload { at, error: None, last_success: at }));
            return Ok(());
        };
        let mut files = self.0.files.lock().await;
        let result = files.load(&file).await.and_then(|config| self.take_over(&file, config));
        let error = result.as_ref().err().cloned();
        match &error {
            None => tracing::info!(file = %file.display(), "Reloaded {}", T::NAME),
            Some(error) => {
                tracing::error!(%error, "Failed to reload {}; keeping the previous one", T::NAME);
            }
        }
        let at = SystemTime::now();
        let last_success = if error.is_none() { at } else { self.last_reload().last_success };
        self.0.last_reload.store(Arc::new(LastReload { at, error, last_success }));
        result
    }

    fn take_over(&self, file: &Path, config: T) -> Result<(), ConfigFileError> {
        if let Some(change) = self.current().refused_change(&config) {
            return Err(error_of(file, change));
        }
        warn_of(&config);
        self.0.current.store(Arc::new(config));
        Ok(())
    }

    /// Reloads when a file has changed and then stayed unchanged for one `interval`, until `stop`.
    ///
    /// The wait avoids reading a file that is still being written.
    pub async fn watch(&self, interval: Duration, stop: CancellationToken) {
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

fn warn_of<T: Configuration>(config: &T) {
    let (configuration, warnings) = (T::NAME, config.warnings());
    for warning in warnings {
        tracing::warn!(warning, configuration, "Configuration warning");
    }
}

fn error_of(file: &Path, problem: &str) -> ConfigFileError {
    ConfigFileError { file: file.to_owned(), line: None, problem: problem.to_owned() }
}
