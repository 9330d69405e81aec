//! A look inside the model: hidden states, gradients, gates and parameters.

use bptt::error::Result;
use bptt::report::{Block, Chart, HeatMap, Line, Section};
use bptt::train::Model;
use bptt::train::inspect::{GateFunction, Inspection, Outputs, inspect_series, inspect_text};

use super::super::output::with_commas;
use super::piece::Piece;
use super::results::number;

/// The most layers whose states are shown.
const MAPS: usize = 4;

/// The sections about the model's states, gradients and gates on a piece of data of the model's kind.
pub fn sections(model: &Model, piece: &Piece) -> Result<Vec<Section>> {
    match (model, piece) {
        (Model::Char(model), Piece::Text { tokens, targets, .. }) => {
            let all = inspect_text(model, tokens, targets, Outputs::All)?;
            let last = inspect_text(model, tokens, targets, Outputs::Last)?;
            let read: Vec<String> = tokens.iter().map(|token| model.vocabulary.decode(&[*token])).collect();
            let gradients =
                vec![("Loss of the last prediction alone", &last), ("Mean loss of all predictions", &all)];
            let states = states(&all, read, "what was read", "each column a place in the text", |step| step);
            Ok(vec![states, gradient(gradients, "place in the text"), gates(&all)])
        }
        (Model::Series(model), Piece::Series { windows, targets, rows, .. }) => {
            let found = inspect_series(model, windows, targets)?;
            let rows = rows.iter().map(|row| (row + 1).to_string()).collect();
            let read = "each column the last state of a window";
            let behind = (found.steps - 1) * found.batch;
            let states = states(&found, rows, "row that is forecast", read, |window| behind + window);
            let gradients = vec![("Squared error of a forecast", &found)];
            Ok(vec![states, gradient(gradients, "row of the window, the oldest first"), gates(&found)])
        }
        _ => unreachable!("a piece is made for its model"),
    }
}

/// Heat maps of the hidden state h. `at` gives the place of each column among all T·B steps of all sequences.
fn states(
    found: &Inspection,
    columns: Vec<String>,
    x_label: &str,
    column_is: &str,
    at: impl Fn(usize) -> usize,
) -> Section {
    let shown = |(k, layer): (usize, &bptt::train::inspect::InspectedLayer)| {
        let unit = |unit: usize| {
            (0..columns.len()).map(|column| layer.states[at(column) * found.hidden + unit]).collect()
        };
        Block::HeatMap(HeatMap {
            title: format!("Layer {k}"),
            x_label: x_label.into(),
            y_label: "unit".into(),
            rows: (0..found.hidden).map(unit).collect(),
            columns: Some(columns.clone()),
            row_labels: None,
            signed: layer.gates[0].function != GateFunction::Relu,
        })
    };
    let mut intro = format!(
        "Each row is a unit, {column_is}; the colour is its value. A unit that changes with what is read has learnt to tell \
         it; one that stays at an end, and one that stays at 0, say nothing."
    );
    if found.layers.len() > MAPS {
        intro += &format!(" The first {MAPS} of {} layers are shown.", found.layers.len());
    }
    let blocks = found.layers.iter().enumerate().take(MAPS).map(shown).collect();
    Section { heading: "Hidden states".into(), intro, blocks }
}

fn gradient(found: Vec<(&str, &Inspection)>, x_label: &str) -> Section {
    let chart = |(title, found): &(&str, &Inspection)| {
        let lines = found.gradient_norms().into_iter().enumerate().map(|(k, norms)| Line {
            name: format!("layer {k}"),
            points: (1..).map(f64::from).zip(norms).collect(),
        });
        Block::Chart(Chart {
            title: (*title).into(),
            x_label: x_label.into(),
            y_label: "‖∂L/∂h‖".into(),
            lines: lines.collect(),
            log_y: true,
            ..Chart::default()
        })
    };
    let (_, reaching) = found[0];
    let mut blocks: Vec<Block> = found.iter().map(chart).collect();
    blocks.truncate(1);
    if reaching.steps > 1 {
        let row = |(k, norms): (usize, Vec<f64>)| {
            let (first, last) = (norms[0], norms[norms.len() - 1]);
            let step = (first / last).powf(1.0 / (norms.len() - 1) as f64);
            vec![format!("layer {k}"), number(first), number(last), number(step)]
        };
        blocks.push(Block::Table {
            head: ["", "at the first step", "at the last step", "factor a step back"]
                .map(String::from)
                .into(),
            rows: reaching.gradient_norms().into_iter().enumerate().map(row).collect(),
        });
    }
    blocks.extend(found.iter().skip(1).map(chart));
    let intro = "How much a loss L depends on the state h of each step, through all that follows. A curve that falls by powers \
                 of ten from right to left says that the gradient vanishes: the model cannot learn from what lies so far \
                 back. One that rises to the left says that it explodes.";
    Section { heading: "Gradients through time".into(), intro: intro.into(), blocks }
}

fn gates(found: &Inspection) -> Section {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let mut rows = Vec::new();
    for (k, layer) in found.layers.iter().enumerate() {
        for gate in &layer.gates {
            let [low, high] = gate.saturation();
            let mean = gate.values.iter().map(|x| f64::from(*x)).sum::<f64>() / gate.values.len() as f64;
            let name = format!("layer {k}: {}", name(gate.name));
            rows.push(vec![name, number(mean), percent(low), percent(high)]);
        }
    }
    let head = ["gate", "mean", "low", "high"].map(String::from).into();
    let ends = match found.layers[0].gates[0].function {
        GateFunction::Relu => "Low is 0; a ReLU has no other end.",
        _ => {
            "Low is below 0.1 where a gate goes from 0 to 1, below −0.9 where it goes from −1 to 1; high is above 0.9."
        }
    };
    let intro = format!(
        "The share of values near the ends of a gate's range, where it hardly changes any more and lets little gradient \
         through. {ends} Many at both ends are a gate that decides; many at one end alone are a gate that is stuck."
    );
    Section { heading: "Gate saturation".into(), intro, blocks: vec![Block::Table { head, rows }] }
}

fn name(gate: &str) -> &str {
    match gate {
        "i" => "i, input",
        "f" => "f, forget",
        "g" => "g, candidate",
        "o" => "o, output",
        "r" => "r, reset",
        "z" => "z, update",
        "n" => "n, candidate",
        _ => "h, state",
    }
}

/// The section with a table of all parameters.
pub fn parameters(model: &Model) -> Result<Section> {
    let row = |(name, shape, values): (String, bptt::tensor::Shape, Vec<f32>)| {
        let wide = || values.iter().map(|x| f64::from(*x));
        let count = values.len() as f64;
        let mean = wide().sum::<f64>() / count;
        let deviation = (wide().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
        let (least, most) = (wide().fold(f64::INFINITY, f64::min), wide().fold(f64::NEG_INFINITY, f64::max));
        let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
        let mut row = vec![name, shape, with_commas(values.len() as u64)];
        row.extend([mean, deviation, least, most].map(number));
        row
    };
    let head = ["name", "shape", "count", "mean", "standard deviation", "least", "greatest"]
        .map(String::from)
        .into();
    let rows = model.files().parameters().to_host()?.into_iter().map(row).collect();
    let intro = "The names are PyTorch's; rows of the recurrent layers' weights stand gate by gate.";
    Ok(Section {
        heading: "Parameters".into(),
        intro: intro.into(),
        blocks: vec![Block::Table { head, rows }],
    })
}
