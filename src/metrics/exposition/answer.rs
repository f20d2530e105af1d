//! Joins the parts: one gzip member, or plain text in chunks.

use std::collections::VecDeque;
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

use super::counters::{Counters, deflated, deflated_at};
use super::deflate::{Deflated, Deflater, StreamEnd};
use super::{CountersOfFleet, EncodeError, Format, OfSnapshot, registry};

/// Compression level of the dynamic part, which is compressed at every scrape.
const DYNAMIC_LEVEL: u32 = 1;
/// Size of a chunk of plain text.
const PLAIN_CHUNK: usize = 64 * 1024;
/// What inflating takes, with a chunk that is sent and the next one.
const PLAIN_BUFFERS: u64 = 192 * 1024;
/// A longer dynamic part waits for its client compressed.
const LONG_DYNAMIC: usize = 64 * 1024;
/// Magic, deflate, no flags, no time, no extra flags, unknown operating system (RFC 1952).
const GZIP_HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// The part of a response that is encoded and deflated in advance: the families that depend only on the snapshot, and
/// everything joined to them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StaticPart {
    /// In order. No piece refers to a previous one.
    pieces: Vec<Deflated>,
    /// Counters of a fleet; those of a host are encoded at the scrape.
    counters: Counters,
    series: u64,
}

impl StaticPart {
    /// Encodes and deflates. Takes time proportional to the number of series; call it once per snapshot.
    ///
    /// # Errors
    /// If the encoder or the compressor fails; no input is known to cause this.
    pub fn encode(snapshot: &Arc<Snapshot>, options: &Arc<Options>) -> Result<Self, EncodeError> {
        Self::of(Facts::Host(Arc::clone(snapshot)), options)
    }

    /// The same for a fleet: every series starts with the labels of its cluster.
    ///
    /// # Errors
    /// As above.
    pub fn encode_fleet(fleet: &Arc<Fleet>, options: &Arc<Options>) -> Result<Self, EncodeError> {
        Self::of(Facts::Fleet(Arc::clone(fleet)), options)
    }

    fn of(facts: Facts, options: &Arc<Options>) -> Result<Self, EncodeError> {
        let series = Arc::new(AtomicU64::new(0));
        let counters = match &facts {
            Facts::Host(_) => Counters::default(),
            Facts::Fleet(_) => {
                let (facts, series) = (facts.clone(), Arc::clone(&series));
                Counters::encode(options, CountersOfFleet { facts, options: Arc::clone(options), series })?
            }
        };
        let collector = OfSnapshot { facts, options: Arc::clone(options), series: Arc::clone(&series) };
        let piece = deflated(|to| text::encode_registry(to, &registry(options, collector)))?;
        Ok(Self { pieces: vec![piece], counters, series: series.load(Ordering::Relaxed) })
    }

    /// Joins the counters of a fleet, and other pieces with this many series. Copies no text.
    pub(super) fn joined(&self, others: [&Deflated; 2], series: u64, format: Format) -> Self {
        let own = self.pieces.iter().chain([self.counters.of(format)]);
        let pieces = own.chain(others).cloned().collect();
        Self { pieces, counters: Counters::default(), series: self.series + series }
    }

    /// Number of series.
    #[must_use]
    pub fn series(&self) -> u64 {
        self.series
    }

    /// The buffers that all responses share.
    #[must_use]
    pub fn buffers(&self) -> Vec<Bytes> {
        self.pieces.iter().map(|piece| piece.blocks.clone()).filter(|blocks| !blocks.is_empty()).collect()
    }

    /// Bytes of text.
    #[must_use]
    pub fn text_length(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.length).sum()
    }
}

/// Joins both parts into one gzip member: pieces to send in order, all but the last one shared.
///
/// # Errors
/// If the compressor fails.
pub fn gzip(static_part: &StaticPart, dynamic: &str) -> Result<Vec<Bytes>, EncodeError> {
    let mut writer = Deflater::new(DYNAMIC_LEVEL);
    writer.write_str(dynamic)?;
    let last = writer.finish(StreamEnd::Final)?;
    let mut member = vec![Bytes::from_static(GZIP_HEADER)];
    let (mut checksum, mut length) = (Hasher::new(), 0_u64);
    for piece in static_part.pieces.iter().chain([&last]) {
        checksum.combine(&piece.checksum);
        length = length.wrapping_add(piece.length);
        member.push(piece.blocks.clone());
    }
    // The trailer contains the length modulo 2^32, that is, its lower four bytes.
    let [a, b, c, d, ..] = length.to_le_bytes();
    let trailer = [checksum.finalize().to_le_bytes(), [a, b, c, d]].concat();
    member.push(trailer.into());
    Ok(member)
}

/// Joins both parts as plain text, inflated chunk by chunk as it is sent.
#[must_use]
pub fn plain(static_part: &StaticPart, dynamic: String) -> PlainChunks {
    let mut chunks = PlainChunks {
        inflate: None,
        pieces: static_part.pieces.iter().filter(|piece| piece.length > 0).cloned().collect(),
        dynamic: None,
        own: PLAIN_BUFFERS,
    };
    let compressed = || deflated_at(DYNAMIC_LEVEL, |to| to.write_str(&dynamic)).ok();
    if let Some(piece) = (dynamic.len() > LONG_DYNAMIC).then(compressed).flatten() {
        chunks.own += piece.blocks.len() as u64;
        chunks.pieces.push_back(piece);
    } else {
        chunks.own += dynamic.len() as u64;
        chunks.dynamic = Some(dynamic.into());
    }
    chunks
}

/// Plain text in chunks of at most 64 KiB, followed by the dynamic part.
#[derive(Debug)]
pub struct PlainChunks {
    /// Made when the client takes the first chunk.
    inflate: Option<Decompress>,
    /// What is left of each.
    pieces: VecDeque<Deflated>,
    dynamic: Option<Bytes>,
    own: u64,
}

impl PlainChunks {
    /// Bytes still to come, for `Content-Length`.
    #[must_use]
    pub fn length(&self) -> u64 {
        let dynamic = self.dynamic.as_ref().map_or(0, |dynamic| dynamic.len() as u64);
        self.pieces.iter().map(|piece| piece.length).sum::<u64>() + dynamic
    }

    /// Bytes that it uses beside the buffers that all responses share.
    #[must_use]
    pub const fn own_memory(&self) -> u64 {
        self.own
    }
}

/// The next chunk of a piece.
fn chunk(inflate: &mut Decompress, piece: &mut Deflated) -> Result<Bytes, EncodeError> {
    let size = usize::try_from(piece.length).map_or(PLAIN_CHUNK, |length| length.min(PLAIN_CHUNK));
    let mut chunk = Vec::with_capacity(size);
    let before = inflate.total_in();
    inflate.decompress_vec(&piece.blocks, &mut chunk, FlushDecompress::None)?;
    let consumed = usize::try_from(inflate.total_in() - before).unwrap_or(usize::MAX);
    piece.blocks = piece.blocks.slice(consumed.min(piece.blocks.len())..);
    if chunk.is_empty() {
        return Err(EncodeError::Incomplete);
    }
    piece.length = piece.length.saturating_sub(chunk.len() as u64);
    Ok(chunk.into())
}

impl Iterator for PlainChunks {
    type Item = Result<Bytes, EncodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(piece) = self.pieces.front_mut() else {
            return self.dynamic.take().map(Ok);
        };
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(false));
        let chunk = chunk(inflate, piece);
        if chunk.is_err() {
            self.pieces.clear();
            self.dynamic = None;
        } else if piece.length == 0 {
            self.pieces.pop_front();
            inflate.reset(false);
        }
        Some(chunk)
    }
}
