//! A column of a table, forecast from windows of all columns: mean squared error on the last step.

use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::Outcome;
use super::config::{Config, DataConfig};
use super::forecast::{Forecast, ForecastMetrics, fit, unscaled};
use super::model::{ModelFiles, SeriesModel, SeriesModelConfig};
use super::run::{DataFacts, Run, Tensors};
use super::task::Task;
use crate::cpu::philox;
use crate::data::csv::{CsvOptions, Table, read_table};
use crate::data::scale::{Scaler, ScalerKind};
use crate::data::series::{SYNTHETIC_DAYS, SeriesWindows, split_rows, synthetic_ohlcv};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::ops::regression_loss::RegressionLoss;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// A table's first rows to train on, and the others to test the forecasts.
#[derive(Debug)]
pub struct SeriesTask {
    model: SeriesModel,
    facts: DataFacts,
    table: Table,
    training: SeriesWindows,
    test: SeriesWindows,
    /// Of the test part.
    scaler: Scaler,
    /// Windows in a step.
    batch: usize,
    /// All windows [W, N, C] and their targets [N, 1], where a step takes all.
    whole: Option<[Tensor; 2]>,
    seed: u64,
    /// The batches taken so far, and the order of the windows in the pass that they belong to.
    taken: u64,
    order: Option<(u64, Vec<usize>)>,
}

/// The table that the settings name: its rows from the oldest on.
///
/// # Errors
/// [`Error::Data`] names file, line and column of what is wrong.
pub fn table(data: &DataConfig) -> Result<Table> {
    let Some(path) = &data.csv else { return Ok(synthetic_ohlcv(0, SYNTHETIC_DAYS)) };
    let DataConfig { delimiter, header, columns, .. } = data.clone();
    let mut table = read_table(path, &CsvOptions { delimiter, header, columns })?;
    if data.newest_first {
        table.reverse();
    }
    Ok(table)
}

impl SeriesTask {
    /// The task of a table; what the settings leave open is set in them.
    ///
    /// # Errors
    /// [`Error::Data`] names file, line and column of what is wrong; [`Error::Argument`] when the settings do not fit the
    /// table or make no model; [`Error::Gpu`] on a fault.
    pub fn new(device: &Device, config: &mut Config) -> Result<SeriesTask> {
        let table = table(&config.data)?;
        let DataConfig { csv, target, newest_first, window, horizon, split, scaler: kind, .. } = &config.data;
        let (window, horizon) = (*window, *horizon);
        let in_csv = |error| match (error, csv) {
            (Error::Argument { message, .. }, Some(path)) => Error::data(path, message),
            (error, _) => error,
        };
        let target = match target {
            None => table.columns.len() - 1,
            Some(name) => table.column(name).ok_or_else(|| {
                let names = table.names.join(", ");
                let message = format!("--target {name} is none of the columns: {names}");
                Error::data(csv.as_deref().unwrap_or(Path::new("the synthetic series")), message)
            })?,
        };
        let (training, test) = split_rows(table.rows(), *split, window, horizon).map_err(in_csv)?;
        let scaler = fit(*kind, &table, training.clone());
        let own =
            if *kind == ScalerKind::Original { fit(*kind, &table, test.clone()) } else { scaler.clone() };
        let windows =
            |scaler, rows| SeriesWindows::new(&table, scaler, target, window, horizon, rows).map_err(in_csv);
        let (training, test) = (windows(&scaler, training)?, windows(&own, test)?);

        let count = training.targets.len();
        let batch = if config.train.batch == 0 { count } else { config.train.batch.min(count) };
        let model = SeriesModelConfig {
            format: 1,
            experiment: config.experiment.name().into(),
            columns: table.names.clone(),
            target,
            newest_first: *newest_first,
            window,
            horizon,
            scaler,
            cell: config.model.cell,
            hidden: *config.model.hidden.get_or_insert(10),
            layers: config.model.layers,
            dropout: config.model.dropout,
        };
        model.check_step(batch)?;
        if let Some(epochs) = config.train.epochs.take() {
            config.train.steps = epochs.saturating_mul(count.div_ceil(batch) as u64);
        }
        let seed = config.train.seed;
        let model = SeriesModel::new(device, model, seed)?;
        let mut task = SeriesTask {
            facts: facts(&table),
            model,
            table,
            training,
            test,
            scaler: own,
            batch,
            whole: None,
            seed,
            taken: 0,
            order: None,
        };
        if batch == count {
            task.whole = Some(task.on_device(&(0..count).collect::<Vec<_>>())?);
        }
        Ok(task)
    }

    /// The forecasts of the training part and of the test part, in the data's own units.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when a forecast is; [`Error::Gpu`] on a fault.
    pub fn forecasts(&self) -> Result<[Vec<Forecast>; 2]> {
        let scaler = &self.model.config.scaler;
        Ok([
            unscaled(&self.model, &self.training, &self.table, scaler)?,
            unscaled(&self.model, &self.test, &self.table, &self.scaler)?,
        ])
    }

    /// The windows of the test part, scaled.
    pub fn test_windows(&self) -> &SeriesWindows {
        &self.test
    }

    /// The name of the column that is forecast.
    pub fn target(&self) -> &str {
        &self.table.names[self.model.config.target]
    }

    /// Windows [W, B, C] and their targets [B, 1].
    fn on_device(&self, which: &[usize]) -> Result<[Tensor; 2]> {
        let (device, windows) = (self.model.parameters.device(), &self.training);
        let shape = [windows.window, which.len(), windows.columns];
        let targets: Vec<f32> = which.iter().map(|window| windows.targets[*window]).collect();
        Ok([
            Tensor::from_f32(device, shape, &windows.time_major(which))?,
            Tensor::from_f32(device, [which.len(), 1], &targets)?,
        ])
    }

    /// The windows of the next batch: every window once in a pass, in an order that the seed gives.
    fn next_batch(&mut self) -> Vec<usize> {
        let count = self.training.targets.len();
        let batches = count.div_ceil(self.batch) as u64;
        let (pass, batch) = (self.taken / batches, (self.taken % batches) as usize);
        self.taken += 1;
        if self.order.as_ref().is_none_or(|(of, _)| *of != pass) {
            self.order = Some((pass, shuffled(count, self.seed, pass)));
        }
        let (_, order) = self.order.as_ref().expect("just made");
        order[batch * self.batch..].iter().take(self.batch).copied().collect()
    }
}

/// 0..count in random order: Fisher and Yates's, with random numbers of their own for each pass.
fn shuffled(count: usize, seed: u64, pass: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for i in (1..count).rev() {
        let index = pass.wrapping_mul(count as u64).wrapping_add(i as u64);
        let j = (f64::from(philox::uniform(seed, SHUFFLE, index)) * (i + 1) as f64) as usize;
        order.swap(i, j.min(i));
    }
    order
}

/// The stream of random numbers for orders; parameters take streams from 0 on.
const SHUFFLE: u32 = u32::MAX;

fn facts(table: &Table) -> DataFacts {
    let mut hash = Xxh3::new();
    for (name, column) in table.names.iter().zip(&table.columns) {
        hash.update(name.as_bytes());
        hash.update(bytemuck::cast_slice(column));
    }
    DataFacts { bytes: (8 * table.columns.len() * table.rows()) as u64, hash: hash.digest() }
}

impl Task for SeriesTask {
    fn model(&self) -> &dyn ModelFiles {
        &self.model
    }

    fn data(&self) -> DataFacts {
        self.facts
    }

    fn loss(&mut self, tape: &mut Tape) -> Result<Var> {
        let [x, y] = match &self.whole {
            Some(whole) => whole.clone(),
            None => {
                let which = self.next_batch();
                self.on_device(&which)?
            }
        };
        let x = tape.constant(&x);
        let forecast = self.model.forward(tape, x)?;
        let y = tape.constant(&y);
        tape.mse_loss(forecast, y, &RegressionLoss::default())
    }

    fn outcome(&mut self, _: &Tape) -> Result<Outcome> {
        let forecasts = unscaled(&self.model, &self.test, &self.table, &self.scaler)?;
        Ok(Outcome::Forecast(ForecastMetrics::of(&forecasts)?))
    }

    fn position(&self) -> Result<(u64, Tensors)> {
        Ok((self.taken, Vec::new()))
    }

    fn seek(&mut self, position: u64, states: &Tensors) -> Result<()> {
        if !states.is_empty() {
            return Err(Error::argument("train", "the checkpoint is not of a time series"));
        }
        self.taken = position;
        Ok(())
    }

    fn save(&self, run: &mut Run) -> Result<()> {
        run.save_forecasts(&self.table.names[self.model.config.target], &self.forecasts()?)
    }
}
