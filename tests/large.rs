//! Sums so long that llvmpipe would silently end their loops, of which a thread makes at most 65,535 iterations.

mod common;

use bptt::ops::indices::Indices;
use bptt::tape::Tape;
use bptt::tensor::Tensor;
use common::devices;

/// A thread of the smaller matmul tile would reach the limit at 262,145 terms.
const LONG: usize = 300_000;

#[test]
fn a_product_over_300_000_terms_is_whole() {
    for device in devices() {
        let mut tape = Tape::without_parameters(&device);
        let a = tape.constant(&Tensor::from_f32(&device, [3, LONG], &vec![0.5; 3 * LONG]).unwrap());
        let b = tape.constant(&Tensor::from_f32(&device, [LONG, 3], &vec![2.0; 3 * LONG]).unwrap());
        let c = tape.matmul(a, b).unwrap();
        // Whole numbers below 2²⁴: exact in every order.
        assert_eq!(tape.value(c).unwrap().to_vec().unwrap(), vec![LONG as f32; 9], "{device:?}");
    }
}

#[test]
fn the_gradients_of_a_bias_over_3_000_000_rows_and_of_a_token_300_000_times_are_whole() {
    for device in devices() {
        let mut tape = Tape::without_parameters(&device);
        let rows = 3_000_000;
        let x = tape.constant(&Tensor::from_f32(&device, [rows, 1], &vec![0.0; rows]).unwrap());
        let bias = tape.input(&Tensor::from_f32(&device, [1], &[0.0]).unwrap());
        let y = tape.bias_add(x, bias).unwrap();
        tape.backward_from(y, &Tensor::from_f32(&device, [rows, 1], &vec![1.0; rows]).unwrap()).unwrap();
        let gradient = tape.gradient(bias).unwrap().unwrap().to_vec().unwrap();
        assert_eq!(gradient, [rows as f32], "{device:?}");

        let mut tokens = vec![1; LONG];
        tokens[LONG / 2] = 0;
        let tokens = Indices::new(&device, [LONG], &tokens).unwrap();
        let table = tape.input(&Tensor::from_f32(&device, [3, 2], &[0.0; 6]).unwrap());
        let y = tape.embedding(&tokens, table, None).unwrap();
        tape.backward_from(y, &Tensor::from_f32(&device, [LONG, 2], &vec![1.0; 2 * LONG]).unwrap()).unwrap();
        let gradient = tape.gradient(table).unwrap().unwrap().to_vec().unwrap();
        let once = LONG as f32 - 1.0;
        assert_eq!(gradient, [1.0, 1.0, once, once, 0.0, 0.0], "{device:?}");
    }
}

/// Sums over each dimension are split where a thread would reach the limit.
#[test]
fn sums_over_a_long_dimension_are_whole() {
    for device in devices() {
        // In the row, 2^22 elements are the most that one launch adds up, and in the column 2^18.
        for (shape, dim) in [([2, 4_200_000], 1), ([600_000, 3], 0)] {
            let mut tape = Tape::without_parameters(&device);
            let ones = vec![1.0; shape[0] * shape[1]];
            let x = tape.constant(&Tensor::from_f32(&device, shape, &ones).unwrap());
            let y = tape.sum_dim(x, dim, false).unwrap();
            let expected = vec![shape[dim] as f32; shape[1 - dim]];
            assert_eq!(tape.value(y).unwrap().to_vec().unwrap(), expected, "{shape:?} on {device:?}");
        }
    }
}

#[test]
fn the_largest_of_300_000_is_found_and_gathered() {
    for device in devices() {
        let mut tape = Tape::without_parameters(&device);
        let mut values = vec![0.0; LONG];
        values[70_000] = 2.0;
        values[LONG - 1] = 2.0;
        let x = tape.input(&Tensor::from_f32(&device, [LONG], &values).unwrap());
        let (y, index) = tape.max_dim(x, 0, true).unwrap();
        assert_eq!(tape.value(y).unwrap().to_vec().unwrap(), [2.0], "{device:?}");
        assert_eq!(index.to_f64().unwrap(), [70_000.0], "{device:?}");

        // Element 1 of three goes to all places but one.
        let mut chosen = vec![1; LONG];
        chosen[LONG / 2] = 0;
        let x = tape.input(&Tensor::from_f32(&device, [3], &[5.0, 6.0, 7.0]).unwrap());
        let y = tape.gather(x, 0, &Indices::new(&device, [LONG], &chosen).unwrap()).unwrap();
        tape.backward_from(y, &Tensor::from_f32(&device, [LONG], &vec![1.0; LONG]).unwrap()).unwrap();
        let gradient = tape.gradient(x).unwrap().unwrap().to_vec().unwrap();
        assert_eq!(gradient, [1.0, LONG as f32 - 1.0, 0.0], "{device:?}");
    }
}

#[test]
fn a_softmax_over_300_000_classes_sums_to_one() {
    for device in devices() {
        let mut tape = Tape::without_parameters(&device);
        let x = tape.constant(&Tensor::from_f32(&device, [LONG], &vec![3.0; LONG]).unwrap());
        let y = tape.softmax(x, 0).unwrap();
        let wrong = tape
            .value(y)
            .unwrap()
            .to_vec()
            .unwrap()
            .into_iter()
            .find(|y| (y * LONG as f32 - 1.0).abs() > 1e-5);
        assert_eq!(wrong, None, "{device:?}");
    }
}
