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
    /// The minimum and the range + 10⁻⁷, as the original experiment has it. That scales each part, for training and for
    /// test, by a scaler of its own, so that what is to be predicted leaks into the test's inputs.
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

    /// Checks a scaler that was read from a file, before it is used for so many columns.
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
            // Over (x − min) / range, which lies in 0 to 1: no sum cancels, overflows or vanishes.
            let mean_of = |f: &dyn Fn(f64) -> f64| {
                column.iter().map(|&x| f((x - min) / range)).sum::<f64>() / column.len() as f64
            };
            let mean = mean_of(&|u| u);
            let variance = mean_of(&|u| (u - mean) * (u - mean));
            (min + mean * range, variance.sqrt() * range)
        }
    }
}
