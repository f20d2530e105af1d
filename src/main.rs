//! The program: arguments in, exit code out.

use std::process::ExitCode;

/// Each collection builds a new snapshot in addition to the old one, which is freed afterwards. glibc keeps such memory: with
/// 5,000 backups it settles at three times of what jemalloc does (`make bench`). How soon it gives memory back is set
/// in .cargo/config.toml.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    pgbackrest_keeper::cli::main(std::env::args_os())
}
