//! The response headers that can be set in the web configuration, as in exporter-toolkit.

use axum::http::{HeaderName, HeaderValue};

/// Names that may be configured, and the values allowed where they are an enumeration (toolkit web/handler.go).
const ALLOWED: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

/// Converts a configured header for sending; `None` if the value is blank, which unsets it.
///
/// The error names value, reason and remedy, but not the location of the key.
pub fn configured(name: &str, value: &str) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    let Some((_, values)) = ALLOWED.iter().find(|(allowed, _)| *allowed == name) else {
        return Err(format!("this header cannot be configured; use one of {}", names()));
    };
    if value.is_empty() {
        return Ok(None);
    }
    if !values.is_empty() && !values.contains(&value) {
        return Err(format!("{value:?} is not allowed; use {}", values.join(" or ")));
    }
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("not a header name; use one of {}", names()))?;
    let value = HeaderValue::from_str(value).map_err(|_| {
        format!(
            "{value:?} contains characters that are not allowed in headers; remove line breaks and control characters"
        )
    })?;
    Ok(Some((name, value)))
}

fn names() -> String {
    ALLOWED.map(|(name, _)| name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_checked() {
        assert!(configured("X-Frame-Options", "deny").expect("allowed").is_some());
        assert!(configured("Content-Security-Policy", "default-src 'none'").expect("allowed").is_some());
        assert!(configured("X-Frame-Options", "").expect("blank unsets").is_none());
        assert!(
            configured("X-Frame-Options", "allowall").expect_err("refused").contains("deny or sameorigin")
        );
        assert!(configured("Server", "x").expect_err("refused").contains("cannot be configured"));
        assert!(configured("x-frame-options", "deny").expect_err("case matters").contains("X-Frame-Options"));
        assert!(configured("X-XSS-Protection", "a\nb").expect_err("refused").contains("control characters"));
    }
}
