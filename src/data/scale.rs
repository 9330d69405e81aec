//! Scaling of the columns of a table: x' = (x − offset) / scale, with two numbers for each column.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which statistics of a column scale it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScalerKind {
    /// To 0 to 1: the minimum and the range.
    #[default]
    Minmax,
    /// To mean 0 and variance 1: the mean and the standard deviation of the population.
    Standard,
    /// The minimum and the range + 10⁻⁷, as in the original experiment. There the training part and the test part each
    /// have a scaler of their own, fitted to their own rows. So what is to be predicted leaks into the inputs of the test.
    Original,
}

/// Offset and scale of each column: x' = (x − offset) / scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    kind: ScalerKind,
    offset: Vec<f64>,
    scale: Vec<f64>,
}

impl Scaler {
    /// The scaler of columns of finite numbers within the range of `f32`, as [`read_table`](super::csv::read_table)
    /// gives them. The scale of a column that is constant or empty is 1.
    pub fn fit(kind: ScalerKind, columns: &[&[f64]]) -> Self {
        let (offset, scale) = columns.iter().map(|column| offset_and_scale(kind, column)).unzip();
        Self { kind, offset, scale }
    }

    /// Which statistics it has.
    pub fn kind(&self) -> ScalerKind {
        self.kind
    }

    /// A number of a column, scaled.
    pub fn scale(&self, column: usize, x: f64) -> f64 {
        (x - self.offset[column]) / self.scale[column]
    }

    /// The number of a column that is `y` when scaled.
    pub fn unscale(&self, column: usize, y: f64) -> f64 {
        y * self.scale[column] + self.offset[column]
    }

    /// The size of one scaled unit in the units of the column: what an error is multiplied by.
    pub fn factor(&self, column: usize) -> f64 {
        self.scale[column]
    }

    /// Checks a scaler that was read from a file, before it is used for a table of that many `columns`.
    ///
    /// # Errors
    /// [`Error::Argument`] unless it has a finite offset and a finite scale above 0 for each column.
    pub fn check(&self, columns: usize) -> Result<()> {
        let (offsets, scales) = (self.offset.len(), self.scale.len());
        if (offsets, scales) != (columns, columns) {
            let message = format!("has {offsets} offsets and {scales} scales for {columns} columns");
            return Err(Error::argument("scaler", message));
        }
        for (index, (&offset, &scale)) in self.offset.iter().zip(&self.scale).enumerate() {
            if !(offset.is_finite() && scale.is_finite() && scale > 0.0) {
                let number = index + 1;
                let found = format!("column {number} has offset {offset:e} and scale {scale:e}");
                let message = format!("{found}; both must be finite and the scale above 0");
                return Err(Error::argument("scaler", message));
            }
        }
        Ok(())
    }
}

fn offset_and_scale(kind: ScalerKind, column: &[f64]) -> (f64, f64) {
    let Some(min) = column.iter().copied().reduce(f64::min) else { return (0.0, 1.0) };
    let range = column.iter().fold(min, |max, &x| max.max(x)) - min;
    if range == 0.0 {
        return (min, 1.0);
    }
    match kind {
        ScalerKind::Minmax => (min, range),
        ScalerKind::Original => (min, range + 1e-7),
        ScalerKind::Standard => {
            // Computed of (x − min) / range, which lies in 0 to 1: so no sum cancels, overflows or underflows.
            let mean_of = |f: &dyn Fn(f64) -> f64| {
                column.iter().map(|&x| f((x - min) / range)).sum::<f64>() / column.len() as f64
            };
            let mean = mean_of(&|u| u);
            let variance = mean_of(&|u| (u - mean) * (u - mean));
            (min + mean * range, variance.sqrt() * range)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [ScalerKind; 3] = [ScalerKind::Minmax, ScalerKind::Standard, ScalerKind::Original];

    #[test]
    fn known_answers() {
        let column: &[f64] = &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        for (kind, offset, scale) in [
            (ScalerKind::Minmax, 2.0, 7.0),
            (ScalerKind::Standard, 5.0, 2.0),
            (ScalerKind::Original, 2.0, 7.0 + 1e-7),
        ] {
            let scaler = Scaler::fit(kind, &[&[0.0, 1.0], column]);
            assert_eq!(scaler.kind(), kind);
            assert!((scaler.unscale(1, 0.0) - offset).abs() < 1e-14, "{kind:?}");
            assert!((scaler.factor(1) - scale).abs() < 1e-14, "{kind:?}");
            assert!((scaler.scale(1, 12.0) - (12.0 - offset) / scale).abs() < 1e-14, "{kind:?}");
        }
        // A mean that is large beside the deviation does not spoil it.
        let far: Vec<f64> = column.iter().map(|x| 1e9 + x).collect();
        let scaler = Scaler::fit(ScalerKind::Standard, &[&far]);
        assert!((scaler.factor(0) - 2.0).abs() < 1e-14, "{scaler:?}");
    }

    #[test]
    fn constant_and_empty_columns_have_scale_1() {
        for kind in KINDS {
            let scaler = Scaler::fit(kind, &[&[7.5; 3], &[], &[-0.1]]);
            assert_eq!([0, 1, 2].map(|c| scaler.factor(c)), [1.0; 3], "{kind:?}");
            assert_eq!([scaler.scale(0, 7.5), scaler.scale(1, 3.0), scaler.scale(2, -0.1)], [0.0, 3.0, 0.0]);
            scaler.check(3).unwrap();
        }
    }

    #[test]
    fn extreme_columns_neither_overflow_nor_vanish() {
        let most = f64::from(f32::MAX);
        for column in [&[-most, most][..], &[0.0, f64::MIN_POSITIVE], &[0.0, 1e-200, most]] {
            for kind in KINDS {
                let scaler = Scaler::fit(kind, &[column]);
                scaler.check(1).unwrap();
                assert!(column.iter().all(|&x| scaler.scale(0, x).abs() <= 2.0), "{kind:?} {column:?}");
            }
        }
    }

    #[test]
    fn a_loaded_scaler_is_checked() {
        let load = |json: &str| serde_json::from_str::<Scaler>(json).unwrap();
        let good = load(r#"{"kind":"minmax","offset":[1.0,0],"scale":[2.0,1e-9]}"#);
        good.check(2).unwrap();
        assert_eq!(good.scale(0, 2.0), 0.5);
        let says = |scaler: Scaler, columns| scaler.check(columns).unwrap_err().to_string();
        assert_eq!(says(good, 3), "scaler: has 2 offsets and 2 scales for 3 columns");
        let short = load(r#"{"kind":"standard","offset":[1.0],"scale":[]}"#);
        assert_eq!(says(short, 1), "scaler: has 1 offsets and 0 scales for 1 columns");
        for (offset, scale) in
            [(0.0, 0.0), (0.0, -1.0), (0.0, f64::NAN), (f64::NAN, 1.0), (f64::INFINITY, 1.0)]
        {
            let bad =
                Scaler { kind: ScalerKind::Original, offset: vec![0.0, offset], scale: vec![1.0, scale] };
            let found = format!("scaler: column 2 has offset {offset:e} and scale {scale:e}");
            assert_eq!(says(bad, 2), format!("{found}; both must be finite and the scale above 0"));
        }
        assert!(serde_json::from_str::<Scaler>(r#"{"kind":"Minmax","offset":[],"scale":[]}"#).is_err());
    }

    proptest! {
        #[test]
        fn unscaling_undoes_scaling(
            column in prop::collection::vec(-1e6f64..1e6, 1..100),
            kind in prop::sample::select(&KINDS[..]),
        ) {
            let scaler = Scaler::fit(kind, &[&column]);
            let most = column.iter().fold(1.0, |most: f64, x| most.max(x.abs()));
            for &x in &column {
                let error = (scaler.unscale(0, scaler.scale(0, x)) - x).abs();
                prop_assert!(error <= 4.0 * f64::EPSILON * most, "{} of {}", error, x);
            }
            let scaled: Vec<f64> = column.iter().map(|&x| scaler.scale(0, x)).collect();
            let constant = column.iter().all(|x| *x == column[0]);
            let mean = |f: &dyn Fn(f64) -> f64| scaled.iter().map(|&y| f(y)).sum::<f64>() / scaled.len() as f64;
            match kind {
                _ if constant => prop_assert!(scaled.iter().all(|&y| y == 0.0)),
                ScalerKind::Standard => {
                    let tolerance = 1e-15 * most / scaler.factor(0) + 1e-13;
                    prop_assert!(mean(&|y| y).abs() <= 10.0 * tolerance, "mean {}", mean(&|y| y));
                    prop_assert!((mean(&|y| y * y) - 1.0).abs() <= 10.0 * tolerance, "variance {}", mean(&|y| y * y));
                }
                _ => prop_assert!(scaled.iter().all(|y| (0.0..=1.0).contains(y)) && scaled.contains(&0.0)),
            }

            let stored = serde_json::to_string(&scaler).unwrap();
            prop_assert_eq!(serde_json::from_str::<Scaler>(&stored).unwrap(), scaler);
        }
    }
}
