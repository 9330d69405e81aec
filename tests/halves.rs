//! Tensors of 16-bit numbers: two of them share a 32-bit word on a GPU, and writing one leaves the other as it is.

mod common;

use bptt::device::{Device, GpuOptions, Host};
use bptt::kernel;
use bptt::kernel::{Dtype, Plan, Real};
use bptt::prelude::*;
use common::{open_gpu, refused};

const HALVES: [Dtype; 2] = [Dtype::F16, Dtype::BF16];

fn devices() -> [Device; 3] {
    let packed = open_gpu(&GpuOptions { packed_f16: true, ..GpuOptions::default() });
    [Device::cpu(), common::gpu().clone(), packed]
}

/// 0, 1, 2 .. in a half type.
fn counting(device: &Device, count: usize, dtype: Dtype) -> Tensor {
    let values: Vec<f32> = (0..count).map(|i| i as f32).collect();
    Tensor::from_f32(device, [count], &values).unwrap().cast(dtype).unwrap()
}

#[test]
fn parts_begin_and_end_anywhere() {
    for (device, dtype) in devices().iter().flat_map(|device| HALVES.map(|dtype| (device, dtype))) {
        for (offset, count) in [(0, 1), (1, 1), (1, 2), (2, 3), (3, 4), (127, 2), (128, 5), (129, 70)] {
            let about = format!("{count} from {offset} on, {dtype:?} on {device:?}");
            let whole = counting(device, 200, dtype);
            let part = whole.slice(offset, [count]).unwrap();
            let expected: Vec<f32> = (offset..offset + count).map(|i| i as f32).collect();
            assert_eq!(part.to_vec().unwrap(), expected, "{about}");
            assert_eq!(part.cast(Dtype::F32).unwrap().to_vec().unwrap(), expected, "{about}");
            // Written from either side, everything beside it stays.
            let around = |new: &dyn Fn(usize) -> f32| -> Vec<f32> {
                (0..200)
                    .map(|i| if (offset..offset + count).contains(&i) { new(i - offset) } else { i as f32 })
                    .collect()
            };
            part.assign(Host::F32(&vec![-2.0; count])).unwrap();
            assert_eq!(whole.to_vec().unwrap(), around(&|_| -2.0), "{about}: assign");
            counting(device, count, dtype).copy_into(&whole, offset).unwrap();
            assert_eq!(whole.to_vec().unwrap(), around(&|i| i as f32), "{about}: copy_into");
            Tensor::from_f32(device, [count], &vec![0.1; count]).unwrap().copy_into(&whole, offset).unwrap();
            assert_eq!(whole.to_vec().unwrap(), around(&|_| dtype.round(0.1)), "{about}: of 32 bits");
        }
        let empty = Tensor::empty(device, dtype, [0]).unwrap();
        assert_eq!(empty.to_vec().unwrap(), [0.0; 0]);
        let number = Tensor::empty(device, dtype, [1]).unwrap();
        number.fill(1.0 / 3.0).unwrap();
        assert_eq!(number.to_vec().unwrap(), [dtype.round(1.0 / 3.0)]);
    }
}

#[test]
fn what_does_not_fit_becomes_infinite_and_nan_stays() {
    for device in devices() {
        let wide = [65_504.0, 65_519.0, 65_520.0, -1e6, f32::INFINITY, 6e-8, 2e-8, -0.0];
        let half = Tensor::from_f32(&device, [8], &wide).unwrap().cast(Dtype::F16).unwrap().to_vec().unwrap();
        let expected =
            [65_504.0, 65_504.0, f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY, 2f32.powi(-24), 0.0, -0.0];
        assert_eq!(half.map_bits(), expected.to_vec().map_bits(), "{device:?}");
        let nan = Tensor::from_f32(&device, [1], &[f32::NAN]).unwrap();
        assert!(
            HALVES.iter().all(|dtype| nan.cast(*dtype).unwrap().to_vec().unwrap()[0].is_nan()),
            "{device:?}"
        );
    }
}

trait Bits {
    fn map_bits(&self) -> Vec<u32>;
}
impl Bits for Vec<f32> {
    fn map_bits(&self) -> Vec<u32> {
        self.iter().map(|x| x.to_bits()).collect()
    }
}

#[test]
fn a_cast_has_a_gradient_and_types_meet_as_in_pytorch() {
    for device in devices() {
        let mut tape = Tape::without_parameters(&device);
        let x = tape.input(&Tensor::from_f32(&device, [3], &[1.1, 2.2, 3.3]).unwrap());
        let half = tape.cast(x, Dtype::BF16).unwrap();
        let square = tape.mul(half, half).unwrap();
        assert_eq!(tape.value(square).unwrap().dtype(), Dtype::BF16);
        let both = tape.mul(square, x).unwrap();
        assert_eq!(tape.value(both).unwrap().dtype(), Dtype::F32);
        let other = tape.cast(x, Dtype::F16).unwrap();
        let mixed = tape.add(half, other).unwrap();
        assert_eq!(tape.value(mixed).unwrap().dtype(), Dtype::F32);
        let loss = tape.sum(square).unwrap();
        assert_eq!(tape.value(loss).unwrap().dtype(), Dtype::F32);
        tape.backward(loss).unwrap();
        let dx = tape.gradient(x).unwrap().unwrap();
        assert_eq!(dx.dtype(), Dtype::F32);
        let expected = [1.1, 2.2, 3.3].map(|x: f32| 2.0 * x);
        let close = |(got, want): (&f32, &f32)| (got - want).abs() <= want / 64.0;
        assert!(dx.to_vec().unwrap().iter().zip(&expected).all(close), "{dx:?}");
        let tokens = Tensor::from_i32(&device, [2], &[1, 2]).unwrap();
        assert!(refused("integers", tokens.cast(Dtype::F16)).contains("integers stay what they are"));
        assert!(refused("to integers", dx.cast(Dtype::I32)).contains("integers stay what they are"));
    }
}

/// Longer sums than one launch makes are added up in 32 bits: in between they are beyond F16.
#[test]
fn long_sums_are_whole_before_they_are_rounded() {
    for device in devices() {
        let k = 40_000;
        let signs: Vec<f32> = (0..k).map(|i| if i < 30_000 { 4.0 } else { -11.0 }).collect();
        let mut tape = Tape::without_parameters(&device);
        let a = Tensor::from_f32(&device, [1, k], &signs).unwrap().cast(Dtype::F16).unwrap();
        let b = Tensor::from_f32(&device, [k, 1], &vec![1.0; k]).unwrap().cast(Dtype::F16).unwrap();
        let (a, b) = (tape.constant(&a), tape.constant(&b));
        let sum = tape.matmul(a, b).unwrap();
        let sum = tape.value(sum).unwrap();
        assert_eq!((sum.dtype(), sum.to_vec().unwrap()), (Dtype::F16, vec![10_000.0]), "{device:?}");
    }
}

kernel! {
    /// Its shader declares x as something else.
    static UNLIKE = unlike(Unlike { count: u32 }; x: read Float, y: write Float);
    variants [{ "elements", (UNLIKE_WGSL), [] }]
}
const UNLIKE_WGSL: &str = "
@group(0) @binding(0) var<storage, read> x: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    store_y(id.x, load_x(id.x).x);
}";
fn unlike<R: Real>(_: &Unlike, x: &[R], y: &mut [R]) {
    y.copy_from_slice(x);
}

#[test]
fn a_shader_that_declares_something_else_is_an_error() {
    let x = counting(common::gpu(), 4, Dtype::F32);
    let y = Tensor::empty(common::gpu(), Dtype::F32, [4]).unwrap();
    let launched =
        common::gpu().launch(&Plan::elements(&UNLIKE, 4), &Unlike { count: 4 }, &[x.read(), y.write()]);
    assert!(refused("another type", launched).contains("its WGSL must declare x as array<f32>"));
}

kernel! {
    /// `y[i] = x[i] + 1`, whatever the type.
    static INCREMENT = increment(Increment { count: u32 }; x: read Float, y: write Float);
    variants [{ "elements", (INCREMENT_WGSL), [] }]
}
const INCREMENT_WGSL: &str = "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        store_y(i, load_x(i) + 1.0);
    }
}";
fn increment<R: Real>(p: &Increment, x: &[R], y: &mut [R]) {
    for i in 0..p.count as usize {
        y[i] = x[i] + R::of(1.0);
    }
}

#[test]
fn kernels_of_ones_own_take_every_type_where_they_say_so() {
    for device in devices() {
        for (from, to) in
            HALVES.into_iter().chain([Dtype::F32]).flat_map(|from| Dtype::FLOATS.map(|to| (from, to)))
        {
            let x = counting(&device, 77, from);
            let y = Tensor::empty(&device, to, [77]).unwrap();
            let plan = Plan::elements(&INCREMENT, 77);
            device.launch(&plan, &Increment { count: 77 }, &[x.read(), y.write()]).unwrap();
            let expected: Vec<f32> = (1..78).map(|i| i as f32).collect();
            assert_eq!(y.to_vec().unwrap(), expected, "{from:?} to {to:?} on {device:?}");
        }
    }
}
