//! What the page of a run says in words and numbers.

use bptt::error::Result;
use bptt::report::{Block, Section};
use bptt::train::{Config, Experiment, Model, Record, bits_per_character};
use serde_json::Value;

use super::super::output::with_commas;
use super::piece::Piece;
use super::{Known, file_name, test_metrics};

type Pairs = Vec<(String, String)>;

/// A number with about four digits.
pub fn number(x: f64) -> String {
    if x == 0.0 || !x.is_finite() {
        return x.to_string().replace("inf", "∞");
    }
    let magnitude = x.abs().log10().floor() as i32;
    let text = match magnitude {
        -4..=6 => format!("{x:.*}", (3 - magnitude).max(0) as usize),
        _ => format!("{x:.3e}"),
    };
    text.replace('-', "−")
}

/// The heading: what was trained, and on what.
pub fn title(known: &Known) -> String {
    let Config { experiment, data, model, .. } = &known.record.config;
    let what = match (experiment, &known.model) {
        (Experiment::Text, _) => match &data.file {
            Some(file) => format!("{} by {}", file_name(file), data.tokens),
            None => format!("A sentence by {}", data.tokens),
        },
        (Experiment::Timeseries, Some(Model::Series(model))) => {
            format!("Forecast of {}", model.config.columns[model.config.target])
        }
        (Experiment::Timeseries, _) => "Forecast of a time series".into(),
        (sentence, _) => sentence.name().into(),
    };
    let (cell, layers) = (model.cell.name().to_uppercase(), model.layers);
    let layers = format!("{layers} {}", if layers == 1 { "layer" } else { "layers" });
    // The settings of a sentence name no size, but its model has one.
    let hidden = match (&known.model, model.hidden) {
        (Some(Model::Char(model)), _) => format!(" of {}", model.config.hidden),
        (Some(Model::Series(model)), _) => format!(" of {}", model.config.hidden),
        (None, Some(hidden)) => format!(" of {hidden}"),
        (None, None) => String::new(),
    };
    format!("{what}: {cell}, {layers}{hidden}")
}

/// The results.
pub fn results(known: &Known) -> Pairs {
    let Record { config, metrics, .. } = &known.record;
    let result = known.result.as_ref().unwrap_or(&Value::Null);
    let mut pairs = Pairs::new();
    let mut set = |name: &str, value: String| pairs.push((name.into(), value));
    if let Some(m) = test_metrics(known) {
        set("mean squared error", number(m.test_mse));
        set("squared error, naive", number(m.naive_mse));
        set("mean absolute error", number(m.test_mae));
        set("absolute error, naive", number(m.naive_mae));
        return pairs;
    }
    let unit = config.data.tokens.to_string();
    let unit = unit.trim_end_matches('s');
    let validations = metrics.iter().filter_map(|row| row.validation_loss);
    if let Some(best) = validations.reduce(f64::min) {
        set("best validation loss, nats", number(best));
        set(&format!("bits a {unit}, validation"), number(bits_per_character(best)));
    }
    if let Some(row) = metrics.last() {
        set("training loss, last step", number(row.loss.into()));
    }
    if let Some(accuracy) = result["accuracy"].as_f64() {
        set("accuracy, last step", format!("{:.1} %", 100.0 * accuracy));
    }
    pairs
}

/// The facts about the training: the data, the model, the device and so on.
pub fn facts(known: &Known, piece: Option<&Piece>) -> Pairs {
    let Record { config, metrics, .. } = &known.record;
    let result = known.result.as_ref().unwrap_or(&Value::Null);
    let mut pairs = Pairs::new();
    let mut set = |name: &str, value: String| pairs.push((name.into(), value));
    match result["device"].as_str() {
        Some(device) => set("device", device.into()),
        None => set("device", format!("{}, as it was asked for", config.device)),
    }
    let done = metrics.last().map_or(0, |row| row.step);
    let early = if result["stopped_early"] == true { ", stopped early" } else { "" };
    set("steps", format!("{} of {}{early}", with_commas(done), with_commas(config.train.steps)));
    if let Some(seconds) = result["seconds"].as_f64() {
        set("time", duration(seconds));
        set("speed", format!("{} steps a second", number(done as f64 / seconds.max(1e-9))));
    }
    if let Some(model) = &known.model {
        set("parameters", with_commas(model.files().parameters().count() as u64));
    }
    if let Some(step) = result["best_step"].as_u64().filter(|step| *step != done) {
        set("model", format!("of step {}, the best validation", with_commas(step)));
    }
    set("data", data(config));
    if let Some(piece) = piece {
        set("looked at", piece.from().into());
    }
    set("run", known.path.display().to_string());
    set("page by", format!("bptt {}", env!("CARGO_PKG_VERSION")));
    pairs
}

fn data(config: &Config) -> String {
    match (config.experiment, &config.data.file, &config.data.csv) {
        (Experiment::Text, Some(file), _) => file.display().to_string(),
        (Experiment::Text, None, _) => "the sentence of longseq".into(),
        (Experiment::Timeseries, _, Some(csv)) => csv.display().to_string(),
        (Experiment::Timeseries, _, None) => "synthetic: a random walk of prices".into(),
        (sentence, ..) => format!("“{}”", sentence.sentence().unwrap_or_default()),
    }
}

fn duration(seconds: f64) -> String {
    match seconds as u64 {
        0..60 => format!("{} s", number(seconds)),
        whole @ 60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        whole => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

/// The section with what a model of a sentence predicts, beside what is right.
pub fn predictions(known: &Known) -> Option<Section> {
    let right: String = known.record.config.experiment.sentence()?.chars().skip(1).collect();
    let predicted = known.result.as_ref()?["decoded"].as_str()?;
    let marks = right.chars().zip(predicted.chars()).map(|(a, b)| if a == b { ' ' } else { '^' });
    let lines = [right.chars().collect(), predicted.chars().collect(), marks.collect::<Vec<char>>()];
    let part = |from: usize| {
        let names = ["right     ", "predicted ", "          "];
        let line = |(name, line): (&str, &Vec<char>)| {
            let text: String = line.iter().skip(from).take(LINE).collect();
            format!("{name} {text}").trim_end().to_owned()
        };
        names.into_iter().zip(&lines).map(line).collect::<Vec<_>>().join("\n").trim_end().to_owned()
    };
    let parts: Vec<String> = (0..right.chars().count()).step_by(LINE).map(part).collect();
    Some(Section {
        heading: "Predictions".into(),
        intro: "What the model says of each character from those before it, at the last step; ^ marks what is wrong.".into(),
        blocks: vec![Block::Samples(vec![parts.join("\n\n")])],
    })
}

/// The characters of a line of predictions: so many fit a telephone.
const LINE: usize = 24;

/// The settings by section, as `config.toml` has them.
pub fn settings(config: &Config) -> Result<Vec<(String, Pairs)>> {
    let table: toml::Table = config.to_toml()?.parse().expect("it was just written");
    let shown = |value: &toml::Value| match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let pairs =
        |section: &toml::Table| section.iter().map(|(key, value)| (key.clone(), shown(value))).collect();
    let top = table.iter().filter(|(key, value)| !value.is_table() && *key != "format");
    let run = ("run".to_string(), top.map(|(key, value)| (key.clone(), shown(value))).collect());
    let sections = table.iter().filter_map(|(name, value)| Some((name.clone(), pairs(value.as_table()?))));
    Ok([run].into_iter().chain(sections).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (x, text) in [
            (0.0, "0"),
            (1.0, "1.000"),
            (-0.012_345, "−0.01235"),
            (12_345.6, "12346"),
            (1.5e-7, "1.500e−7"),
            (f64::INFINITY, "∞"),
        ] {
            assert_eq!(number(x), text);
        }
        assert_eq!([0, 999, 1000, 1_234_567].map(with_commas), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.25, 61.0, 7322.0].map(duration), ["0.2500 s", "1 min 1 s", "2 h 2 min"]);
    }
}
