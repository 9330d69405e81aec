//! Devices: order, memory, threads, limits.

mod common;

use std::time::Instant;

use bptt::cpu::scale::{SCALE, Scale};
use bptt::device::{Detail, Device, GpuOptions, Host, ReadBack};
use bptt::error::Error;
use bptt::kernel::{Dtype, Plan};
use bptt::ops::indices::Indices;
use bptt::optim::{Adam, Sgd};
use bptt::parameters::{Initializer, Parameters};
use bptt::tape::{Tape, Var};
use bptt::tensor::Tensor;
use common::{devices, gpu, open_gpu, own_devices};

/// y = factor · x.
fn scale(x: &Tensor, factor: f32, y: &Tensor) {
    let (count, plan) = (x.count() as u32, Plan::elements(&SCALE, x.count()));
    x.device().launch(&plan, &Scale { count, factor }, &[x.read(), y.write()]).unwrap();
}

fn empty(device: &Device, len: usize) -> Tensor {
    Tensor::empty(device, Dtype::F32, [len]).unwrap()
}

#[test]
fn writes_launches_and_reads_take_effect_in_order() {
    for device in devices() {
        let [x, first, second] = std::array::from_fn(|_| empty(&device, 5));
        x.assign(Host::F32(&[1.0; 5])).unwrap();
        scale(&x, 10.0, &first);
        x.assign(Host::F32(&[2.0; 5])).unwrap();
        scale(&x, 10.0, &second);
        let read = second.read_back().unwrap();
        scale(&x, 1000.0, &second);
        assert_eq!(first.to_vec().unwrap(), [10.0; 5], "the second write was seen by the first launch");
        assert_eq!(read.wait().unwrap().f32(), [20.0; 5], "a later launch was seen by the read");
        assert_eq!(second.to_vec().unwrap(), [2000.0; 5]);
    }
}

#[test]
fn parts_of_a_tensor_are_written_and_read() {
    for device in devices() {
        let x = Tensor::from_f32(&device, [300], &[1.0; 300]).unwrap();
        x.slice(67, [3]).unwrap().assign(Host::F32(&[2.0, 3.0, 4.0])).unwrap();
        let y = empty(&device, 300);
        scale(&x, 1.0, &y);
        assert_eq!(y.slice(65, [7]).unwrap().to_vec().unwrap(), [1.0, 1.0, 2.0, 3.0, 4.0, 1.0, 1.0]);
        assert!(empty(&device, 0).to_vec().unwrap().is_empty());
    }
}

#[test]
fn a_read_that_nobody_waits_for_is_harmless() {
    for device in own_devices() {
        let x = Tensor::from_f32(&device, [5], &[3.0; 5]).unwrap();
        for round in 0..50 {
            drop(x.read_back().unwrap());
            let submitted = x.read_back().unwrap();
            device.submit().unwrap();
            drop(submitted);
            assert_eq!(x.to_vec().unwrap(), [3.0; 5], "round {round}");
        }
        // One that has arrived gives its staging memory back.
        let created_after_another = || {
            let arrived = x.read_back().unwrap();
            x.to_vec().unwrap();
            drop(arrived);
            device.stats().buffers_created
        };
        let warm = created_after_another();
        (0..10).for_each(|_| assert_eq!(created_after_another(), warm));
    }
}

/// Staging memory is made once, also for data that is larger than the ring's buffers.
#[test]
fn large_uploads_reuse_their_staging_memory() {
    for device in own_devices() {
        let len = (5 << 20) / 4 + 3;
        let (x, y) = (empty(&device, len), empty(&device, len));
        let mut values = vec![1.0; len];
        let mut warm = None;
        for round in 1..=12 {
            values[len - 1] = round as f32;
            x.assign(Host::F32(&values)).unwrap();
            scale(&x, 2.0, &y);
            let end = y.slice(len - 2, [2]).unwrap();
            assert_eq!(end.to_vec().unwrap(), [2.0, 2.0 * round as f32]);
            let created = device.stats().buffers_created;
            assert_eq!(created, *warm.get_or_insert(created), "round {round} on {device:?}");
        }
    }
}

/// The host runs ahead of the GPU until its staging memory is used up. Then it waits for the oldest step: a submission
/// in between, or a wait for all, would leave the GPU idle. (A real GPU is needed to fail here: a software one has done
/// its work when a submission returns.)
#[test]
fn a_host_that_is_ahead_submits_once_a_step() {
    let device = open_gpu(&GpuOptions::default());
    let large = Tensor::uniform(&device, [400, 400], [-1.0, 1.0], 1, 0).unwrap();
    let mut tape = Tape::without_parameters(&device);
    device.submit().unwrap();
    let before = device.stats();
    let mut reads = Vec::new();
    for step in 1..=16 {
        let x = Tensor::from_f32(&device, [1], &[step as f32]).unwrap();
        tape.clear();
        let large = tape.constant(&large);
        tape.matmul(large, large).unwrap();
        device.submit().unwrap();
        reads.push(x.read_back().unwrap());
        assert_eq!(device.stats().submits, before.submits + step);
    }
    let values: Vec<f32> = reads.into_iter().map(|read| read.wait().unwrap().f32()[0]).collect();
    assert_eq!(values, (1..=16).map(|step| step as f32).collect::<Vec<_>>());
}

#[test]
fn memory_goes_back_to_the_pool() {
    for device in own_devices() {
        let before = device.stats();
        let x = empty(&device, 1000);
        let whole = device.stats().bytes_in_use - before.bytes_in_use;
        assert!((4000..6000).contains(&whole), "{whole} bytes for 4000");
        let part = x.slice(64, [10]).unwrap();
        drop(x);
        assert_eq!(device.stats().bytes_in_use, before.bytes_in_use + whole, "a part keeps the whole");
        drop(part);
        let x = empty(&device, 990);
        assert_eq!(device.stats().buffers_created, before.buffers_created + 1, "of the same class");
        drop(x);
        assert_eq!(device.stats().bytes_in_use, before.bytes_in_use);
        assert_eq!(device.stats().bytes_peak, before.bytes_in_use + whole);
    }
}

/// More launches than one submission takes, and than one set of timestamps holds.
const MANY: u64 = 5000;

#[test]
fn a_profile_counts_launches_by_kernel() {
    for device in own_devices() {
        let (x, y) = (Tensor::from_f32(&device, [70], &[2.0; 70]).unwrap(), empty(&device, 70));
        let mut tape = Tape::without_parameters(&device);
        scale(&x, 1.0, &y);
        device.start_profile(Detail::Kernels).unwrap();
        let begin = Instant::now();
        (0..MANY).for_each(|_| scale(&x, 3.0, &y));
        let var = tape.constant(&y);
        let sum = tape.sum(var).unwrap();
        let profile = device.finish_profile().unwrap().kernels;
        let elapsed = begin.elapsed().as_secs_f64();
        scale(&x, 1.0, &y);
        let mut launches: Vec<_> = profile.iter().map(|time| (time.kernel, time.launches)).collect();
        launches.sort();
        assert_eq!(launches, [("reduce_sum", 1), ("scale", MANY)], "on {device:?}");
        assert!(profile[0].seconds >= profile[1].seconds, "longest first");
        assert!(profile[0].seconds > 0.0 && profile[0].seconds < elapsed, "{profile:?} in {elapsed} s");
        assert_eq!(tape.value(sum).unwrap().to_vec().unwrap(), [420.0]);
        assert!(device.finish_profile().unwrap().kernels.is_empty(), "nothing is measured unless asked for");
    }
}

#[test]
fn threads_share_a_device() {
    for device in devices() {
        std::thread::scope(|scope| {
            for thread in 1..=8 {
                let device = &device;
                scope.spawn(move || {
                    // Whichever thread submits or waits first does it for the others too.
                    let mut y = Tensor::from_f32(device, [100], &[thread as f32; 100]).unwrap();
                    for round in 0..1000 {
                        let next = empty(device, 100);
                        scale(&y, -1.0, &next);
                        y = next;
                        let sign = if round % 2 == 0 { -1.0 } else { 1.0 };
                        assert_eq!(y.to_vec().unwrap(), [sign * thread as f32; 100]);
                    }
                });
            }
        });
    }
}

#[test]
fn what_is_sent_to_threads_can_be() {
    fn sync<T: Send + Sync>() {}
    fn send<T: Send>() {}
    sync::<Device>();
    sync::<Tensor>();
    sync::<Indices>();
    sync::<Parameters>();
    sync::<Tape>();
    sync::<Var>();
    sync::<Adam>();
    sync::<Sgd>();
    sync::<Error>();
    send::<Initializer>();
    send::<ReadBack>();
}

#[test]
fn a_tensor_that_cannot_be_bound_is_refused() {
    let device = open_gpu(&GpuOptions { default_limits: true, ..GpuOptions::default() });
    let limit = 128 << 20;
    let error = Tensor::empty(&device, Dtype::F32, [limit / 4 + 1]).unwrap_err();
    assert!(matches!(error, Error::Gpu { .. }), "{error}");
    for fragment in [&format!("{} elements", limit / 4 + 1), &format!("at most {limit}"), "smaller"] {
        assert!(error.to_string().contains(fragment), "\"{error}\" does not name {fragment}");
    }
    // The largest that fits can be used to its end, and the device goes on after the refusal.
    let largest = Tensor::empty(&device, Dtype::F32, [limit / 4]).unwrap();
    let end = largest.slice(limit / 4 - 64, [64]).unwrap();
    end.assign(Host::F32(&[4.0; 64])).unwrap();
    let y = empty(&device, 64);
    scale(&end, 0.5, &y);
    assert_eq!(y.to_vec().unwrap(), [2.0; 64]);
}

#[test]
fn a_device_that_is_not_there_is_named_with_those_that_are() {
    let there = gpu().info().name.clone();
    for name in ["no such device", "99", ""] {
        let error = Device::named(name).unwrap_err();
        assert!(matches!(error, Error::NoDevice { .. }), "{error}");
        assert!(error.to_string().contains(&there) && error.to_string().contains("cpu"), "{error}");
    }
    assert_eq!(Device::named(&there.to_uppercase()).unwrap().info().name, there);
    assert_eq!(Device::named("CPU").unwrap().info().backend, "cpu");
}
