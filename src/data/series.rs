//! Forecasts of a time series: windows of consecutive rows, and the number of one column some rows later.

use std::ops::Range;

use super::csv::Table;
use super::scale::Scaler;
use crate::cpu::philox;
use crate::error::{Error, Result};

/// How many days [`synthetic_ohlcv`] is asked for where nothing is said: as many as the original experiment's file has.
pub const SYNTHETIC_DAYS: usize = 732;

/// The most numbers in the windows of a [`SeriesWindows`]: 2³⁰, which are 4 GiB.
pub const MAX_INPUTS: usize = 1 << 30;

/// The stream of random numbers of [`synthetic_ohlcv`].
const STREAM: u32 = u32::from_be_bytes(*b"OHLC");

/// A made-up share's daily Open, High, Low, Volume and Close, the oldest day first: a geometric random walk from 100
/// with a deviation of 1.5 % a day.
///
/// It is made of sums and products alone, without functions of the platform's library, so that a seed gives the same
/// bits everywhere.
pub fn synthetic_ohlcv(seed: u64, days: usize) -> Table {
    let mut index = 0;
    let mut uniform = || {
        index += 1;
        f64::from(philox::uniform(seed, STREAM, index))
    };
    let (mut close, mut columns) = (100.0, vec![Vec::with_capacity(days); 5]);
    for _ in 0..days {
        // A sum of twelve uniform numbers less 6 is nearly normal, and within ±6.
        let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        let open = close * (1.0 + 0.003 * normal());
        // The mean growth is half the variance: so the logarithm of the price has no trend.
        let change = 0.015 * normal() + 0.000_117;
        close = open * (1.0 + change);
        let high = f64::max(open, close) * (1.0 + 0.005 * normal().abs());
        let low = f64::min(open, close) * (1.0 - 0.005 * normal().abs());
        let volume = (1e6 * (0.5 + uniform()) * (1.0 + 30.0 * f64::abs(change))).round();
        for (column, value) in columns.iter_mut().zip([open, high, low, volume, close]) {
            column.push(value);
        }
    }
    Table { names: ["Open", "High", "Low", "Volume", "Close"].map(String::from).into(), columns }
}

/// N windows of W consecutive rows of C scaled columns, each a row later than the one before, with the number of the
/// target column that is to be forecast, `horizon` rows behind the window's last.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesWindows {
    /// The scaled windows, one after the other: [N, W, C].
    pub inputs: Vec<f32>,
    /// The scaled target of each window: [N], less those at the end that lie behind the table's last row.
    pub targets: Vec<f32>,
    /// The naive forecast, the target column in the window's last row, scaled: [N].
    pub naive: Vec<f32>,
    /// The table's row of each target: [N]; where it is the number of rows or more, it is in the future.
    pub rows: Vec<usize>,
    /// W, the rows of a window.
    pub window: usize,
    /// C, the columns of the table.
    pub columns: usize,
}

impl SeriesWindows {
    /// The windows that lie in `rows` of the table with their targets: what a model is trained and tested on.
    ///
    /// # Errors
    /// [`Error::Argument`] where `window` or `horizon` is 0, `rows` or the column `target` is not in the table, `rows`
    /// are fewer than `window + horizon`, the windows have more than [`MAX_INPUTS`] numbers, the scaler is not one of the
    /// table's columns, or a scaled number is beyond the range of `f32`.
    pub fn new(
        table: &Table,
        scaler: &Scaler,
        target: usize,
        window: usize,
        horizon: usize,
        rows: Range<usize>,
    ) -> Result<Self> {
        if rows.end > table.rows() {
            let message = format!("rows {rows:?} are not in a table of {} rows", table.rows());
            return Err(Error::argument("series", message));
        }
        check_rows(rows.len(), window, horizon, window.saturating_add(horizon))?;
        Self::cut(table, scaler, target, window, horizon, rows.start..rows.end - horizon)
    }

    /// All windows of the table, whose last `horizon` are followed by rows that are not known yet: what a forecast is
    /// made for.
    ///
    /// # Errors
    /// As for [`new`](Self::new), but a table of `window` rows is enough.
    pub fn forecast(
        table: &Table,
        scaler: &Scaler,
        target: usize,
        window: usize,
        horizon: usize,
    ) -> Result<Self> {
        check_rows(table.rows(), window, horizon, window)?;
        Self::cut(table, scaler, target, window, horizon, 0..table.rows())
    }

    /// The windows that lie in `rows`, wherever their targets do; there is one at least.
    fn cut(
        table: &Table,
        scaler: &Scaler,
        target: usize,
        window: usize,
        horizon: usize,
        rows: Range<usize>,
    ) -> Result<Self> {
        let (columns, count) = (table.columns.len(), rows.len() + 1 - window);
        scaler.check(columns)?;
        if target >= columns {
            let message = format!("the target, column {}, is not in a table of {columns}", target + 1);
            return Err(Error::argument("series", message));
        }
        let size = count.saturating_mul(window).saturating_mul(columns);
        if size > MAX_INPUTS {
            let message = format!(
                "{count} windows of {window} rows and {columns} columns are more than {MAX_INPUTS} numbers: \
                 take a smaller window or fewer rows"
            );
            return Err(Error::argument("series", message));
        }
        let scaled = |row: usize, column: usize| {
            let value = table.columns[column][row];
            let scaled = scaler.scale(column, value) as f32;
            if scaled.is_finite() {
                return Ok(scaled);
            }
            let place = format!("row {}, column {} ({})", row + 1, column + 1, table.names[column]);
            let message = format!("{place}: {value:e} is beyond the range of f32 when scaled");
            Err(Error::argument("series", message))
        };
        let mut numbers = Vec::with_capacity(rows.len() * columns);
        for row in rows.clone() {
            for column in 0..columns {
                numbers.push(scaled(row, column)?);
            }
        }
        let windows = |first: usize| &numbers[first * columns..(first + window) * columns];
        let naive = |first: usize| numbers[(first + window - 1) * columns + target];
        let target_rows = (0..count).map(|first| (rows.start + first + window - 1).saturating_add(horizon));
        let known = target_rows.clone().take_while(|&row| row < table.rows());
        Ok(Self {
            inputs: (0..count).flat_map(windows).copied().collect(),
            targets: known.map(|row| scaled(row, target)).collect::<Result<_>>()?,
            naive: (0..count).map(naive).collect(),
            rows: target_rows.collect(),
            window,
            columns,
        })
    }

    /// The windows `which`, in this order, as a recurrent layer takes them: [W, B, C] of B windows.
    pub fn time_major(&self, which: &[usize]) -> Vec<f32> {
        let columns = self.columns;
        let row = |step, window: usize| &self.inputs[(window * self.window + step) * columns..][..columns];
        (0..self.window)
            .flat_map(|step| which.iter().flat_map(move |&window| row(step, window)))
            .copied()
            .collect()
    }
}

/// Splits a series of so many rows into the first for training, the share `split` rounded down, and the rest for test.
///
/// The second range begins `window + horizon - 1` rows before that, so that the first target of the test is the first
/// row behind the training part.
///
/// # Errors
/// [`Error::Argument`] where `window` or `horizon` is 0, or either range has no window with its target.
pub fn split_rows(
    rows: usize,
    split: f64,
    window: usize,
    horizon: usize,
) -> Result<(Range<usize>, Range<usize>)> {
    let needed = window.saturating_add(horizon);
    check_rows(rows, window, horizon, needed.saturating_add(1))?;
    let training = ((rows as f64 * split) as usize).min(rows);
    let test = rows - training;
    if training < needed || test == 0 {
        let message = format!(
            "{split} of {rows} rows are {training} for training and leave {test} for test; a window of {window} rows and \
             a horizon of {horizon} need {needed} and 1"
        );
        return Err(Error::argument("split", message));
    }
    Ok((0..training, training + 1 - needed..rows))
}

/// An error where a window has no rows or no horizon, or `rows` are fewer than `needed`.
fn check_rows(rows: usize, window: usize, horizon: usize, needed: usize) -> Result<()> {
    if window == 0 || horizon == 0 {
        let message = format!("window and horizon must be at least 1, not {window} and {horizon}");
        return Err(Error::argument("series", message));
    }
    if rows < needed {
        let asked =
            format!("a window of {window} rows and a horizon of {horizon} need {needed} rows or more");
        return Err(Error::argument("series", format!("{asked}, but there are {rows}")));
    }
    Ok(())
}
