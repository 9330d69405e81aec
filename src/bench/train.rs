//! Benchmarks of whole training steps: the forward pass, the loss, the backward pass and a step of Adam.

use super::data::{reals, signed, tokens};
use super::{Bench, Case, Facts};
use crate::device::Device;
use crate::error::Result;
use crate::kernel::Dtype;
use crate::nn::{
    Embedding, EmbeddingConfig, Gru, GruConfig, Linear, LinearConfig, Lstm, LstmConfig, Rnn, RnnConfig,
};
use crate::ops::cross_entropy::CrossEntropyLoss;
use crate::ops::indices::Indices;
use crate::ops::regression_loss::RegressionLoss;
use crate::optim::{Adam, AdamConfig, LossScale, Optimizer};
use crate::parameters::{Initializer, Parameters, Precision};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// A set of training cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// The training cases of cases.json.
    Peers,
    /// The training shapes of Baidu's DeepBench that fit a GPU of 16 GB in f32.
    Deepbench,
    /// The shapes of the FlashRNN paper (arXiv 2412.07752), as LSTM layers of 768 units.
    Flashrnn,
}

#[derive(Clone, Copy)]
enum Cell {
    Rnn,
    Gru,
    Lstm,
}

/// What a model reads, and what its loss compares.
#[derive(Clone, Copy)]
enum Task {
    /// One-hot "hihell", labels "ihello".
    Hihello,
    /// One-hot windows over a text, each character labelled with the next.
    Windows,
    /// Tokens of a vocabulary, through an embedding, each labelled with the next.
    Tokens(usize),
    /// Reals; one value is predicted from the last time step's output.
    Series,
    /// Reals of both signs; the loss is the mean of the squared outputs.
    Squares,
}

/// A training case: the sizes of one model and its task.
#[derive(Clone, Copy)]
struct Training {
    cell: Cell,
    layers: usize,
    time: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    task: Task,
    lr: f64,
}

/// The cases of a set.
pub fn training(set: Set) -> Vec<Case> {
    let case = |name: String, training: Training| {
        let Training { layers, time, batch, input, hidden, .. } = training;
        let about = format!("L={layers} T={time} B={batch} I={input} H={hidden}");
        let prepare = Box::new(move |device: &Device, precision| training.prepare(device, precision));
        Case { name, about, halves: true, prepare }
    };
    let layer = |cell, [time, batch, input, hidden]: [usize; 4], task, lr| Training {
        cell,
        layers: 1,
        time,
        batch,
        input,
        hidden,
        task,
        lr,
    };
    match set {
        Set::Peers => [
            ("hihello", layer(Cell::Rnn, [6, 1, 5, 5], Task::Hihello, 0.1)),
            ("longseq", Training { layers: 2, ..layer(Cell::Rnn, [10, 170, 25, 25], Task::Windows, 0.1) }),
            ("timeseries", layer(Cell::Lstm, [7, 505, 5, 10], Task::Series, 0.01)),
            ("charlm", layer(Cell::Lstm, [64, 32, 128, 256], Task::Tokens(65), 0.001)),
            ("rnn_mid", layer(Cell::Rnn, [64, 32, 128, 256], Task::Squares, 1e-5)),
            ("gru_mid", layer(Cell::Gru, [64, 32, 128, 256], Task::Squares, 1e-5)),
            ("lstm_mid", layer(Cell::Lstm, [64, 32, 128, 256], Task::Squares, 1e-5)),
            ("lstm_big", layer(Cell::Lstm, [128, 64, 512, 512], Task::Squares, 1e-5)),
        ]
        .into_iter()
        .map(|(name, training)| case(name.into(), training))
        .collect(),
        Set::Deepbench => DEEPBENCH
            .iter()
            .flat_map(|(cell, name, hidden, batches, time)| {
                batches.iter().map(move |batch| (*cell, *name, *hidden, *batch, *time))
            })
            .map(|(cell, name, hidden, batch, time)| {
                let training = layer(cell, [time, batch, hidden, hidden], Task::Squares, 1e-5);
                case(format!("deepbench_{name}_{hidden}x{batch}x{time}"), training)
            })
            .collect(),
        Set::Flashrnn => FLASHRNN
            .iter()
            .map(|[batch, time]| {
                let training = layer(Cell::Lstm, [*time, *batch, 768, 768], Task::Squares, 1e-5);
                case(format!("flashrnn_768x{batch}x{time}"), training)
            })
            .collect(),
    }
}

/// The cell, its name, H (the hidden units), the batch sizes, and T (the time steps).
const DEEPBENCH: &[(Cell, &str, usize, &[usize], usize)] = &[
    (Cell::Rnn, "rnn", 1760, &[16, 32, 64, 128], 50),
    (Cell::Rnn, "rnn", 2048, &[16, 32, 64, 128], 50),
    (Cell::Rnn, "rnn", 2560, &[16, 32, 64, 128], 50),
    (Cell::Lstm, "lstm", 512, &[16, 32, 64, 128], 25),
    (Cell::Lstm, "lstm", 1024, &[16, 32, 64, 128], 25),
    (Cell::Lstm, "lstm", 2048, &[16, 32, 64, 128], 25),
    (Cell::Lstm, "lstm", 4096, &[16, 32, 64, 128], 25),
    (Cell::Lstm, "lstm", 1536, &[8, 16, 32], 50),
    (Cell::Lstm, "lstm", 256, &[16, 32, 64], 150),
    (Cell::Gru, "gru", 2816, &[32], 187),
    (Cell::Gru, "gru", 2048, &[32], 187),
    (Cell::Gru, "gru", 1536, &[32], 187),
    (Cell::Gru, "gru", 2560, &[32], 187),
    (Cell::Gru, "gru", 512, &[32], 1),
    (Cell::Gru, "gru", 1024, &[32, 64], 1500),
];

/// B (the batch size) and T (the time steps).
const FLASHRNN: [[usize; 2]; 10] = [
    [16, 1024],
    [2, 1024],
    [8, 1024],
    [32, 1024],
    [64, 1024],
    [128, 1024],
    [256, 1024],
    [16, 256],
    [16, 512],
    [16, 2048],
];

enum Layer {
    Rnn(Rnn),
    Gru(Gru),
    Lstm(Lstm),
}

enum Input {
    Reals(Tensor),
    Tokens(Indices, Embedding),
}

enum Target {
    Labels(Indices),
    Values(Tensor),
}

struct Prepared {
    device: Device,
    parameters: Parameters,
    adam: Adam,
    tape: Tape,
    input: Input,
    layer: Layer,
    fc: Option<Linear>,
    target: Target,
    /// Whether only the output of the last time step is used.
    last_only: bool,
    loss: Option<Var>,
}

impl Training {
    fn prepare(&self, device: &Device, precision: Precision) -> Result<Box<dyn Bench>> {
        let Training { cell, layers: num_layers, time, batch, input: input_size, hidden, task, lr } = *self;
        let mut init = Initializer::in_precision(device, 0, precision);
        let embedding = match task {
            Task::Tokens(vocabulary) => {
                let config = EmbeddingConfig {
                    num_embeddings: vocabulary,
                    embedding_dim: input_size,
                    ..EmbeddingConfig::default()
                };
                Some(Embedding::new(&mut init, "embedding", &config)?)
            }
            _ => None,
        };
        let hidden_size = hidden;
        let layer = match cell {
            Cell::Rnn => {
                let config = RnnConfig { input_size, hidden_size, num_layers, ..RnnConfig::default() };
                Layer::Rnn(Rnn::new(&mut init, "rnn", &config)?)
            }
            Cell::Gru => {
                let config = GruConfig { input_size, hidden_size, num_layers, ..GruConfig::default() };
                Layer::Gru(Gru::new(&mut init, "rnn", &config)?)
            }
            Cell::Lstm => {
                let config = LstmConfig { input_size, hidden_size, num_layers, ..LstmConfig::default() };
                Layer::Lstm(Lstm::new(&mut init, "rnn", &config)?)
            }
        };
        let outputs = match task {
            Task::Windows => Some(input_size),
            Task::Tokens(vocabulary) => Some(vocabulary),
            Task::Series => Some(1),
            Task::Hihello | Task::Squares => None,
        };
        let fc = |out_features| {
            Linear::new(&mut init, "fc", &LinearConfig { in_features: hidden, out_features, bias: true })
        };
        let fc = outputs.map(fc).transpose()?;
        let parameters = init.build()?;
        // The tokens of B streams, laid out [T, B].
        let by_step = |text: &dyn Fn(usize, usize) -> i32| {
            let steps = (0..time).flat_map(|t| (0..batch).map(move |b| (t, b)));
            steps.map(|(t, b)| text(t, b)).collect::<Vec<_>>()
        };
        let indices = |ids: &[i32]| Indices::new(device, [time, batch], ids);
        let (input, target) = match task {
            Task::Hihello => {
                let (read, next) = ([0, 1, 0, 2, 3, 3], [1, 0, 2, 3, 3, 4]);
                (Input::Reals(indices(&read)?.one_hot(input_size)?), Target::Labels(indices(&next)?))
            }
            Task::Windows => {
                let text = tokens(batch + time, input_size);
                let read = indices(&by_step(&|t, b| text[b + t]))?.one_hot(input_size)?;
                (Input::Reals(read), Target::Labels(indices(&by_step(&|t, b| text[b + t + 1]))?))
            }
            Task::Tokens(vocabulary) => {
                let text = tokens(batch * (time + 1), vocabulary);
                let read = indices(&by_step(&|t, b| text[b * (time + 1) + t]))?;
                let next = indices(&by_step(&|t, b| text[b * (time + 1) + t + 1]))?;
                let embedding = embedding.expect("tokens have an embedding");
                (Input::Tokens(read, embedding), Target::Labels(next))
            }
            Task::Series => {
                let x = Tensor::from_f32(
                    device,
                    [time, batch, input_size],
                    &reals(time * batch * input_size, 1),
                )?;
                (Input::Reals(x), Target::Values(Tensor::from_f32(device, [batch, 1], &reals(batch, 7))?))
            }
            Task::Squares => {
                let x = Tensor::from_f32(
                    device,
                    [time, batch, input_size],
                    &signed(time * batch * input_size, 1),
                )?;
                let zeros = Tensor::empty(device, Dtype::F32, [time, batch, hidden])?;
                zeros.fill(0.0)?;
                (Input::Reals(x), Target::Values(zeros))
            }
        };
        let mut adam = Adam::new(&parameters, AdamConfig { lr, ..AdamConfig::default() })?;
        let mut tape = Tape::new(&parameters);
        if precision == Precision::F16 {
            adam.scale_loss(LossScale::default())?;
            tape.set_loss_scale(adam.loss_scale())?;
        }
        let last_only = matches!(task, Task::Series);
        let device = device.clone();
        Ok(Box::new(Prepared {
            device,
            parameters,
            adam,
            tape,
            input,
            layer,
            fc,
            target,
            last_only,
            loss: None,
        }))
    }
}

impl Bench for Prepared {
    fn step(&mut self) -> Result<()> {
        let tape = &mut self.tape;
        tape.clear();
        let x = match &self.input {
            Input::Reals(x) => tape.constant(x),
            Input::Tokens(tokens, embedding) => embedding.forward(tape, tokens)?,
        };
        let mut y = match &self.layer {
            Layer::Rnn(layer) => layer.forward(tape, x, None)?.output,
            Layer::Gru(layer) => layer.forward(tape, x, None)?.output,
            Layer::Lstm(layer) => layer.forward(tape, x, None)?.output,
        };
        if self.last_only {
            let last = tape.value(y)?.shape()[0] - 1;
            y = tape.select(y, 0, last)?;
        }
        if let Some(fc) = &self.fc {
            y = fc.forward(tape, y)?;
        }
        let loss = match &self.target {
            Target::Labels(labels) => tape.cross_entropy(y, labels, &CrossEntropyLoss::default())?,
            Target::Values(values) => {
                let values = tape.constant(values);
                tape.mse_loss(y, values, &RegressionLoss::default())?
            }
        };
        self.adam.zero_grad();
        tape.backward(loss)?;
        self.adam.step(None)?;
        self.device.end_step()?;
        self.loss = Some(loss);
        Ok(())
    }

    fn fetch(&mut self) -> Result<f64> {
        let loss = self.loss.expect("a step comes before");
        Ok(self.tape.value(loss)?.to_vec()?[0].into())
    }

    fn results(&mut self) -> Result<Vec<Vec<f64>>> {
        Ok(vec![vec![self.fetch()?]])
    }

    fn facts(&self) -> Facts {
        let count = self.parameters.names().map(|(_, shape)| shape.count()).sum();
        Facts { parameters: Some(count), ..Facts::default() }
    }
}
