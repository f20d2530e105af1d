//! Converts OpenMetrics text to classic text 0.0.4, which differ in header lines, exemplars and the end.

/// Converts whole families; `openmetrics` may end with `# EOF`.
pub(super) fn from_openmetrics(openmetrics: &str) -> String {
    let mut classic = String::with_capacity(openmetrics.len() + openmetrics.len() / 16);
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        let mut line_out = |parts: &[&str]| {
            classic.extend(parts.iter().copied());
            classic.push('\n');
        };
        if let Some((name, text)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            // The name depends on the type, which comes on the next line.
            help = Some((name, text));
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            if let Some((_, text)) = help.take().filter(|(of, _)| *of == name) {
                line_out(&["# HELP ", name, suffix, " ", text]);
            }
            line_out(&["# TYPE ", name, suffix, " ", kind]);
        } else if !line.starts_with('#') {
            line_out(&[without_exemplar(line)]);
        }
    }
    classic
}

/// Removes everything after the value. Label values may contain anything, so the search starts after the closing brace.
fn without_exemplar(sample: &str) -> &str {
    if !sample.contains('#') {
        return sample;
    }
    let labels_end = labels_end(sample).unwrap_or(0);
    let Some(exemplar) = sample.get(labels_end..).and_then(|rest| rest.find(" # ")) else { return sample };
    sample.get(..labels_end + exemplar).unwrap_or(sample)
}

fn labels_end(sample: &str) -> Option<usize> {
    // A brace after the first space belongs to an exemplar.
    let start = sample.find(['{', ' ']).filter(|start| sample.as_bytes().get(*start) == Some(&b'{'))?;
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in sample.bytes().enumerate().skip(start) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(index + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_lines_follow_the_type() {
        let openmetrics = "# HELP a Runs.\n# TYPE a counter\n# UNIT a seconds\na_total{x=\"1\"} 2\n\
                           # HELP b Build.\n# TYPE b info\nb_info{v=\"1\"} 1\n\
                           # HELP c What.\n# TYPE c unknown\nc 3\n\
                           # TYPE d gauge\nd 4\n# HELP h Time.\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\n# EOF\n";
        let classic = "# HELP a_total Runs.\n# TYPE a_total counter\na_total{x=\"1\"} 2\n\
                       # HELP b_info Build.\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n\
                       # HELP c What.\n# TYPE c untyped\nc 3\n\
                       # TYPE d gauge\nd 4\n# HELP h Time.\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\n";
        assert_eq!(from_openmetrics(openmetrics), classic);
    }

    #[test]
    fn exemplars_go_and_label_values_stay() {
        let exemplar = "h_bucket{a=\"} # \\\" # {\",le=\"1\"} 3 # {job=\"x\"} 0.5 1.0\n";
        assert_eq!(from_openmetrics(exemplar), "h_bucket{a=\"} # \\\" # {\",le=\"1\"} 3\n");
        assert_eq!(from_openmetrics("a_total 3 # {} 0.5\n"), "a_total 3\n");
        assert_eq!(from_openmetrics("a{b=\"x # {}\"} 3\n"), "a{b=\"x # {}\"} 3\n");
    }
}
