//! Both parts joined: one gzip member, or plain text in chunks.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Decompress, FlushDecompress};
use prometheus_client::encoding::text;

use crate::metrics::facts::{Facts, Fleet};
use crate::metrics::options::Options;
use crate::state::snapshot::Snapshot;

use super::deflate::{Deflater, End};
use super::{EncodeError, OfSnapshot, registry};

/// Compression of the static part, paid once per snapshot.
const STATIC_LEVEL: u32 = 4;
/// Compression of the dynamic part, paid at every scrape.
const DYNAMIC_LEVEL: u32 = 1;
/// Size of a chunk of plain text.
const PLAIN_CHUNK: usize = 64 * 1024;
/// Magic, deflate, no flags, no time, no extra flags, unknown operating system (RFC 1952).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// What of an answer depends on the snapshot alone, deflated. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StaticPart {
    /// The header of a gzip member, then deflate blocks up to a byte boundary.
    head: Bytes,
    checksum: Hasher,
    length: u64,
    series: u64,
}

impl StaticPart {
    /// Encodes and deflates. Costs time in proportion to the number of series; meant for once per snapshot.
    ///
    /// # Errors
    /// If the encoder or the compressor fails, which no input is known to cause.
    pub fn encode(snapshot: &Arc<Snapshot>, options: &Arc<Options>) -> Result<Self, EncodeError> {
        Self::of(Facts::Host(Arc::clone(snapshot)), options)
    }

    /// The same for a fleet: every series carries the labels of its cluster in front.
    ///
    /// # Errors
    /// As above.
    pub fn encode_fleet(fleet: &Arc<Fleet>, options: &Arc<Options>) -> Result<Self, EncodeError> {
        Self::of(Facts::Fleet(Arc::clone(fleet)), options)
    }

    fn of(facts: Facts, options: &Arc<Options>) -> Result<Self, EncodeError> {
        let series = Arc::new(AtomicU64::new(0));
        let collector = OfSnapshot { facts, options: Arc::clone(options), series: Arc::clone(&series) };
        let mut writer = Deflater::new(STATIC_LEVEL, &GZIP_HEADER);
        let encoded = text::encode_registry(&mut writer, &registry(options, collector));
        // The compressor's own error says more than that writing failed.
        let deflated = writer.finish(End::Open)?;
        encoded?;
        Ok(Self {
            head: deflated.blocks.into(),
            checksum: deflated.checksum,
            length: deflated.length,
            series: series.load(Ordering::Relaxed),
        })
    }

    /// Number of series.
    #[must_use]
    pub fn series(&self) -> u64 {
        self.series
    }

    /// Bytes of text.
    #[must_use]
    pub fn text_length(&self) -> u64 {
        self.length
    }
}

/// Joins both parts into one gzip member: two pieces to be sent one after the other, the first of them shared.
///
/// # Errors
/// If the compressor fails.
pub fn gzip(static_part: &StaticPart, dynamic: &str) -> Result<[Bytes; 2], EncodeError> {
    let mut writer = Deflater::new(DYNAMIC_LEVEL, &[]);
    writer.write_str(dynamic)?;
    let deflated = writer.finish(End::Final)?;
    let mut checksum = static_part.checksum.clone();
    checksum.combine(&deflated.checksum);
    let length = static_part.length.wrapping_add(deflated.length);
    let mut tail = deflated.blocks;
    tail.extend_from_slice(&checksum.finalize().to_le_bytes());
    // The trailer holds the length modulo 2^32, which are its lower four bytes.
    let [a, b, c, d, ..] = length.to_le_bytes();
    tail.extend_from_slice(&[a, b, c, d]);
    Ok([static_part.head.clone(), tail.into()])
}

/// Joins both parts as plain text, inflated chunk by chunk as it is sent.
#[must_use]
pub fn plain(static_part: &StaticPart, dynamic: String) -> PlainChunks {
    PlainChunks {
        inflate: Decompress::new(false),
        compressed: static_part.head.slice(GZIP_HEADER.len()..),
        remaining: static_part.length,
        dynamic: Some(dynamic.into()),
    }
}

/// Plain text in chunks of at most 64 KiB and the dynamic part last.
#[derive(Debug)]
pub struct PlainChunks {
    inflate: Decompress,
    compressed: Bytes,
    remaining: u64,
    dynamic: Option<Bytes>,
}

impl PlainChunks {
    /// Bytes still to come, for `Content-Length`.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.remaining + self.dynamic.as_ref().map_or(0, |dynamic| dynamic.len() as u64)
    }

    fn inflate(&mut self) -> Result<Bytes, EncodeError> {
        let size =
            usize::try_from(self.remaining).map_or(PLAIN_CHUNK, |remaining| remaining.min(PLAIN_CHUNK));
        let mut chunk = Vec::with_capacity(size);
        let before = self.inflate.total_in();
        self.inflate.decompress_vec(&self.compressed, &mut chunk, FlushDecompress::None)?;
        let consumed = usize::try_from(self.inflate.total_in() - before).unwrap_or(usize::MAX);
        self.compressed = self.compressed.slice(consumed.min(self.compressed.len())..);
        if chunk.is_empty() {
            return Err(EncodeError::Incomplete);
        }
        self.remaining = self.remaining.saturating_sub(chunk.len() as u64);
        Ok(chunk.into())
    }
}

impl Iterator for PlainChunks {
    type Item = Result<Bytes, EncodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return self.dynamic.take().map(Ok);
        }
        let chunk = self.inflate();
        if chunk.is_err() {
            (self.remaining, self.dynamic) = (0, None);
        }
        Some(chunk)
    }
}
