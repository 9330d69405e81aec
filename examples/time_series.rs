//! Forecasts a time series with an LSTM: a table of numbers is scaled and cut into windows, and the forecasts are compared with
//! the naive one, that nothing changes. For prices it is hard to beat; an example that did not show this would mislead.
//!
//!     cargo run --release --example time_series [CSV FILE]
//!
//! The last column of the file is forecast from all columns, the oldest row first. Without a file it is a made-up share.

use std::path::Path;

use bptt::data::csv::{CsvOptions, read_table};
use bptt::data::scale::{Scaler, ScalerKind};
use bptt::data::series::{SYNTHETIC_DAYS, SeriesWindows, split_rows, synthetic_ohlcv};
use bptt::prelude::*;

const WINDOW: usize = 7; // the rows that the network sees
const HORIZON: usize = 1; // how many rows after the last of them is forecast
const HIDDEN: usize = 16;

struct Model {
    lstm: Lstm,
    fc: Linear,
}

impl Model {
    /// The forecasts [B, 1] of the windows [W, B, C], whose naive forecasts are [B, 1]. The network forecasts only the change:
    /// prices of the test part may be higher or lower than all that it was trained on, and it cannot extrapolate.
    fn forward(&self, tape: &mut Tape, batch: &Batch) -> Result<Var> {
        let windows = tape.constant(&batch.windows);
        let states = self.lstm.forward(tape, windows, None)?;
        let last = tape.select(states.output, 0, WINDOW - 1)?; // the state after the window's last row: [B, H]
        let change = self.fc.forward(tape, last)?;
        let naive = tape.constant(&batch.naive);
        tape.add(naive, change)
    }
}

/// All windows of a part as one batch, on the device.
struct Batch {
    windows: Tensor,
    naive: Tensor,
    targets: Tensor,
}

impl Batch {
    fn new(device: &Device, part: &SeriesWindows) -> Result<Batch> {
        let all: Vec<usize> = (0..part.targets.len()).collect();
        let column = |values: &[f32]| Tensor::from_f32(device, [all.len(), 1], values);
        let shape = [WINDOW, all.len(), part.columns];
        Ok(Batch {
            windows: Tensor::from_f32(device, shape, &part.time_major(&all))?,
            naive: column(&part.naive)?,
            targets: column(&part.targets)?,
        })
    }
}

fn main() -> Result<()> {
    let table = match std::env::args().nth(1) {
        Some(path) => read_table(Path::new(&path), &CsvOptions::default())?,
        None => synthetic_ohlcv(0, SYNTHETIC_DAYS),
    };
    let device = Device::auto()?;
    println!("device: {}", device.info());
    let target = table.columns.len() - 1;
    println!("{} rows of {}; forecast: {}", table.rows(), table.names.join(", "), table.names[target]);

    // The first 70 % of the rows are for training, the later ones for the test. The scaler is fitted to the training rows only:
    // fitted to all rows, it would tell the network how high the prices of the future are.
    let (training, test) = split_rows(table.rows(), 0.7, WINDOW, HORIZON)?;
    let columns: Vec<&[f64]> = table.columns.iter().map(|column| &column[training.clone()]).collect();
    let scaler = Scaler::fit(ScalerKind::Standard, &columns);
    let training = SeriesWindows::new(&table, &scaler, target, WINDOW, HORIZON, training)?;
    let test = SeriesWindows::new(&table, &scaler, target, WINDOW, HORIZON, test)?;

    let mut init = Initializer::new(&device, 0);
    let config = LstmConfig { input_size: table.columns.len(), hidden_size: HIDDEN, ..LstmConfig::default() };
    let lstm = Lstm::new(&mut init, "lstm", &config)?;
    let config = LinearConfig { in_features: HIDDEN, out_features: 1, bias: true };
    let model = Model { lstm, fc: Linear::new(&mut init, "fc", &config)? };
    let parameters = init.build()?;
    let mut adam = Adam::new(&parameters, AdamConfig { lr: 0.01, ..AdamConfig::default() })?;

    let batch = Batch::new(&device, &training)?;
    let mut tape = Tape::new(&parameters);
    for step in 1..=100 {
        tape.clear();
        let forecast = model.forward(&mut tape, &batch)?;
        let targets = tape.constant(&batch.targets);
        let loss = tape.mse_loss(forecast, targets, &RegressionLoss::default())?;
        adam.zero_grad();
        tape.backward(loss)?;
        adam.step(None)?;
        device.submit()?;
        if step == 1 || step % 25 == 0 {
            println!("step {step:3}  training loss {:.5}", tape.value(loss)?.to_vec()?[0]);
        }
    }

    // The test, in the data's own units.
    tape.clear();
    let batch = Batch::new(&device, &test)?;
    let forecast = tape.no_grad(|tape| model.forward(tape, &batch))?;
    let forecast = tape.value(forecast)?.to_vec()?;
    let rmse = |forecast: &[f32]| {
        let squares = forecast.iter().zip(&test.targets).map(|(f, y)| f64::from(f - y).powi(2));
        (squares.sum::<f64>() / test.targets.len() as f64).sqrt() * scaler.factor(target)
    };
    let (lstm, naive) = (rmse(&forecast), rmse(&test.naive));
    let mean = rmse(&vec![0.0; forecast.len()]); // the mean of the training rows is 0 when scaled
    println!("root mean squared error of {} test forecasts:", forecast.len());
    println!("  LSTM   {lstm:8.3}");
    println!("  naive  {naive:8.3}  (the value stays as it is)");
    println!("  mean   {mean:8.3}  (of the training rows)");
    println!("the LSTM beats the naive forecast: {}", lstm < naive);
    Ok(())
}
