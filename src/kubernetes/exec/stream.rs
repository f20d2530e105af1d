//! Reads the output of a command in the background, and keeps a limited part of it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::lines::{Heard, Lines};
use crate::memory::{self, Captured, ReadError};

/// The size of a read.
const CHUNK: usize = 16 * 1024;

/// A stream that is being read until it is dropped.
pub(super) struct Pump {
    task: JoinHandle<()>,
    kept: Arc<Mutex<Captured>>,
    failure: watch::Receiver<Option<ReadError>>,
}

impl Pump {
    /// Reads to the end and keeps what `into` has room for.
    pub(super) fn start(stream: Option<impl AsyncRead + Unpin + Send + 'static>, into: Captured) -> Self {
        let kept = Arc::new(Mutex::new(into));
        let (fails, failure) = watch::channel(None);
        let into = Arc::clone(&kept);
        let task = tokio::spawn(async move {
            let Some(mut stream) = stream else { return };
            if let Err(error) = memory::read(&mut stream, &into, memory::input()).await {
                fails.send_replace(Some(error));
                // A command that cannot print any more may end for another reason.
                read(stream, |_| {}).await;
            }
        });
        Self { task, kept, failure }
    }

    /// Reads to the end, and passes on each line.
    pub(super) fn lines(
        stream: Option<impl AsyncRead + Unpin + Send + 'static>,
        heard: mpsc::Sender<Heard>,
    ) -> Self {
        let mut lines = Lines::new(heard);
        let task = tokio::spawn(async move {
            let Some(stream) = stream else { return };
            read(stream, |chunk| lines.take(chunk)).await;
            lines.end();
        });
        let (_, failure) = watch::channel(None);
        Self { task, kept: Arc::default(), failure }
    }

    /// Waits until it cannot be read to its end.
    pub(super) async fn fails(&self) -> ReadError {
        let mut failure = self.failure.clone();
        let failed = failure.wait_for(Option::is_some).await.ok().and_then(|failure| *failure);
        match failed {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Why it could not be read to its end.
    pub(super) fn failure(&self) -> Option<ReadError> {
        *self.failure.borrow()
    }

    /// Whether it waits for memory.
    pub(super) fn waits(&self) -> bool {
        self.kept.lock().waits()
    }

    /// Waits for the end until `last`. Returns whether it was reached.
    pub(super) async fn ends(&mut self, last: Instant) -> bool {
        timeout_at(last, &mut self.task).await.is_ok()
    }

    /// The data read so far.
    pub(super) fn take(self) -> Captured {
        std::mem::take(&mut self.kept.lock())
    }
}

async fn read(mut stream: impl AsyncRead + Unpin, mut take: impl FnMut(&[u8])) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        take(chunk.get(..read).unwrap_or_default());
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.task.abort();
    }
}
