//! Kubernetes quantities: compared and checked, but passed on as written.

/// A quantity in thousandths, such as `1500m` → 1500 and `1Ki` → 1024000. `None`: not a quantity, or too large.
///
/// Kubernetes: a signed decimal number with a suffix out of m, k, M, G, T, P, E, Ki … Ei or a decimal exponent.
/// `n` and `u` are left out: no size or CPU share is that small. Negative numbers are left out: none makes sense.
#[must_use]
pub fn thousandths(text: &str) -> Option<u128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || fraction.len() > 12 {
        return None;
    }
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    digits.checked_mul(multiplier(suffix)?).map(|value| value.div_ceil(scale))
}

/// The factor of a suffix, in thousandths.
fn multiplier(suffix: &str) -> Option<u128> {
    let power = |base: u128, exponent: u32| base.checked_pow(exponent)?.checked_mul(1000);
    match suffix {
        "m" => Some(1),
        "" => Some(1000),
        "k" => power(1000, 1),
        "M" => power(1000, 2),
        "G" => power(1000, 3),
        "T" => power(1000, 4),
        "P" => power(1000, 5),
        "E" => power(1000, 6),
        "Ki" => power(1024, 1),
        "Mi" => power(1024, 2),
        "Gi" => power(1024, 3),
        "Ti" => power(1024, 4),
        "Pi" => power(1024, 5),
        "Ei" => power(1024, 6),
        _ => power(10, suffix.strip_prefix(['e', 'E'])?.parse().ok().filter(|exponent| *exponent <= 18)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_compare() {
        let cases = [
            ("0", Some(0)),
            ("100m", Some(100)),
            ("0.5", Some(500)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("15Gi", Some(16_106_127_360_000)),
            ("1e3", Some(1_000_000)),
            ("1E", Some(1_000_000_000_000_000_000_000)),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("-1", None),
            ("15GB", None),
            ("15 Gi", None),
            ("Gi", None),
            ("1e999", None),
            ("99999999999999999999999999999999999999Ei", None),
        ];
        for (text, expected) in cases {
            assert_eq!(thousandths(text), expected, "{text}");
        }
    }
}
