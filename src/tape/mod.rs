//! The tape: a flat list of what was computed, walked from the end to the beginning for the gradients.
//!
//! It is what the graph of autograd is in PyTorch; a [`Var`] is a value on it, as a torch.Tensor with a `grad_fn` is.
//!
//! ```
//! use bptt::prelude::*;
//!
//! # fn main() -> Result<()> {
//! let device = Device::cpu();
//! let mut tape = Tape::without_parameters(&device);
//! let x = tape.input(&Tensor::from_f32(&device, [2], &[3.0, 4.0])?); // requires_grad=True
//! let squares = tape.mul(x, x)?;
//! let loss = tape.sum(squares)?; // 3² + 4²
//! tape.backward(loss)?;
//! assert_eq!(tape.gradient(x)?.expect("x has one").to_vec()?, [6.0, 8.0]); // 2·x
//! # Ok(())
//! # }
//! ```
//!
//! An op launches its kernels and pushes one node with [`Tape::push`]. A node's rule computes the gradients of its
//! inputs from those of its outputs. Nothing here is recursive: a tape of any length is walked and dropped in loops.

mod backward;
mod gradients;
mod look;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernel::Dtype;
use crate::ops::embedding::LookUp;
use crate::parameters::{ParameterId, Parameters, Precision};
use crate::tensor::Tensor;

pub use gradients::Gradients;
pub use look::{NodeInfo, ValueInfo, ValueKind};

/// A value on a tape. [`Tape::value`] gives its tensor, [`Tape::gradient`] its gradient, [`Tape::value_info`] all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var {
    index: usize,
    tape: u32,
}

/// The backward rule of a node: it gives each input its gradient, from the gradients of the outputs.
pub type Rule = Box<dyn Fn(&mut Gradients<'_>) -> Result<()> + Send + Sync>;

struct Value {
    tensor: Tensor,
    /// A copy for kernels where the tensor does not begin at an aligned element: a final state, a part of all states, often does
    /// not. It is made when it is first asked for.
    aligned: OnceLock<Tensor>,
    requires_grad: bool,
    kind: Kind,
    gradient: Option<Gradient>,
    look_up: Option<LookUp>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Given from outside.
    Input,
    Parameter(ParameterId),
    /// Computed by a node.
    Output,
}

/// The gradient of a value.
#[derive(Clone)]
enum Gradient {
    /// 1: that of a loss with respect to itself. It is not stored, so that no launch is spent on multiplying with it.
    One,
    Tensor(Tensor),
}

struct Node {
    name: &'static str,
    inputs: Vec<usize>,
    outputs: std::ops::Range<usize>,
    /// Taken by a backward pass that does not retain the tape.
    rule: Option<Rule>,
}

/// Where the random numbers of dropout come from. A tape that has one is in training mode. Each call of `dropout` takes the next
/// stream of Philox, so that masks differ from call to call and are the same on every device. A stream that is saved and
/// restored goes on as if nothing had happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutStream {
    /// The seed.
    pub seed: u64,
    /// The calls so far.
    pub calls: u64,
}

/// A list of what was computed, for the gradients: see the [module](self).
pub struct Tape {
    /// Tells this tape's values from those of others, and of itself before [`Tape::clear`].
    id: u32,
    device: Device,
    parameters: Option<Parameters>,
    values: Vec<Value>,
    nodes: Vec<Node>,
    recording: bool,
    detect_nonfinite: bool,
    training: Option<DropoutStream>,
    loss_scale: Option<Tensor>,
}

fn next_id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Tape {
    /// An empty tape for a model with these parameters.
    pub fn new(parameters: &Parameters) -> Tape {
        Tape { parameters: Some(parameters.clone()), ..Tape::without_parameters(parameters.device()) }
    }

    /// An empty tape on a device, for computations without parameters.
    pub fn without_parameters(device: &Device) -> Tape {
        Tape {
            id: next_id(),
            device: device.clone(),
            parameters: None,
            values: Vec::new(),
            nodes: Vec::new(),
            recording: true,
            detect_nonfinite: false,
            training: None,
            loss_scale: None,
        }
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Forgets all values and nodes but keeps their memory on the host for the next step. Older [`Var`]s become invalid.
    pub fn clear(&mut self) {
        self.values.clear();
        self.nodes.clear();
        self.id = next_id();
    }

    /// Chooses training mode, with dropout from this stream, or with `None` evaluation mode, without dropout: as `train()` and
    /// `eval()` of a torch.nn.Module. A new tape is in evaluation mode.
    pub fn set_training(&mut self, stream: Option<DropoutStream>) {
        self.training = stream;
    }

    /// The stream from which the next dropout takes its mask; `None` in evaluation mode.
    pub fn training(&self) -> Option<DropoutStream> {
        self.training
    }

    /// From now on [`Tape::backward`] begins with this number `[1]` in place of 1, so that all gradients are multiplied with it. It
    /// may change on the device. An optimizer that [scales losses](crate::optim::Optimizer::scale_loss) gives it, and divides the
    /// gradients of the parameters by it. [`Tape::backward_from`] does not multiply with it: its cotangent must hold it already.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is not a single number of type F32.
    pub fn set_loss_scale(&mut self, scale: Option<Tensor>) -> Result<()> {
        if let Some(scale) = scale.as_ref().filter(|scale| scale.count() != 1 || scale.dtype() != Dtype::F32)
        {
            return Err(Error::argument("set_loss_scale", format!("must be a single F32, got {scale:?}")));
        }
        self.loss_scale = scale;
        Ok(())
    }

    /// With `on`, reads every result back, forward and backward, and returns [`Error::NonFinite`], which names the operation, at the
    /// first that holds a NaN or an infinity. (Compare torch.autograd.detect_anomaly.) Slow, for finding a fault.
    pub fn detect_nonfinite(&mut self, on: bool) {
        self.detect_nonfinite = on;
    }

    /// Whether [`Tape::detect_nonfinite`] is on.
    pub(crate) fn detects_nonfinite(&self) -> bool {
        self.detect_nonfinite
    }

    /// Runs `f` without recording, as torch.no_grad: no gradients flow through what it computes, and no rules are kept. (The
    /// values themselves are kept until [`Tape::clear`].)
    ///
    /// # Errors
    /// Those of `f`.
    pub fn no_grad<T>(&mut self, f: impl FnOnce(&mut Tape) -> Result<T>) -> Result<T> {
        let before = std::mem::replace(&mut self.recording, false);
        let result = f(self);
        self.recording = before;
        result
    }

    /// Puts a tensor on the tape, as a value without a gradient: data, say.
    pub fn constant(&mut self, tensor: &Tensor) -> Var {
        self.record(tensor.clone(), false, Kind::Input)
    }

    /// Puts a tensor on the tape, as a value whose gradient [`Tape::gradient`] gives after a backward pass: `requires_grad=True`.
    pub fn input(&mut self, tensor: &Tensor) -> Var {
        self.record(tensor.clone(), true, Kind::Input)
    }

    /// A parameter of the tape's model, in the model's precision. Its gradient, in 32 bits, is added up in
    /// [`Parameters::gradient`].
    ///
    /// # Errors
    /// [`Error::Argument`] when it is of another model, or the tape was made without one.
    pub fn parameter(&mut self, id: ParameterId) -> Result<Var> {
        let tensor = self.parameters()?.in_layers(id)?;
        Ok(self.record(tensor, true, Kind::Parameter(id)))
    }

    /// The precision of the model, in which layers get its parameters.
    pub(crate) fn precision(&self) -> Result<Precision> {
        Ok(self.parameters()?.precision())
    }

    fn parameters(&self) -> Result<&Parameters> {
        let missing = || Error::argument("tape", "was made without parameters; make it with Tape::new");
        self.parameters.as_ref().ok_or_else(missing)
    }

    /// The same value without a gradient, as torch.Tensor.detach: truncated backpropagation through time cuts here.
    ///
    /// # Errors
    /// [`Error::Argument`] when the value is not of this tape.
    pub fn detach(&mut self, var: Var) -> Result<Var> {
        let tensor = self.value(var)?.clone();
        Ok(self.constant(&tensor))
    }

    fn record(&mut self, tensor: Tensor, requires_grad: bool, kind: Kind) -> Var {
        let requires_grad = requires_grad && self.recording;
        if kind != Kind::Output
            && let Some(recorder) = self.device.recorder()
        {
            recorder.value();
        }
        let aligned = OnceLock::new();
        self.values.push(Value { tensor, aligned, requires_grad, kind, gradient: None, look_up: None });
        Var { index: self.values.len() - 1, tape: self.id }
    }

    fn index(&self, var: Var) -> Result<usize> {
        if var.tape == self.id {
            Ok(var.index)
        } else {
            Err(Error::argument(
                "tape",
                "the value belongs to another tape, or to this one before it was cleared",
            ))
        }
    }

    /// The tensor of a value.
    ///
    /// # Errors
    /// [`Error::Argument`] when the value is not of this tape; [`Error::Gpu`] on a fault.
    pub fn value(&self, var: Var) -> Result<&Tensor> {
        let Value { tensor, aligned, kind, .. } = &self.values[self.index(var)?];
        if let Kind::Parameter(_) = kind {
            self.parameters()?.refresh()?;
        }
        if tensor.is_aligned() {
            return Ok(tensor);
        }
        match aligned.get() {
            Some(copy) => Ok(copy),
            None => {
                let copy = tensor.aligned()?;
                Ok(aligned.get_or_init(|| copy))
            }
        }
    }

    /// Whether a gradient flows to the value.
    ///
    /// # Errors
    /// [`Error::Argument`] when the value is not of this tape.
    pub fn requires_grad(&self, var: Var) -> Result<bool> {
        Ok(self.values[self.index(var)?].requires_grad)
    }

    /// Keeps that a value of this tape came from a look-up.
    pub(crate) fn came_from(&mut self, var: Var, look_up: LookUp) {
        self.values[var.index].look_up = Some(look_up);
    }

    /// The look-up that a value came from.
    ///
    /// # Errors
    /// [`Error::Argument`] when the value is not of this tape.
    pub(crate) fn look_up(&self, var: Var) -> Result<Option<&LookUp>> {
        Ok(self.values[self.index(var)?].look_up.as_ref())
    }

    /// The gradient of a [`Tape::input`] or a parameter, added up over backward passes. `None` for an input that none has reached,
    /// and for all other values, which do not keep theirs.
    ///
    /// # Errors
    /// [`Error::Argument`] when the value is not of this tape; [`Error::Gpu`] on a fault.
    pub fn gradient(&self, var: Var) -> Result<Option<Tensor>> {
        let value = &self.values[self.index(var)?];
        if let Kind::Parameter(id) = value.kind {
            return self.parameters()?.gradient(id).map(Some);
        }
        let gradient = value.gradient.as_ref();
        gradient.map(|gradient| gradient.tensor(&self.device, value.tensor.shape())).transpose()
    }

    /// Puts a node on the tape, when an op has computed `output` from `inputs`. `rule` makes the backward rule; it is called only
    /// when an input needs a gradient. An op with several results uses [`Tape::push_all`].
    ///
    /// # Errors
    /// [`Error::Argument`] when an input is not of this tape; [`Error::NonFinite`] when the search for such values is on.
    pub fn push(
        &mut self,
        name: &'static str,
        inputs: &[Var],
        output: Tensor,
        rule: impl FnOnce() -> Rule,
    ) -> Result<Var> {
        Ok(self.push_all(name, inputs, [output], rule)?[0])
    }

    /// [`Tape::push`] for an op with several results.
    ///
    /// # Errors
    /// As [`Tape::push`].
    pub fn push_all<const N: usize>(
        &mut self,
        name: &'static str,
        inputs: &[Var],
        outputs: [Tensor; N],
        rule: impl FnOnce() -> Rule,
    ) -> Result<[Var; N]> {
        let first = self.push_node(name, inputs, &outputs, rule)?;
        Ok(std::array::from_fn(|k| Var { index: first + k, tape: self.id }))
    }

    /// [`Tape::push_all`] for an op whose number of results depends on its arguments.
    pub(crate) fn push_list(
        &mut self,
        name: &'static str,
        inputs: &[Var],
        outputs: &[Tensor],
        rule: impl FnOnce() -> Rule,
    ) -> Result<Vec<Var>> {
        let first = self.push_node(name, inputs, outputs, rule)?;
        Ok((first..first + outputs.len()).map(|index| Var { index, tape: self.id }).collect())
    }

    /// Puts a node on the tape. Returns the index of its first result; the others follow.
    fn push_node(
        &mut self,
        name: &'static str,
        inputs: &[Var],
        outputs: &[Tensor],
        rule: impl FnOnce() -> Rule,
    ) -> Result<usize> {
        if self.detect_nonfinite {
            for output in outputs {
                assert_finite(output, || format!("the output of {name}"), self.nodes.len())?;
            }
        }
        let mut needed = false;
        for input in inputs {
            needed |= self.requires_grad(*input)?;
        }
        needed &= self.recording;
        let first = self.values.len();
        for output in outputs {
            self.record(output.clone(), needed, Kind::Output);
        }
        if needed {
            let inputs = inputs.iter().map(|input| input.index).collect();
            let outputs = first..first + outputs.len();
            self.nodes.push(Node { name, inputs, outputs, rule: Some(rule()) });
        }
        if let Some(recorder) = self.device.recorder() {
            recorder.operation(name, needed.then(|| self.nodes.len() - 1));
        }
        Ok(first)
    }
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.nodes.iter().map(|node| node.name)).finish()
    }
}

fn assert_finite(tensor: &Tensor, what: impl FnOnce() -> String, node: usize) -> Result<()> {
    if tensor.to_f64()?.iter().all(|x| x.is_finite()) {
        return Ok(());
    }
    Err(Error::NonFinite {
        what: what(),
        at: Some(format!("node {node} of the tape, shape {:?}", tensor.shape())),
    })
}
