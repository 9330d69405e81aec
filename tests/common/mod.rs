//! Helpers that several tests need.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod files;
pub mod runs;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bptt::device::{Device, GpuOptions};
use bptt::error::{Error, Result};
use safetensors::{Dtype, SafeTensors};

/// The GPU of the tests: any adapter, a software one included. There is no test without one.
pub fn gpu() -> &'static Device {
    static GPU: LazyLock<Device> = LazyLock::new(|| open_gpu(&GpuOptions::default()));
    &GPU
}

/// The same GPU opened anew, for tests of a device's own state or of what it is without.
pub fn open_gpu(options: &GpuOptions) -> Device {
    Device::gpu("gpu", options).unwrap_or_else(|error| {
        panic!("{error}\nrun scripts/test, which installs a software GPU where there is none")
    })
}

/// The devices that every program must give the same results on.
pub fn devices() -> [Device; 2] {
    [Device::cpu(), gpu().clone()]
}

/// The same opened anew, for tests of what a device counts, records or keeps in use: launches of other tests would be among it.
pub fn own_devices() -> [Device; 2] {
    [Device::cpu(), open_gpu(&GpuOptions::default())]
}

/// A tensor of a file.
#[derive(Clone, Debug)]
pub struct Stored {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Stored {
    pub fn f32(&self) -> Vec<f32> {
        self.values.iter().map(|x| *x as f32).collect()
    }
    pub fn i32(&self) -> Vec<i32> {
        self.values.iter().map(|x| *x as i32).collect()
    }
}

/// All tensors of tests/pytorch/NAME.safetensors.
pub fn stored(name: &str) -> BTreeMap<String, Stored> {
    let path = format!("{}/tests/pytorch/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().map(|(name, tensor)| {
        let data = tensor.data();
        let values = match tensor.dtype() {
            Dtype::F32 => {
                data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect()
            }
            Dtype::F64 => data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::I64 => {
                data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect()
            }
            other => panic!("{name}: {other:?}"),
        };
        (name, Stored { shape: tensor.shape().to_vec(), values })
    });
    tensors.collect()
}

/// The norm of a vector.
pub fn norm(x: impl IntoIterator<Item = f64>) -> f64 {
    x.into_iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Fails unless |got − want| ≤ relative·|want| + 1e-6·√n, in the 2-norm: the measure of the conformance cases, with
/// their limits (losses and outputs 2e-5, gradients and their norm 2e-4, parameters after a step 1e-3).
pub fn assert_conforms(what: &str, got: &[f32], want: &[f64], relative: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let error = norm(got.iter().zip(want).map(|(got, want)| f64::from(*got) - want));
    let limit = relative * norm(want.iter().copied()) + 1e-6 * (want.len() as f64).sqrt();
    assert!(error <= limit, "{what}: error {error:.3e} over the limit {limit:.3e}");
}

/// The message of a refusal, which is that of a wrong argument.
pub fn refused<T>(what: &str, result: Result<T>) -> String {
    match result {
        Err(error @ Error::Argument { .. }) => error.to_string(),
        Err(error) => panic!("{what}: {error} is not about an argument"),
        Ok(_) => panic!("{what} is accepted"),
    }
}

pub fn assert_refused<T>(what: &str, result: Result<T>, fragments: &[&str]) -> String {
    let message = refused(what, result);
    for fragment in fragments {
        assert!(message.contains(fragment), "{what}: \"{message}\" does not name {fragment}");
    }
    message
}
