//! pgBackRest's command lines, output and configuration. Pure: no I/O, no clock.

pub mod archive;
pub mod archive_get;
pub mod backup_log;
pub mod backup_options;
pub mod command;
pub mod conf;
pub mod exit_code;
pub mod info;
pub mod label;
pub mod listing_reader;
pub mod options;
pub mod redact;
pub mod repository;
pub mod sanitize;
pub mod spool;
pub mod stored_size;
pub mod verify;
pub mod version;
pub mod wal;
pub mod wal_header;
pub mod weight;
