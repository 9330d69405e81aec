//! `bptt report`: makes the page of a run.

mod inside;
mod piece;
mod results;

use std::path::{Path, PathBuf};

use bptt::data::scale::ScalerKind;
use bptt::device::Device;
use bptt::error::{Error, Result};
use bptt::report::{Block, Report, Section, html};
use bptt::train::forecast::read_forecasts;
use bptt::train::{
    CharModel, Experiment, FORECASTS, Forecast, ForecastMetrics, Generate, Model, Record, Sampler, WEIGHTS,
    write_file, write_in_run,
};
use serde_json::json;

use super::generate::default_prompt;
use super::output::Output;
use super::predict::TableArgs;
use super::{curves, device};
use piece::Piece;

/// Options of `bptt report`.
#[derive(clap::Args)]
pub struct Args {
    /// The folder of the run, which may still be in training
    run: PathBuf,
    /// The file for the page [default: RUN/report.html]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The text on which the inside of the model is shown [default: the beginning of what was held out]
    #[arg(long, value_name = "FILE", conflicts_with = "csv")]
    file: Option<PathBuf>,
    #[command(flatten)]
    table: TableArgs,
    /// auto, cpu, gpu, an index, part of a name
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What the page is made from.
struct Known {
    path: PathBuf,
    record: Record,
    /// The result of the training; None where steps have been trained since.
    result: Option<serde_json::Value>,
    model: Option<Model>,
    /// The target's name, and its forecasts: those of the training part and those of the test part.
    forecasts: Option<(String, [Vec<Forecast>; 2])>,
}

/// The texts that a model of text writes for the page: how many, how long they are, and at which temperature.
const SAMPLES: u64 = 3;
const LENGTH: usize = 300;
const TEMPERATURE: f64 = 0.8;

pub fn run(args: Args) -> Result<()> {
    let output = Output::new(args.json);
    let named = args.table.is_named()?;
    let record = Record::read(&args.run)?;
    let device = device(&args.device)?;
    let last = record.metrics.last().map_or(0, |row| row.step);
    let ended = |result: &serde_json::Value| result["steps"].as_u64().is_some_and(|steps| steps >= last);
    let result = record.result.clone().filter(ended);
    let mut known = Known { path: args.run, record, result, model: None, forecasts: None };
    let mut missing = Vec::new();
    if known.path.join(WEIGHTS).exists() {
        known.model = Some(Model::load(&known.path, &device)?);
    } else {
        missing.push("There is no model yet: what is made with it is left out.".into());
    }
    let piece = match (&known.model, args.file, named) {
        (None, None, false) => None,
        (None, ..) => {
            let message = "there is no model yet that could read it: leave --file or --csv out";
            return Err(Error::argument("report", message));
        }
        (Some(model), file, _) => piece::find(&known, model, &device, file, args.table, &mut missing)?,
    };
    known.forecasts = forecasts(&known, &device, &mut missing)?;
    let page = html(&report(&known, piece.as_ref(), missing)?);

    let file = match args.out {
        Some(named) => write_file(&named, page.as_bytes()).map(|()| named)?,
        None => {
            let own = known.path.join("report.html");
            write_in_run(&own, page.as_bytes()).map(|()| own)?
        }
    };
    let name = file.display().to_string();
    output.line(format!("the page is in {name}"))?;
    output.event(&json!({"event": "done", "file": name, "device": device.info().to_string()}))
}

/// The forecasts of a time series: those that the run has kept, else those that its model makes now.
fn forecasts(
    known: &Known,
    device: &Device,
    missing: &mut Vec<String>,
) -> Result<Option<(String, [Vec<Forecast>; 2])>> {
    let file = known.path.join(FORECASTS);
    match (known.record.config.experiment, &known.model) {
        (Experiment::Timeseries, _) if file.exists() => read_forecasts(&file).map(Some),
        (Experiment::Timeseries, Some(Model::Series(_))) => {
            let made =
                piece::task(known, device).and_then(|task| Ok((task.target().into(), task.forecasts()?)));
            piece::or_missing(made, "The forecasts are", missing)
        }
        _ => Ok(None),
    }
}

fn report(known: &Known, piece: Option<&Piece>, missing: Vec<String>) -> Result<Report> {
    let mut sections = vec![learning(&known.record)];
    if let Some((target, forecasts)) = &known.forecasts {
        sections.push(forecast(known, target, forecasts));
    }
    sections.extend(results::predictions(known));
    if let (Some(Model::Char(model)), Experiment::Text) = (&known.model, known.record.config.experiment) {
        sections.push(samples(model)?);
    }
    if let (Some(model), Some(piece)) = (&known.model, piece) {
        sections.extend(inside::sections(model, piece)?);
    }
    if let Some(model) = &known.model {
        sections.push(inside::parameters(model)?);
    }
    Ok(Report {
        title: results::title(known),
        notes: notes(known, missing),
        results: results::results(known),
        facts: results::facts(known, piece),
        sections,
        settings: results::settings(&known.record.config)?,
    })
}

/// The notes: what a reader must know before the numbers.
fn notes(known: &Known, missing: Vec<String>) -> Vec<String> {
    let config = &known.record.config;
    let mut notes = Vec::new();
    if known.result.is_none() {
        let (last, run) = (known.record.metrics.last().map_or(0, |row| row.step), known.path.display());
        notes.push(format!(
            "The training has not ended: {last} of {} steps are known. Where it was interrupted it goes on with: bptt train \
             --resume {run}",
            config.train.steps
        ));
    }
    if config.experiment == Experiment::Timeseries {
        if config.data.csv.is_none() {
            notes.push(
                "The data are synthetic: a random walk of prices, in which nothing can be forecast.".into(),
            );
        }
        if config.data.scaler == ScalerKind::Original {
            notes.push(
                "The test part was scaled by its own minima and maxima (--scaler original): what is to be forecast \
                 leaks into the inputs, and the errors are too small."
                    .into(),
            );
        }
        if test_metrics(known).is_some_and(|metrics| !metrics.beats_naive()) {
            notes.push("The model does not beat the naive forecast, that nothing changes.".into());
        }
    }
    notes.extend(missing);
    notes
}

/// The section on how well the test part was forecast.
fn test_metrics(known: &Known) -> Option<ForecastMetrics> {
    known.forecasts.as_ref().and_then(|(_, [_, test])| ForecastMetrics::of(test).ok())
}

fn learning(record: &Record) -> Section {
    let mut blocks = vec![Block::Chart(curves::loss(record))];
    let rates = record.metrics.iter().map(|row| row.lr);
    if rates.clone().any(|lr| Some(lr) != rates.clone().next()) {
        blocks.push(Block::Chart(curves::lr(record)));
    }
    blocks.extend(curves::grad_norm(record).map(Block::Chart));
    let intro = match record.metrics.iter().any(|row| row.validation_loss.is_some()) {
        true => {
            "Both losses should fall. Where that on held-out data rises while the other goes on falling, the model \
             learns by heart."
        }
        false => "The loss of each step, before its update, on the data that are trained on.",
    };
    Section { heading: "Learning".into(), intro: intro.into(), blocks }
}

fn forecast(known: &Known, target: &str, forecasts: &[Vec<Forecast>; 2]) -> Section {
    let config = &known.record.config;
    let mut blocks = vec![
        Block::Chart(curves::forecast(config, target, forecasts)),
        Block::Chart(curves::forecast_end(config, target, &forecasts[1])),
    ];
    if let Some(m) = test_metrics(known) {
        let row = |name: &str, mse: f64, mae: f64| {
            vec![name.into(), results::number(mse), results::number(mse.sqrt()), results::number(mae)]
        };
        let head = ["of the test part", "mean squared error", "its root", "mean absolute error"];
        blocks.push(Block::Table {
            head: head.map(String::from).into(),
            rows: vec![
                row("model", m.test_mse, m.test_mae),
                row("naive: nothing changes", m.naive_mse, m.naive_mae),
            ],
        });
    }
    let intro = "The model has not seen what lies right of the dashed line. It has learnt something where it is nearer to \
                 the truth than the naive forecast, which is the last value that is known.";
    Section { heading: "Forecast".into(), intro: intro.into(), blocks }
}

/// The section with texts that the model writes.
fn samples(model: &CharModel) -> Result<Section> {
    let prompt = default_prompt(model);
    let write = |seed| {
        let sampler = Sampler { temperature: TEMPERATURE, seed, ..Sampler::default() };
        let mut generate = Generate::new(model, &prompt, sampler, 1)?;
        let mut text = Vec::new();
        for _ in 0..LENGTH {
            text.append(&mut generate.advance()?[0]);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let texts = (0..SAMPLES).map(write).collect::<Result<_>>()?;
    let intro = format!(
        "What the model writes by itself after {prompt:?}, at temperature {TEMPERATURE}, with the seeds 0 to {}.",
        SAMPLES - 1
    );
    Ok(Section { heading: "Samples".into(), intro, blocks: vec![Block::Samples(texts)] })
}

/// The name of the file, without its folders.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
