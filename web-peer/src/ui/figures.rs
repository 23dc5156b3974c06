//! Which unit a number is shown in, and with how many decimals: the part of number formatting that is a decision.
//! The writing itself (digits, separators, the unit's name) is the browser's, in the page's language ([`super::speech`]).

/// A number ready to be written: already rounded, with the name of its unit as ECMA-402 calls it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figure {
    /// In `unit`.
    pub(super) value: f64,
    /// Digits after the separator, always written.
    pub(super) decimals: u8,
    /// A sanctioned unit of ECMA-402 §6.6.2, or two with `-per-` between, or `percent`.
    pub(super) unit: &'static str,
}

const BYTE_UNITS: [&str; 6] = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte", "petabyte"];
const RATE_UNITS: [&str; 6] = [
    "byte-per-second",
    "kilobyte-per-second",
    "megabyte-per-second",
    "gigabyte-per-second",
    "terabyte-per-second",
    "petabyte-per-second",
];

/// Above this a size is worth a tenth of a percent: a whole percent of it takes a while.
const FINE_PERCENT_BYTES: u64 = 1_000_000_000;

/// Longer than this and a remaining time says nothing.
const LONGEST_TIME_LEFT: f64 = 100.0 * 86_400.0;

/// A count of bytes. The units are decimal (1 kB is 1,000 bytes): those are the ones that `Intl` names.
pub(super) fn bytes(count: u64) -> Figure {
    scaled(count as f64, 0, &BYTE_UNITS)
}

/// Bytes a second, from kilobytes up: less does not matter. What is not a positive number is shown as zero.
pub(super) fn rate(bytes_per_second: f64) -> Figure {
    let rate = if bytes_per_second.is_finite() { bytes_per_second.max(0.0) } else { 0.0 };
    let figure = scaled(rate / 1000.0, 1, &RATE_UNITS);
    if figure.value == 0.0 { Figure { decimals: 0, ..figure } } else { figure }
}

/// Chooses the unit so that the number written is below 1,000, and shows one decimal of what is below 100.
/// `value` is in the unit at `place`.
fn scaled(mut value: f64, mut place: usize, units: &[&'static str; 6]) -> Figure {
    loop {
        let decimals = u8::from(place > 0 && value < 99.95);
        let factor = 10_f64.powi(i32::from(decimals));
        let rounded = (value * factor).round() / factor;
        // After rounding, so that 999,950 bytes are 1.0 MB and not 1,000 kB.
        if rounded < 1000.0 || place + 1 == units.len() {
            return Figure { value: rounded, decimals, unit: units[place] };
        }
        value /= 1000.0;
        place += 1;
    }
}

/// `done` of `total` as a share, 0 to 1. Of nothing, all is done.
pub(super) fn share(done: u64, total: u64) -> f64 {
    if total == 0 { 1.0 } else { (done as f64 / total as f64).clamp(0.0, 1.0) }
}

/// `done` of `total` in percent, rounded down: 100 % is said only of what is complete.
pub(super) fn percent(done: u64, total: u64) -> Figure {
    let decimals = u8::from(total >= FINE_PERCENT_BYTES && done < total);
    whole_percent(share(done, total), decimals)
}

/// A share (0 to 1) in percent, rounded down.
pub(super) fn percent_of(share: f64) -> Figure {
    whole_percent(if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }, 0)
}

/// A share ratio, rounded down, so that it is not said to be one before as much was given as taken.
pub(super) fn ratio(ratio: f64) -> Figure {
    let ratio = if ratio.is_finite() { ratio.max(0.0) } else { 0.0 };
    let decimals = if ratio < 100.0 { 2 } else { 0 };
    let factor = 10_f64.powi(i32::from(decimals));
    // The bit of slack undoes what binary fractions lose, as in percent.
    Figure { value: (ratio * factor + 1e-9).floor() / factor, decimals, unit: "" }
}

fn whole_percent(share: f64, decimals: u8) -> Figure {
    let factor = 10_f64.powi(i32::from(decimals));
    // The bit of slack undoes what binary fractions lose: 0.29 * 100 is 28.999….
    let value = (share * 100.0 * factor + 1e-9).floor() / factor;
    Figure { value, decimals, unit: "percent" }
}

/// A duration in its largest unit and, where that matters, the next; `None` when it is too long to mean anything.
pub(super) fn duration(seconds: f64) -> Option<(Figure, Option<Figure>)> {
    if !seconds.is_finite() || !(0.0..=LONGEST_TIME_LEFT).contains(&seconds) {
        return None;
    }
    let whole = |value: u64, unit| Figure { value: value as f64, decimals: 0, unit };
    let seconds = (seconds.ceil() as u64).max(1);
    let both = |large: u64, large_unit, small: u64, small_unit, largest_with_small: u64| {
        let small = (small > 0 && large <= largest_with_small).then(|| whole(small, small_unit));
        (whole(large, large_unit), small)
    };
    Some(match seconds {
        0..60 => (whole(seconds, "second"), None),
        60..3_600 => both(seconds / 60, "minute", seconds % 60, "second", 9),
        3_600..86_400 => both(seconds / 3_600, "hour", seconds % 3_600 / 60, "minute", 9),
        _ => both(seconds / 86_400, "day", seconds % 86_400 / 3_600, "hour", 6),
    })
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(figure: Figure) -> String {
        format!("{:.*} {}", usize::from(figure.decimals), figure.value, figure.unit)
    }

    #[test]
    fn sizes_take_the_unit_that_keeps_them_short() {
        for (count, expected) in [
            (0, "0 byte"),
            (999, "999 byte"),
            (1_000, "1.0 kilobyte"),
            (99_949, "99.9 kilobyte"),
            (99_950, "100 kilobyte"),
            (999_499, "999 kilobyte"),
            (999_500, "1.0 megabyte"),
            (64 << 20, "67.1 megabyte"),
            (1 << 40, "1.1 terabyte"),
            (u64::MAX, "18447 petabyte"),
        ] {
            assert_eq!(shown(bytes(count)), expected, "{count}");
        }
    }

    #[test]
    fn rates_that_are_no_numbers_are_zero() {
        for value in [f64::NAN, f64::INFINITY, -3.0] {
            assert_eq!(shown(rate(value)), "0 kilobyte-per-second");
        }
        assert_eq!(shown(rate(12_345_678.0)), "12.3 megabyte-per-second");
    }

    #[test]
    fn a_hundred_percent_is_said_only_of_what_is_complete() {
        assert_eq!(shown(percent(999, 1000)), "99 percent");
        assert_eq!(shown(percent(1000, 1000)), "100 percent");
        assert_eq!(shown(percent(29, 100)), "29 percent");
        assert_eq!(shown(percent((2 << 30) - 1, 2 << 30)), "99.9 percent");
        assert_eq!(shown(percent(2 << 30, 2 << 30)), "100 percent");
        assert_eq!(shown(percent(0, 0)), "100 percent");
        assert_eq!(shown(percent_of(f64::NAN)), "0 percent");
    }

    #[test]
    fn a_ratio_is_rounded_down_and_has_the_decimals_that_matter() {
        for (value, expected) in
            [(0.0, "0.00 "), (0.999, "0.99 "), (1.15, "1.15 "), (99.999, "99.99 "), (1234.9, "1234 ")]
        {
            assert_eq!(shown(ratio(value)), expected);
        }
        assert_eq!(shown(ratio(f64::NAN)), "0.00 ");
    }

    #[test]
    fn durations_name_two_units_while_the_second_one_matters() {
        let say = |seconds| {
            duration(seconds).map(|(large, small)| match small {
                Some(small) => format!("{} {}", shown(large), shown(small)),
                None => shown(large),
            })
        };
        assert_eq!(say(0.0).as_deref(), Some("1 second"));
        assert_eq!(say(59.2).as_deref(), Some("1 minute"));
        assert_eq!(say(200.0).as_deref(), Some("3 minute 20 second"));
        assert_eq!(say(660.0 + 5.0).as_deref(), Some("11 minute"));
        assert_eq!(say(3_600.0 * 2.0 + 300.0).as_deref(), Some("2 hour 5 minute"));
        assert_eq!(say(86_400.0 + 7_200.0).as_deref(), Some("1 day 2 hour"));
        assert_eq!(say(f64::INFINITY), None);
        assert_eq!(say(-1.0), None);
        assert_eq!(say(1e12), None);
    }

    proptest! {
        #[test]
        fn no_size_below_a_thousand_petabytes_takes_four_digits(count in 0_u64..999_000_000_000_000_000) {
            prop_assert!(bytes(count).value < 1000.0);
        }

        #[test]
        fn progress_never_leaves_its_bar(done: u64, total: u64) {
            prop_assert!((0.0..=1.0).contains(&share(done, total)));
        }
    }
}
