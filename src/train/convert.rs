//! Weights in another type: [`convert_weights`].

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorInfo};
use serde_json::json;

use super::model::{CONFIG, StoredModel, WEIGHTS};
use super::rounding::Rounding;
use super::run::{Made, PROGRESS, is_unused};
use super::weights::{dtype, not_whole};
use crate::error::{Error, Result};
use crate::files::tensors::{TensorFile, is_float};
use crate::files::{Complete, NewFile, is_cut_off, is_stream};
use crate::parameters::Precision;

/// What [`convert_weights`] did.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversion {
    /// Tensors of floats.
    pub tensors: u64,
    /// Their values.
    pub values: u64,
    /// Tensors of other types, which are as they were.
    pub kept: u64,
    /// The largest change of a value by rounding, as a share of it, those that became 0 left out.
    pub relative_error: f64,
    /// Values that were too small for the type, and became 0.
    pub zeros: u64,
    /// Bytes of the file that was converted.
    pub bytes_before: u64,
    /// Bytes of the new one.
    pub bytes_after: u64,
}

/// Writes a model with all floats in another type, rounded to nearest, ties to even. `from` is the folder of a run or model, or a
/// safetensors file; it is not changed. `to` becomes the same. Tensors of other types, the texts of a file and `config.json`
/// are kept as they are.
///
/// What is already at `to` is replaced only with `force`, and only once the new files are whole. The memory that it takes does
/// not grow with the tensors. `stop` is asked now and then whether to end.
///
/// # Errors
/// [`Error::Data`] when `from` holds no model or is a checkpoint, when a value is not finite or beyond the type's range (65,504
/// for F16), and when files cannot be written; [`Error::Argument`] when `to` exists without `force`, or is `from`;
/// [`Error::Interrupted`] when `stop` said so.
pub fn convert_weights(
    from: &Path,
    to: &Path,
    precision: Precision,
    force: bool,
    stop: &dyn Fn() -> bool,
) -> Result<Conversion> {
    if !from.exists() {
        return Err(Error::data(from, "no such file or folder"));
    }
    if let (Ok(from), Ok(known)) = (from.canonicalize(), to.canonicalize())
        && from == known
    {
        return refuse(format!("{} is what is to be converted: name another --out", to.display()));
    }
    if from.is_file() {
        may_replace_file(to, force)?;
        let (file, conversion) = rewrite(from, || NewFile::named(to), precision, stop)?;
        file.keep()?;
        return Ok(conversion);
    }
    let StoredModel { text, weights, .. } = StoredModel::open(from)?;
    let mut made = Made(Vec::new());
    match made.make(to) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => may_replace_folder(to, force)?,
        Err(error) => return Err(Error::data(to, format!("cannot be made: {error}"))),
        Ok(()) => {}
    }
    let [new_config, new_weights] = [CONFIG, WEIGHTS].map(|name| to.join(name));
    let (file, conversion) = rewrite(&weights, || NewFile::create(&new_weights), precision, stop)?;
    let mut config = NewFile::create(&new_config)?;
    config.write(&text)?;
    [config.complete()?, file].into_iter().try_for_each(Complete::keep)?;
    made.0.clear();
    Ok(conversion)
}

fn refuse<T>(message: String) -> Result<T> {
    Err(Error::argument("--out", message))
}

fn exists<T>(path: &Path) -> Result<T> {
    let path = path.display();
    refuse(format!("{path} exists already; name another --out, or overwrite it with --force"))
}

/// An error unless a file can be written to `path`.
fn may_replace_file(path: &Path, force: bool) -> Result<()> {
    match path.symlink_metadata() {
        Ok(_) if is_stream(path) => Ok(()),
        Ok(_) if !force => exists(path),
        Ok(data) if data.is_dir() => Err(Error::data(path, "is a folder; name a file")),
        _ => Ok(()),
    }
}

/// An error unless a model can be written to a folder that exists. A run, or anything else of the user's, is not mixed with
/// it.
fn may_replace_folder(folder: &Path, force: bool) -> Result<()> {
    if folder.is_dir() && is_unused(folder) {
        return Ok(());
    }
    if !force {
        return exists(folder);
    }
    if !folder.is_dir() {
        return Err(Error::data(folder, "is not a folder"));
    }
    let entries = fs::read_dir(folder).map_err(|error| Error::data(folder, error))?;
    for entry in entries {
        let name = entry.map_err(|error| Error::data(folder, error))?.file_name();
        if name != CONFIG && name != WEIGHTS && !is_cut_off(&name) {
            let message = format!(
                "holds {name:?} beside {CONFIG} and {WEIGHTS}, which --force does not overwrite: name another --out"
            );
            return Err(Error::data(folder, message));
        }
    }
    Ok(())
}

/// The file that `create` begins, whole but still without its name.
fn rewrite<'a>(
    from: &Path,
    create: impl FnOnce() -> Result<NewFile<'a>>,
    precision: Precision,
    stop: &dyn Fn() -> bool,
) -> Result<(Complete<'a>, Conversion)> {
    let bad = |message: String| Error::data(from, message);
    let mut file = TensorFile::open(from)?.map_err(|why| bad(not_whole(&why)))?;
    if file.text(PROGRESS).is_some() {
        let message = "is a checkpoint, whose bits training needs as they are: convert its run's folder";
        return Err(bad(message.into()));
    }
    let tensors = arranged(&file, dtype(precision));
    let header = header(&file, &tensors);
    let mut new = create()?;
    new.write(&header)?;
    let (mut rounding, mut converted, mut bytes) = (Rounding::new(precision), 0, Vec::new());
    for (name, _) in &tensors {
        let kind = file.info(name).expect("its name is the file's").dtype;
        let (mut at, mut written) = (0, Ok(()));
        let read = file.pieces(name, |piece| {
            if written.is_err() {
                return;
            }
            if stop() {
                written = Err(Error::Interrupted);
                return;
            }
            bytes.clear();
            let rounded = match kind {
                Dtype::F64 => rounding.append(numbers(piece, f64::from_le_bytes), &mut bytes),
                Dtype::F32 => rounding.append(numbers(piece, f32::from_le_bytes), &mut bytes),
                Dtype::F16 => rounding.append(numbers(piece, half::f16::from_le_bytes), &mut bytes),
                Dtype::BF16 => rounding.append(numbers(piece, half::bf16::from_le_bytes), &mut bytes),
                _ => {
                    bytes.extend_from_slice(piece);
                    Ok(())
                }
            };
            let misfit = |(beyond, value)| bad(format!("'{name}' {}", rounding.misfit(at + beyond, value)));
            written = rounded.map_err(misfit).and_then(|()| new.write(&bytes));
            at += 8 * piece.len() / kind.bitsize();
        });
        read.map_err(|why| bad(not_whole(&why)))?;
        written?;
        converted += u64::from(is_float(kind));
    }
    let end = tensors.last().map_or(0, |(_, info)| info.data_offsets.1);
    let conversion = Conversion {
        tensors: converted,
        values: rounding.values,
        kept: tensors.len() as u64 - converted,
        relative_error: rounding.relative_error,
        zeros: rounding.zeros,
        bytes_before: file.length(),
        bytes_after: (header.len() + end) as u64,
    };
    Ok((new.complete()?, conversion))
}

/// The numbers in a piece of a file.
fn numbers<T: Into<f64>, const N: usize>(
    piece: &[u8],
    number: impl Fn([u8; N]) -> T,
) -> impl Iterator<Item = f64> {
    piece.as_chunks().0.iter().map(move |bytes| number(*bytes).into())
}

/// The tensors of the new file, in the order in which the crate `safetensors` writes them: larger types first, so that each
/// tensor begins at a multiple of its values' size.
fn arranged(file: &TensorFile, floats: Dtype) -> Vec<(String, TensorInfo)> {
    let infos = file.names().into_iter().map(|name| {
        let mut info = file.info(&name).expect("its name is the file's").clone();
        let mut bytes = info.data_offsets.1 - info.data_offsets.0;
        if is_float(info.dtype) {
            bytes = info.shape.iter().product::<usize>() * (floats.bitsize() / 8);
            info.dtype = floats;
        }
        info.data_offsets = (0, bytes);
        (name, info)
    });
    let mut tensors: Vec<_> = infos.collect();
    // The sort is stable: among equal types names stay sorted.
    tensors.sort_by_key(|(_, info)| Reverse(info.dtype));
    let mut begin = 0;
    for (_, info) in &mut tensors {
        let end = begin + info.data_offsets.1;
        info.data_offsets = (begin, end);
        begin = end;
    }
    tensors
}

/// The bytes before the tensors. Equal files give equal bytes: texts are sorted.
fn header(file: &TensorFile, tensors: &[(String, TensorInfo)]) -> Vec<u8> {
    let texts = file.texts().map(|texts| json!(texts.iter().collect::<BTreeMap<_, _>>()).to_string());
    let texts = texts.map(|texts| format!("\"__metadata__\":{texts}"));
    let tensors = tensors.iter().map(|(name, info)| format!("{}:{}", json!(name), json!(info)));
    let mut text = b"{".to_vec();
    for entry in texts.into_iter().chain(tensors) {
        if text.len() > 1 {
            text.push(b',');
        }
        text.extend(entry.bytes());
    }
    text.push(b'}');
    text.resize(text.len().next_multiple_of(8), b' ');
    [&(text.len() as u64).to_le_bytes()[..], &text].concat()
}
