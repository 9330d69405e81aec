//! A small character model in training, with all that a training step of `bptt train text` has.

use crate::device::Device;
use crate::error::Result;
use crate::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, Recurrent, RecurrentConfig};
use crate::ops::cross_entropy::CrossEntropyLoss;
use crate::ops::indices::Indices;
use crate::optim::{Adam, AdamConfig, LossScale, Optimizer};
use crate::parameters::{Initializer, Parameters, Precision};
use crate::tape::{DropoutStream, Tape};
use crate::tensor::Tensor;

const TIME: usize = 16;
const BATCH: usize = 6;

/// A training: new tokens every step, the state carried along, dropout, clipping, Adam.
pub struct Training {
    device: Device,
    parameters: Parameters,
    embedding: Embedding,
    layers: Recurrent,
    fc: Linear,
    adam: Adam,
    tape: Tape,
    states: Vec<Tensor>,
    steps: usize,
}

impl Training {
    /// Tokens there are.
    pub const CLASSES: usize = 11;

    /// A model with these layers, untrained.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the layers cannot be made,
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn new(device: &Device, config: &RecurrentConfig) -> Result<Training> {
        Training::in_precision(device, config, Precision::F32)
    }

    /// [`Training::new`], to compute in a precision. In F16 the loss is scaled.
    ///
    /// # Errors
    /// As [`Training::new`].
    pub fn in_precision(device: &Device, config: &RecurrentConfig, precision: Precision) -> Result<Training> {
        let mut init = Initializer::in_precision(device, 7, precision);
        let (embedding_dim, in_features) = (config.input_size, config.hidden_size);
        let tokens = EmbeddingConfig { num_embeddings: Self::CLASSES, embedding_dim, padding_idx: None };
        let embedding = Embedding::new(&mut init, "embedding", &tokens)?;
        let layers = Recurrent::new(&mut init, "layers", config)?;
        let logits = LinearConfig { in_features, out_features: Self::CLASSES, bias: true };
        let fc = Linear::new(&mut init, "fc", &logits)?;
        let parameters = init.build()?;
        let mut tape = Tape::new(&parameters);
        tape.set_training(Some(DropoutStream { seed: 7, calls: 0 }));
        let mut adam = Adam::new(&parameters, AdamConfig { lr: 1e-2, ..AdamConfig::default() })?;
        if precision == Precision::F16 {
            adam.scale_loss(LossScale::default())?;
            tape.set_loss_scale(adam.loss_scale())?;
        }
        Ok(Training {
            adam,
            device: device.clone(),
            parameters,
            embedding,
            layers,
            fc,
            tape,
            states: Vec::new(),
            steps: 0,
        })
    }

    /// A step, handed to the device: its loss, which nobody has waited for yet.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn step(&mut self) -> Result<Tensor> {
        self.steps += 1;
        // A pattern that can be predicted only from the tokens before; every step reads another part of it.
        let first = self.steps * TIME;
        let token = |i: usize| (i * i / 3 % Self::CLASSES) as i32;
        let at = |offset: usize| {
            let tokens: Vec<i32> = (0..TIME * BATCH).map(|i| token(first + i + offset)).collect();
            Indices::new(&self.device, [TIME, BATCH], &tokens)
        };
        let (inputs, targets) = (at(0)?, at(BATCH)?);
        let tape = &mut self.tape;
        tape.clear();
        let states: Vec<_> = self.states.iter().map(|state| tape.constant(state)).collect();
        let x = self.embedding.forward(tape, &inputs)?;
        let run = self.layers.forward(tape, x, &states)?;
        let logits = self.fc.forward(tape, run.output)?;
        let loss = tape.cross_entropy(logits, &targets, &CrossEntropyLoss::default())?;
        self.adam.zero_grad();
        tape.backward(loss)?;
        self.adam.clip_grad_norm(1.0)?;
        let loss = tape.value(loss)?.clone();
        self.adam.step(Some(&loss))?;
        let states = tape.no_grad(|tape| run.states(tape))?;
        self.states = states.iter().map(|state| tape.value(*state).cloned()).collect::<Result<_>>()?;
        self.device.submit()?;
        Ok(loss)
    }

    /// The parameters as they are now.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn parameters(&self) -> Result<Vec<f32>> {
        Ok(self.parameters.to_host()?.into_iter().flat_map(|(.., values)| values).collect())
    }
}

impl std::fmt::Debug for Training {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} after {} steps", self.layers.config(), self.steps)
    }
}
