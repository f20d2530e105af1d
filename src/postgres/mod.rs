//! PostgreSQL's input and output: its log, `pg_controldata`, and the command line of a copy that is only read.

pub mod control_data;
pub mod copy;
pub mod log;
pub mod version;
