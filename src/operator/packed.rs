//! Texts that look alike, such as the metadata of objects of one kind, in a fraction of the memory.

use std::sync::OnceLock;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// How far back a text may refer (8 KiB, as a power of two). It determines the memory of a call.
const WINDOW_BITS: u8 = 13;
/// What all texts can refer to leaves room for references within a text.
const LONGEST_BEGIN: usize = 1 << (WINDOW_BITS - 1);

/// Each text is compressed as if it followed the first one.
#[derive(Debug, Default)]
pub(super) struct Alike {
    /// The end of the first one, if it is long.
    first: OnceLock<Box<[u8]>>,
}

/// A text.
#[derive(Debug, Clone, Default)]
pub(super) struct Packed {
    length: usize,
    bytes: Box<[u8]>,
}

impl Alike {
    /// None if it cannot be compressed, which does not happen.
    pub(super) fn pack(&self, text: &str) -> Option<Packed> {
        let text = text.as_bytes();
        let first =
            self.first.get_or_init(|| text.split_at(text.len().saturating_sub(LONGEST_BEGIN)).1.into());
        let mut compress = Compress::new_with_window_bits(Compression::fast(), false, WINDOW_BITS);
        compress.set_dictionary(first).ok()?;
        // No block is longer than with the fixed code, which has at most nine bits for a byte.
        let mut bytes = Vec::with_capacity(text.len() + text.len() / 4 + 64);
        let status = compress.compress_vec(text, &mut bytes, FlushCompress::Finish).ok()?;
        (status == Status::StreamEnd).then(|| Packed { length: text.len(), bytes: bytes.into() })
    }

    /// None if the text was packed by another one.
    pub(super) fn unpack(&self, packed: &Packed) -> Option<String> {
        let mut decompress = Decompress::new_with_window_bits(false, WINDOW_BITS);
        decompress.set_dictionary(self.first.get()?).ok()?;
        let mut text = Vec::with_capacity(packed.length);
        decompress.decompress_vec(&packed.bytes, &mut text, FlushDecompress::Finish).ok()?;
        String::from_utf8(text).ok().filter(|text| text.len() == packed.length)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn texts_are_the_same_after_they_were_packed() {
        let mut random = StdRng::seed_from_u64(1);
        let noise: String = (0..3_000_000).map(|_| random.random::<char>()).collect();
        let long = "a line of a long text\n".repeat(100_000);
        for first in ["", "short", &long, &noise] {
            let alike = Alike::default();
            for text in [first, "", "short", &long, &noise] {
                let packed = alike.pack(text).unwrap();
                assert_eq!(alike.unpack(&packed).as_deref(), Some(text));
            }
        }
    }

    #[test]
    fn what_repeats_the_first_takes_little() {
        let alike = Alike::default();
        let labels: Vec<String> =
            (0..20).map(|label| format!("\"label-{label}\":\"{}\"", label * 7919)).collect();
        let text = |number: usize| format!("{{{},\"name\":\"cluster-{number}\"}}", labels.join(","));
        alike.pack(&text(1));
        let packed = alike.pack(&text(2)).unwrap();
        assert!(packed.bytes.len() < 40, "{} of {}", packed.bytes.len(), text(2).len());
    }
}
