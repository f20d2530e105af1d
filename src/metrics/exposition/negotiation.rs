//! Chooses one of the two text formats for a client, and whether it is compressed.

/// A text format of Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text 0.0.4, which every client supports.
    Classic,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Value of the `Content-Type` header.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Chooses by the `Accept` header: OpenMetrics if it is requested by name with at least the quality of classic text.
///
/// A header that accepts neither gets classic text, as with every exporter, so that scrapers with invalid headers work.
#[must_use]
pub fn negotiate(accept: Option<&str>) -> Format {
    let (mut openmetrics, mut classic) = (0.0_f32, 0.0_f32);
    for range in accept.unwrap_or_default().split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut quality, mut version) = (1.0, None);
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => quality = parse_quality(value),
                "version" => version = Some(value),
                _ => {}
            }
        }
        match media_type.as_str() {
            "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => {
                openmetrics = openmetrics.max(quality);
            }
            "text/plain" if matches!(version, None | Some("0.0.4")) => classic = classic.max(quality),
            "text/*" | "*/*" => classic = classic.max(quality),
            _ => {}
        }
    }
    if openmetrics > 0.0 && openmetrics >= classic { Format::OpenMetrics } else { Format::Classic }
}

/// Whether a client accepts gzip by its `Accept-Encoding` header: by name or `*`, with a quality above 0 (RFC 9110 §12.5.3).
#[must_use]
pub fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    let quality_of = |wanted: &str| {
        accept_encoding.unwrap_or_default().split(',').find_map(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(wanted) {
                return None;
            }
            let quality = parts.find_map(|parameter| {
                let (name, value) = parameter.split_once('=')?;
                name.trim().eq_ignore_ascii_case("q").then(|| parse_quality(value.trim()))
            });
            Some(quality.unwrap_or(1.0))
        })
    };
    quality_of("gzip").or_else(|| quality_of("*")).is_some_and(|quality| quality > 0.0)
}

/// An invalid quality excludes what it belongs to.
fn parse_quality(value: &str) -> f32 {
    value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_only_when_asked_for() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                            q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;\
                            escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for accept in [
            prometheus_2,
            prometheus_3,
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.1",
            "text/plain;q=0.5, application/openmetrics-text;q=0.5",
            "text/html, application/openmetrics-text;q=0.2",
        ] {
            assert_eq!(negotiate(Some(accept)), Format::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn classic_for_everything_else() {
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.4, text/plain;q=0.5",
            "application/openmetrics-text;q=0.4, */*;q=0.5",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=nonsense",
            "application/openmetrics-text;q=7",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily",
            ";;;,,,=",
        ] {
            assert_eq!(negotiate(Some(accept)), Format::Classic, "{accept}");
        }
        assert_eq!(negotiate(None), Format::Classic);
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let cases = [
            (None, false),
            (Some("gzip"), true),
            (Some("deflate, gzip;q=0.5"), true),
            (Some("gzip;q=0"), false),
            (Some("gzip; q=0.0, *"), false),
            (Some("gzip;Q=0"), false),
            (Some("gzip ; q = 0"), false),
            (Some("gzip;q=nonsense"), false),
            (Some("gzip;q=-1"), false),
            (Some("*;Q=0"), false),
            (Some("*"), true),
            (Some("identity"), false),
            (Some("GZIP"), true),
        ];
        for (value, expected) in cases {
            assert_eq!(accepts_gzip(value), expected, "{value:?}");
        }
    }
}
