//! Scalars in the syntax of Go and its YAML parser.

use std::time::Duration;

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
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.starts_with('-') {
        return Err(format!("{text:?} is negative; use a duration such as 1s, or 0 to disable the limit"));
    }
    let wrong = || format!("{text:?} is not a duration; use a number with a unit (ms, s, m, h), such as 1s");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = Duration::ZERO;
    loop {
        let number_length = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(number_length);
        let unit_length = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_length);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let seconds = number * seconds_of(unit).ok_or_else(wrong)?;
        let part = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = next;
        if rest.is_empty() {
            return Ok(total);
        }
    }
}

fn seconds_of(unit: &str) -> Option<f64> {
    match unit {
        "ns" => Some(1e-9),
        "us" | "µs" | "μs" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    }
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
