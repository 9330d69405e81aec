//! `bptt eval`: measures a trained model on a text or a table.

use std::path::PathBuf;

use bptt::data::text::Text;
use bptt::error::{Error, Result};
use bptt::train::forecast::forecast;
use bptt::train::{ForecastMetrics, Model, bits_per_character, decimals, evaluate_text};
use serde_json::json;

use super::numbers::at_least_1;
use super::output::Output;
use super::predict::{TableArgs, in_table};
use super::{device, interruption};

/// Options of `bptt eval`.
#[derive(clap::Args)]
pub struct Args {
    /// The folder of the run
    run: PathBuf,
    /// The text, for a model of text
    #[arg(long, value_name = "FILE", conflicts_with = "csv")]
    file: Option<PathBuf>,
    #[command(flatten)]
    table: TableArgs,
    /// Characters that are read at a time: more take more memory, with the same result
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_1::<usize>)]
    sequence: usize,
    /// auto, cpu, gpu, an index, part of a name
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let output = Output::new(args.json);
    let named = args.table.is_named()?;
    let device = device(&args.device)?;
    let name = args.run.display().to_string();
    match (Model::load(&args.run, &device)?, args.file, named) {
        (Model::Char(model), Some(file), false) => {
            let text = Text::open_with(&file, &model.vocabulary)?;
            if text.len() < 2 {
                return Err(Error::data(&file, "has one token: nothing follows it that could be predicted"));
            }
            let sequence = args.sequence.min(text.len() - 1);
            let metrics =
                evaluate_text(&model, &text, sequence, &interruption())?.ok_or(Error::Interrupted)?;
            let (bits, perplexity) = (bits_per_character(metrics.loss), metrics.loss.exp());
            output.line(format!(
                "{} {} predicted: loss {}, {} bits each, perplexity {}, accuracy {:.3}",
                metrics.tokens,
                text.vocabulary().unit(),
                decimals(metrics.loss, 4),
                decimals(bits, 3),
                decimals(perplexity, 3),
                metrics.accuracy
            ))?;
            output.event(&json!({
                "event": "done", "model": name, "device": device.info().to_string(), "tokens": metrics.tokens,
                "loss": metrics.loss, "bits_per_character": bits, "perplexity": perplexity,
                "accuracy": metrics.accuracy,
            }))
        }
        (Model::Series(model), None, true) => {
            let (path, table) = args.table.read(&model)?;
            let forecasts = forecast(&model, &table).map_err(in_table(&path))?;
            let m = ForecastMetrics::of(&forecasts).map_err(in_table(&path))?;
            output.line(format!("{}: {m}", model.config.columns[model.config.target]))?;
            if !m.beats_naive() {
                output.line("the model does not beat the naive forecast")?;
            }
            output.event(&json!({
                "event": "done", "model": name, "device": device.info().to_string(), "count": m.count,
                "mse": m.test_mse, "mae": m.test_mae, "naive_mse": m.naive_mse, "naive_mae": m.naive_mae,
            }))
        }
        (Model::Char(_), ..) => {
            Err(Error::argument("eval", format!("{name} is a model of text: name one with --file FILE")))
        }
        (Model::Series(_), ..) => Err(Error::argument(
            "eval",
            format!("{name} is a model of a time series: name a table with --csv FILE"),
        )),
    }
}
