//! Versions of PostgreSQL's programs.

/// Parses `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`: the version as printed, and the major one.
#[must_use]
pub fn parse(stdout: &str) -> Option<(String, u32)> {
    let (_, rest) = stdout.split_once("(PostgreSQL) ")?;
    let version = rest.split_whitespace().next()?;
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let major = digits(version).parse().ok()?;
    let is_plain = version.len() <= 20 && version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    is_plain.then(|| (version.to_owned(), major))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_version_is_found_in_what_distributions_print() {
        for (text, version, major) in [
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", "15.14", 15),
            ("postgres (PostgreSQL) 17.0\n", "17.0", 17),
            ("postgres (PostgreSQL) 19beta1\n", "19beta1", 19),
        ] {
            assert_eq!(parse(text), Some((version.to_owned(), major)));
        }
        for text in ["", "postgres 15", "postgres (PostgreSQL) devel", "postgres (PostgreSQL) 1;2"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
