//! Durations and byte counts as people write them: `90s`, `2m`, `64MiB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration: a whole number with `ms`, `s`, `m`, `h` or `d` behind it, or of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

/// Bytes: a whole number, maybe with `KiB`, `MiB`, `GiB` or `TiB` behind it, or `none` for no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

const PERIODS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

const SIZES: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// The number in front, and what stands behind it.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let period = split(text.trim()).and_then(|(number, unit)| {
            let unit = if unit.is_empty() { "s" } else { unit };
            let (_, milliseconds) = PERIODS.iter().find(|(name, _)| *name == unit)?;
            number.checked_mul(*milliseconds).map(Duration::from_millis)
        });
        period
            .map(Self)
            .ok_or_else(|| "this is no duration; it is written like 500ms, 30s, 2m, 1h or 1d".to_owned())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let fits = |unit: &&(&str, u64)| milliseconds > 0 && milliseconds.is_multiple_of(unit.1);
        let (name, unit) = PERIODS.iter().find(fits).unwrap_or(&("ms", 1));
        write!(f, "{}{name}", milliseconds / unit)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "none" {
            return Ok(Self(u64::MAX));
        }
        let size = split(text.trim()).and_then(|(number, unit)| {
            let bytes =
                SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, bytes)| *bytes);
            number.checked_mul(bytes.or(unit.is_empty().then_some(1))?)
        });
        size.map(Self).ok_or_else(|| {
            "this is no number of bytes; it is written like 1500, 64KiB, 8MiB or none".to_owned()
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == u64::MAX {
            return f.write_str("none");
        }
        let fits = |unit: &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(unit.1);
        let (name, unit) = SIZES.iter().find(fits).unwrap_or(&("", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_they_are_read() {
        for (text, seconds) in
            [("500ms", 0.5), ("30s", 30.0), ("2m", 120.0), ("36h", 129_600.0), ("1d", 86_400.0)]
        {
            let period: Period = text.parse().unwrap();
            assert!((period.0.as_secs_f64() - seconds).abs() < 1e-9, "{text}");
            assert_eq!(period.to_string(), text);
        }
        assert_eq!("7".parse(), Ok(Period(Duration::from_secs(7))));
        assert_eq!(Period(Duration::ZERO).to_string().parse(), Ok(Period(Duration::ZERO)));
        for text in ["", "s", "-1s", "1.5s", "1 fortnight", "99999999999999999999s", "999999999999999999d"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn byte_counts_are_written_as_they_are_read() {
        for (text, bytes) in
            [("1500", 1500), ("64KiB", 65_536), ("1GiB", 1 << 30), ("none", u64::MAX), ("0", 0)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
            assert_eq!(Size(bytes).to_string(), text);
        }
        assert_eq!("8 mib".parse(), Ok(Size(8 << 20)));
        for text in ["", "KiB", "1kB", "-1", "99999999TiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
