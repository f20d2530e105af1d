//! Standard output, as a command that may be read by `head` writes it.

use std::io::{self, Write};

use anyhow::Context;

/// Writes to standard output; a reader that has seen enough is no error.
pub(super) fn print(text: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(()),
    }
}
