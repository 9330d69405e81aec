//! The charts of a run, for `bptt plot` and `bptt report`.

use bptt::report::{Chart, Line};
use bptt::train::{Config, Experiment, Forecast, Record, Row};

/// The loss of each step, and the validation loss where there is one.
pub fn loss(record: &Record) -> Chart {
    let training = line("training", record, |row| Some(row.loss.into()));
    let validation = line("validation", record, |row| row.validation_loss);
    let positive =
        || training.points.iter().chain(&validation.points).map(|p| p.1).filter(|loss| *loss > 0.0);
    let (least, most) = (positive().fold(f64::INFINITY, f64::min), positive().fold(0.0, f64::max));
    let best = validation.points.iter().copied().reduce(|best, p| if p.1 < best.1 { p } else { best });
    let last = validation.points.last().copied();
    let marks = best.filter(|_| best != last).map(|best| (best.0, "best validation".into()));
    let unit = record.config.data.tokens.to_string();
    Chart {
        title: "Loss".into(),
        x_label: "step".into(),
        y_label: match record.config.experiment {
            Experiment::Timeseries => "mean squared error of scaled values".into(),
            _ => format!("cross-entropy, nats a {}", unit.trim_end_matches('s')),
        },
        lines: [training, validation].into_iter().filter(|line| !line.points.is_empty()).collect(),
        marks: marks.into_iter().collect(),
        log_y: most > LINEAR * least,
    }
}

/// Where the greatest loss is more than so many times the least, a logarithmic axis shows more.
const LINEAR: f64 = 20.0;

/// The learning rate of each step.
pub fn lr(record: &Record) -> Chart {
    Chart {
        title: "Learning rate".into(),
        x_label: "step".into(),
        y_label: "learning rate".into(),
        lines: vec![line("learning rate", record, |row| Some(row.lr))],
        ..Chart::default()
    }
}

/// The norm of each step's gradient, and the limit to which it is clipped, where there is one.
pub fn grad_norm(record: &Record) -> Option<Chart> {
    let norms = line("before clipping", record, |row| row.grad_norm.map(f64::from));
    let [first, last] = [norms.points.first()?, norms.points.last()?].map(|point| point.0);
    let clip = record.config.train.clip;
    let limit = Line { name: format!("clipped to {clip}"), points: vec![(first, clip), (last, clip)] };
    let limit = (clip > 0.0).then_some(limit);
    Some(Chart {
        title: "Norm of the gradient".into(),
        x_label: "step".into(),
        y_label: "norm over all parameters".into(),
        lines: [norms].into_iter().chain(limit).collect(),
        log_y: true,
        ..Chart::default()
    })
}

fn line(name: &str, record: &Record, value: impl Fn(&Row) -> Option<f64>) -> Line {
    let points = record.metrics.iter().filter_map(|row| Some((row.step as f64, value(row)?)));
    // A step that was left out has no finite loss.
    let points = points.filter(|(_, value)| value.is_finite());
    Line { name: name.into(), points: points.collect() }
}

/// What a model of a time series forecasts, beside the true values.
pub fn forecast(config: &Config, target: &str, [training, test]: &[Vec<Forecast>; 2]) -> Chart {
    let split = test.first().map(|first| (row(first), "test part".into()));
    Chart {
        title: title(config, target),
        marks: split.into_iter().collect(),
        ..compared(target, training.iter().chain(test))
    }
}

/// The last [`SEEN`] forecasts of the test part.
pub fn forecast_end(config: &Config, target: &str, test: &[Forecast]) -> Chart {
    let end = &test[test.len().saturating_sub(SEEN)..];
    Chart {
        title: format!("The last {} rows{}", end.len(), synthetic(config)),
        ..compared(target, end.iter())
    }
}

/// So many forecasts that each can be seen.
const SEEN: usize = 60;

fn title(config: &Config, target: &str) -> String {
    let rows = config.data.horizon;
    format!("{target}, {rows} {} ahead{}", if rows == 1 { "row" } else { "rows" }, synthetic(config))
}

fn synthetic(config: &Config) -> &'static str {
    if config.data.csv.is_none() { ", synthetic data" } else { "" }
}

/// The row of a forecast, counted from 1.
fn row(forecast: &Forecast) -> f64 {
    (forecast.row + 1) as f64
}

fn compared<'f>(target: &str, forecasts: impl Iterator<Item = &'f Forecast> + Clone) -> Chart {
    let line = |name: &str, value: fn(&Forecast) -> f64| Line {
        name: name.into(),
        points: forecasts.clone().map(|forecast| (row(forecast), value(forecast))).collect(),
    };
    Chart {
        x_label: "row, the oldest first".into(),
        y_label: format!("{target}, in the data's units"),
        lines: vec![
            line("true", |forecast| forecast.actual.unwrap_or(f64::NAN)),
            line("predicted", |forecast| forecast.predicted),
            line("naive: nothing changes", |forecast| forecast.naive),
        ],
        ..Chart::default()
    }
}
