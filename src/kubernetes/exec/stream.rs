//! Reads the output of a command in the background, and keeps a limited part of it.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::lines::{Heard, Lines};

/// The size of a read.
const CHUNK: usize = 16 * 1024;

/// A stream that is being read until it is dropped.
pub(super) struct Pump {
    task: JoinHandle<()>,
    kept: Arc<Mutex<Kept>>,
    overflow: Arc<Notify>,
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    more: bool,
}

impl Pump {
    /// Reads to the end and keeps the first `most` bytes.
    pub(super) fn start(stream: Option<impl AsyncRead + Unpin + Send + 'static>, most: usize) -> Self {
        let (kept, overflow) = (Arc::new(Mutex::new(Kept::default())), Arc::new(Notify::new()));
        let (into, tell) = (Arc::clone(&kept), Arc::clone(&overflow));
        let task = tokio::spawn(read(stream, move |chunk| {
            let Ok(mut kept) = into.lock() else { return };
            let room = most.saturating_sub(kept.bytes.len());
            kept.bytes.extend(chunk.iter().take(room));
            if chunk.len() > room && !kept.more {
                kept.more = true;
                tell.notify_one();
            }
        }));
        Self { task, kept, overflow }
    }

    /// Reads to the end, and passes on each line.
    pub(super) fn lines(
        stream: Option<impl AsyncRead + Unpin + Send + 'static>,
        heard: mpsc::Sender<Heard>,
    ) -> Self {
        let mut lines = Lines::new(heard);
        let task = tokio::spawn(async move {
            read(stream, |chunk| lines.take(chunk)).await;
            lines.end();
        });
        Self { task, kept: Arc::default(), overflow: Arc::default() }
    }

    /// Waits until the limit is exceeded.
    pub(super) async fn overflows(&self) {
        self.overflow.notified().await;
    }

    pub(super) fn has_overflowed(&self) -> bool {
        self.kept.lock().is_ok_and(|kept| kept.more)
    }

    /// Waits for the end until `last`. Returns whether it was reached.
    pub(super) async fn ends(&mut self, last: Instant) -> bool {
        timeout_at(last, &mut self.task).await.is_ok()
    }

    /// The data read so far.
    pub(super) fn take(self) -> Vec<u8> {
        self.kept.lock().map(|mut kept| std::mem::take(&mut kept.bytes)).unwrap_or_default()
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut stream) = stream else { return };
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
