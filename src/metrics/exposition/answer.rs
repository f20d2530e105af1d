//! Joins the parts: one gzip member, or plain text in chunks.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use crc32fast::Hasher;
use flate2::{Decompress, FlushDecompress};
use prometheus_client::encoding::text;

use crate::metrics::facts::{Facts, Fleet};
use crate::metrics::options::Options;
use crate::state::snapshot::Snapshot;

use super::ages::Ages;
use super::counters::{Counters, deflated, deflated_at};
use super::deflate::{Deflated, Deflater, StreamEnd};
use super::{CountersOfSnapshot, EncodeError, Format, OfBackups, OfSnapshot, compat, registry};

/// Compression level of the dynamic part, which is compressed at every scrape.
const DYNAMIC_LEVEL: u32 = 1;
/// That of the families with a series for each backup, which are rarely compressed.
const BACKUPS_LEVEL: u32 = 6;
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
    /// The first piece, which later snapshots may share.
    of_backups: OfAllBackups,
    counters: Counters,
    ages: Arc<Ages>,
    series: u64,
}

/// The families with a series for each backup.
#[derive(Debug, Clone, Default)]
struct OfAllBackups {
    piece: Deflated,
    series: u64,
}

impl OfAllBackups {
    fn encode(facts: Facts, options: &Arc<Options>) -> Result<Self, EncodeError> {
        let series = Arc::new(AtomicU64::new(0));
        let collector = OfBackups { facts, options: Arc::clone(options), series: Arc::clone(&series) };
        let encode = |to: &mut Deflater| text::encode_registry(to, &registry(options, collector));
        let piece = deflated_at(BACKUPS_LEVEL, encode)?;
        Ok(Self { piece, series: series.load(Ordering::Relaxed) })
    }
}

impl StaticPart {
    /// Encodes and deflates. Takes time proportional to the number of series; call it once per snapshot.
    ///
    /// # Errors
    /// If the encoder or the compressor fails; no input is known to cause this.
    pub fn encode(snapshot: &Arc<Snapshot>, options: &Arc<Options>) -> Result<Self, EncodeError> {
        Self::of(Facts::Host(Arc::clone(snapshot)), options, None)
    }

    /// The same for the snapshot after `previous`, of which this is the part: what depends on the backups alone is encoded again only
    /// if they have changed.
    ///
    /// # Errors
    /// As above.
    pub fn encode_next(
        &self,
        previous: &Arc<Snapshot>,
        snapshot: &Arc<Snapshot>,
        options: &Arc<Options>,
    ) -> Result<Self, EncodeError> {
        let [before, after] = [previous, snapshot].map(|snapshot| Facts::Host(Arc::clone(snapshot)));
        let known = compat::detail::are_same(&before, &after).then(|| self.of_backups.clone());
        Self::of(after, options, known)
    }

    /// The same for a fleet: every series starts with the labels of its cluster.
    ///
    /// # Errors
    /// As above.
    pub fn encode_fleet(fleet: &Arc<Fleet>, options: &Arc<Options>) -> Result<Self, EncodeError> {
        Self::of(Facts::Fleet(Arc::clone(fleet)), options, None)
    }

    fn of(facts: Facts, options: &Arc<Options>, known: Option<OfAllBackups>) -> Result<Self, EncodeError> {
        let of_backups = known.map_or_else(|| OfAllBackups::encode(facts.clone(), options), Ok)?;
        let series = Arc::new(AtomicU64::new(of_backups.series));
        let ages = Arc::new(Ages::new(facts.clone(), options));
        let counters = {
            let (facts, series) = (facts.clone(), Arc::clone(&series));
            Counters::encode(options, CountersOfSnapshot { facts, options: Arc::clone(options), series })?
        };
        let collector = OfSnapshot { facts, options: Arc::clone(options), series: Arc::clone(&series) };
        let piece = deflated(|to| text::encode_registry(to, &registry(options, collector)))?;
        let pieces = vec![of_backups.piece.clone(), piece];
        Ok(Self { pieces, of_backups, counters, ages, series: series.load(Ordering::Relaxed) })
    }

    /// Joins the counters, and what depends on the time.
    ///
    /// # Errors
    /// If the encoder or the compressor fails; no input is known to cause this.
    pub fn at(&self, now: DateTime<Utc>, format: Format) -> Result<Self, EncodeError> {
        let ages = self.ages.at(now)?;
        Ok(self.joined([&ages.piece, self.counters.of(format)], ages.series))
    }

    /// Joins pieces with this many series. Copies no text.
    pub(super) fn joined(&self, others: [&Deflated; 2], series: u64) -> Self {
        let mut joined = self.clone();
        joined.pieces.extend(others.into_iter().cloned());
        joined.series += series;
        joined
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

    /// Whether a response has text of it.
    #[cfg(test)]
    pub(super) fn has_shared_text(&self) -> bool {
        self.pieces.iter().any(Deflated::has_text)
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

/// Joins both parts as plain text. All responses that are being sent share text of at most `most_shared` bytes; longer text is
/// inflated chunk by chunk as it is sent.
///
/// # Errors
/// If the text to share cannot be decompressed.
pub fn plain(
    static_part: &StaticPart,
    dynamic: String,
    most_shared: u64,
) -> Result<PlainChunks, EncodeError> {
    let is_shared = static_part.text_length() <= most_shared;
    let pieces = static_part.pieces.iter().filter(|piece| piece.length > 0);
    let piece = |piece: &Deflated| {
        Ok(if is_shared { Piece::Text(piece.text()?) } else { Piece::Deflated(piece.clone()) })
    };
    let mut pieces = pieces.map(piece).collect::<Result<VecDeque<_>, EncodeError>>()?;
    let shared = pieces.iter().map(Piece::buffer).collect();
    let compressed = || deflated_at(DYNAMIC_LEVEL, |to| to.write_str(&dynamic)).ok();
    let last = match (dynamic.len() > LONG_DYNAMIC).then(compressed).flatten() {
        Some(piece) => Piece::Deflated(piece),
        None => Piece::Text(dynamic.into()),
    };
    let own = last.buffer().len() as u64;
    pieces.extend(Some(last).filter(|piece| piece.length() > 0));
    let inflates = pieces.iter().any(|piece| matches!(piece, Piece::Deflated(_)));
    Ok(PlainChunks { inflate: None, pieces, shared, own: own + if inflates { PLAIN_BUFFERS } else { 0 } })
}

/// Plain text in chunks of at most 64 KiB.
#[derive(Debug)]
pub struct PlainChunks {
    /// Made when the client takes the first chunk that must be inflated.
    inflate: Option<Decompress>,
    /// What is left of each.
    pieces: VecDeque<Piece>,
    shared: Vec<Bytes>,
    own: u64,
}

#[derive(Debug)]
enum Piece {
    Text(Bytes),
    Deflated(Deflated),
}

impl Piece {
    fn buffer(&self) -> Bytes {
        match self {
            Self::Text(text) => text.clone(),
            Self::Deflated(piece) => piece.blocks.clone(),
        }
    }

    /// Bytes of text.
    fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Deflated(piece) => piece.length,
        }
    }
}

impl PlainChunks {
    /// Bytes still to come, for `Content-Length`.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.pieces.iter().map(Piece::length).sum()
    }

    /// The buffers that it shares with other responses.
    #[must_use]
    pub fn buffers(&self) -> Vec<Bytes> {
        self.shared.clone()
    }

    /// Bytes that it uses beside these buffers.
    #[must_use]
    pub const fn own_memory(&self) -> u64 {
        self.own
    }
}

/// Inflates the next chunk.
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
        let piece = self.pieces.front_mut()?;
        let chunk = match piece {
            Piece::Text(text) => Ok(text.split_to(text.len().min(PLAIN_CHUNK))),
            Piece::Deflated(piece) => {
                chunk(self.inflate.get_or_insert_with(|| Decompress::new(false)), piece)
            }
        };
        let is_read = piece.length() == 0;
        if chunk.is_err() {
            self.pieces.clear();
        } else if is_read {
            self.pieces.pop_front();
            // The next piece does not go on where this one ends.
            self.inflate.iter_mut().for_each(|inflate| inflate.reset(false));
        }
        Some(chunk)
    }
}
