//! Scalars in the syntax of Go and its YAML parser.

use std::time::Duration;

use crate::schedule;

/// Parses a YAML 1.1 boolean, as exporter-toolkit does.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Ok(true),
        "false" | "no" | "off" | "n" => Ok(false),
        _ => Err(format!("{text:?} is not a boolean; use true or false")),
    }
}

/// Parses a duration like Go's `time.ParseDuration`: `1h30m`, `1.5s`, `250ms`, or a bare 0.
///
/// The toolkit reads other bare numbers as nanoseconds, which is never intended: they are rejected.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; use a number with a unit (ms, s, m, h), such as 1s");
    let negative = || format!("{text:?} is negative; use a duration such as 1s, or 0 to disable the limit");
    schedule::duration::parse(text).ok_or_else(wrong)?.to_std().map_err(|_| negative())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        let seconds = |text| duration(text).map(|duration| duration.as_secs_f64());
        assert_eq!(seconds("1s"), Ok(1.0));
        assert_eq!(seconds("1h30m"), Ok(5400.0));
        assert_eq!(seconds("1.5s"), Ok(1.5));
        assert_eq!(seconds("250ms"), Ok(0.25));
        assert_eq!(seconds("+2m"), Ok(120.0));
        assert_eq!(seconds("0"), Ok(0.0));
        assert_eq!(seconds("0s"), Ok(0.0));
        for wrong in ["", "s", "1", "1d", "1 s", "1s2", "-1s", "1..2s", "+", "1M", "1e400s", "9e18h"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn booleans_are_yamls() {
        assert_eq!(boolean("true"), Ok(true));
        assert_eq!(boolean("Off"), Ok(false));
        assert!(boolean("1").is_err());
        assert!(boolean("").is_err());
    }
}
