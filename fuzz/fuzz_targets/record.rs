#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (pgbackrest_keeper_fuzz::RECORD.check)(bytes));
