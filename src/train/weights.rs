//! Parameters as a safetensors file with PyTorch's names and shapes: [`save_weights`] and [`load_weights`], for any model.
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

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::run::Tensors;
use crate::device::Host;
use crate::error::{Error, Result};
use crate::files::{read_whole, write_whole};
use crate::parameters::Parameters;

/// Room for the header of a file, beside its tensors.
const MAX_HEADER: u64 = 16 << 20;

/// Writes all parameters to `path`, or nothing: an existing file is replaced only by a whole one.
///
/// # Errors
/// [`Error::NonFinite`] when a value is; [`Error::Data`] when the file cannot be written; [`Error::Gpu`] on a fault.
pub fn save_weights(parameters: &Parameters, path: &Path) -> Result<()> {
    write_whole(&[(path, &to_bytes(&parameters.to_host()?)?)])
}

/// Parameters as the contents of a safetensors file.
pub(super) fn to_bytes(tensors: &Tensors) -> Result<Vec<u8>> {
    if let Some((name, ..)) = tensors.iter().find(|(.., values)| !values.iter().all(|x| x.is_finite())) {
        let at = Some("it was not saved".into());
        return Err(Error::NonFinite { what: format!("the parameter {name}"), at });
    }
    let views = tensors.iter().map(|(name, shape, values)| {
        let bytes = bytemuck::cast_slice(values);
        (
            name,
            TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("a parameter's values fill its shape"),
        )
    });
    Ok(safetensors::serialize(views, None)
        .expect("parameters have distinct names, and lengths that fit a file"))
}

/// Overwrites all parameters with those of a safetensors file in F32, F64, F16 or BF16. Names and shapes must be exactly
/// the model's, and every value finite in 32 bits; otherwise nothing is changed.
///
/// # Errors
/// [`Error::Data`] names everything that does not fit: tensors that the model has not, those that are missing, and those
/// of another shape; [`Error::Gpu`] on a fault.
pub fn load_weights(parameters: &Parameters, path: &Path) -> Result<()> {
    from_bytes(parameters, &read_weights(path, parameters.count() as u64)?, path)
}

/// The contents of a safetensors file, which has a length that so many parameters can take.
pub(super) fn read_weights(path: &Path, parameters: u64) -> Result<Vec<u8>> {
    let bytes = read_whole(path, 8 * parameters + MAX_HEADER)?;
    match bytes.len() as u64 >= 2 * parameters {
        true => Ok(bytes),
        false => {
            let message =
                format!("has {} bytes, too few for the model's {parameters} parameters", bytes.len());
            Err(Error::data(path, message))
        }
    }
}

/// Overwrites all parameters with the contents of the safetensors file at `path`.
pub(super) fn from_bytes(parameters: &Parameters, bytes: &[u8], path: &Path) -> Result<()> {
    let bad = |message: String| Error::data(path, message);
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| bad(format!("is no whole safetensors file: {error}")))?;
    let misfits = misfits(parameters, &file);
    if !misfits.is_empty() {
        return Err(bad(format!("does not fit the model: {}", misfits.join("; "))));
    }
    let mut loaded = Vec::new();
    for (name, _) in parameters.names() {
        let tensor = file.tensor(name).expect("the file has all of the model's tensors");
        let values = floats(&tensor).ok_or_else(|| {
            bad(format!("'{name}' is {:?}; F32, F64, F16 and BF16 can be read", tensor.dtype()))
        })?;
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            return Err(bad(format!("'{name}' holds {} at position {at}", values[at])));
        }
        loaded.push((name.to_string(), values));
    }
    loaded.iter().try_for_each(|(name, values)| parameters.set(name, Host::F32(values)))
}

/// What a file has and the model has not, the other way round, and what has another shape.
fn misfits(parameters: &Parameters, file: &SafeTensors<'_>) -> Vec<String> {
    let names =
        |what: &str, names: Vec<String>| (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")));
    let mut unknown = file.names();
    unknown.retain(|name| parameters.id(name).is_none());
    unknown.sort_unstable();
    let unknown = unknown.into_iter().map(|name| format!("{name:?}")).collect();
    let (mut missing, mut shapes) = (Vec::new(), Vec::new());
    for (name, shape) in parameters.names() {
        match file.tensor(name) {
            Err(_) => missing.push(format!("'{name}'")),
            Ok(tensor) if tensor.shape() != &*shape => {
                shapes.push(format!("'{name}' has shape {:?}, the model's is {shape:?}", tensor.shape()));
            }
            Ok(_) => {}
        }
    }
    let found = [names("the model has no tensor", unknown), names("the file has no tensor", missing)];
    found.into_iter().flatten().chain(shapes).collect()
}

/// The values of a tensor in 32 bits, if it holds floats. They may lie at any byte of the file.
pub(crate) fn floats(tensor: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = tensor.data();
    let halves = || data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    Some(match tensor.dtype() {
        Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F64 => {
            let word = |b: &[u8]| f64::from_le_bytes(b.try_into().expect("pieces of eight bytes")) as f32;
            data.chunks_exact(8).map(word).collect()
        }
        Dtype::F16 => halves().map(|bits| half::f16::from_bits(bits).to_f32()).collect(),
        Dtype::BF16 => halves().map(|bits| half::bf16::from_bits(bits).to_f32()).collect(),
        _ => return None,
    })
}
