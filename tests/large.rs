//! Sums so long that llvmpipe would silently end the loop: 65,535 iterations are the most it makes for one thread.

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
