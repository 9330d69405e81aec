//! A forecast of one column of a table from windows of all columns. The loss is the mean squared error of the forecasts.

use std::path::Path;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::Outcome;
use super::config::{Config, DataConfig};
use super::forecast::{Forecast, ForecastMetrics, fit, scaled_mse, unscaled};
use super::model::{ModelFiles, SeriesModel, SeriesModelConfig};
use super::run::{DataFacts, MOST_COUNTED, Run};
use super::task::{Part, Place, Task};
use crate::cpu::philox;
use crate::data::csv::{CsvOptions, Table, cut, read_table};
use crate::data::scale::{Scaler, ScalerKind};
use crate::data::series::{SYNTHETIC_DAYS, SeriesWindows, split_rows, synthetic_ohlcv};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::ops::regression_loss::RegressionLoss;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// The task to forecast a time series. The first rows of a table are trained on; the others test the forecasts.
#[derive(Debug)]
pub struct SeriesTask {
    model: SeriesModel,
    facts: DataFacts,
    about: Vec<String>,
    table: Arc<Table>,
    training: SeriesWindows,
    test: SeriesWindows,
    /// The scaler of the test part.
    scaler: Scaler,
    /// Windows in a step.
    batch: usize,
    /// All windows [W, N, C] and their targets [N, 1], where a step takes all.
    whole: Option<[Tensor; 2]>,
    seed: u64,
    /// The batches taken so far, and the order of the windows in the pass that they belong to.
    taken: u64,
    order: Option<(u64, Vec<usize>)>,
    /// The windows of the step's batch.
    which: Vec<usize>,
}

/// The table that the settings name: its rows from the oldest on.
///
/// # Errors
/// [`Error::Data`] names file, line and column of what is wrong; [`Error::Argument`] when the settings do not fit the
/// synthetic series.
pub fn table(data: &DataConfig) -> Result<Table> {
    let DataConfig { delimiter, header, columns, .. } = data.clone();
    let mut table = match &data.csv {
        Some(path) => read_table(path, &CsvOptions { delimiter, header, columns })?,
        None if delimiter.is_some() || header.is_some() => {
            let message = "--delimiter and --header say how a file is read: name it with --csv FILE";
            return Err(Error::argument("timeseries", message));
        }
        None => {
            let table = synthetic_ohlcv(0, SYNTHETIC_DAYS);
            columns.map_or(Ok(table.clone()), |columns| table.select(&columns))?
        }
    };
    if data.newest_first {
        table.reverse();
    }
    Ok(table)
}

impl SeriesTask {
    /// The task of the table that the settings name. What they leave open is filled in.
    ///
    /// # Errors
    /// [`Error::Data`] names file, line and column of what is wrong; [`Error::Argument`] when the settings do not fit the
    /// table or make no model; [`Error::Gpu`] on a fault.
    pub fn new(device: &Device, config: &mut Config) -> Result<SeriesTask> {
        SeriesTask::of_table(device, config, Arc::new(table(&config.data)?))
    }

    /// The task of a table that has been read as the settings say.
    pub(super) fn of_table(device: &Device, config: &mut Config, table: Arc<Table>) -> Result<SeriesTask> {
        let DataConfig { csv, target, newest_first, window, horizon, split, scaler: kind, .. } = &config.data;
        let (window, horizon) = (*window, *horizon);
        let in_csv = |error| match (error, csv) {
            (Error::Argument { message, .. }, Some(path)) => Error::data(path, message),
            (error, _) => error,
        };
        let hidden =
            config.model.hidden.ok_or_else(|| Error::argument("SeriesTask", "hidden must be given"))?;
        let target = match target {
            None => table.columns.len() - 1,
            Some(name) => table.column(name).ok_or_else(|| {
                let column = |(number, name): (&usize, &String)| format!("{number} ({})", cut(name));
                let columns = listed(table.numbers.iter().zip(&table.names).map(column));
                let message = format!("--target {name} is none of the columns: {columns}");
                Error::data(csv.as_deref().unwrap_or(Path::new("the synthetic series")), message)
            })?,
        };
        let (training, test) = split_rows(table.rows(), *split, window, horizon).map_err(in_csv)?;
        let about = about(&table, &config.data, target, training.end);
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
            hidden,
            layers: config.model.layers,
            dropout: config.model.dropout,
        };
        model.check_step(batch)?;
        if let Some(epochs) = config.train.epochs.take() {
            config.train.steps = epochs.saturating_mul(count.div_ceil(batch) as u64).min(i64::MAX as u64);
        }
        let seed = config.train.seed;
        let model = SeriesModel::in_precision(device, model, seed, config.train.precision)?;
        let mut task = SeriesTask {
            facts: facts(&table),
            about,
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
            which: Vec::new(),
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

/// What was read from the table and how it is used, in lines for people. The first `training` rows are trained on.
fn about(table: &Table, data: &DataConfig, target: usize, training: usize) -> Vec<String> {
    let names = |names: &[String]| listed(names.iter().map(|name| cut(name)));
    let (rows, horizon) = (table.rows(), data.horizon);
    let source = match (table.named_on, &data.csv) {
        (Some(line), _) => format!(" (names from line {line})"),
        (None, Some(_)) => " (no names in the file; --header takes the first row as names)".into(),
        (None, None) => String::new(),
    };
    let order = if data.newest_first { ", row 1 being the last given" } else { "" };
    let mut about = vec![format!(
        "{rows} rows of {}{source}; forecast {}, {horizon} {} ahead; rows 1 to {training} train, {} to {rows} \
         test{order}",
        names(&table.names),
        cut(&table.names[target]),
        if horizon == 1 { "row" } else { "rows" },
        training + 1,
    )];
    if !table.left_out.is_empty() {
        let them = if table.left_out.len() == 1 { "it" } else { "them" };
        about.push(format!("left out {}: no numbers in {them}", names(&table.left_out)));
    }
    about
}

/// The first 20 of some words, and how many more there are.
fn listed(words: impl ExactSizeIterator<Item = String>) -> String {
    let more = words.len().saturating_sub(20);
    let shown = words.take(20).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// 0..count in random order, by the shuffle of Fisher and Yates, with random numbers of its own for each pass.
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

    fn about(&self) -> &[String] {
        &self.about
    }

    fn rows(&self) -> usize {
        // The last batch of a pass may be smaller.
        let left = self.training.targets.len() % self.batch;
        if left == 0 { self.batch } else { left }
    }

    fn loss(&mut self, tape: &mut Tape, part: Part) -> Result<(Var, f64)> {
        let mut share = 1.0;
        let [x, y] = match &self.whole {
            Some(whole) if part.of == 1 => whole.clone(),
            whole => {
                if part.index == 0 {
                    self.which = match whole {
                        Some(_) => (0..self.batch).collect(),
                        None => self.next_batch(),
                    };
                }
                let rows = part.rows(self.which.len());
                share = rows.len() as f64 / self.which.len() as f64;
                self.on_device(&self.which[rows])?
            }
        };
        let x = tape.constant(&x);
        let forecast = self.model.forward(tape, x)?;
        let y = tape.constant(&y);
        Ok((tape.mse_loss(forecast, y, &RegressionLoss::default())?, share))
    }

    fn outcome(&mut self, _: &Tape) -> Result<Outcome> {
        let forecasts = unscaled(&self.model, &self.test, &self.table, &self.scaler)?;
        let mut metrics = ForecastMetrics::of(&forecasts)?;
        if self.whole.is_none() {
            metrics.train_mse = Some(scaled_mse(&self.model, &self.training)?);
        }
        Ok(Outcome::Forecast(metrics))
    }

    fn place(&self) -> Place {
        Place { position: self.taken, states: Vec::new() }
    }

    fn seek(&mut self, place: &Place) -> Result<()> {
        if !place.states.is_empty() {
            return Err(Error::argument("train", "the checkpoint is not of a time series"));
        }
        if place.position > MOST_COUNTED {
            return Err(Error::argument(
                "train",
                format!("the checkpoint stands at batch {}", place.position),
            ));
        }
        self.taken = place.position;
        Ok(())
    }

    fn save(&self, run: &mut Run) -> Result<()> {
        // The name is part of the file's first line.
        run.save_forecasts(&self.target().replace(char::is_control, " "), &self.forecasts()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Experiment;
    use super::*;

    fn config(csv: Option<&Path>) -> Config {
        let mut config = Config::defaults(Experiment::Timeseries);
        config.data.csv = csv.map(Path::to_path_buf);
        config
    }

    fn task(config: &Config) -> Result<SeriesTask> {
        SeriesTask::new(&Device::cpu(), &mut config.clone())
    }

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    /// Forty rows: a date, a ticker, a, b.
    fn rows() -> String {
        (0..40).map(|i| format!("2024-01-{i},X,{i},{}\n", (i * i) % 17)).collect()
    }

    #[test]
    fn what_was_read_is_told() {
        let (_folder, path) = file(&format!("Date,Ticker,a,b\n{}", rows()));
        let mut config = config(Some(&path));
        let read =
            "40 rows of a, b (names from line 1); forecast b, 1 row ahead; rows 1 to 28 train, 29 to 40 test";
        assert_eq!(task(&config).unwrap().about(), [read, "left out Date, Ticker: no numbers in them"]);
        config.data.header = Some(false);
        config.data.newest_first = true;
        config.data.columns = Some(vec!["4".into()]);
        let message = task(&config).unwrap_err().to_string();
        assert!(message.ends_with("correct it or choose the columns of numbers with --columns"), "{message}");
    }

    #[test]
    fn a_target_is_counted_as_in_the_file() {
        let (_folder, path) = file(&format!("Date,Ticker,a,b\n{}", rows()));
        let mut config = config(Some(&path));
        config.data.columns = Some(vec!["4".into(), "3".into()]);
        for (asked, name) in [("3", "a"), ("4", "b"), ("b", "b")] {
            config.data.target = Some(asked.into());
            assert_eq!(task(&config).unwrap().target(), name);
        }
        config.data.target = Some("2".into());
        let message = task(&config).unwrap_err().to_string();
        assert!(message.ends_with("--target 2 is none of the columns: 4 (b), 3 (a)"), "{message}");
    }

    #[test]
    fn the_synthetic_series_takes_the_settings_that_it_can() {
        let mut config = config(None);
        config.data.columns = Some(vec!["Close".into(), "2".into()]);
        config.data.newest_first = true;
        let found = table(&config.data).unwrap();
        let all = synthetic_ohlcv(0, SYNTHETIC_DAYS);
        assert_eq!((found.names.join(","), &found.numbers[..]), ("Close,High".into(), &[5, 2][..]));
        assert_eq!(found.columns[0][0], *all.columns[4].last().unwrap());
        let mut fails = |columns: &[&str], header| {
            config.data.columns = Some(columns.iter().map(ToString::to_string).collect());
            config.data.header = header;
            table(&config.data).unwrap_err().to_string()
        };
        assert_eq!(fails(&[], None), "columns: at least one column must be asked for, by its name or number");
        assert!(fails(&["x"], None).starts_with("columns: the table has no column 'x'"));
        let message = "timeseries: --delimiter and --header say how a file is read: name it with --csv FILE";
        assert_eq!(fails(&["1"], Some(true)), message);
    }

    #[test]
    fn the_training_error_is_that_of_all_windows() {
        let mut config = config(None);
        config.train.batch = 50;
        let mut batches = task(&config).unwrap();
        config.train.batch = 0;
        let mut whole = task(&config).unwrap();
        let mut tape = Tape::new(&whole.model.parameters);
        let loss = whole.loss(&mut tape, Part::WHOLE).unwrap().0;
        let loss = f64::from(tape.value(loss).unwrap().to_vec().unwrap()[0]);
        let mse = |task: &mut SeriesTask| match task.outcome(&Tape::new(&task.model.parameters)).unwrap() {
            Outcome::Forecast(metrics) => metrics.train_mse,
            _ => unreachable!("a forecast"),
        };
        assert_eq!(mse(&mut whole), None, "the loss is the same");
        let found = mse(&mut batches).unwrap();
        assert!((found - loss).abs() <= 1e-5 * loss, "{found}, {loss}");
    }
}
