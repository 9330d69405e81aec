//! What operations along one dimension have in common. They see a tensor as [outer, n, inner]: n is the size of the dimension,
//! outer and inner the products of those before and behind it. The n elements with the same outer and inner index are a *line*.

use crate::error::{Error, Result};
use crate::tensor::Shape;

/// A shape seen along one of its dimensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    shape: Shape,
    dim: usize,
    /// The product of the dimensions before.
    pub outer: usize,
    /// The size of the dimension.
    pub n: usize,
    /// The product of the dimensions behind.
    pub inner: usize,
}

impl Lines {
    /// The lines along dimension `dim`.
    pub fn new(op: &'static str, shape: Shape, dim: usize) -> Result<Lines> {
        let Some(n) = shape.get(dim) else {
            let message = format!("no dimension {dim} in shape {shape:?}");
            return Err(Error::argument(op, message));
        };
        let (outer, inner) = (shape[..dim].iter().product(), shape[dim + 1..].iter().product());
        Ok(Lines { shape, dim, outer, n: *n, inner })
    }

    /// The shape with n elements along the dimension.
    pub fn with(&self, n: usize) -> Shape {
        let mut dims = self.shape.to_vec();
        dims[self.dim] = n;
        Shape::from(&dims[..])
    }

    /// The shape of a result with one element a line: with 1 for the dimension, or without it.
    pub fn reduced(&self, keepdim: bool) -> Shape {
        if keepdim {
            return self.with(1);
        }
        Shape::from(&[&self.shape[..self.dim], &self.shape[self.dim + 1..]].concat()[..])
    }
}
