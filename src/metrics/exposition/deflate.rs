//! Compresses text to raw deflate blocks while it is written, so that the whole text is never in memory.

use std::fmt;

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, CompressError, Compression, FlushCompress, Status};

/// Size of the pieces passed to the compressor, because the encoder writes only a few bytes at a time.
const CHUNK: usize = 32 * 1024;

/// Deflate blocks with the values that a gzip trailer needs. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Deflated {
    pub(super) blocks: Bytes,
    pub(super) checksum: Hasher,
    /// Bytes of text.
    pub(super) length: u64,
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
        Ok(Deflated { blocks: self.blocks.into(), checksum: self.checksum, length: self.length })
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
