//! Files of weights, for any model: what PyTorch saved can be loaded, and the other way round.

mod common;

use std::path::{Path, PathBuf};

use bptt::device::{Device, Host};
use bptt::parameters::Precision;
use bptt::prelude::*;
use bptt::train::{Conversion, convert_weights, save_weights_in};
use common::{assert_conforms, devices, stored};
use proptest::prelude::*;
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

/// Bits of a number's fraction, and the largest exponent of 2.
const F16: (i32, i32) = (10, 15);
const BF16: (i32, i32) = (7, 127);

/// What 16 bits mean by IEEE 754, written down without the crate `half`.
fn meaning(bits: u16, (fraction, largest): (i32, i32)) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, part) = (i32::from((bits & 0x7FFF) >> fraction), f64::from(bits & ((1 << fraction) - 1)));
    let unit = 2f64.powi(-fraction);
    sign * match exponent {
        0 => 2f64.powi(1 - largest) * part * unit,
        e if e == 2 * largest + 1 => [f64::INFINITY, f64::NAN][usize::from(part > 0.0)],
        e => 2f64.powi(e - largest) * (1.0 + part * unit),
    }
}

/// The numbers of a type that are not negative, each at its bits; behind them the first power of 2 that is too large.
fn numbers(kind: (i32, i32)) -> Vec<f64> {
    let finite = (0..0x7FFF).map(|bits| meaning(bits, kind)).take_while(|x| x.is_finite());
    finite.chain([2f64.powi(kind.1 + 1)]).collect()
}

/// The bits of the number of a type that is nearest, with even bits of two; none where that is too large.
fn nearest(x: f64, numbers: &[f64]) -> Option<u16> {
    let below = numbers.partition_point(|number| *number <= x.abs()) - 1;
    let middle = numbers.get(below + 1).map_or(f64::NEG_INFINITY, |above| (numbers[below] + above) / 2.0);
    let up = x.abs() > middle || (x.abs() == middle && below % 2 == 1);
    let bits = below + usize::from(up);
    (bits < numbers.len() - 1).then_some(bits as u16 | if x.is_sign_negative() { 1 << 15 } else { 0 })
}

/// Parameters of one layer, "fc.weight" with so many values.
fn parameters(count: usize) -> Parameters {
    let mut init = Initializer::new(&Device::cpu(), 0);
    let config = LinearConfig { in_features: count, out_features: 1, bias: false };
    Linear::new(&mut init, "fc", &config).unwrap();
    init.build().unwrap()
}

fn write_fc(path: &Path, dtype: Dtype, count: usize, bytes: impl IntoIterator<Item = u8>) {
    write(path, dtype, &[("fc.weight".into(), vec![1, count], bytes.into_iter().collect())]);
}

fn convert(from: &Path, to: &Path, precision: Precision) -> Result<Conversion> {
    convert_weights(from, to, precision, true, &|| false)
}

const KINDS: [(Precision, Dtype, (i32, i32)); 2] =
    [(Precision::F16, Dtype::F16, F16), (Precision::BF16, Dtype::BF16, BF16)];

#[test]
fn every_pattern_of_16_bits_is_loaded_and_saved() {
    let folder = tempfile::tempdir().unwrap();
    let [file, saved] = ["weights", "saved"].map(|name| folder.path().join(name));
    for (precision, dtype, kind) in KINDS {
        let (finite, other): (Vec<u16>, Vec<u16>) =
            (0..=u16::MAX).partition(|bits| meaning(*bits, kind).is_finite());
        assert_eq!(finite.len() + other.len(), 65_536);
        assert_eq!(other.len(), 2 << kind.0);
        let bytes: Vec<u8> = finite.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        write_fc(&file, dtype, finite.len(), bytes.clone());
        let model = parameters(finite.len());
        load_weights(&model, &file).unwrap();
        let loaded = model.to_host().unwrap().remove(0).2;
        for (bits, loaded) in finite.iter().zip(loaded) {
            let by_half = match dtype {
                Dtype::F16 => half::f16::from_bits(*bits).to_f32(),
                _ => half::bf16::from_bits(*bits).to_f32(),
            };
            let meant = meaning(*bits, kind) as f32;
            assert_eq!(
                (loaded.to_bits(), by_half.to_bits()),
                (meant.to_bits(), meant.to_bits()),
                "{bits:#x}"
            );
        }
        save_weights_in(&model, &saved, precision).unwrap();
        assert!(tensors(&saved)[0].2 == bytes, "saved as {dtype:?}");
        convert(&file, &saved, Precision::F32).unwrap();
        let conversion = convert(&saved, &file, precision).unwrap();
        assert_eq!((conversion.relative_error, conversion.zeros), (0.0, 0));
        assert!(tensors(&file)[0].2 == bytes, "{dtype:?} through F32");
        // Infinities and NaN.
        let model = parameters(1);
        for bits in other {
            write_fc(&file, dtype, 1, bits.to_le_bytes());
            let says = format!("'fc.weight' holds {} at position 0", meaning(bits, kind));
            for error in [load_weights(&model, &file), convert(&file, &saved, precision).map(drop)] {
                let message = error.unwrap_err().to_string();
                assert!(message.contains(&says), "{bits:#x}: {message}");
            }
        }
    }
}

/// At every number of a type, at every middle of two, where the tie is, and at the next of 64 bits on both sides.
#[test]
fn rounding_is_to_the_nearest_and_ties_to_even() {
    let folder = tempfile::tempdir().unwrap();
    let [file, to] = ["weights", "rounded"].map(|name| folder.path().join(name));
    for (precision, dtype, kind) in KINDS {
        let numbers = numbers(kind);
        let mut values: Vec<f64> = numbers.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
        let tie = values.pop().unwrap();
        values = values.into_iter().flat_map(|x| [x.next_down(), x, x.next_up(), -x.next_up(), -x]).collect();
        values.extend([tie.next_down(), -tie.next_down(), 0.0, -0.0, 1e-300, f64::MIN_POSITIVE]);
        values.extend(&numbers[..numbers.len() - 1]);
        let expected: Vec<u8> =
            values.iter().flat_map(|x| nearest(*x, &numbers).unwrap().to_le_bytes()).collect();
        write_fc(&file, Dtype::F64, values.len(), values.iter().flat_map(|x| x.to_le_bytes()));
        let conversion = convert(&file, &to, precision).unwrap();
        let rounded = tensors(&to).remove(0).2;
        for ((value, rounded), expected) in values.iter().zip(rounded.chunks(2)).zip(expected.chunks(2)) {
            assert_eq!(rounded, expected, "{value:e} in {dtype:?}");
        }
        // What is just above half the smallest number becomes twice what it was.
        assert!(conversion.relative_error > 0.99 && conversion.relative_error <= 1.0, "{conversion:?}");
        assert!(conversion.zeros > 2, "{conversion:?}");
        assert_eq!(conversion.values, values.len() as u64);
        // Of 32 bits, by both ways of saving; those that are no ties have other values in 32 bits.
        let fits = |x: &f32| nearest(f64::from(*x), &numbers).is_some();
        let values: Vec<f32> = values.iter().map(|x| *x as f32).filter(fits).collect();
        let model = parameters(values.len());
        model.set("fc.weight", Host::F32(&values)).unwrap();
        save_weights_in(&model, &to, precision).unwrap();
        let saved = tensors(&to).remove(0).2;
        write_fc(&file, Dtype::F32, values.len(), values.iter().flat_map(|x| x.to_le_bytes()));
        convert(&file, &to, precision).unwrap();
        assert!(tensors(&to).remove(0).2 == saved);
        for (value, saved) in values.iter().zip(saved.chunks(2)) {
            let expected = nearest(f64::from(*value), &numbers).unwrap();
            assert_eq!(saved, expected.to_le_bytes(), "{value:e} in {dtype:?}");
        }
        // What rounds beyond the range is refused, and leaves what was there.
        for value in [tie, -tie.next_up(), 1e300] {
            assert_eq!(nearest(value, &numbers), None);
            write_fc(&file, Dtype::F64, 2, [1.0, value].into_iter().flat_map(f64::to_le_bytes));
            let message = convert(&file, &to, precision).unwrap_err().to_string();
            assert!(message.contains("'fc.weight' holds ") && message.contains("at position 1, beyond "));
            assert!(tensors(&to).remove(0).2 == saved);
        }
    }
    let model = parameters(3);
    model.set("fc.weight", Host::F32(&[0.0, 65_519.996, -65_520.0])).unwrap();
    let message = save_weights_in(&model, &to, Precision::F16).unwrap_err().to_string();
    assert_eq!(
        message,
        "save_weights_in: the parameter fc.weight holds -6.552e4 at position 2, beyond 65504, the largest number of \
         f16: take bf16"
    );
    save_weights_in(&model, &to, Precision::BF16).unwrap();
    model.set("fc.weight", Host::F32(&[0.0, f32::NAN, 0.0])).unwrap();
    let message = save_weights_in(&model, &to, Precision::BF16).unwrap_err().to_string();
    assert_eq!(message, "the parameter fc.weight is not finite (it was not saved)");
}

/// A tensor of a kind and sizes, with such values.
fn tensor() -> impl Strategy<Value = (Dtype, Vec<usize>, Vec<f32>)> {
    let kinds =
        [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::I64, Dtype::I32, Dtype::U8, Dtype::BOOL];
    let shape = prop::collection::vec(0..5usize, 0..4);
    (prop::sample::select(kinds.to_vec()), shape).prop_flat_map(|(dtype, shape)| {
        let count = shape.iter().product::<usize>();
        (Just(dtype), Just(shape), prop::collection::vec(-60_000f32..60_000.0, count))
    })
}

fn bytes_of(dtype: Dtype, x: f32) -> Vec<u8> {
    match dtype {
        Dtype::F64 => f64::from(x).to_le_bytes().into(),
        Dtype::F32 => x.to_le_bytes().into(),
        Dtype::F16 => half::f16::from_f32(x).to_le_bytes().into(),
        Dtype::BF16 => half::bf16::from_f32(x).to_le_bytes().into(),
        Dtype::I64 => (x as i64).to_le_bytes().into(),
        Dtype::I32 => (x as i32).to_le_bytes().into(),
        _ => vec![u8::from(x > 0.0)],
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(32),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Names, shapes, texts and what is no float are kept; floats are what rounding makes of them, once and no more.
    #[test]
    fn any_file_is_converted(
        // Of texts without a tensor the crate safetensors 0.8 writes a header that is no JSON.
        parts in prop::collection::btree_map("[a-z.\"é\\\\]{1,9}", tensor(), 1..6),
        texts in prop::option::of(prop::collection::hash_map("[a-z]{1,5}", "\\PC{0,9}", 0..4)),
        precision in prop::sample::select(Precision::ALL.to_vec()),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let [file, to, again] = ["weights", "to", "again"].map(|name| folder.path().join(name));
        let stored: Vec<_> = parts.iter().map(|(name, (dtype, shape, values))| {
            let bytes: Vec<u8> = values.iter().flat_map(|x| bytes_of(*dtype, *x)).collect();
            (name, *dtype, shape, bytes)
        }).collect();
        let views = stored.iter().map(|(name, dtype, shape, bytes)| {
            (name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
        });
        std::fs::write(&file, serialize(views, texts.clone()).unwrap()).unwrap();
        let before = std::fs::read(&file).unwrap();
        let conversion = convert(&file, &to, precision).unwrap();
        prop_assert_eq!(&std::fs::read(&file).unwrap(), &before);
        let bytes = std::fs::read(&to).unwrap();
        prop_assert_eq!((conversion.bytes_before, conversion.bytes_after), (before.len() as u64, bytes.len() as u64));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        prop_assert_eq!(header.metadata(), &texts);
        let whole = SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(whole.len(), parts.len());
        let floats = [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16];
        let target = floats[1 + Precision::ALL.iter().position(|p| *p == precision).unwrap()];
        let mut kept = 0;
        for (name, dtype, shape, bytes) in &stored {
            let view = whole.tensor(name).unwrap();
            prop_assert_eq!(view.shape(), &shape[..]);
            if !floats.contains(dtype) {
                kept += 1;
                prop_assert_eq!((view.dtype(), view.data()), (*dtype, &bytes[..]));
                continue;
            }
            let value = |bytes: &[u8]| match dtype {
                Dtype::F16 => half::f16::from_le_bytes(bytes.try_into().unwrap()).to_f32(),
                Dtype::BF16 => half::bf16::from_le_bytes(bytes.try_into().unwrap()).to_f32(),
                Dtype::F64 => f64::from_le_bytes(bytes.try_into().unwrap()) as f32,
                _ => f32::from_le_bytes(bytes.try_into().unwrap()),
            };
            let rounded: Vec<u8> =
                bytes.chunks_exact(dtype.bitsize() / 8).flat_map(|x| bytes_of(target, value(x))).collect();
            prop_assert_eq!((view.dtype(), view.data()), (target, &rounded[..]));
        }
        prop_assert_eq!((conversion.kept, conversion.tensors), (kept, parts.len() as u64 - kept));
        // The same bits, and rounded once and for all.
        for from in [&file, &to] {
            convert(from, &again, precision).unwrap();
            prop_assert_eq!(&std::fs::read(&again).unwrap(), &bytes);
        }
    }
}

#[test]
fn a_conversion_that_ends_early_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let [file, to] = ["weights", "to"].map(|name| folder.path().join(name));
    // Several pieces.
    write_fc(&file, Dtype::F32, 100_000, (0..100_000).flat_map(|k| (k as f32).to_le_bytes()));
    std::fs::write(&to, "old").unwrap();
    let names = || std::fs::read_dir(folder.path()).unwrap().count();
    for calls in 0..3 {
        let left = std::cell::Cell::new(calls);
        let stop = || left.replace(left.get() - 1) == 0;
        let ended = convert_weights(&file, &to, Precision::BF16, true, &stop);
        assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
        assert_eq!((std::fs::read(&to).unwrap(), names()), (b"old".to_vec(), 2));
    }
    let message = convert(&file, &to, Precision::F16).unwrap_err().to_string();
    assert!(message.contains("'fc.weight' holds 6.552e4 at position 65520, beyond 65504"), "{message}");
    assert_eq!((std::fs::read(&to).unwrap(), names()), (b"old".to_vec(), 2));
    convert(&file, &to, Precision::BF16).unwrap();
    assert_eq!(names(), 2);
}
