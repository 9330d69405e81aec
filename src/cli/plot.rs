//! `bptt plot`: draws the curves of a run as PNG and SVG files.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bptt::error::{Error, Result};
use bptt::report::Chart;
use bptt::train::forecast::read_forecasts;
use bptt::train::{Experiment, FORECASTS, Record, write_in_run};
use serde_json::json;

use super::curves;
use super::output::Output;

/// Options of `bptt plot`.
#[derive(clap::Args)]
pub struct Args {
    /// The folder of the run, which may still be in training
    run: PathBuf,
    /// The folder for the pictures [default: RUN/plots]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let output = Output::new(args.json);
    let files = draw(&args.run, args.out.as_deref())?;
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    for name in &names {
        output.line(name)?;
    }
    output.event(&json!({"event": "done", "files": names}))
}

/// The names of all pictures that there may be.
const NAMES: [&str; 4] = ["loss", "lr", "grad_norm", "forecast"];

/// Draws the curves of a run into a folder, by default its own `plots`, and says which files it has written.
pub fn draw(run: &Path, out: Option<&Path>) -> Result<Vec<PathBuf>> {
    let record = Record::read(run)?;
    let forecasts = run.join(FORECASTS);
    let forecast = match record.config.experiment == Experiment::Timeseries && forecasts.exists() {
        true => {
            let (target, forecasts) = read_forecasts(&forecasts)?;
            Some(curves::forecast(&record.config, &target, &forecasts))
        }
        false => None,
    };
    let charts: [Option<Chart>; 4] =
        [Some(curves::loss(&record)), Some(curves::lr(&record)), curves::grad_norm(&record), forecast];

    let own = run.join("plots");
    let folder = out.unwrap_or(&own);
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(Error::data(folder, format!("cannot be made: {error}")));
        }
        _ => {}
    }
    let mut files = Vec::new();
    for (name, chart) in NAMES.into_iter().zip(&charts) {
        let [png, svg] = ["png", "svg"].map(|kind| folder.join(format!("{name}.{kind}")));
        match chart {
            Some(chart) => {
                write_in_run(&png, &chart.png()?)?;
                write_in_run(&svg, chart.svg().as_bytes())?;
                files.extend([png, svg]);
            }
            // A picture of an earlier training in this folder, if there is one.
            None if out.is_none() => drop([png, svg].map(fs::remove_file)),
            None => {}
        }
    }
    Ok(files)
}
