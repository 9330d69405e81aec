//! A look at a tape: what was computed from what. Values and nodes are numbered in the order in which they were made, so that
//! every node comes after those whose outputs it takes. A tape can be looked at before its backward pass and after it, until
//! [`Tape::clear`].

use super::{Kind, Tape, Var};
use crate::error::Result;
use crate::kernel::Dtype;
use crate::tensor::Shape;

/// An operation on a tape that gradients flow through.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeInfo {
    /// The operation's name.
    pub name: &'static str,
    /// What it was computed from: the values that its backward rule may give gradients. What else the operation reads, such as
    /// labels and tokens, is no value of the tape.
    pub inputs: Vec<Var>,
    /// What it has computed.
    pub outputs: Vec<Var>,
}

/// A value on a tape.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueInfo {
    /// Its shape.
    pub shape: Shape,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Where it is from.
    pub kind: ValueKind,
    /// Whether a gradient flows to it.
    pub requires_grad: bool,
}

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// From outside: [`Tape::constant`], or [`Tape::input`] where it has a gradient.
    Input,
    /// A parameter, of this name.
    Parameter(String),
    /// Computed: by a node where a gradient flows to it.
    Output,
}

impl Var {
    /// Its number among its tape's values, from 0.
    pub fn index(self) -> usize {
        self.index
    }
}

impl Tape {
    /// The operations that gradients flow through, in the order in which they were done. [`Work`](crate::device::Work) in a
    /// profile counts them so.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeInfo> {
        let var = |index| Var { index, tape: self.id };
        self.nodes.iter().map(move |node| NodeInfo {
            name: node.name,
            inputs: node.inputs.iter().copied().map(var).collect(),
            outputs: node.outputs.clone().map(var).collect(),
        })
    }

    /// All values, in the order in which they came to be.
    pub fn values(&self) -> impl ExactSizeIterator<Item = Var> {
        let tape = self.id;
        (0..self.values.len()).map(move |index| Var { index, tape })
    }

    /// What is known of a value beside its numbers, which [`Tape::value`] gives.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when it is not of this tape.
    pub fn value_info(&self, var: Var) -> Result<ValueInfo> {
        let value = &self.values[self.index(var)?];
        let kind = match value.kind {
            Kind::Input => ValueKind::Input,
            Kind::Parameter(id) => ValueKind::Parameter(self.parameters()?.place(id)?.1.to_string()),
            Kind::Output => ValueKind::Output,
        };
        Ok(ValueInfo {
            shape: value.tensor.shape(),
            dtype: value.tensor.dtype(),
            kind,
            requires_grad: value.requires_grad,
        })
    }
}
