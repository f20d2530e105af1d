//! Compresses text to raw deflate blocks while it is written, so that the whole text is never in memory.

use std::fmt;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, CompressError, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use parking_lot::Mutex;

use super::EncodeError;

/// Size of the pieces passed to the compressor, because the encoder writes only a few bytes at a time.
const CHUNK: usize = 32 * 1024;

/// Deflate blocks with the values that a gzip trailer needs. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Deflated {
    pub(super) blocks: Bytes,
    pub(super) checksum: Hasher,
    /// Bytes of text.
    pub(super) length: u64,
    /// The text, as long as a response has it.
    text: Arc<Mutex<Weak<Vec<u8>>>>,
}

/// Text that several responses have.
struct SharedText(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedText {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Deflated {
    /// The text. All responses that are being sent share it.
    pub(super) fn text(&self) -> Result<Bytes, EncodeError> {
        let mut known = self.text.lock();
        let text = if let Some(text) = known.upgrade() {
            text
        } else {
            let text = Arc::new(self.inflated()?);
            *known = Arc::downgrade(&text);
            text
        };
        Ok(Bytes::from_owner(SharedText(text)))
    }

    #[cfg(test)]
    pub(super) fn has_text(&self) -> bool {
        self.text.lock().strong_count() > 0
    }

    fn inflated(&self) -> Result<Vec<u8>, EncodeError> {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        let mut text = Vec::with_capacity(length);
        Decompress::new(false).decompress_vec(&self.blocks, &mut text, FlushDecompress::None)?;
        if text.len() == length { Ok(text) } else { Err(EncodeError::Incomplete) }
    }
}

/// How a run of blocks ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// At a byte boundary, followed by more blocks.
    Open,
    /// With the last block of a stream.
    Final,
}

/// A writer that deflates.
pub(super) struct Deflater {
    compress: Compress,
    text: Vec<u8>,
    blocks: Vec<u8>,
    checksum: Hasher,
    length: u64,
    error: Option<CompressError>,
}

impl Deflater {
    pub(super) fn new(level: u32) -> Self {
        Self {
            compress: Compress::new(Compression::new(level), false),
            text: Vec::with_capacity(CHUNK),
            blocks: Vec::new(),
            checksum: Hasher::new(),
            length: 0,
            error: None,
        }
    }

    /// Ends the blocks.
    ///
    /// # Errors
    /// If the compressor failed here or at an earlier write.
    pub(super) fn finish(mut self, end: StreamEnd) -> Result<Deflated, CompressError> {
        let is_empty = self.text.is_empty() && self.length == 0;
        match end {
            StreamEnd::Final => self.compress(FlushCompress::Finish)?,
            // Without text there are no blocks.
            StreamEnd::Open if is_empty => {}
            StreamEnd::Open => self.compress(FlushCompress::Sync)?,
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        self.blocks.shrink_to_fit();
        let (blocks, text) = (self.blocks.into(), Arc::default());
        Ok(Deflated { blocks, checksum: self.checksum, length: self.length, text })
    }

    fn compress(&mut self, flush: FlushCompress) -> Result<(), CompressError> {
        self.checksum.update(&self.text);
        self.length += self.text.len() as u64;
        let mut text = self.text.as_slice();
        let blocks = &mut self.blocks;
        loop {
            blocks.reserve(CHUNK);
            let before = self.compress.total_in();
            let status = self.compress.compress_vec(text, blocks, flush)?;
            let consumed = usize::try_from(self.compress.total_in() - before).unwrap_or(usize::MAX);
            text = text.get(consumed..).unwrap_or_default();
            // Unused space means that the compressor is done.
            if status == Status::StreamEnd || (text.is_empty() && blocks.len() < blocks.capacity()) {
                break;
            }
        }
        self.text.clear();
        Ok(())
    }
}

impl fmt::Write for Deflater {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.extend_from_slice(text.as_bytes());
        if self.text.len() < CHUNK {
            return Ok(());
        }
        self.compress(FlushCompress::None).map_err(|error| {
            self.error = Some(error);
            fmt::Error
        })
    }
}
