//! Examples for forecasting a time series. The input is a window of consecutive rows of a table; the target is the number of
//! one column, some rows behind the window.

use std::ops::Range;

use super::csv::Table;
use super::scale::Scaler;
use crate::cpu::philox;
use crate::error::{Error, Result};

/// The days of [`synthetic_ohlcv`] that a training takes: as many as the original experiment's file has.
pub const SYNTHETIC_DAYS: usize = 732;

/// The most numbers in a window, and in all windows that are forecast in one pass: 2³⁰, which are 4 GiB of `f32`.
pub const MAX_INPUTS: usize = 1 << 30;

/// The stream of random numbers of [`synthetic_ohlcv`].
const STREAM: u32 = u32::from_be_bytes(*b"OHLC");

/// A made-up share's daily Open, High, Low, Volume and Close, the oldest day first: a geometric random walk from 100
/// with a deviation of 1.5 % a day.
///
/// It is computed with sums and products alone, because functions such as `ln` differ between platforms. So a seed gives
/// the same bits everywhere.
pub fn synthetic_ohlcv(seed: u64, days: usize) -> Table {
    let mut index = 0;
    let mut uniform = || {
        index += 1;
        f64::from(philox::uniform(seed, STREAM, index))
    };
    let (mut close, mut columns) = (100.0, vec![Vec::new(); 5]);
    // ANCHOR: walk
    for _ in 0..days {
        // A sum of twelve uniform numbers less 6 is nearly normal, and within ±6.
        let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        let open = close * (1.0 + 0.003 * normal());
        // The mean growth is half the variance, so that the logarithm of the price has no trend.
        let change = 0.015 * normal() + 0.000_117;
        close = open * (1.0 + change);
        let high = f64::max(open, close) * (1.0 + 0.005 * normal().abs());
        let low = f64::min(open, close) * (1.0 - 0.005 * normal().abs());
        let volume = (1e6 * (0.5 + uniform()) * (1.0 + 30.0 * f64::abs(change))).round();
        for (column, value) in columns.iter_mut().zip([open, high, low, volume, close]) {
            column.push(value);
        }
    }
    // ANCHOR_END: walk
    Table::new(["Open", "High", "Low", "Volume", "Close"].map(String::from).into(), columns)
}

/// N windows of W consecutive rows of C scaled columns, each a row later than the one before. With each window comes what
/// is to be forecast: the number of the target column, `horizon` rows behind the window's last row.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesWindows {
    /// The scaled rows that the windows are cut from: `[N + W - 1, C]`. Windows overlap, but each row is here once.
    pub inputs: Vec<f32>,
    /// The scaled target of each window: `[N]`, without those at the end, which lie behind the table's last row.
    pub targets: Vec<f32>,
    /// The naive forecast, the target column in the window's last row, scaled: `[N]`.
    pub naive: Vec<f32>,
    /// The table's row of each target, counted from 0: `[N]`. A target behind the last row is in the future.
    pub rows: Vec<usize>,
    /// W, the rows of a window.
    pub window: usize,
    /// C, the columns of the table.
    pub columns: usize,
}

impl SeriesWindows {
    /// The windows that lie in `rows` of the table together with their targets: for training and for testing.
    ///
    /// # Errors
    /// [`Error::Argument`] where `window` or `horizon` is 0, `rows` or the column `target` is not in the table, `rows`
    /// are fewer than `window + horizon`, a window has more than [`MAX_INPUTS`] numbers, the scaler is not one of
    /// the table's columns, or a scaled number is beyond the range of `f32`.
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

    /// All windows of the table: for forecasting. The targets of the last `horizon` windows are not known yet.
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

    /// The windows that lie in `rows`, wherever their targets lie. The caller has checked that there is at least one.
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
        if window.saturating_mul(columns) > MAX_INPUTS {
            let message = format!(
                "a window of {window} rows and {columns} columns is more than {MAX_INPUTS} numbers: take a smaller one"
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
        let naive = |first: usize| numbers[(first + window - 1) * columns + target];
        let target_rows = (0..count).map(|first| (rows.start + first + window - 1).saturating_add(horizon));
        let known = target_rows.clone().take_while(|&row| row < table.rows());
        Ok(Self {
            naive: (0..count).map(naive).collect(),
            inputs: numbers,
            targets: known.map(|row| scaled(row, target)).collect::<Result<_>>()?,
            rows: target_rows.collect(),
            window,
            columns,
        })
    }

    /// The windows of these indices, in this order, as a recurrent layer takes them: `[W, B, C]` for B windows.
    pub fn time_major(&self, which: &[usize]) -> Vec<f32> {
        let columns = self.columns;
        let row = |step, window: usize| &self.inputs[(window + step) * columns..][..columns];
        (0..self.window)
            .flat_map(|step| which.iter().flat_map(move |&window| row(step, window)))
            .copied()
            .collect()
    }
}

/// Splits a series of `rows` rows: the first for training, which are the share `split`, rounded down; the rest for test.
///
/// The range of the test begins `window + horizon - 1` rows before the end of the training part. So the first target of
/// the test is the first row behind the training part.
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
            "{split} of {rows} rows are {training} for training and leave {test} for test; a window of {window} rows \
             and a horizon of {horizon} need {needed} and 1"
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scale::ScalerKind;
    use super::*;

    /// A table of `columns` whose entries say where they stand: 100 · row + column.
    fn places(rows: usize, columns: usize) -> Table {
        let column = |c: usize| (0..rows).map(|row| (100 * row + c) as f64).collect();
        Table::new((0..columns).map(|c| format!("c{c}")).collect(), (0..columns).map(column).collect())
    }

    fn scaler(table: &Table) -> Scaler {
        let columns: Vec<&[f64]> = table.columns.iter().map(Vec::as_slice).collect();
        Scaler::fit(ScalerKind::Minmax, &columns)
    }

    #[test]
    fn synthetic_days_are_a_market_s() {
        for seed in 0..20 {
            let table = synthetic_ohlcv(seed, SYNTHETIC_DAYS);
            assert_eq!(table.names, ["Open", "High", "Low", "Volume", "Close"]);
            assert_eq!(table.columns.iter().map(Vec::len).collect::<Vec<_>>(), [SYNTHETIC_DAYS; 5]);
            let [open, high, low, volume, close] = &table.columns[..] else { unreachable!("five columns") };
            for day in 0..SYNTHETIC_DAYS {
                assert!(high[day] >= open[day].max(close[day]), "seed {seed}, day {day}");
                assert!(low[day] <= open[day].min(close[day]) && low[day] > 0.0, "seed {seed}, day {day}");
                assert!(volume[day] > 0.0 && volume[day].fract() == 0.0, "seed {seed}, day {day}");
            }
            let changes: Vec<f64> = close.windows(2).map(|pair| (pair[1] / pair[0]).ln()).collect();
            let volatility = (changes.iter().map(|x| x * x).sum::<f64>() / changes.len() as f64).sqrt();
            assert!((0.0135..0.0175).contains(&volatility), "seed {seed}: {volatility}");
        }
    }

    #[test]
    fn synthetic_days_depend_on_the_seed_alone() {
        let table = synthetic_ohlcv(1, 50);
        assert_eq!(table, synthetic_ohlcv(1, 50));
        assert_ne!(table.columns[4], synthetic_ohlcv(2, 50).columns[4]);
        assert_eq!(
            table.columns[4],
            synthetic_ohlcv(1, 60).columns[4][..50],
            "more days begin with the same"
        );
        assert_eq!(synthetic_ohlcv(1, 0).rows(), 0);
        // Bits as they were first made: on every platform the same.
        let last: Vec<u64> = table.columns.iter().map(|column| column[49].to_bits()).collect();
        let made = [
            0x4058_2735_b787_d48d,
            0x4058_5b0b_d98e_99a9,
            0x4057_9d3e_022d_d800,
            0x413f_c7a3_0000_0000,
            0x4057_aa99_29dc_78e5,
        ];
        assert_eq!(last, made);
    }

    #[test]
    fn the_original_experiment_has_505_windows() {
        let (training, test) = split_rows(SYNTHETIC_DAYS, 0.7, 7, 1).unwrap();
        assert_eq!((training.clone(), test.clone()), (0..512, 505..732));
        let table = synthetic_ohlcv(0, SYNTHETIC_DAYS);
        let windows = |rows| SeriesWindows::new(&table, &scaler(&table), 4, 7, 1, rows).unwrap();
        let (training, test) = (windows(training), windows(test));
        assert_eq!((training.rows.len(), training.inputs.len()), (505, 511 * 5));
        assert_eq!((training.rows[0], training.rows[504]), (7, 511));
        assert_eq!((test.rows.len(), test.rows[0], test.rows[219]), (220, 512, 731));
    }

    #[test]
    fn a_split_without_windows_says_what_is_needed() {
        let says =
            |rows, split, window, horizon| split_rows(rows, split, window, horizon).unwrap_err().to_string();
        let needs = "series: a window of 7 rows and a horizon of 1 need 9 rows or more, but there are 8";
        assert_eq!(says(8, 0.7, 7, 1), needs);
        let split = "split: 0.7 of 11 rows are 7 for training and leave 4 for test; a window of 7 rows and a horizon \
                     of 1 need 8 and 1";
        assert_eq!(says(11, 0.7, 7, 1), split);
        for split in [0.0, 1.0, -1.0, 2.0, f64::NAN, f64::INFINITY] {
            assert!(says(100, split, 7, 1).starts_with("split: "), "{split}");
        }
        for (window, horizon) in [(0, 1), (1, 0)] {
            let says = says(100, 0.7, window, horizon);
            assert_eq!(
                says,
                format!("series: window and horizon must be at least 1, not {window} and {horizon}")
            );
        }
        assert!(says(100, 0.7, usize::MAX, usize::MAX).starts_with("series: a window"));
        assert_eq!(split_rows(3, 0.67, 1, 1).unwrap(), (0..2, 1..3));
    }

    #[test]
    fn windows_refuse_what_does_not_fit() {
        let table = places(10, 2);
        let fitted = scaler(&table);
        let says = |scaler, target, window, horizon, rows| {
            SeriesWindows::new(&table, scaler, target, window, horizon, rows).unwrap_err().to_string()
        };
        assert_eq!(says(&fitted, 0, 2, 1, 3..11), "series: rows 3..11 are not in a table of 10 rows");
        let needs = "series: a window of 2 rows and a horizon of 2 need 4 rows or more, but there are ";
        assert_eq!(says(&fitted, 0, 2, 2, 3..6), format!("{needs}3"));
        #[expect(clippy::reversed_empty_ranges, reason = "a caller may")]
        let reversed = 6..3;
        assert_eq!(says(&fitted, 0, 2, 2, reversed), format!("{needs}0"));
        assert!(says(&fitted, 0, 0, 1, 0..10).starts_with("series: window and horizon must be"));
        assert!(says(&fitted, 0, 1, 0, 0..10).starts_with("series: window and horizon must be"));
        assert!(says(&fitted, 0, usize::MAX, 1, 0..10).starts_with("series: a window of"));
        assert_eq!(says(&fitted, 2, 1, 1, 0..10), "series: the target, column 3, is not in a table of 2");
        let other = scaler(&places(10, 3));
        assert_eq!(says(&other, 0, 1, 1, 0..10), "scaler: has 3 offsets and 3 scales for 2 columns");

        let tiny = Scaler::fit(ScalerKind::Minmax, &[&[0.0, 1e-300], &[0.0, 1.0]]);
        let beyond = "series: row 2, column 1 (c0): 1e2 is beyond the range of f32 when scaled";
        assert_eq!(says(&tiny, 1, 1, 1, 0..10), beyond);

        let long = places(60_000, 2);
        let windows = SeriesWindows::new(&long, &scaler(&long), 0, 30_000, 1, 0..60_000).unwrap();
        assert_eq!((windows.rows.len(), windows.inputs.len()), (30_000, 59_999 * 2), "each row is kept once");

        let forecast = |window, horizon| SeriesWindows::forecast(&table, &fitted, 0, window, horizon);
        let needs = "series: a window of 11 rows and a horizon of 1 need 11 rows or more, but there are 10";
        assert_eq!(forecast(11, 1).unwrap_err().to_string(), needs);
        assert!(forecast(0, 1).is_err() && forecast(1, 0).is_err());
        assert_eq!(forecast(10, usize::MAX).unwrap().rows, [usize::MAX]);
    }

    #[test]
    fn a_forecast_goes_behind_the_last_row() {
        let table = places(10, 2);
        let windows = SeriesWindows::forecast(&table, &scaler(&table), 1, 3, 4).unwrap();
        assert_eq!(windows.rows, [6, 7, 8, 9, 10, 11, 12, 13]);
        assert_eq!((windows.targets.len(), windows.naive.len(), windows.inputs.len()), (4, 8, 10 * 2));
        assert_eq!(
            (windows.targets[3], windows.naive[7]),
            (1.0, 1.0),
            "the last row's number is the largest"
        );
    }

    proptest! {
        #[test]
        fn windows_are_where_they_should_be(
            (rows, columns, window, horizon) in (2usize..40, 1usize..4, 1usize..8, 1usize..5),
            (start, target) in (0usize..8, any::<prop::sample::Index>()),
            which in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let (table, target) = (places(rows, columns), target.index(columns));
            let scaler = scaler(&table);
            let at = |row: usize, c: usize| scaler.scale(c, (100 * row + c) as f64) as f32;
            let Ok(windows) = SeriesWindows::new(&table, &scaler, target, window, horizon, start..rows) else {
                prop_assert!(rows < start + window + horizon);
                return Ok(());
            };
            let count = rows - start - window - horizon + 1;
            let all = SeriesWindows::forecast(&table, &scaler, target, window, horizon).unwrap();
            prop_assert_eq!(all.rows.len(), rows - window + 1);
            prop_assert_eq!(&all.targets[start..], &windows.targets[..]);
            prop_assert_eq!(&all.rows[start..start + count], &windows.rows[..]);
            prop_assert_eq!((windows.window, windows.columns), (window, columns));
            prop_assert_eq!(windows.inputs.len(), (count + window - 1) * columns);
            prop_assert_eq!([windows.targets.len(), windows.naive.len(), windows.rows.len()], [count; 3]);
            for n in 0..count {
                let last = start + n + window - 1;
                prop_assert_eq!(windows.rows[n], last + horizon);
                prop_assert_eq!(windows.targets[n], at(last + horizon, target));
                prop_assert_eq!(windows.naive[n], at(last, target));
                for step in 0..window {
                    for c in 0..columns {
                        let found = windows.inputs[(n + step) * columns + c];
                        prop_assert_eq!(found, at(start + n + step, c));
                    }
                }
            }

            let which: Vec<usize> = which.iter().map(|index| index.index(count)).collect();
            let batch = windows.time_major(&which);
            prop_assert_eq!(batch.len(), window * which.len() * columns);
            for (i, &found) in batch.iter().enumerate() {
                let (step, b, c) = (i / columns / which.len(), i / columns % which.len(), i % columns);
                prop_assert_eq!(found, at(start + which[b] + step, c));
            }
        }

        #[test]
        fn both_parts_of_a_split_have_windows(
            rows in 0usize..200, split in 0.0f64..1.0, window in 1usize..20, horizon in 1usize..5,
        ) {
            let table = places(rows, 1);
            let windows = |range| SeriesWindows::new(&table, &scaler(&table), 0, window, horizon, range);
            let boundary = (rows as f64 * split) as usize;
            let Ok((training, test)) = split_rows(rows, split, window, horizon) else {
                prop_assert!(boundary < window + horizon || boundary == rows);
                return Ok(());
            };
            prop_assert_eq!((training.start, training.end, test.end), (0, boundary, rows));
            prop_assert_eq!(windows(training).unwrap().rows.last().copied(), Some(boundary - 1));
            prop_assert_eq!(windows(test).unwrap().rows, (boundary..rows).collect::<Vec<_>>());
        }
    }
}
