//! The one integration test binary, with a module for each kind of environment that tests need.
//!
//! The harness starts tests in the order of their names, and those in `end_to_end` take the longest: no group that starts
//! anything comes before it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::float_cmp,
    reason = "a test that meets the unexpected must stop, and says what it skips; facts are copied, so equal"
)]

mod docs;
mod end_to_end;
mod faults;
mod fuzz;
mod golden;
mod host;
mod jobs;
mod kubernetes;
mod monitoring;
mod operator;
mod support;
mod web;
