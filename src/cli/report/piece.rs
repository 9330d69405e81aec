//! The piece of data on which the inside of a model is shown.

use std::ops::Range;
use std::path::{Path, PathBuf};

use bptt::data::series::SeriesWindows;
use bptt::data::text::{HELD_OUT, LONGSEQ, Text, Unit, split};
use bptt::device::Device;
use bptt::error::{Error, Result};
use bptt::train::forecast::scaler_of;
use bptt::train::{
    CharModel, DataFacts, Model, SeriesModel, SeriesTask, Task, WEIGHTS, load_weights, trained_on,
};

use super::super::predict::{TableArgs, in_table};
use super::{Known, file_name};

/// Data for a model, and a description of where they come from.
pub enum Piece {
    Text {
        tokens: Vec<i32>,
        targets: Vec<i32>,
        from: String,
    },
    /// Consecutive windows.
    Series {
        /// `[W, B, C]`.
        windows: Vec<f32>,
        targets: Vec<f32>,
        /// The rows that are forecast, from 0.
        rows: Vec<usize>,
        from: String,
    },
}

impl Piece {
    /// Where the data come from, in words.
    pub fn from(&self) -> &str {
        match self {
            Piece::Text { from, .. } | Piece::Series { from, .. } => from,
        }
    }
}

/// The most tokens, and the most windows: so many can be seen side by side.
const MOST: usize = 80;

/// A piece of the file that was named, else of what was held out in the run. Where there is none, `missing` gets the reason.
pub fn find(
    known: &Known,
    model: &Model,
    device: &Device,
    file: Option<PathBuf>,
    table: TableArgs,
    missing: &mut Vec<String>,
) -> Result<Option<Piece>> {
    let csv = table.csv.is_some();
    match (model, file) {
        (Model::Char(model), Some(file)) => of_file(model, &file).map(Some),
        (Model::Char(_), None) if csv => {
            Err(Error::argument("report", "the model is of text: name one with --file FILE"))
        }
        (Model::Char(model), None) => {
            or_missing(of_text(known, model), "The look inside the model is", missing)
        }
        (Model::Series(_), Some(_)) => {
            Err(Error::argument("report", "the model is of a time series: name a table with --csv FILE"))
        }
        (Model::Series(model), None) if csv => of_table(model, table).map(Some),
        (Model::Series(_), None) => {
            let from = "the beginning of the test part";
            let found = task(known, device).and_then(|task| series(task.test_windows(), from.into()));
            or_missing(found, "The look inside the model is", missing)
        }
    }
}

/// What was made from the run's data. Where they cannot be read, None, and `missing` gets the reason, which begins with `what`.
pub fn or_missing<T>(found: Result<T>, what: &str, missing: &mut Vec<String>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error @ (Error::Data { .. } | Error::Argument { .. })) => {
            missing.push(format!(
                "{what} left out, because the data cannot be read: {}",
                super::super::sentence(&error)
            ));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The task of a time series, with the run's model.
pub fn task(known: &Known, device: &Device) -> Result<SeriesTask> {
    let task = SeriesTask::new(device, &mut known.record.config.clone())
        .map_err(|error| unquoted(known.record.config.data.csv.as_deref(), error))?;
    check_data(known, task.data())?;
    load_weights(task.model().parameters(), &known.path.join(WEIGHTS))?;
    Ok(task)
}

/// An error unless the data are those that the run was trained on. Whoever made the run may have named any file of this
/// machine in its settings, and a page is made to be passed on.
fn check_data(known: &Known, data: DataFacts) -> Result<()> {
    match trained_on(&known.path)? {
        Some(facts) if facts == data => Ok(()),
        _ => Err(Error::data(
            known.path.join("config.toml"),
            "names data that are not those of the run's checkpoint: name others with --file or --csv",
        )),
    }
}

/// The error of a file that the settings name, without what it may quote of the file's contents.
fn unquoted(file: Option<&Path>, error: Error) -> Error {
    match (file, error) {
        (Some(file), Error::Data { path, .. }) if file == path && file.is_file() => {
            Error::data(path, "is not what the run was trained on")
        }
        (_, error) => error,
    }
}

/// The piece of a text: the beginning of what the run held out, or of its sentence.
fn of_text(known: &Known, model: &CharModel) -> Result<Piece> {
    let config = &known.record.config;
    let (text, from) = match (config.experiment.sentence(), &config.data.file) {
        (Some(sentence), _) => {
            let text = Text::from_text(sentence, Unit::Characters);
            return of_tokens(&text, 0..text.len(), "the beginning of the sentence");
        }
        (None, Some(file)) => {
            let text =
                Text::open_with(file, &model.vocabulary).map_err(|error| unquoted(Some(file), error))?;
            check_data(known, DataFacts { bytes: text.bytes(), hash: text.hash() })?;
            (text, "the beginning of the held-out part")
        }
        (None, None) => (Text::from_text(LONGSEQ, config.data.tokens), "the held-out part"),
    };
    let (_, held_out) = split(text.len(), HELD_OUT);
    of_tokens(&text, held_out, from)
}

fn of_file(model: &CharModel, file: &Path) -> Result<Piece> {
    let text = Text::open_with(file, &model.vocabulary)?;
    if text.len() < 2 {
        return Err(Error::data(file, "has one token: nothing follows it that could be predicted"));
    }
    of_tokens(&text, 0..text.len(), &format!("the beginning of {}", file_name(file)))
}

fn of_tokens(text: &Text, range: Range<usize>, from: &str) -> Result<Piece> {
    let length = MOST.min(range.len().saturating_sub(1));
    let mut streams = text.streams(range, 1, length)?;
    let chunk = streams.next_chunk()?;
    let (tokens, targets) = (chunk.inputs.to_vec(), chunk.targets.to_vec());
    Ok(Piece::Text { from: format!("{from}, {length} {}", text.vocabulary().unit()), tokens, targets })
}

fn of_table(model: &SeriesModel, table: TableArgs) -> Result<Piece> {
    let (path, table) = table.read(model)?;
    let config = &model.config;
    let scaler = scaler_of(model, &table);
    let windows = SeriesWindows::forecast(&table, &scaler, config.target, config.window, config.horizon);
    let from = format!("the beginning of {}", file_name(&path));
    windows.and_then(|windows| series(&windows, from)).map_err(in_table(&path))
}

fn series(windows: &SeriesWindows, from: String) -> Result<Piece> {
    let count = MOST.min(windows.targets.len());
    if count == 0 {
        let message = "has too few rows: no forecast's outcome is known";
        return Err(Error::argument("report", message));
    }
    let which: Vec<usize> = (0..count).collect();
    let name = if count == 1 { "window" } else { "windows" };
    Ok(Piece::Series {
        windows: windows.time_major(&which),
        targets: windows.targets[..count].to_vec(),
        rows: windows.rows[..count].to_vec(),
        from: format!("{from}, {count} {name} of {} rows", windows.window),
    })
}
