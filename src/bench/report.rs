//! Results as a JSON file: what `bptt bench --json FILE` writes and `--compare FILE` reads.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Measured, Roofline};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::json::parse;
use crate::files::{read_whole, write_named};
use crate::parameters::Precision;

/// The most bytes of a file of results: a result has some hundred.
const MAX_BYTES: u64 = 1 << 26;

/// Writes the results so far. A file that is there is replaced as a whole or stays as it was.
///
/// # Errors
/// [`Error::Data`] when the file cannot be written.
pub fn write_report(
    file: &Path,
    device: &Device,
    roofline: Option<&Roofline>,
    results: &[Measured],
) -> Result<()> {
    let info = device.info();
    let result = |m: &Measured| {
        json!({
            "case": m.name, "precision": m.precision, "ms": m.ms, "min": m.min, "max": m.max, "n": m.n,
            "steps_per_sync": m.steps_per_sync, "first_ms": m.first_ms,
            "loss_first": m.values[0], "loss_last": m.values[1], "params": m.facts.parameters,
            "dispatches": m.dispatches, "bytes_peak": m.bytes_peak,
            "difference_from_f32": m.difference,
            "gflops": m.facts.operations.map(|operations| operations / (m.ms * 1e6)),
            "gb_per_s": m.facts.bytes.map(|bytes| bytes / (m.ms * 1e6)),
        })
    };
    let document = json!({
        "device": info.name, "backend": info.backend, "driver": info.driver, "version": env!("CARGO_PKG_VERSION"),
        "copy_gb_per_s": roofline.map(|most| most.bytes_per_second / 1e9),
        "peak_gflops": roofline.map(|most| most.operations_per_second / 1e9),
        "results": results.iter().map(result).collect::<Vec<_>>(),
    });
    write_named(file, format!("{document:#}\n").as_bytes())
}

/// Results of an earlier time.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// The device that was measured.
    pub device: String,
    /// Medians in milliseconds, by case and precision. A result without a precision is of 32 bits.
    pub medians: BTreeMap<(String, Precision), f64>,
}

impl Earlier {
    /// Reads a file of results.
    ///
    /// # Errors
    /// [`Error::Data`] when it cannot be read or holds no results.
    pub fn read(file: &Path) -> Result<Earlier> {
        let document: Value = parse(&read_whole(file, MAX_BYTES)?)
            .map_err(|error| Error::data(file, format!("is no result of bptt bench --json: {error}")))?;
        let results = document["results"].as_array().into_iter().flatten();
        let median = |r: &Value| {
            let precision = match &r["precision"] {
                Value::Null => Precision::F32,
                named => Precision::deserialize(named).ok()?,
            };
            Some(((r["case"].as_str()?.to_string(), precision), r["ms"].as_f64()?))
        };
        let medians: BTreeMap<_, f64> = results.filter_map(median).collect();
        if medians.is_empty() {
            return Err(Error::data(file, "holds no results of bptt bench --json"));
        }
        Ok(Earlier { device: document["device"].as_str().unwrap_or("an unknown device").into(), medians })
    }
}
