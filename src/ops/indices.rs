//! Integers that choose: tokens for an embedding, labels for a loss.

use std::sync::{Arc, Mutex, PoisonError};

use crate::cpu::one_hot::{ONE_HOT, OneHot};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernel::{Dtype, Plan};
use crate::tensor::{Shape, Tensor};

/// Integers on a device. The host keeps a copy: it checks their range before a kernel trusts them, and sorts tokens
/// for the gradient of an embedding.
#[derive(Clone, Debug)]
pub struct Indices {
    tensor: Tensor,
    host: Arc<[i32]>,
    /// Made when an embedding first asks for it.
    sorted: Arc<Mutex<Option<Arc<[Sorted]>>>>,
    /// As above.
    occurring: Arc<Mutex<Option<Tensor>>>,
}

/// The positions of each token in a part of the integers: those of token v are `order[starts[v]..starts[v + 1]]`, ascending,
/// counted from the part's beginning.
#[derive(Debug)]
pub(super) struct Sorted {
    pub starts: Tensor,
    pub order: Tensor,
}

/// Integers in a part: a thread that adds up the positions of one token stays below llvmpipe's limit of 65,535
/// iterations. A multiple of 64, so that the parts of a tensor with a row for each integer are aligned.
pub(super) const PART: usize = 32_768;

impl Indices {
    /// Puts integers on a device.
    ///
    /// # Errors
    /// [`Error::Argument`] when their number is not that of the shape; [`Error::Gpu`] on a fault.
    pub fn new(device: &Device, shape: impl Into<Shape>, values: &[i32]) -> Result<Indices> {
        let tensor = Tensor::from_i32(device, shape, values)?;
        Ok(Indices { tensor, host: values.into(), sorted: Arc::default(), occurring: Arc::default() })
    }

    /// The shape.
    pub fn shape(&self) -> Shape {
        self.tensor.shape()
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.host.len()
    }

    /// The integers.
    pub fn host(&self) -> &[i32] {
        &self.host
    }

    pub(super) fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The same integers with another shape.
    ///
    /// # Errors
    /// [`Error::Argument`] when the number of elements differs.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Indices> {
        Ok(Indices { tensor: self.tensor.reshape(shape)?, ..self.clone() })
    }

    /// The integers [M, N] as [N, M].
    pub(super) fn transposed(&self) -> Result<Indices> {
        let [m, n] = [0, 1].map(|dim| self.shape()[dim]);
        let values: Vec<i32> = (0..m * n).map(|i| self.host[i % m * n + i / m]).collect();
        Indices::new(&self.tensor.device(), [n, m], &values)
    }

    /// An error unless every integer is in 0..bound, or `except`.
    pub(super) fn check(&self, op: &'static str, bound: usize, except: Option<i32>) -> Result<()> {
        let inside = |i: &i32| (0..bound as i64).contains(&i64::from(*i)) || Some(*i) == except;
        match self.host.iter().position(|i| !inside(i)) {
            None => Ok(()),
            Some(at) => Err(Error::argument(
                op,
                format!("index {} at position {at} is not in 0..{bound}", self.host[at]),
            )),
        }
    }

    /// One-hot vectors [.., classes], as torch.nn.functional.one_hot but in f32.
    ///
    /// # Errors
    /// [`Error::Argument`] when an index is not in 0..classes.
    pub fn one_hot(&self, classes: usize) -> Result<Tensor> {
        self.check("one_hot", classes, None)?;
        let device = self.tensor.device();
        let y = Tensor::empty(&device, Dtype::F32, Shape::joined("one_hot", &self.shape(), &[classes])?)?;
        let params = OneHot { count: self.count() as u32, classes: classes as u32 };
        device.launch(&Plan::elements(&ONE_HOT, y.count()), &params, &[self.tensor.read(), y.write()])?;
        Ok(y)
    }

    /// Of each of `rows` tokens, which have been checked, 1 where it occurs and else 0: [rows].
    pub(super) fn occurring(&self, rows: usize) -> Result<Tensor> {
        let mut kept = self.occurring.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(occurring) = kept.as_ref().filter(|occurring| occurring.count() == rows) {
            return Ok(occurring.clone());
        }
        let mut occurring = vec![0; rows];
        self.host.iter().for_each(|token| occurring[*token as usize] = 1);
        let occurring = Tensor::from_i32(&self.tensor.device(), [rows], &occurring)?;
        Ok(kept.insert(occurring).clone())
    }

    /// The positions of each of `rows` tokens, which have been checked, in parts of [`PART`]: stable counting sorts.
    pub(super) fn sorted(&self, rows: usize) -> Result<Arc<[Sorted]>> {
        let mut kept = self.sorted.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |sorted: &&Arc<[Sorted]>| sorted.iter().all(|part| part.starts.count() == rows + 1);
        if let Some(sorted) = kept.as_ref().filter(fits) {
            return Ok(sorted.clone());
        }
        let device = self.tensor.device();
        let sort = |part: &[i32]| {
            let mut starts = vec![0; rows + 1];
            part.iter().for_each(|token| starts[*token as usize + 1] += 1);
            (0..rows).for_each(|v| starts[v + 1] += starts[v]);
            let mut next = starts.clone();
            let mut order = vec![0; part.len()];
            for (position, token) in part.iter().enumerate() {
                let slot = &mut next[*token as usize];
                order[*slot as usize] = position as i32;
                *slot += 1;
            }
            let starts = Tensor::from_i32(&device, [rows + 1], &starts)?;
            Ok(Sorted { starts, order: Tensor::from_i32(&device, [part.len()], &order)? })
        };
        let sorted = self.host.chunks(PART).map(sort).collect::<Result<Arc<[Sorted]>>>()?;
        Ok(kept.insert(sorted).clone())
    }
}
