//! Case and unknown types change nothing, and who names a format last with the highest quality gets it.

use pgbackrest_keeper::metrics::exposition::{Format, accepts_gzip, negotiate};

pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let format = negotiate(Some(&text));
    let gzip = accepts_gzip(Some(&text));
    let lower = text.to_ascii_lowercase();
    for same in [lower.clone(), text.to_ascii_uppercase(), format!("{text},x/y;q=1"), format!(" ,{text}")] {
        assert_eq!(negotiate(Some(&same)), format);
        assert_eq!(accepts_gzip(Some(&same)), gzip);
    }
    assert!(format == Format::Classic || lower.contains("application/openmetrics-text"));
    assert!(!gzip || lower.contains("gzip") || lower.contains('*'));
    let asked = format!("{text},application/openmetrics-text;version=1.0.0");
    assert_eq!(negotiate(Some(&asked)), Format::OpenMetrics);
    assert!(accepts_gzip(Some(&format!("gzip,{text}"))));
    assert!(!accepts_gzip(Some(&format!("gzip;q=0,{text}"))));
}
