//! Weights as files, for any model: what PyTorch saved is loaded, and the other way round.

mod common;

use std::path::{Path, PathBuf};

use bptt::device::Device;
use bptt::prelude::*;
use common::{assert_conforms, devices, stored};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch/state_dict.safetensors")
}

/// The model of the state dict.
fn model(device: &Device) -> (Lstm, Parameters) {
    let mut init = Initializer::new(device, 0);
    let config = LstmConfig {
        input_size: 3,
        hidden_size: 4,
        num_layers: 2,
        bidirectional: true,
        ..LstmConfig::default()
    };
    let lstm = Lstm::new(&mut init, "rnn", &config).unwrap();
    (lstm, init.build().unwrap())
}

/// Name, shape and bytes of each tensor of a file.
fn tensors(path: &Path) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let mut tensors: Vec<_> =
        tensors.into_iter().map(|(name, view)| (name, view.shape().to_vec(), view.data().to_vec())).collect();
    tensors.sort();
    tensors
}

fn write(path: &Path, dtype: Dtype, tensors: &[(String, Vec<usize>, Vec<u8>)]) {
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(path, serialize(views, None).unwrap()).unwrap();
}

#[test]
fn a_state_dict_gives_pytorchs_outputs_and_comes_back_bit_for_bit() {
    let results = stored("state_dict_results");
    for device in devices() {
        let (lstm, parameters) = model(&device);
        load_weights(&parameters, &fixture()).unwrap();
        let mut tape = Tape::new(&parameters);
        let x = &results["x"];
        let x = tape.constant(&Tensor::from_f32(&device, &x.shape[..], &x.f32()).unwrap());
        let states = lstm.forward(&mut tape, x, None).unwrap();
        let [h_n, c_n] = [states.h_n(&mut tape).unwrap(), states.c_n(&mut tape).unwrap()];
        for (key, var) in [("output", states.output), ("h_n", h_n), ("c_n", c_n)] {
            let got = tape.value(var).unwrap();
            let expected = &results[&format!("expect.{key}")];
            assert_eq!(got.shape()[..], expected.shape[..], "{key}");
            assert_conforms(key, &got.to_vec().unwrap(), &expected.values, 2e-5);
        }
        let folder = tempfile::tempdir().unwrap();
        let saved = folder.path().join("saved.safetensors");
        save_weights(&parameters, &saved).unwrap();
        assert_eq!(tensors(&saved), tensors(&fixture()), "{device:?}");
    }
}

#[test]
fn other_floats_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    let good = tensors(&fixture());
    let converted = |dtype, convert: &dyn Fn(f32) -> Vec<u8>| {
        let tensors = good.iter().map(|(name, shape, bytes)| {
            let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            (name.clone(), shape.clone(), values.flat_map(convert).collect())
        });
        write(&file, dtype, &tensors.collect::<Vec<_>>());
    };
    let (_, parameters) = model(&Device::cpu());
    load_weights(&parameters, &fixture()).unwrap();
    let exact = parameters.to_host().unwrap();
    type Convert = fn(f32) -> Vec<u8>;
    let kinds: [(Dtype, Convert, f32); 3] = [
        (Dtype::F64, |x| f64::from(x).to_le_bytes().into(), 0.0),
        (Dtype::F16, |x| half::f16::from_f32(x).to_le_bytes().into(), 1.0 / 2048.0),
        (Dtype::BF16, |x| half::bf16::from_f32(x).to_le_bytes().into(), 1.0 / 256.0),
    ];
    for (dtype, convert, error) in kinds {
        converted(dtype, &convert);
        let (_, parameters) = model(&Device::cpu());
        load_weights(&parameters, &file).unwrap();
        for ((name, _, got), (.., want)) in parameters.to_host().unwrap().iter().zip(&exact) {
            let near = |(got, want): (&f32, &f32)| (got - want).abs() <= error * want.abs();
            assert!(got.iter().zip(want).all(near), "{name} from {dtype:?}");
        }
    }
    // A number beyond the range of 32 bits.
    converted(Dtype::F64, &|_| 1e300f64.to_le_bytes().into());
    let message = load_weights(&parameters, &file).unwrap_err().to_string();
    assert!(message.contains("holds inf at position 0"), "{message}");
    converted(Dtype::I64, &|_| 1i64.to_le_bytes().into());
    let message = load_weights(&parameters, &file).unwrap_err().to_string();
    assert!(message.contains("is I64; F32, F64, F16 and BF16 can be read"), "{message}");
}

#[test]
fn everything_that_does_not_fit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    let mut changed = tensors(&fixture());
    changed.retain(|(name, ..)| name != "rnn.bias_hh_l0" && name != "rnn.bias_hh_l1_reverse");
    changed.push(("fc.weight".into(), vec![1], vec![0; 4]));
    changed.push(("fc.bias".into(), vec![1], vec![0; 4]));
    for (name, shape, _) in &mut changed {
        if name.starts_with("rnn.weight_ih_l1") {
            shape.reverse();
        }
    }
    write(&file, Dtype::F32, &changed);
    let (_, parameters) = model(&Device::cpu());
    let before = parameters.to_host().unwrap();
    let message = load_weights(&parameters, &file).unwrap_err().to_string();
    let expected = format!(
        "{}: does not fit the model: the model has no tensor \"fc.bias\", \"fc.weight\"; the file has no tensor \
         'rnn.bias_hh_l0', 'rnn.bias_hh_l1_reverse'; 'rnn.weight_ih_l1' has shape [8, 16], the model's is [16, 8]; \
         'rnn.weight_ih_l1_reverse' has shape [8, 16], the model's is [16, 8]",
        file.display()
    );
    assert_eq!(message, expected);
    assert_eq!(parameters.to_host().unwrap(), before);
    let message = load_weights(&parameters, &folder.path().join("none")).unwrap_err().to_string();
    assert!(message.ends_with("none: no such file"), "{message}");
}
