//! The expiry of an Azure shared access signature.
//!
//! A signature is a query string; its field `se` is a time in one of the ISO 8601 formats that Azure lists under
//! "Format date and time values". No other field is read.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

/// The expiry; `None` if there is none (it may be in a stored access policy), or if this is not a signature.
pub(super) fn expiry(signature: &str) -> Option<DateTime<Utc>> {
    let fields = signature.trim_start_matches('?').split('&');
    let end = fields.filter_map(|field| field.split_once('=')).find(|(name, _)| *name == "se")?.1;
    instant(&end.replace("%3A", ":").replace("%3a", ":"))
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.to_utc());
    }
    if let Ok(minute) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ") {
        return Some(minute.and_utc());
    }
    Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)?.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_in_each_form() {
        let table = [
            ("sv=2021-06-08&se=2026-12-31T23%3A59%3A59Z&sig=x", Some("2026-12-31T23:59:59Z")),
            ("?se=2026-12-31T23%3a59Z&sig=x", Some("2026-12-31T23:59:00Z")),
            ("sig=x&se=2026-12-31", Some("2026-12-31T00:00:00Z")),
            ("se=2026-12-31T23:59:59.5000000Z", Some("2026-12-31T23:59:59.500Z")),
            ("se=2026-12-31T23:59:59%2B02:00", None),
            ("ss=b&use=2026-12-31&sig=x", None),
            ("se=", None),
            ("c2VjcmV0IGtleQ==", None),
            ("", None),
        ];
        for (signature, end) in table {
            let end = end.map(|end| DateTime::parse_from_rfc3339(end).unwrap().to_utc());
            assert_eq!(expiry(signature), end, "{signature}");
        }
    }
}
