//! What a model of a time series forecasts, and how well.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::decimals;
use super::model::SeriesModel;
use crate::data::csv::{Table, cut};
use crate::data::scale::{Scaler, ScalerKind};
use crate::data::series::SeriesWindows;
use crate::error::{Error, Result};
use crate::files::read_whole;
use crate::tape::Tape;
use crate::tensor::Tensor;

/// How well forecasts do, in the data's own units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForecastMetrics {
    /// The model's mean squared error.
    pub test_mse: f64,
    /// The model's mean absolute error.
    pub test_mae: f64,
    /// The mean squared error of the naive forecast: that the target stays as it is.
    pub naive_mse: f64,
    /// The mean absolute error of the naive forecast.
    pub naive_mae: f64,
    /// The forecasts that were compared.
    pub count: u64,
    /// The model's mean squared error on all training windows, scaled. Given where a step takes only some of the windows: then
    /// the loss of the last step says less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_mse: Option<f64>,
}

impl ForecastMetrics {
    /// Whether the model is nearer than the naive forecast, by both errors.
    pub fn beats_naive(&self) -> bool {
        self.test_mse < self.naive_mse && self.test_mae < self.naive_mae
    }

    /// The metrics of those forecasts whose outcome is known.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is none.
    pub fn of(forecasts: &[Forecast]) -> Result<ForecastMetrics> {
        let known: Vec<(f64, f64)> = forecasts
            .iter()
            .filter_map(|f| f.actual.map(|actual| (f.predicted - actual, f.naive - actual)))
            .collect();
        if known.is_empty() {
            return Err(Error::argument(
                "forecast",
                "no forecast's outcome is known: there are too few rows",
            ));
        }
        let mean = |error: fn(&(f64, f64)) -> f64| known.iter().map(error).sum::<f64>() / known.len() as f64;
        Ok(ForecastMetrics {
            test_mse: mean(|(model, _)| model * model),
            test_mae: mean(|(model, _)| model.abs()),
            naive_mse: mean(|(_, naive)| naive * naive),
            naive_mae: mean(|(_, naive)| naive.abs()),
            count: known.len() as u64,
            train_mse: None,
        })
    }
}

/// One forecast, in the data's own units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// The table's row that it is for, counted from 0, the oldest first.
    pub row: usize,
    /// What the row holds, unless it lies behind the table's end.
    pub actual: Option<f64>,
    /// What the model says.
    pub predicted: f64,
    /// The target in the last row of the window.
    pub naive: f64,
}

/// The most windows that are forecast in one pass, and the most numbers in a tensor of it: 64 MiB.
const BATCH: usize = 4096;
const MOST: usize = 1 << 24;

/// The scaled forecast of each window.
///
/// # Errors
/// [`Error::NonFinite`] when a forecast is; [`Error::Gpu`] on a fault.
pub fn scaled(model: &SeriesModel, windows: &SeriesWindows) -> Result<Vec<f32>> {
    let mut tape = Tape::new(&model.parameters);
    let all: Vec<usize> = (0..windows.naive.len()).collect();
    let mut forecasts = Vec::with_capacity(all.len());
    // At each step a window keeps up to four numbers for each unit.
    let most = MOST / (windows.window * windows.columns.max(4 * model.config.hidden)).max(1);
    for batch in all.chunks(most.clamp(1, BATCH)) {
        tape.clear();
        let shape = [windows.window, batch.len(), windows.columns];
        let x = Tensor::from_f32(model.parameters.device(), shape, &windows.time_major(batch))?;
        let y = tape.no_grad(|tape| {
            let x = tape.constant(&x);
            model.forward(tape, x)
        })?;
        forecasts.extend(tape.value(y)?.to_vec()?);
    }
    match forecasts.iter().all(|x| x.is_finite()) {
        true => Ok(forecasts),
        false => Err(Error::NonFinite { what: "the model's output".into(), at: None }),
    }
}

/// The mean squared error of the scaled forecasts.
///
/// # Errors
/// As [`scaled`].
pub(super) fn scaled_mse(model: &SeriesModel, windows: &SeriesWindows) -> Result<f64> {
    let forecasts = scaled(model, windows)?;
    let error = |(y, target): (&f32, &f32)| (f64::from(*y) - f64::from(*target)).powi(2);
    Ok(forecasts.iter().zip(&windows.targets).map(error).sum::<f64>() / windows.targets.len() as f64)
}

/// The forecast of each window in the data's own units.
///
/// # Errors
/// As [`scaled`].
pub fn unscaled(
    model: &SeriesModel,
    windows: &SeriesWindows,
    table: &Table,
    scaler: &Scaler,
) -> Result<Vec<Forecast>> {
    let target = model.config.target;
    let column = &table.columns[target];
    let forecasts = scaled(model, windows)?.into_iter().zip(&windows.rows);
    let forecast = |(y, row): (f32, &usize)| Forecast {
        row: *row,
        actual: column.get(*row).copied(),
        predicted: scaler.unscale(target, y.into()),
        naive: column[row - model.config.horizon],
    };
    Ok(forecasts.map(forecast).collect())
}

/// The scaler of new data: the model's own, but for the kind `original`, which scales every table by its own numbers.
pub fn scaler_of(model: &SeriesModel, table: &Table) -> Scaler {
    match model.config.scaler.kind() {
        ScalerKind::Original => fit(ScalerKind::Original, table, 0..table.rows()),
        _ => model.config.scaler.clone(),
    }
}

/// The scaler of some rows of a table.
pub(super) fn fit(kind: ScalerKind, table: &Table, rows: std::ops::Range<usize>) -> Scaler {
    let columns: Vec<&[f64]> = table.columns.iter().map(|column| &column[rows.clone()]).collect();
    Scaler::fit(kind, &columns)
}

/// Forecasts from every window of a table with the model's columns, the oldest row first; the last of them are for rows
/// behind its end.
///
/// # Errors
/// [`Error::Argument`] when the table has not the model's columns, or fewer rows than a window; as [`scaled`].
pub fn forecast(model: &SeriesModel, table: &Table) -> Result<Vec<Forecast>> {
    let config = &model.config;
    if table.columns.len() != config.columns.len() {
        let (found, wanted) = (table.columns.len(), config.columns.len());
        let message =
            format!("the model reads {wanted} columns ({}), got {found}", config.columns.join(", "));
        return Err(Error::argument("forecast", message));
    }
    let scaler = scaler_of(model, table);
    let windows = SeriesWindows::forecast(table, &scaler, config.target, config.window, config.horizon)?;
    unscaled(model, &windows, table, &scaler)
}

/// The longest file of forecasts that is read.
const MAX_BYTES: u64 = 1 << 30;

/// The line above the forecasts in a run's `forecasts.csv`.
pub(super) const HEAD: &str = "part,row,actual,predicted,naive";

/// The target's name and the forecasts, the training part's first, of a run's `forecasts.csv`.
///
/// # Errors
/// [`Error::Data`] names the line that is no forecast.
pub fn read_forecasts(path: &Path) -> Result<(String, [Vec<Forecast>; 2])> {
    let bad = |message: &str| Error::data(path, message);
    let text = String::from_utf8(read_whole(path, MAX_BYTES)?).map_err(|_| bad("is not UTF-8 text"))?;
    // The name of the target may hold line breaks.
    let (target, rows) =
        text.rsplit_once(&format!("\n{HEAD}\n")).ok_or_else(|| bad("holds no forecasts of a run"))?;
    let first = target.lines().count() + 2;
    let target = target.trim_start_matches("# ").rsplit_once(": ").map_or(target, |(target, _)| target);
    let mut forecasts = [Vec::new(), Vec::new()];
    for (number, line) in (first..).zip(rows.lines()) {
        let (part, forecast) =
            parse(line).ok_or_else(|| bad(&format!("line {number}: is no forecast: '{}'", cut(line))))?;
        forecasts[part].push(forecast);
    }
    Ok((target.into(), forecasts))
}

/// The part, 0 for training, and the forecast of a line.
fn parse(line: &str) -> Option<(usize, Forecast)> {
    // Six parts at most, one too many: a line of nothing but commas makes no long list.
    let [part, row, actual, predicted, naive] = line.splitn(6, ',').collect::<Vec<_>>().try_into().ok()?;
    let part = ["training", "test"].iter().position(|name| *name == part)?;
    let number = |text: &str| text.parse().ok().filter(|x: &f64| x.is_finite());
    let actual = if actual.is_empty() { None } else { Some(number(actual)?) };
    let row = row.parse::<usize>().ok()?.checked_sub(1)?;
    Some((part, Forecast { row, actual, predicted: number(predicted)?, naive: number(naive)? }))
}

impl std::fmt::Display for ForecastMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ForecastMetrics { test_mse, test_mae, naive_mse, naive_mae, count, .. } = *self;
        let [test_mse, test_mae, naive_mse, naive_mae] =
            [test_mse, test_mae, naive_mse, naive_mae].map(|error| decimals(error, 6));
        let forecasts = if count == 1 { "forecast" } else { "forecasts" };
        write!(
            f,
            "{count} {forecasts} in the data's units: mean squared error {test_mse}, mean absolute error {test_mae}; \
             naive, that nothing changes: {naive_mse}, {naive_mae}"
        )
    }
}
