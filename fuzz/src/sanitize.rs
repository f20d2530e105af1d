//! Cleaning never panics, is done after one pass, and leaves alone what a JSON parser takes as it is.

use pgbackrest_keeper::pgbackrest::sanitize;

pub(crate) fn check(bytes: &[u8]) {
    let once = sanitize::clean(bytes);
    let twice = sanitize::clean(once.text.as_bytes());
    assert!(!twice.sanitized && twice.preamble.is_empty());
    assert_eq!(once.text, twice.text);

    let is_array = bytes.trim_ascii_start().first() == Some(&b'[');
    if is_array && serde_json::from_slice::<serde_json::Value>(bytes).is_ok() {
        let text = std::str::from_utf8(bytes).expect("JSON is UTF-8");
        assert!(!once.sanitized && text.ends_with(&*once.text));
        assert!(text.strip_suffix(&*once.text).is_some_and(|blank| blank.trim().is_empty()));
    }
}
