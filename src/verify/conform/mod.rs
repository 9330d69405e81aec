//! Conformance: models with PyTorch's results for them, as files. `tests/conformance/README.md` describes the format; the
//! command is `bptt conform`.
//!
//! A case is a folder with `case.json` (a model, a loss, an optimizer) and `tensors.safetensors` (inputs, parameters, and
//! what PyTorch computed). [`cases`] finds them, [`run`] makes the same steps on a device, and [`Results::verdict`]
//! compares.

mod format;
mod judge;
mod model;
mod optimizer;
mod training;

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};

use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::parameters::Precision;
use format::{Description, Tensors, malformed};
use training::Computed;

pub use judge::Verdict;

/// The folders of the cases in a folder, by name. Every folder in it is one.
///
/// # Errors
/// [`Error::Data`] when it is none, cannot be read, or holds no `*/case.json`.
pub fn cases(folder: &Path) -> Result<Vec<PathBuf>> {
    let bad = |message: String| Error::data(folder, message);
    if !folder.is_dir() {
        return Err(bad(if folder.exists() { "is no folder".into() } else { "no such folder".into() }));
    }
    let failed = |error: std::io::Error| bad(format!("cannot be read: {error}"));
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            cases.push(path);
        }
    }
    if !cases.iter().any(|case| case.join("case.json").is_file()) {
        return Err(bad("holds no cases: none of the folders in it has a case.json".into()));
    }
    cases.sort();
    Ok(cases)
}

/// What a case expects and what was computed for it.
#[derive(Debug)]
pub struct Results {
    case: Tensors,
    computed: Computed,
    precision: Precision,
}

/// Runs the case of a folder on a device, in a precision.
///
/// # Errors
/// [`Error::Data`] when one of its files cannot be read or is not in the format; [`Error::Argument`] when the case
/// contradicts itself, or has an option that a layer, loss or optimizer refuses; [`Error::Gpu`] on a fault.
pub fn run(device: &Device, folder: &Path, precision: Precision) -> Result<Results> {
    let description = Description::read(folder)?;
    let case = Tensors::read(folder)?;
    let computed = training::train(device, precision, &description, &case)?;
    Ok(Results { case, computed, precision })
}

impl Results {
    /// Compares with what the case expects.
    ///
    /// # Errors
    /// [`Error::Argument`] when it expects nothing, or something that is no result.
    pub fn verdict(&self) -> Result<Verdict> {
        judge::judge(&self.case, &self.computed, self.precision)
    }

    /// The keys of the results, `expect.output` say.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.computed.keys().map(String::as_str)
    }

    /// The values of a result, row-major: to be looked at, or changed to test the judge.
    pub fn values_mut(&mut self, key: &str) -> Option<&mut [f32]> {
        self.computed.get_mut(key).map(|(_, values)| &mut values[..])
    }

    /// Writes all results that the case expects as `<folder>/<name>.safetensors`, under the keys of the case.
    ///
    /// # Errors
    /// [`Error::Data`] when the file cannot be written; [`Error::Argument`] when a result is missing.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        let mut views = Vec::new();
        for (key, _) in self.case.0.iter().filter(|(key, _)| key.starts_with("expect.")) {
            let Some((shape, values)) = self.computed.get(key) else {
                return Err(malformed(format!("{key} is no result")));
            };
            let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values));
            views.push((key, view.expect("a result's values fill its shape")));
        }
        let bytes = safetensors::serialize(views, None).expect("keys are distinct, lengths fit a file");
        write_whole(&[(&folder.join(format!("{name}.safetensors")), &bytes)])
    }
}
