//! Limits the memory for input, and for responses, over all calls and connections. The limits are parts of the memory that
//! this process may use. A limit per call or connection alone would be multiplied by their number.

mod captured;
mod input;
mod limit;
pub mod responses;

use std::sync::LazyLock;

pub use captured::{Captured, ReadError, Sink, read};
pub use input::{InputBudget, Refusal};

const MIB: u64 = 1 << 20;

/// How the memory is divided. The parts add up to less than the whole, because growing buffers are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Memory that this process may use.
    pub limit: u64,
}

impl Bounds {
    /// The bounds of this process.
    #[must_use]
    pub fn of_process() -> Self {
        static LIMIT: LazyLock<u64> = LazyLock::new(limit::of_process);
        Self { limit: *LIMIT }
    }

    /// Maximum bytes of the output of a command.
    #[must_use]
    pub fn output(self) -> usize {
        usize_of((self.limit / 16).clamp(2 * MIB, 256 * MIB))
    }

    /// Maximum bytes of memory for parsing one document.
    #[must_use]
    pub fn document(self) -> u64 {
        (self.limit / 8).max(4 * MIB)
    }

    /// Maximum number of commands that run at the same time.
    #[must_use]
    pub fn commands(self) -> usize {
        usize_of((self.limit / 16 / input::SHARE).clamp(4, 256))
    }

    /// Maximum bytes of facts about all clusters of a fleet.
    #[must_use]
    pub fn facts(self) -> u64 {
        self.limit / 8
    }

    /// Maximum number of series that are judged at once, for a moment. Each takes about 200 bytes.
    #[must_use]
    pub fn series(self) -> u64 {
        (self.limit / 1024).max(100_000)
    }

    /// Maximum bytes of responses that wait for their clients.
    #[must_use]
    pub fn responses(self) -> u64 {
        (self.limit / 8).clamp(4 * MIB, 128 * MIB)
    }

    /// Maximum bytes of text that responses share; longer text is made in parts for each of them.
    #[must_use]
    pub fn shared_text(self) -> u64 {
        self.responses() / 8
    }

    /// Maximum number of connections. Each has its own buffers, here and in the kernel.
    #[must_use]
    pub fn connections(self) -> usize {
        usize_of((self.limit / MIB).max(16))
    }
}

/// The budget for the output of all commands.
#[must_use]
pub fn input() -> &'static InputBudget {
    static BUDGET: LazyLock<InputBudget> = LazyLock::new(|| InputBudget::new(Bounds::of_process()));
    &BUDGET
}

fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_leave_room_for_the_program_itself() {
        for limit in [64, 128, 256, 1024, 16 * 1024].map(|mib| mib * MIB) {
            let bounds = Bounds { limit };
            // A growing buffer is copied into one of twice the size.
            let printed = 2 * (bounds.output() as u64 + bounds.commands() as u64 * input::SHARE);
            // Small documents are read at the same time, a large one alone.
            let read = bounds.document() + bounds.commands() as u64 * input::SHARE;
            let sum = printed + read + bounds.facts() + bounds.responses();
            assert!(sum <= limit * 3 / 4, "{sum} of {limit}");
        }
    }
}
