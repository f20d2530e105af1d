//! Writing to standard output, which `head` may close early.

use std::io::{self, Write};

use anyhow::Context;

/// Writes to standard output; a reader that closes it early is not an error.
pub(super) fn print(text: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(()),
    }
}
