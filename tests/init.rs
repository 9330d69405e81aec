//! Initial values: their statistics, their orthogonality, and the same bits on every device.

mod common;

use bptt::device::Device;
use bptt::parameters::{Activation, Fan, Init, Initializer};
use bptt::tensor::Shape;
use common::devices;

/// What an initialiser makes of a parameter of that shape.
fn values(device: &Device, shape: &[usize], init: &Init, seed: u64) -> Vec<f32> {
    let mut initializer = Initializer::new(device, 0);
    initializer.constant("other", [3], 0.5);
    initializer.constant("p", shape, f32::NAN);
    let parameters = initializer.build().unwrap();
    parameters.initialize("p", init, seed).unwrap();
    let mut all = parameters.to_host().unwrap();
    let (_, stored, values) = all.pop().unwrap();
    assert_eq!(stored, Shape::from(shape));
    assert_eq!(all[0].2, [0.5; 3], "another parameter has changed");
    values
}

const SHAPE: [usize; 3] = [40, 30, 5];
/// in·field, out·field of that shape.
const FAN_IN: f64 = 150.0;
const FAN_OUT: f64 = 200.0;

/// Mean and variance to six standard deviations of theirs, and the bounds of what is uniform.
#[test]
fn values_are_distributed_as_in_pytorch() {
    let uniform = |bound: f64| (0.0, bound * bound / 3.0, Some(bound));
    let normal = |std: f64| (0.0, std * std, None);
    let (tanh, relu) = (5.0 / 3.0, 2f64.sqrt());
    for (init, (mean, variance, bound)) in [
        (Init::Uniform { low: -0.25, high: 0.25 }, uniform(0.25)),
        (Init::Normal { mean: 3.0, std: 0.5 }, (3.0, 0.25, None)),
        (Init::XavierUniform { gain: 2.0 }, uniform(2.0 * (6.0 / (FAN_IN + FAN_OUT)).sqrt())),
        (Init::XavierNormal { gain: 2.0 }, normal(2.0 * (2.0 / (FAN_IN + FAN_OUT)).sqrt())),
        (
            Init::KaimingUniform { fan: Fan::In, nonlinearity: Activation::Relu },
            uniform(relu * (3.0 / FAN_IN).sqrt()),
        ),
        (
            Init::KaimingNormal { fan: Fan::Out, nonlinearity: Activation::Tanh },
            normal(tanh / FAN_OUT.sqrt()),
        ),
    ] {
        let x = values(&Device::cpu(), &SHAPE, &init, 7);
        let n = x.len() as f64;
        let got_mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
        let got_variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
        assert!((got_mean - mean).abs() < 6.0 * (variance / n).sqrt(), "{init:?}: mean {got_mean}");
        // The variance of (x − mean)² is 2v² for a normal distribution, and less for a uniform one.
        let limit = 6.0 * variance * (2.0 / n).sqrt();
        assert!((got_variance - variance).abs() < limit, "{init:?}: variance {got_variance}, not {variance}");
        if let Some(bound) = bound {
            let largest = x.iter().fold(0.0, |largest: f64, x| largest.max(f64::from(x.abs())));
            assert!(largest <= bound * (1.0 + 1e-6) && largest > 0.99 * bound, "{init:?}: up to {largest}");
        }
    }
}

#[test]
fn gains_are_pytorchs() {
    for (nonlinearity, gain) in [
        (Activation::Linear, 1.0),
        (Activation::Sigmoid, 1.0),
        (Activation::Tanh, 5.0 / 3.0),
        (Activation::Relu, 2f64.sqrt()),
        (Activation::LeakyRelu { slope: 0.5 }, 1.6f64.sqrt()),
        (Activation::Selu, 0.75),
    ] {
        assert!((nonlinearity.gain() - gain).abs() < 1e-12, "{nonlinearity:?}");
    }
}

/// Rows, or columns where they are fewer, are orthogonal and of length `gain`.
#[test]
fn orthogonal_matrices_are_orthogonal() {
    for shape in [&[7, 7][..], &[5, 40], &[40, 5], &[6, 2, 5], &[1, 9], &[9, 1]] {
        let q = values(&Device::cpu(), shape, &Init::Orthogonal { gain: 3.0 }, 1);
        let (rows, cols) = (shape[0], q.len() / shape[0]);
        let at = |line: usize, k: usize| {
            f64::from(if rows <= cols { q[line * cols + k] } else { q[k * cols + line] })
        };
        let (lines, length) = (rows.min(cols), rows.max(cols));
        for i in 0..lines {
            for j in 0..lines {
                let product: f64 = (0..length).map(|k| at(i, k) * at(j, k)).sum();
                let expected = if i == j { 9.0 } else { 0.0 };
                // Of products of numbers rounded to f32.
                assert!((product - expected).abs() < 4e-6, "{shape:?}: rows {i} and {j} give {product}");
            }
        }
    }
}

#[test]
fn values_have_the_same_bits_everywhere() {
    for init in [
        Init::Constant(1.5),
        Init::Uniform { low: -1.0, high: 2.0 },
        Init::Normal { mean: 0.0, std: 1.0 },
        Init::XavierUniform { gain: 1.0 },
        Init::Orthogonal { gain: 1.0 },
    ] {
        let expected = values(&Device::reference(), &[6, 7], &init, 3);
        for device in devices() {
            assert_eq!(values(&device, &[6, 7], &init, 3), expected, "{init:?} on {device:?}");
        }
        let other = values(&Device::cpu(), &[6, 7], &init, 4);
        assert!(other != expected || init == Init::Constant(1.5), "{init:?} does not heed the seed");
    }
}
