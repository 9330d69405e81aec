//! `bptt convert`: writes a model's weights in another type.

use std::path::{Path, PathBuf};

use bptt::error::{Error, Result};
use bptt::parameters::Precision;
use bptt::train::{Conversion, convert_weights, readable};
use serde_json::json;

use super::output::Output;
use super::{interruption, precision};

/// Options of `bptt convert`.
#[derive(clap::Args)]
pub struct Args {
    /// The folder of a run or a model, or a safetensors file
    path: PathBuf,
    /// The type to which floats are rounded: f32, f16 or bf16; other numbers stay as they are
    #[arg(long, value_name = "TYPE", value_parser = precision(), hide_possible_values = true)]
    to: Precision,
    /// The new folder, or the new file where PATH is a file [default: beside it, PATH-TYPE]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Overwrite the model, or file, in an existing --out
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let output = Output::new(args.json);
    let out = args.out.map_or_else(|| beside(&args.path, args.to), Ok)?;
    let conversion = convert_weights(&args.path, &out, args.to, args.force, &interruption())?;
    let Conversion { tensors, values, kept, relative_error, zeros, bytes_before, bytes_after, .. } =
        conversion;
    let (from, name, path) = (args.path.display(), args.to.name(), out.display());
    output.line(format!(
        "{tensors} tensors, {values} values in {name}: {}, before {}",
        readable(bytes_after),
        readable(bytes_before)
    ))?;
    if kept > 0 {
        output.line(format!("{kept} tensors of other types are as they were"))?;
    }
    output.line(match relative_error {
        0.0 => "rounding changed no value".into(),
        error => format!("rounding changed no value by more than {error:.2e} of it"),
    })?;
    if zeros > 0 {
        output.line(format!("{zeros} values are too small for {name} and became 0"))?;
    }
    output.line(format!("the result is in {path}"))?;
    output.event(&json!({
        "event": "done", "from": from.to_string(), "to": name, "out": path.to_string(), "tensors": tensors,
        "values": values, "kept": kept, "relative_error": relative_error, "zeros": zeros,
        "bytes_before": bytes_before, "bytes_after": bytes_after,
    }))
}

/// The path of the result: `book-f16` for `book`, `model-f16.safetensors` for `model.safetensors`.
fn beside(path: &Path, to: Precision) -> Result<PathBuf> {
    let file = path.is_file();
    let stem = if file { path.file_stem() } else { path.file_name() };
    let Some(stem) = stem else {
        return Err(Error::argument("convert", format!("{} has no name: name --out", path.display())));
    };
    let mut name = stem.to_os_string();
    name.push(format!("-{}", to.name()));
    if let Some(extension) = path.extension().filter(|_| file) {
        name.push(".");
        name.push(extension);
    }
    Ok(path.with_file_name(name))
}
