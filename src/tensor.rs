//! Tensors: a shape over a buffer of a device. Calculations with them, and gradients, are the [tape's](crate::tape).

use std::ops::Deref;

use crate::cpu::cast::{CAST, Cast};
use crate::cpu::copy::Copy;
use crate::cpu::fill::{FILL, Fill};
use crate::cpu::walk;
use crate::device::{Arg, Buffer, Device, Host, ReadBack, View};
use crate::error::{Error, Result};
use crate::kernel::{Access, Dtype, Plan};

/// The most dimensions of a tensor.
pub const MAX_RANK: usize = walk::MAX_RANK;

/// The sizes of a tensor's dimensions, outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// The number of elements. (A product too large for `usize` is the largest `usize`: too many for any tensor.)
    pub fn count(&self) -> usize {
        self.iter().fold(1, |count, n| count.saturating_mul(*n))
    }

    /// The dimensions `before`, then `after`, as the shape of an op's result.
    pub(crate) fn joined(op: &'static str, before: &[usize], after: &[usize]) -> Result<Shape> {
        if before.len() + after.len() > MAX_RANK {
            let message =
                format!("the result {before:?} x {after:?} would have more than {MAX_RANK} dimensions");
            return Err(Error::argument(op, message));
        }
        Ok(Shape::from(&[before, after].concat()[..]))
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        const { assert!(N <= MAX_RANK, "a tensor has at most six dimensions") };
        Shape::from(&dims[..])
    }
}

impl From<&[usize]> for Shape {
    /// # Panics
    /// With more than [`MAX_RANK`] dimensions.
    fn from(dims: &[usize]) -> Self {
        assert!(dims.len() <= MAX_RANK, "a tensor has at most {MAX_RANK} dimensions, got {dims:?}");
        let mut all = [1; MAX_RANK];
        all[..dims.len()].copy_from_slice(dims);
        Shape { dims: all, rank: dims.len() }
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank]
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

/// A dense, row-major tensor on a device. Cloning shares the buffer, as assignment does in Python. Ops never change a tensor that
/// they have returned; only optimizer steps, [`Tensor::assign`], [`Tensor::fill`] and [`Tensor::copy_into`] change contents.
#[derive(Clone)]
pub struct Tensor {
    buffer: Buffer,
    offset: usize,
    shape: Shape,
}

impl Tensor {
    /// A tensor with undefined contents, as torch.empty: the output of a kernel that is about to be launched.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the device has no room for it.
    pub fn empty(device: &Device, dtype: Dtype, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        // Kernels count in 32 bits.
        let count = shape.iter().try_fold(1u32, |count, n| count.checked_mul(u32::try_from(*n).ok()?));
        match count {
            Some(count) => Ok(Tensor { buffer: device.allocate(dtype, count as usize)?, offset: 0, shape }),
            None => Err(Error::argument("tensor", format!("shape {shape:?} has more than 2^32 elements"))),
        }
    }

    fn upload(device: &Device, op: &'static str, shape: Shape, data: Host<'_>) -> Result<Tensor> {
        if data.len() != shape.count() {
            let message = format!("shape {shape:?} takes {} values, got {}", shape.count(), data.len());
            return Err(Error::argument(op, message));
        }
        let dtype = if data.is_real() { Dtype::F32 } else { Dtype::I32 };
        let tensor = Tensor::empty(device, dtype, shape)?;
        device.upload(tensor.view(), data)?;
        Ok(tensor)
    }

    /// A tensor of 32-bit floats with the given values.
    ///
    /// # Errors
    /// [`Error::Argument`] when their number is not that of the shape; [`Error::Gpu`] on a fault.
    pub fn from_f32(device: &Device, shape: impl Into<Shape>, values: &[f32]) -> Result<Tensor> {
        Tensor::upload(device, "Tensor::from_f32", shape.into(), Host::F32(values))
    }

    /// Like [`Tensor::from_f32`], from 64-bit floats, which only the reference devices keep exactly.
    ///
    /// # Errors
    /// As [`Tensor::from_f32`].
    pub fn from_f64(device: &Device, shape: impl Into<Shape>, values: &[f64]) -> Result<Tensor> {
        Tensor::upload(device, "Tensor::from_f64", shape.into(), Host::F64(values))
    }

    /// A tensor of integers (tokens, labels).
    ///
    /// # Errors
    /// As [`Tensor::from_f32`].
    pub fn from_i32(device: &Device, shape: impl Into<Shape>, values: &[i32]) -> Result<Tensor> {
        Tensor::upload(device, "Tensor::from_i32", shape.into(), Host::I32(values))
    }

    /// The shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The number of elements.
    pub fn count(&self) -> usize {
        self.shape.count()
    }

    /// The bytes that its buffer takes on the device.
    pub(crate) fn bytes(&self) -> u64 {
        self.buffer.bytes()
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.buffer.dtype()
    }

    /// The device that holds it.
    pub fn device(&self) -> Device {
        self.buffer.device()
    }

    /// The same elements with another shape.
    ///
    /// # Errors
    /// [`Error::Argument`] when the number of elements differs.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        if shape.count() != self.count() {
            return Err(Error::argument("reshape", format!("{:?} cannot become {shape:?}", self.shape)));
        }
        Ok(Tensor { shape, ..self.clone() })
    }

    /// A tensor of `shape` that shares this one's buffer, from element `offset` on. Most kernels (all but `matmul` and `copy`) take
    /// it only where the offset is a multiple of [`Dtype::alignment`].
    ///
    /// # Errors
    /// [`Error::Argument`] when it reaches beyond the end.
    pub fn slice(&self, offset: usize, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        if offset.saturating_add(shape.count()) > self.count() {
            let message = format!("{shape:?} from element {offset} on reaches beyond {:?}", self.shape);
            return Err(Error::argument("slice", message));
        }
        Ok(Tensor { buffer: self.buffer.clone(), offset: self.offset + offset, shape })
    }

    /// Whether it begins at an aligned element, as kernels want their arguments.
    pub(crate) fn is_aligned(&self) -> bool {
        self.offset.is_multiple_of(self.dtype().alignment())
    }

    /// Itself where it is aligned, else a copy.
    pub(crate) fn aligned(&self) -> Result<Tensor> {
        if self.is_aligned() {
            return Ok(self.clone());
        }
        let copy = Tensor::empty(&self.device(), self.dtype(), self.shape)?;
        self.copy_into(&copy, 0)?;
        Ok(copy)
    }

    /// The same numbers stored as another type, as torch.Tensor.to(dtype): rounded to the nearest, of two equally near ones to
    /// the even one; infinite where they are too large. A tensor that is of the type already is returned as it is.
    ///
    /// # Errors
    /// [`Error::Argument`] when one of the types is I32; [`Error::Gpu`] on a fault.
    pub fn cast(&self, dtype: Dtype) -> Result<Tensor> {
        if self.dtype() == dtype {
            return Ok(self.clone());
        }
        if !dtype.is_float() || !self.dtype().is_float() {
            let message = format!("{:?} cannot become {dtype:?}: integers stay what they are", self.dtype());
            return Err(Error::argument("cast", message));
        }
        let to = Tensor::empty(&self.device(), dtype, self.shape)?;
        if self.is_aligned() {
            let (plan, params) = (Plan::fours(&CAST, self.count()), Cast { count: self.count() as u32 });
            self.device().launch(&plan, &params, &[self.read(), to.write()])?;
        } else {
            self.copy_into(&to, 0)?;
        }
        Ok(to)
    }

    /// Its elements as an argument of a launch: read.
    pub fn read(&self) -> Arg<'_> {
        Arg::new(self.view(), Access::Read)
    }

    /// Its elements as an argument of a launch: every one is written.
    pub fn write(&self) -> Arg<'_> {
        Arg::new(self.view(), Access::Write)
    }

    /// Its elements as an argument of a launch: changed in place.
    pub fn update(&self) -> Arg<'_> {
        Arg::new(self.view(), Access::Update)
    }

    /// An argument for kernels that take an offset as a parameter: it begins at the last aligned element before this tensor's
    /// first. Then the number of elements between the two.
    pub fn read_from(&self) -> (Arg<'_>, u32) {
        let rest = self.offset % self.dtype().alignment();
        let view = self.buffer.view(self.offset - rest, self.count() + rest);
        (Arg::new(view, Access::Read), rest as u32)
    }

    fn view(&self) -> View<'_> {
        self.buffer.view(self.offset, self.count())
    }

    /// Overwrites the contents. Launches recorded before see the old ones, those after it the new ones.
    ///
    /// # Errors
    /// [`Error::Argument`] when type or number differ; [`Error::Gpu`] on a fault.
    pub fn assign(&self, data: Host<'_>) -> Result<()> {
        if self.dtype().is_half() {
            // Two halves share a word, and the host writes whole words only.
            return Tensor::upload(&self.device(), "assign", self.shape, data)?.copy_into(self, 0);
        }
        self.device().upload(self.view(), data)
    }

    /// Sets every element.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn fill(&self, value: f32) -> Result<()> {
        let params = Fill { count: self.count() as u32, value };
        self.device().launch(&Plan::fours(&FILL, self.count()), &params, &[self.write()])
    }

    /// Copies the elements to those of `to` from element `offset` on. Both may begin at any element.
    ///
    /// # Errors
    /// [`Error::Argument`] when they do not fit there or are integers; [`Error::Gpu`] on a fault.
    pub fn copy_into(&self, to: &Tensor, offset: usize) -> Result<()> {
        let target = to.slice(offset, self.shape)?;
        let rest = target.offset % target.dtype().alignment();
        let view = target.buffer.view(target.offset - rest, target.count() + rest);
        let (argument, start) = self.read_from();
        let count = self.count() as u32;
        let params = Copy::new(count, start, rest as u32, &walk::flat(count));
        let args = [argument, Arg::new(view, Access::Update)];
        let device = self.device();
        device.launch(&params.plan(device.limits().processor), &params, &args)
    }

    /// Begins to copy the values to the host, without waiting.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn read_back(&self) -> Result<ReadBack> {
        self.device().read_back(self.view())
    }

    /// The values in 32 bits. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        Ok(self.read_back()?.wait()?.f32())
    }

    /// The integers. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Argument`] when it holds reals; [`Error::Gpu`] on a fault.
    pub fn to_i32(&self) -> Result<Vec<i32>> {
        self.read_back()?.wait()?.i32()
    }

    /// The values in 64 bits. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        Ok(self.read_back()?.wait()?.f64())
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({:?} {:?})", self.dtype(), self.shape)
    }
}
