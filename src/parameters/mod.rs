//! The parameters of a model and their gradients. All parameters lie in one buffer, and all gradients in another (*arenas*), so
//! that clipping and an optimizer step are a few launches for the whole model, whatever its number of tensors.
//!
//! An [`Initializer`] collects names, shapes and initial values while the layers are made; [`Initializer::build`] makes
//! [`Parameters`] of them, which the tape and the optimizer take.

mod init;
mod precision;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::cpu::cast::{CAST, Cast};
use crate::device::{Device, Host};
use crate::error::{Error, Result};
use crate::kernel::{Dtype, Plan};
use crate::tensor::{Shape, Tensor};

pub use init::{Activation, Fan, Init};
pub use precision::Precision;

/// Which parameter of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterId {
    /// The number of the [`Initializer`] that made it.
    model: u32,
    index: usize,
}

/// Collects the parameters of a model while its layers are made. [`Initializer::build`] puts them on the device.
///
/// Initial values come from Philox on the host: the same seed gives the same values on every device. They are drawn when the model
/// is built, so that sizes that are too large are refused before any memory is taken.
pub struct Initializer {
    model: u32,
    device: Device,
    seed: u64,
    precision: Precision,
    entries: Vec<Entry>,
    /// The length of the arenas so far.
    length: usize,
}

#[derive(Debug)]
struct Entry {
    name: String,
    shape: Shape,
    /// First element in the arenas, aligned.
    offset: usize,
    init: Init,
    /// Elements that are 0 at first whatever `init` says.
    zeros: Range<usize>,
}

impl Initializer {
    /// Begins a model on `device` whose initial values follow from `seed`.
    pub fn new(device: &Device, seed: u64) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let model = NEXT.fetch_add(1, Ordering::Relaxed);
        let precision = Precision::F32;
        Initializer { model, device: device.clone(), seed, precision, entries: Vec::new(), length: 0 }
    }

    /// Begins a model that computes in a [`Precision`]. In half precision its layers get copies of the parameters in that type, and
    /// what they compute is stored in it too; the parameters themselves stay 32-bit floats.
    pub fn in_precision(device: &Device, seed: u64, precision: Precision) -> Self {
        Initializer { precision, ..Initializer::new(device, seed) }
    }

    /// The device of the model.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A parameter with values uniform in [-bound, bound).
    pub fn uniform(&mut self, name: impl Into<String>, shape: impl Into<Shape>, bound: f32) -> ParameterId {
        self.add(name.into(), shape.into(), Init::Uniform { low: -bound, high: bound })
    }

    /// A parameter with values of the standard normal distribution.
    pub fn normal(&mut self, name: impl Into<String>, shape: impl Into<Shape>) -> ParameterId {
        self.add(name.into(), shape.into(), Init::Normal { mean: 0.0, std: 1.0 })
    }

    /// A parameter with one value everywhere.
    pub fn constant(&mut self, name: impl Into<String>, shape: impl Into<Shape>, value: f32) -> ParameterId {
        self.add(name.into(), shape.into(), Init::Constant(value))
    }

    fn add(&mut self, name: String, shape: Shape, init: Init) -> ParameterId {
        let offset = self.length;
        // A length that is too large to count is refused when the model is built.
        let padded = shape.count().checked_next_multiple_of(self.alignment()).unwrap_or(usize::MAX);
        self.length = offset.saturating_add(padded);
        self.entries.push(Entry { name, shape, offset, init, zeros: 0..0 });
        ParameterId { model: self.model, index: self.entries.len() - 1 }
    }

    /// Parameters begin at multiples of this many elements. Those of the copies are aligned then, and so are those in 32 bits.
    fn alignment(&self) -> usize {
        self.precision.dtype().alignment()
    }

    /// Lets elements of a parameter begin as 0.
    pub(crate) fn zero(&mut self, id: ParameterId, elements: Range<usize>) {
        self.entries[id.index].zeros = elements;
    }

    /// Names and shapes, in the order in which the layers were made.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, Shape)> {
        self.entries.iter().map(|entry| (entry.name.as_str(), entry.shape))
    }

    /// Puts the parameters on the device.
    ///
    /// # Errors
    /// [`Error::Argument`] when two have the same name, or there are more than 2³² values; [`Error::Gpu`] when there is no
    /// room for them.
    pub fn build(self) -> Result<Parameters> {
        let seed = self.seed;
        let mut stream = 0..;
        self.build_from(|entry, to| {
            let stream = stream.next().expect("there is no end of numbers");
            to.copy_from_slice(&entry.init.values(entry.shape, seed, stream)?);
            to[entry.zeros.clone()].fill(0.0);
            Ok(())
        })
    }

    /// Puts parameters on the device whose values are read instead of drawn, one parameter after the other.
    ///
    /// # Errors
    /// As [`Initializer::build`], and those of `read`.
    pub(crate) fn build_read(
        self,
        mut read: impl FnMut(&str, &mut [f32]) -> Result<()>,
    ) -> Result<Parameters> {
        self.build_from(|entry, to| read(&entry.name, to))
    }

    fn build_from(self, mut values_of: impl FnMut(&Entry, &mut [f32]) -> Result<()>) -> Result<Parameters> {
        let mut names = HashSet::new();
        if let Some(entry) = self.entries.iter().find(|entry| !names.insert(&entry.name)) {
            return Err(Error::argument("parameters", format!("two have the name '{}'", entry.name)));
        }
        let count = self.length;
        if u32::try_from(count).is_err() {
            let message = "the layers have more than 2^32 values: take smaller sizes";
            return Err(Error::argument("parameters", message));
        }
        let mut values = vec![0.0; count];
        for entry in &self.entries {
            values_of(entry, &mut values[entry.offset..][..entry.shape.count()])?;
        }
        let uploaded = Tensor::from_f32(&self.device, [count], &values)?;
        // Before there are gradients: a third copy may be more than there is memory for.
        drop(values);
        let gradients = Tensor::empty(&self.device, Dtype::F32, [count])?;
        let alignment = self.alignment();
        let copy = match self.precision {
            Precision::F32 => None,
            half => Some(Tensor::empty(&self.device, half.dtype(), [count])?),
        };
        // The padding between parameters is never written again, and must not disturb the gradient's norm.
        gradients.fill(0.0)?;
        let fresh = self.entries.iter().map(|_| AtomicBool::new(true)).collect();
        Ok(Parameters(Arc::new(Inner {
            model: self.model,
            device: self.device,
            entries: self.entries,
            values: uploaded,
            gradients,
            fresh,
            precision: self.precision,
            alignment,
            copy,
            stale: AtomicBool::new(true),
            unscaled: AtomicBool::new(false),
        })))
    }
}

/// The parameters of a model on a device. Cloning shares them.
#[derive(Clone)]
pub struct Parameters(Arc<Inner>);

struct Inner {
    model: u32,
    device: Device,
    entries: Vec<Entry>,
    values: Tensor,
    gradients: Tensor,
    /// Whether the next gradient of a parameter overwrites the old one, which saves a pass to clear it.
    fresh: Vec<AtomicBool>,
    precision: Precision,
    alignment: usize,
    /// The values in half precision, for layers, and whether they are older than `values`.
    copy: Option<Tensor>,
    stale: AtomicBool,
    /// Whether a loss scale has been taken out of the gradients that there are.
    unscaled: AtomicBool,
}

impl Parameters {
    /// The device.
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// In which precision the model computes.
    pub fn precision(&self) -> Precision {
        self.0.precision
    }

    /// The number of values in all parameters together.
    pub fn count(&self) -> usize {
        self.0.entries.iter().map(|entry| entry.shape.count()).sum()
    }

    /// The bytes that all values take on the device, copies in half precision included, and all gradients.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let copy = self.0.copy.as_ref().map_or(0, Tensor::bytes);
        (self.0.values.bytes() + copy, self.0.gradients.bytes())
    }

    /// Names and shapes, in the order in which the layers were made.
    pub fn names(&self) -> impl Iterator<Item = (&str, Shape)> {
        self.0.entries.iter().map(|entry| (entry.name.as_str(), entry.shape))
    }

    /// The parameter of that name.
    pub fn id(&self, name: &str) -> Option<ParameterId> {
        self.0.entries.iter().position(|entry| entry.name == name).map(|index| self.nth(index))
    }

    fn nth(&self, index: usize) -> ParameterId {
        ParameterId { model: self.0.model, index }
    }

    /// How many parameters there are.
    pub(crate) fn len(&self) -> usize {
        self.0.entries.len()
    }

    /// The number of a parameter, in the order in which the layers were made, and its name.
    pub(crate) fn place(&self, id: ParameterId) -> Result<(usize, &str)> {
        if id.model != self.0.model {
            return Err(Error::argument("parameters", "the layer or parameter belongs to another model"));
        }
        Ok((id.index, &self.0.entries[id.index].name))
    }

    /// The first element of each parameter in the arenas, and how many follow before the next one's, padding included.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (usize, usize)> {
        self.0
            .entries
            .iter()
            .map(|entry| (entry.offset, entry.shape.count().next_multiple_of(self.0.alignment)))
    }

    /// A parameter's part of a tensor that is laid out as the arenas are: an optimizer's moments, say.
    pub(crate) fn part(&self, arena: &Tensor, id: ParameterId) -> Result<Tensor> {
        let (index, _) = self.place(id)?;
        let entry = &self.0.entries[index];
        arena.slice(entry.offset, entry.shape)
    }

    /// A parameter in 32 bits: a view of the memory that optimizer steps change. To overwrite it in a model of half precision, call
    /// this before each time: the copies that layers get are made again only after a call.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is of another model.
    pub fn value(&self, id: ParameterId) -> Result<Tensor> {
        self.0.stale.store(true, Ordering::Relaxed);
        self.part(&self.0.values, id)
    }

    /// A parameter as layers get it: in half precision a view of the copies, which [`Parameters::refresh`] keeps up to date.
    pub(crate) fn in_layers(&self, id: ParameterId) -> Result<Tensor> {
        self.part(self.0.copy.as_ref().unwrap_or(&self.0.values), id)
    }

    /// Makes the copies in half precision anew, where the values may have changed.
    pub(crate) fn refresh(&self) -> Result<()> {
        let Inner { values, copy: Some(copy), stale, .. } = &*self.0 else { return Ok(()) };
        if stale.load(Ordering::Relaxed) {
            let (plan, params) = (Plan::fours(&CAST, values.count()), Cast { count: values.count() as u32 });
            self.device().launch(&plan, &params, &[values.read(), copy.write()])?;
            stale.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A parameter's gradient, as the backward passes since the last [`Parameters::zero_grad`] have added it up.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is of another model; [`Error::Gpu`] on a fault.
    pub fn gradient(&self, id: ParameterId) -> Result<Tensor> {
        let gradient = self.part(&self.0.gradients, id)?;
        self.clear_unreached(id)?;
        Ok(gradient)
    }

    /// Where a backward pass puts a parameter's gradient, and whether it adds to what is there.
    pub(crate) fn gradient_target(&self, id: ParameterId) -> Result<(Tensor, bool)> {
        let gradient = self.part(&self.0.gradients, id)?;
        let fresh = self.0.fresh[id.index].swap(false, Ordering::Relaxed);
        Ok((gradient, !fresh))
    }

    /// Forgets the gradients: the next backward pass begins with 0.
    pub fn zero_grad(&self) {
        self.begin_gradients();
        self.0.fresh.iter().for_each(|fresh| fresh.store(true, Ordering::Relaxed));
    }

    /// From now on gradients may be multiplied with a loss scale again.
    pub(crate) fn begin_gradients(&self) {
        self.0.unscaled.store(false, Ordering::Relaxed);
    }

    /// Whether the gradients have been divided by the loss scale already. Whoever is told no must do so: the next answer is yes.
    pub(crate) fn take_scale(&self) -> bool {
        self.0.unscaled.swap(true, Ordering::Relaxed)
    }

    /// All values and all gradients, padding included, for kernels that treat the whole model.
    pub(crate) fn arenas(&self) -> Result<(&Tensor, &Tensor)> {
        (0..self.0.entries.len()).try_for_each(|index| self.clear_unreached(self.nth(index)))?;
        self.0.stale.store(true, Ordering::Relaxed);
        Ok((&self.0.values, &self.0.gradients))
    }

    /// A parameter that no backward pass has reached since `zero_grad` has gradient 0.
    fn clear_unreached(&self, id: ParameterId) -> Result<()> {
        match self.0.fresh[id.index].swap(false, Ordering::Relaxed) {
            true => self.part(&self.0.gradients, id)?.fill(0.0),
            false => Ok(()),
        }
    }

    /// Copies all parameters to the host, in order.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    pub fn to_host(&self) -> Result<Vec<(String, Shape, Vec<f32>)>> {
        let all = self.0.values.to_vec()?;
        let part = |entry: &Entry| all[entry.offset..][..entry.shape.count()].to_vec();
        Ok(self.0.entries.iter().map(|entry| (entry.name.clone(), entry.shape, part(entry))).collect())
    }

    /// Overwrites a parameter.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is none of that name or the number of values differs; [`Error::Gpu`] on a fault.
    pub fn set(&self, name: &str, values: Host<'_>) -> Result<()> {
        self.value(self.named("Parameters::set", name)?)?.assign(values)
    }

    /// Overwrites a parameter with new initial values, as the functions of torch.nn.init do. The same seed gives the same
    /// values on every device; each parameter has random numbers of its own.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is none of that name or its shape does not suit the initialiser; [`Error::Gpu`] on a
    /// fault.
    pub fn initialize(&self, name: &str, init: &Init, seed: u64) -> Result<()> {
        let id = self.named("Parameters::initialize", name)?;
        let values = init.values(self.0.entries[id.index].shape, seed, id.index as u32)?;
        self.value(id)?.assign(Host::F32(&values))
    }

    fn named(&self, op: &'static str, name: &str) -> Result<ParameterId> {
        self.id(name).ok_or_else(|| Error::argument(op, format!("no parameter '{name}'")))
    }
}

impl std::fmt::Debug for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.entries.iter().map(|e| (&e.name, e.shape))).finish()
    }
}
