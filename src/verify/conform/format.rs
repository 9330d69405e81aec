//! What a case's two files hold. Options have the names and defaults of PyTorch's classes; a key that is none of them is
//! an error.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::Dtype;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::files::tensors::{TensorFile, is_float};
use crate::files::{json, read_whole};
use crate::ops::recurrent::Nonlinearity;

/// The most bytes that are read of a case's description.
const MAX_JSON: u64 = 1 << 20;
/// The most that a size may be, and the number of layers: beyond lies a mistake that would use up the memory.
const MAX_SIZE: usize = 1 << 20;
const MAX_LAYERS: usize = 1 << 10;
/// The most steps: a case has three.
const MAX_STEPS: usize = 1 << 10;

/// `case.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    pub name: String,
    pub batch: usize,
    pub time: usize,
    pub steps: usize,
    pub model: Vec<Layer>,
    pub input: Input,
    pub lengths: Option<Vec<usize>>,
    #[serde(default)]
    pub initial_state: bool,
    pub loss: Loss,
    pub optimizer: Optimizer,
    pub clip_grad_norm: Option<f64>,
    /// The seed that the generator used. It is of no use here.
    #[serde(rename = "seed")]
    _seed: Option<serde_json::Number>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Input {
    Values,
    Tokens,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Layer {
    Embedding(Embedding),
    Rnn(Recurrent),
    Lstm(Recurrent),
    Gru(Recurrent),
    Linear(Linear),
    Last(Last),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    pub name: String,
    pub num_embeddings: usize,
    pub embedding_dim: usize,
}

/// The options of all kinds of recurrent layers; those of other kinds are refused in [`Description::check`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recurrent {
    pub name: String,
    pub input_size: usize,
    pub hidden_size: usize,
    #[serde(default = "one")]
    pub num_layers: usize,
    #[serde(default = "yes")]
    pub bias: bool,
    #[serde(default)]
    pub batch_first: bool,
    #[serde(default)]
    pub bidirectional: bool,
    pub nonlinearity: Option<Nonlinearity>,
    pub proj_size: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    pub name: String,
    pub in_features: usize,
    pub out_features: usize,
    #[serde(default = "yes")]
    pub bias: bool,
}

/// Keeps each sequence's own last step.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Last {}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Loss {
    Mse(ValueLoss),
    L1(ValueLoss),
    Huber(ValueLoss),
    CrossEntropy(CrossEntropy),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueLoss {
    #[serde(default)]
    pub reduction: Reduction,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossEntropy {
    #[serde(default)]
    pub reduction: Reduction,
    #[serde(default)]
    pub label_smoothing: f32,
    #[serde(default = "minus_100")]
    pub ignore_index: i32,
    /// Whether there are class weights.
    #[serde(default)]
    pub weighted: bool,
    /// Whether some labels are `ignore_index`. It is of no use here: the labels show it.
    #[serde(default, rename = "ignored")]
    _ignored: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    #[default]
    Mean,
    Sum,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Optimizer {
    Sgd(Sgd),
    Adam(Adam),
    AdamW(Adam),
    Rmsprop(Rmsprop),
    Adagrad(Adagrad),
}

/// An absent option has the default of its class.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sgd {
    pub lr: Option<f64>,
    pub momentum: Option<f64>,
    pub dampening: Option<f64>,
    pub weight_decay: Option<f64>,
    pub nesterov: Option<bool>,
}

/// As [`Sgd`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adam {
    pub lr: Option<f64>,
    pub betas: Option<[f64; 2]>,
    pub eps: Option<f64>,
    pub weight_decay: Option<f64>,
    pub amsgrad: Option<bool>,
}

/// As [`Sgd`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rmsprop {
    pub lr: Option<f64>,
    pub alpha: Option<f64>,
    pub eps: Option<f64>,
    pub weight_decay: Option<f64>,
    pub momentum: Option<f64>,
    pub centered: Option<bool>,
}

/// As [`Sgd`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adagrad {
    pub lr: Option<f64>,
    pub lr_decay: Option<f64>,
    pub weight_decay: Option<f64>,
    pub eps: Option<f64>,
    pub initial_accumulator_value: Option<f64>,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

fn minus_100() -> i32 {
    -100
}

impl Description {
    /// Reads `case.json` of a case's folder.
    pub fn read(folder: &Path) -> Result<Description> {
        let path = folder.join("case.json");
        let text = read_whole(&path, MAX_JSON)?;
        let description: Description =
            json::parse(&text).map_err(|error| Error::data(&path, format!("describes no case: {error}")))?;
        description.check(folder).map_err(|message| Error::data(&path, message))?;
        Ok(description)
    }

    /// What the types cannot say.
    fn check(&self, folder: &Path) -> Result<(), String> {
        if folder.file_name().is_some_and(|name| name != self.name.as_str()) {
            return Err(format!("the case is named {:?}, its folder is not", self.name));
        }
        let mut sizes = vec![("batch", self.batch), ("time", self.time), ("steps", self.steps)];
        let mut recurrent = 0;
        for layer in &self.model {
            match layer {
                Layer::Embedding(e) => {
                    sizes.extend([("num_embeddings", e.num_embeddings), ("embedding_dim", e.embedding_dim)]);
                }
                Layer::Linear(l) => {
                    sizes.extend([("in_features", l.in_features), ("out_features", l.out_features)])
                }
                Layer::Last(_) => {}
                Layer::Rnn(r) | Layer::Lstm(r) | Layer::Gru(r) => {
                    recurrent += 1;
                    sizes.extend([("input_size", r.input_size), ("hidden_size", r.hidden_size)]);
                    if !(1..=MAX_LAYERS).contains(&r.num_layers) {
                        return Err(format!(
                            "num_layers must be from 1 to {MAX_LAYERS}, got {}",
                            r.num_layers
                        ));
                    }
                    if r.nonlinearity.is_some() && !matches!(layer, Layer::Rnn(_)) {
                        return Err("nonlinearity is an option of the type rnn alone".into());
                    }
                    if r.proj_size.is_some() && !matches!(layer, Layer::Lstm(_)) {
                        return Err("proj_size is an option of the type lstm alone".into());
                    }
                }
            }
        }
        if recurrent != 1 {
            return Err(format!("a model has one recurrent layer, got {recurrent}"));
        }
        if self.steps > MAX_STEPS {
            return Err(format!("steps must be from 1 to {MAX_STEPS}, got {}", self.steps));
        }
        if let Some((name, size)) = sizes.iter().find(|(_, size)| !(1..=MAX_SIZE).contains(size)) {
            return Err(format!("{name} must be from 1 to {MAX_SIZE}, got {size}"));
        }
        match &self.lengths {
            Some(lengths) if lengths.len() != self.batch => Err(format!(
                "lengths must be one for each of {} sequences, got {}",
                self.batch,
                lengths.len()
            )),
            Some(lengths) if !lengths.iter().all(|length| (1..=self.time).contains(length)) => {
                Err(format!("lengths must be from 1 to {}, got {lengths:?}", self.time))
            }
            _ => Ok(()),
        }
    }

    /// The options of the recurrent layer.
    pub fn recurrent(&self) -> &Recurrent {
        let mut recurrent = self.model.iter().filter_map(|layer| match layer {
            Layer::Rnn(r) | Layer::Lstm(r) | Layer::Gru(r) => Some(r),
            _ => None,
        });
        recurrent.next().expect("a case that was read has one")
    }

    /// The number of parameters.
    pub fn parameters(&self) -> u128 {
        let count = |layer: &Layer| {
            let parts = match layer {
                Layer::Embedding(e) => return e.num_embeddings as u128 * e.embedding_dim as u128,
                Layer::Linear(l) => {
                    return l.out_features as u128 * (l.in_features + usize::from(l.bias)) as u128;
                }
                Layer::Last(_) => return 0,
                Layer::Rnn(_) => 1,
                Layer::Gru(_) => 3,
                Layer::Lstm(_) => 4,
            };
            let (Layer::Rnn(r) | Layer::Lstm(r) | Layer::Gru(r)) = layer else { return 0 };
            let directions = 1 + u128::from(r.bidirectional);
            let projection = r.proj_size.unwrap_or(0) as u128;
            let hidden = r.hidden_size as u128;
            let state = if projection > 0 { projection } else { hidden };
            let biases = 2 * u128::from(r.bias);
            let cell = |input: u128| parts * hidden * (input + state + biases) + projection * hidden;
            let above = (r.num_layers as u128 - 1) * cell(directions * state);
            directions * (cell(r.input_size as u128) + above)
        };
        self.model.iter().map(count).sum()
    }
}

/// The values of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    Floats(Vec<usize>, Vec<f32>),
    Integers(Vec<usize>, Vec<i64>),
}

/// `tensors.safetensors`.
#[derive(Debug)]
pub struct Tensors(pub BTreeMap<String, Stored>);

impl Tensors {
    /// Reads `tensors.safetensors` of a case's folder.
    pub fn read(folder: &Path) -> Result<Tensors> {
        let path = folder.join("tensors.safetensors");
        let bad = |message: String| Error::data(&path, message);
        let not_whole = |why: String| bad(format!("is no whole safetensors file: {why}"));
        let mut file = TensorFile::open(&path)?.map_err(not_whole)?;
        let mut tensors = BTreeMap::new();
        for name in file.names() {
            let info = file.info(&name).expect("its name is the file's");
            let (shape, dtype) = (info.shape.clone(), info.dtype);
            let stored = match dtype {
                Dtype::I64 => Stored::Integers(shape, file.integers(&name).map_err(not_whole)?),
                dtype if is_float(dtype) => Stored::Floats(shape, file.floats(&name).map_err(not_whole)?),
                dtype => return Err(bad(format!("{name:?} is {dtype:?}; floats and I64 can be read"))),
            };
            tensors.insert(name, stored);
        }
        Ok(Tensors(tensors))
    }

    /// A tensor of floats: shape and values.
    pub fn floats(&self, key: &str) -> Result<(&[usize], &[f32])> {
        match self.0.get(key) {
            Some(Stored::Floats(shape, values)) => Ok((shape, values)),
            Some(Stored::Integers(..)) => Err(malformed(format!("{key:?} must hold floats"))),
            None => Err(malformed(format!("there is no tensor {key:?}"))),
        }
    }

    /// A tensor of integers: shape and values.
    pub fn integers(&self, key: &str) -> Result<(&[usize], Vec<i32>)> {
        match self.0.get(key) {
            Some(Stored::Integers(shape, values)) => {
                let narrow = |x: &i64| {
                    i32::try_from(*x).map_err(|_| malformed(format!("{key:?} holds {x}, which is too large")))
                };
                Ok((shape, values.iter().map(narrow).collect::<Result<_>>()?))
            }
            Some(Stored::Floats(..)) => Err(malformed(format!("{key:?} must hold integers"))),
            None => Err(malformed(format!("there is no tensor {key:?}"))),
        }
    }

    /// The tensors whose keys begin so, with the rest of their keys.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Stored)> {
        self.0.iter().filter_map(move |(key, stored)| Some((key.strip_prefix(prefix)?, stored)))
    }
}

impl Stored {
    /// The values; none where they are integers.
    pub fn as_floats(&self) -> &[f32] {
        match self {
            Stored::Floats(_, values) => values,
            Stored::Integers(..) => &[],
        }
    }

    /// The number of elements.
    pub fn count(&self) -> usize {
        match self {
            Stored::Floats(_, values) => values.len(),
            Stored::Integers(_, values) => values.len(),
        }
    }
}

/// The error of a case that contradicts itself.
pub fn malformed(message: impl Into<String>) -> Error {
    Error::argument("conform", message)
}
