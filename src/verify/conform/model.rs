//! The model of a case, built from the library's layers as a user would.

use super::format::{Description, Input, Layer as Described, Recurrent, Tensors, malformed};
use crate::device::{Device, Host};
use crate::error::Result;
use crate::nn::{
    Embedding, EmbeddingConfig, Gru, GruConfig, Linear, LinearConfig, Lstm, LstmConfig, Rnn, RnnConfig,
};
use crate::ops::indices::Indices;
use crate::ops::recurrent::Lengths;
use crate::parameters::{Initializer, Parameters, Precision};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

enum Layer {
    Embedding(Embedding),
    Rnn(Rnn),
    Lstm(Lstm),
    Gru(Gru),
    Linear(Linear),
    Last,
}

/// Layers and what goes into them.
pub struct Model {
    pub parameters: Parameters,
    layers: Vec<Layer>,
    input: Data,
    states: Option<[Option<Tensor>; 2]>,
    lengths: Option<Lengths>,
    /// For each sequence, the row of its own last step in an output of T·B (or B·T) rows.
    last: Indices,
}

enum Data {
    Values(Tensor),
    Tokens(Indices),
}

/// What a forward pass gives, and the inputs of the tape whose gradients a case expects.
pub struct Forward {
    pub output: Var,
    pub h_n: Var,
    pub c_n: Option<Var>,
    /// `x`, `h0` and `c0`, as far as the case has them.
    pub leaves: Vec<(&'static str, Var)>,
}

impl Model {
    /// The model of a case on a device, with the case's parameters and inputs.
    pub fn new(
        device: &Device,
        precision: Precision,
        case: &Description,
        tensors: &Tensors,
    ) -> Result<Model> {
        let stored: u128 = tensors.with_prefix("param.").map(|(_, stored)| stored.count() as u128).sum();
        // Checked before memory is taken for sizes that the file does not fill.
        if stored != case.parameters() {
            let message = format!(
                "the model has {} parameters, the tensors param.* hold {stored} values",
                case.parameters()
            );
            return Err(malformed(message));
        }
        let mut init = Initializer::in_precision(device, 0, precision);
        let layers = case.model.iter().map(|layer| make(&mut init, layer)).collect::<Result<Vec<_>>>()?;
        let parameters = init.build()?;
        fill(&parameters, tensors)?;
        let batch_first = case.recurrent().batch_first;
        let lead = if batch_first { [case.batch, case.time] } else { [case.time, case.batch] };
        Ok(Model {
            layers,
            parameters,
            input: input(device, case, tensors, lead)?,
            states: states(device, case, tensors)?,
            lengths: case.lengths.as_ref().map(|lengths| Lengths::new(device, lengths)).transpose()?,
            last: last_rows(device, case, batch_first)?,
        })
    }

    /// Runs all layers.
    pub fn forward(&self, tape: &mut Tape) -> Result<Forward> {
        let dtype = self.parameters.precision().dtype();
        let mut leaves = Vec::new();
        let mut at = match &self.input {
            Data::Tokens(_) => None,
            Data::Values(values) => {
                let x = tape.input(values);
                leaves.push(("x", x));
                Some(tape.cast(x, dtype)?)
            }
        };
        let [mut h0, mut c0] = [None; 2];
        if let Some([h, c]) = &self.states {
            for (name, state, leaf) in [("h0", h, &mut h0), ("c0", c, &mut c0)] {
                if let Some(state) = state {
                    let var = tape.input(state);
                    leaves.push((name, var));
                    *leaf = Some(tape.cast(var, dtype)?);
                }
            }
        }
        let lengths = self.lengths.as_ref();
        let mut states = None;
        for layer in &self.layers {
            let x = match (layer, &self.input, at) {
                (Layer::Embedding(embedding), Data::Tokens(tokens), None) => {
                    at = Some(embedding.forward(tape, tokens)?);
                    continue;
                }
                (Layer::Embedding(_), ..) => {
                    return Err(malformed("an embedding reads tokens: it is the first layer"));
                }
                (_, _, None) => return Err(malformed("tokens need an embedding as the first layer")),
                (_, _, Some(x)) => x,
            };
            at = Some(match layer {
                Layer::Rnn(rnn) => {
                    let result = rnn.run(tape, x, h0, lengths)?;
                    states = Some((result.h_n(tape)?, None));
                    result.output
                }
                Layer::Gru(gru) => {
                    let result = gru.run(tape, x, h0, lengths)?;
                    states = Some((result.h_n(tape)?, None));
                    result.output
                }
                Layer::Lstm(lstm) => {
                    let initial = h0.zip(c0).map(|(h0, c0)| [h0, c0]);
                    let result = lstm.run(tape, x, initial, lengths)?;
                    states = Some((result.h_n(tape)?, Some(result.c_n(tape)?)));
                    result.output
                }
                Layer::Linear(linear) => linear.forward(tape, x)?,
                Layer::Last => self.last_steps(tape, x)?,
                Layer::Embedding(_) => return Err(malformed("an embedding is the first layer")),
            });
        }
        let (Some(output), Some((h_n, c_n))) = (at, states) else {
            return Err(malformed("the model has no recurrent layer"));
        };
        Ok(Forward { output, h_n, c_n, leaves })
    }

    /// Each sequence's own last step of x [T, B, W] (or [B, T, W]): [B, W]. The final states are something else: the other
    /// direction's is its state at the first step.
    fn last_steps(&self, tape: &mut Tape, x: Var) -> Result<Var> {
        let shape = tape.value(x)?.shape();
        let &[first, second, width] = &*shape else {
            return Err(malformed(format!("`last` takes a step of each sequence, got shape {shape:?}")));
        };
        let rows = tape.reshape(x, [first * second, width])?;
        tape.embedding(&self.last, rows, None)
    }
}

fn make(init: &mut Initializer, layer: &Described) -> Result<Layer> {
    Ok(match layer {
        Described::Embedding(options) => {
            let config = EmbeddingConfig {
                num_embeddings: options.num_embeddings,
                embedding_dim: options.embedding_dim,
                padding_idx: None,
            };
            Layer::Embedding(Embedding::new(init, &options.name, &config)?)
        }
        Described::Linear(options) => {
            let config = LinearConfig {
                in_features: options.in_features,
                out_features: options.out_features,
                bias: options.bias,
            };
            Layer::Linear(Linear::new(init, &options.name, &config)?)
        }
        Described::Last(_) => Layer::Last,
        Described::Rnn(options) => {
            let &Recurrent {
                input_size,
                hidden_size,
                num_layers,
                bias,
                batch_first,
                bidirectional,
                nonlinearity,
                ..
            } = options;
            let config = RnnConfig {
                input_size,
                hidden_size,
                num_layers,
                bias,
                batch_first,
                bidirectional,
                nonlinearity: nonlinearity.unwrap_or_default(),
                dropout: 0.0,
            };
            Layer::Rnn(Rnn::new(init, &options.name, &config)?)
        }
        Described::Gru(options) => {
            let &Recurrent { input_size, hidden_size, num_layers, bias, batch_first, bidirectional, .. } =
                options;
            let config = GruConfig {
                input_size,
                hidden_size,
                num_layers,
                bias,
                batch_first,
                bidirectional,
                dropout: 0.0,
            };
            Layer::Gru(Gru::new(init, &options.name, &config)?)
        }
        Described::Lstm(options) => {
            let &Recurrent {
                input_size,
                hidden_size,
                num_layers,
                bias,
                batch_first,
                bidirectional,
                proj_size,
                ..
            } = options;
            let config = LstmConfig {
                input_size,
                hidden_size,
                num_layers,
                bias,
                batch_first,
                bidirectional,
                proj_size: proj_size.unwrap_or(0),
                dropout: 0.0,
            };
            Layer::Lstm(Lstm::new(init, &options.name, &config)?)
        }
    })
}

/// Sets all parameters from `param.<name>`, which must be theirs exactly.
fn fill(parameters: &Parameters, tensors: &Tensors) -> Result<()> {
    for (name, _) in tensors.with_prefix("param.") {
        if parameters.id(name).is_none() {
            return Err(malformed(format!("the model has no parameter {name:?}")));
        }
    }
    for (name, shape) in parameters.names() {
        let key = format!("param.{name}");
        let (stored, values) = tensors.floats(&key)?;
        if *stored != *shape {
            return Err(malformed(format!("{key:?} has shape {stored:?}, the model's {shape:?}")));
        }
        parameters.set(name, Host::F32(values))?;
    }
    Ok(())
}

fn input(device: &Device, case: &Description, tensors: &Tensors, lead: [usize; 2]) -> Result<Data> {
    let [first, second] = lead;
    match case.input {
        Input::Tokens => match tensors.integers("x")? {
            (shape, values) if shape == lead => Ok(Data::Tokens(Indices::new(device, lead, &values)?)),
            (shape, _) => Err(malformed(format!("tokens must be {lead:?}, got {shape:?}"))),
        },
        Input::Values => match tensors.floats("x")? {
            (&[a, b, width], values) if [a, b] == lead => {
                Ok(Data::Values(Tensor::from_f32(device, [first, second, width], values)?))
            }
            (shape, _) => Err(malformed(format!("values must be [{first}, {second}, ..], got {shape:?}"))),
        },
    }
}

fn states(device: &Device, case: &Description, tensors: &Tensors) -> Result<Option<[Option<Tensor>; 2]>> {
    if !case.initial_state {
        return Ok(None);
    }
    let state = |key: &str| {
        let (shape, values) = tensors.floats(key)?;
        let &[rows, batch, size] = shape else {
            return Err(malformed(format!("{key:?} must have three dimensions, got {shape:?}")));
        };
        Tensor::from_f32(device, [rows, batch, size], values)
    };
    let lstm = case.model.iter().any(|layer| matches!(layer, Described::Lstm(_)));
    Ok(Some([Some(state("h0")?), lstm.then(|| state("c0")).transpose()?]))
}

fn last_rows(device: &Device, case: &Description, batch_first: bool) -> Result<Indices> {
    let Description { time, batch, .. } = *case;
    let row = |b: usize| {
        let step = case.lengths.as_ref().map_or(time, |lengths| lengths[b]) - 1;
        (if batch_first { b * time + step } else { step * batch + b }) as i32
    };
    Indices::new(device, [batch], &(0..batch).map(row).collect::<Vec<_>>())
}
