//! Axes: the range of the data, and ticks at round numbers.

/// Values beyond this bound, on either side of 0, are drawn at it. So no difference of two values overflows.
const BOUND: f64 = 1e300;

/// The least and the greatest finite value seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    lo: f64,
    hi: f64,
    integers: bool,
}

impl Extent {
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Extent {
        let none = Extent { lo: f64::INFINITY, hi: f64::NEG_INFINITY, integers: true };
        values.filter(|v| v.is_finite()).fold(none, |seen, v| {
            let v = v.clamp(-BOUND, BOUND);
            Extent { lo: seen.lo.min(v), hi: seen.hi.max(v), integers: seen.integers && v.fract() == 0.0 }
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lo > self.hi
    }
}

/// A range of values along one side of a picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    /// The ends; where the axis is logarithmic, their logarithms to base 10.
    lo: f64,
    hi: f64,
    log: bool,
    /// Whether all values are whole numbers: then there are no ticks between them.
    integers: bool,
}

impl Axis {
    /// From the least to the greatest value.
    pub(super) fn exact(extent: Extent) -> Axis {
        let Extent { lo, hi, integers } = extent;
        if extent.is_empty() {
            return Axis { lo: 0.0, hi: 1.0, log: false, integers: false };
        }
        let least = (1e-6 * lo.abs().max(hi.abs())).max(1e-290); // finer differences have no readable ticks
        if hi - lo >= least {
            return Axis { lo, hi, log: false, integers };
        }
        let around = if lo == 0.0 { 1.0 } else { lo.abs().max(hi.abs()) * 0.1 + 1e-290 };
        Axis { lo: lo - around, hi: hi + around, log: false, integers }
    }

    /// With room above and below. It begins at zero where the least value is near it.
    pub(super) fn roomy(extent: Extent) -> Axis {
        let Axis { lo, hi, .. } = Axis::exact(extent);
        let room = 0.05 * (hi - lo);
        let near_zero = extent.lo >= 0.0 && extent.lo < 0.25 * (hi - lo);
        Axis { lo: if near_zero { 0.0 } else { lo - room }, hi: hi + room, log: false, integers: false }
    }

    /// A logarithmic axis, for values above zero.
    pub(super) fn logarithmic(extent: Extent) -> Axis {
        if extent.is_empty() {
            return Axis { lo: 0.0, hi: 1.0, log: true, integers: false };
        }
        let (lo, hi) = (extent.lo.max(1.0 / BOUND).log10(), extent.hi.max(1.0 / BOUND).log10());
        let room = (0.05 * (hi - lo)).clamp(0.02, 1.0);
        Axis { lo: lo - room, hi: hi + room, log: true, integers: false }
    }

    /// Where `v` lies on the axis, from 0 to 1. None where it has no place: it is not finite, or not above 0 on a logarithmic axis.
    pub(super) fn place(&self, v: f64) -> Option<f64> {
        if !v.is_finite() || self.log && v <= 0.0 {
            return None;
        }
        let bounded = if self.log { v.clamp(1.0 / BOUND, BOUND) } else { v.clamp(-BOUND, BOUND) };
        Some(self.fraction(bounded))
    }

    fn fraction(&self, v: f64) -> f64 {
        ((if self.log { v.log10() } else { v }) - self.lo) / (self.hi - self.lo)
    }

    /// About `most` ticks, or fewer, at round values: their places, from 0 to 1, and labels.
    pub(super) fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        let at = |(v, label): (f64, String)| (self.fraction(v), label);
        if self.log {
            return self.log_ticks(most.max(2)).into_iter().map(at).collect();
        }
        linear_ticks(self.lo, self.hi, most, self.integers).into_iter().map(at).collect()
    }

    fn log_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let (first, last) = (self.lo.ceil() as i32, self.hi.floor() as i32);
        let label = |v: f64| {
            (v, if (1e-3..1e5).contains(&v) { format!("{v}") } else { format!("{v:e}").replace('-', "−") })
        };
        // A digit times a power of ten. It is parsed from text, which gives the number nearest to what the label says.
        let round =
            |exponent: i32, digit: u32| format!("{digit}e{exponent}").parse::<f64>().expect("a number");
        if last - first >= 2 {
            let step = (last - first + 1).div_euclid(most as i32) + 1;
            let powers = (first..=last).filter(|power| power.rem_euclid(step) == 0);
            return powers.map(|power| label(round(power, 1))).collect();
        }
        let fine = (first - 1..=last).flat_map(|power| [1, 2, 5].map(|digit| round(power, digit)));
        let fine: Vec<_> = fine.filter(|v| (self.lo..=self.hi).contains(&v.log10())).collect();
        if fine.len() >= 3 {
            return fine.into_iter().map(label).collect();
        }
        let (lo, hi) = (10f64.powf(self.lo), 10f64.powf(self.hi));
        linear_ticks(lo, hi, most.min(5), false).into_iter().filter(|t| t.0 > 0.0).collect()
    }
}

fn linear_ticks(lo: f64, hi: f64, most: usize, integers: bool) -> Vec<(f64, String)> {
    let raw = (hi - lo) / most.max(1) as f64;
    let power = raw.log10().floor() as i32;
    let (digit, power) = match raw / 10f64.powi(power) - 1e-9 {
        r if r <= 1.0 => (1.0, power),
        r if r <= 2.0 => (2.0, power),
        r if r <= 5.0 => (5.0, power),
        _ => (1.0, power + 1),
    };
    let (digit, power) = if integers && power < 0 { (1.0, 0) } else { (digit, power) };
    // A multiple of the step. Where the step is a fraction, it is divided: 3 / 10 is the number 0.3, but 3 x 0.1 is not.
    let value = |i: i64| {
        let i = i as f64 * digit;
        if (-300..0).contains(&power) { i / 10f64.powi(-power) } else { i * 10f64.powi(power) }
    };
    let step = digit * 10f64.powi(power);
    let (first, last) = ((lo / step - 1e-9).ceil() as i64, (hi / step + 1e-9).floor() as i64);
    let values: Vec<f64> = (first..=last).map(value).collect();
    let labels = labels(&values, power);
    values.into_iter().zip(labels).collect()
}

/// The labels of `values`, which are multiples of 10^`power`. All are written in the same way: plain, with a suffix such as k
/// for thousands, or with an exponent.
fn labels(values: &[f64], power: i32) -> Vec<String> {
    let most = values.iter().fold(0f64, |most, v| most.max(v.abs()));
    let plain = most == 0.0 || (1e-3..1e15).contains(&most);
    let (unit, suffix) = match most {
        1e12.. => (12, "T"),
        1e9.. => (9, "G"),
        1e6.. => (6, "M"),
        1e4.. => (3, "k"),
        _ => (0, ""),
    };
    let (unit, suffix) = if unit - power > 3 { (0, "") } else { (unit, suffix) }; // nobody reads 1.000001M
    let label = |&v: &f64| {
        if v == 0.0 {
            return "0".into();
        }
        let text = if plain {
            format!("{:.*}{suffix}", (unit - power).max(0) as usize, v / 10f64.powi(unit))
        } else {
            let exponent = v.abs().log10().floor() as i32;
            format!("{:.*e}", (exponent - power).max(0) as usize, v)
        };
        text.replace('-', "−")
    };
    values.iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels_of(axis: Axis, most: usize) -> Vec<String> {
        axis.ticks(most).into_iter().map(|(_, label)| label).collect()
    }

    fn exact(values: &[f64]) -> Axis {
        Axis::exact(Extent::of(values.iter().copied()))
    }

    #[test]
    fn ticks_are_round() {
        for (ends, most, expected) in [
            ([0.0, 0.99], 5, &["0", "0.2", "0.4", "0.6", "0.8"][..]),
            ([-1.1, 1.1], 5, &["−1.0", "−0.5", "0", "0.5", "1.0"]),
            ([0.0, 20_000.0], 4, &["0", "5k", "10k", "15k", "20k"]),
            ([0.0, 2.0], 10, &["0", "1", "2"]), // whole numbers only
            ([1e-30, 3e-30], 2, &["1e−30", "2e−30", "3e−30"]),
            ([1e6, 1.01e6], 2, &["1.000M", "1.005M", "1.010M"]),
            ([1e6, 1e6 + 2.0], 2, &["1000000", "1000001", "1000002"]),
            ([-2e30, 1e30], 3, &["−2e30", "−1e30", "0", "1e30"]),
        ] {
            assert_eq!(labels_of(exact(&ends), most), expected, "{ends:?}");
        }
    }

    #[test]
    fn logarithmic_ticks() {
        let log = |lo: f64, hi: f64| labels_of(Axis::logarithmic(Extent::of([lo, hi].into_iter())), 6);
        assert_eq!(log(1e-3, 10.0), ["0.001", "0.01", "0.1", "1", "10"]);
        assert_eq!(log(1e-30, 1e30), ["1e−22", "1e−11", "1", "1e11", "1e22"]);
        assert_eq!(log(1.0, 9.0), ["1", "2", "5", "10"]);
        assert_eq!(log(2.1, 2.3), ["2.1", "2.2", "2.3", "2.4"]);
        assert!(!log(7.0, 7.0).is_empty());
    }

    #[test]
    fn ranges_have_an_extent() {
        for values in
            [&[][..], &[5.0], &[0.0, 0.0], &[f64::NAN], &[1e16, 1e16 + 2.0], &[f64::MAX, f64::MIN], &[5e-324]]
        {
            let axis = exact(values);
            assert!(axis.hi > axis.lo && !axis.ticks(5).is_empty(), "{values:?}");
        }
        assert_eq!(Axis::roomy(Extent::of([0.1, 3.0].into_iter())).lo, 0.0);
        assert!(Axis::roomy(Extent::of([7.0, 8.0].into_iter())).lo > 6.0);
    }

    proptest! {
        #[test]
        fn any_range_has_few_ticks_inside(a in prop::num::f64::ANY, b in prop::num::f64::ANY, most in 1usize..20) {
            let extent = Extent::of([a, b].into_iter());
            let positive = Extent::of([a, b].into_iter().filter(|&v| v > 0.0));
            for axis in [Axis::exact(extent), Axis::roomy(extent), Axis::logarithmic(positive)] {
                let ticks = axis.ticks(most);
                prop_assert!(ticks.len() <= most.max(8) + 2, "{:?}", ticks);
                prop_assert!(ticks.iter().all(|(at, label)| (-0.01..=1.01).contains(at) && label.chars().count() < 16));
                prop_assert!(ticks.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1), "{:?}", ticks);
            }
        }
    }
}
