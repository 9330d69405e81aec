//! `bptt predict`: forecasts from a table with a trained model.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use bptt::data::csv::{CsvOptions, Table, read_table};
use bptt::data::scale::ScalerKind;
use bptt::error::{Error, Result};
use bptt::train::forecast::forecast;
use bptt::train::{Forecast, Model, SeriesModel, write_file};
use serde_json::json;

use super::device;
use super::output::Output;

/// Options of `bptt predict`.
#[derive(clap::Args)]
pub struct Args {
    /// The folder of the run
    run: PathBuf,
    #[command(flatten)]
    table: TableArgs,
    /// The CSV file for the forecasts; its rows are counted from 1, the oldest first [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// auto, cpu, gpu, an index, part of a name
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Print a JSON object for each forecast
    #[arg(long)]
    json: bool,
}

/// The options by which a table is read for a trained model.
#[derive(clap::Args)]
pub struct TableArgs {
    /// The table, with the model's columns
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// What stands between two fields [default: found out]
    #[arg(long, value_name = "CHAR", value_parser = super::train::delimiter)]
    delimiter: Option<char>,
    /// Whether the first row holds names [default: found out]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    header: Option<bool>,
    /// The columns to read, by name or number from 1, in the model's order [default: by the model's names]
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    columns: Option<Vec<String>>,
    /// Whether the first row is the newest [default: as in the training]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    newest_first: Option<bool>,
}

impl TableArgs {
    /// Whether a table is named. Without one the other options would mean nothing, and are an error.
    pub fn is_named(&self) -> Result<bool> {
        let TableArgs { csv, delimiter, header, columns, newest_first } = self;
        let others = delimiter.is_some() || header.is_some() || columns.is_some() || newest_first.is_some();
        if csv.is_none() && others {
            let message = "--delimiter, --header, --columns and --newest-first say how a table is read: name it with --csv FILE";
            return Err(Error::argument("csv", message));
        }
        Ok(csv.is_some())
    }

    /// Reads the table with the model's columns, and puts the oldest row first. What the user should know of it is printed.
    pub fn read(self, model: &SeriesModel) -> Result<(PathBuf, Table)> {
        let path = self.csv.expect("it is asked for where there is a table");
        let columns = self.columns.unwrap_or_else(|| model.config.columns.clone());
        let options = CsvOptions { delimiter: self.delimiter, header: self.header, columns: Some(columns) };
        let mut table = read_table(&path, &options)?;
        if self.newest_first.unwrap_or(model.config.newest_first) {
            table.reverse();
        }
        if model.config.scaler.kind() == ScalerKind::Original {
            Output::new(false).note(
                "the model's --scaler original scales this table by its own minima and maxima: what is to be forecast \
                 leaks into the inputs",
            );
        }
        Ok((path, table))
    }
}

/// Turns an error about the columns of a table into one that names its file.
pub fn in_table(path: &Path) -> impl Fn(Error) -> Error + '_ {
    move |error| match error {
        Error::Argument { message, .. } => Error::data(path, message),
        other => other,
    }
}

pub fn run(args: Args) -> Result<()> {
    let output = Output::new(args.json);
    let model = Model::load_series(&args.run, &device(&args.device)?)?;
    if !args.table.is_named()? {
        return Err(Error::argument("predict", "name the table to forecast from with --csv FILE"));
    }
    let (path, table) = args.table.read(&model)?;
    let forecasts = forecast(&model, &table).map_err(in_table(&path))?;
    let target = model.config.columns[model.config.target].replace(char::is_control, " ");
    match &args.out {
        Some(file) => {
            write_file(file, to_csv(&forecasts).as_bytes())?;
            let future = forecasts.iter().filter(|forecast| forecast.actual.is_none()).count();
            output.line(format!(
                "{} forecasts of {target} are in {}, {future} of them for rows behind the table's end",
                forecasts.len(),
                file.display()
            ))?;
        }
        None => output.bytes(to_csv(&forecasts).as_bytes())?,
    }
    for Forecast { row, actual, predicted, naive } in &forecasts {
        output.event(&json!({
            "event": "forecast", "row": row + 1, "actual": actual, "predicted": predicted, "naive": naive,
        }))?;
    }
    Ok(())
}

/// The forecasts as CSV: the row (from 1, the oldest first), the actual value where it is known, the forecast, and the naive
/// forecast.
fn to_csv(forecasts: &[Forecast]) -> String {
    let mut text = String::from("row,actual,predicted,naive\n");
    for Forecast { row, actual, predicted, naive } in forecasts {
        let actual = actual.map(|actual| actual.to_string()).unwrap_or_default();
        let _ = writeln!(text, "{},{actual},{predicted},{naive}", row + 1);
    }
    text
}
