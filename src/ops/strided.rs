//! Operations that only move elements: transposition, parts of a tensor, and tensors side by side.

use super::embedding::LookUp;
use super::line::Lines;
use crate::cpu::copy::Copy;
use crate::cpu::walk::{collapsed, strides};
use crate::error::{Error, Result};
use crate::kernel::Dtype;
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

/// Copies a block of elements of x to places of y. Of each tensor: the block's first element, and its strides there.
pub(super) fn copy_strided(
    block: &[usize],
    x: &Tensor,
    (start, x_strides): (usize, &[usize]),
    y: &Tensor,
    (to, y_strides): (usize, &[usize]),
) -> Result<()> {
    let count = block.iter().product::<usize>();
    let params = Copy::new(count as u32, start as u32, to as u32, &collapsed(block, x_strides, y_strides));
    let device = y.device();
    device.launch(&params.plan(device.limits().processor), &params, &[x.read(), y.update()])
}

/// x with its dimensions in the order `dims`.
pub(super) fn permuted(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    let own = strides(&x.shape());
    let pick = |from: &[usize]| dims.iter().map(|d| from[*d]).collect::<Vec<usize>>();
    let shape = pick(&x.shape());
    // The elements keep their order where only dimensions of 1 move.
    let moving: Vec<usize> = dims.iter().copied().filter(|d| x.shape()[*d] != 1).collect();
    if moving.is_sorted() {
        return x.reshape(&shape[..]);
    }
    let y = Tensor::empty(&x.device(), x.dtype(), &shape[..])?;
    copy_strided(&shape, x, (0, &pick(&own)), &y, (0, &strides(&shape)))?;
    Ok(y)
}

/// A part of a tensor: `length` elements from `start` on along the dimension of `lines`, to be copied from it or to it.
struct Part {
    lines: Lines,
    start: usize,
    length: usize,
}

impl Part {
    fn block(&self) -> [usize; 2] {
        [self.lines.outer, self.length * self.lines.inner]
    }

    fn first(&self) -> usize {
        self.start * self.lines.inner
    }

    fn shape(&self) -> Shape {
        self.lines.with(self.length)
    }

    /// The strides of the block in the whole and in the part.
    fn strides(&self) -> [[usize; 2]; 2] {
        [[self.lines.n * self.lines.inner, 1], [self.length * self.lines.inner, 1]]
    }

    fn take(&self, whole: &Tensor) -> Result<Tensor> {
        let part = Tensor::empty(&whole.device(), whole.dtype(), self.shape())?;
        let [in_whole, in_part] = self.strides();
        copy_strided(&self.block(), whole, (self.first(), &in_whole), &part, (0, &in_part))?;
        Ok(part)
    }

    fn put(&self, part: &Tensor, whole: &Tensor) -> Result<()> {
        let [in_whole, in_part] = self.strides();
        copy_strided(&self.block(), part, (0, &in_part), whole, (self.first(), &in_whole))
    }

    /// A tensor of that shape that has this part, and is 0 elsewhere.
    fn alone(&self, part: &Tensor, shape: Shape) -> Result<Tensor> {
        let whole = Tensor::empty(&part.device(), part.dtype(), shape)?;
        whole.fill(0.0)?;
        self.put(part, &whole)?;
        Ok(whole)
    }
}

impl Tape {
    /// x with the dimensions `dim0` and `dim1` exchanged, as torch.transpose: [B, T, I] to [T, B, I], say.
    ///
    /// Gradient: dx is dy with the same dimensions exchanged.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such dimension.
    pub fn transpose(&mut self, x: Var, dim0: usize, dim1: usize) -> Result<Var> {
        let input = self.value(x)?;
        let shape = input.shape();
        if let Some(dim) = [dim0, dim1].into_iter().find(|dim| *dim >= shape.len()) {
            return Err(Error::argument("transpose", format!("no dimension {dim} in shape {shape:?}")));
        }
        let mut dims: Vec<usize> = (0..shape.len()).collect();
        dims.swap(dim0, dim1);
        self.reordered("transpose", x, dims.clone(), dims)
    }

    /// x with its dimensions in another order, as torch.permute: dimension d of the result is dimension `dims[d]` of x.
    ///
    /// Gradient: dx is dy with its dimensions in x's order again.
    ///
    /// # Errors
    /// [`Error::Argument`] when `dims` does not name each dimension once.
    pub fn permute(&mut self, x: Var, dims: &[usize]) -> Result<Var> {
        let input = self.value(x)?;
        let shape = input.shape();
        let mut back: Vec<usize> = (0..dims.len()).collect();
        back.sort_by_key(|d| dims[*d]);
        if dims.len() != shape.len() || back.iter().enumerate().any(|(d, at)| dims[*at] != d) {
            let message = format!("{dims:?} does not name each dimension of shape {shape:?} once");
            return Err(Error::argument("permute", message));
        }
        self.reordered("permute", x, dims.to_vec(), back)
    }

    /// x with its dimensions in another order, and what brings them back.
    fn reordered(&mut self, op: &'static str, x: Var, dims: Vec<usize>, back: Vec<usize>) -> Result<Var> {
        let y = permuted(self.value(x)?, &dims)?;
        let y = self.push(op, &[x], y, || Box::new(move |g| g.give(0, permuted(&g.of_output()?, &back)?)))?;
        if dims == [1, 0, 2]
            && let Some(look_up) = self.look_up(x)?.map(LookUp::exchanged)
        {
            self.came_from(y, look_up);
        }
        Ok(y)
    }

    /// The `length` elements from `start` on along dimension `dim`, as torch.narrow.
    ///
    /// Gradient: dx is dy there and 0 elsewhere.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such dimension or it is shorter.
    pub fn narrow(&mut self, x: Var, dim: usize, start: usize, length: usize) -> Result<Var> {
        let input = self.value(x)?;
        let shape = input.shape();
        let lines = Lines::new("narrow", shape, dim)?;
        if start.saturating_add(length) > lines.n {
            let message = format!(
                "{length} elements from {start} on reach beyond dimension {dim} of shape {shape:?}, which has {}",
                lines.n
            );
            return Err(Error::argument("narrow", message));
        }
        let part = Part { lines, start, length };
        let y = part.take(input)?;
        self.push("narrow", &[x], y, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                g.give(0, part.alone(&dy, shape)?)
            })
        })
    }

    /// The elements at `index` of dimension `dim`, without that dimension, as torch.select: the state at one time step, say.
    ///
    /// Gradient: dx is dy there and 0 elsewhere.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such dimension or no such element.
    pub fn select(&mut self, x: Var, dim: usize, index: usize) -> Result<Var> {
        let input = self.value(x)?;
        let shape = input.shape();
        let lines = Lines::new("select", shape, dim)?;
        if index >= lines.n {
            let message = format!("no element {index} in dimension {dim} of shape {shape:?}");
            return Err(Error::argument("select", message));
        }
        let part = Part { lines, start: index, length: 1 };
        // What lies together is shared, where kernels can begin there.
        let y = match lines.outer {
            1 => input.slice(part.first(), lines.reduced(false))?.aligned()?,
            _ => part.take(input)?.reshape(lines.reduced(false))?,
        };
        self.push("select", &[x], y, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                g.give(0, part.alone(&dy, shape)?)
            })
        })
    }

    /// Tensors side by side along dimension `dim`, as torch.cat. Their other dimensions are the same.
    ///
    /// Gradients: each tensor's is its part of dy.
    ///
    /// # Errors
    /// [`Error::Argument`] when there are none, there is no such dimension, or other dimensions differ.
    pub fn concat(&mut self, parts: &[Var], dim: usize) -> Result<Var> {
        let Some(first) = parts.first() else {
            return Err(Error::argument("concat", "takes at least one tensor, got none"));
        };
        let first = Lines::new("concat", self.value(*first)?.shape(), dim)?;
        let mut lengths = Vec::with_capacity(parts.len());
        for part in parts {
            let shape = self.value(*part)?.shape();
            let length = shape.get(dim).copied().unwrap_or_default();
            if first.with(length) != shape {
                return super::mismatch("concat", first.with(first.n), shape);
            }
            lengths.push(length);
        }
        self.side_by_side("concat", parts, first.with(lengths.iter().sum()), dim, &lengths)
    }

    /// Tensors of one shape along a new dimension `dim`, as torch.stack.
    ///
    /// Gradients: each tensor's is its part of dy.
    ///
    /// # Errors
    /// [`Error::Argument`] when there are none, the shapes differ, or the new dimension would not be next to an old one.
    pub fn stack(&mut self, parts: &[Var], dim: usize) -> Result<Var> {
        let Some(first) = parts.first() else {
            return Err(Error::argument("stack", "takes at least one tensor, got none"));
        };
        let shape = self.value(*first)?.shape();
        if dim > shape.len() {
            return Err(Error::argument("stack", format!("no place for dimension {dim} in shape {shape:?}")));
        }
        for part in parts {
            if self.value(*part)?.shape() != shape {
                return super::mismatch("stack", shape, self.value(*part)?.shape());
            }
        }
        let (before, after) = shape.split_at(dim);
        let whole = Shape::joined("stack", &[before, &[parts.len()]].concat(), after)?;
        self.side_by_side("stack", parts, whole, dim, &vec![1; parts.len()])
    }

    /// Puts parts of these lengths along dimension `dim` of a tensor of shape `whole`.
    fn side_by_side(
        &mut self,
        name: &'static str,
        parts: &[Var],
        whole: Shape,
        dim: usize,
        lengths: &[usize],
    ) -> Result<Var> {
        let lines = Lines::new(name, whole, dim)?;
        let dtypes = parts.iter().map(|part| Ok(self.value(*part)?.dtype()));
        let dtypes = dtypes.collect::<Result<Vec<_>>>()?;
        let dtype = dtypes.into_iter().reduce(Dtype::promote).unwrap_or(Dtype::F32);
        let y = Tensor::empty(self.device(), dtype, whole)?;
        let mut start = 0;
        let mut places = Vec::with_capacity(parts.len());
        for (var, length) in parts.iter().zip(lengths) {
            let part = Part { lines, start, length: *length };
            part.put(self.value(*var)?, &y)?;
            start += length;
            places.push(part);
        }
        self.push(name, parts, y, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                for (k, part) in places.iter().enumerate() {
                    if g.wanted(k) {
                        g.give(k, part.take(&dy)?)?;
                    }
                }
                Ok(())
            })
        })
    }
}
