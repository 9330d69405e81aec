//! Parameters as a safetensors file with PyTorch's names and shapes: [`save_weights`] and [`load_weights`], for any model;
//! [`save_weights_in`] makes one of half the size.
//!
//! PyTorch keeps a state dict in a pickled `.pt` file. Three lines of Python turn one into a safetensors file:
//!
//! ```python
//! import torch, safetensors.torch
//! state = torch.load("model.pt", map_location="cpu", weights_only=True)
//! safetensors.torch.save_file({k: v.contiguous().clone() for k, v in state.items()}, "model.safetensors")
//! ```
//!
//! and one loads a file of [`save_weights`] back:
//!
//! ```python
//! model.load_state_dict(safetensors.torch.load_file("model.safetensors"))
//! ```
//!
//! The names are equal where the layers have the names of the module's attributes: `Lstm::new(&mut init, "rnn", ..)` for
//! `self.rnn = torch.nn.LSTM(..)`. (For the state dict of an LSTM alone, name the attribute of a wrapping module.)

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};

use super::rounding::Rounding;
use super::run::Tensors;
use crate::device::Host;
use crate::error::{Error, Result};
use crate::files::tensors::{TensorFile, is_float};
use crate::files::write_named;
use crate::parameters::{Parameters, Precision};
use crate::tensor::Shape;

/// Writes all parameters to `path`, or nothing: an existing file is replaced only by a whole one.
///
/// # Errors
/// [`Error::NonFinite`] when a value is; [`Error::Data`] when the file cannot be written; [`Error::Gpu`] on a fault.
pub fn save_weights(parameters: &Parameters, path: &Path) -> Result<()> {
    save_weights_in(parameters, path, Precision::F32)
}

/// [`save_weights`], rounded to nearest, ties to even, to a type: half the file in F16 and BF16.
///
/// # Errors
/// As [`save_weights`]; also [`Error::Argument`] when a value is beyond the type's range: from 65,520 on in F16.
pub fn save_weights_in(parameters: &Parameters, path: &Path, precision: Precision) -> Result<()> {
    write_named(path, &to_bytes(&parameters.to_host()?, precision)?)
}

/// Parameters as the contents of a safetensors file.
pub(super) fn to_bytes(tensors: &Tensors, precision: Precision) -> Result<Vec<u8>> {
    if let Some((name, ..)) = tensors.iter().find(|(.., values)| !values.iter().all(|x| x.is_finite())) {
        let at = Some("it was not saved".into());
        return Err(Error::NonFinite { what: format!("the parameter {name}"), at });
    }
    let bytes = tensors.iter().map(|(name, _, values)| {
        if precision == Precision::F32 {
            return Ok(Cow::Borrowed(bytemuck::cast_slice(values)));
        }
        let (mut rounding, mut bytes) = (Rounding::new(precision), Vec::with_capacity(2 * values.len()));
        match rounding.append(values.iter().map(|x| f64::from(*x)), &mut bytes) {
            Ok(()) => Ok(Cow::Owned(bytes)),
            Err((at, value)) => {
                let misfit = rounding.misfit(at, value);
                Err(Error::argument("save_weights_in", format!("the parameter {name} {misfit}")))
            }
        }
    });
    let bytes: Vec<Cow<[u8]>> = bytes.collect::<Result<_>>()?;
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let view = TensorView::new(dtype(precision), shape.to_vec(), bytes);
        (name, view.expect("a parameter's values fill its shape"))
    });
    Ok(safetensors::serialize(views, None)
        .expect("parameters have distinct names, and lengths that fit a file"))
}

/// The type of a file's tensors.
pub(super) fn dtype(precision: Precision) -> Dtype {
    match precision {
        Precision::F32 => Dtype::F32,
        Precision::F16 => Dtype::F16,
        Precision::BF16 => Dtype::BF16,
    }
}

/// Overwrites all parameters with those of a safetensors file in F32, F64, F16 or BF16. Names and shapes must be exactly
/// the model's, and every value finite in 32 bits; otherwise nothing is changed. Takes, for the moment, as much memory as
/// the parameters do.
///
/// # Errors
/// [`Error::Data`] names everything that does not fit: tensors that the model has not, those that are missing, and those
/// of another shape; [`Error::Gpu`] on a fault.
pub fn load_weights(parameters: &Parameters, path: &Path) -> Result<()> {
    let mut weights = Weights::open(path, parameters.names())?;
    let mut loaded = Vec::new();
    for (name, shape) in parameters.names() {
        let mut values = vec![0.0; shape.count()];
        weights.read(name, &mut values)?;
        loaded.push((name, values));
    }
    loaded.iter().try_for_each(|(name, values)| parameters.set(name, Host::F32(values)))
}

/// A file of weights that fits a model, by its header.
pub(super) struct Weights<'a> {
    path: &'a Path,
    file: TensorFile,
}

impl Weights<'_> {
    /// The weights of a model with these names and shapes, for which no memory is taken yet.
    pub fn open<'a, 'n>(
        path: &'a Path,
        model: impl Iterator<Item = (&'n str, Shape)>,
    ) -> Result<Weights<'a>> {
        let bad = |message: String| Error::data(path, message);
        let file = TensorFile::open(path)?.map_err(|why| bad(not_whole(&why)))?;
        let misfits = misfits(model, &file);
        if !misfits.is_empty() {
            return Err(bad(format!("does not fit the model: {}", misfits.join("; "))));
        }
        for name in file.names() {
            let dtype = file.info(&name).expect("its name is the file's").dtype;
            if !is_float(dtype) {
                return Err(bad(format!("'{name}' is {dtype:?}; F32, F64, F16 and BF16 can be read")));
            }
        }
        Ok(Weights { path, file })
    }

    /// Reads the values of a parameter, all finite.
    pub fn read(&mut self, name: &str, values: &mut [f32]) -> Result<()> {
        let bad = |message: String| Error::data(self.path, message);
        self.file.floats_into(name, values).map_err(|why| bad(not_whole(&why)))?;
        match values.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(bad(format!("'{name}' holds {} at position {at}", values[at]))),
            None => Ok(()),
        }
    }
}

pub(super) fn not_whole(why: &str) -> String {
    format!("is no whole safetensors file: {why}")
}

/// What a file has and the model has not, the other way round, and what has another shape.
fn misfits<'n>(model: impl Iterator<Item = (&'n str, Shape)>, file: &TensorFile) -> Vec<String> {
    /// So many of each kind are named.
    const NAMED: usize = 20;
    let shown = |mut names: Vec<String>, between: &str| {
        let more = names.len().saturating_sub(NAMED);
        names.truncate(NAMED);
        names.extend((more > 0).then(|| format!("and {more} more")));
        names.join(between)
    };
    let list = |what: &str, names: Vec<String>| {
        (!names.is_empty()).then(|| format!("{what} {}", shown(names, ", ")))
    };
    let mut unknown: BTreeSet<String> = file.names().into_iter().collect();
    let (mut missing, mut shapes) = (Vec::new(), Vec::new());
    for (name, shape) in model {
        unknown.remove(name);
        match file.info(name) {
            None => missing.push(format!("'{name}'")),
            Some(info) if info.shape != *shape => {
                shapes.push(format!("'{name}' has shape {:?}, the model's is {shape:?}", info.shape));
            }
            Some(_) => {}
        }
    }
    let unknown = unknown.into_iter().map(|name| format!("{name:?}")).collect();
    let found = [list("the model has no tensor", unknown), list("the file has no tensor", missing)];
    found.into_iter().flatten().chain((!shapes.is_empty()).then(|| shown(shapes, "; "))).collect()
}
