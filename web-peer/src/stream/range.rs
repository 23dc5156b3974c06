//! The `Range` header (RFC 9110, section 14): which bytes of a file are asked for.

use std::ops::Range;

/// Which bytes to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of them: there is no range, or one that is not understood, which means the same (section 14.2).
    All,
    /// These.
    Part(Range<u64>),
    /// The file has none of them.
    Unsatisfiable,
}

/// Reads the header for a file of so many bytes. Of several ranges none is taken: players ask for one, and a server may
/// answer with everything.
pub(super) fn parse(header: Option<&str>, length: u64) -> Asked {
    let Some((unit, set)) = header.and_then(|header| header.split_once('=')) else { return Asked::All };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::All;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Asked::All };
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // What has more digits than fit is beyond any file.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let range = match (first.is_empty(), number(first), last.is_empty(), number(last)) {
        (false, Some(first), true, _) => first..length,
        (false, Some(first), false, Some(last)) if first <= last => first..length.min(last.saturating_add(1)),
        (true, _, false, Some(suffix)) => length.saturating_sub(suffix)..length,
        _ => return Asked::All,
    };
    if range.is_empty() { Asked::Unsatisfiable } else { Asked::Part(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_taken_as_the_standard_reads_it() {
        let part = |range| Asked::Part(range);
        for (header, expected) in [
            ("bytes=0-", part(0..1000)),
            ("bytes=0-0", part(0..1)),
            ("bytes=500-999", part(500..1000)),
            ("bytes=500-5000", part(500..1000)),
            ("bytes=999-", part(999..1000)),
            ("bytes=-1", part(999..1000)),
            ("bytes=-5000", part(0..1000)),
            ("BYTES = 10-19", Asked::Part(10..20)),
            ("bytes=0-99999999999999999999999999", part(0..1000)),
            ("bytes=1000-", Asked::Unsatisfiable),
            ("bytes=99999999999999999999999999-", Asked::Unsatisfiable),
            ("bytes=-0", Asked::Unsatisfiable),
        ] {
            assert_eq!(parse(Some(header), 1000), expected, "{header}");
        }
        assert_eq!(parse(Some("bytes=0-"), 0), Asked::Unsatisfiable);
    }

    #[test]
    fn what_is_no_single_range_of_bytes_means_the_whole_file() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=0-1,5-6",
            "pieces=0-1",
            "bytes=+1-2",
            "bytes=1-+2",
        ] {
            assert_eq!(parse(Some(header), 1000), Asked::All, "{header}");
        }
        assert_eq!(parse(None, 1000), Asked::All);
    }
}
